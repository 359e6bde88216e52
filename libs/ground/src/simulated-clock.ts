/**
 * Time that stands still until somebody moves it, and the one ordered queue of everything that is going to happen.
 *
 * Events run one by one, by due time and then by the order in which they were asked for; between two of them every promise that can
 * go on does. Nothing here survives its run. A test moves it with `advance`, `runUntilIdle` or `drive`; the code under test only sees `Clock`.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers';
import type { Clock, Timer } from './clock.js';
import { Trace } from './trace.js';

export class SimulatedClock implements Clock {
  #elapsedMs = 0;
  #order = 0;
  #steps = 0;
  #isMoving = false;
  #wallMs: number;
  readonly #events = new EventQueue();

  constructor(
    readonly trace: Trace = new Trace(),
    startMs: number = START_MS,
  ) {
    this.#wallMs = startMs;
  }

  now(): number {
    return Math.floor(this.#wallMs + this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.#elapsedMs + Math.max(0, delayMs), run);
  }

  /** Calls `run` once `monotonicMs` is `dueMs`. Exact, where adding a delay to the time would round. */
  at(dueMs: number, run: () => void): Timer {
    const event = new ClockEvent(dueMs, this.#order++, run);
    this.#events.push(event);
    return event;
  }

  defer(run: () => void): void {
    this.after(0, run);
  }

  /** Resolves after `ms` of this clock's time: how a scenario lets time pass while somebody else drives. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Somebody sets the machine's clock: `now` jumps, everything that is under way takes as long as before. */
  setWallClock(nowMs: number): void {
    this.#wallMs = nowMs - this.#elapsedMs;
  }

  /** How many events ran since the beginning. */
  get steps(): number {
    return this.#steps;
  }

  /** When the next event is due, by `monotonicMs`; undefined where nothing is going to happen. */
  get nextDueMs(): number | undefined {
    return this.#events.peek()?.dueMs;
  }

  /** Moves to the next event and runs it; false where there is none. Promises go on only once the caller gives them a turn. */
  step(): boolean {
    const event = this.#events.pop();
    if (event === undefined) return false;
    this.#elapsedMs = Math.max(this.#elapsedMs, event.dueMs);
    this.#steps++;
    this.trace.note(`${event.order} at ${event.dueMs}`);
    event.fire();
    return true;
  }

  /** Runs what is due within the next `ms`, in order, and ends exactly there. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms;
    await this.#move(async () => {
      await settle();
      while ((this.nextDueMs ?? Infinity) <= endMs) {
        this.step();
        await settle();
      }
      this.#elapsedMs = Math.max(this.#elapsedMs, endMs);
    });
  }

  /** Runs until nothing is left to happen. Throws a `StuckError` past `stepsMax` events: something asks for more and more. */
  async runUntilIdle(stepsMax: number = STEPS_MAX): Promise<void> {
    await this.#move(async () => {
      await settle();
      for (let steps = 0; this.step(); steps++) {
        if (steps >= stepsMax) throw new StuckError(`still busy after ${stepsMax} events`, this.#elapsedMs);
        await settle();
      }
    });
  }

  /**
   * Runs events until `promise` settles, and answers as it does. Throws a `StuckError` where it never will: nothing is left to happen, or
   * `stepsMax` events or `msMax` of this clock's time have passed.
   */
  async drive<Answer>(promise: Promise<Answer>, limits: DriveLimits = {}): Promise<Answer> {
    const { stepsMax = STEPS_MAX, msMax = DRIVE_MS_MAX } = limits;
    const waited = { isOver: false };
    const settled = (): void => void (waited.isOver = true);
    promise.then(settled, settled);
    const endMs = this.#elapsedMs + msMax;
    await this.#move(async () => {
      await settle();
      for (let steps = 0; !waited.isOver; steps++) {
        const nextDueMs = this.nextDueMs;
        if (nextDueMs === undefined) throw new StuckError(NOTHING_LEFT, this.#elapsedMs);
        if (nextDueMs > endMs) throw new StuckError(`what is waited for did not come within ${msMax} ms`, this.#elapsedMs);
        if (steps >= stepsMax) throw new StuckError(`what is waited for did not come within ${stepsMax} events`, this.#elapsedMs);
        this.step();
        await settle();
      }
    });
    return promise;
  }

  async #move(run: () => Promise<void>): Promise<void> {
    assert(!this.#isMoving, 'somebody moves this clock already: wait with `pause` instead');
    this.#isMoving = true;
    try {
      await run();
    } finally {
      this.#isMoving = false;
    }
  }
}

export interface DriveLimits {
  readonly stepsMax?: number;
  readonly msMax?: number;
}

/** What is waited for cannot come any more: a promise nobody keeps, or work that never ends. */
export class StuckError extends Error {
  override readonly name = 'StuckError';
  constructor(reason: string, elapsedMs: number) {
    super(`${reason} (at ${elapsedMs.toFixed(3)} ms of simulated time)`);
  }
}

/** 2026-01-01 00:00 UTC: any moment does, as long as it is always the same one. */
const START_MS = Date.UTC(2026, 0, 1);
const STEPS_MAX = 1_000_000;
const DRIVE_MS_MAX = 24 * 60 * 60 * 1000;
const NOTHING_LEFT =
  'hangs: nothing is left to happen, and what is waited for did not come (work outside the simulated ground, such as a thread pool or a real timer, is not seen)';

/** A turn of the real event loop: every promise that can go on has gone on when it resolves. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

class ClockEvent implements Timer {
  #run: (() => void) | undefined;

  constructor(
    readonly dueMs: number,
    readonly order: number,
    run: () => void,
  ) {
    this.#run = run;
  }

  get isCancelled(): boolean {
    return this.#run === undefined;
  }

  cancel(): void {
    this.#run = undefined;
  }

  fire(): void {
    const run = this.#run;
    this.#run = undefined;
    run?.();
  }

  isBefore(other: ClockEvent): boolean {
    return this.dueMs < other.dueMs || (this.dueMs === other.dueMs && this.order < other.order);
  }
}

/** A binary heap. Cancelled events leave it when they come to the top, so a run with many long timers keeps them for a while. */
class EventQueue {
  readonly #heap: ClockEvent[] = [];

  push(event: ClockEvent): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.isBefore(event)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = event;
  }

  peek(): ClockEvent | undefined {
    while (this.#heap[0]?.isCancelled === true) this.#removeFirst();
    return this.#heap[0];
  }

  pop(): ClockEvent | undefined {
    const first = this.peek();
    if (first !== undefined) this.#removeFirst();
    return first;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      if (left === undefined) break;
      const right = heap[2 * index + 2];
      const isRight = right !== undefined && right.isBefore(left);
      const child = isRight ? right : left;
      if (last.isBefore(child)) break;
      heap[index] = child;
      index = 2 * index + (isRight ? 2 : 1);
    }
    heap[index] = last;
  }
}
