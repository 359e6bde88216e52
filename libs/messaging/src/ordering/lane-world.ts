/**
 * Lanes, what is parked in them and dead letters, in memory, with members that come, end in the middle of anything, and lose their lanes to others. Everything
 * takes its time by the simulated clock, so that an end can come between any two steps. For tests only.
 */
import type { Clock, Timer } from '@dovecote/ground';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from '../backoff.js';
import { Consumption } from '../consumption.js';
import { type DeliveryOptions, contractOf } from '../delivery-contract.js';
import { type Envelope, plainEvent } from '../envelope.js';
import { MessagingError } from '../errors.js';
import { Identifiers } from '../identifiers.js';
import type { Log } from '../log.js';
import type { Message } from '../message.js';
import type { Parked, ParkingStore, Released } from '../parking-store.js';
import { Codecs } from '../message-codec.js';
import { Payloads } from '../payloads.js';
import { RecentMessages } from '../policies/deduplication.js';
import { Settlement } from '../settlement.js';
import type { Incoming, Lane, Route, TransportCapabilities } from '../transport.js';

const OUTSTANDING_MAX = 8;

export interface WorldOptions {
  readonly seed: number;
  readonly order: 'key' | 'strict';
  readonly lanes?: number;
  /** After a member's end a log repeats everything from the first message that was not done, a queue only those that were not. */
  readonly isLog?: boolean;
  /** How often the broker refuses what is to be kept. */
  readonly refusals?: number;
  /** The most that the broker takes of a message: its body, and what its trail adds. */
  readonly bytesMax?: number;
  /** Nothing takes its time. */
  readonly isInstant?: boolean;
  readonly delivery?: DeliveryOptions;
  /** Decides about an attempt: nothing where it succeeds. */
  readonly handle?: (id: string, message: Message, member: Member) => Promise<void>;
}

interface Entry {
  readonly envelope: Envelope;
  isDone: boolean;
  deliveries: number;
}

export class LaneLog {
  readonly entries: Entry[] = [];
  readonly parked = new Map<number, Parked & { readonly epoch: number }>();
  /** Of who has restored it last: what is written in an earlier one counts for nothing. */
  epoch = 0;
  readonly releases = new Map<number, Released>();
  owner: Member | undefined;
  onRelease: ((released: Released) => void) | undefined;
  constructor(readonly id: string) {}
}

export class World {
  readonly clock = new SimulatedClock();
  readonly random: SeededRandom;
  readonly lanes: readonly LaneLog[];
  readonly letters = new Map<string, Envelope>();
  readonly log: string[] = [];
  /** In the order in which they came to their first end, by key. */
  readonly ends = new Map<string, string[]>();
  /** Whether what is published among the dead letters arrives. */
  keepsLetters = true;
  /** Whether the broker hears of acknowledgements before the first member ends. */
  acknowledges = true;
  #members = 0;

  constructor(readonly options: WorldOptions) {
    this.random = new SeededRandom(options.seed);
    this.lanes = Array.from({ length: options.lanes ?? 1 }, (_, index) => new LaneLog(`orders/${index}`));
  }

  member(): Member {
    this.#members += 1;
    return new Member(this, this.#members);
  }

  publish(id: string, key: string, text = ''): void {
    const envelope: Envelope = {
      ...plainEvent,
      id,
      type: 'orders.placed',
      source: 'shop',
      time: undefined,
      key,
      version: 1,
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify({ id, text })),
    };
    const lane = this.laneOf(key);
    lane.entries.push({ envelope, isDone: false, deliveries: 0 });
    lane.owner?.deliver(lane);
  }

  laneOf(key: string): LaneLog {
    return this.lanes[key.charCodeAt(key.length - 1) % this.lanes.length]!;
  }

  async give(lane: LaneLog, member: Member): Promise<void> {
    lane.owner = member;
    await member.take(lane);
  }

  ended(key: string, id: string): void {
    const ids = this.ends.get(key) ?? [];
    this.ends.set(key, ids);
    if (!ids.includes(id)) ids.push(id);
  }

  /** As whoever looks through the dead letters would. */
  async resolveLetter(letter: Envelope, isSentAgain: boolean): Promise<void> {
    const { lane: laneId, sequence } = letter.trail!.death!.parked!;
    const lane = this.lanes.find(({ id }) => id === laneId)!;
    const again: Envelope = { ...letter, trail: { failures: 0, starts: 0, history: [], death: undefined } };
    const released: Released = { sequence, key: letter.key!, envelope: isSentAgain ? again : undefined };
    lane.releases.set(sequence, released);
    this.letters.delete(letter.id);
    await this.pause();
    lane.owner?.hear(lane, released);
  }

  pause(mostMs = 5): Promise<void> {
    return this.options.isInstant === true ? Promise.resolve() : this.clock.pause(this.random.below(mostMs));
  }
}

/** A process: after its end nothing of it is heard. */
export class Member {
  readonly consumption: Consumption;
  readonly #handles = new Map<LaneLog, Handle>();
  readonly #heard = new Set<Released>();
  readonly #epochs = new Map<LaneLog, number>();
  isDead = false;
  /** Nothing that it writes reaches the broker until then. */
  frozen: Promise<void> | undefined;
  /** Messages of which it runs the handler. */
  readonly running = new Set<string>();

  constructor(
    private readonly world: World,
    readonly number: number,
  ) {
    const { options } = world;
    const name = `member ${number}`;
    const note = (line: string): void => void world.log.push(`${name}: ${line}`);
    const log: Log = { info: note, warn: note, error: note };
    const random = world.random.fork(name);
    const clock: Clock = new MemberClock(this, world.clock);
    const backoff = new Backoff(random, 5, 50);
    const capabilities = { broker: 'test', can: { delay: true, 'dead-letters': true } as TransportCapabilities['can'] };
    const transport = { capabilities, publish: (envelope: Envelope, _ms: number, route?: Route) => this.#publish(envelope, route) };
    const settlement = new Settlement('readers', transport, clock, backoff, new Identifiers(clock, random), log);
    const contract = contractOf(
      { order: options.order, retry: { attempts: 3, backoff: 'delayed', firstMs: 20 }, ...options.delivery },
      'Readers.read',
    );
    const subscription = {
      kind: 'event' as const,
      pattern: 'orders.placed',
      topic: undefined,
      messageClass: undefined,
      schema: undefined,
      contract,
      place: 'Readers.read',
      handle: (_event: object, message: Message) => this.#handle(message),
    };
    this.consumption = new Consumption([subscription], {
      settlement,
      ordering: { store: this.store, backoff, patienceMs: 200, graceMs: 20 },
      deduplication: new RecentMessages(),
      payloads: new Payloads(new Codecs([])),
      countsDeliveries: true,
      tracksCauses: false,
      clock,
      random,
      log,
    });
  }

  has(lane: LaneLog): boolean {
    return !this.isDead && this.#handles.has(lane);
  }

  async take(lane: LaneLog): Promise<void> {
    const handle = new Handle(this, this.world, lane, this.world.options.isLog ?? false);
    this.#handles.set(lane, handle);
    await this.consumption.assigned(handle);
    if (this.#handles.get(lane) === handle) handle.isOpen = true;
    this.deliver(lane);
  }

  deliver(lane: LaneLog): void {
    if (!this.isDead) this.#handles.get(lane)?.deliver();
  }

  async giveUp(lane: LaneLog): Promise<void> {
    const handle = this.#handles.get(lane);
    if (handle === undefined) return;
    handle.isOpen = false;
    await this.consumption.revoked(handle, false);
    if (!this.isDead) this.lose(lane);
  }

  /** Somebody else may have it at once. */
  lose(lane: LaneLog): void {
    const handle = this.#handles.get(lane);
    this.#handles.delete(lane);
    if (handle === undefined) return;
    handle.isOpen = false;
    handle.isGone = true;
    if (lane.owner === this) lane.owner = undefined;
    void this.consumption.revoked(handle, true);
  }

  kill(): LaneLog[] {
    this.isDead = true;
    const lanes = [...this.#handles.keys()];
    for (const lane of lanes) if (lane.owner === this) lane.owner = undefined;
    for (const handle of this.#handles.values()) handle.isGone = true;
    return lanes;
  }

  hear(lane: LaneLog, released: Released): void {
    if (!this.has(lane)) return;
    this.#heard.add(released);
    lane.onRelease?.(released);
  }

  receive(incoming: Incoming): void {
    this.consumption.receive(incoming);
  }

  async #handle(message: Message): Promise<void> {
    if (this.isDead) return never();
    this.running.add(message.id);
    try {
      await (this.world.options.handle?.(message.id, message, this) ?? Promise.resolve());
    } finally {
      this.running.delete(message.id);
    }
    if (this.isDead) return never();
    this.world.ended(message.key!, message.id);
  }

  async #publish(envelope: Envelope, route: Route | undefined): Promise<void> {
    await this.#reach(envelope);
    if (!this.world.keepsLetters) await never();
    if (route?.to?.box !== 'dead-letters') throw new Error(`${envelope.id} went to ${route?.to?.box}`);
    this.world.letters.set(envelope.id, envelope);
    if (envelope.trail?.death?.parked === undefined) this.world.ended(envelope.key!, envelope.id);
    await this.#hearBack();
  }

  get store(): ParkingStore {
    const put = async (lane: Lane, parked: Parked): Promise<void> => {
      const log = (lane as Handle).log;
      const epoch = this.#epochs.get(log) ?? 0;
      const heard = log.releases.get(parked.sequence);
      const wasHeard = heard !== undefined && this.#heard.has(heard);
      await this.#reach(parked.envelope);
      if (epoch < log.epoch) return this.#hearBack();
      log.parked.set(parked.sequence, { ...parked, epoch });
      if (wasHeard && log.releases.get(parked.sequence) === heard) log.releases.delete(parked.sequence);
      await this.#hearBack();
    };
    return {
      restore: async (lane, onRelease) => {
        const { log } = lane as Handle;
        await this.#reach();
        if (log.owner !== this) throw new Error(`${log.id} is another member's`);
        log.epoch += 1;
        this.#epochs.set(log, log.epoch);
        log.onRelease = onRelease;
        const found = [...log.parked.values()].toSorted((one, other) => one.sequence - other.sequence);
        const restored = found.flatMap((parked): Parked[] => {
          const released = log.releases.get(parked.sequence);
          if (released === undefined) return [parked];
          this.#heard.add(released);
          if (released.envelope !== undefined) return [{ ...parked, envelope: released.envelope, state: 'retry', dueAtMs: undefined }];
          log.parked.delete(parked.sequence);
          return [];
        });
        await this.#hearBack();
        return restored;
      },
      park: put,
      update: put,
      resolve: async (lane, sequence) => {
        const { log } = lane as Handle;
        const epoch = this.#epochs.get(log) ?? 0;
        await this.#reach();
        if (epoch >= (log.parked.get(sequence)?.epoch ?? 0)) {
          log.parked.delete(sequence);
          log.releases.delete(sequence);
        }
        await this.#hearBack();
      },
      leave: () => Promise.resolve(),
      release: () => Promise.reject(new Error('is the business of others')),
    };
  }

  async #reach(envelope?: Envelope): Promise<void> {
    await this.world.pause();
    await this.frozen;
    if (this.isDead) await never();
    const { bytesMax = Number.POSITIVE_INFINITY } = this.world.options;
    if (envelope !== undefined && envelope.body.byteLength + JSON.stringify(envelope.trail ?? '').length > bytesMax)
      throw new MessagingError('too-large', `the broker takes ${bytesMax} bytes`);
    if (this.world.random.chance(this.world.options.refusals ?? 0)) throw new Error('the broker is full');
  }

  async #hearBack(): Promise<void> {
    await this.world.pause();
    if (this.isDead) await never();
  }
}

/** A lane as a member has it. */
class Handle implements Lane {
  readonly id: string;
  isOpen = false;
  isGone = false;
  #next: number;
  #outstanding = 0;
  #isPaused = false;

  constructor(
    private readonly member: Member,
    private readonly world: World,
    readonly log: LaneLog,
    private readonly isLog: boolean,
  ) {
    this.id = log.id;
    const first = log.entries.findIndex(({ isDone }) => !isDone);
    this.#next = first === -1 ? log.entries.length : first;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.deliver();
  }

  deliver(): void {
    while (this.isOpen && !this.#isPaused && this.#outstanding < OUTSTANDING_MAX && this.#next < this.log.entries.length) {
      const entry = this.log.entries[this.#next]!;
      this.#next += 1;
      if (!entry.isDone || this.isLog) this.#handOut(entry);
    }
  }

  #handOut(entry: Entry): void {
    entry.deliveries += 1;
    this.#outstanding += 1;
    let isSettled = false;
    const { deliveries, envelope } = entry;
    const isTakenBack = (): boolean => this.isGone;
    const settle = (isDone: boolean): void => {
      if (isSettled || this.isGone || this.member.isDead) return;
      isSettled = true;
      this.#outstanding -= 1;
      if (isDone && (this.world.acknowledges || this.member.number > 1)) entry.isDone = true;
      this.deliver();
    };
    this.member.receive({
      envelope,
      deliveries,
      isRedelivered: deliveries > 1,
      isQuarantined: false,
      lane: this,
      ...(this.isLog && { origin: `${this.id}, offset ${this.log.entries.indexOf(entry)}` }),
      get isTakenBack() {
        return isTakenBack();
      },
      acknowledge: () => settle(true),
      release: () => settle(false),
    });
  }
}

class MemberClock implements Clock {
  constructor(
    private readonly member: Member,
    private readonly clock: SimulatedClock,
  ) {}

  now(): number {
    return this.clock.now();
  }

  monotonicMs(): number {
    return this.clock.monotonicMs();
  }

  after(delayMs: number, run: () => void): Timer {
    return this.clock.after(delayMs, () => {
      if (!this.member.isDead) run();
    });
  }

  defer(run: () => void): void {
    this.after(0, run);
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
