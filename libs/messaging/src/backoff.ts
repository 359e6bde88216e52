import type { Random } from '@dovecote/ground';

/**
 * How long to wait after the n-th failure in a row: doubling from `firstMs` to `maxMs`, and spread by chance over the upper half, so that what
 * failed together does not come back together. Keeps nothing.
 */
export class Backoff {
  constructor(
    private readonly random: Random,
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {}

  /** Whole milliseconds, from `firstMs` to `maxMs`; `failures` counts from 1. */
  delayMs(failures: number): number {
    // Past 2^30 the doubling says nothing more, and 2 ** 1024 would be infinite.
    const ceilingMs = Math.min(this.maxMs, this.firstMs * 2 ** Math.min(failures, 30));
    const halfMs = Math.ceil(ceilingMs / 2);
    return Math.min(this.maxMs, Math.max(this.firstMs, halfMs + this.random.below(Math.floor(ceilingMs / 2) + 1)));
  }
}
