import type { SeededRandom } from '@dovecote/ground/testing';
import type { AbortedTransaction, Partition, ReadBatches } from '../log/log.js';
import { BatchHead, batchHeadBytes } from '../log/record-batch.js';
import { encodeBatch, RecordCursor } from '../log/records.js';
import { BrokenPromise } from './ledger.js';

/**
 * One partition as its users know it: what they appended, what they were told, and what they saw. A plain list, against which the real one is checked.
 */
export interface ModelBatch {
  readonly id: number;
  readonly base: number;
  readonly next: number;
  isAcked: boolean;
  /** Where it is of a transaction or ends one: whose. */
  readonly producerId?: number | undefined;
  /** It ends a transaction, and how. */
  readonly ends?: 'commit' | 'abort';
}

export interface Sent {
  readonly id: number;
  readonly sequence: number;
  readonly count: number;
  readonly bytes: number;
  readonly isTransactional: boolean;
}

/** A producer that sends again what was not answered. */
export interface ModelProducer {
  readonly producerId: number;
  nextSequence: number;
  unanswered: Sent[];
  /** The end of its transaction, asked for and not answered. */
  ending: 'commit' | 'abort' | undefined;
  hasTimer: boolean;
}

export class PartitionModel {
  batches: ModelBatch[] = [];
  /** What was visible is never taken back. */
  seen = 0;
  seenStable = 0;
  start = 0;
  readonly producers: ModelProducer[] = [1, 2].map((producerId) => ({
    producerId,
    nextSequence: 0,
    unanswered: [],
    ending: undefined,
    hasTimer: false,
  }));

  get end(): number {
    return this.batches.at(-1)?.next ?? 0;
  }

  /** Whether the last batch of a transaction of this producer has no end behind it. */
  isOpen(producerId: number): boolean {
    const last = this.batches.findLast((batch) => batch.producerId === producerId);
    return last !== undefined && last.ends === undefined;
  }

  private aborted(): Set<ModelBatch> {
    const open = new Map<number, ModelBatch[]>();
    const aborted = new Set<ModelBatch>();
    for (const batch of this.batches) {
      if (batch.producerId === undefined) continue;
      const ofProducer = open.get(batch.producerId) ?? [];
      open.set(batch.producerId, ofProducer);
      if (batch.ends === undefined) ofProducer.push(batch);
      else {
        if (batch.ends === 'abort') for (const each of ofProducer) aborted.add(each);
        open.delete(batch.producerId);
      }
    }
    return aborted;
  }

  /** Everything that is visible now counts as seen. */
  look(partition: Partition): void {
    if (partition.highWatermark < this.seen) fail(`the high watermark went from ${this.seen} back to ${partition.highWatermark}`);
    if (partition.lastStableOffset < this.seenStable)
      fail(`the last stable offset went from ${this.seenStable} back to ${partition.lastStableOffset}`);
    if (partition.lastStableOffset > partition.highWatermark) fail('the last stable offset lies behind the high watermark');
    this.seen = partition.highWatermark;
    this.seenStable = partition.lastStableOffset;
    this.start = Math.max(this.start, partition.logStartOffset);
  }

  /** After a crash: what is there must be the first so many batches, and no fewer than were promised. */
  async compare(partition: Partition): Promise<void> {
    const found = await readAll(partition, partition.logStartOffset);
    const kept = this.batches.filter(({ next }) => next > partition.logStartOffset);
    for (const [index, batch] of found.entries()) {
      const expected = kept[index];
      if (expected === undefined) fail(`batch ${batch.id} at ${batch.base} was never appended, or not behind the others`);
      if (expected.id !== batch.id || expected.base !== batch.base || expected.next !== batch.next)
        fail(`batch ${batch.id} at ${batch.base} stands where batch ${expected.id} at ${expected.base} was`);
    }
    for (const batch of kept.slice(found.length)) {
      if (batch.isAcked) fail(`batch ${batch.id} at ${batch.base} was answered and is lost`);
      if (batch.next <= this.seen) fail(`batch ${batch.id} at ${batch.base} was seen and is lost`);
    }
    const lost = new Set(kept.slice(found.length));
    this.batches = this.batches.filter((batch) => !lost.has(batch));
    if (partition.logStartOffset < this.start) fail(`the log begins at ${partition.logStartOffset} again, ${this.start} was promised`);
    this.look(partition);
  }

  /** Whoever reads committed records and leaves out the aborted ones sees what was committed, in order, and nothing else. */
  async compareCommitted(partition: Partition): Promise<void> {
    const seen: number[] = [];
    for (let offset = partition.logStartOffset; offset < partition.lastStableOffset;) {
      const read = await partition.read(offset, { isolation: 'read-committed', bytesMax: 3000, atLeastOne: true });
      if (typeof read === 'string' || read.parts.length === 0)
        fail(`nothing is read at ${offset}, ${partition.lastStableOffset} is the end`);
      offset = collectCommitted(read, seen);
    }
    const aborted = this.aborted();
    const expected = this.batches.filter(
      (batch) =>
        batch.next > partition.logStartOffset && batch.base < partition.lastStableOffset && batch.ends === undefined && !aborted.has(batch),
    );
    const ids = expected.map(({ id }) => id).join(' ');
    if (seen.join(' ') !== ids) fail(`committed batches are ${seen.join(' ')}, ${ids} was expected`);
  }
}

function collectCommitted({ parts, aborted }: ReadBatches, into: number[]): number {
  const left: AbortedTransaction[] = [...aborted!].sort((one, other) => one.firstOffset - other.firstOffset);
  const dropping = new Set<number>();
  let next = 0;
  for (const { head, id, isAbort } of batchesOf(parts)) {
    next = head.nextOffset;
    while (left.length > 0 && left[0]!.firstOffset <= head.baseOffset) dropping.add(left.shift()!.producerId);
    if (head.isControl) {
      if (isAbort) dropping.delete(head.producerId);
    } else if (!head.isTransactional || !dropping.has(head.producerId)) into.push(id);
  }
  return next;
}

interface FoundBatch {
  readonly id: number;
  readonly base: number;
  readonly next: number;
}

export async function readAll(partition: Partition, from: number): Promise<FoundBatch[]> {
  const found: FoundBatch[] = [];
  for (let offset = from; offset < partition.highWatermark;) {
    const read = await partition.read(offset, { isolation: 'read-uncommitted', bytesMax: 5000, atLeastOne: true });
    if (typeof read === 'string' || read.parts.length === 0) fail(`nothing is read at ${offset}, ${partition.highWatermark} is the end`);
    for (const { head, id } of batchesOf(read.parts)) {
      if (head.baseOffset > offset) fail(`the batch at ${head.baseOffset} comes after ${offset}: there is a gap`);
      found.push({ id, base: head.baseOffset, next: head.nextOffset });
      offset = head.nextOffset;
    }
  }
  return found;
}

function* batchesOf(parts: readonly Buffer[]): Generator<{ readonly head: BatchHead; readonly id: number; readonly isAbort: boolean }> {
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const head = new BatchHead().read(part, at);
      const cursor = new RecordCursor(part, at + batchHeadBytes, at + head.bytes);
      cursor.next();
      const isAbort = head.isControl && cursor.key!.readInt16BE(2) === 0;
      yield { head, id: head.isControl ? -1 - head.baseOffset : cursor.value!.readUInt32BE(0), isAbort };
      at += head.bytes;
    }
  }
}

/** The bytes of a batch follow from its number, so that it can be sent again. */
export function batchOf({ id, sequence, count, bytes, isTransactional }: Sent, producerId: number, timestamp: number): Buffer {
  const records = Array.from({ length: count }, (_, index) => {
    const value = Buffer.alloc(4 + bytes, id);
    value.writeUInt32BE(id);
    return { key: Buffer.from(`${index}`), value, timestamp };
  });
  if (producerId < 0) return encodeBatch(records);
  return encodeBatch(records, { producerId, producerEpoch: 0, baseSequence: sequence, attributes: isTransactional ? 0x10 : 0 });
}

export function fail(what: string): never {
  throw new BrokenPromise(what);
}

export function drawSize(random: SeededRandom): number {
  return random.chance(0.1) ? random.below(3_500) : random.below(300);
}
