import type { Clock } from '@dovecote/ground';
import { BatchFilter, keyOf } from './batch-filter.js';
import type { ScannedBatch } from './batch-scan.js';
import { CleanedSegment } from './cleaned-segment.js';
import { decompress } from './compression.js';
import type { AbortedTransaction } from './log.js';
import type { PartitionLog } from './partition-log.js';
import { batchHeadBytes } from './record-batch.js';
import { RecordCursor } from './records.js';
import type { Segment } from './segment.js';

/**
 * Compaction of one partition: the segments behind the clean part are read for the last offset of each key, then everything up to there is written anew without what is
 * overwritten, and takes the place of the old segments, a group of them at a time.
 *
 *   | clean: a key once … | dirty … | not yet: active, too young, undecided |
 *
 * The active segment is never touched, nor what is above the last stable offset. The old files stay until the new ones are on the disk under their final
 * names; a crash in between leaves the old ones or the new ones (`.cleaned` files are thrown away by the next opening, `.swap` ones are put in place). Work is done in
 * slices, so that the event loop goes on. One at a time per log.
 */
/** Keys that one pass remembers; more are left for the next. */
const keysMax = 1_000_000;
const keyBytesMax = 64 * 1024 * 1024;
/** Bytes that are looked at before others have their turn. */
const sliceBytes = 128 * 1024;

export interface Cleanable {
  readonly partition: PartitionLog;
  readonly firstDirty: number;
  readonly end: number;
  /** Which part of what may be compacted was not yet. */
  readonly dirtyRatio: number;
}

/** What of a partition may be compacted now; undefined where nothing is, or too little. */
export function cleanableOf(partition: PartitionLog, cleanUpTo: number, nowMs: number): Cleanable | undefined {
  const { config } = partition.topic;
  if (!config.isCompacted || partition.isRemoved) return undefined;
  const { active, segments } = partition;
  let end = active.baseOffset;
  for (const segment of segments) {
    const isTooYoung = config.minCompactionLagMs > 0 && nowMs - segment.maxTimestamp < config.minCompactionLagMs;
    const isUsable = segment !== active && segment.nextOffset <= Math.min(partition.lastStableOffset, partition.savedRecoveryPoint);
    // What the next opening may have to put together again from a commit is left as it is.
    if (isUsable && !isTooYoung) continue;
    end = segment.baseOffset;
    break;
  }
  const firstDirty = cleanUpTo < partition.logStartOffset || cleanUpTo > end ? Math.min(partition.logStartOffset, end) : cleanUpTo;
  let cleanBytes = 0;
  let dirtyBytes = 0;
  let oldestDirty = Infinity;
  for (const segment of segments) {
    if (segment.nextOffset <= firstDirty) cleanBytes += segment.sizeBytes;
    else if (segment.baseOffset < end) {
      dirtyBytes += segment.sizeBytes;
      oldestDirty = Math.min(oldestDirty, segment.firstTimestamp ?? segment.maxTimestamp);
    }
  }
  if (dirtyBytes === 0) return undefined;
  const dirtyRatio = dirtyBytes / (cleanBytes + dirtyBytes);
  const isOverdue = nowMs - oldestDirty > config.maxCompactionLagMs;
  return dirtyRatio > config.minCleanableDirtyRatio || isOverdue ? { partition, firstDirty, end, dirtyRatio } : undefined;
}

export class CleaningStopped extends Error {
  override readonly name = 'CleaningStopped';
}

export class Cleaning {
  private readonly lastOffsets = new Map<string, number>();
  private keyBytes = 0;
  private bytesInSlice = 0;
  private readonly partition: PartitionLog;

  constructor(
    private readonly what: Cleanable,
    private readonly clock: Clock,
    private readonly mayGoOn: () => boolean,
  ) {
    this.partition = what.partition;
  }

  /** Resolves to the offset up to which the partition is clean now. */
  async run(): Promise<number> {
    const { partition, what } = this;
    const mappedUpTo = await this.mapKeys();
    const segments = partition.segments.filter((segment) => segment !== partition.active && segment.baseOffset < mappedUpTo);
    const filter = new BatchFilter({
      lastOffsets: this.lastOffsets,
      mappedUpTo,
      nowMs: this.clock.now(),
      deleteRetentionMs: partition.topic.config.deleteRetentionMs,
      aborted: abortedIn(segments),
      isLastOfProducer: (producerId, lastOffset) => partition.producerStates.isLastBatch(producerId, lastOffset),
    });
    for (const group of groupsOf(segments, partition.topic.config.segmentBytes)) {
      if (partition.isRemoved || !(await this.cleanGroup(group, filter))) return what.firstDirty;
    }
    return mappedUpTo;
  }

  /** The last offset of each key in the dirty part, as far as there is room; answers where it ends. */
  private async mapKeys(): Promise<number> {
    const { firstDirty, end } = this.what;
    let mappedUpTo = firstDirty;
    const aborted = abortedIn(this.partition.segments);
    const aborting = new Set<number>();
    let next = 0;
    for (const segment of this.partition.segments) {
      if (segment.nextOffset <= firstDirty || segment.baseOffset >= end || this.isFull) continue;
      await segment.scan(0, (batch) => {
        const { head } = batch;
        if (this.isFull || head.nextOffset > end) return false;
        for (; next < aborted.length && aborted[next]!.firstOffset <= head.lastOffset; next++) aborting.add(aborted[next]!.producerId);
        if (head.isControl) aborting.delete(head.producerId);
        else if (head.nextOffset > firstDirty && !(head.isTransactional && aborting.has(head.producerId))) this.mapBatch(batch);
        mappedUpTo = Math.max(mappedUpTo, head.nextOffset);
        return this.pace(head.bytes);
      });
    }
    return mappedUpTo;
  }

  private mapBatch({ bytes, at, head }: ScannedBatch): void {
    if (head.count === 0) return;
    const payload = decompress(head.codec, bytes.subarray(at + batchHeadBytes, at + head.bytes));
    const cursor = new RecordCursor(payload, 0, payload.length);
    while (cursor.next()) {
      if (!cursor.hasKey) continue;
      this.lastOffsets.set(keyOf(cursor), head.baseOffset + cursor.offsetDelta);
      this.keyBytes += cursor.keyLength;
    }
  }

  private get isFull(): boolean {
    return this.lastOffsets.size >= keysMax || this.keyBytes >= keyBytesMax;
  }

  /** False where the segments are others by now. */
  private async cleanGroup(group: readonly Segment[], filter: BatchFilter): Promise<boolean> {
    const { partition } = this;
    const first = group[0]!;
    const cleaned = new CleanedSegment(partition, first.baseOffset);
    try {
      await cleaned.open();
      for (const segment of group) {
        for (const each of segment.aborted.entries) cleaned.mayKeep(each);
        await segment.scan(0, async ({ bytes, at, head }) => {
          const batch = bytes.subarray(at, at + head.bytes);
          // Below the log start nobody reads any more.
          const kept = head.nextOffset <= partition.logStartOffset ? undefined : filter.keep(batch, head);
          if (kept !== undefined) await cleaned.append(kept);
          await this.pace(head.bytes);
          return true;
        });
      }
      return await cleaned.takePlaceOf(group);
    } catch (error) {
      await cleaned.discard();
      throw error;
    }
  }

  /** Lets others have their turn now and then. */
  private pace(bytes: number): true | Promise<true> {
    this.bytesInSlice += bytes;
    if (this.bytesInSlice < sliceBytes) return true;
    this.bytesInSlice = 0;
    if (!this.mayGoOn()) throw new CleaningStopped(`Compacting ${this.partition.folder} stops: the log is being closed`);
    return new Promise((resolve) => this.clock.defer(() => resolve(true)));
  }
}

/** By the offset of their first batch, as a reader meets them. */
function abortedIn(segments: readonly Segment[]): AbortedTransaction[] {
  return segments.flatMap(({ aborted }) => aborted.entries).sort((one, other) => one.firstOffset - other.firstOffset);
}

/** Neighbours that fit into one segment become one. */
function groupsOf(segments: readonly Segment[], bytesMax: number): Segment[][] {
  const groups: Segment[][] = [];
  let bytes = 0;
  for (const segment of segments) {
    const group = groups.at(-1);
    const fits = group !== undefined && bytes + segment.sizeBytes <= bytesMax && segment.nextOffset - group[0]!.baseOffset < 0x7fffffff;
    if (fits) group.push(segment);
    else groups.push([segment]);
    bytes = fits ? bytes + segment.sizeBytes : segment.sizeBytes;
  }
  return groups;
}
