import { FAILURES_REMEMBERED_MAX } from './limits.js';

/**
 * How often each message failed in this process, so that its backoff grows although the broker hands it out anew each time.
 *
 * In memory only and bounded: after a restart, or past the bound, counting starts again and the next backoff is short. Nothing else depends on it.
 */
export class FailureCounts {
  readonly #counts = new Map<string, number>();

  /** One more failure of this message; returns how many that makes. */
  add(id: string): number {
    const count = (this.#counts.get(id) ?? 0) + 1;
    // Deleted first, so that the order of the map is that of the latest failure.
    this.#counts.delete(id);
    this.#counts.set(id, count);
    if (this.#counts.size > FAILURES_REMEMBERED_MAX) {
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest);
        break;
      }
    }
    return count;
  }

  forget(id: string): void {
    if (this.#counts.size > 0) this.#counts.delete(id);
  }
}
