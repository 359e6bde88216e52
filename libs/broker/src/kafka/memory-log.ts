import type { Clock, Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type {
  AppendOutcome,
  CommitWaiter,
  Log,
  NewRecord,
  Partition,
  PartitionWatcher,
  ProducerView,
  ReadOptions,
  ReadOutcome,
  TimestampedOffset,
  Topic,
  TopicSettings,
} from '../log/log.js';
import {
  changeConfigs,
  type ConfigChange,
  type ConfigEntry,
  type ConfigValues,
  describeConfigs,
  parseTopicConfig,
  type TopicConfig,
} from '../log/topic-config.js';
import { encodeBatch } from '../log/records.js';
import { recordsOf } from './record-batch.js';

/**
 * For tests of the server alone: a partitioned log that keeps batches in arrays, in memory. It commits when it is told to (`commit`) or,
 * with a clock, in the next turn; it checks nothing that the server does not depend on. Nothing of it survives.
 */
export class MemoryLog implements Log {
  readonly directory = undefined;
  readonly clusterId: string;
  fullReason: string | undefined;
  uncommittedBytes = 0;
  private readonly byName = new Map<string, MemoryTopic>();
  private producerIds = 0;
  private waiting: CommitWaiter[] = [];
  private isScheduled = false;

  constructor(
    readonly random: Random,
    /** Undefined: commits only when `commit` is called. */
    readonly clock: Clock | undefined,
  ) {
    this.clusterId = random.bytes(16).toString('base64url');
  }

  get topics(): Iterable<Topic> {
    return this.byName.values();
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(Infinity);
  }

  topic(name: string): Topic | undefined {
    return this.byName.get(name);
  }

  topicById(id: string): Topic | undefined {
    for (const topic of this.byName.values()) if (topic.id === id) return topic;
    return undefined;
  }

  describeConfigs(configs: Readonly<Record<string, string>>): readonly ConfigEntry[] {
    return describeConfigs(configs);
  }

  checkTopic(name: string, settings: TopicSettings): CodedError | undefined {
    if (!/^[a-zA-Z0-9._-]{1,249}$/.test(name) || name === '.' || name === '..')
      return new CodedError('invalid-topic', `No topic can be called '${name}'`);
    if (this.byName.has(name)) return new CodedError('topic-exists', `Topic '${name}' already exists.`);
    if (settings.partitionCount < 1) return new CodedError('invalid-partitions', 'A topic has at least one partition');
    try {
      parseTopicConfig(settings.configs ?? {});
    } catch (error) {
      if (error instanceof CodedError) return error;
      throw error;
    }
    return undefined;
  }

  createTopic(name: string, settings: TopicSettings): Promise<Topic> {
    const refused = this.checkTopic(name, settings);
    if (refused !== undefined) return Promise.reject(refused);
    const topic = new MemoryTopic(name, settings, this);
    this.byName.set(name, topic);
    return Promise.resolve(topic);
  }

  deleteTopic(name: string, takeAlso?: () => void): Promise<void> {
    const topic = this.byName.get(name);
    if (topic === undefined) return Promise.reject(new CodedError('no-topic', `There is no topic '${name}'`));
    this.byName.delete(name);
    for (const partition of topic.partitions) partition.remove();
    takeAlso?.();
    return Promise.resolve();
  }

  addPartitions(name: string, partitionCount: number): Promise<void> {
    this.byName.get(name)!.grow(partitionCount);
    return Promise.resolve();
  }

  alterConfigs(name: string, changes: readonly ConfigChange[], options?: { readonly validateOnly?: boolean }): Promise<void> {
    const topic = this.byName.get(name);
    if (topic === undefined) return Promise.reject(new CodedError('no-topic', `There is no topic '${name}'`));
    return topic.change(changes, options?.validateOnly ?? false);
  }

  takeProducerId(): Promise<number> {
    return Promise.resolve(this.producerIds++);
  }

  afterCommit(done: CommitWaiter | ((error: CodedError | undefined) => void)): void {
    this.waiting.push(typeof done === 'function' ? { committed: done } : done);
    if (this.clock === undefined || this.isScheduled) return;
    this.isScheduled = true;
    this.clock.defer(() => this.commit());
  }

  /** Makes everything that was appended visible and tells who waits. */
  commit(error?: CodedError): void {
    this.isScheduled = false;
    this.uncommittedBytes = 0;
    const waiting = this.waiting;
    this.waiting = [];
    for (const topic of this.byName.values()) for (const partition of topic.partitions) partition.advance();
    for (const waiter of waiting) waiter.committed(error);
  }
}

class MemoryTopic implements Topic {
  readonly id: string;
  readonly idBytes: Buffer;
  readonly isInternal: boolean;
  readonly partitions: MemoryPartition[] = [];
  private own: ConfigValues;

  constructor(
    readonly name: string,
    { partitionCount, configs = {}, isInternal = false }: TopicSettings,
    readonly log: MemoryLog,
  ) {
    this.idBytes = log.random.bytes(16);
    this.id = this.idBytes.toString('base64url');
    this.isInternal = isInternal;
    this.own = configs;
    this.grow(partitionCount);
  }

  get config(): TopicConfig {
    return parseTopicConfig(this.own);
  }

  describeConfigs(): readonly ConfigEntry[] {
    return describeConfigs(this.own);
  }

  grow(count: number): void {
    while (this.partitions.length < count) this.partitions.push(new MemoryPartition(this, this.partitions.length));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the port rejects, it does not throw
  async change(changes: readonly ConfigChange[], validateOnly: boolean): Promise<void> {
    const after = changeConfigs(this.own, changes);
    if (!validateOnly) this.own = after;
  }
}

class MemoryPartition implements Partition {
  readonly leaderEpoch = 0;
  logStartOffset = 0;
  logEndOffset = 0;
  highWatermark = 0;
  committedBytes = 0;
  private endBytes = 0;
  private batches: Buffer[] = [];
  private readonly watchers = new Set<PartitionWatcher>();

  constructor(
    readonly topic: MemoryTopic,
    readonly number: number,
  ) {}

  get lastStableOffset(): number {
    return this.highWatermark;
  }

  get stableBytes(): number {
    return this.committedBytes;
  }

  get sizeBytes(): number {
    return this.batches.reduce((sum, batch) => sum + batch.length, 0);
  }

  append(batch: Buffer): AppendOutcome {
    if (batch.length > this.topic.config.messageBytesMax)
      return { isAppended: false, reason: 'message-too-large', message: 'The batch is too large' };
    const baseOffset = this.logEndOffset;
    batch.writeBigInt64BE(BigInt(baseOffset), 0);
    batch.writeInt32BE(this.leaderEpoch, 12);
    this.batches.push(Buffer.from(batch));
    this.logEndOffset += batch.readInt32BE(23) + 1;
    this.endBytes += batch.length;
    this.topic.log.uncommittedBytes += batch.length;
    return { isAppended: true, isDuplicate: false, baseOffset, lastOffset: this.logEndOffset - 1, logAppendTimeMs: -1 };
  }

  appendRecords(records: readonly NewRecord[]): AppendOutcome {
    return this.append(encodeBatch(records.map((record) => ({ timestamp: 1, ...record }))));
  }

  appendMarker(): AppendOutcome {
    return { isAppended: false, reason: 'invalid-transaction-state', message: 'There are no transactions here' };
  }

  advance(): void {
    if (this.highWatermark === this.logEndOffset) return;
    this.highWatermark = this.logEndOffset;
    this.committedBytes = this.endBytes;
    for (const watcher of [...this.watchers]) watcher.advanced(this);
  }

  remove(): void {
    for (const watcher of [...this.watchers]) watcher.removed(this);
  }

  read(offset: number, { bytesMax, atLeastOne }: ReadOptions): ReadOutcome {
    if (offset < this.logStartOffset || offset > this.logEndOffset) return 'offset-out-of-range';
    const parts: Buffer[] = [];
    let bytes = 0;
    for (const batch of this.batches) {
      const base = Number(batch.readBigInt64BE(0));
      if (base + batch.readInt32BE(23) < offset) continue;
      if (base >= this.highWatermark || (bytes + batch.length > bytesMax && !(atLeastOne && bytes === 0))) break;
      parts.push(batch);
      bytes += batch.length;
    }
    return { parts, bytes, aborted: [] };
  }

  offsetForTimestamp(timestamp: number): Promise<TimestampedOffset | undefined> {
    for (const record of recordsOf(Buffer.concat(this.batches))) {
      if (record.timestamp >= timestamp) return Promise.resolve({ offset: record.offset, timestamp: record.timestamp, leaderEpoch: 0 });
    }
    return Promise.resolve(undefined);
  }

  maxTimestamp(): Promise<TimestampedOffset | undefined> {
    let max: TimestampedOffset | undefined;
    for (const { offset, timestamp } of recordsOf(Buffer.concat(this.batches)))
      if (max === undefined || timestamp > max.timestamp) max = { offset, timestamp, leaderEpoch: 0 };
    return Promise.resolve(max);
  }

  endOfEpoch(epoch: number): { readonly epoch: number; readonly endOffset: number } {
    return epoch === 0 ? { epoch: 0, endOffset: this.logEndOffset } : { epoch: -1, endOffset: -1 };
  }

  epochOf(): number {
    return 0;
  }

  deleteRecordsBefore(offset: number): Promise<number | 'offset-out-of-range'> {
    const to = offset === -1 ? this.highWatermark : offset;
    if (to > this.highWatermark || to < 0) return Promise.resolve('offset-out-of-range');
    this.logStartOffset = Math.max(this.logStartOffset, to);
    return Promise.resolve(this.logStartOffset);
  }

  producers(): readonly ProducerView[] {
    return [];
  }

  watch(watcher: PartitionWatcher): void {
    this.watchers.add(watcher);
  }

  unwatch(watcher: PartitionWatcher): void {
    this.watchers.delete(watcher);
  }
}
