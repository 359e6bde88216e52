/**
 * The messages of one key in a lane, one after the other.
 *
 *   arrives ─▶ waiting, not acknowledged ─▶ its turn ─▶ handler ─▶ done
 *                 │ one before it is parked              │ again later, or dead
 *                 ▼                                      ▼
 *              parked, behind ────────▶ its turn ◀──── parked, with its time ─▶ when it is due, or released
 *
 * Parked one by one: the next one only when the broker has the one before it, because what is not parked after a crash comes behind what is. In memory.
 */
import { Fifo } from '../fifo.js';
import { LaneGone, type OrderedMessage, type Outcome } from './ordered-message.js';

/** What keys have in common (lane-order.ts). What is not its to do any more rejects with `LaneGone`. */
export interface KeyLane {
  /** Whether what is parked may begin, and what was handed out and is not. */
  readonly startsParked: boolean;
  readonly startsWaiting: boolean;
  /** Something is under way, until `leave`. */
  enter(): void;
  leave(): void;
  forget(key: KeyOrder): void;
  hasRoom(): boolean;
  untilWanted(message: OrderedMessage): Promise<void>;
  handle(message: OrderedMessage, key: string): Promise<Outcome>;
  /** Resolves to what becomes of it where it is too large to be kept. */
  keepForLater(message: OrderedMessage, key: string, again: Outcome & { readonly kind: 'again' }): Promise<Outcome | undefined>;
  keepDead(message: OrderedMessage, key: string, dead: Outcome & { readonly kind: 'dead' }): Promise<void>;
  /** Resolves to whether it is: not where it is too large. */
  keepBehind(message: OrderedMessage, key: string): Promise<boolean>;
  settle(message: OrderedMessage): Promise<void>;
}

export class KeyOrder {
  readonly #parked = new Fifo<OrderedMessage>();
  readonly #waiting = new Fifo<OrderedMessage>();
  #current: OrderedMessage | undefined;
  #isRunning = false;
  #isParking = false;
  /** What the broker is about to have: the first of those that wait. */
  #beingParked: Promise<unknown> | undefined;

  constructor(
    readonly key: string,
    private readonly lane: KeyLane,
  ) {}

  restore(message: OrderedMessage): void {
    if (this.#parked.length === 0) message.mayHaveBegun = true;
    this.#parked.push(message);
  }

  receive(message: OrderedMessage): void {
    this.#waiting.push(message);
    this.goOn();
  }

  /** Does what can be done now. */
  goOn(): void {
    if (!this.#isRunning) void this.#run();
    if (!this.#isParking && this.#waiting.length > 0 && this.#isBlocked) void this.#park();
  }

  /** What waits goes back to where it came from. */
  giveBack(): void {
    for (const { source } of this.#waiting.drain()) source?.release();
  }

  get #isBlocked(): boolean {
    return this.#parked.length > 0 || this.#current?.sequence !== undefined;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.lane.enter();
    try {
      for (;;) {
        if (this.#parked.length === 0 && this.#beingParked !== undefined) await this.#beingParked;
        const message = this.#next();
        if (message === undefined) break;
        this.#current = message;
        await this.#turn(message);
        this.#current = undefined;
      }
    } catch (error) {
      if (!(error instanceof LaneGone)) throw error;
      if (this.#current?.source !== undefined) this.#current.source.release();
    } finally {
      this.#current = undefined;
      this.#isRunning = false;
      if (this.#waiting.length === 0 && this.#parked.length === 0) this.lane.forget(this);
      this.lane.leave();
    }
  }

  #next(): OrderedMessage | undefined {
    if (this.#parked.length > 0) return this.lane.startsParked ? this.#parked.shift() : undefined;
    return this.lane.startsWaiting ? this.#waiting.shift() : undefined;
  }

  /** Resolves when the next one may have its turn. */
  async #turn(message: OrderedMessage): Promise<void> {
    const { lane } = this;
    for (;;) {
      if (message.sequence !== undefined) await lane.untilWanted(message);
      if (message.isGone) return lane.settle(message);
      let outcome = await lane.handle(message, this.key);
      while (outcome.kind === 'again') {
        const refused = await lane.keepForLater(message, this.key, outcome);
        if (refused === undefined) break;
        outcome = refused;
      }
      if (outcome.kind === 'done') return lane.settle(message);
      if (outcome.kind === 'dead') await lane.keepDead(message, this.key, outcome);
      else if (outcome.kind === 'back' && !lane.startsWaiting) throw new LaneGone();
      this.goOn();
    }
  }

  async #park(): Promise<void> {
    this.#isParking = true;
    this.lane.enter();
    try {
      for (let message = this.#waiting.peek(); message !== undefined && this.#isBlocked; message = this.#waiting.peek()) {
        // Nothing behind it may be parked before it is.
        if (message.isTooLarge || !this.lane.startsParked || !this.lane.hasRoom()) break;
        const parking = this.lane.keepBehind(message, this.key);
        this.#beingParked = parking;
        if (!(await parking)) break;
        this.#waiting.shift();
        this.#parked.push(message);
      }
    } catch (error) {
      if (!(error instanceof LaneGone)) throw error;
    } finally {
      this.#beingParked = undefined;
      this.#isParking = false;
      this.lane.leave();
    }
  }
}
