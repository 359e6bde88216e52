import type { LogBatch } from './log-batch.js';

/**
 * The partitioned log from inside the same process: topics, records and groups, without a socket and without a protocol.
 *
 * The same topics, groups and offsets as Kafka clients see, and the same durability: what resolves is as safe as the broker promises, and
 * nobody is given what is not. Calls work on batches; there is no promise, no closure and no timer for a record. `Broker.log` makes it.
 */
export interface BrokerLog {
  readonly topics: readonly TopicView[];
  topic(name: string): TopicView | undefined;
  /** Rejects with a CodedError: `topic-exists`, `invalid-topic`, `invalid-partitions`, `invalid-config`. */
  createTopic(name: string, options?: NewTopic): Promise<TopicView>;
  /** Records, and what groups committed for it, are gone when it resolves. Rejects with `no-topic`. */
  deleteTopic(name: string): Promise<void>;
  /** Up to so many partitions in all. Keys go to other partitions from then on. Rejects with `no-topic`, `invalid-partitions`. */
  addPartitions(name: string, partitionCount: number): Promise<void>;
  /** What holds for a topic, under Kafka's names, whether it was set or not. Throws `no-topic`. */
  configs(name: string): Readonly<Record<string, string>>;
  /** Sets configs, or takes the topic's own away (null); all or none. Rejects with `no-topic`, `invalid-config`. */
  alterConfigs(name: string, changes: Readonly<Record<string, string | null>>): Promise<void>;

  /**
   * Appends records and resolves when all are as safe as the broker promises, to where they are: one entry for each run of records in a
   * partition. Records of one partition keep the order of the calls, and of the records within.
   *
   * Rejects with a CodedError, after what could be appended is safe: `no-topic`, `message-too-large` (one record alone is larger than
   * `max.message.bytes`), `invalid-argument` (a record without a key for a compacted topic, a time that is too far off), `disk-full`.
   */
  append(topic: string, records: readonly OutgoingRecord[], options?: AppendOptions): Promise<readonly AppendedRun[]>;

  /** Reads a partition on its own, without a group: a batch whenever it is asked for the next. Ends with `until`, or never. Throws `no-topic`. */
  read(topic: string, partition: number, options?: ReadOptions): LogReader;
  /** Where a partition begins and ends now. Throws `no-topic`. */
  bounds(topic: string, partition: number): PartitionBounds;
  /** The first record of that time (milliseconds since 1970) or a later one; undefined where there is none. Rejects with `no-topic`. */
  offsetForTime(topic: string, partition: number, timestamp: number): Promise<RecordPlace | undefined>;
  /** Takes away everything below `offset`; resolves to where the partition begins then. Rejects with `no-topic`, `offset-out-of-range`. */
  deleteRecordsBefore(topic: string, partition: number, offset: number): Promise<number>;
  /** Calls `advanced` once for each commit that made more of a partition visible, until the returned function is called. Throws `no-topic`. */
  watch(topic: string, partition: number, advanced: (end: number) => void): () => void;

  /**
   * Takes part in a group, beside members in this process and over sockets. Resolves with the first assignment. Rejects with a CodedError:
   * `invalid-argument`, `limit-reached`, `closed`.
   */
  join(group: string, options: GroupOptions): Promise<GroupMember>;
  /** How far a group has come, in every partition it ever committed for. */
  committedOffsets(group: string): readonly CommittedPlace[];
  /** Commits for a group that has no members, to read something again or to pass over it. Rejects with `in-use` where it has some. */
  commitOffsets(group: string, offsets: readonly OffsetCommit[]): Promise<void>;
  /** Rejects with `in-use` where the group has members; nothing happens where there is no such group. */
  deleteGroup(group: string): Promise<void>;
}

export interface TopicView {
  readonly name: string;
  /** Another one each time a topic of the name is made. */
  readonly id: string;
  readonly partitionCount: number;
  /** The broker writes it, and nobody else. */
  readonly isInternal: boolean;
}

export interface NewTopic {
  /** Default: the broker's (1). */
  readonly partitionCount?: number;
  /** Under Kafka's names: `{ 'cleanup.policy': 'compact' }`. */
  readonly configs?: Readonly<Record<string, string>>;
}

export interface OutgoingRecord {
  /** Records with the same key go to the same partition, the one that Kafka's clients would choose. Without one any partition will do. */
  readonly key?: string | Uint8Array | null;
  /** null is a tombstone: in a compacted topic it takes its key away. */
  readonly value: string | Uint8Array | null;
  readonly headers?: Readonly<Record<string, string | Uint8Array | null>> | readonly RecordHeader[];
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number;
  /** Default: chosen by the key. */
  readonly partition?: number;
}

export interface RecordHeader {
  readonly key: string;
  readonly value: string | Uint8Array | null;
}

export interface AppendOptions {
  /** How the batches are kept and sent. Default: as they are. */
  readonly compression?: 'uncompressed' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
}

export interface AppendedRun {
  readonly partition: number;
  /** Of the first record of the run; the others follow without a gap. */
  readonly baseOffset: number;
  readonly recordCount: number;
}

/** An offset, or a place that has one. */
export type StartingPlace = number | 'earliest' | 'latest' | { readonly timestamp: number };

export interface ReadOptions {
  /** Default: `earliest`. */
  readonly from?: StartingPlace;
  /** `end`: ends where the partition ends when the reading begins. Default: `never`, waits for what comes. */
  readonly until?: 'end' | 'never' | number;
  /** Bytes of one batch, if it has more than one record. Default: 1 MiB. */
  readonly bytesMax?: number;
}

/** Closed by leaving the loop, or by `return`. */
export interface LogReader extends AsyncIterableIterator<LogBatch> {
  /** The offset that comes next. */
  readonly position: number;
  /** Goes on there. A batch that is being waited for comes from there too. */
  seek(offset: number): void;
  return(): Promise<IteratorResult<LogBatch>>;
}

export interface PartitionBounds {
  /** The first offset that can be read. */
  readonly earliest: number;
  /** Behind the last that can. */
  readonly latest: number;
}

export interface RecordPlace {
  readonly offset: number;
  readonly timestamp: number;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface OffsetCommit extends TopicPartition {
  /** Of the next record to read: `batch.nextOffset`. */
  readonly offset: number;
  /** At most 4096 bytes that come back with the offset. */
  readonly metadata?: string;
}

export interface CommittedPlace extends TopicPartition {
  readonly offset: number;
  readonly metadata: string;
  /** Milliseconds since 1970. */
  readonly committedAt: number;
}

export interface GroupOptions {
  readonly topics: readonly string[];
  /**
   * Takes the records of one partition. The next of that partition come when the promise is fulfilled; other partitions go on meanwhile.
   * `signal` is aborted when the partition is given to somebody else although this is not done. If it rejects, the partition is paused and
   * `failed` is told: `resume` gives the same records again.
   */
  readonly receive: (batch: LogBatch, signal: AbortSignal) => void | Promise<void>;
  /** These are this member's from now on; records come when the promise is fulfilled. The place to `seek`. */
  readonly assigned?: (partitions: readonly TopicPartition[], member: GroupMember) => void | Promise<void>;
  /** These are not any more; `receive` is done with them. The last moment to commit, unless they are lost: then somebody else has them already. */
  readonly revoked?: (partitions: readonly TopicPartition[], how: { readonly isLost: boolean }) => void | Promise<void>;
  /** What went wrong. With a partition: it is paused. Default: the broker's log is told. */
  readonly failed?: (error: unknown, partition: TopicPartition | undefined) => void;
  /** Where nothing is committed, or what is committed is not there any more. Default: `earliest`. */
  readonly from?: 'earliest' | 'latest';
  /** A name of its own makes a member that comes back within its session find its partitions (static membership). */
  readonly instanceId?: string;
  /** How long the group waits for a member of that name. Default: 30,000. */
  readonly sessionTimeoutMs?: number;
  /** How long the group waits until `receive` and `revoked` are done when partitions change hands. Default: 60,000. */
  readonly rebalanceTimeoutMs?: number;
  /** Bytes of one batch, if it has more than one record. Default: 1 MiB. */
  readonly bytesMax?: number;
}

export interface GroupMember {
  readonly group: string;
  readonly id: string;
  /** Grows each time the group shares out anew. */
  readonly generation: number;
  /** What this member reads now. */
  readonly assignment: readonly TopicPartition[];
  /** Resolves when the offsets are safe. Rejects with `not-a-member` where the partitions are somebody else's by now. */
  commit(offsets: readonly OffsetCommit[]): Promise<void>;
  /** What is committed for a partition, by whomever. */
  committed(partition: TopicPartition): CommittedPlace | undefined;
  /** The offset of the next record that `receive` is given; undefined where the partition is not this member's. */
  position(partition: TopicPartition): number | undefined;
  /** Goes on there, behind the batch that is being received. */
  seek(partition: TopicPartition, offset: number): void;
  /** Nothing more of these until `resume`; the batch that is being received is finished. */
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  /** Waits for what is being received, tells `revoked`, and lets others have the partitions. */
  leave(): Promise<void>;
}
