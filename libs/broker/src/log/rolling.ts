import type { Random } from '@dovecote/ground';
import type { Topic } from './log.js';
import type { BatchHead } from './record-batch.js';
import type { Segment } from './segment.js';

/**
 * When a partition begins its next segment: where the active one would become too long, its offsets too large for the index, the index itself too long, or its first record too old.
 *
 * The time is counted between records and drawn anew for each segment, so that partitions that were made together do not roll together. Nothing of it survives the process.
 */
const relativeOffsetMax = 0x7fffffff;
const indexEntryBytes = 8;

export class Rolling {
  private afterMs: number;

  constructor(
    private readonly topic: Topic,
    private readonly random: Random,
  ) {
    this.afterMs = this.draw();
  }

  /** Whether the batch with this head must not go to `active`, at whose end it would have its first record at `offset`. */
  isDue(active: Segment, head: BatchHead, offset: number): boolean {
    const { config } = this.topic;
    if (active.sizeBytes === 0) return false;
    if (active.sizeBytes + head.bytes > config.segmentBytes) return true;
    if (offset + head.lastOffsetDelta - active.baseOffset > relativeOffsetMax) return true;
    if (active.indexes!.offsets.byteLength + indexEntryBytes > config.segmentIndexBytes) return true;
    return active.firstTimestamp !== undefined && head.maxTimestamp - active.firstTimestamp > this.afterMs;
  }

  /** A segment has begun. */
  begun(): void {
    this.afterMs = this.draw();
  }

  private draw(): number {
    const { segmentJitterMs, isCompacted, maxCompactionLagMs } = this.topic.config;
    // What stands in the active segment is never compacted.
    const segmentMs = Math.min(this.topic.config.segmentMs, isCompacted ? maxCompactionLagMs : Infinity);
    return segmentJitterMs === 0 ? segmentMs : segmentMs - this.random.below(Math.min(segmentJitterMs, segmentMs, 2 ** 32 - 1));
  }
}
