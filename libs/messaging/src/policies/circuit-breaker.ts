import type { Gate } from './gate.js';

/**
 * Rests a handler that fails and fails: what it calls is down, and every message that it takes meanwhile loses an attempt for nothing.
 *
 *   closed ─(failures in a row)─▶ open ─(restMs)─▶ one message tries ─▶ succeeds: closed | fails: open again
 */
export class CircuitBreaker implements Gate {
  #failures = 0;
  #restsUntilMs: number | undefined;
  #isTrying = false;

  constructor(
    private readonly failuresMax: number,
    private readonly restMs: number,
    /** Told when it opens. */
    private readonly opened: (failures: number, restMs: number) => void,
  ) {}

  waitMs(nowMs: number): number {
    if (this.#restsUntilMs === undefined) return 0;
    if (this.#isTrying) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#restsUntilMs - nowMs);
  }

  started(): void {
    if (this.#restsUntilMs !== undefined) this.#isTrying = true;
  }

  ended(isSuccess: boolean, nowMs: number): void {
    if (isSuccess) {
      this.#failures = 0;
      this.#restsUntilMs = undefined;
      this.#isTrying = false;
      return;
    }
    this.#failures += 1;
    // Those that were running when it opened say nothing new.
    if (this.#restsUntilMs !== undefined && !this.#isTrying) return;
    if (this.#failures < this.failuresMax) return;
    this.#isTrying = false;
    this.#restsUntilMs = nowMs + this.restMs;
    this.opened(this.#failures, this.restMs);
  }
}
