import type { Clock, DiskError, Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { abortedBetween } from './aborted-transactions.js';
import { checkBatch } from './batch-check.js';
import type { CommitMember, Commits } from './commits.js';
import type { Housekeeping } from './housekeeping.js';
import { encodeKey, type JournaledBatches, type JournaledPartition } from './journaled-batches.js';
import type { LeaderEpochs } from './leader-epochs.js';
import type {
  AppendOptions,
  AppendOutcome,
  AppendRefusal,
  Isolation,
  NewRecord,
  Partition,
  PartitionWatcher,
  ProducerView,
  ReadBatches,
  ReadOptions,
  ReadOutcome,
  TimestampedOffset,
  Topic,
  TransactionMarker,
} from './log.js';
import { removeIfThere, replaceFile, syncFile, writeNew } from './open-files.js';
import { type ProducerStates, refusal } from './producer-state.js';
import { encodeSnapshot, encodeWindow } from './producer-snapshot.js';
import { readBlocks } from './read-blocks.js';
import { BatchHead, writeInt64 } from './record-batch.js';
import { encodeBatch, encodeMarker } from './records.js';
import { Rolling } from './rolling.js';
import { Segment, segmentStem, type SegmentWorld } from './segment.js';
import { findTimestamp, isGone, readSegments } from './segment-reader.js';
import { SegmentWriter } from './segment-writer.js';
import { type PendingWrite, Tail, type TailBudget } from './tail.js';

/**
 * One partition: record batches at dense offsets, in segments.
 *
 *   | segment 0 | segment 1500 | active segment 2600 …… | not committed |
 *     ^ log start                                        ^ high watermark  ^ log end
 *
 * What survives a crash is what was committed (see `Durability`): everything below the high watermark. What stands behind it may come back or not, whole batches
 * from the front on. `recoveryPoint` says how much is known to be on the disk with its indexes and producers, so that the next opening need not look at it.
 * Single writer; made by `partition-recovery.ts`.
 */
export interface PartitionParts {
  readonly topic: Topic;
  readonly number: number;
  readonly folder: string;
  /** Oldest first, at least one; the last one is the active one, with its indexes. */
  readonly segments: Segment[];
  readonly logStartOffset: number;
  readonly recoveryPoint: number;
  readonly leaderEpoch: number;
  readonly producers: ProducerStates;
  readonly epochs: LeaderEpochs;
  /** Offsets of the snapshots in the folder, oldest first. */
  readonly snapshots: number[];
  /** Writes again what an earlier life wrote and nobody knows to be on the disk; undefined where everything is. */
  readonly prove: (() => Promise<void>) | undefined;
}

/** What all partitions of a log share. */
export interface PartitionWorld extends SegmentWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly commits: Commits;
  readonly housekeeping: Housekeeping;
  readonly budget: TailBudget;
  /** Commits are synced before they count. */
  readonly isSynced: boolean;
  /** Makes a new log start offset durable. */
  saveLogStarts(): Promise<void>;
  /** Writes the recovery points of all partitions down. */
  saveRecoveryPoints(): Promise<void>;
}

/** So many bytes after the last checkpoint comes the next: it bounds what an opening after a crash has to read. */
const checkpointBytes = 256 * 1024 * 1024;
/** So many bytes that were committed together with others go to the segments in one piece. */
const flushBytes = 64 * 1024;
/** A partition of so many bytes, or of a small part of a segment, is read faster than its snapshot is written. */
const shortBytes = 64 * 1024;

/** What the commit under way takes of a partition: from one offset to another. */
interface Sealed {
  readonly from: number;
  readonly offset: number;
  readonly appendedBytes: number;
  bytes: number;
  writes: readonly PendingWrite[];
}

const nothing: readonly PendingWrite[] = [];

export class PartitionLog implements Partition, CommitMember, JournaledPartition {
  readonly topic: Topic;
  readonly number: number;
  readonly folder: string;
  /** What names it in the journal. */
  readonly key: Buffer;
  readonly leaderEpoch: number;
  readonly producerStates: ProducerStates;
  readonly epochs: LeaderEpochs;
  segments: Segment[];
  logStartOffset: number;
  logEndOffset: number;
  highWatermark: number;
  lastStableOffset: number;
  committedBytes = 0;
  stableBytes = 0;
  recoveryPoint: number;
  /** The recovery point that is written down: what the next opening goes by. */
  savedRecoveryPoint: number;
  /** What the log start is going to be once that is written down: nobody sees it before. */
  plannedStart: number;
  isRemoved = false;
  private readonly tail: Tail;
  private readonly watchers = new Set<PartitionWatcher>();
  private readonly head = new BatchHead();
  private readonly snapshots: number[];
  /** Bytes ever appended, and how many of them stood before each open transaction. */
  private appendedBytes = 0;
  private readonly bytesBefore = new Map<number, number>();
  private isDirty = false;
  private pendingBytes = 0;
  private sealed: Sealed = { from: 0, offset: 0, appendedBytes: 0, bytes: 0, writes: [] };
  private readonly writer: SegmentWriter;
  /** Segments whose indexes are not in their files yet, the active one not counted. */
  private unsaved: Segment[] = [];
  private bytesSinceCheckpoint = 0;
  private isCheckpointDue = false;
  private readonly rolling: Rolling;

  constructor(
    parts: PartitionParts,
    readonly world: PartitionWorld,
  ) {
    this.topic = parts.topic;
    this.number = parts.number;
    this.folder = parts.folder;
    this.key = encodeKey(parts.topic.idBytes, parts.number);
    this.segments = parts.segments;
    this.leaderEpoch = parts.leaderEpoch;
    this.producerStates = parts.producers;
    this.epochs = parts.epochs;
    this.snapshots = parts.snapshots;
    this.logStartOffset = parts.logStartOffset;
    this.plannedStart = parts.logStartOffset;
    this.logEndOffset = this.active.nextOffset;
    this.highWatermark = this.logEndOffset;
    this.sealed = { from: this.logEndOffset, offset: this.logEndOffset, appendedBytes: 0, bytes: 0, writes: [] };
    this.recoveryPoint = parts.recoveryPoint;
    this.savedRecoveryPoint = parts.recoveryPoint;
    this.lastStableOffset = Math.min(this.highWatermark, this.producerStates.firstUndecided(this.highWatermark));
    this.tail = new Tail(world.budget);
    this.writer = new SegmentWriter(this, world, parts.prove);
    this.rolling = new Rolling(parts.topic, world.random);
  }

  get active(): Segment {
    return this.segments.at(-1)!;
  }

  get sizeBytes(): number {
    let bytes = 0;
    for (const segment of this.segments) bytes += segment.sizeBytes;
    return bytes;
  }

  append(batch: Buffer, options: AppendOptions = {}): AppendOutcome {
    const { head, topic } = this;
    const unusable = this.whyUnusable();
    if (unusable !== undefined) return unusable;
    const checked = checkBatch(batch, head, topic.config, this.world.clock.now(), options);
    if (!Buffer.isBuffer(checked)) return checked;
    return this.place(checked);
  }

  appendRecords(records: readonly NewRecord[]): AppendOutcome {
    const unusable = this.whyUnusable();
    if (unusable !== undefined) return unusable;
    const now = this.world.clock.now();
    const batch = encodeBatch(records.map(({ timestamp = now, ...rest }) => ({ ...rest, timestamp })));
    this.head.read(batch, 0);
    return this.place(batch);
  }

  appendMarker(marker: TransactionMarker): AppendOutcome {
    const refused = this.whyUnusable() ?? this.producerStates.checkMarker(marker);
    if (refused !== undefined) return refused;
    const timestamp = this.world.clock.now();
    const batch = encodeMarker(marker, timestamp);
    this.head.read(batch, 0);
    const placed = this.place(batch);
    if (!placed.isAppended) return placed;
    const completed = this.producerStates.markerAppended(marker, placed.baseOffset, timestamp);
    if (completed?.isAborted === true) this.active.aborted.append(completed);
    return placed;
  }

  read(offset: number, { isolation, bytesMax, atLeastOne }: ReadOptions): ReadOutcome | Promise<ReadOutcome> {
    if (this.isRemoved) return 'removed';
    if (offset < this.logStartOffset || offset > this.logEndOffset) return 'offset-out-of-range';
    const limit = this.endOf(isolation);
    if (offset >= limit || (bytesMax <= 0 && !atLeastOne)) return this.found([], 0, offset, offset, isolation);
    if (offset >= this.tail.firstOffset) {
      const { parts, bytes, nextOffset } = this.tail.read(offset, limit, bytesMax, atLeastOne);
      return this.found(parts, bytes, offset, nextOffset, isolation);
    }
    return this.readFiles(offset, limit, { isolation, bytesMax, atLeastOne });
  }

  async offsetForTimestamp(timestamp: number, isolation: Isolation): Promise<TimestampedOffset | undefined> {
    await this.writer.flush();
    const limit = this.endOf(isolation);
    const { indexIntervalBytes } = this.topic.config;
    for (const segment of [...this.segments]) {
      if (segment.maxTimestamp < timestamp || segment.baseOffset >= limit) continue;
      const found = await findTimestamp(segment, timestamp, limit, indexIntervalBytes, this.logStartOffset).catch((error: unknown) => {
        if (isGone(error)) return undefined;
        throw error;
      });
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async maxTimestamp(): Promise<TimestampedOffset | undefined> {
    await this.writer.flush();
    let best: Segment | undefined;
    for (const segment of this.segments)
      if (segment.maxTimestamp >= 0 && (best === undefined || segment.maxTimestamp > best.maxTimestamp)) best = segment;
    if (best === undefined) return undefined;
    return findTimestamp(best, best.maxTimestamp, this.highWatermark, this.topic.config.indexIntervalBytes, this.logStartOffset);
  }

  endOfEpoch(epoch: number): { readonly epoch: number; readonly endOffset: number } {
    return this.epochs.endOf(epoch, this.highWatermark);
  }

  epochOf(offset: number): number {
    return this.epochs.at(offset);
  }

  async deleteRecordsBefore(offset: number): Promise<number | 'offset-out-of-range'> {
    const wanted = offset === -1 ? this.highWatermark : offset;
    if (wanted < 0 || wanted > this.highWatermark) return 'offset-out-of-range';
    if (wanted > this.logStartOffset) {
      this.plannedStart = Math.max(this.plannedStart, wanted);
      await this.world.saveLogStarts();
      this.beginAt(wanted, 'Removing records');
    }
    return this.logStartOffset;
  }

  producers(): readonly ProducerView[] {
    return this.producerStates.view();
  }

  watch(watcher: PartitionWatcher): void {
    this.watchers.add(watcher);
  }

  unwatch(watcher: PartitionWatcher): void {
    this.watchers.delete(watcher);
  }

  // What the commits ask for.

  seal(): number {
    this.isDirty = false;
    const bytes = this.pendingBytes;
    this.sealed = {
      from: this.sealed.offset,
      offset: this.logEndOffset,
      appendedBytes: this.appendedBytes,
      bytes,
      writes: this.tail.takePending(),
    };
    this.pendingBytes = 0;
    return bytes;
  }

  get sealedBytes(): number {
    return this.sealed.bytes;
  }

  writeToJournal(batches: JournaledBatches): void {
    if (this.isRemoved) return;
    const { from, writes, bytes } = this.sealed;
    // Until these are in the segments they are read from memory, and after a crash from the journal.
    this.writer.keepForLater(writes, bytes);
    const parts = writes.length === 1 ? writes[0]!.parts : writes.flatMap((write) => write.parts);
    batches.append(this, from, parts, bytes);
  }

  async settle(): Promise<void> {
    const upTo = this.highWatermark;
    await this.unlessRemoved(this.writer.settle());
    // With segments whose indexes are not in their files it waits for a checkpoint.
    if (this.unsaved.length === 0) this.recoveryPoint = Math.max(this.recoveryPoint, upTo);
  }

  writeSealed(done: (error: DiskError | undefined) => void): void {
    this.writer.write(this.sealed.writes, done);
  }

  commit(): void {
    const { sealed } = this;
    if (this.isRemoved) return;
    this.highWatermark = sealed.offset;
    this.committedBytes = sealed.appendedBytes;
    sealed.bytes = 0;
    sealed.writes = nothing;
    if (this.writer.bytesForLater > flushBytes) this.scheduleFlush();
    this.producerStates.becameVisible(this.highWatermark);
    this.lastStableOffset = Math.min(this.highWatermark, this.producerStates.firstUndecided(this.highWatermark));
    if (this.lastStableOffset === this.highWatermark) {
      this.stableBytes = this.committedBytes;
      if (this.bytesBefore.size > 0 && this.highWatermark === this.logEndOffset) this.bytesBefore.clear();
    } else this.stableBytes = this.bytesBefore.get(this.lastStableOffset) ?? this.stableBytes;
    if (this.bytesSinceCheckpoint > checkpointBytes || this.unsaved.length > 0) this.scheduleCheckpoint();
  }

  announce(): void {
    for (const watcher of this.watchers) watcher.advanced(this);
  }

  /** Whether a checkpoint would say something new. */
  get hasNews(): boolean {
    const { active, highWatermark, unsaved } = this;
    if (this.recoveryPoint !== highWatermark || unsaved.length > 0) return true;
    if (highWatermark === 0) return false;
    return (active.indexSums === undefined && active.sizeBytes > 0) || (this.snapshots.at(-1) !== highWatermark && !this.isShort);
  }

  /** An opening reads all there ever was: it needs no snapshot. */
  private get isShort(): boolean {
    const isWhole = this.segments.length === 1 && this.active.baseOffset === 0 && this.logStartOffset === 0;
    return isWhole && this.active.sizeBytes <= Math.min(shortBytes, this.topic.config.segmentBytes / 8);
  }

  /**
   * Everything committed by now is on the disk: the next opening begins behind it. Waits for a commit; the caller writes the recovery point down after that, with the sums
   * of the active segment's indexes. These and the snapshot are not synced, because each would cost one: an opening finds out by their sums whether they are there, and
   * makes them again where they are not. `isLast`: nothing is appended any more; the indexes are left as Kafka leaves them, and what the journal has may stay there.
   */
  async checkpoint(isLast = false): Promise<void> {
    if (!this.isRemoved) await this.unlessRemoved(this.writeDown(isLast));
  }

  private async writeDown(isLast: boolean): Promise<void> {
    if (!this.hasNews && !this.isDirty) return isLast && this.appendedBytes > 0 ? this.sealActive() : undefined;
    const { disk, isSynced } = this.world;
    const offset = this.logEndOffset;
    const [snapshot, window] = [
      encodeSnapshot(this.producerStates.entries.values()),
      encodeWindow(this.producerStates.entries.values(), this.segmentsWithAborted()),
    ];
    await this.committed();
    await this.writer.flush();
    const isKept = isLast && this.writer.isKept;
    if (!isKept) await this.writer.settle();
    const upTo = this.segments.filter(
      (segment) => segment.nextOffset > this.recoveryPoint || this.unsaved.includes(segment) || segment === this.active,
    );
    const saved: Segment[] = [];
    for (const segment of upTo) {
      if (segment.isNew) continue;
      const isComplete = segment !== this.active;
      if (isComplete || isLast) segment.sealTimes();
      await segment.saveIndexes(isComplete);
      if (this.isRemoved) return;
      if (!isComplete) continue;
      saved.push(segment);
      segment.unloadIndexes();
    }
    this.unsaved = this.unsaved.filter((segment) => !saved.includes(segment));
    if (this.snapshots.at(-1) !== offset && !this.isShort) {
      const stem = `${this.folder}/${segmentStem(offset)}`;
      await writeNew(disk, `${stem}.window`, window, false);
      await writeNew(disk, `${stem}.snapshot`, snapshot, false);
      this.snapshots.push(offset);
    }
    if (isSynced && saved.length > 0) await disk.syncDirectory(this.folder);
    if (!isKept) this.recoveryPoint = offset;
    this.bytesSinceCheckpoint = 0;
    while (this.snapshots.length > 2) {
      const old = `${this.folder}/${segmentStem(this.snapshots.shift()!)}`;
      await removeIfThere(disk, `${old}.snapshot`);
      await removeIfThere(disk, `${old}.window`);
    }
  }

  private async sealActive(): Promise<void> {
    this.active.sealTimes();
    await this.active.saveIndexes(false);
  }

  /** Begins a new segment, unless the active one is empty. */
  roll(): void {
    const { active } = this;
    if (active.sizeBytes === 0) return;
    active.sealTimes();
    this.unsaved.push(active);
    this.segments = [...this.segments, Segment.fresh(this.folder, this.logEndOffset, this.world)];
    this.rolling.begun();
  }

  /** The planned start is written down: nothing below it is read any more, and the segments below it go, in the background. */
  beginAt(offset: number, what: string): void {
    if (this.isRemoved || offset <= this.logStartOffset) return;
    this.logStartOffset = offset;
    this.epochs.cutStart(this.logStartOffset);
    // Where nothing is left, an empty segment takes over.
    if (this.logStartOffset >= this.logEndOffset && this.active.sizeBytes > 0) this.roll();
    const keep = this.segments.findIndex(
      (segment, index) => index === this.segments.length - 1 || segment.nextOffset > this.logStartOffset,
    );
    const dropped = this.segments.slice(0, keep).filter((segment) => segment.writtenBytes === segment.sizeBytes);
    if (dropped.length === 0 || dropped.length < keep) return;
    this.segments = this.segments.slice(keep);
    this.unsaved = this.unsaved.filter((segment) => !dropped.includes(segment));
    void this.world.housekeeping.run(what, async () => {
      await this.unlessRemoved(this.keepProducers(dropped.at(-1)!.nextOffset));
      for (const segment of dropped) await segment.removeFiles();
    });
  }

  /** What segments say of producers, up to an offset, is on the disk without them. */
  private async keepProducers(upTo: number): Promise<void> {
    const { disk, isSynced } = this.world;
    if (this.producerStates.entries.size === 0) return;
    if ((this.snapshots.at(-1) ?? -1) < upTo) await this.writeDown(false);
    await this.world.saveRecoveryPoints();
    if (!isSynced) return;
    const stem = `${this.folder}/${segmentStem(this.snapshots.at(-1)!)}`;
    for (const path of [`${stem}.window`, `${stem}.snapshot`]) await syncFile(disk, path);
    await disk.syncDirectory(this.folder);
  }

  /** A compaction made one segment of several. */
  replaceSegments(old: readonly Segment[], made: Segment): void {
    const at = this.segments.indexOf(old[0]!);
    this.segments = [...this.segments.slice(0, at), made, ...this.segments.slice(at + old.length)];
    this.unsaved = this.unsaved.filter((segment) => !old.includes(segment));
    this.tail.forgetSegments(old);
  }

  /** Its topic is deleted: watchers are told, and nothing is written any more. */
  remove(): void {
    this.isRemoved = true;
    this.writer.clear();
    this.tail.clear();
    for (const watcher of this.watchers) watcher.removed(this);
    this.watchers.clear();
  }

  /** Writes down the epochs. */
  saveEpochs(isSynced: boolean): Promise<void> {
    return replaceFile(this.world.disk, this.folder, 'leader-epoch-checkpoint', Buffer.from(this.epochs.encode()), isSynced);
  }

  private whyUnusable(): AppendRefusal | undefined {
    const { commits } = this.world;
    if (this.isRemoved) return refusal('removed', `Topic ${this.topic.name} was deleted`);
    if (commits.failure !== undefined) return refusal('storage', commits.failure.message);
    if (commits.fullReason !== undefined) return refusal('storage', `The disk is full: free some space. ${commits.fullReason}`);
    return undefined;
  }

  /** Gives a checked batch, of which `head` was read, its place. */
  private place(batch: Buffer): AppendOutcome {
    const { head, world } = this;
    const { segmentBytes } = this.topic.config;
    if (batch.length > segmentBytes)
      return refusal(
        'batch-larger-than-segment',
        `The batch has ${batch.length} bytes, a segment of the topic has at most ${segmentBytes}`,
      );
    const hasProducer = head.producerId >= 0 && !head.isControl;
    if (hasProducer) {
      const known = this.producerStates.check(head);
      if (known !== undefined)
        return 'isAppended' in known
          ? known
          : {
              isAppended: true,
              isDuplicate: true,
              baseOffset: known.firstOffset,
              lastOffset: known.lastOffset,
              logAppendTimeMs: known.timestamp,
            };
    }
    if (this.rolling.isDue(this.active, head, this.logEndOffset)) this.roll();
    const baseOffset = this.logEndOffset;
    writeInt64(batch, baseOffset, 0);
    batch.writeInt32BE(this.leaderEpoch, 12);
    head.baseOffset = baseOffset;
    const { active } = this;
    this.tail.add(batch, active, active.sizeBytes, baseOffset, head.nextOffset);
    active.appended(head, this.topic.config.indexIntervalBytes);
    if (hasProducer) {
      this.producerStates.appended(head);
      if (head.isTransactional) this.bytesBefore.set(baseOffset, this.appendedBytes);
    }
    this.logEndOffset = head.nextOffset;
    this.appendedBytes += batch.length;
    this.pendingBytes += batch.length;
    this.bytesSinceCheckpoint += batch.length;
    world.commits.uncommittedBytes += batch.length;
    if (!this.isDirty) {
      this.isDirty = true;
      world.commits.add(this);
    }
    return {
      isAppended: true,
      isDuplicate: false,
      baseOffset,
      lastOffset: head.lastOffset,
      logAppendTimeMs: head.hasLogAppendTime ? head.maxTimestamp : -1,
    };
  }

  private scheduleFlush(): void {
    if (this.writer.isFlushing) return;
    void this.world.housekeeping.run(`Writing to ${this.folder}`, () => this.unlessRemoved(this.writer.flush()));
  }

  private async readFiles(offset: number, limit: number, options: ReadOptions): Promise<ReadOutcome> {
    const { bytesMax, atLeastOne, isolation } = options;
    const { indexIntervalBytes } = this.topic.config;
    try {
      const found = await readSegments({ segments: () => this.segments, indexIntervalBytes, offset, limit, bytesMax, atLeastOne });
      const { block } = found;
      if (this.isRemoved) return 'removed';
      const batches = this.found(found.parts, found.bytes, offset, found.nextOffset, isolation);
      return block === undefined ? batches : { ...batches, release: () => readBlocks.give(block) };
    } catch (error) {
      if (this.isRemoved) return 'removed';
      if (offset < this.logStartOffset) return 'offset-out-of-range';
      throw error;
    }
  }

  private found(parts: readonly Buffer[], bytes: number, from: number, to: number, isolation: Isolation): ReadBatches {
    return { parts, bytes, aborted: isolation === 'read-committed' ? abortedBetween(this.segments, from, to) : undefined };
  }

  private segmentsWithAborted(): number[] {
    return this.segments.filter(({ aborted }) => aborted.entries.length > 0).map(({ baseOffset }) => baseOffset);
  }

  private endOf(isolation: Isolation): number {
    return isolation === 'read-committed' ? this.lastStableOffset : this.highWatermark;
  }

  private scheduleCheckpoint(): void {
    if (this.isCheckpointDue) return;
    this.isCheckpointDue = true;
    void this.world.housekeeping.run('Writing a checkpoint', async () => {
      this.isCheckpointDue = false;
      await this.checkpoint();
      await this.world.saveRecoveryPoints();
    });
  }

  /** Of a topic that was deleted meanwhile no file is missed. */
  private async unlessRemoved(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!this.isRemoved) throw error;
    }
  }

  /** Resolves when what is appended now is committed. */
  private committed(): Promise<void> {
    if (this.highWatermark === this.logEndOffset) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.world.commits.afterCommit((error: CodedError | undefined) => (error === undefined ? resolve() : reject(error)));
    });
  }
}
