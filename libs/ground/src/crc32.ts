import { crc32 as nativeCrc32 } from 'node:zlib';

/**
 * CRC-32 (the polynomial of Ethernet and zip) of `bytes`, from Node's own zlib, which uses the processor's carry-less multiplication.
 * For files that only we read; formats of others that ask for the Castagnoli polynomial need another function. `start` is the
 * sum of what stands before the bytes, or a number to tell one writer's sums from another's.
 */
export function crc32(bytes: Uint8Array, start = 0): number {
  return nativeCrc32(bytes, start);
}
