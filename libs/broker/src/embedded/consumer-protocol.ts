import { Cursor, MalformedError } from '../kafka/cursor.js';
import type { TopicPartition } from './broker-log.js';

/**
 * What consumers of a group say to each other, which the coordinator passes on unread: Kafka's consumer protocol, version 0, so that members in
 * this process and clients written by others share a group.
 *
 *   subscription   version i16 | topics [string] | user data bytes | … of later versions
 *   assignment     version i16 | topics [string, partitions [i32]] | user data bytes
 *
 * Bytes to values and back; what a stranger wrote is read as far as it makes sense.
 */
export const protocolType = 'consumer';

/** In the order in which they are liked. kafkajs has its own name for the second. */
export const assignors = ['range', 'roundrobin', 'RoundRobinAssigner'] as const;

export function encodeSubscription(topics: readonly string[]): Buffer {
  return Buffer.concat([int16(0), int32(topics.length), ...topics.map(text), int32(-1)]);
}

/** What a member wants to read; nothing where it does not say so in these words. */
export function decodeSubscription(bytes: Buffer): readonly string[] {
  return read(bytes, (cursor) => list(cursor, () => cursor.string(cursor.int16())));
}

export function encodeAssignment(partitions: readonly TopicPartition[]): Buffer {
  const byTopic = new Map<string, number[]>();
  for (const { topic, partition } of partitions) {
    const numbers = byTopic.get(topic);
    if (numbers === undefined) byTopic.set(topic, [partition]);
    else numbers.push(partition);
  }
  const topics = [...byTopic].flatMap(([topic, numbers]) => [text(topic), int32(numbers.length), ...numbers.map(int32)]);
  return Buffer.concat([int16(0), int32(byTopic.size), ...topics, int32(-1)]);
}

export function decodeAssignment(bytes: Buffer): readonly TopicPartition[] {
  return read(bytes, (cursor) =>
    list(cursor, () => {
      const topic = cursor.string(cursor.int16());
      return list(cursor, () => ({ topic, partition: cursor.int32() }));
    }).flat(),
  );
}

export interface Subscriber {
  readonly memberId: string;
  readonly topics: readonly string[];
}

/** Who reads what, by the name of the assignor that the group has chosen. `partitionCounts` has the topics that there are. */
export function assign(
  protocol: string | null,
  members: readonly Subscriber[],
  partitionCounts: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly TopicPartition[]> {
  const shares = new Map<string, TopicPartition[]>(members.map(({ memberId }) => [memberId, []]));
  const sorted = [...members].sort((one, other) => (one.memberId < other.memberId ? -1 : 1));
  const topics = [...partitionCounts].sort(([one], [other]) => (one < other ? -1 : 1));
  if (protocol === 'range') for (const topic of topics) giveRanges(topic, sorted, shares);
  else giveInTurn(topics, sorted, shares);
  return shares;
}

/** Of each topic everybody gets a run of partitions, the first ones one more where they do not come out even. */
function giveRanges(
  [topic, count]: readonly [string, number],
  members: readonly Subscriber[],
  shares: ReadonlyMap<string, TopicPartition[]>,
): void {
  const readers = members.filter(({ topics }) => topics.includes(topic));
  let next = 0;
  for (const [index, { memberId }] of readers.entries()) {
    const size = Math.floor(count / readers.length) + (index < count % readers.length ? 1 : 0);
    for (let i = 0; i < size; i++) shares.get(memberId)!.push({ topic, partition: next++ });
  }
}

function giveInTurn(
  topics: readonly (readonly [string, number])[],
  members: readonly Subscriber[],
  shares: ReadonlyMap<string, TopicPartition[]>,
): void {
  let turn = 0;
  for (const [topic, count] of topics) {
    if (!members.some((member) => member.topics.includes(topic))) continue;
    for (let partition = 0; partition < count; partition++) {
      while (!members[turn % members.length]!.topics.includes(topic)) turn++;
      shares.get(members[turn++ % members.length]!.memberId)!.push({ topic, partition });
    }
  }
}

function read<T>(bytes: Buffer, what: (cursor: Cursor) => readonly T[]): readonly T[] {
  try {
    const cursor = Cursor.over(bytes);
    if (cursor.left > 0) cursor.int16();
    return cursor.left > 0 ? what(cursor) : [];
  } catch (error) {
    if (error instanceof MalformedError) return [];
    throw error;
  }
}

function list<T>(cursor: Cursor, item: () => T): T[] {
  const items: T[] = [];
  for (let count = cursor.int32(); count > 0; count--) items.push(item());
  return items;
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([int16(bytes.length), bytes]);
}
