import { performance } from 'node:perf_hooks';
// Not the globals: a test that fakes those must not stop the broker it talks to.
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import type { Clock, Timer } from './clock.js';

/** Node's own time. Nothing here survives the process. Made once by `realGround`; anyone may call it. */
export class RealClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, run: () => void): Timer {
    return new RealTimer(performance.now() + delayMs, run);
  }

  defer(run: () => void): void {
    setImmediate(run);
  }
}

/** Node's timers overflow past this many milliseconds and fire at once; a longer wait is made of several. */
const STRETCH_MS_MAX = 2 ** 31 - 1;

class RealTimer implements Timer {
  #stretch: NodeJS.Timeout;

  constructor(
    private readonly dueMs: number,
    private readonly run: () => void,
  ) {
    this.#stretch = this.#wait(dueMs - performance.now());
  }

  cancel(): void {
    clearTimeout(this.#stretch);
  }

  #wait(remainingMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#wake(), Math.min(Math.ceil(remainingMs), STRETCH_MS_MAX)).unref();
  }

  /** Node counts whole milliseconds and may come a fraction early, which would break "or later". */
  #wake(): void {
    const remainingMs = this.dueMs - performance.now();
    if (remainingMs > 0) this.#stretch = this.#wait(remainingMs);
    else this.run();
  }
}
