/**
 * Snappy, raw as librdkafka and Go's clients send it and in the frame that Java's put around it:
 *
 *   raw     | length varint | tag, literal or copy … |
 *   framed  | 82 "SNAPPY" 00 | version u32 | compatible u32 | (length u32, raw block) … |
 *
 * Format: https://github.com/google/snappy/blob/main/format_description.txt; the frame is snappy-java's. Arithmetic only; throws a RangeError where the
 * bytes are neither.
 */
const frameMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const frameHeadBytes = 16;
const blockBytesMax = 32 * 1024;

export function unpackSnappy(bytes: Buffer, bytesMax: number): Buffer {
  if (bytes.length < frameHeadBytes || bytes.compare(frameMagic, 0, 8, 0, 8) !== 0) return unpackBlock(bytes, bytesMax);
  const parts: Buffer[] = [];
  let left = bytesMax;
  for (let at = frameHeadBytes; at < bytes.length;) {
    if (at + 4 > bytes.length) throw new RangeError('a snappy frame ends in the middle of a length');
    const length = bytes.readUInt32BE(at);
    at += 4;
    if (length > bytes.length - at) throw new RangeError('a block of a snappy frame is longer than what is there');
    const part = unpackBlock(bytes.subarray(at, at + length), left);
    left -= part.length;
    parts.push(part);
    at += length;
  }
  return Buffer.concat(parts);
}

function unpackBlock(bytes: Buffer, bytesMax: number): Buffer {
  let at = 0;
  let length = 0;
  for (let scale = 1, more = true; more; scale *= 128) {
    if (at >= bytes.length || at > 4) throw new RangeError('a snappy block does not say how long it is');
    const byte = bytes[at++]!;
    length += (byte & 0x7f) * scale;
    more = byte >= 0x80;
  }
  if (length > bytesMax) throw new RangeError(`a snappy block unpacks to ${length} bytes, ${bytesMax} are allowed`);
  const out = Buffer.allocUnsafe(length);
  let to = 0;
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      let count = (tag >>> 2) + 1;
      const extra = count - 60;
      if (extra > 0) {
        if (at + extra > bytes.length) throw new RangeError('a snappy block ends in the middle of a literal');
        count = bytes.readUIntLE(at, extra) + 1;
        at += extra;
      }
      if (at + count > bytes.length || to + count > length) throw new RangeError('a literal past the end of a snappy block');
      bytes.copy(out, to, at, at + count);
      at += count;
      to += count;
      continue;
    }
    const offsetBytes = kind === 1 ? 1 : kind === 2 ? 2 : 4;
    if (at + offsetBytes > bytes.length) throw new RangeError('a snappy block ends in the middle of a copy');
    const distance = bytes.readUIntLE(at, offsetBytes) + (kind === 1 ? (tag >>> 5) * 256 : 0);
    const count = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    at += offsetBytes;
    let source = to - distance;
    if (distance === 0 || source < 0 || to + count > length) throw new RangeError('a copy leads outside of a snappy block');
    for (const stop = to + count; to < stop;) out[to++] = out[source++]!;
  }
  if (to !== length) throw new RangeError(`a snappy block says ${length} bytes and has ${to}`);
  return out;
}

/** In the frame of Java's clients, which every client reads. */
export function packSnappy(bytes: Buffer): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  frameMagic.copy(head);
  head.writeUInt32BE(1, 8);
  head.writeUInt32BE(1, 12);
  const parts: Buffer[] = [head];
  for (let at = 0; at < bytes.length; at += blockBytesMax) {
    const block = packBlock(bytes.subarray(at, at + blockBytesMax));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

const hashBits = 12;
const places = new Int32Array(1 << hashBits);

function packBlock(bytes: Buffer): Buffer {
  const out = Buffer.allocUnsafe(32 + bytes.length + Math.ceil(bytes.length / 6));
  let used = 0;
  let length = bytes.length;
  for (; length >= 0x80; length >>>= 7) out[used++] = (length & 0x7f) | 0x80;
  out[used++] = length;
  let anchor = 0;
  places.fill(-1);
  for (let at = 0; at + 8 <= bytes.length;) {
    const word = bytes.readUInt32LE(at);
    const hash = Math.imul(word, 0x1e35a7bd) >>> (32 - hashBits);
    const candidate = places[hash]!;
    places[hash] = at;
    if (candidate < 0 || bytes.readUInt32LE(candidate) !== word) {
      at += 1 + ((at - anchor) >>> 5);
      continue;
    }
    let count = 4;
    while (at + count < bytes.length && bytes[at + count] === bytes[candidate + count]) count++;
    used = putLiteral(out, used, bytes, anchor, at);
    for (let left = count; left > 0;) {
      const step = Math.min(left, 64);
      out[used++] = ((step - 1) << 2) | 2;
      out[used++] = (at - candidate) & 0xff;
      out[used++] = (at - candidate) >>> 8;
      left -= step;
    }
    at += count;
    anchor = at;
  }
  return out.subarray(0, putLiteral(out, used, bytes, anchor, bytes.length));
}

function putLiteral(out: Buffer, used: number, bytes: Buffer, from: number, to: number): number {
  const count = to - from;
  if (count === 0) return used;
  if (count <= 60) out[used++] = (count - 1) << 2;
  else {
    out[used++] = 61 << 2;
    out[used++] = (count - 1) & 0xff;
    out[used++] = (count - 1) >>> 8;
  }
  return used + bytes.copy(out, used, from, to);
}
