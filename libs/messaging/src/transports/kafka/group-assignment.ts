/**
 * Who reads which partitions, as the leader of a group decides it, and the bytes in which members and leader tell each other: ConsumerProtocol of Kafka's
 * own consumer (subscription version 2, assignment version 0), so that its tools can read what a group does.
 *
 * Cooperative: a partition that is to change hands is given to nobody until its owner has joined again without it, so that no two read it and nobody
 * has to stop reading the others. Sticky: who has a partition keeps it as long as the load stays even. Pure; keeps nothing.
 */
import type { TopicPartition } from './kafka-client.js';

/** The name under which Java's CooperativeStickyAssignor goes by the same rules, so that a member of another kind is understood too. */
export const ASSIGNMENT_PROTOCOL = 'cooperative-sticky';

export interface GroupSubscription {
  readonly topics: readonly string[];
  readonly owned: readonly TopicPartition[];
  /** The generation in which it was given them; -1 when it has none. */
  readonly generation: number;
}

export interface GroupMemberSubscription extends GroupSubscription {
  readonly memberId: string;
}

/**
 * The partitions of each member, evenly in each topic, because topics are not equally busy; `partitionCounts` by topic. What does not go up goes to who has
 * least of everything.
 */
export function assignPartitions(
  members: readonly GroupMemberSubscription[],
  partitionCounts: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly TopicPartition[]> {
  const owners = ownersOf(members);
  const loads = new Map(members.map(({ memberId }) => [memberId, [] as TopicPartition[]]));
  for (const topic of [...new Set(members.flatMap(({ topics }) => topics))].toSorted()) {
    const readers = members.filter(({ topics }) => topics.includes(topic)).map(({ memberId }) => memberId);
    for (const [memberId, parts] of shareTopic(topic, partitionCounts.get(topic) ?? 0, readers, owners, loads))
      loads.get(memberId)!.push(...parts);
  }
  // A partition that somebody else still has is given to nobody in this round.
  return new Map(
    [...loads].map(([memberId, load]) => [memberId, load.filter((part) => (owners.get(nameOf(part)) ?? memberId) === memberId)]),
  );
}

function shareTopic(
  topic: string,
  count: number,
  readers: readonly string[],
  owners: ReadonlyMap<string, string>,
  loads: ReadonlyMap<string, readonly TopicPartition[]>,
): ReadonlyMap<string, TopicPartition[]> {
  const shares = new Map(readers.map((memberId) => [memberId, [] as TopicPartition[]]));
  const few = Math.floor(count / readers.length);
  const left: TopicPartition[] = [];
  for (let partition = 0; partition < count; partition += 1) {
    const share = shares.get(owners.get(nameOf({ topic, partition })) ?? '');
    if (share !== undefined && share.length < few) share.push({ topic, partition });
    else left.push({ topic, partition });
  }
  const total = (memberId: string): number => loads.get(memberId)!.length + shares.get(memberId)!.length;
  for (const part of left) {
    const owner = owners.get(nameOf(part));
    const least = Math.min(...readers.map((memberId) => shares.get(memberId)!.length));
    const [first, ...others] = readers.filter((memberId) => shares.get(memberId)!.length === least);
    const next = others.reduce((best, memberId) => {
      if (total(memberId) !== total(best)) return total(memberId) < total(best) ? memberId : best;
      return memberId === owner ? memberId : best;
    }, first!);
    shares.get(next)!.push(part);
  }
  return shares;
}

/** Of two that say they have the same partition, the one of the later generation has it; of the same generation, neither. */
function ownersOf(members: readonly GroupMemberSubscription[]): ReadonlyMap<string, string> {
  const claims = new Map<string, { readonly memberId: string | undefined; readonly generation: number }>();
  for (const { memberId, owned, generation } of members) {
    for (const name of owned.map(nameOf)) {
      const other = claims.get(name);
      if (other === undefined || other.generation < generation) claims.set(name, { memberId, generation });
      else if (other.generation === generation) claims.set(name, { memberId: undefined, generation });
    }
  }
  const owners = new Map<string, string>();
  for (const [name, { memberId }] of claims) if (memberId !== undefined) owners.set(name, memberId);
  return owners;
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

const SUBSCRIPTION_VERSION = 2;
const ASSIGNMENT_VERSION = 0;

/**
 *   | version 2 | count 4 | topics: length 2, text | user data: length 4 (-1) | count 4 | owned: topic, count 4, partitions 4 each | generation 4 |
 */
export function encodeSubscription({ topics, owned, generation }: GroupSubscription): Buffer {
  const writer = new Writer();
  writer.int16(SUBSCRIPTION_VERSION);
  writer.int32(topics.length);
  for (const topic of topics) writer.text(topic);
  writer.int32(-1);
  writer.partitions(owned);
  writer.int32(generation);
  return writer.bytes();
}

/** Throws a RangeError where the bytes end too early: they come from another member. */
export function decodeSubscription(bytes: Buffer): GroupSubscription {
  const reader = new Reader(bytes);
  const version = reader.int16();
  const topics = Array.from({ length: reader.count() }, () => reader.text());
  reader.skip(Math.max(0, reader.int32()));
  const owned = version >= 1 ? reader.partitions() : [];
  return { topics, owned, generation: version >= 2 ? reader.int32() : -1 };
}

/** `| version 2 | count 4 | topic, count 4, partitions 4 each | user data: length 4 (-1) |` */
export function encodeAssignment(partitions: readonly TopicPartition[]): Buffer {
  const writer = new Writer();
  writer.int16(ASSIGNMENT_VERSION);
  writer.partitions(partitions);
  writer.int32(-1);
  return writer.bytes();
}

/** A member that is given nothing gets no bytes at all from some leaders. */
export function decodeAssignment(bytes: Buffer): readonly TopicPartition[] {
  if (bytes.length === 0) return [];
  const reader = new Reader(bytes);
  reader.int16();
  return reader.partitions();
}

class Writer {
  readonly #parts: Buffer[] = [];

  int16(value: number): void {
    const part = Buffer.alloc(2);
    part.writeInt16BE(value);
    this.#parts.push(part);
  }

  int32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    this.#parts.push(part);
  }

  text(text: string): void {
    const part = Buffer.from(text);
    this.int16(part.length);
    this.#parts.push(part);
  }

  partitions(partitions: readonly TopicPartition[]): void {
    const topics = [...new Set(partitions.map(({ topic }) => topic))];
    this.int32(topics.length);
    for (const topic of topics) {
      const parts = partitions.filter((part) => part.topic === topic);
      this.text(topic);
      this.int32(parts.length);
      for (const { partition } of parts) this.int32(partition);
    }
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

class Reader {
  #at = 0;
  constructor(private readonly bytes: Buffer) {}

  int16(): number {
    this.#at += 2;
    return this.bytes.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.bytes.readInt32BE(this.#at - 4);
  }

  /** No list has more entries than there are bytes left for. */
  count(): number {
    const count = this.int32();
    if (count < 0 || count > this.bytes.length - this.#at) throw new RangeError(`a list of ${count} does not fit into what is left`);
    return count;
  }

  text(): string {
    const length = this.int16();
    this.skip(length);
    return this.bytes.toString('utf8', this.#at - length, this.#at);
  }

  skip(length: number): void {
    if (length < 0 || this.#at + length > this.bytes.length) throw new RangeError(`${length} bytes do not fit into what is left`);
    this.#at += length;
  }

  partitions(): TopicPartition[] {
    return Array.from({ length: this.count() }, () => {
      const topic = this.text();
      return Array.from({ length: this.count() }, () => ({ topic, partition: this.int32() }));
    }).flat();
  }
}
