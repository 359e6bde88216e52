import type { Clock, Timer } from '@dovecote/ground';
import { DueHeap, type Waiting } from '../due-heap.js';

/** Something with a moment at which it wants to be looked at, on the clock that never goes back. The numbers belong to Deadlines. */
export interface Due extends Waiting {
  /** The moment has come, or is past. */
  due(): void;
}

/**
 * Every deadline of the server on one timer: waiting fetches, sessions of members, rebalances. Measured on the clock
 * that does not jump, so that a corrected hour throws nobody out of a group.
 *
 * Nothing survives: after a restart everybody has their whole time again.
 */
export class Deadlines {
  private readonly heap = new DueHeap<Due>();
  private timer: Timer | undefined;
  private timerAt = Infinity;
  private isClosed = false;

  constructor(private readonly clock: Clock) {}

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** Calls `what` in `delayMs`, whatever was asked for before; after `close` never. */
  set(what: Due, delayMs: number): void {
    if (this.isClosed) return;
    const at = this.clock.monotonicMs() + delayMs;
    this.heap.put(what, at);
    if (at < this.timerAt) this.arm(at);
  }

  /**
   * Puts off what is already waiting without touching the heap: it is moved when its old moment comes. For what is renewed far more
   * often than it ends, as sessions are.
   */
  extend(what: Due & { extendedTo: number }, delayMs: number): void {
    what.extendedTo = this.clock.monotonicMs() + delayMs;
    if (what.duePlace < 0 || what.extendedTo < what.dueAt) this.set(what, delayMs);
  }

  /** Forgets `what`, if it waits. */
  cancel(what: Due): void {
    this.heap.take(what);
  }

  /** Nothing comes due any more; whoever waits may still be forgotten. */
  close(): void {
    this.isClosed = true;
    this.timer?.cancel();
    this.timer = undefined;
  }

  private arm(at: number): void {
    this.timer?.cancel();
    this.timerAt = at;
    this.timer = this.clock.after(Math.max(Math.ceil(at - this.clock.monotonicMs()), 0), () => this.ring());
  }

  private ring(): void {
    this.timer = undefined;
    this.timerAt = Infinity;
    const now = this.clock.monotonicMs();
    for (let what = this.heap.first; what !== undefined && what.dueAt <= now; what = this.heap.first) {
      this.heap.take(what);
      const extendedTo = (what as Partial<{ extendedTo: number }>).extendedTo ?? 0;
      if (extendedTo > now) this.set(what, extendedTo - now);
      else what.due();
    }
    const next = this.heap.first;
    if (next !== undefined && next.dueAt < this.timerAt) this.arm(next.dueAt);
  }
}
