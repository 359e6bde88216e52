import { crc32c } from '@dovecote/ground';
import { compress } from '../log/compression.js';
import { batchFrameBytes, batchHeadBytes, writeInt64 } from '../log/record-batch.js';
import type { OutgoingRecord, RecordHeader } from './broker-log.js';

/**
 * Makes one record batch of records, in two passes over them: the first one adds up the bytes, the second one writes them where they stay.
 *
 * Records are added as long as `hasRoomFor` says so. Bytes only; the offsets are the log's to give. One builder makes one batch.
 */
export class BatchBuilder {
  private readonly records: { readonly record: OutgoingRecord; readonly bodyBytes: number; readonly timestamp: number }[] = [];
  private payloadBytes = 0;
  private baseTimestamp = 0;
  private maxTimestamp = 0;

  constructor(
    private readonly bytesMax: number,
    private readonly nowMs: number,
  ) {}

  get recordCount(): number {
    return this.records.length;
  }

  /** False: the batch is full, and the record was not taken. The first one is always taken: the log says whether it is too large. */
  add(record: OutgoingRecord): boolean {
    const timestamp = record.timestamp ?? this.nowMs;
    const isFirst = this.records.length === 0;
    const delta = isFirst ? 0 : timestamp - this.baseTimestamp;
    const bodyBytes = bodyBytesOf(record, delta, this.records.length);
    const bytes = varintBytes(bodyBytes) + bodyBytes;
    if (!isFirst && batchHeadBytes + this.payloadBytes + bytes > this.bytesMax) return false;
    if (isFirst) this.baseTimestamp = this.maxTimestamp = timestamp;
    else if (timestamp > this.maxTimestamp) this.maxTimestamp = timestamp;
    this.records.push({ record, bodyBytes, timestamp });
    this.payloadBytes += bytes;
    return true;
  }

  /** The whole batch; `codec` is Kafka's number of the compression. */
  finish(codec: number): Buffer {
    const plain = Buffer.allocUnsafe(batchHeadBytes + this.payloadBytes);
    let at = batchHeadBytes;
    for (const [index, { record, bodyBytes, timestamp }] of this.records.entries()) {
      at = writeVarint(plain, bodyBytes, at);
      at = writeBody(plain, record, timestamp - this.baseTimestamp, index, at);
    }
    return this.seal(codec === 0 ? plain : this.compressed(plain, codec), codec);
  }

  private compressed(plain: Buffer, codec: number): Buffer {
    const payload = compress(codec, plain.subarray(batchHeadBytes), defaultLevels[codec] ?? 0);
    const batch = Buffer.allocUnsafe(batchHeadBytes + payload.length);
    batch.set(payload, batchHeadBytes);
    return batch;
  }

  private seal(batch: Buffer, codec: number): Buffer {
    const { length } = this.records;
    batch.fill(0, 0, 8);
    batch.writeInt32BE(batch.length - batchFrameBytes, 8);
    batch.writeInt32BE(-1, 12);
    batch[16] = 2;
    batch.writeUInt16BE(codec, 21);
    batch.writeInt32BE(length - 1, 23);
    writeInt64(batch, this.baseTimestamp, 27);
    writeInt64(batch, this.maxTimestamp, 35);
    batch.fill(0xff, 43, 57); // no producer: its id, its epoch and its sequence are -1
    batch.writeInt32BE(length, 57);
    batch.writeUInt32BE(crc32c(batch, 0, 21), 17);
    return batch;
  }
}

/** gzip -1 is its own default; zstd 3, as Kafka's clients have it. */
const defaultLevels: Readonly<Record<number, number>> = { 1: -1, 4: 3 };

function bodyBytesOf({ key = null, value, headers }: OutgoingRecord, timestampDelta: number, offsetDelta: number): number {
  let bytes = 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + runBytes(key) + runBytes(value);
  if (headers === undefined) return bytes + 1;
  const list = listOf(headers);
  bytes += varintBytes(list.length);
  for (const header of list) bytes += runBytes(header.key) + runBytes(header.value);
  return bytes;
}

function writeBody(
  into: Buffer,
  { key = null, value, headers }: OutgoingRecord,
  timestampDelta: number,
  offsetDelta: number,
  start: number,
): number {
  into[start] = 0;
  let at = writeVarint(into, timestampDelta, start + 1);
  at = writeVarint(into, offsetDelta, at);
  at = writeRun(into, key, at);
  at = writeRun(into, value, at);
  if (headers === undefined) {
    into[at] = 0;
    return at + 1;
  }
  const list = listOf(headers);
  at = writeVarint(into, list.length, at);
  for (const header of list) at = writeRun(into, header.value, writeRun(into, header.key, at));
  return at;
}

function listOf(headers: NonNullable<OutgoingRecord['headers']>): readonly RecordHeader[] {
  return Array.isArray(headers) ? (headers as readonly RecordHeader[]) : Object.entries(headers).map(([key, value]) => ({ key, value }));
}

function runBytes(run: string | Uint8Array | null): number {
  if (run === null) return 1;
  const bytes = typeof run === 'string' ? Buffer.byteLength(run) : run.length;
  return varintBytes(bytes) + bytes;
}

function writeRun(into: Buffer, run: string | Uint8Array | null, at: number): number {
  if (run === null) return writeVarint(into, -1, at);
  if (typeof run !== 'string') {
    const start = writeVarint(into, run.length, at);
    into.set(run, start);
    return start + run.length;
  }
  const start = writeVarint(into, Buffer.byteLength(run), at);
  return start + into.write(run, start);
}

/** Of the zigzag form. Not by shifts: differences of timestamps may be longer than 32 bits. */
function varintBytes(value: number): number {
  let left = value < 0 ? -value * 2 - 1 : value * 2;
  let bytes = 1;
  for (; left >= 0x80; bytes++) left = Math.floor(left / 128);
  return bytes;
}

function writeVarint(into: Buffer, value: number, start: number): number {
  let left = value < 0 ? -value * 2 - 1 : value * 2;
  let at = start;
  for (; left >= 0x80; left = Math.floor(left / 128)) into[at++] = (left % 128) | 0x80;
  into[at] = left;
  return at + 1;
}
