import { type BatchHead, sequenceAfter } from './record-batch.js';
import type { AppendRefusal, ProducerView, RefusalReason, TransactionMarker } from './log.js';

/**
 * What one partition knows of its producers: of each the epoch and its last five batches, so that a batch sent twice is stored once, and the
 * first offset of a transaction that is open.
 *
 * It follows from the batches of the log alone. Snapshots (producer-snapshot.ts) spare the next opening to read them all.
 */
export interface ProducerEntry {
  readonly producerId: number;
  producerEpoch: number;
  coordinatorEpoch: number;
  lastTimestamp: number;
  /** -1: no transaction is open. */
  openTransactionFirstOffset: number;
  /** False where only the end of a transaction was seen, because what came before it is deleted: the next sequence may be any. */
  isSequenceKnown: boolean;
  /** Oldest first, at most `windowBatches`. */
  readonly batches: ProducerBatch[];
}

export interface ProducerBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly timestamp: number;
}

export interface CompletedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Of the marker. */
  readonly lastOffset: number;
  readonly isAborted: boolean;
  /** Where what is decided ends once this one is. */
  readonly lastStableOffset: number;
}

export const windowBatches = 5;

export class ProducerStates {
  readonly entries = new Map<number, ProducerEntry>();
  /** First offset of each open transaction, by producer; the oldest one is the first, because offsets only grow. */
  private readonly open = new Map<number, number>();
  /** Transactions that are over in the log and whose marker is not visible yet: they still hold back the last stable offset. */
  private ending: CompletedTransaction[] = [];

  /** What is undecided begins here; Infinity where nothing is. `visibleTo`: markers at or above do not count yet. */
  firstUndecided(visibleTo: number): number {
    let first = Infinity;
    for (const offset of this.open.values()) {
      first = offset;
      break;
    }
    for (const transaction of this.ending)
      if (transaction.lastOffset >= visibleTo && transaction.firstOffset < first) first = transaction.firstOffset;
    return first;
  }

  /** Forgets the ends of transactions that are visible now. */
  becameVisible(visibleTo: number): void {
    if (this.ending.length > 0) this.ending = this.ending.filter(({ lastOffset }) => lastOffset >= visibleTo);
  }

  /** The batch itself where it was appended before; undefined where it is to be appended; or why it must not. */
  check(head: BatchHead): ProducerBatch | AppendRefusal | undefined {
    const entry = this.entries.get(head.producerId);
    if (entry === undefined) return undefined;
    if (head.producerEpoch < entry.producerEpoch) {
      return refusal(
        'stale-producer-epoch',
        `Producer ${head.producerId} has epoch ${entry.producerEpoch} here, this batch says ${head.producerEpoch}: a newer instance took its place`,
      );
    }
    const last = entry.batches.at(-1);
    if (head.producerEpoch === entry.producerEpoch) {
      const { baseSequence, lastSequence } = head;
      for (const batch of entry.batches) if (batch.firstSequence === baseSequence && batch.lastSequence === lastSequence) return batch;
    }
    const expected = head.producerEpoch > entry.producerEpoch || last === undefined ? 0 : sequenceAfter(last.lastSequence, 1);
    const mayBeAny = !entry.isSequenceKnown && head.producerEpoch === entry.producerEpoch;
    if (head.baseSequence !== expected && !mayBeAny) {
      return refusal(
        'out-of-order-sequence',
        `Producer ${head.producerId} sent sequence ${head.baseSequence}, ${expected} was to come: a batch before this one is missing`,
      );
    }
    if (entry.openTransactionFirstOffset >= 0 && !head.isTransactional) {
      return refusal('invalid-transaction-state', `Producer ${head.producerId} has a transaction open: this batch must be part of it`);
    }
    return undefined;
  }

  /** A batch of a producer is in the log; `head` has its offsets. */
  appended(head: BatchHead): void {
    let entry = this.entries.get(head.producerId);
    if (entry === undefined) this.entries.set(head.producerId, (entry = newEntry(head.producerId, head.producerEpoch)));
    if (head.producerEpoch > entry.producerEpoch) {
      entry.producerEpoch = head.producerEpoch;
      entry.batches.length = 0;
    }
    entry.isSequenceKnown = true;
    if (entry.batches.length === windowBatches) entry.batches.shift();
    entry.batches.push({
      firstSequence: head.baseSequence,
      lastSequence: head.lastSequence,
      firstOffset: head.baseOffset,
      lastOffset: head.lastOffset,
      timestamp: head.maxTimestamp,
    });
    entry.lastTimestamp = head.maxTimestamp;
    if (head.isTransactional && entry.openTransactionFirstOffset < 0) {
      entry.openTransactionFirstOffset = head.baseOffset;
      this.open.set(head.producerId, head.baseOffset);
    }
  }

  checkMarker(marker: TransactionMarker): AppendRefusal | undefined {
    const entry = this.entries.get(marker.producerId);
    if (entry === undefined) return undefined;
    if (marker.producerEpoch < entry.producerEpoch) {
      return refusal(
        'stale-producer-epoch',
        `Producer ${marker.producerId} has epoch ${entry.producerEpoch} here, the end of its transaction says ${marker.producerEpoch}`,
      );
    }
    if (marker.coordinatorEpoch < entry.coordinatorEpoch) {
      return refusal(
        'stale-coordinator',
        `The end of a transaction came from coordinator epoch ${marker.coordinatorEpoch}, ${entry.coordinatorEpoch} was here already`,
      );
    }
    return undefined;
  }

  /** A marker is in the log at `offset`; answers the transaction that it ended, if one was open. */
  markerAppended(marker: TransactionMarker, offset: number, timestamp: number): CompletedTransaction | undefined {
    const { producerId, producerEpoch, coordinatorEpoch, isCommit } = marker;
    let entry = this.entries.get(producerId);
    if (entry === undefined) {
      this.entries.set(producerId, (entry = newEntry(producerId, producerEpoch)));
      entry.isSequenceKnown = false;
    }
    if (producerEpoch > entry.producerEpoch) {
      // The next transaction begins anew at sequence 0.
      entry.producerEpoch = producerEpoch;
      entry.isSequenceKnown = true;
      entry.batches.length = 0;
    }
    entry.coordinatorEpoch = coordinatorEpoch;
    entry.lastTimestamp = timestamp;
    const firstOffset = entry.openTransactionFirstOffset;
    if (firstOffset < 0) return undefined;
    entry.openTransactionFirstOffset = -1;
    this.open.delete(producerId);
    const next = this.open.values().next();
    const lastStableOffset = next.done === true ? offset + 1 : next.value;
    const completed = { producerId, firstOffset, lastOffset: offset, isAborted: !isCommit, lastStableOffset };
    this.ending.push(completed);
    return completed;
  }

  /** As a snapshot says; open transactions must come in the order of their offsets. */
  restore(entries: readonly ProducerEntry[]): void {
    this.entries.clear();
    this.open.clear();
    this.ending = [];
    const open = entries.filter(({ openTransactionFirstOffset: first }) => first >= 0);
    for (const entry of open.sort((one, other) => one.openTransactionFirstOffset - other.openTransactionFirstOffset))
      this.open.set(entry.producerId, entry.openTransactionFirstOffset);
    for (const entry of entries) this.entries.set(entry.producerId, entry);
  }

  /** Forgets who has not written since `before`. Who has a transaction open stays. */
  expire(before: number): void {
    for (const [producerId, entry] of this.entries)
      if (entry.lastTimestamp < before && entry.openTransactionFirstOffset < 0) this.entries.delete(producerId);
  }

  /** Who wants to know what a compaction must keep: the last batch of each producer. */
  isLastBatch(producerId: number, lastOffset: number): boolean {
    return this.entries.get(producerId)?.batches.at(-1)?.lastOffset === lastOffset;
  }

  view(): readonly ProducerView[] {
    return [...this.entries.values()].map((entry) => ({
      producerId: entry.producerId,
      producerEpoch: entry.producerEpoch,
      lastSequence: entry.batches.at(-1)?.lastSequence ?? -1,
      lastTimestamp: entry.lastTimestamp,
      coordinatorEpoch: entry.coordinatorEpoch,
      openTransactionFirstOffset: entry.openTransactionFirstOffset,
    }));
  }
}

function newEntry(producerId: number, producerEpoch: number): ProducerEntry {
  return {
    producerId,
    producerEpoch,
    coordinatorEpoch: -1,
    lastTimestamp: -1,
    openTransactionFirstOffset: -1,
    isSequenceKnown: true,
    batches: [],
  };
}

export function refusal(reason: RefusalReason, message: string): AppendRefusal {
  return { isAppended: false, reason, message };
}
