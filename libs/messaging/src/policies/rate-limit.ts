import type { Gate } from './gate.js';

/** At most `count` starts in any stretch of `perMs`: a ring of the last starts, so exact, and as large as `count`. */
export class RateLimit implements Gate {
  readonly #starts: Float64Array;
  #next = 0;

  constructor(
    count: number,
    private readonly perMs: number,
  ) {
    this.#starts = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  waitMs(nowMs: number): number {
    const oldestMs = this.#starts[this.#next] ?? Number.NEGATIVE_INFINITY;
    return Math.max(0, oldestMs + this.perMs - nowMs);
  }

  started(nowMs: number): void {
    this.#starts[this.#next] = nowMs;
    this.#next = (this.#next + 1) % this.#starts.length;
  }

  ended(): void {}
}
