import { randomBytes, randomInt } from 'node:crypto';
import type { Random } from './random.js';

/** The operating system's chance, fit for secrets. Keeps nothing; anyone may call it. */
export class RealRandom implements Random {
  below(limit: number): number {
    return randomInt(limit);
  }

  bytes(length: number): Buffer {
    return randomBytes(length);
  }
}
