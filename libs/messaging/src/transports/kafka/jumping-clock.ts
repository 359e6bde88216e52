/** The machine's time, which a test can let jump ahead: what was due by then happens at once. For tests only. */
import { type Clock, RealClock, type Timer } from '@dovecote/ground';

export class JumpingClock implements Clock {
  readonly #real = new RealClock();
  readonly #pending = new Set<Pending>();
  #aheadMs = 0;

  now(): number {
    return this.#real.now() + this.#aheadMs;
  }

  monotonicMs(): number {
    return this.#real.monotonicMs() + this.#aheadMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const pending: Pending = { dueMs: this.monotonicMs() + delayMs, fire: () => undefined, timer: undefined };
    pending.fire = () => {
      pending.timer?.cancel();
      if (this.#pending.delete(pending)) run();
    };
    pending.timer = this.#real.after(delayMs, pending.fire);
    this.#pending.add(pending);
    return {
      cancel: () => {
        pending.timer?.cancel();
        this.#pending.delete(pending);
      },
    };
  }

  defer(run: () => void): void {
    this.#real.defer(run);
  }

  jump(ms: number): void {
    this.#aheadMs += ms;
    const nowMs = this.monotonicMs();
    const due = [...this.#pending].filter(({ dueMs }) => dueMs <= nowMs).toSorted((one, other) => one.dueMs - other.dueMs);
    for (const { fire } of due) fire();
  }

  /** Jumps in small steps with a turn behind each: what runs may wait for more within the time. */
  async pass(ms: number, stepMs = 20): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= stepMs) {
      this.jump(Math.min(stepMs, leftMs));
      await new Promise<void>((resolve) => this.#real.defer(resolve));
    }
  }
}

interface Pending {
  readonly dueMs: number;
  fire: () => void;
  timer: Timer | undefined;
}
