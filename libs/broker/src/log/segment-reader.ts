import { DiskError } from '@dovecote/ground';
import { isPlausible } from './batch-scan.js';
import { codecOf, decompress } from './compression.js';
import type { TimestampedOffset } from './log.js';
import { readBlocks } from './read-blocks.js';
import { BatchHead, batchHeadBytes } from './record-batch.js';
import { RecordCursor } from './records.js';
import type { Segment } from './segment.js';

/**
 * Reads what is not in memory any more: whole batches from an offset on, and the offset of a timestamp.
 *
 * Only what is written is read, and nothing past `limit`, so what a crash could take back is never handed out. The partition calls it, with the
 * segments as they are at this moment; one that was taken away meanwhile makes a read begin anew.
 */
export interface FoundBatches {
  readonly parts: Buffer[];
  readonly bytes: number;
  /** Behind the last of them. */
  readonly nextOffset: number;
  /** What the parts stand in: goes back to `readBlocks` when they are not needed any more. */
  readonly block?: Buffer;
}

export interface ReadRange {
  /** Oldest first, as they are now. */
  readonly segments: () => readonly Segment[];
  readonly indexIntervalBytes: number;
  readonly offset: number;
  readonly limit: number;
  readonly bytesMax: number;
  readonly atLeastOne: boolean;
}

const nothing = (offset: number): FoundBatches => ({ parts: [], bytes: 0, nextOffset: offset });
const attemptsMax = 5;

export async function readSegments(range: ReadRange): Promise<FoundBatches> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readOnce(range);
    } catch (error) {
      // Retention or compaction was quicker: the segments are others now.
      if (attempt === attemptsMax || !isGone(error)) throw error;
    }
  }
}

export function isGone(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'not-found';
}

async function readOnce(range: ReadRange): Promise<FoundBatches> {
  const { limit } = range;
  const segments = range.segments();
  let { offset } = range;
  for (let index = segmentOf(segments, offset); index < segments.length; index++) {
    const segment = segments[index]!;
    if (segment.baseOffset >= limit) break;
    offset = Math.max(offset, segment.baseOffset);
    if (offset >= segment.nextOffset || segment.writtenBytes === 0) continue;
    const found = await readSegment(segment, offset, range);
    if (found !== 'behind') return found;
  }
  return nothing(offset);
}

/** The place of the segment that may hold `offset`. */
export function segmentOf(segments: readonly Segment[], offset: number): number {
  let index = segments.length - 1;
  // Readers are mostly near the end; long logs are searched by halves.
  if (index > 8 && segments[index - 8]!.baseOffset > offset) {
    let low = 0;
    for (let high = index; low < high;) {
      const middle = (low + high + 1) >>> 1;
      if (segments[middle]!.baseOffset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  while (index > 0 && segments[index]!.baseOffset > offset) index--;
  return Math.max(index, 0);
}

/** 'behind': every batch of this segment ends before `offset`. */
async function readSegment(segment: Segment, offset: number, range: ReadRange, wasRebuilt = false): Promise<FoundBatches | 'behind'> {
  let position = segment.takeHint(offset);
  const isHint = position !== undefined;
  /** The batch that the index leads to must end here. */
  let indexedOffset = -1;
  if (position === undefined) {
    const { offsets } = await segment.loadIndexes(range.indexIntervalBytes);
    const entry = offsets.lookUp(offset - segment.baseOffset);
    position = entry < 0 ? 0 : offsets.positionAt(entry);
    if (entry >= 0) indexedOffset = segment.baseOffset + offsets.offsetAt(entry);
  }
  const file = await segment.pin();
  let block: Buffer | undefined;
  try {
    const head = new BatchHead();
    // What stands between the entry of the index and the batch: about the interval, and that batch itself.
    let wanted = Math.max(range.bytesMax, batchHeadBytes) + (isHint ? 0 : 2 * range.indexIntervalBytes);
    for (let isSecond = false; ;) {
      const size = Math.min(wanted, segment.writtenBytes - position);
      if (size < batchHeadBytes) return 'behind';
      if (block !== undefined) readBlocks.give(block);
      block = readBlocks.take(size);
      const bytes = block.subarray(0, size);
      const filled = await file.handle.read(bytes, position);
      let at = 0;
      while (at + batchHeadBytes <= filled) {
        head.read(bytes, at);
        if (!isPlausible(head) || (at === 0 && !isSecond && indexedOffset >= 0 && head.lastOffset !== indexedOffset)) {
          if (isSecond || isHint || wasRebuilt) throw notABatch(segment, position + at);
          // A wrong index: make it anew, and look again.
          segment.indexes = undefined;
          await segment.rebuildIndexes(range.indexIntervalBytes);
          return await readSegment(segment, offset, range, true);
        }
        if (head.lastOffset >= offset) break;
        at += head.bytes;
      }
      if (at + batchHeadBytes <= filled && head.baseOffset >= range.limit) return nothing(offset);
      if (at + batchHeadBytes <= filled && (at + head.bytes <= filled || (head.bytes > range.bytesMax && !range.atLeastOne))) {
        const found = cut(segment, bytes, filled, at, position, range);
        if (found.bytes === 0) return found;
        const holding = block;
        block = undefined;
        return { ...found, block: holding };
      }
      if (position + at + batchHeadBytes > segment.writtenBytes) return 'behind';
      position += at;
      wanted = Math.max(range.bytesMax, at + batchHeadBytes <= filled ? head.bytes : batchHeadBytes);
      isSecond = true;
    }
  } finally {
    segment.unpin(file);
    if (block !== undefined) readBlocks.give(block);
  }
}

/** Whole batches from `at` on, as far as limit and size allow. */
function cut(segment: Segment, bytes: Buffer, filled: number, start: number, position: number, range: ReadRange): FoundBatches {
  const head = new BatchHead();
  let at = start;
  let nextOffset = range.offset;
  while (at + batchHeadBytes <= filled) {
    head.read(bytes, at);
    const isFirst = at === start;
    if (head.baseOffset >= range.limit || at + head.bytes > filled) break;
    if (at + head.bytes - start > range.bytesMax && !(isFirst && range.atLeastOne)) break;
    at += head.bytes;
    nextOffset = head.nextOffset;
  }
  segment.leaveHint(nextOffset, position + at);
  return { parts: at === start ? [] : [bytes.subarray(start, at)], bytes: at - start, nextOffset };
}

function notABatch(segment: Segment, position: number): DiskError {
  return new DiskError('failed', `no record batch begins at byte ${position} of ${segment.logPath}: the file is damaged; check the disk`);
}

/** The first record at or after `timestamp` in this segment, below `limit`. */
export async function findTimestamp(
  segment: Segment,
  timestamp: number,
  limit: number,
  indexIntervalBytes: number,
  fromOffset = 0,
): Promise<TimestampedOffset | undefined> {
  const { offsets, times } = await segment.loadIndexes(indexIntervalBytes);
  let found: TimestampedOffset | undefined;
  const entry = offsets.lookUp(times.lookUp(timestamp));
  await segment.scan(entry < 0 ? 0 : offsets.positionAt(entry), ({ bytes, at, head }) => {
    if (head.baseOffset >= limit) return false;
    if (head.maxTimestamp < timestamp || head.lastOffset < fromOffset) return true;
    found = recordAt(bytes.subarray(at, at + head.bytes), head, timestamp, fromOffset);
    return found === undefined;
  });
  return found !== undefined && found.offset < limit ? found : undefined;
}

/** The first record of a batch at or after `timestamp` and offset. */
function recordAt(batch: Buffer, head: BatchHead, timestamp: number, fromOffset: number): TimestampedOffset | undefined {
  if (head.hasLogAppendTime)
    return { offset: Math.max(head.baseOffset, fromOffset), timestamp: head.maxTimestamp, leaderEpoch: head.leaderEpoch };
  const payload =
    head.codec === codecOf.uncompressed ? batch.subarray(batchHeadBytes) : decompress(head.codec, batch.subarray(batchHeadBytes));
  const cursor = new RecordCursor(payload, 0, payload.length);
  while (cursor.next()) {
    const time = head.baseTimestamp + cursor.timestampDelta;
    if (time >= timestamp && head.baseOffset + cursor.offsetDelta >= fromOffset)
      return { offset: head.baseOffset + cursor.offsetDelta, timestamp: time, leaderEpoch: head.leaderEpoch };
  }
  return undefined;
}
