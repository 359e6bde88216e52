/**
 * What waits behind its key in a service's lanes, on Kafka: the compacted topic `dovecote.<service>.parked`, by lane and sequence number. A lane's records
 * stand in one partition, in the order in which they were parked; one without a value takes out what stands under its key.
 *
 *   key `orders/3#17@4-9f3a01c7` value: the body   headers: the envelope's, and dovecote-parked {"state":"retry","dueAtMs":…,"key":"o-1"}
 *   key `orders/3#17!`   the same, with what was released in its place, or state "gone": under a key of its own, which its owner does not write over
 *   key `orders/3@`      no body           headers: dovecote-parked {"state":"owner","epoch":4}
 *
 * Who is given a lane writes down that it is the owner, in an epoch higher than all before it, and parks under keys with this number. A process that stood
 * still may write what it had on the way when the lane is another's already: what stands behind the word of a later owner is out of date, counts for
 * nothing, and is over nobody else's. The group's coordinator is asked in between, so that only who has the lane gets higher. Without a number, as earlier versions wrote it, a record always counts.
 *
 * It is read from the beginning when a lane comes, by whoever has the lane then. A compacted topic loses nothing of it but what is out of date.
 */
import type { Random } from '@dovecote/ground';
import type { Envelope } from '../../envelope.js';
import { MessagingError } from '../../errors.js';
import type { Parked, ParkingStore, Released } from '../../parking-store.js';
import type { Lane } from '../../transport.js';
import { type IncomingRecord, type KafkaClient, KafkaFailure, type OutgoingRecord, kafkaCodes } from './kafka-client.js';
import { fromRecord, toRecord } from './kafka-events.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import { ReleaseWatch, type ReleaseWatchSettings } from './release-watch.js';
import type { TopicMaker } from './topic-maker.js';
import { type WholePartition, readWholePartition } from './whole-partition.js';

const PARKED = 'dovecote-parked';
const GONE = 'gone';
const OWNER = 'owner';
const NEXT = -1;
interface Note extends Pick<Parked, 'dueAtMs' | 'key'> {
  readonly state: Parked['state'] | typeof GONE;
}
const states: readonly Note['state'][] = ['retry', 'behind', 'dead', GONE];

/** The word of an owner: what owners before it wrote behind it is out of date. */
interface Fence {
  readonly epoch: number;
  readonly offset: number;
}

/** A record of a place in a lane. */
interface Copy {
  readonly record: IncomingRecord;
  readonly sequence: number;
  /** 0 where it has none. */
  readonly epoch: number;
}
const noBytes = Buffer.alloc(0);

export class KafkaParking implements ParkingStore {
  readonly #watch: ReleaseWatch;
  /** So that two who took the same epoch, one of them by mistake, do not write over each other. */
  readonly #member: string;
  readonly #onRelease = new Map<string, (released: Released) => void>();
  /** Releases that are written down still, and out of date with what is written next. */
  readonly #heard = new Set<string>();
  /** Under which number this member has a lane. */
  readonly #epochs = new Map<string, number>();
  /** By place: the keys of its records, of owners before this one too. */
  readonly #copies = new Map<string, Set<string>>();
  #partitions = 0;

  constructor(
    private readonly client: KafkaClient,
    private readonly topicMaker: TopicMaker,
    private readonly publishing: KafkaPublishing,
    private readonly topic: string,
    settings: ReleaseWatchSettings & { readonly random: Random },
  ) {
    this.#member = settings.random.bytes(4).toString('hex');
    this.#watch = new ReleaseWatch(client, topic, settings);
  }

  async restore(lane: Lane, onRelease: (released: Released) => void): Promise<readonly Parked[]> {
    await this.#find();
    const { id } = lane;
    const place = { topic: this.topic, partition: this.#partitionOf(id) };
    const before = await readWholePartition(this.client, place);
    const fences = fencesOf(id, before);
    // First of all: the word of the owner before this one tells that they are late, and does not stand for long.
    await this.#takeOut(id, lateOf(copiesOf(id, before), fences));
    // Who has lost the lane since would make out of date what its owner writes.
    if (lane.isConfirmed !== undefined && !(await lane.isConfirmed()))
      throw new MessagingError('closed', `The lane ${id} is another member's now, which has what is parked there too.`);
    const epoch = Math.max(0, ...fences.map((fence) => fence.epoch), ...copiesOf(id, before).map((copy) => copy.epoch)) + 1;
    await this.#send(this.#ownerRecord(id, epoch), id);
    const whole = await readWholePartition(this.client, place, before);
    fences.push(...fencesOf(id, whole));
    const late = lateOf(copiesOf(id, whole), fences);
    await this.#takeOut(id, late);
    this.#epochs.set(id, epoch);
    this.#onRelease.set(id, onRelease);
    return this.#restored(lane, whole, new Set(late));
  }

  async #restored(lane: Lane, whole: WholePartition, late: ReadonlySet<Copy['record']>): Promise<readonly Parked[]> {
    const { id } = lane;
    const releases = new Map(whole.records.map((record) => [record.key?.toString() ?? '', record]));
    const newest = new Map<number, Copy>();
    for (const copy of copiesOf(id, whole)) {
      if (late.has(copy.record)) continue;
      this.#copyNamesOf(id, copy.sequence).add(copy.record.key!.toString());
      if (copy.epoch >= (newest.get(copy.sequence)?.epoch ?? 0)) newest.set(copy.sequence, copy);
    }
    const found: Parked[] = [];
    for (const { record, sequence } of newest.values()) {
      const parked = parkedOf(this.topic, sequence, record);
      if (parked === undefined) continue;
      const release = releases.get(releaseKey(id, sequence));
      if (release === undefined) {
        found.push(parked);
        if (parked.state === 'dead') this.#expect(id, sequence, whole.nextOffset);
        continue;
      }
      this.#heard.add(nameOf(id, sequence));
      const { envelope } = releasedOf(this.topic, sequence, release);
      if (envelope === undefined) await this.resolve(lane, sequence);
      else found.push({ ...parked, envelope, state: 'retry', dueAtMs: undefined });
    }
    await this.#takeOutOrphans(id, releases.keys(), newest);
    return found.toSorted((one, other) => one.sequence - other.sequence);
  }

  async park(lane: Lane, parked: Parked): Promise<void> {
    const { sequence, state, dueAtMs, key, envelope } = parked;
    if (state === 'dead' && !this.#watch.isExpected(releaseKey(lane.id, sequence))) await this.#expectFromNow(lane.id, sequence);
    const name = `${nameOf(lane.id, sequence)}@${this.#epochs.get(lane.id) ?? 0}-${this.#member}`;
    // One that is heard while this is on its way is not known to whoever wrote it.
    const isReleased = this.#heard.has(nameOf(lane.id, sequence));
    await this.#send(this.#record(name, lane.id, envelope, { state, dueAtMs, key }), lane.id);
    await this.#takeOutCopies(lane.id, sequence, isReleased, name);
  }

  update(lane: Lane, parked: Parked): Promise<void> {
    return this.park(lane, parked);
  }

  resolve(lane: Lane, sequence: number): Promise<void> {
    return this.#takeOutCopies(lane.id, sequence, this.#heard.has(nameOf(lane.id, sequence)));
  }

  leave({ id }: Lane): Promise<void> {
    const isOfLane = (name: string): boolean => name.startsWith(`${id}#`);
    this.#epochs.delete(id);
    this.#onRelease.delete(id);
    this.#watch.forget(isOfLane);
    for (const name of this.#heard) if (isOfLane(name)) this.#heard.delete(name);
    for (const name of this.#copies.keys()) if (isOfLane(name)) this.#copies.delete(name);
    return Promise.resolve();
  }

  async release(laneId: string, { sequence, key, envelope }: Released): Promise<void> {
    await this.#find();
    const recordKey = releaseKey(laneId, sequence);
    const headers = { [PARKED]: JSON.stringify({ state: GONE, dueAtMs: undefined, key } satisfies Note) };
    const gone = { topic: this.topic, key: Buffer.from(recordKey), value: noBytes, headers, partition: this.#partitionOf(laneId) };
    await this.#send(
      envelope === undefined ? gone : this.#record(recordKey, laneId, envelope, { state: 'retry', dueAtMs: 0, key }),
      laneId,
    );
  }

  close(): void {
    this.#watch.close();
  }

  /** All records of the place but the one that counts, and the release that it follows. Behind it: it may be refused. */
  async #takeOutCopies(laneId: string, sequence: number, isReleased: boolean, counting?: string): Promise<void> {
    const name = nameOf(laneId, sequence);
    const copies = this.#copyNamesOf(laneId, sequence);
    const gone = [...copies].filter((copy) => copy !== counting);
    if (isReleased) gone.push(`${name}!`);
    await Promise.all(gone.map((copy) => this.#send(this.#tombstone(copy, laneId), laneId)));
    if (isReleased) this.#heard.delete(name);
    for (const copy of gone) copies.delete(copy);
    if (counting === undefined) this.#copies.delete(name);
    else copies.add(counting);
  }

  #copyNamesOf(laneId: string, sequence: number): Set<string> {
    const name = nameOf(laneId, sequence);
    let copies = this.#copies.get(name);
    if (copies === undefined) this.#copies.set(name, (copies = new Set()));
    return copies;
  }

  async #takeOut(laneId: string, records: readonly IncomingRecord[]): Promise<void> {
    await Promise.all(records.map(({ key }) => this.#send(this.#tombstone(key!.toString(), laneId), laneId)));
  }

  /** Releases of what was done by then: a dead letter that was sent again twice. */
  async #takeOutOrphans(laneId: string, names: Iterable<string>, places: ReadonlyMap<number, unknown>): Promise<void> {
    const isOrphan = (name: string): boolean => {
      const sequence = name.startsWith(`${laneId}#`) && name.endsWith('!') ? Number(name.slice(laneId.length + 1, -1)) : Number.NaN;
      return !Number.isNaN(sequence) && !places.has(sequence);
    };
    await Promise.all([...names].filter(isOrphan).map((name) => this.#send(this.#tombstone(name, laneId), laneId)));
  }

  /** A release can only stand behind the record that is about to be written. */
  async #expectFromNow(laneId: string, sequence: number): Promise<void> {
    const partition = this.#partitionOf(laneId);
    this.#expect(laneId, sequence, (await this.client.offsets(this.topic, [partition], NEXT)).get(partition) ?? 0);
  }

  #expect(laneId: string, sequence: number, fromOffset: number): void {
    const hear = (record: IncomingRecord): void => {
      this.#heard.add(nameOf(laneId, sequence));
      this.#onRelease.get(laneId)?.(releasedOf(this.topic, sequence, record));
    };
    this.#watch.expect(releaseKey(laneId, sequence), { partition: this.#partitionOf(laneId), fromOffset, hear });
  }

  #record(recordKey: string, laneId: string, envelope: Envelope, note: Note): OutgoingRecord {
    const record = toRecord(envelope, this.topic, recordKey);
    return { ...record, headers: { ...record.headers, [PARKED]: JSON.stringify(note) }, partition: this.#partitionOf(laneId) };
  }

  #ownerRecord(laneId: string, epoch: number): OutgoingRecord {
    const headers = { [PARKED]: JSON.stringify({ state: OWNER, epoch }) };
    return { topic: this.topic, key: Buffer.from(ownerKey(laneId)), value: noBytes, headers, partition: this.#partitionOf(laneId) };
  }

  #tombstone(recordKey: string, laneId: string): OutgoingRecord {
    return { topic: this.topic, key: Buffer.from(recordKey), value: undefined, headers: {}, partition: this.#partitionOf(laneId) };
  }

  #send(record: OutgoingRecord, laneId: string): Promise<void> {
    return this.publishing.send(record, `what is parked in ${laneId}`, Number.POSITIVE_INFINITY);
  }

  /** The same for a partition of any topic, so that it can be found by the lane alone, whatever topics made now would have. */
  #partitionOf(laneId: string): number {
    const number = Number(/\/(\d+)$/.exec(laneId)?.[1] ?? 0);
    return number % this.#partitions;
  }

  async #find(): Promise<void> {
    if (this.#partitions > 0) return;
    await this.topicMaker.ensure([this.topic]);
    this.#partitions = (await this.client.topics([this.topic])).get(this.topic)?.partitions.length ?? 0;
    if (this.#partitions === 0) throw new KafkaFailure(`the topic ${this.topic} is not there`, kafkaCodes.unknownTopicOrPartition);
  }
}

function nameOf(laneId: string, sequence: number): string {
  return `${laneId}#${sequence}`;
}

function releaseKey(laneId: string, sequence: number): string {
  return `${nameOf(laneId, sequence)}!`;
}

function ownerKey(laneId: string): string {
  return `${laneId}@`;
}

function fencesOf(laneId: string, { records }: WholePartition): Fence[] {
  const words = records.filter(({ key }) => key?.toString() === ownerKey(laneId));
  return words.map((record) => ({ epoch: Number((jsonOf(record) as { epoch?: unknown } | null)?.epoch ?? 0), offset: record.offset }));
}

function copiesOf(laneId: string, { records }: WholePartition): Copy[] {
  return records.flatMap((record): Copy[] => {
    const [, id, sequence, epoch = '0'] = /^(.*)#(\d+)(?:@(\d+)-[0-9a-f]+)?$/.exec(record.key?.toString() ?? '') ?? [];
    return id === laneId ? [{ record, sequence: Number(sequence), epoch: Number(epoch) }] : [];
  });
}

function lateOf(copies: readonly Copy[], fences: readonly Fence[]): IncomingRecord[] {
  const isLate = ({ epoch, record }: Copy): boolean =>
    epoch > 0 && fences.some((fence) => fence.epoch > epoch && fence.offset < record.offset);
  return copies.filter(isLate).map(({ record }) => record);
}

/** Nothing for what somebody else put there. */
function parkedOf(topic: string, sequence: number, record: IncomingRecord): Parked | undefined {
  const note = noteOf(record);
  if (note === undefined || note.state === GONE) return undefined;
  const envelope = fromRecord(topic, 0, record);
  if ('problem' in envelope) return undefined;
  const { state, dueAtMs, key } = note;
  return { sequence, key, envelope, state, dueAtMs };
}

function releasedOf(topic: string, sequence: number, record: IncomingRecord): Released {
  const note = noteOf(record);
  const envelope = fromRecord(topic, 0, record);
  const isGone = note === undefined || note.state === GONE || 'problem' in envelope;
  return { sequence, key: note?.key ?? '', envelope: isGone ? undefined : envelope };
}

function noteOf(record: IncomingRecord): Note | undefined {
  const note = jsonOf(record) as Note | null;
  return note !== null && states.includes(note.state) ? note : undefined;
}

function jsonOf({ headers }: IncomingRecord): unknown {
  try {
    return JSON.parse(headers.get(PARKED) ?? 'null');
  } catch {
    return null;
  }
}
