import type { Clock, Timer } from '@dovecote/ground';

/** Something with a moment at which it wants to be looked at. The numbers belong to Deadlines. */
export interface Due {
  /** When, on the clock that never goes back; Infinity when it waits for nothing. */
  dueAt: number;
  /** Where it stands in the heap; -1 when it does not. */
  duePlace: number;
  /** The moment has come, or is past. */
  due(): void;
}

/**
 * Every deadline of the server on one timer: waiting fetches, sessions of members, rebalances. A heap by time, measured on the
 * clock that does not jump, so that a corrected hour throws nobody out of a group.
 *
 * Nothing survives: after a restart everybody has their whole time again.
 */
export class Deadlines {
  private readonly heap: Due[] = [];
  private timer: Timer | undefined;
  private timerAt = Infinity;

  constructor(private readonly clock: Clock) {}

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** Calls `what` in `delayMs`, whatever was asked for before. */
  set(what: Due, delayMs: number): void {
    this.cancel(what);
    const at = this.clock.monotonicMs() + delayMs;
    what.dueAt = at;
    this.rise(what, this.heap.length);
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
    if (what.duePlace >= 0) this.take(what.duePlace);
  }

  close(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.heap.length = 0;
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
    while (this.heap.length > 0 && this.heap[0]!.dueAt <= now) {
      const what = this.take(0);
      const extendedTo = (what as Partial<{ extendedTo: number }>).extendedTo ?? 0;
      if (extendedTo > now) this.set(what, extendedTo - now);
      else what.due();
    }
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
