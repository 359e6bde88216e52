/**
 * Reads topics as a member of a group: a lane for each partition it is given, the fetches that fill the lanes, and the commits of what is done.
 *
 *   member ─▶ assigned ─▶ lanes ◀─ fetches, one loop for each node that leads some of them
 *                           └─▶ handed out in turns ─▶ settled ─▶ committed
 *
 * A crash repeats what was handed out and not committed, and loses nothing. Where a group begins that never read a partition is committed before `start`
 * resolves: what is published from then on reaches it.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import { withinTime } from '../../deadline.js';
import { type MessagingError, reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import { CommitNotes } from './commit-notes.js';
import { nameOf } from './group-assignment.js';
import { FAREWELL_MS_MAX, type GroupEvents, GroupMember } from './group-member.js';
import {
  type FetchedPartition,
  type IncomingRecord,
  type KafkaClient,
  type KafkaFetcher,
  KafkaFailure,
  type TopicPartition,
  kafkaCodes,
} from './kafka-client.js';
import { type LanePlace, PartitionLane } from './partition-lane.js';

export interface GroupReaderSettings {
  readonly group: string;
  readonly sessionTimeoutMs: number;
  readonly heartbeatEveryMs: number;
  readonly rebalanceTimeoutMs: number;
  /** How often what is done is committed: a crash repeats so much. */
  readonly commitEveryMs: number;
  /** How often topics are looked for that are new. */
  readonly discoverEveryMs: number;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

/** What is read, and who takes it. */
export interface GroupReading {
  /** The most records that may be out at once. */
  readonly outstandingMax: number;
  /** The topics to be read, of those there are. */
  topics(): Promise<readonly string[]>;
  /** Whether a group that never read a topic begins with all that is in it, or with what comes. `note` is what an earlier member left there. */
  beginsAtOldest(topic: string, note: string | undefined): boolean;
  /** Left with the commits of partition 0 of a topic, for those who come later. */
  readonly note: { readonly topic: string; readonly text: string } | undefined;
  /** Of a partition. Where it is 1, each is handed out only when what came before it is committed: what ends the process can be no other then. */
  laneOutstandingMax(topic: string): number;
  /** Whether this one may be out now. Asked again whenever something was settled. */
  hasRoom(record: IncomingRecord, lane: PartitionLane): boolean;
  take(record: IncomingRecord, lane: PartitionLane, place: LanePlace): void;
  assigned(lane: PartitionLane): Promise<void>;
  revoked(lane: PartitionLane, isLost: boolean): Promise<void>;
}

const FETCH_WAIT_MS = 500;
/** `ListOffsets` by these in place of a time. */
const OLDEST = -2;
const NEXT = -1;

export class GroupReader implements GroupEvents {
  readonly #member: GroupMember;
  readonly #lanes = new Map<string, PartitionLane>();
  readonly #reading = new Set<number>();
  /** In a row, by node. */
  readonly #readFailures = new Map<number, number>();
  #commitFailures = 0;
  readonly #notes: CommitNotes;
  readonly #fetcher: KafkaFetcher;
  #topics: readonly string[] = [];
  #outstanding = 0;
  #isStopped = false;
  #ticking: Timer | undefined;
  #discovering: Timer | undefined;
  #committing: Promise<boolean> | undefined;
  #closing: () => void = () => undefined;
  /** Whoever waits for handlers stops waiting then. */
  readonly #isClosing = new Promise<void>((resolve) => (this.#closing = resolve));

  constructor(
    private readonly client: KafkaClient,
    private readonly settings: GroupReaderSettings,
    private readonly reading: GroupReading,
  ) {
    this.#member = new GroupMember(client, settings, this);
    this.#notes = new CommitNotes(reading.note);
    this.#fetcher = client.fetcher();
  }

  async start(): Promise<void> {
    this.#topics = await this.reading.topics();
    await this.#member.join(this.#topics);
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#beginWhereNobodyRead();
        break;
      } catch (error) {
        if (this.#isStopped) break;
        await this.#pause(tries, error);
      }
    }
    this.#discoverLater();
  }

  /**
   * Hands out nothing more, and leaves the group once nothing is out any more and that is committed. It joins no more: in another generation the group
   * would not take what is done, until this member had joined again.
   */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#discovering?.cancel();
    void this.#member.leave();
  }

  /** Leaves the group now: what was not settled by then is somebody else's to handle again. */
  async close(): Promise<void> {
    this.#isStopped = true;
    this.#discovering?.cancel();
    for (const lane of this.#lanes.values()) lane.close();
    this.#closing();
    await this.#member.leave();
    await this.#fetcher.close();
    this.#ticking?.cancel();
  }

  /** As if the process had ended: nothing is committed, and nobody is told. */
  abandon(): void {
    this.#isStopped = true;
    this.#ticking?.cancel();
    this.#discovering?.cancel();
    for (const lane of this.#lanes.values()) lane.close();
    this.#lanes.clear();
    this.#member.abandon();
  }

  /** What was taken is done with. */
  settle(lane: PartitionLane, place: LanePlace): void {
    lane.leave(place);
    if (lane.isGone) return;
    this.#outstanding -= 1;
    this.#tickSoon();
    this.#handOut();
  }

  /** What was taken from a lane that goes to another member is not done, and that one's to take. */
  giveBack(lane: PartitionLane): void {
    lane.giveBack();
    if (!lane.isGone) this.#outstanding -= 1;
  }

  /** What was taken is taken once more, in a later turn, where its lane is still here. */
  again(lane: PartitionLane, take: () => void): void {
    this.settings.clock.defer(() => {
      if (!lane.isGone && !this.#isStopped) take();
    });
  }

  async assigned(partitions: readonly TopicPartition[]): Promise<void> {
    await this.#beginWhereNobodyRead();
    const [topics, committed] = await Promise.all([
      this.client.topics([...new Set(partitions.map(({ topic }) => topic))]),
      this.#member.committed(partitions),
    ]);
    const lanes: PartitionLane[] = [];
    for (const [topic, { id, partitions: shapes }] of topics) {
      const offsets = committed.filter((offset) => offset.topic === topic);
      const numbers = offsets.map(({ partition }) => partition);
      const ends = await this.client.offsets(topic, numbers, NEXT);
      for (const { partition, offset, metadata } of offsets) {
        const { starts } = this.#notes.read(metadata);
        const leader = shapes[partition]?.leader ?? -1;
        lanes.push(
          new PartitionLane(
            { topic, partition },
            {
              topicId: id,
              leader,
              offset,
              knownUpTo: ends.get(partition) ?? offset,
              starts,
              inHandMax: this.reading.outstandingMax,
            },
          ),
        );
      }
    }
    // Before anything of it is handed out: a record that ends the process is known by how often reading began with it.
    if (!(await this.#member.commit(lanes.map((lane) => this.#notes.offsetOf(lane))))) throw sharingOut();
    const take = async (lane: PartitionLane): Promise<void> => {
      lane.onResume = () => this.#handOut();
      lane.isReaderAlive = () => this.#member.isAlive;
      lane.isConfirmed = async () => !lane.isGone && (await this.#member.isCounted());
      await this.reading.assigned(lane);
      this.#lanes.set(lane.id, lane);
    };
    await Promise.all(lanes.map(take));
    this.#read();
  }

  async revoked(partitions: readonly TopicPartition[]): Promise<void> {
    const lanes = this.#lanesOf(partitions);
    await Promise.all(lanes.map(async (lane) => this.#drain(lane)));
    await this.#committing;
    await this.#commitLast(lanes);
    for (const lane of lanes) this.#drop(lane);
  }

  lost(partitions: readonly TopicPartition[]): void {
    for (const lane of this.#lanesOf(partitions)) {
      this.#drop(lane);
      void this.reading.revoked(lane, true);
    }
  }

  failed(error: MessagingError): void {
    this.#isStopped = true;
    this.settings.log.error(`This service receives nothing more: ${error.message}`);
  }

  /** Waits for the handlers, but no longer than the group does. */
  async #drain(lane: PartitionLane): Promise<void> {
    const { clock, rebalanceTimeoutMs, log } = this.settings;
    const patienceMs = rebalanceTimeoutMs / 2;
    let timer: Timer | undefined;
    const isOver = new Promise<void>((resolve) => (timer = clock.after(patienceMs, resolve)));
    const drained = lane.isGone ? Promise.resolve() : lane.drain();
    await Promise.race([Promise.all([drained, this.reading.revoked(lane, false)]), isOver, this.#isClosing]);
    timer?.cancel();
    if (lane.isGone || lane.outstanding === 0) return;
    log.warn(
      `${lane.outstanding} handlers on ${lane.id} did not end in ${patienceMs} ms; the partition goes to another member, which handles their messages again.`,
    );
  }

  #drop(lane: PartitionLane): void {
    lane.close();
    if (this.#lanes.get(lane.id) !== lane) return;
    this.#lanes.delete(lane.id);
    this.#outstanding -= lane.outstanding;
    this.#handOut();
  }

  #lanesOf(partitions: readonly TopicPartition[]): PartitionLane[] {
    return partitions.flatMap((part) => this.#lanes.get(nameOf(part)) ?? []);
  }

  /** Where nothing was committed, the beginning is, at once, so that it stays there whoever reads it first. */
  async #beginWhereNobodyRead(): Promise<void> {
    const topics = await this.client.topics(this.#topics);
    const all = [...topics].flatMap(([topic, { partitions }]) => partitions.map((_, partition) => ({ topic, partition })));
    const committed = await this.#member.committed(all);
    const known = new Set(committed.map(nameOf));
    const note = this.#notes.find(committed);
    for (const [topic, { partitions }] of topics) {
      const fresh = partitions.map((_, partition) => partition).filter((partition) => !known.has(nameOf({ topic, partition })));
      if (fresh.length === 0) continue;
      // A partition that was added when the group was there already: all that is in it is the group's to read.
      const isOldest = fresh.length < partitions.length || this.reading.beginsAtOldest(topic, note);
      const begins = await this.client.offsets(topic, fresh, isOldest ? OLDEST : NEXT);
      const isTaken = await this.#member.commit([...begins].map(([partition, offset]) => ({ topic, partition, offset, metadata: '' })));
      if (!isTaken) throw sharingOut();
    }
  }

  #discoverLater(): void {
    this.#discovering = this.settings.clock.after(this.settings.discoverEveryMs, () => void this.#discover());
  }

  async #discover(): Promise<void> {
    try {
      const topics = await this.reading.topics();
      if (topics.length !== this.#topics.length || topics.some((topic) => !this.#topics.includes(topic))) {
        this.#topics = topics;
        this.#member.subscribe(topics);
      }
    } catch {
      // Not reached now: those who fetch say so, and new topics wait.
    }
    if (!this.#isStopped) this.#discoverLater();
  }

  /** A loop for each node that leads partitions with nothing left to hand out. */
  #read(): void {
    if (this.#isStopped) return;
    for (const lane of this.#lanes.values()) {
      if (this.#reading.has(lane.leader) || !lane.wantsMore) continue;
      this.#reading.add(lane.leader);
      void this.#readFrom(lane.leader);
    }
  }

  async #readFrom(node: number): Promise<void> {
    while (!this.#isStopped) {
      const lanes = [...this.#lanes.values()].filter((lane) => lane.leader === node && lane.wantsMore);
      if (lanes.length === 0) break;
      const positions = lanes.map(({ topic, partition, topicId, nextOffset }) => ({ topic, partition, topicId, offset: nextOffset }));
      try {
        if (node < 0) throw new KafkaFailure('a partition has no leader now', kafkaCodes.leaderNotAvailable);
        const fetched = await this.#fetcher.fetch(node, positions, FETCH_WAIT_MS);
        await this.#receive(lanes, fetched);
        this.#readFailures.delete(node);
      } catch (error) {
        const failures = (this.#readFailures.get(node) ?? 0) + 1;
        this.#readFailures.set(node, failures);
        await this.#findLeaders(lanes, error, failures);
        break;
      }
    }
    this.#reading.delete(node);
    this.#read();
  }

  /** Throws where one of them is led by another node now. */
  async #receive(lanes: readonly PartitionLane[], fetched: readonly FetchedPartition[]): Promise<void> {
    let isStale = false;
    for (const part of fetched) {
      // A lane that was given up while the fetch waited, and came back, is another one.
      const lane = this.#lanes.get(nameOf(part));
      if (lane === undefined || !lanes.includes(lane)) continue;
      if (part.code === kafkaCodes.offsetOutOfRange) await this.#skipToOldest(lane);
      else if (part.code !== kafkaCodes.none) isStale = true;
      else lane.receive(part);
    }
    this.#handOut();
    if (isStale) throw new KafkaFailure('a partition has another leader now', kafkaCodes.notLeader);
  }

  /** Retention took what this group had not read. It is gone; going on is all that is left to do, and saying so. */
  async #skipToOldest(lane: PartitionLane): Promise<void> {
    const oldest = (await this.client.offsets(lane.topic, [lane.partition], OLDEST)).get(lane.partition) ?? 0;
    this.settings.log.error(
      `${lane.id} no longer has the offset ${lane.nextOffset} at which '${this.settings.group}' stood: its retention took what was not read, or the topic was made anew. Reading goes on at ${oldest}.`,
    );
    lane.nextOffset = oldest;
  }

  async #findLeaders(lanes: readonly PartitionLane[], error: unknown, failures: number): Promise<void> {
    await this.#pause(failures, error);
    try {
      const topics = await this.client.topics([...new Set(lanes.map(({ topic }) => topic))]);
      for (const lane of lanes) lane.leader = topics.get(lane.topic)?.partitions[lane.partition]?.leader ?? -1;
    } catch {
      // The cluster is not there; the next round finds that out again.
    }
  }

  async #pause(failures: number, error: unknown): Promise<void> {
    const { log, clock, backoff } = this.settings;
    const delayMs = backoff.delayMs(failures);
    // What has a code passes with the next answer about the cluster, and happens in every restart of a node.
    const isUsual = error instanceof KafkaFailure && error.code !== undefined;
    if (!isUsual && !this.#isStopped && isWorthSaying(failures))
      log.warn(`Reading from Kafka failed (${reasonOf(error)}). Trying again in ${delayMs} ms.`);
    await new Promise<void>((resolve) => clock.after(delayMs, resolve));
  }

  /** One from each lane in turn, as long as there is room. */
  #handOut(): void {
    for (let isAny = true; isAny && !this.#isStopped;) {
      isAny = false;
      for (const lane of this.#lanes.values()) {
        if (this.#outstanding >= this.reading.outstandingMax) return;
        if (!lane.canHandOut || !this.#hasRoom(lane) || !this.reading.hasRoom(lane.next!, lane)) continue;
        // Silent for a whole session: somebody else may have the partition by now. The next heartbeat tells.
        if (!this.#member.isAlive) return this.#tickSoon();
        const { record, place } = lane.take()!;
        this.#outstanding += 1;
        isAny = true;
        this.reading.take(record, lane, place);
      }
    }
    this.#read();
  }

  /**
   * One that is out alone waits for what an earlier member died with to go its way, and to be committed: else its end would repeat all that, again and
   * again.
   */
  #hasRoom(lane: PartitionLane): boolean {
    const most = this.reading.laneOutstandingMax(lane.topic);
    if (most > 1 && lane.isOneByOne) {
      if (lane.outstanding > 0) return false;
      if (lane.isUncommitted) void this.#commit();
      return !lane.isUncommitted;
    }
    if (lane.outstanding >= most || most > 1) return lane.outstanding < most;
    if (lane.isUncommitted) return false;
    for (const other of this.#lanes.values()) {
      if (!other.isSuspect || this.reading.laneOutstandingMax(other.topic) === 1) continue;
      // Passed over, where what stood there was no record.
      if (other.isUncommitted) this.#tickSoon();
      return false;
    }
    return true;
  }

  #tickSoon(): void {
    if (this.#ticking !== undefined) return;
    this.#ticking = this.settings.clock.after(this.settings.commitEveryMs, () => {
      this.#ticking = undefined;
      void this.#commit();
      this.#handOut();
    });
  }

  /** One after the other: an older offset must not overtake a newer one. */
  async #commit(): Promise<void> {
    if (this.#committing !== undefined) return this.#tickSoon();
    const moved = [...this.#lanes.values()].filter((lane) => lane.isUncommitted);
    if (moved.length === 0) return;
    this.#committing = this.#commitNow(moved, false);
    await this.#committing;
    this.#committing = undefined;
    this.#handOut();
  }

  /** Before they go to others. Not for ever: what the group does not take by then is handled again. */
  async #commitLast(lanes: readonly PartitionLane[]): Promise<void> {
    const { clock, backoff, log, group } = this.settings;
    const endMs = clock.monotonicMs() + FAREWELL_MS_MAX;
    for (let tries = 1; ; tries += 1) {
      const leftMs = Math.max(0, endMs - clock.monotonicMs());
      const late = (): Error => new Error('the coordinator does not answer');
      if (await withinTime(clock, leftMs, this.#commitNow(lanes, true), late).catch(() => false)) return;
      if (clock.monotonicMs() >= endMs) break;
      await new Promise<void>((resolve) => clock.after(Math.min(backoff.delayMs(tries), leftMs), resolve));
    }
    log.warn(`${group}: the group did not take what was done last of ${lanes.map(({ id }) => id).join(', ')}: it is handled again.`);
  }

  /** Resolves to whether the group has it. */
  async #commitNow(lanes: readonly PartitionLane[], isFarewell: boolean): Promise<boolean> {
    const offsets = lanes.map((lane) => this.#notes.offsetOf(lane, lane.committable, isFarewell));
    try {
      const isTaken = await this.#member.commit(offsets);
      this.#commitFailures = 0;
      if (isTaken) lanes.forEach((lane, index) => (lane.committed = offsets[index]!.offset));
      else if (!this.#isStopped) this.#tickSoon();
      return isTaken;
    } catch (error) {
      this.#commitFailures += 1;
      if (isWorthSaying(this.#commitFailures))
        this.settings.log.warn(`What was handled could not be committed (${reasonOf(error)}): it is tried again.`);
      if (!this.#isStopped) this.#tickSoon();
      return false;
    }
  }
}

/** The first, and then ever fewer: a broker that is away for a minute is not worth a thousand lines. */
function isWorthSaying(failures: number): boolean {
  return (failures & (failures - 1)) === 0;
}

function sharingOut(): KafkaFailure {
  return new KafkaFailure('the group shares out its partitions', kafkaCodes.rebalanceInProgress);
}
