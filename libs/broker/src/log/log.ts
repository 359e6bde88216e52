import type { CodedError } from '../errors.js';
import type { ConfigChange, ConfigEntry, TopicConfig } from './topic-config.js';

/**
 * The partitioned log, as whoever stands on it sees it: the Kafka server, the streams of AMQP, the broker itself in process.
 *
 * Topics have partitions, a partition has record batches (version 2, the bytes of Kafka) at dense offsets. Everything is kept in
 * Kafka's own files; what of it survives a crash is the durability that the broker was opened with (`memory`, `os`, `fsync`).
 * Nobody sees what is not yet that durable: `highWatermark` and `lastStableOffset` end there.
 *
 * Calls that answer at once change memory only; what they changed is durable when the callback of `afterCommit` runs. Offsets,
 * timestamps (milliseconds since 1970) and producer ids are plain numbers below 2^53. Made by `openLog`; one owner.
 */
export interface Log {
  /** The folder, for the answer to who asks for log directories; undefined where nothing is kept. */
  readonly directory: string | undefined;
  /** Drawn when the folder was made, in Kafka's form: 22 letters of base64. */
  readonly clusterId: string;
  /** Bytes that may still be written on the volume; Infinity where nothing is kept. */
  freeBytes(): Promise<number>;

  readonly topics: Iterable<Topic>;
  topic(name: string): Topic | undefined;
  topicById(id: string): Topic | undefined;
  /**
   * Makes a topic, durable when it resolves and usable from then on. Rejects with a CodedError: `topic-exists`, `invalid-topic`,
   * `invalid-partitions`, `invalid-config`. Internal ones (`__consumer_offsets`) may be written to by the broker alone; the server sees to it.
   */
  createTopic(name: string, settings: TopicSettings): Promise<Topic>;
  /** Every config that a topic would have that is made with these. */
  describeConfigs(configs: Readonly<Record<string, string>>): readonly ConfigEntry[];
  /** Says what `createTopic` would say, and makes nothing. */
  checkTopic(name: string, settings: TopicSettings): CodedError | undefined;
  /**
   * Rejects with `no-topic`. Readers that watch it are told (`removed`). Gone for good when it resolves. `takeAlso` appends that what others keep of it
   * is gone: it runs when the topic is, and before there can be another one of the name. After a crash in between the topic is gone, and that is not.
   */
  deleteTopic(name: string, takeAlso?: () => void): Promise<void>;
  /** More partitions; rejects with `no-topic`, `invalid-partitions`. */
  addPartitions(name: string, partitionCount: number): Promise<void>;
  /** Sets and takes back configs of a topic, all or none; rejects with `no-topic`, `invalid-config`. */
  alterConfigs(name: string, changes: readonly ConfigChange[], options?: { readonly validateOnly?: boolean }): Promise<void>;

  /** A producer id that nobody had before; durable before it is handed out (in blocks, so that it costs nothing). */
  takeProducerId(): Promise<number>;

  /**
   * Runs `done` when everything appended before this call is as durable as asked for, or failed for good; never before this call
   * returned. One call per request, however many partitions: one commit carries them all.
   */
  afterCommit(done: CommitWaiter | ((error: CodedError | undefined) => void)): void;
  /** Appended and not committed. Above a limit of their own, servers stop reading from their sockets until `afterCommit`. */
  readonly uncommittedBytes: number;
  /** Why nothing can be written now (a full disk); appends are refused meanwhile. */
  readonly fullReason: string | undefined;
}

/** Who waits for a commit; an object where a function would have to be made for each. */
export interface CommitWaiter {
  committed(error: CodedError | undefined): void;
}

export interface TopicSettings {
  readonly partitionCount: number;
  /** As strings, as a client says them. What is not said has the broker's default. */
  readonly configs?: Readonly<Record<string, string>>;
  readonly isInternal?: boolean;
}

export interface Topic {
  readonly name: string;
  /** A UUID in Kafka's form: 22 letters of base64. Another one each time a topic of the name is made. */
  readonly id: string;
  /** The same, 16 bytes. */
  readonly idBytes: Buffer;
  readonly isInternal: boolean;
  /** By number; as many as the topic has. */
  readonly partitions: readonly Partition[];
  /** What holds now, parsed. */
  readonly config: TopicConfig;
  /** Every config there is, with where its value comes from. */
  describeConfigs(): readonly ConfigEntry[];
}

export type Isolation = 'read-uncommitted' | 'read-committed';

export interface Partition {
  readonly topic: Topic;
  readonly number: number;
  /** Grows when a crash may have taken back what was seen (never under `fsync`). */
  readonly leaderEpoch: number;
  /** The first offset that may be read. */
  readonly logStartOffset: number;
  /** The offset of the next record appended: may be ahead of what is durable. */
  readonly logEndOffset: number;
  /** Behind the last record that is durable: what `read-uncommitted` sees ends here. */
  readonly highWatermark: number;
  /** Behind the last record of which it is decided whether it counts: what `read-committed` sees ends here. */
  readonly lastStableOffset: number;
  /** Bytes of its segments. */
  readonly sizeBytes: number;
  /** Bytes ever made visible to `read-uncommitted` since the broker was opened: the difference of two looks says what came between. */
  readonly committedBytes: number;
  /** The same for `read-committed`. */
  readonly stableBytes: number;

  /**
   * Appends one record batch as a client sent it: checks it in Kafka's order, gives it its offsets in place and takes the bytes over (the
   * caller must not write to them again; small ones are copied). Answers at once; durable with the next `afterCommit`.
   */
  append(batch: Buffer, options?: AppendOptions): AppendOutcome;
  /** Appends what the broker itself says, as one batch. Made durable and refused as `append` does. */
  appendRecords(records: readonly NewRecord[]): AppendOutcome;
  /** Ends the transaction of a producer in this partition with a control batch. Repeating it for a transaction that is over is no error. */
  appendMarker(marker: TransactionMarker): AppendOutcome;

  /**
   * Whole batches from the one that holds `offset` on, or the first one behind it where compaction left a gap; never an empty answer below the
   * end of what `isolation` sees. At most `bytesMax`, but the first batch always where `atLeastOne`. Answers at once what is in memory.
   */
  read(offset: number, options: ReadOptions): ReadOutcome | Promise<ReadOutcome>;
  /** The first record with this timestamp or a later one; undefined where there is none. */
  offsetForTimestamp(timestamp: number, isolation: Isolation): Promise<TimestampedOffset | undefined>;
  /** The record with the largest timestamp; undefined in an empty partition. */
  maxTimestamp(): Promise<TimestampedOffset | undefined>;
  /** Where records of this epoch end: the last epoch that is not later, and the offset behind its records. -1 and -1 where it is not known. */
  endOfEpoch(epoch: number): { readonly epoch: number; readonly endOffset: number };
  /** The epoch under which the record at `offset` was appended; -1 where nothing was. */
  epochOf(offset: number): number;
  /** Takes away everything below `offset` (-1: everything that is visible); durable when it resolves to the new log start. */
  deleteRecordsBefore(offset: number): Promise<number | 'offset-out-of-range'>;

  /** Producers that wrote lately, for who asks. */
  producers(): readonly ProducerView[];

  /** Told once per commit that made more visible, and when the partition goes. */
  watch(watcher: PartitionWatcher): void;
  unwatch(watcher: PartitionWatcher): void;
}

export interface PartitionWatcher {
  /** `highWatermark`, `lastStableOffset` or both are further than before. Must not append. */
  advanced(partition: Partition): void;
  /** Its topic was deleted: nothing will ever come. */
  removed(partition: Partition): void;
}

export interface AppendOptions {
  /** Of the request, where it matters: zstd needs produce version 7. Default: newest. */
  readonly mayBeZstd?: boolean;
}

export type AppendOutcome = Appended | AppendRefusal;

export interface Appended {
  readonly isAppended: true;
  /** The batch was here already: these are the offsets it has had since then, and nothing was appended. */
  readonly isDuplicate: boolean;
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** What the broker wrote as the time of the records, or -1 where they keep their own; of a duplicate, as in Kafka, the largest of its times. */
  readonly logAppendTimeMs: number;
}

export interface AppendRefusal {
  readonly isAppended: false;
  readonly reason: RefusalReason;
  /** A sentence for the person who must act. */
  readonly message: string;
  /** Which records are at fault, by their place in the batch; where it is some of them. */
  readonly records?: readonly { readonly index: number; readonly message: string }[];
}

export type RefusalReason =
  /** Sum or lengths are wrong: sent again it may be right. */
  | 'corrupt-message'
  | 'message-too-large'
  | 'batch-larger-than-segment'
  | 'invalid-record'
  | 'invalid-timestamp'
  | 'unsupported-compression'
  | 'stale-producer-epoch'
  | 'out-of-order-sequence'
  | 'invalid-transaction-state'
  | 'stale-coordinator'
  /** The disk is full or failed. */
  | 'storage'
  /** The topic was deleted meanwhile. */
  | 'removed';

export interface NewRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[];
  /** Default: now. */
  readonly timestamp?: number;
}

export interface TransactionMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly isCommit: boolean;
}

export interface ReadOptions {
  readonly isolation: Isolation;
  readonly bytesMax: number;
  /** The first batch is returned though it is larger than `bytesMax`. */
  readonly atLeastOne: boolean;
}

export type ReadOutcome = ReadBatches | 'offset-out-of-range' | 'removed';

export interface ReadBatches {
  /** Whole batches, one behind the other, ready to be written to a socket. Never write to them. */
  readonly parts: readonly Buffer[];
  readonly bytes: number;
  /** Transactions whose records are among these and do not count; undefined for `read-uncommitted`. */
  readonly aborted: readonly AbortedTransaction[] | undefined;
  /** Where present: call it when the parts are not needed any more, so that their memory is used again. */
  readonly release?: () => void;
}

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

export interface TimestampedOffset {
  readonly offset: number;
  readonly timestamp: number;
  readonly leaderEpoch: number;
}

export interface ProducerView {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** -1 after a transaction ended. */
  readonly lastSequence: number;
  readonly lastTimestamp: number;
  /** -1 where no transaction ever ended here. */
  readonly coordinatorEpoch: number;
  /** First offset of the transaction that is open; -1 where none is. */
  readonly openTransactionFirstOffset: number;
}
