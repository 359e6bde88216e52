import { Decompress } from 'fzstd';
import * as zlib from 'node:zlib';

/**
 * Zstandard: Node's own where it has one (22.15 and later), else fzstd, which only unpacks. What has to be packed there goes into a frame of stored blocks, which
 * every reader unpacks and which is as long as what is in it.
 */
interface NativeZstd {
  zstdDecompressSync(bytes: Buffer, options: { readonly maxOutputLength: number }): Buffer;
  zstdCompressSync(bytes: Buffer, options: { readonly params: Readonly<Record<number, number>> }): Buffer;
}

const native = 'zstdCompressSync' in zlib ? (zlib as unknown as NativeZstd) : undefined;
const compressionLevel = 100;
const blockBytesMax = 128 * 1024;

export function unpackZstd(frame: Buffer, bytesMax: number): Buffer {
  if (native !== undefined) return native.zstdDecompressSync(frame, { maxOutputLength: bytesMax });
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const unpacking = new Decompress((part) => {
    bytes += part.length;
    if (bytes > bytesMax) throw new RangeError(`the zstd frame unpacks to more than ${bytesMax} bytes`);
    // Its memory is used again for the next part.
    parts.push(Uint8Array.from(part));
  });
  unpacking.push(frame, true);
  return Buffer.concat(parts);
}

export function packZstd(bytes: Buffer, level: number): Buffer {
  if (native !== undefined) return native.zstdCompressSync(bytes, { params: { [compressionLevel]: level } });
  const head = Buffer.alloc(9);
  head.writeUInt32LE(0xfd2fb528, 0);
  // One segment, its size in four bytes.
  head[4] = 0xa0;
  head.writeUInt32LE(bytes.length, 5);
  const parts: Buffer[] = [head];
  for (let at = 0; at === 0 || at < bytes.length; at += blockBytesMax) {
    const block = bytes.subarray(at, at + blockBytesMax);
    const blockHead = Buffer.alloc(3);
    blockHead.writeUIntLE((block.length << 3) | (at + blockBytesMax >= bytes.length ? 1 : 0), 0, 3);
    parts.push(blockHead, block);
  }
  return Buffer.concat(parts);
}
