/**
 * Chance that repeats itself exactly: the same seed gives the same numbers on every machine. Not fit for secrets.
 *
 * The generator is xoshiro128** 1.1 by David Blackman and Sebastiano Vigna (public domain, https://prng.di.unimi.it), its state filled by
 * their splitmix64. Anyone may make one; one stream has one user, or the numbers depend on who asks first.
 */
import type { Random } from './random.js';

export class SeededRandom implements Random {
  readonly seed: string;
  readonly #state: Uint32Array;

  constructor(seed: number | string, state?: readonly [number, number, number, number]) {
    this.seed = String(seed);
    this.#state = state === undefined ? expand(this.seed) : Uint32Array.from(state);
  }

  below(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > RANGE)
      throw new RangeError(`the limit must be a whole number from 1 to 2^32, not ${limit}`);
    // Numbers past the last whole multiple of `limit` are drawn again: they would favour the small ones.
    const fair = RANGE - (RANGE % limit);
    for (;;) {
      const drawn = this.#next();
      if (drawn < fair) return drawn % limit;
    }
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let position = 0; position < length; position++) bytes[position] = this.#next() >>> 24;
    return bytes;
  }

  /** True in about `share` of all calls. */
  chance(share: number): boolean {
    return this.#next() < share * RANGE;
  }

  /** A number from `from` up to, not including, `to`, with fractions. */
  between(from: number, to: number): number {
    return from + (this.#next() / RANGE) * (to - from);
  }

  /** A stream of its own for a part of the run, the same whatever was drawn here before. */
  fork(name: string): SeededRandom {
    return new SeededRandom(`${this.seed}/${name}`);
  }

  #next(): number {
    const state = this.#state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(state[1], 5), 7), 9) >>> 0;
    const carried = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= carried;
    state[3] = rotateLeft(state[3], 11);
    return result;
  }
}

const RANGE = 2 ** 32;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** FNV-1a (64 bits) of the seed's text, stretched by splitmix64. */
function expand(seed: string): Uint32Array {
  let mixed = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(seed)) mixed = BigInt.asUintN(64, (mixed ^ BigInt(byte)) * 0x100000001b3n);
  const state = new BigUint64Array(2);
  for (let index = 0; index < state.length; index++) {
    mixed = BigInt.asUintN(64, mixed + 0x9e3779b97f4a7c15n);
    let value = mixed;
    value = BigInt.asUintN(64, (value ^ (value >> 30n)) * 0xbf58476d1ce4e5b9n);
    value = BigInt.asUintN(64, (value ^ (value >> 27n)) * 0x94d049bb133111ebn);
    state[index] = value ^ (value >> 31n);
  }
  return new Uint32Array(state.buffer);
}
