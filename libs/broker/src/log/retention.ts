import type { PartitionLog } from './partition-log.js';

/**
 * Which segments of a partition are old enough to go, by time, by size and because their records were deleted: whole ones from the oldest on, never what
 * is not visible yet. Where all of them go, an empty segment takes over.
 */
export function plannedStart(partition: PartitionLog, nowMs: number): number {
  if (!partition.topic.config.isDeleted) return partition.plannedStart;
  return Math.max(partition.plannedStart, startByTime(partition, nowMs), startBySize(partition));
}

function startByTime(partition: PartitionLog, nowMs: number): number {
  const { retentionMs } = partition.topic.config;
  if (retentionMs === Infinity) return 0;
  let start = 0;
  for (const segment of partition.segments) {
    // Without any timestamp nobody knows how old it is.
    if (segment.sizeBytes === 0 || segment.maxTimestamp < 0 || nowMs - segment.maxTimestamp <= retentionMs) break;
    if (segment.nextOffset > partition.highWatermark) break;
    start = segment.nextOffset;
  }
  return start;
}

function startBySize(partition: PartitionLog): number {
  const { retentionBytes } = partition.topic.config;
  if (retentionBytes === Infinity) return 0;
  let excess = partition.sizeBytes - retentionBytes;
  let start = 0;
  for (const segment of partition.segments) {
    if (segment.sizeBytes === 0 || excess < segment.sizeBytes || segment.nextOffset > partition.highWatermark) break;
    excess -= segment.sizeBytes;
    start = segment.nextOffset;
  }
  return start;
}
