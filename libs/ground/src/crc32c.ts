import { foldBytesMax, foldedBytes, Folding } from './crc32c-folding.js';

/**
 * CRC-32C, the sum with Castagnoli's polynomial that Kafka's formats ask for: sixteen bytes a step through sixteen tables, all in JavaScript, because Node has no
 * native one (zlib's is another polynomial); many bytes are made few before (crc32c-folding.ts). `start` is the sum of what stands before the bytes. The check value of "123456789" is
 * e3069283.
 */
export function crc32c(bytes: Uint8Array, start = 0, from = 0, to = bytes.length): number {
  let sum = ~start;
  let at = from;
  while (to - at >= foldedFrom) {
    folding ??= Folding.make() ?? 'none';
    if (folding === 'none') break;
    const length = Math.min(to - at, foldBytesMax) & ~15;
    folding.bytes.set(length === bytes.length ? bytes : bytes.subarray(at, at + length), foldedBytes);
    // What was summed before is as if it stood in the first four bytes.
    folding.words32[foldedBytes / 4]! ^= sum;
    const left = folding.run(length);
    sum = sumByTables(folding.bytes, 0, left, left + foldedBytes);
    at += length;
  }
  return ~sumByTables(bytes, sum, at, to) >>> 0;
}

/** Below this the tables are quicker: what is left of folding is for them in any case. */
const foldedFrom = 8192;
let folding: Folding | 'none' | undefined;

function sumByTables(bytes: Uint8Array, start: number, from: number, to: number): number {
  let sum = start;
  let at = from;
  if (to - at >= 32) {
    const view = viewOf(bytes);
    const shift = bytes.byteOffset;
    const end = to - 15;
    const t = tables;
    for (; at < end; at += 16) {
      const place = shift + at;
      const a = view.getInt32(place, true) ^ sum;
      const b = view.getInt32(place + 4, true);
      const c = view.getInt32(place + 8, true);
      const d = view.getInt32(place + 12, true);
      sum =
        t[3840 + (a & 0xff)]! ^
        t[3584 + ((a >>> 8) & 0xff)]! ^
        t[3328 + ((a >>> 16) & 0xff)]! ^
        t[3072 + (a >>> 24)]! ^
        t[2816 + (b & 0xff)]! ^
        t[2560 + ((b >>> 8) & 0xff)]! ^
        t[2304 + ((b >>> 16) & 0xff)]! ^
        t[2048 + (b >>> 24)]! ^
        t[1792 + (c & 0xff)]! ^
        t[1536 + ((c >>> 8) & 0xff)]! ^
        t[1280 + ((c >>> 16) & 0xff)]! ^
        t[1024 + (c >>> 24)]! ^
        t[768 + (d & 0xff)]! ^
        t[512 + ((d >>> 8) & 0xff)]! ^
        t[256 + ((d >>> 16) & 0xff)]! ^
        t[d >>> 24]!;
    }
  }
  for (; at < to; at++) sum = tables[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return sum;
}

const polynomial = 0x82f63b78;
/** Sixteen tables of 256 words: the n-th is what a byte becomes when n more bytes follow it. */
const tables = makeTables();

function makeTables(): Int32Array {
  const made = new Int32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let word = byte;
    for (let bit = 0; bit < 8; bit++) word = (word & 1) === 1 ? (word >>> 1) ^ polynomial : word >>> 1;
    made[byte] = word;
  }
  for (let at = 256; at < made.length; at++) made[at] = made[made[at - 256]! & 0xff]! ^ (made[at - 256]! >>> 8);
  return made;
}

/** Many sums in a row are of slices of one block: its view is made once. */
let lastBlock: ArrayBufferLike = new ArrayBuffer(0);
let lastView: DataView = new DataView(lastBlock);

function viewOf(bytes: Uint8Array): DataView {
  if (bytes.buffer !== lastBlock) {
    lastBlock = bytes.buffer;
    lastView = new DataView(lastBlock);
  }
  return lastView;
}
