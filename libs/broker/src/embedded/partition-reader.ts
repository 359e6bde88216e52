import { CodedError } from '../errors.js';
import type { LogReader } from './broker-log.js';
import type { LogBatch } from './log-batch.js';
import { outOfRange, type PartitionCursor } from './partition-cursor.js';

/** A loop over one partition: it reads when it is asked for the next batch, and not before. Nothing of it is kept. */
export class PartitionReader implements LogReader {
  private isDone = false;
  private cursor: PartitionCursor | undefined;

  constructor(
    private readonly opening: Promise<PartitionCursor>,
    private readonly until: (cursor: PartitionCursor) => number,
    private readonly closed: (reader: PartitionReader) => void,
  ) {
    opening.catch(() => undefined); // whoever asks for the next batch hears of it
  }

  get position(): number {
    return this.cursor?.position ?? -1;
  }

  seek(offset: number): void {
    if (this.cursor !== undefined) this.cursor.seek(offset);
    else void this.opening.then((cursor) => cursor.seek(offset));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Rejects with a CodedError: `no-topic`, `offset-out-of-range`, `unreadable-records`. */
  async next(): Promise<IteratorResult<LogBatch>> {
    this.cursor ??= await this.opening;
    const { cursor } = this;
    const end = this.until(cursor);
    while (!this.isDone) {
      if (cursor.position >= end) break;
      const batch = await cursor.next();
      if (batch === 'nothing-yet') await cursor.more();
      else if (batch === 'offset-out-of-range') throw outOfRange(cursor.partition, cursor.position);
      else if (batch === 'gone') throw new CodedError('no-topic', `The topic '${cursor.partition.topic.name}' is deleted`);
      else return { done: false, value: upTo(end, batch) };
    }
    return this.return();
  }

  /** Who waits for the next batch is told that there is none. */
  return(): Promise<IteratorResult<LogBatch>> {
    if (!this.isDone) this.closed(this);
    this.isDone = true;
    if (this.cursor !== undefined) this.cursor.close();
    else void this.opening.then((cursor) => cursor.close()).catch(() => undefined);
    return Promise.resolve({ done: true, value: undefined });
  }
}

function upTo(end: number, batch: LogBatch): LogBatch {
  if (batch.nextOffset <= end) return batch;
  return { ...batch, records: batch.records.filter(({ offset }) => offset < end), nextOffset: end };
}
