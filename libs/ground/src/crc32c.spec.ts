import { describe, expect, it } from '@jest/globals';
import { foldBytesMax, foldedBytes, Folding } from './crc32c-folding.js';
import { crc32c } from './crc32c.js';
import { SeededRandom } from './seeded-random.js';

/** By the definition, a bit at a time. */
function byBits(bytes: Uint8Array, start: number): number {
  let sum = ~start;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

describe('CRC-32C', () => {
  const random = new SeededRandom(7);
  const bytes = random.bytes(3 * foldBytesMax);

  it('is that of the definition, for any length, place and start', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    const lengths = [0, 1, 31, 32, 33, 8191, 8192, 8193, 8207, 65_535, 65_536, 65_537, 2 * 65_536 + 8191, 2 * 65_536 + 8192, 170_001];
    for (const length of [...lengths, ...Array.from({ length: 60 }, () => random.below(30_000))]) {
      const [from, start] = [random.below(17), random.below(2 ** 32)];
      expect(crc32c(bytes, start, from, from + length)).toBe(byBits(bytes.subarray(from, from + length), start));
    }
  });

  it('goes on where another sum ended, and sees every bit', () => {
    const whole = crc32c(bytes);
    for (let round = 0; round < 50; round++) {
      const cut = random.below(bytes.length + 1);
      expect(crc32c(bytes, crc32c(bytes, 0, 0, cut), cut)).toBe(whole);
      const [at, bit] = [random.below(bytes.length), 1 << random.below(8)];
      bytes[at]! ^= bit;
      expect(crc32c(bytes)).not.toBe(whole);
      bytes[at]! ^= bit;
    }
  });

  it('is summed by WebAssembly here: what is left of a run has its sum', () => {
    const folding = Folding.make();
    expect(folding).toBeDefined();
    for (const length of [foldedBytes, foldedBytes + 16, foldedBytes + 48, foldedBytes + 64, foldedBytes + 80, 32_768, foldBytesMax]) {
      folding!.bytes.set(bytes.subarray(0, length), foldedBytes);
      const left = folding!.run(length);
      // Without what CRCs begin and end with: the remainder of the polynomial alone.
      const remainder = (of: Uint8Array): number => ~byBits(of, 0xffff_ffff) >>> 0;
      expect(remainder(folding!.bytes.subarray(left, left + foldedBytes))).toBe(remainder(bytes.subarray(0, length)));
      expect(folding!.bytes.subarray(0, foldedBytes).every((byte) => byte === 0)).toBe(true);
    }
  });
});
