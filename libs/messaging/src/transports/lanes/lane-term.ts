/**
 * One lane, from the moment at which a member is given it to the moment at which it is gone:
 *
 *   taking (what is parked comes, up to this term's end marker) ─▶ assigned ─▶ its messages ─▶ ending (revoked) ─▶ closed
 *
 * The messages are handed out in the order of the queue, at most `prefetch` of them at a time. One that is released is handed out again here: the broker
 * would put it behind all others.
 */
import type { Clock } from '@dovecote/ground';
import { type Envelope, plainEvent } from '../../envelope.js';
import { Fifo } from '../../fifo.js';
import { LANE_PREFETCH } from '../../limits.js';
import type { Log } from '../../log.js';
import type { Incoming, Lane, TransportConsumer } from '../../transport.js';
import { deliveriesOf, fromProperties } from '../cloud-events.js';
import type { LaneConsumer, LaneDriver, QueueDelivery } from './lane-driver.js';
import { type Cornerstone, type ParkedNote, noteOn, noted } from './lane-notes.js';
import { parkedQueueOf } from './lane-topology.js';
import { ParkedPlaces } from './parked-places.js';

/** What the lanes of a member have in common. */
export interface LaneWorld {
  readonly group: string;
  readonly member: string;
  /** The most messages of a lane that may be out at once. */
  readonly prefetch: number;
  readonly driver: LaneDriver;
  readonly consumer: TransportConsumer;
  readonly clock: Clock;
  readonly log: Log;
}

export class LaneTerm implements Lane {
  readonly places: ParkedPlaces;
  readonly #waiting = new Fifo<QueueDelivery>();
  readonly #again = new Fifo<LaneIncoming>();
  #out = 0;
  #isPaused = false;
  #isEnding = false;
  #isClosed = false;
  /** One is held for as long as the lane is here: at last the own one, which says in which epoch. */
  #cornerstone: QueueDelivery | undefined;
  /** Those of earlier owners, in whose place the own one comes. */
  readonly #former: QueueDelivery[] = [];
  /** The highest of those who had the lane before; then the own one. */
  #epoch = 0;
  #isTaken = false;
  #isAssigned = false;
  #assigning: Promise<void> | undefined;
  #ended: Promise<void> | undefined;
  #messages: LaneConsumer | undefined;

  constructor(
    private readonly world: LaneWorld,
    readonly id: string,
    private readonly name: string,
  ) {
    this.places = new ParkedPlaces(name, (envelope, note) => this.#publish(noted(envelope, { ...note, epoch: this.#epoch })));
  }

  /** The lane is another's, or may be: nothing can be settled any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Asks for all that is parked in the lane. */
  take(): void {
    const marker = ownEnvelope(this.world, this.name, 'dovecote.end');
    this.#publish(noted(marker, { what: 'end', term: this.name })).catch((error: unknown) => {
      if (!this.#isClosed) this.world.driver.fail(error);
    });
  }

  /** A delivery of the queue of what is parked. What has no note is a stranger's, and stays there. */
  receive(delivery: QueueDelivery): void {
    const note = noteOn(delivery.properties);
    if (note === undefined) return;
    if (note.what === 'cornerstone') this.#lay(note, delivery);
    else if (note.what === 'end') {
      delivery.acknowledge();
      if (note.term === this.name && !this.#isEnding) this.#assigning ??= this.#assign();
    } else if (note.what === 'parked' && this.#isLate(note)) delivery.acknowledge();
    else this.places.receive(note, delivery);
  }

  /** One is held, so that whoever is next is given something; more are not needed. */
  #lay({ epoch }: Cornerstone, delivery: QueueDelivery): void {
    if (epoch !== undefined && !this.#isTaken) {
      this.#epoch = Math.max(this.#epoch, epoch);
      this.#former.push(delivery);
    } else if (epoch !== undefined && epoch === this.#epoch) {
      for (const former of [...this.#former.splice(0), this.#cornerstone]) former?.acknowledge();
      this.#cornerstone = delivery;
    } else if (this.#cornerstone === undefined) this.#cornerstone = delivery;
    else delivery.acknowledge();
  }

  /** Written by who had the lane before, when it was another's already: it stands behind the word of that one. */
  #isLate({ term, epoch }: ParkedNote): boolean {
    if (this.#isTaken) return term !== this.name;
    const isLate = epoch !== undefined && epoch < this.#epoch;
    if (!isLate && epoch !== undefined) this.#epoch = Math.max(this.#epoch, epoch);
    return isLate;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#flow();
  }

  /** Hands out nothing more, and keeps the lane: what is out can be settled, and parked. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    this.#waiting.drain();
    await this.#assigning;
    await this.#messages?.cancel();
  }

  /** Hands out nothing more; resolves when the lane may go to another. Where it `isLost` it went already. */
  end(isLost: boolean): Promise<void> {
    this.#isClosed ||= isLost;
    this.#ended ??= this.#end(isLost);
    return this.#ended;
  }

  /** What was out is done with. */
  leave(): void {
    this.#out -= 1;
    this.#flow();
  }

  repeat(incoming: LaneIncoming): void {
    this.#again.push(incoming);
    this.world.clock.defer(() => this.#flow());
  }

  async #end(isLost: boolean): Promise<void> {
    this.#isEnding = true;
    this.#waiting.drain();
    await this.#assigning;
    if (this.#isAssigned) await this.world.consumer.revoked(this, isLost);
    this.#isClosed = true;
    await this.#messages?.close();
  }

  async #assign(): Promise<void> {
    this.#isTaken = true;
    this.#epoch += 1;
    try {
      await this.#publish(noted(ownEnvelope(this.world, this.name, 'dovecote.cornerstone'), { what: 'cornerstone', epoch: this.#epoch }));
    } catch (error) {
      if (!this.#isClosed) this.world.driver.fail(error);
      return;
    }
    if (this.#isEnding) return;
    this.#isAssigned = true;
    await this.world.consumer.assigned(this);
    if (this.#isEnding) return;
    try {
      this.#messages = await this.world.driver.consume(this.id, { prefetch: LANE_PREFETCH }, (delivery) => this.#arrived(delivery));
    } catch (error) {
      if (!this.#isClosed) this.world.driver.fail(error);
    }
  }

  #arrived(delivery: QueueDelivery): void {
    if (this.#isEnding) return;
    this.#waiting.push(delivery);
    this.#flow();
  }

  #flow(): void {
    const { consumer, prefetch } = this.world;
    while (!this.#isPaused && !this.#isEnding && this.#again.length > 0) consumer.onMessage(this.#again.shift()!);
    while (!this.#isPaused && !this.#isEnding && this.#out < prefetch) {
      const delivery = this.#waiting.shift();
      if (delivery === undefined) return;
      this.#out += 1;
      consumer.onMessage(new LaneIncoming(this, delivery));
    }
  }

  #publish(envelope: Envelope): Promise<void> {
    return this.world.driver.publish({ queue: parkedQueueOf(this.id) }, envelope);
  }
}

class LaneIncoming implements Incoming {
  readonly envelope: Incoming['envelope'];
  readonly isQuarantined = false;
  #isSettled = false;

  constructor(
    readonly lane: LaneTerm,
    private readonly delivery: QueueDelivery,
    private readonly repeats = 0,
  ) {
    this.envelope = fromProperties(delivery.properties, delivery.routingKey, delivery.body);
  }

  get isRedelivered(): boolean {
    return this.repeats > 0 || this.delivery.isRedelivered;
  }

  get deliveries(): number {
    return deliveriesOf(this.delivery.properties, this.delivery.isRedelivered) + this.repeats;
  }

  get isTakenBack(): boolean {
    return this.lane.isClosed;
  }

  acknowledge(): void {
    if (!this.#settle()) return;
    this.delivery.acknowledge();
    this.lane.leave();
  }

  release(): void {
    if (this.#settle()) this.lane.repeat(new LaneIncoming(this.lane, this.delivery, this.repeats + 1));
  }

  #settle(): boolean {
    if (this.#isSettled || this.lane.isClosed) return false;
    this.#isSettled = true;
    return true;
  }
}

/** What members tell each other, as an envelope: everything travels as one. */
export function ownEnvelope({ group }: Pick<LaneWorld, 'group'>, id: string, type: string): Envelope {
  return {
    ...plainEvent,
    id,
    type,
    source: group,
    time: undefined,
    key: undefined,
    version: undefined,
    contentType: 'application/json',
    body: new Uint8Array(0),
  };
}
