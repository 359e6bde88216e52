import type { AbortedTransaction } from './log.js';
import { compress, decompress } from './compression.js';
import { type BatchHead, batchHeadBytes, deleteHorizonBit } from './record-batch.js';
import { encodeRecord, headFields, RecordCursor, sealRecords } from './records.js';

/**
 * What of a batch a compaction keeps: of each key the last record, a tombstone until everybody had time to see it, nothing of an aborted transaction, and the end of a
 * transaction as long as something of it is there.
 *
 * The rules are Kafka's (its LogCleaner). A batch keeps its offsets and sequences whatever is taken out of it, and the last batch of a producer stays, if need be empty,
 * because its sequence is what keeps the next one from being stored twice. Batches must come in the order of their offsets. Bytes to bytes.
 */
export interface FilterSettings {
  /** The last offset of each key; records behind `mappedUpTo` are kept unseen. */
  readonly lastOffsets: ReadonlyMap<string, number>;
  readonly mappedUpTo: number;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  /** Of what is compacted, in the order of the first offsets. */
  readonly aborted: readonly AbortedTransaction[];
  readonly isLastOfProducer: (producerId: number, lastOffset: number) => boolean;
}

export class BatchFilter {
  private nextAborted = 0;
  /** Producers in an aborted transaction here, and whether something of it was met. */
  private readonly aborting = new Map<number, boolean>();
  /** Producers in a transaction that counts. */
  private readonly committing = new Set<number>();

  constructor(private readonly settings: FilterSettings) {}

  /** The batch as it is to stay: itself, another one, or undefined where nothing of it is. */
  keep(batch: Buffer, head: BatchHead): Buffer | undefined {
    if (head.baseOffset >= this.settings.mappedUpTo) return batch;
    this.enterAborted(head.lastOffset);
    if (head.isControl) return this.keepMarker(batch, head);
    if (head.isTransactional) {
      if (this.aborting.has(head.producerId)) {
        this.aborting.set(head.producerId, true);
        return this.emptied(head);
      }
      this.committing.add(head.producerId);
    }
    return head.count === 0 ? this.emptied(head) : this.keepRecords(batch, head);
  }

  private enterAborted(offset: number): void {
    const { aborted } = this.settings;
    for (; this.nextAborted < aborted.length && aborted[this.nextAborted]!.firstOffset <= offset; this.nextAborted++)
      this.aborting.set(aborted[this.nextAborted]!.producerId, false);
  }

  private keepMarker(batch: Buffer, head: BatchHead): Buffer | undefined {
    if (head.count === 0) return this.emptied(head);
    const cursor = new RecordCursor(batch, batchHeadBytes, batch.length);
    cursor.next();
    const kind = cursor.keyLength >= 4 ? batch.readInt16BE(cursor.keyStart + 2) : -1;
    if (kind !== 0 && kind !== 1) return batch;
    const { producerId } = head;
    const isNeeded = kind === 0 ? this.aborting.get(producerId) === true : this.committing.has(producerId);
    if (kind === 0) this.aborting.delete(producerId);
    else this.committing.delete(producerId);
    if (isNeeded) return batch;
    if (head.deleteHorizonMs < 0) return this.withHorizon(batch, head);
    return head.deleteHorizonMs <= this.settings.nowMs ? this.emptied(head) : batch;
  }

  private keepRecords(batch: Buffer, head: BatchHead): Buffer | undefined {
    const { nowMs } = this.settings;
    const payload = decompress(head.codec, batch.subarray(batchHeadBytes));
    const cursor = new RecordCursor(payload, 0, payload.length);
    const kept: Buffer[] = [];
    const horizonPassed = head.deleteHorizonMs >= 0 && head.deleteHorizonMs <= nowMs;
    let hasTombstone = false;
    let maxTimestamp = -1;
    while (cursor.next()) {
      if (!cursor.hasKey) continue;
      const last = this.settings.lastOffsets.get(keyOf(cursor));
      const isTombstone = cursor.valueLength < 0;
      if ((last !== undefined && head.baseOffset + cursor.offsetDelta < last) || (isTombstone && horizonPassed)) continue;
      hasTombstone ||= isTombstone;
      maxTimestamp = Math.max(maxTimestamp, head.baseTimestamp + cursor.timestampDelta);
      kept.push(payload.subarray(cursor.start, cursor.end));
    }
    if (kept.length === 0) return this.emptied(head);
    const needsHorizon = hasTombstone && head.deleteHorizonMs < 0;
    if (kept.length === head.count && !needsHorizon) return batch;
    const changed = {
      ...headFields(head),
      count: kept.length,
      maxTimestamp: head.hasLogAppendTime ? head.maxTimestamp : maxTimestamp,
    };
    const records = Buffer.concat(kept);
    return needsHorizon ? this.sealWithHorizon(records, head, changed) : sealRecords(compress(head.codec, records, defaultLevel), changed);
  }

  private withHorizon(batch: Buffer, head: BatchHead): Buffer {
    return this.sealWithHorizon(decompress(head.codec, batch.subarray(batchHeadBytes)), head, headFields(head));
  }

  /** The horizon stands in the place of the base timestamp, so every record says its time anew. */
  private sealWithHorizon(records: Buffer, head: BatchHead, fields: ReturnType<typeof headFields>): Buffer {
    const horizonMs = this.settings.nowMs + this.settings.deleteRetentionMs;
    const cursor = new RecordCursor(records, 0, records.length);
    const again: Buffer[] = [];
    while (cursor.next()) {
      const { key, value } = cursor;
      again.push(
        encodeRecord({ key, value, headers: cursor.headers() }, head.baseTimestamp + cursor.timestampDelta - horizonMs, cursor.offsetDelta),
      );
    }
    const payload = compress(head.codec, Buffer.concat(again), defaultLevel);
    return sealRecords(payload, { ...fields, attributes: head.attributes | deleteHorizonBit, baseTimestamp: horizonMs });
  }

  private emptied(head: BatchHead): Buffer | undefined {
    if (head.producerId < 0 || !this.settings.isLastOfProducer(head.producerId, head.lastOffset)) return undefined;
    return sealRecords(Buffer.alloc(0), { ...headFields(head), count: 0 });
  }
}

const defaultLevel = 3;

/** A key as a map takes it: one letter per byte. */
export function keyOf(cursor: RecordCursor): string {
  return cursor.bytes.toString('latin1', cursor.keyStart, cursor.keyStart + cursor.keyLength);
}
