/** Reads a compacted partition from its beginning to where it ends now: for each key the last value, in the order in which they stand. Keeps nothing. */
import { type IncomingRecord, type KafkaClient, KafkaFailure, type TopicPartition, kafkaCodes } from './kafka-client.js';

const OLDEST = -2;
const NEXT = -1;
const FETCH_WAIT_MS = 100;

export interface WholePartition {
  readonly records: readonly IncomingRecord[];
  /** What is written later stands there or behind. */
  readonly nextOffset: number;
}

/** Records without a value take out what stands under their key. Reads on where it was read `before`. */
export async function readWholePartition(
  client: KafkaClient,
  { topic, partition }: TopicPartition,
  before?: WholePartition,
): Promise<WholePartition> {
  const shape = (await client.topics([topic])).get(topic);
  const leader = shape?.partitions[partition]?.leader;
  if (shape === undefined || leader === undefined || leader < 0)
    throw new KafkaFailure(`${topic} ${partition} has no leader now`, kafkaCodes.leaderNotAvailable);
  const end = (await client.offsets(topic, [partition], NEXT)).get(partition) ?? 0;
  const fetcher = client.fetcher();
  let offset = before?.nextOffset ?? (await client.offsets(topic, [partition], OLDEST)).get(partition) ?? 0;
  const last = new Map((before?.records ?? []).map((record) => [record.key?.toString() ?? '', record]));
  try {
    while (offset < end) {
      const [part] = await fetcher.fetch(leader, [{ topic, partition, topicId: shape.id, offset }], FETCH_WAIT_MS);
      if (part === undefined || part.code !== kafkaCodes.none)
        throw new KafkaFailure(`${topic} ${partition} cannot be read (${part?.code})`, part?.code);
      for (const record of part.records) {
        const key = record.key?.toString() ?? '';
        // In the place of its last value.
        last.delete(key);
        if (record.value !== null) last.set(key, record);
      }
      offset = part.nextOffset;
    }
  } finally {
    await fetcher.close();
  }
  return { records: [...last.values()], nextOffset: offset };
}
