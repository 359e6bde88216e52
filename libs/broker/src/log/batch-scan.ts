import type { DiskFile } from '@dovecote/ground';
import { BatchHead, batchHeadBytes } from './record-batch.js';

/**
 * Walks the batches of a segment file in large sequential reads: for recovery, compaction and whatever else must look at many of them.
 *
 * Stops at the first bytes that cannot be a batch. Reads only; memory is one block, or one batch where that is larger.
 */
export interface ScannedBatch {
  /** Holds the whole batch from `at` on; good until `visit` returned. */
  readonly bytes: Buffer;
  readonly at: number;
  /** In the file. */
  readonly position: number;
  readonly head: BatchHead;
}

const blockBytes = 1 << 20;

/**
 * Visits each batch that begins in [from, to) and lies in the file whole. `visit` may answer false: the walk ends before that batch, or a promise, which is waited
 * for. Resolves to the position behind the last batch visited.
 */
export async function scanBatches(
  file: DiskFile,
  from: number,
  to: number,
  visit: (batch: ScannedBatch) => boolean | void | Promise<boolean | void>,
): Promise<number> {
  const batch = {
    bytes: Buffer.allocUnsafeSlow(Math.min(blockBytes, Math.max(to - from, batchHeadBytes))),
    at: 0,
    position: from,
    head: new BatchHead(),
  };
  let filled = 0;
  for (let blockPosition = from; ;) {
    filled = await file.read(batch.bytes.subarray(0, Math.min(batch.bytes.length, to - blockPosition)), blockPosition);
    let at = 0;
    while (at + batchHeadBytes <= filled) {
      const bytes = batch.head.read(batch.bytes, at).bytes;
      if (!isPlausible(batch.head) || blockPosition + at + bytes > to) return blockPosition + at;
      if (at + bytes > filled) break;
      batch.at = at;
      batch.position = blockPosition + at;
      const answer = visit(batch);
      if ((answer instanceof Promise ? await answer : answer) === false) return batch.position;
      at += bytes;
    }
    blockPosition += at;
    if (filled === 0 || to - blockPosition < batchHeadBytes) return blockPosition;
    if (at > 0) continue;
    // Not one batch fits into the block: the head says how long it is, and the file is that long.
    if (filled < batchHeadBytes || batch.head.bytes <= batch.bytes.length) return blockPosition;
    batch.bytes = Buffer.allocUnsafeSlow(batch.head.bytes);
  }
}

/** Whether these could be the first bytes of a batch that this broker or Kafka wrote. */
export function isPlausible(head: BatchHead): boolean {
  return head.magic === 2 && head.bytes >= batchHeadBytes && head.lastOffsetDelta >= 0 && head.baseOffset >= 0;
}
