import { crc32c } from '@dovecote/ground';
import type { TransactionMarker } from './log.js';
import { batchFrameBytes, batchHeadBytes, controlBit, transactionalBit, writeInt64 } from './record-batch.js';

/**
 * The records inside a batch, after decompression:
 *
 *   | length | attributes i8 | timestamp delta | offset delta | key length | key | value length | value | header count | (length, key, length, value) … |
 *
 * Lengths, deltas and counts are zigzag varints; a length of -1 is null. Bytes to values and back, without I/O.
 */
export class RecordCursor {
  /** Where the present record lies in `bytes`, its length included. */
  start = 0;
  end = 0;
  attributes = 0;
  timestampDelta = 0;
  offsetDelta = 0;
  /** -1: there is none. */
  keyLength = -1;
  keyStart = 0;
  valueLength = -1;
  valueStart = 0;
  headersStart = 0;
  private at = 0;

  constructor(
    readonly bytes: Buffer,
    start: number,
    private readonly limit: number,
  ) {
    this.at = start;
  }

  /** Moves to the next record; false at the end. Throws a `BrokenRecord` where the bytes are none. */
  next(): boolean {
    if (this.at >= this.limit) return false;
    this.start = this.at;
    const length = this.varint();
    this.end = this.at + length;
    if (length < 0 || this.end > this.limit) throw new BrokenRecord(`a record of ${length} bytes where ${this.limit - this.at} are left`);
    this.attributes = this.bytes[this.at++]!;
    this.timestampDelta = this.varint();
    this.offsetDelta = this.varint();
    this.keyLength = this.varint();
    this.keyStart = this.at;
    this.skip(this.keyLength);
    this.valueLength = this.varint();
    this.valueStart = this.at;
    this.skip(this.valueLength);
    this.headersStart = this.at;
    const headers = this.varint();
    if (headers < 0) throw new BrokenRecord(`a count of ${headers} headers`);
    for (let index = 0; index < headers; index++) {
      const keyLength = this.varint();
      if (keyLength < 0) throw new BrokenRecord('a header without a key');
      this.skip(keyLength);
      this.skip(this.varint());
    }
    if (this.at !== this.end) throw new BrokenRecord(`a record of ${length} bytes that says it has another length`);
    return true;
  }

  get hasKey(): boolean {
    return this.keyLength >= 0;
  }

  get key(): Buffer | null {
    return this.keyLength < 0 ? null : this.bytes.subarray(this.keyStart, this.keyStart + this.keyLength);
  }

  get value(): Buffer | null {
    return this.valueLength < 0 ? null : this.bytes.subarray(this.valueStart, this.valueStart + this.valueLength);
  }

  /** Of the present record, read on demand: most readers do not want them. */
  headers(): { readonly key: string; readonly value: Buffer | null }[] {
    const { at } = this;
    this.at = this.headersStart;
    const headers: { readonly key: string; readonly value: Buffer | null }[] = [];
    for (let left = this.varint(); left > 0; left--) {
      const keyLength = this.varint();
      const key = this.bytes.toString('utf8', this.at, this.at + keyLength);
      this.at += keyLength;
      const valueLength = this.varint();
      headers.push({ key, value: valueLength < 0 ? null : this.bytes.subarray(this.at, this.at + valueLength) });
      this.at += Math.max(valueLength, 0);
    }
    this.at = at;
    return headers;
  }

  private skip(length: number): void {
    if (length < -1) throw new BrokenRecord(`a length of ${length}`);
    if (length > 0) this.at += length;
    if (this.at > this.limit) throw new BrokenRecord('a length past the end of the batch');
  }

  private varint(): number {
    const { bytes } = this;
    const first = bytes[this.at]!;
    if (first < 0x80 && this.at < this.limit) {
      this.at++;
      return (first >>> 1) ^ -(first & 1);
    }
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (this.at >= this.limit) break;
      const byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      // Not by shifts: timestamps are longer than 32 bits.
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 128;
    }
    throw new BrokenRecord('a number that does not end');
  }
}

export class BrokenRecord extends Error {
  override readonly name = 'BrokenRecord';
}

export interface RecordContent {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[] | undefined;
  readonly timestamp: number;
}

export interface BatchSettings {
  readonly attributes?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
}

/** One uncompressed batch of records at offsets 0, 1, …; whoever appends it gives it others. */
export function encodeBatch(records: readonly RecordContent[], settings: BatchSettings = {}): Buffer {
  const baseTimestamp = records[0]?.timestamp ?? -1;
  let maxTimestamp = baseTimestamp;
  const parts: Buffer[] = [];
  for (const [index, record] of records.entries()) {
    parts.push(encodeRecord(record, record.timestamp - baseTimestamp, index));
    if (record.timestamp > maxTimestamp) maxTimestamp = record.timestamp;
  }
  const { attributes = 0, producerId = -1, producerEpoch = -1, baseSequence = -1 } = settings;
  return sealRecords(Buffer.concat(parts), {
    baseOffset: 0,
    lastOffsetDelta: records.length - 1,
    count: records.length,
    leaderEpoch: -1,
    attributes,
    baseTimestamp,
    maxTimestamp,
    producerId,
    producerEpoch,
    baseSequence,
  });
}

export interface HeadFields {
  readonly baseOffset: number;
  readonly lastOffsetDelta: number;
  readonly count: number;
  readonly leaderEpoch: number;
  readonly attributes: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

/** The fields of a head, for a batch that differs from it a little. */
export function headFields(head: HeadFields): HeadFields {
  const {
    baseOffset,
    lastOffsetDelta,
    count,
    leaderEpoch,
    attributes,
    baseTimestamp,
    maxTimestamp,
    producerId,
    producerEpoch,
    baseSequence,
  } = head;
  return {
    baseOffset,
    lastOffsetDelta,
    count,
    leaderEpoch,
    attributes,
    baseTimestamp,
    maxTimestamp,
    producerId,
    producerEpoch,
    baseSequence,
  };
}

/** A batch of its own bytes: the head that is said, and the payload behind it. */
export function sealRecords(payload: Uint8Array, head: HeadFields): Buffer {
  const batch = Buffer.allocUnsafe(batchHeadBytes + payload.length);
  writeInt64(batch, head.baseOffset, 0);
  batch.writeInt32BE(batch.length - batchFrameBytes, 8);
  batch.writeInt32BE(head.leaderEpoch, 12);
  batch[16] = 2;
  batch.writeUInt16BE(head.attributes, 21);
  batch.writeInt32BE(head.lastOffsetDelta, 23);
  writeInt64(batch, head.baseTimestamp, 27);
  writeInt64(batch, head.maxTimestamp, 35);
  writeInt64(batch, head.producerId, 43);
  batch.writeInt16BE(head.producerEpoch, 51);
  batch.writeInt32BE(head.baseSequence, 53);
  batch.writeInt32BE(head.count, 57);
  batch.set(payload, batchHeadBytes);
  batch.writeUInt32BE(crc32c(batch, 0, 21), 17);
  return batch;
}

/** One record as it stands in a batch. */
export function encodeRecord(
  { key, value, headers = [] }: Omit<RecordContent, 'timestamp'>,
  timestampDelta: number,
  offsetDelta: number,
): Buffer {
  const body: Uint8Array[] = [Buffer.from([0]), varint(timestampDelta), varint(offsetDelta)];
  pushBytes(body, key);
  pushBytes(body, value);
  body.push(varint(headers.length));
  for (const header of headers) {
    pushBytes(body, Buffer.from(header.key, 'utf8'));
    pushBytes(body, header.value);
  }
  let length = 0;
  for (const part of body) length += part.length;
  return Buffer.concat([varint(length), ...body]);
}

function pushBytes(into: Uint8Array[], bytes: Uint8Array | null): void {
  into.push(varint(bytes === null ? -1 : bytes.length));
  if (bytes !== null) into.push(bytes);
}

function varint(value: number): Buffer {
  let left = value < 0 ? -value * 2 - 1 : value * 2;
  const bytes: number[] = [];
  for (; left >= 0x80; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
  bytes.push(left);
  return Buffer.from(bytes);
}

/** The control batch that ends a transaction. */
export function encodeMarker({ producerId, producerEpoch, coordinatorEpoch, isCommit }: TransactionMarker, timestamp: number): Buffer {
  const [key, value] = [Buffer.alloc(4), Buffer.alloc(6)];
  key.writeInt16BE(isCommit ? 1 : 0, 2);
  value.writeInt32BE(coordinatorEpoch, 2);
  return encodeBatch([{ key, value, timestamp }], { attributes: transactionalBit | controlBit, producerId, producerEpoch });
}
