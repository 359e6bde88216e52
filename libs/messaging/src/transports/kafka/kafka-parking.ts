/**
 * What waits behind its key in a service's lanes, on Kafka: the compacted topic `dovecote.<service>.parked`, by lane and sequence number. A lane's records
 * stand in one partition, in the order in which they were parked; one without a value takes out what stands under its key.
 *
 *   key `orders/3#17`    value: the body   headers: the envelope's, and dovecote-parked {"state":"retry","dueAtMs":…,"key":"o-1"}
 *   key `orders/3#17!`   the same, with what was released in its place, or state "gone": under a key of its own, which its owner does not write over
 *
 * It is read from the beginning when a lane comes, by whoever has the lane then. A compacted topic loses nothing of it but what is out of date.
 */
import type { Envelope } from '../../envelope.js';
import type { Parked, ParkingStore, Released } from '../../parking-store.js';
import type { Lane } from '../../transport.js';
import { type IncomingRecord, type KafkaClient, KafkaFailure, type OutgoingRecord, kafkaCodes } from './kafka-client.js';
import { fromRecord, toRecord } from './kafka-events.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import { ReleaseWatch, type ReleaseWatchSettings } from './release-watch.js';
import type { TopicMaker } from './topic-maker.js';
import { readWholePartition } from './whole-partition.js';

const PARKED = 'dovecote-parked';
const GONE = 'gone';
const NEXT = -1;
interface Note extends Pick<Parked, 'dueAtMs' | 'key'> {
  readonly state: Parked['state'] | typeof GONE;
}
const states: readonly Note['state'][] = ['retry', 'behind', 'dead', GONE];
const noBytes = Buffer.alloc(0);

export class KafkaParking implements ParkingStore {
  readonly #watch: ReleaseWatch;
  readonly #onRelease = new Map<string, (released: Released) => void>();
  /** Releases that are written down still, and out of date with what is written next. */
  readonly #heard = new Set<string>();
  #partitions = 0;

  constructor(
    private readonly client: KafkaClient,
    private readonly topicMaker: TopicMaker,
    private readonly publishing: KafkaPublishing,
    private readonly topic: string,
    settings: ReleaseWatchSettings,
  ) {
    this.#watch = new ReleaseWatch(client, topic, settings);
  }

  async restore(lane: Lane, onRelease: (released: Released) => void): Promise<readonly Parked[]> {
    await this.#find();
    const { records, nextOffset } = await readWholePartition(this.client, { topic: this.topic, partition: this.#partitionOf(lane.id) });
    this.#onRelease.set(lane.id, onRelease);
    const releases = new Map(records.map((record) => [record.key?.toString() ?? '', record]));
    const found: Parked[] = [];
    for (const record of records) {
      const parked = parkedOf(this.topic, lane.id, record);
      if (parked === undefined) continue;
      const name = nameOf(lane.id, parked.sequence);
      const release = releases.get(`${name}!`);
      if (release === undefined) {
        found.push(parked);
        if (parked.state === 'dead') this.#expect(lane.id, parked.sequence, nextOffset);
        continue;
      }
      this.#heard.add(name);
      const { envelope } = releasedOf(this.topic, parked.sequence, release);
      if (envelope === undefined) await this.resolve(lane, parked.sequence);
      else found.push({ ...parked, envelope, state: 'retry', dueAtMs: undefined });
    }
    await this.#takeOutOrphans(lane.id, releases);
    return found.toSorted((one, other) => one.sequence - other.sequence);
  }

  async park(lane: Lane, parked: Parked): Promise<void> {
    const { sequence, state, dueAtMs, key, envelope } = parked;
    if (state === 'dead' && !this.#watch.isExpected(releaseKey(lane.id, sequence))) await this.#expectFromNow(lane.id, sequence);
    await this.#replace(lane.id, sequence, this.#record(nameOf(lane.id, sequence), lane.id, envelope, { state, dueAtMs, key }));
  }

  update(lane: Lane, parked: Parked): Promise<void> {
    return this.park(lane, parked);
  }

  resolve(lane: Lane, sequence: number): Promise<void> {
    return this.#replace(lane.id, sequence, this.#tombstone(nameOf(lane.id, sequence), lane.id));
  }

  leave({ id }: Lane): Promise<void> {
    const isOfLane = (name: string): boolean => name.startsWith(`${id}#`);
    this.#onRelease.delete(id);
    this.#watch.forget(isOfLane);
    for (const name of this.#heard) if (isOfLane(name)) this.#heard.delete(name);
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

  /** The record, and behind it the end of the release that it follows. */
  async #replace(laneId: string, sequence: number, record: OutgoingRecord): Promise<void> {
    const name = nameOf(laneId, sequence);
    const sent = [this.#send(record, laneId)];
    if (this.#heard.has(name)) sent.push(this.#send(this.#tombstone(`${name}!`, laneId), laneId));
    await Promise.all(sent);
    this.#heard.delete(name);
  }

  /** Releases of what was done by then: a dead letter that was sent again twice. */
  async #takeOutOrphans(laneId: string, records: ReadonlyMap<string, IncomingRecord>): Promise<void> {
    const orphans = [...records.keys()].filter(
      (name) => name.startsWith(`${laneId}#`) && name.endsWith('!') && !records.has(name.slice(0, -1)),
    );
    await Promise.all(orphans.map((name) => this.#send(this.#tombstone(name, laneId), laneId)));
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

/** Nothing for a record of another lane, a release, or what somebody else put there. */
function parkedOf(topic: string, laneId: string, record: IncomingRecord): Parked | undefined {
  const [, id, sequence] = /^(.*)#(\d+)$/.exec(record.key?.toString() ?? '') ?? [];
  const note = noteOf(record);
  if (id !== laneId || note === undefined || note.state === GONE) return undefined;
  const envelope = fromRecord(topic, 0, record);
  if ('problem' in envelope) return undefined;
  const { state, dueAtMs, key } = note;
  return { sequence: Number(sequence), key, envelope, state, dueAtMs };
}

function releasedOf(topic: string, sequence: number, record: IncomingRecord): Released {
  const note = noteOf(record);
  const envelope = fromRecord(topic, 0, record);
  const isGone = note === undefined || note.state === GONE || 'problem' in envelope;
  return { sequence, key: note?.key ?? '', envelope: isGone ? undefined : envelope };
}

function noteOf({ headers }: IncomingRecord): Note | undefined {
  try {
    const note = JSON.parse(headers.get(PARKED) ?? 'null') as Note | null;
    return note !== null && states.includes(note.state) ? note : undefined;
  } catch {
    return undefined;
  }
}
