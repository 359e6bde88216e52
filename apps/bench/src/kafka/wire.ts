/**
 * The little of Kafka's protocol that the load generator speaks: its requests, encoded here once, and the answers it reads. Nothing is shared with
 * the broker that is measured but the sum over a batch.
 *
 *   request   size i32 | key i16 | version i16 | correlation i32 | client id | (tags, in flexible versions) | body
 *   response  size i32 | correlation i32 | (tags) | body
 */
import { crc32c } from '@dovecote/ground';

export const clientId = 'bench';

export function u8(value: number): Buffer {
  return Buffer.from([value & 0xff]);
}

export function i16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

export function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function i64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  return Buffer.concat([i16(Buffer.byteLength(value)), Buffer.from(value)]);
}

/** A length or a count plus one, as flexible versions write it. */
export function compact(value: number): Buffer {
  const bytes: number[] = [];
  let left = value + 1;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left & 0x7f) | 0x80);
  return Buffer.from([...bytes, left]);
}

export function compactText(value: string): Buffer {
  return Buffer.concat([compact(Buffer.byteLength(value)), Buffer.from(value)]);
}

/** No tagged fields. */
export const noTags = u8(0);

export function request(key: number, version: number, isFlexible: boolean, ...body: readonly Buffer[]): Buffer {
  const head = [i16(key), i16(version), i32(1), text(clientId), ...(isFlexible ? [noTags] : [])];
  const whole = Buffer.concat([...head, ...body]);
  return Buffer.concat([i32(whole.length), whole]);
}

export const apiVersionsRequest = request(18, 0, false);

/** Brokers, and the topics named. */
export function metadataRequest(topics: readonly string[]): Buffer {
  return request(3, 1, false, i32(topics.length), ...topics.map(text));
}

export function createTopicRequest(topic: string, partitions: number, configs: Readonly<Record<string, string>>): Buffer {
  const settings = Object.entries(configs).flatMap(([name, value]) => [text(name), text(value)]);
  const one = [text(topic), i32(partitions), i16(1), i32(0), i32(settings.length / 2), ...settings];
  return request(19, 2, false, i32(1), ...one, i32(60_000), u8(0));
}

export function deleteTopicRequest(topic: string): Buffer {
  return request(20, 1, false, i32(1), text(topic), i32(60_000));
}

/** The offset of one partition for a group without members. */
export function commitRequest(group: string, topic: string, partition: number, offset: number): Buffer {
  return request(8, 2, false, text(group), i32(-1), text(''), i64(-1), i32(1), text(topic), i32(1), i32(partition), i64(offset), text(''));
}

/** Version 11, as librdkafka and platformatic know it; all of it is the same each time. acks is -1: all replicas, which are one. */
export function produceRequest(topic: string, partition: number, batch: Buffer): Buffer {
  const records = [compact(batch.length), batch];
  const one = [compactText(topic), compact(1), i32(partition), ...records, noTags, noTags];
  return request(0, 11, true, compact(-1), i16(-1), i32(30_000), compact(1), ...one, noTags);
}

/** Version 12 without a session, for one partition; `offsetAt` is where the offset stands, to be written anew for each fetch. */
export interface FetchRequest {
  readonly bytes: Buffer;
  readonly offsetAt: number;
}

export interface FetchShape {
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly bytesMax: number;
}

export function fetchRequest(topic: string, partition: number, { maxWaitMs, minBytes, bytesMax }: FetchShape): FetchRequest {
  const before = [
    i32(-1),
    i32(maxWaitMs),
    i32(minBytes),
    i32(bytesMax),
    u8(0),
    i32(0),
    i32(-1),
    compact(1),
    compactText(topic),
    compact(1),
  ];
  const after = [i32(-1), i64(-1), i32(bytesMax), noTags, noTags, compact(0), compactText(''), noTags];
  const bytes = request(1, 12, true, ...before, i32(partition), i32(-1), i64(0), ...after);
  return { bytes, offsetAt: bytes.length - Buffer.concat(after).length - 8 };
}

/** Of a produce that names one partition: where it was appended. Throws what the server refused it with. */
export function readProduceAnswer(bytes: Buffer, at: number, topic: string): number {
  // correlation, tags, one topic, its name, one partition, its number
  const errorAt = at + 4 + 1 + 1 + 1 + topic.length + 1 + 4;
  const error = bytes.readInt16BE(errorAt);
  if (error !== 0) throw new Error(`the server refused records of ${topic}: error ${error}`);
  return readI64(bytes, errorAt + 2);
}

export function readI64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

/** What stands in an answer to `fetchRequest` before the length of its records; always so many bytes. */
export function fetchHeadBytes(topic: string): number {
  return 4 + 1 + 4 + 2 + 4 + 1 + (1 + topic.length) + 1 + 4 + 2 + 8 + 8 + 8 + 1 + 4;
}

/** The two errors of a fetch, of the whole and of its partition. */
export function fetchErrorsAt(topic: string): readonly [number, number] {
  return [4 + 1 + 4, 4 + 1 + 4 + 2 + 4 + 1 + (1 + topic.length) + 1 + 4];
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value < 0 ? -2 * value - 1 : 2 * value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left & 0x7f) | 0x80);
  return Buffer.from([...bytes, left]);
}

/** A batch of version 2 without a producer id, so that the very same bytes may be sent again and again. */
export function recordBatch(count: number, valueBytes: number, timestamp: number): Buffer {
  const records: Buffer[] = [];
  for (let n = 0; n < count; n++) {
    const body = Buffer.concat([u8(0), varint(0), varint(n), varint(-1), varint(valueBytes), Buffer.alloc(valueBytes, 0x2e), varint(0)]);
    records.push(varint(body.length), body);
  }
  const summed = [i16(0), i32(count - 1), i64(timestamp), i64(timestamp), i64(-1), i16(-1), i32(-1), i32(count), ...records];
  const payload = Buffer.concat(summed);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32c(payload));
  return Buffer.concat([i64(0), i32(payload.length + 9), i32(-1), u8(2), sum, payload]);
}

/** As many records with a value of `valueBytes` as fit into `batchBytesMax`. */
export function fullBatch(
  valueBytes: number,
  batchBytesMax: number,
  timestamp: number,
): { readonly batch: Buffer; readonly records: number } {
  let records = Math.max(1, Math.floor(batchBytesMax / (valueBytes + 4)));
  let batch = recordBatch(records, valueBytes, timestamp);
  while (batch.length > batchBytesMax && records > 1) batch = recordBatch(--records, valueBytes, timestamp);
  return { batch, records };
}
