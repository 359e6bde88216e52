import type { Gate } from './gate.js';

/** At most so many at once. */
export class Concurrency implements Gate {
  #running = 0;

  constructor(private readonly max: number) {}

  waitMs(): number {
    return this.#running < this.max ? 0 : Number.POSITIVE_INFINITY;
  }

  started(): void {
    this.#running += 1;
  }

  ended(): void {
    this.#running -= 1;
  }
}
