/**
 * Time that stands still until a test moves it, for code that runs in the real process: what waits for nothing but its turn goes on by itself, what waits for
 * time waits until that is moved. Nothing of it survives the test.
 */
import { type Clock, RealClock, type Timer } from '@dovecote/ground';

interface Due {
  readonly dueMs: number;
  readonly run: () => void;
}

export class VirtualClock implements Clock {
  readonly #real = new RealClock();
  readonly #startMs = this.#real.now();
  /** In the order in which they are due. */
  readonly #waiting: Due[] = [];
  #elapsedMs = 0;

  now(): number {
    return this.#startMs + Math.floor(this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const due: Due = { dueMs: this.#elapsedMs + Math.max(0, delayMs), run };
    const behind = this.#waiting.findIndex(({ dueMs }) => dueMs > due.dueMs);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, due);
    if (delayMs <= 0) this.#real.defer(() => this.#fire(due));
    return { cancel: () => void this.#take(due) };
  }

  defer(run: () => void): void {
    this.#real.defer(run);
  }

  /** When the next timer is due, in milliseconds of `monotonicMs`. */
  get nextDueMs(): number | undefined {
    return this.#waiting[0]?.dueMs;
  }

  /** Moves time to the next timer, if that is not later than `untilMs`, and runs it. False where there is none: time is at `untilMs` then. */
  step(untilMs: number): boolean {
    const [next] = this.#waiting;
    this.#elapsedMs = Math.max(this.#elapsedMs, Math.min(next?.dueMs ?? untilMs, untilMs));
    if (next === undefined || next.dueMs > untilMs) return false;
    this.#fire(next);
    return true;
  }

  #fire(due: Due): void {
    if (this.#take(due)) due.run();
  }

  #take(due: Due): boolean {
    const at = this.#waiting.indexOf(due);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }
}
