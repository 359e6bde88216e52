/**
 * A group's lanes, as one of its members has them. Whoever is given what is in the queue of a lane's parked messages has the lane: that queue has a single
 * active consumer, and the broker finds another one when it is gone.
 *
 * Of all members the one whose rank for a lane is highest comes first (rendezvous hashing: whoever comes or goes moves only its own share). Brokers that
 * rank consumers let the former one end what it has, and do not say so to it; so a member that comes says hello, and who hears a higher rank gives up.
 *
 *   listen ─▶ consume each queue of parked messages ─▶ hello ─▶ a cornerstone into each, so that its owner is given something
 *
 * Of one connection: where that is lost, all lanes are. Keeps nothing.
 */
import { reasonOf } from '../../errors.js';
import { PARKED_PREFETCH } from '../../limits.js';
import type { ForeignProperties } from '../outside.js';
import type { LaneConsumer, LaneDriver, QueueDelivery } from './lane-driver.js';
import { noted } from './lane-notes.js';
import { LaneTerm, type LaneWorld, ownEnvelope } from './lane-term.js';
import { laneQueueOf, membersExchangeOf, parkedQueueOf } from './lane-topology.js';
import { rankOf } from './slots.js';

const MEMBER_HEADER = 'dovecote-member';

/** What a transport knows of its lanes before it has a connection. */
export interface LaneSettings extends Pick<LaneWorld, 'member' | 'clock' | 'log'> {
  readonly count: number;
  readonly publish: LaneDriver['publish'];
}

export class Lanes {
  readonly #seats: readonly LaneSeat[];

  constructor(
    private readonly world: LaneWorld,
    count: number,
  ) {
    this.#seats = Array.from({ length: count }, (_, lane) => new LaneSeat(world, lane));
  }

  /** Resolves when this member is among those who may be given a lane. */
  async open(): Promise<void> {
    const { driver, group, member } = this.world;
    await driver.listen(membersExchangeOf(group), (properties) => this.#heard(properties));
    await Promise.all(this.#seats.map((seat) => seat.sit()));
    const hello = { ...ownEnvelope(this.world, `${member}-hello`, 'dovecote.hello'), headers: { [MEMBER_HEADER]: member } };
    // Not waited for: the service can begin, and has no lanes until then.
    Promise.all([driver.publish({ exchange: membersExchangeOf(group) }, hello), ...this.#seats.map((seat) => seat.layCornerstone())]).catch(
      (error: unknown) => driver.fail(error),
    );
  }

  /** No message comes after this; the lanes stay until `lost`, so that what is out can be settled. */
  async stop(): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.stop()));
  }

  /** The connection is gone, or goes now. */
  lost(): void {
    for (const seat of this.#seats) seat.lose();
  }

  #heard({ headers }: ForeignProperties): void {
    const member: unknown = (headers as Readonly<Record<string, unknown>> | undefined)?.[MEMBER_HEADER];
    if (typeof member !== 'string' || member === this.world.member) return;
    for (const seat of this.#seats) seat.makeWayFor(member);
  }
}

/** This member's place among those who wait for a lane, and the lane while it has it. */
class LaneSeat {
  readonly #id: string;
  readonly #rank: number;
  #sitting: Promise<LaneConsumer> | undefined;
  #term: LaneTerm | undefined;
  #terms = 0;
  /** One of a higher rank came while this one did not have the lane, as far as it knew. */
  #hasRival = false;
  #isLeaving = false;
  #isOver = false;

  constructor(
    private readonly world: LaneWorld,
    private readonly lane: number,
  ) {
    this.#id = laneQueueOf(world.group, lane);
    this.#rank = rankOf(world.member, lane);
  }

  async sit(): Promise<void> {
    const options = { prefetch: PARKED_PREFETCH, rank: this.#rank };
    this.#sitting = this.world.driver.consume(parkedQueueOf(this.#id), options, (delivery) => this.#receive(delivery));
    const consumer = await this.#sitting;
    if (this.#isOver && this.#term === undefined) await consumer.close();
  }

  layCornerstone(): Promise<void> {
    const cornerstone = ownEnvelope(this.world, `${this.world.member}-cornerstone-${this.lane}`, 'dovecote.cornerstone');
    return this.world.driver.publish({ queue: parkedQueueOf(this.#id) }, noted(cornerstone, { what: 'cornerstone' }));
  }

  makeWayFor(member: string): void {
    if (rankOf(member, this.lane) <= this.#rank) return;
    if (this.#term === undefined) this.#hasRival = true;
    else this.#giveUp();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    if (this.#term === undefined) await (await this.#sitting)?.close();
    else await this.#term.stop();
  }

  lose(): void {
    this.#isOver = true;
    void this.#term?.end(true);
  }

  #receive(delivery: QueueDelivery): void {
    // Too late: it goes back with the consumer.
    if (this.#isOver && this.#term === undefined) return;
    if (this.#term === undefined) {
      this.#terms += 1;
      this.#term = new LaneTerm(this.world, this.#id, `${this.world.member}-${this.lane}-${this.#terms}`);
      // Whoever comes before this one may have said hello before this arrived: if it is still there, the broker gives it the lane.
      if (this.#hasRival) this.#giveUp();
      else this.#term.take();
    }
    this.#term.receive(delivery);
  }

  #giveUp(): void {
    this.#hasRival = false;
    if (this.#isLeaving || this.#isOver) return;
    this.#isLeaving = true;
    this.#leave().catch((error: unknown) => {
      if (this.#isOver) return;
      this.world.log.warn(`The lane ${this.#id} could not be handed over: ${reasonOf(error)}. This member connects anew.`);
      this.world.driver.fail(error);
    });
  }

  async #leave(): Promise<void> {
    await this.#term?.end(false);
    await (await this.#sitting)?.close();
    this.#term = undefined;
    this.#isLeaving = false;
    if (!this.#isOver) await this.sit();
  }
}
