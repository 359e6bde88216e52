import { CodedError } from '../errors.js';
import type { KafkaNode } from '../kafka/kafka-node.js';
import { listOffsets } from '../kafka/groups/coordinator.js';
import { codecOf } from '../log/compression.js';
import type { AppendOutcome, Partition, RefusalReason, Topic } from '../log/log.js';
import { BatchBuilder } from './batch-builder.js';
import type {
  AppendedRun,
  AppendOptions,
  BrokerLog,
  CommittedPlace,
  GroupMember,
  GroupOptions,
  LogReader,
  NewTopic,
  OffsetCommit,
  OutgoingRecord,
  PartitionBounds,
  ReadOptions,
  RecordPlace,
  StartingPlace,
  TopicView,
} from './broker-log.js';
import { EmbeddedMember } from './embedded-member.js';
import { commitTo, inUse, noPartition, notWritten, tooManyGroups } from './group-offsets.js';
import { PartitionCursor, readBytesMax } from './partition-cursor.js';
import { PartitionReader } from './partition-reader.js';
import { partitionOfKey } from './partitioner.js';

/** How a refusal is said to who cannot send the batch again by itself. */
const codeByReason = {
  'corrupt-message': 'invalid-argument',
  'message-too-large': 'message-too-large',
  'batch-larger-than-segment': 'message-too-large',
  'invalid-record': 'invalid-argument',
  'invalid-timestamp': 'invalid-argument',
  'unsupported-compression': 'invalid-argument',
  'stale-producer-epoch': 'invalid-argument',
  'out-of-order-sequence': 'invalid-argument',
  'invalid-transaction-state': 'invalid-argument',
  'stale-coordinator': 'invalid-argument',
  storage: 'disk-full',
  removed: 'no-topic',
} as const satisfies Record<RefusalReason, CodedError['code']>;

/**
 * The log and its groups in this process, over the same node as the sockets. Nothing of it survives a crash but what the log keeps; a
 * member of a group that went with its process is not waited for when the broker opens again. The broker makes one and closes it.
 */
export class EmbeddedLog implements BrokerLog {
  private readonly readers = new Set<PartitionReader>();
  private readonly members = new Set<EmbeddedMember>();
  private isClosed = false;
  /** Where records without a key go: to another partition with each call. */
  private turn = 0;
  /** Calls that wait until less is uncommitted, in their order. */
  private roomQueue: Promise<void> | undefined;

  constructor(private readonly node: KafkaNode) {}

  get topics(): readonly TopicView[] {
    return [...this.node.log.topics].map(viewOf);
  }

  topic(name: string): TopicView | undefined {
    const topic = this.node.log.topic(name);
    return topic && viewOf(topic);
  }

  async createTopic(name: string, { partitionCount = this.node.settings.partitionCount, configs = {} }: NewTopic = {}): Promise<TopicView> {
    return viewOf(await this.node.log.createTopic(name, { partitionCount, configs }));
  }

  async deleteTopic(name: string): Promise<void> {
    if (this.find(name).isInternal) throw internal(name);
    await this.node.groups.deleteTopic(name);
  }

  async addPartitions(name: string, partitionCount: number): Promise<void> {
    if (this.find(name).isInternal) throw internal(name);
    await this.node.log.addPartitions(name, partitionCount);
  }

  configs(name: string): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.find(name)
        .describeConfigs()
        .map((entry) => [entry.name, entry.value]),
    );
  }

  async alterConfigs(name: string, changes: Readonly<Record<string, string | null>>): Promise<void> {
    await this.node.log.alterConfigs(
      name,
      Object.entries(changes).map(([config, value]) =>
        value === null ? { name: config, operation: 'delete' } : { name: config, operation: 'set', value },
      ),
    );
  }

  async append(name: string, records: readonly OutgoingRecord[], options: AppendOptions = {}): Promise<readonly AppendedRun[]> {
    if (this.roomQueue !== undefined || this.isFull) await this.waitForRoom();
    this.checkOpen();
    const topic = this.find(name);
    if (topic.isInternal) throw internal(name);
    const runs: AppendedRun[] = [];
    let refusal: CodedError | undefined;
    for (const [partition, own] of this.share(topic, records)) refusal ??= this.appendTo(topic.partitions[partition]!, own, options, runs);
    if (runs.length > 0) {
      await new Promise<void>((resolve, reject) => {
        this.node.log.afterCommit((error) => (error === undefined ? resolve() : reject(error)));
      });
    }
    if (refusal !== undefined) throw refusal;
    return runs;
  }

  read(topic: string, partition: number, { from = 'earliest', until = 'never', bytesMax = readBytesMax }: ReadOptions = {}): LogReader {
    this.checkOpen();
    const found = this.partition(topic, partition);
    const end = until === 'end' ? found.lastStableOffset : until === 'never' ? Infinity : until;
    const opening = this.placeOf(found, from).then((offset) => new PartitionCursor(found, offset, bytesMax, this.node.clock));
    const reader = new PartitionReader(
      opening,
      () => end,
      () => this.readers.delete(reader),
    );
    this.readers.add(reader);
    return reader;
  }

  bounds(topic: string, partition: number): PartitionBounds {
    const { logStartOffset, lastStableOffset } = this.partition(topic, partition);
    return { earliest: logStartOffset, latest: lastStableOffset };
  }

  async offsetForTime(topic: string, partition: number, timestamp: number): Promise<RecordPlace | undefined> {
    const found = await this.partition(topic, partition).offsetForTimestamp(timestamp, 'read-committed');
    return found && { offset: found.offset, timestamp: found.timestamp };
  }

  async deleteRecordsBefore(topic: string, partition: number, offset: number): Promise<number> {
    const found = this.partition(topic, partition);
    if (found.topic.isInternal) throw internal(topic);
    const start = offset < 0 ? ('offset-out-of-range' as const) : await found.deleteRecordsBefore(offset);
    if (start !== 'offset-out-of-range') return start;
    throw new CodedError('offset-out-of-range', `Partition ${partition} of '${topic}' ends at ${found.highWatermark}, before ${offset}`);
  }

  watch(topic: string, partition: number, advanced: (end: number) => void): () => void {
    const found = this.partition(topic, partition);
    const watcher = { advanced: () => advanced(found.lastStableOffset), removed: () => undefined };
    found.watch(watcher);
    return () => found.unwatch(watcher);
  }

  async join(group: string, options: GroupOptions): Promise<GroupMember> {
    this.checkOpen();
    if (group === '' || options.topics.length === 0)
      throw new CodedError('invalid-argument', 'A member of a group needs the name of the group and the topics that it wants to read');
    const member = new EmbeddedMember(this.node, group, options, () => this.members.delete(member));
    this.members.add(member);
    await member.begin();
    return member;
  }

  committedOffsets(group: string): readonly CommittedPlace[] {
    const found = this.node.groups.group(group);
    if (found === undefined) return [];
    return listOffsets(found).map(({ topic, partition, value: { offset, metadata, committedAt } }) => ({
      ...{ topic, partition },
      ...{ offset, metadata, committedAt },
    }));
  }

  async commitOffsets(name: string, offsets: readonly OffsetCommit[]): Promise<void> {
    const group = this.node.groups.groupOrNew(name);
    if (group === undefined) throw tooManyGroups(name);
    if (group.checkCommit('', null, -1) !== undefined) throw inUse(name);
    await commitTo(this.node, name, offsets);
  }

  async deleteGroup(name: string): Promise<void> {
    const group = this.node.groups.group(name);
    if (group === undefined || group.state === 'Dead') return;
    if (group.state !== 'Empty') throw inUse(name);
    await new Promise<void>((resolve, reject) => {
      this.node.groups.delete(group, (error) => (error === undefined ? resolve() : reject(notWritten(name))));
    });
  }

  /** Members leave their groups, after `drainMs` whatever they are about; readers hear that nothing more comes. */
  async close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    this.isClosed = true;
    for (const reader of this.readers) void reader.return();
    await Promise.all([...this.members].map((member) => member.leave({ drainMs })));
  }

  /** The broker cannot go on. */
  abort(error: CodedError): void {
    this.isClosed = true;
    for (const reader of this.readers) void reader.return();
    for (const member of this.members) member.abort(error);
  }

  // Appending.

  private share(topic: Topic, records: readonly OutgoingRecord[]): ReadonlyMap<number, readonly OutgoingRecord[]> {
    const count = topic.partitions.length;
    const keyless = this.turn++ % count;
    const shares = new Map<number, OutgoingRecord[]>();
    for (const record of records) {
      const { key = null, partition = key === null ? keyless : partitionOfKey(bytesOf(key), count) } = record;
      if (topic.partitions[partition] === undefined) throw noPartition(topic.name, partition);
      const share = shares.get(partition);
      if (share === undefined) shares.set(partition, [record]);
      else share.push(record);
    }
    return shares;
  }

  /** As many batches as it takes. The answer is what was refused. */
  private appendTo(
    partition: Partition,
    records: readonly OutgoingRecord[],
    { compression = 'uncompressed' }: AppendOptions,
    runs: AppendedRun[],
  ): CodedError | undefined {
    const nowMs = this.node.clock.now();
    let builder = new BatchBuilder(partition.topic.config.messageBytesMax, nowMs);
    const flush = (): CodedError | undefined => {
      const outcome = partition.append(builder.finish(codecOf[compression]));
      if (!outcome.isAppended) return refused(partition, outcome);
      runs.push({ partition: partition.number, baseOffset: outcome.baseOffset, recordCount: builder.recordCount });
      builder = new BatchBuilder(partition.topic.config.messageBytesMax, nowMs);
      return undefined;
    };
    for (const record of records) {
      if (builder.add(record)) continue;
      const refusal = flush();
      if (refusal !== undefined) return refusal;
      builder.add(record);
    }
    return builder.recordCount === 0 ? undefined : flush();
  }

  private get isFull(): boolean {
    return this.node.log.uncommittedBytes > this.node.limits.uncommittedBytesMax;
  }

  /** One behind the other: whoever called first appends first. */
  private waitForRoom(): Promise<void> {
    const turn = (this.roomQueue ?? Promise.resolve()).then(async () => {
      while (this.isFull && !this.isClosed) await new Promise<void>((resolve) => this.node.log.afterCommit(() => resolve()));
      if (this.roomQueue === turn) this.roomQueue = undefined;
    });
    this.roomQueue = turn;
    return turn;
  }

  // Finding.

  private checkOpen(): void {
    if (this.isClosed) throw new CodedError('closed', 'The broker is closed: open another one');
  }

  private find(name: string): Topic {
    const topic = this.node.log.topic(name);
    if (topic === undefined) throw new CodedError('no-topic', `There is no topic '${name}': create it first`);
    return topic;
  }

  private partition(topic: string, partition: number): Partition {
    const found = this.find(topic).partitions[partition];
    if (found === undefined) throw noPartition(topic, partition);
    return found;
  }

  private async placeOf(partition: Partition, from: StartingPlace): Promise<number> {
    if (typeof from === 'number') return from;
    if (from === 'earliest') return partition.logStartOffset;
    if (from === 'latest') return partition.lastStableOffset;
    return (await partition.offsetForTimestamp(from.timestamp, 'read-committed'))?.offset ?? partition.lastStableOffset;
  }
}

function viewOf({ name, id, partitions, isInternal }: Topic): TopicView {
  return { name, id, partitionCount: partitions.length, isInternal };
}

function bytesOf(key: string | Uint8Array): Uint8Array {
  return typeof key === 'string' ? Buffer.from(key) : key;
}

function refused({ topic, number }: Partition, outcome: AppendOutcome & { readonly isAppended: false }): CodedError {
  const which = outcome.records?.[0];
  const message = which === undefined ? outcome.message : `${outcome.message} (record ${which.index}: ${which.message})`;
  return new CodedError(codeByReason[outcome.reason], `Partition ${number} of '${topic.name}' refused the records: ${message}`);
}

function internal(name: string): CodedError {
  return new CodedError('invalid-argument', `The topic '${name}' belongs to the broker: nobody else writes to it`);
}
