/**
 * A lane in the order of its keys, as long as this member has it: what the keys of it have in common. The parking store, the place of each parked message,
 * the bound of all of them, and the end.
 *
 * What a key did is written before it is acknowledged, and the next one of the key begins after that. What does not get through is tried again until it does,
 * or until the lane is somebody else's: then everything here is forgotten, because the broker and the parking store have it all.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../backoff.js';
import type { Death, Envelope } from '../envelope.js';
import { noTrail } from '../envelope.js';
import { isTooLarge, reasonOf } from '../errors.js';
import { LONGEST_WAIT_MS, PARKED_MAX, SUSPECTED_STARTS_MAX } from '../limits.js';
import type { Log } from '../log.js';
import type { Parked, ParkingStore, Released } from '../parking-store.js';
import { type CheckIn, keepSlim } from '../slimming.js';
import { died, started } from '../trail.js';
import type { Incoming, Lane } from '../transport.js';
import { type KeyLane, KeyOrder } from './key-order.js';
import { LaneGone, OrderedIncoming, OrderedMessage, type Outcome } from './ordered-message.js';
import type { Suspects } from './suspects.js';

export interface OrderingParts {
  readonly store: ParkingStore;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
  /** Delivered more often than this, a message may be what ends the process. */
  readonly suspectedAfter: number;
  /** How long handlers of a lane that goes to another member may take, and how long after their signals were aborted. */
  readonly patienceMs: number;
  readonly graceMs: number;
  /** Brings it to its handler. */
  begin(incoming: OrderedIncoming, envelope: Envelope): void;
  /** It ended its process too often. */
  poisoned(incoming: OrderedIncoming, envelope: Envelope, ends: number): void;
  /** It has to be kept for later, and the broker does not take so many bytes. */
  tooLarge(incoming: OrderedIncoming, envelope: Envelope, reason: string): void;
  /** Puts a payload that is too large where it may stay. */
  readonly checkIn: CheckIn;
  /** Aborts the signals of what runs of the lane. */
  abort(lane: Lane): void;
  /** Puts it among the dead letters. `origin`: where the message stands still. */
  deadLetter(letter: Envelope, origin: string | undefined): Promise<void>;
  /** Told when nothing of a lane is under way any more. */
  idle(): void;
}

/** Below so many the lane goes on. */
const ROOM_AGAIN = PARKED_MAX * 0.75;
/** Places come from the time, so that no place is given twice, whoever had the lane: so many in a millisecond. */
const PLACES_PER_MS = 1_000;
/** How often it is asked whether a lane is still here of which that is not known. */
const DOUBT_MS = 50;

export class LaneOrder implements KeyLane {
  readonly #keys = new Map<string, KeyOrder>();
  readonly #parked = new Map<number, OrderedMessage>();
  /** Of everything that was parked: where a crash came between the parking and the acknowledgement, the message comes again. */
  readonly #ids = new Set<string>();
  readonly #timers = new Map<Timer, () => void>();
  #early: Released[] | undefined = [];
  #lastSequence = 0;
  #isPaused = false;
  /** `finishing`: what was handed out is handled still. `stopping`: what runs comes to its end. `closed`: nothing here counts any more. */
  #phase: 'open' | 'finishing' | 'stopping' | 'closed' = 'open';
  #busy = 0;
  onIdle: (() => void) | undefined;

  constructor(
    private readonly lane: Lane,
    private readonly parts: OrderingParts,
    private readonly suspects: Suspects,
  ) {}

  /** Resolves when it is known what is parked. */
  async restore(): Promise<void> {
    const found = await this.#written('what is parked there cannot be read', () =>
      this.parts.store.restore(this.lane, (released) => this.#release(released)),
    );
    this.#lastSequence = this.parts.clock.now() * PLACES_PER_MS;
    for (const parked of found) {
      const message = OrderedMessage.restored(parked);
      this.#parked.set(parked.sequence, message);
      this.#ids.add(parked.envelope.id);
      this.#lastSequence = Math.max(this.#lastSequence, parked.sequence);
      this.#keyOf(parked.key).restore(message);
    }
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const released of early) this.#release(released);
    for (const key of this.#keys.values()) key.goOn();
  }

  receive(incoming: Incoming, envelope: Envelope, key: string): void {
    if (!this.startsParked) return;
    if (this.#ids.has(envelope.id)) incoming.acknowledge();
    else this.#keyOf(key).receive(new OrderedMessage(envelope, incoming));
  }

  get startsParked(): boolean {
    return this.#phase === 'open';
  }

  /** What was handed out and not parked. */
  get startsWaiting(): boolean {
    return this.#phase === 'open' || this.#phase === 'finishing';
  }

  get busy(): number {
    return this.#busy;
  }

  /** Handles what it was handed out and is not parked, and resolves when that is done. */
  async finish(limitMs: number): Promise<boolean> {
    if (this.#phase === 'open') this.#phase = 'finishing';
    return this.#isIdleWithin(limitMs);
  }

  /** Begins nothing more; what waits goes back, what runs comes to its end. */
  async stop(limitMs: number): Promise<boolean> {
    if (this.#phase !== 'closed') this.#phase = 'stopping';
    for (const key of this.#keys.values()) key.giveBack();
    return this.#isIdleWithin(limitMs);
  }

  close(): void {
    this.#phase = 'closed';
    // Whoever waits finds that it is over, and lets go of what it has.
    for (const [timer, run] of this.#timers) {
      timer.cancel();
      run();
    }
    this.#timers.clear();
    for (const message of this.#parked.values()) message.wake?.();
    for (const key of this.#keys.values()) key.giveBack();
    this.#keys.clear();
    this.#parked.clear();
  }

  enter(): void {
    this.#busy += 1;
  }

  leave(): void {
    this.#busy -= 1;
    if (this.#busy === 0) this.onIdle?.();
    if (this.#busy === 0) this.parts.idle();
  }

  forget({ key }: KeyOrder): void {
    this.#keys.delete(key);
  }

  /** Whether one more may be parked behind another; the lane is paused where not. */
  hasRoom(): boolean {
    if (this.#parked.size < PARKED_MAX) return true;
    if (!this.#isPaused) {
      this.#isPaused = true;
      this.lane.pause();
      this.parts.log.error(
        `${this.#parked.size} messages of ${this.lane.id} wait behind others of their keys, which is as many as may: nothing more of it is taken. Resolve the dead letters for which they wait, or what makes handlers fail.`,
      );
    }
    return false;
  }

  /** Resolves when a parked message is to be handled, or is gone. Rejects with `LaneGone` where it begins no more. */
  async untilWanted(message: OrderedMessage): Promise<void> {
    for (;;) {
      if (!this.startsParked) throw new LaneGone();
      if (message.isGone) return;
      if (message.state === 'dead') {
        if (message.dueAtMs !== undefined) await this.#sendLetter(message);
        // Resolved while its letter was written down.
        if (message.state === 'dead') await this.#rest(message, undefined);
        continue;
      }
      const waitMs = message.state === 'retry' && message.dueAtMs !== undefined ? message.dueAtMs - this.parts.clock.now() : 0;
      if (waitMs <= 0) return;
      await this.#rest(message, Math.min(waitMs, LONGEST_WAIT_MS));
    }
  }

  handle(message: OrderedMessage, key: string): Promise<Outcome> {
    const { source } = message;
    const isSuspected =
      source !== undefined && source.isRedelivered && source.deliveries > this.parts.suspectedAfter && message.sequence === undefined;
    if (this.lane.isDoubtful === true) return this.#undoubted().then(() => this.handle(message, key));
    return isSuspected || message.mayHaveBegun ? this.#handleNoted(message, key, isSuspected) : this.#begin(message);
  }

  async keepForLater(message: OrderedMessage, key: string, again: Outcome & { readonly kind: 'again' }): Promise<Outcome | undefined> {
    const { envelope, delayMs } = again;
    // It came to an end by itself.
    const trail = { ...(envelope.trail ?? noTrail), starts: 0 };
    try {
      await this.#keep(message, key, { ...envelope, trail }, 'retry', this.parts.clock.now() + delayMs);
      return undefined;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      return this.#refuse(message, envelope, reasonOf(error));
    }
  }

  async keepBehind(message: OrderedMessage, key: string): Promise<boolean> {
    try {
      await this.#keep(message, key, message.envelope, 'behind', undefined);
      return true;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      message.isTooLarge = true;
      this.parts.log.warn(
        `${this.lane.id}: ${message.envelope.id} is too large to be parked behind the one of its key that waits: it and what is behind it wait unacknowledged, and take places of the prefetch. ${reasonOf(error)}`,
      );
      return false;
    }
  }

  /** First it is known to be dead, then it is among the dead letters, and only then nobody needs to see to that any more. */
  async keepDead(message: OrderedMessage, key: string, { envelope, death }: { readonly envelope: Envelope; readonly death: Death }) {
    message.sequence ??= this.#nextSequence();
    const parked = { lane: this.lane.id, sequence: message.sequence };
    const letter = { ...envelope, trail: died(envelope.trail, { ...death, parked }) };
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#keep(message, key, letter, 'dead', this.parts.clock.now());
      } catch (error) {
        // Its source would be gone with its payload: it stays where it is, until the broker takes more.
        if (!isTooLarge(error)) throw error;
        message.sequence ??= this.#nextSequence();
        await this.#pause(failures, 'a dead letter for which its key waits cannot be kept', error);
      }
    }
  }

  /** Done with: nothing of it is to come again. */
  async settle(message: OrderedMessage): Promise<void> {
    const { sequence, source } = message;
    if (sequence === undefined) {
      source?.acknowledge();
      return;
    }
    await this.#written(`that ${message.envelope.id} is done could not be written down`, () =>
      this.parts.store.resolve(this.lane, sequence),
    );
    this.#parked.delete(sequence);
    if (!message.isRestored) this.#ids.delete(message.envelope.id);
    if (this.#isPaused && this.#parked.size <= ROOM_AGAIN) {
      this.#isPaused = false;
      this.lane.resume();
      for (const key of this.#keys.values()) key.goOn();
    }
  }

  /** Alone where it may be what ended the process; in any case only when it is written down that it was begun. */
  async #handleNoted(message: OrderedMessage, key: string, isSuspected: boolean): Promise<Outcome> {
    const starts = message.envelope.trail?.starts ?? 0;
    if (starts >= SUSPECTED_STARTS_MAX) return this.#turn(message, (incoming) => this.parts.poisoned(incoming, message.envelope, starts));
    const leave = isSuspected || starts > 0 ? await this.suspects.enter() : undefined;
    try {
      if (!this.startsWaiting) throw new LaneGone();
      await this.#keep(message, key, { ...message.envelope, trail: started(message.envelope.trail) }, 'retry', this.parts.clock.now());
      message.mayHaveBegun = false;
      return await this.#begin(message);
    } catch (error) {
      // Begun without that, it could end one process after the other.
      if (isTooLarge(error)) return await this.#refuse(message, message.envelope, reasonOf(error));
      throw error;
    } finally {
      leave?.();
    }
  }

  #refuse(message: OrderedMessage, envelope: Envelope, reason: string): Promise<Outcome> {
    return this.#turn(message, (incoming) => this.parts.tooLarge(incoming, envelope, reason));
  }

  #begin(message: OrderedMessage): Promise<Outcome> {
    return this.#turn(message, (incoming) => this.parts.begin(incoming, message.envelope));
  }

  #turn(message: OrderedMessage, begin: (incoming: OrderedIncoming) => void): Promise<Outcome> {
    if (!this.startsWaiting) throw new LaneGone();
    return new Promise((resolve) => begin(new OrderedIncoming(message, this.lane, () => this.startsWaiting, resolve)));
  }

  async #keep(
    message: OrderedMessage,
    key: string,
    envelope: Envelope,
    state: Parked['state'],
    dueAtMs: number | undefined,
  ): Promise<void> {
    const { store, checkIn } = this.parts;
    const sequence = (message.sequence ??= this.#nextSequence());
    const isNew = !this.#parked.has(sequence);
    const before = { envelope: message.envelope, state: message.state, dueAtMs: message.dueAtMs };
    this.#parked.set(sequence, message);
    this.#ids.add(envelope.id);
    const keep = async (form: Envelope): Promise<void> => {
      // Before it is written: a release that comes meanwhile counts more.
      Object.assign(message, { envelope: form, state, dueAtMs });
      const parked: Parked = { sequence, key, envelope: form, state, dueAtMs };
      await this.#written(
        `${form.id} could not be parked`,
        () => (isNew ? store.park(this.lane, parked) : store.update(this.lane, parked)),
        true,
      );
    };
    try {
      await keepSlim(envelope, keep, checkIn, message.origin);
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      Object.assign(message, before);
      if (isNew) this.#forget(message, sequence);
      throw error;
    }
    message.source?.acknowledge();
    message.source = undefined;
  }

  /** Nothing of it was written. */
  #forget(message: OrderedMessage, sequence: number): void {
    this.#parked.delete(sequence);
    this.#ids.delete(message.envelope.id);
    message.sequence = undefined;
  }

  async #sendLetter(message: OrderedMessage): Promise<void> {
    const letter = message.envelope;
    await this.#written(`${letter.id} could not be put among the dead letters`, () => this.parts.deadLetter(letter, message.origin));
    if (message.state === 'dead') await this.#keep(message, letter.key ?? '', letter, 'dead', undefined);
  }

  #release(released: Released): void {
    if (this.#early !== undefined) return void this.#early.push(released);
    const { sequence, envelope } = released;
    const message = this.#parked.get(sequence);
    if (message?.state !== 'dead') return;
    message.state = 'retry';
    message.dueAtMs = undefined;
    if (envelope === undefined) message.isGone = true;
    else message.envelope = envelope;
    message.wake?.();
  }

  /** As long as nothing is to be done for it. Nobody waits for its end when the lane goes. */
  async #rest(message: OrderedMessage, limitMs: number | undefined): Promise<void> {
    this.leave();
    await new Promise<void>((resolve) => {
      const cancel = limitMs === undefined ? undefined : this.#after(limitMs, resolve);
      message.wake = () => {
        cancel?.();
        resolve();
      };
    });
    message.wake = undefined;
    this.enter();
  }

  /** Until the broker took it. Rejects with `LaneGone` where it is not ours to write any more. */
  async #written<T>(failure: string, write: () => Promise<T>, isEndedByTooLarge = false): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      await this.#undoubted();
      try {
        const value = await write();
        if (this.#isOver()) throw new LaneGone();
        return value;
      } catch (error) {
        if (error instanceof LaneGone || this.#isOver()) throw new LaneGone();
        if (isEndedByTooLarge && isTooLarge(error)) throw error;
        await this.#pause(failures, failure, error);
      }
    }
  }

  async #pause(failures: number, failure: string, error: unknown): Promise<void> {
    const delayMs = this.parts.backoff.delayMs(failures);
    // The first, and then ever fewer: what does not pass by itself is not worth a line every half a minute.
    if ((failures & (failures - 1)) === 0)
      this.parts.log.error(`${this.lane.id}: ${failure}: ${reasonOf(error)}. Its key waits; trying again in ${delayMs} ms.`);
    await new Promise<void>((resolve) => this.#after(delayMs, resolve));
    if (this.#isOver()) throw new LaneGone();
  }

  async #undoubted(): Promise<void> {
    while (this.lane.isDoubtful === true && !this.#isOver()) await new Promise<void>((resolve) => this.#after(DOUBT_MS, resolve));
    if (this.#isOver()) throw new LaneGone();
  }

  #after(delayMs: number, run: () => void): () => void {
    const timer = this.parts.clock.after(delayMs, () => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.set(timer, run);
    return () => {
      timer.cancel();
      this.#timers.delete(timer);
    };
  }

  #isOver(): boolean {
    return this.#phase === 'closed';
  }

  #keyOf(key: string): KeyOrder {
    let order = this.#keys.get(key);
    if (order === undefined) this.#keys.set(key, (order = new KeyOrder(key, this)));
    return order;
  }

  #nextSequence(): number {
    this.#lastSequence += 1;
    return this.#lastSequence;
  }

  async #isIdleWithin(limitMs: number): Promise<boolean> {
    if (this.#busy === 0) return true;
    await new Promise<void>((resolve) => {
      const timer = this.parts.clock.after(limitMs, resolve);
      this.onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
    this.onIdle = undefined;
    return this.#busy === 0;
  }
}
