import type { Clock, Timer } from '@dovecote/ground';

/** Something with a moment at which it wants to be looked at. The numbers belong to Deadlines. */
export interface Due {
  /** When, in milliseconds since 1970; Infinity when it waits for nothing. */
  dueAt: number;
  /** Where it stands in the heap; -1 when it does not. */
  duePlace: number;
  /** The moment has come, or is past. */
  due(): void;
}

/**
 * Every deadline of a broker on one timer: a heap by time, with one place for each thing that waits, whatever it holds.
 *
 * Nothing survives: after a restart the deadlines are computed from what is kept.
 */
export class Deadlines {
  private readonly heap: Due[] = [];
  private timer: Timer | undefined;
  private timerAt = Infinity;
  private isStopped = false;

  constructor(private readonly clock: Clock) {}

  /** Sees to it that `what` is called at `at` or, if it is due earlier already, then. */
  schedule(what: Due, at: number): void {
    if (at >= what.dueAt) return;
    what.dueAt = at;
    this.rise(what, what.duePlace < 0 ? this.heap.length : what.duePlace);
    if (at < this.timerAt) this.arm(at);
  }

  /** Forgets `what`, if it waits. */
  cancel(what: Due): void {
    if (what.duePlace >= 0) this.take(what.duePlace);
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
    while (this.heap.length > 0 && this.heap[0]!.dueAt <= now) this.take(0).due();
    const next = this.heap[0];
    if (next !== undefined && next.dueAt < this.timerAt) this.arm(next.dueAt);
  }

  private take(place: number): Due {
    const { heap } = this;
    const taken = heap[place]!;
    const last = heap.pop()!;
    if (last !== taken) {
      this.sink(last, place);
      this.rise(last, last.duePlace);
    }
    taken.dueAt = Infinity;
    taken.duePlace = -1;
    return taken;
  }

  private rise(what: Due, from: number): void {
    const { heap } = this;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.dueAt <= what.dueAt) break;
      this.put(heap[parent]!, at);
      at = parent;
    }
    this.put(what, at);
  }

  private sink(what: Due, from: number): void {
    const { heap } = this;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueAt < heap[child]!.dueAt) child++;
      if (what.dueAt <= heap[child]!.dueAt) break;
      this.put(heap[child]!, at);
      at = child;
    }
    this.put(what, at);
  }

  private put(what: Due, place: number): void {
    this.heap[place] = what;
    what.duePlace = place;
  }
}
