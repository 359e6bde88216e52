import type { Clock, Timer } from '@dovecote/ground';
import { DueHeap, type Waiting } from '../due-heap.js';

/** Something with a moment at which it wants to be looked at, in milliseconds since 1970. The numbers belong to Deadlines. */
export interface Due extends Waiting {
  /** The moment has come, or is past. */
  due(): void;
}

/**
 * Every deadline of a broker on one timer, with one place for each thing that waits, whatever it holds.
 *
 * Nothing survives: after a restart the deadlines are computed from what is kept.
 */
export class Deadlines {
  private readonly heap = new DueHeap<Due>();
  private timer: Timer | undefined;
  private timerAt = Infinity;
  private isStopped = false;

  constructor(private readonly clock: Clock) {}

  /** Sees to it that `what` is called at `at` or, if it is due earlier already, then. */
  schedule(what: Due, at: number): void {
    if (at >= what.dueAt) return;
    this.heap.put(what, at);
    if (at < this.timerAt) this.arm(at);
  }

  /** Forgets `what`, if it waits. */
  cancel(what: Due): void {
    this.heap.take(what);
  }

  /** Nothing is called any more: the last words are about to be said. */
  stop(): void {
    this.timer?.cancel();
    this.isStopped = true;
  }

  private arm(at: number): void {
    if (this.isStopped) return;
    this.timer?.cancel();
    this.timerAt = at;
    this.timer = this.clock.after(Math.max(at - this.clock.now(), 0), () => this.ring());
  }

  private ring(): void {
    this.timer = undefined;
    this.timerAt = Infinity;
    const now = this.clock.now();
    for (let first = this.heap.first; first !== undefined && first.dueAt <= now; first = this.heap.first) {
      this.heap.take(first);
      first.due();
    }
    const next = this.heap.first;
    if (next !== undefined && next.dueAt < this.timerAt) this.arm(next.dueAt);
  }
}
