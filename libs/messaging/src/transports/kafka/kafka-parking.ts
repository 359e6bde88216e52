/**
 * What waits behind its key in a service's lanes, on Kafka: the compacted topic `dovecote.<service>.parked`, by lane and sequence number. A lane's records
 * stand in one partition, in the order in which they were parked; one without a value takes out what stands under its key.
 *
 *   key `orders/3#17`   value: the body   headers: the envelope's, and dovecote-parked {"state":"retry","dueAtMs":…,"key":"o-1"}
 *
 * It is read from the beginning when a lane comes, by whoever has the lane then. A compacted topic loses nothing of it but what is out of date.
 */
import type { Envelope } from '../../envelope.js';
import type { Parked, ParkingStore, Released } from '../../parking-store.js';
import type { Lane } from '../../transport.js';
import type { IncomingRecord, KafkaClient, OutgoingRecord } from './kafka-client.js';
import { fromRecord, toRecord } from './kafka-events.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import type { TopicMaker } from './topic-maker.js';
import { readWholePartition } from './whole-partition.js';

const PARKED = 'dovecote-parked';
type Note = Pick<Parked, 'state' | 'dueAtMs' | 'key'>;
const states: readonly Parked['state'][] = ['retry', 'behind', 'dead'];

export class KafkaParking implements ParkingStore {
  constructor(
    private readonly client: KafkaClient,
    private readonly topicMaker: TopicMaker,
    private readonly publishing: KafkaPublishing,
    private readonly topic: string,
  ) {}

  async restore(lane: Lane): Promise<readonly Parked[]> {
    await this.topicMaker.ensure([this.topic]);
    const records = await readWholePartition(this.client, { topic: this.topic, partition: this.#partitionOf(lane.id) });
    return records
      .map((record) => parkedOf(this.topic, lane, record))
      .filter((parked) => parked !== undefined)
      .toSorted((one, other) => one.sequence - other.sequence);
  }

  park(lane: Lane, parked: Parked): Promise<void> {
    const { sequence, state, dueAtMs, key, envelope } = parked;
    return this.#put(lane.id, sequence, envelope, { state, dueAtMs, key });
  }

  update(lane: Lane, parked: Parked): Promise<void> {
    return this.park(lane, parked);
  }

  resolve(lane: Lane, sequence: number): Promise<void> {
    return this.#takeOut(lane.id, sequence);
  }

  leave(): Promise<void> {
    return Promise.resolve();
  }

  async release(laneId: string, { sequence, key, envelope }: Released): Promise<void> {
    await this.topicMaker.ensure([this.topic]);
    await (envelope === undefined
      ? this.#takeOut(laneId, sequence)
      : this.#put(laneId, sequence, envelope, { state: 'retry', dueAtMs: 0, key }));
  }

  #put(laneId: string, sequence: number, envelope: Envelope, note: Note): Promise<void> {
    const record = toRecord(envelope, this.topic, nameOf(laneId, sequence));
    const headers = { ...record.headers, [PARKED]: JSON.stringify(note) };
    return this.#send({ ...record, headers, partition: this.#partitionOf(laneId) }, laneId);
  }

  #takeOut(laneId: string, sequence: number): Promise<void> {
    const key = Buffer.from(nameOf(laneId, sequence));
    return this.#send({ topic: this.topic, key, value: undefined, headers: {}, partition: this.#partitionOf(laneId) }, laneId);
  }

  #send(record: OutgoingRecord, laneId: string): Promise<void> {
    return this.publishing.send(record, `what is parked in ${laneId}`, Number.POSITIVE_INFINITY);
  }

  /** The same for a partition of any topic, so that it can be found by the lane alone. */
  #partitionOf(laneId: string): number {
    const number = Number(/\/(\d+)$/.exec(laneId)?.[1] ?? 0);
    return number % this.topicMaker.settings.partitions;
  }
}

function nameOf(laneId: string, sequence: number): string {
  return `${laneId}#${sequence}`;
}

/** Nothing for a record of another lane, or of somebody else. */
function parkedOf(topic: string, lane: Lane, record: IncomingRecord): Parked | undefined {
  const [, id, sequence] = /^(.*)#(\d+)$/.exec(record.key?.toString() ?? '') ?? [];
  const note = record.headers.get(PARKED);
  if (id !== lane.id || note === undefined) return undefined;
  const envelope = fromRecord(topic, 0, record);
  if ('problem' in envelope) return undefined;
  const { state, dueAtMs, key } = JSON.parse(note) as { state: Parked['state']; dueAtMs?: number; key: string };
  if (!states.includes(state)) return undefined;
  return { sequence: Number(sequence), key, envelope, state, dueAtMs };
}
