import { CodedError } from '../errors.js';
import { decompress, UnreadablePayload } from '../log/compression.js';
import type { AbortedTransaction, ReadBatches } from '../log/log.js';
import { BatchHead, batchHeadBytes } from '../log/record-batch.js';
import { BrokenRecord, RecordCursor } from '../log/records.js';

/** Records of one partition that were read together, in the order of their offsets. There may be gaps between these, and none behind `nextOffset`. */
export interface LogBatch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly LogRecord[];
  /** Behind the last of them: what a group commits when it is done with all. */
  readonly nextOffset: number;
  /** Where the partition ended when they were read: the difference is the lag. */
  readonly end: number;
}

/** One record. What is in it is read when it is asked for; never write to the bytes, which others read too. */
export class LogRecord {
  constructor(
    readonly offset: number,
    /** Milliseconds since 1970; -1 where it has none. */
    readonly timestamp: number,
    private readonly bytes: Buffer,
    private readonly keyStart: number,
    private readonly keyLength: number,
    private readonly valueStart: number,
    private readonly valueLength: number,
    private readonly headersStart: number,
    private readonly recordEnd: number,
  ) {}

  get key(): Buffer | null {
    return this.keyLength < 0 ? null : this.bytes.subarray(this.keyStart, this.keyStart + this.keyLength);
  }

  /** null is a tombstone. */
  get value(): Buffer | null {
    return this.valueLength < 0 ? null : this.bytes.subarray(this.valueStart, this.valueStart + this.valueLength);
  }

  /** In their order; a name may be there more than once. */
  get headers(): readonly { readonly key: string; readonly value: Buffer | null }[] {
    return headersAt(this.bytes, this.headersStart, this.recordEnd);
  }

  /** The last header of that name. */
  header(name: string): Buffer | null | undefined {
    return this.headers.findLast(({ key }) => key === name)?.value;
  }
}

/** What one read of the log gives its readers. */
export interface DecodedBatches {
  readonly records: LogRecord[];
  readonly nextOffset: number;
}

/**
 * The records of whole batches from `offset` on, without those of aborted transactions and the marks of transactions. Throws a CodedError
 * `unreadable-records` where a client has sent what cannot be read, unless there are records before it.
 */
export function decodeBatches({ parts, aborted = [] }: ReadBatches, offset: number): DecodedBatches {
  const records: LogRecord[] = [];
  const head = new BatchHead();
  const open = new OpenAborts(aborted);
  let nextOffset = offset;
  for (const part of parts) {
    for (let at = 0; at + batchHeadBytes <= part.length; at += head.bytes) {
      head.read(part, at);
      if (at + head.bytes > part.length) break; // other brokers cut the last one off where the answer is full
      if (head.nextOffset <= offset || open.hides(head, part, at)) {
        nextOffset = Math.max(nextOffset, head.nextOffset);
        continue;
      }
      try {
        decodeBatch(part.subarray(at, at + head.bytes), head, offset, records);
      } catch (error) {
        if (!(error instanceof UnreadablePayload || error instanceof BrokenRecord)) throw error;
        if (records.length > 0) return { records, nextOffset };
        const where = `the records from offset ${head.baseOffset} to ${head.lastOffset} cannot be read: ${error.message}`;
        throw new CodedError('unreadable-records', `${where}. Go on at ${head.nextOffset} to pass over them`, { cause: error });
      }
      nextOffset = head.nextOffset;
    }
  }
  return { records, nextOffset };
}

/** What is whole stays: a batch gives all of its records or none. */
function decodeBatch(batch: Buffer, head: BatchHead, offset: number, into: LogRecord[]): void {
  const isPlain = head.codec === 0;
  const bytes = isPlain ? batch : decompress(head.codec, batch.subarray(batchHeadBytes));
  const cursor = new RecordCursor(bytes, isPlain ? batchHeadBytes : 0, bytes.length);
  const before = into.length;
  try {
    while (cursor.next()) {
      const recordOffset = head.baseOffset + cursor.offsetDelta;
      if (recordOffset < offset) continue;
      const timestamp = head.hasLogAppendTime ? head.maxTimestamp : head.baseTimestamp + cursor.timestampDelta;
      const { keyStart, keyLength, valueStart, valueLength, headersStart, end } = cursor;
      into.push(new LogRecord(recordOffset, timestamp, bytes, keyStart, keyLength, valueStart, valueLength, headersStart, end));
    }
  } catch (error) {
    into.length = before;
    throw error;
  }
}

/** Which producers are inside a transaction that did not count, at the batch that is looked at. */
class OpenAborts {
  private readonly waiting: AbortedTransaction[];
  private readonly producers = new Set<number>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.waiting = [...aborted].sort((one, other) => one.firstOffset - other.firstOffset);
  }

  /** Whether readers do not get this batch. */
  hides(head: BatchHead, part: Buffer, at: number): boolean {
    while (this.waiting.length > 0 && this.waiting[0]!.firstOffset <= head.lastOffset) this.producers.add(this.waiting.shift()!.producerId);
    if (!head.isControl) return head.isTransactional && this.producers.has(head.producerId);
    if (this.producers.has(head.producerId) && isAbort(part, at, head.bytes)) this.producers.delete(head.producerId);
    return true;
  }
}

/** A mark has one record, whose key is a version and a kind: 0 is an abort. */
function isAbort(part: Buffer, at: number, bytes: number): boolean {
  const cursor = new RecordCursor(part, at + batchHeadBytes, at + bytes);
  return cursor.next() && cursor.keyLength >= 4 && part.readInt16BE(cursor.keyStart + 2) === 0;
}

function headersAt(bytes: Buffer, start: number, end: number): readonly { readonly key: string; readonly value: Buffer | null }[] {
  if (bytes[start] === 0) return [];
  const headers: { readonly key: string; readonly value: Buffer | null }[] = [];
  let at = start;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; at < end; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  for (let left = number(); left > 0; left--) {
    const keyLength = number();
    const key = bytes.toString('utf8', at, at + keyLength);
    at += keyLength;
    const valueLength = number();
    headers.push({ key, value: valueLength < 0 ? null : bytes.subarray(at, at + valueLength) });
    at += Math.max(valueLength, 0);
  }
  return headers;
}
