/**
 * LZ4 in its frame format, as Kafka's clients write it: blocks that refer back to each other or not, with or without sums.
 *
 *   | magic 04 22 4d 18 | flags | block size | (content size u64) | header sum | (length u32, block, (sum)) … | 0 u32 | (content sum) |
 *
 * Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md. The sums of blocks and content are not looked at: the record
 * batch around them has its own. Arithmetic only; throws a RangeError where the bytes are no such frame.
 */
const magic = 0x184d2204;
const blockBytesMax = 64 * 1024;
const minMatch = 4;
/** The format wants the last five bytes to be literals, and the last match to begin twelve bytes before the end. */
const lastLiterals = 5;
const matchFindEnd = 12;

export function unpackLz4(frame: Buffer, bytesMax: number): Buffer {
  if (frame.length < 7 || frame.readUInt32LE(0) !== magic) throw new RangeError('no LZ4 frame begins here');
  const flags = frame[4]!;
  if (flags >>> 6 !== 1) throw new RangeError(`LZ4 frames of version ${flags >>> 6} are not known`);
  if ((flags & 1) !== 0) throw new RangeError('the LZ4 frame wants a dictionary');
  const blockSize = 1 << (8 + 2 * ((frame[5]! >>> 4) & 7));
  const hasBlockSums = (flags & 0x10) !== 0;
  let at = (flags & 0x08) === 0 ? 7 : 15;
  let out: Buffer = Buffer.allocUnsafe(Math.min(bytesMax, Math.max(frame.length * 4, 1024)));
  let used = 0;
  for (;;) {
    if (at + 4 > frame.length) throw new RangeError('the LZ4 frame ends too early');
    const word = frame.readUInt32LE(at);
    at += 4;
    if (word === 0) return out.subarray(0, used);
    const length = word & 0x7fffffff;
    if (at + length > frame.length || length > blockSize) throw new RangeError('a block of the LZ4 frame is longer than what is there');
    if (used + blockSize > out.length) out = grown(out, used, used + blockSize, bytesMax);
    used = word >>> 31 === 1 ? used + frame.copy(out, used, at, at + length) : unpackBlock(frame, at, at + length, out, used);
    if (used > bytesMax) throw new RangeError(`the LZ4 frame unpacks to more than ${bytesMax} bytes`);
    at += length + (hasBlockSums ? 4 : 0);
  }
}

function grown(out: Buffer, used: number, needed: number, bytesMax: number): Buffer {
  if (used > bytesMax) throw new RangeError(`the LZ4 frame unpacks to more than ${bytesMax} bytes`);
  const larger = Buffer.allocUnsafe(Math.max(needed, out.length * 2));
  out.copy(larger, 0, 0, used);
  return larger;
}

function unpackBlock(from: Buffer, start: number, end: number, out: Buffer, outStart: number): number {
  let at = start;
  let to = outStart;
  while (at < end) {
    const token = from[at++]!;
    let literals = token >>> 4;
    if (literals === 15) for (let more = 255; more === 255 && at < end; literals += more) more = from[at++]!;
    if (at + literals > end || to + literals > out.length) throw new RangeError('literals past the end of an LZ4 block');
    for (const stop = at + literals; at < stop;) out[to++] = from[at++]!;
    if (at === end) return to;
    if (at + 2 > end) throw new RangeError('an LZ4 block ends in the middle of a match');
    const distance = from[at]! | (from[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + minMatch;
    if ((token & 15) === 15) for (let more = 255; more === 255 && at < end; length += more) more = from[at++]!;
    let source = to - distance;
    if (distance === 0 || source < 0 || to + length > out.length) throw new RangeError('a match of an LZ4 block leads outside of it');
    for (const stop = to + length; to < stop;) out[to++] = out[source++]!;
  }
  return to;
}

/** A frame of independent blocks of 64 KiB, as Kafka's own client writes them. */
export function packLz4(bytes: Buffer): Buffer {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0]);
  head[6] = (xxHash32(head, 4, 6) >>> 8) & 0xff;
  const parts: Buffer[] = [head];
  for (let at = 0; at < bytes.length; at += blockBytesMax) {
    const block = bytes.subarray(at, at + blockBytesMax);
    const packed = packBlock(block);
    const isSmaller = packed.length < block.length;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(isSmaller ? packed.length : (block.length | 0x80000000) >>> 0);
    parts.push(length, isSmaller ? packed : block);
  }
  parts.push(Buffer.alloc(4));
  return Buffer.concat(parts);
}

const hashBits = 13;
const places = new Int32Array(1 << hashBits);

function packBlock(bytes: Buffer): Buffer {
  const out = Buffer.allocUnsafe(bytes.length + Math.ceil(bytes.length / 255) + 16);
  let used = 0;
  let anchor = 0;
  places.fill(-1);
  for (let at = 0; at + matchFindEnd <= bytes.length;) {
    const word = bytes.readUInt32LE(at);
    const hash = Math.imul(word, 0x9e3779b1) >>> (32 - hashBits);
    const candidate = places[hash]!;
    places[hash] = at;
    if (candidate < 0 || bytes.readUInt32LE(candidate) !== word) {
      at += 1 + ((at - anchor) >>> 6);
      continue;
    }
    let length = minMatch;
    while (at + length < bytes.length - lastLiterals && bytes[at + length] === bytes[candidate + length]) length++;
    used = putSequence(out, used, bytes, anchor, at, at - candidate, length);
    at += length;
    anchor = at;
  }
  return out.subarray(0, putSequence(out, used, bytes, anchor, bytes.length, 0, 0));
}

/** Literals and the match behind them; the last sequence has none. */
function putSequence(out: Buffer, used: number, bytes: Buffer, from: number, to: number, distance: number, length: number): number {
  const literals = to - from;
  const more = length - minMatch;
  out[used++] = (Math.min(literals, 15) << 4) | (distance === 0 ? 0 : Math.min(more, 15));
  if (literals >= 15) used = putLength(out, used, literals - 15);
  used += bytes.copy(out, used, from, to);
  if (distance === 0) return used;
  out[used++] = distance & 0xff;
  out[used++] = distance >>> 8;
  return more >= 15 ? putLength(out, used, more - 15) : used;
}

function putLength(out: Buffer, used: number, length: number): number {
  for (; length >= 255; length -= 255) out[used++] = 255;
  out[used++] = length;
  return used;
}

/** The sum of a frame's head: xxHash of fewer than 16 bytes, seed 0. */
function xxHash32(bytes: Buffer, from: number, to: number): number {
  let hash = (0x165667b1 + (to - from)) | 0;
  for (let at = from; at < to; at++) {
    hash = (hash + Math.imul(bytes[at]!, 0x165667b1)) | 0;
    hash = Math.imul((hash << 11) | (hash >>> 21), 0x9e3779b1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca77);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae3d);
  return (hash ^ (hash >>> 16)) >>> 0;
}
