import { type Cursor, MalformedError } from './cursor.js';
import { RecentTexts } from './recent-texts.js';
import { zeroId } from './schema.js';
import type { Writer } from './writer.js';

/**
 * The bytes of Produce, written out by hand: what the table in `apis/00-produce.ts` says, for the path that every batch takes. A test holds the two together over every version. It is
 * half a microsecond a request cheaper than what the table makes, because the shapes of its objects are known when it is compiled.
 *
 * Wire code: no I/O, keeps nothing.
 */
export interface ProduceRequest {
  readonly transactionalId: string | null;
  readonly acks: number;
  readonly timeoutMs: number;
  readonly topicData: readonly ProducedTopic[];
}

export interface ProducedTopic {
  /** Empty from version 13 on. */
  readonly name: string;
  /** Since version 13. */
  readonly topicId: string;
  readonly partitionData: readonly ProducedPartition[];
}

export interface ProducedPartition {
  readonly index: number;
  readonly records: Buffer | null;
}

/** Versions 3 to 13, behind the head of the request. Throws MalformedError. */
export function readProduceRequest(cursor: Cursor, version: number, texts = new RecentTexts()): ProduceRequest {
  const isFlexible = version >= 9;
  const transactionalId = readText(cursor, isFlexible, true);
  const acks = cursor.int16();
  const timeoutMs = cursor.int32();
  const topicCount = readCount(cursor, isFlexible);
  // Lists of one, which nearly all are, are made without the room to grow in, and without a function for each.
  const topicData = topicCount === 0 ? [] : [readTopic(cursor, version, texts)];
  while (topicData.length < topicCount) topicData.push(readTopic(cursor, version, texts));
  if (isFlexible) cursor.skipTags();
  return { transactionalId, acks, timeoutMs, topicData };
}

function readTopic(cursor: Cursor, version: number, texts: RecentTexts): ProducedTopic {
  const isFlexible = version >= 9;
  const name = version <= 12 ? readText(cursor, isFlexible, false, texts)! : '';
  const topicId = version >= 13 ? cursor.uuid() : zeroId;
  const partitionCount = readCount(cursor, isFlexible);
  const partitionData = partitionCount === 0 ? [] : [readPartition(cursor, isFlexible)];
  while (partitionData.length < partitionCount) partitionData.push(readPartition(cursor, isFlexible));
  if (isFlexible) cursor.skipTags();
  return { name, topicId, partitionData };
}

function readPartition(cursor: Cursor, isFlexible: boolean): ProducedPartition {
  const index = cursor.int32();
  const length = isFlexible ? cursor.uvarint() - 1 : cursor.int32();
  if (length < -1) throw new MalformedError(`a run of bytes at byte ${cursor.place} has length ${length}`);
  const records = length < 0 ? null : cursor.slice(length);
  if (isFlexible) cursor.skipTags();
  return { index, records };
}

export interface ProduceTopicResponse {
  readonly name: string;
  readonly topicId: string;
  readonly partitionResponses: readonly ProducePartitionResponse[];
}

export interface ProducePartitionResponse {
  readonly index: number;
  readonly errorCode: number;
  readonly baseOffset: number;
  readonly logAppendTimeMs: number;
  readonly logStartOffset: number;
  readonly recordErrors: readonly { readonly batchIndex: number; readonly batchIndexErrorMessage: string | null }[];
  readonly errorMessage: string | null;
}

/** The same versions, behind the head of the response. */
export function writeProduceResponse(writer: Writer, responses: readonly ProduceTopicResponse[], version: number): void {
  const isFlexible = version >= 9;
  writeCount(writer, responses.length, isFlexible);
  for (const { name, topicId, partitionResponses } of responses) {
    if (version <= 12) writeText(writer, name, isFlexible);
    else writer.uuid(topicId);
    writeCount(writer, partitionResponses.length, isFlexible);
    for (const partition of partitionResponses) writePartition(writer, partition, version, isFlexible);
    if (isFlexible) writer.uvarint(0);
  }
  writer.int32(0); // throttle
  if (isFlexible) writer.uvarint(0);
}

function writePartition(writer: Writer, partition: ProducePartitionResponse, version: number, isFlexible: boolean): void {
  writer.int32(partition.index);
  writer.int16(partition.errorCode);
  writer.int64(partition.baseOffset);
  writer.int64(partition.logAppendTimeMs);
  if (version >= 5) writer.int64(partition.logStartOffset);
  if (version >= 8) {
    const { recordErrors } = partition;
    writeCount(writer, recordErrors.length, isFlexible);
    for (const { batchIndex, batchIndexErrorMessage } of recordErrors) {
      writer.int32(batchIndex);
      writeText(writer, batchIndexErrorMessage, isFlexible);
      if (isFlexible) writer.uvarint(0);
    }
    writeText(writer, partition.errorMessage, isFlexible);
  }
  if (isFlexible) writer.uvarint(0);
}

/** Elements of an array; believed only as far as the bytes that are left could hold them. */
export function readCount(cursor: Cursor, isFlexible: boolean): number {
  const count = isFlexible ? cursor.uvarint() - 1 : cursor.int32();
  if (count < 0) throw new MalformedError(`an array at byte ${cursor.place} has length ${count}`);
  if (count > cursor.left)
    throw new MalformedError(`an array of ${count} elements at byte ${cursor.place} cannot be in ${cursor.left} bytes`);
  return count;
}

export function readText(cursor: Cursor, isFlexible: boolean, isNullable: boolean, texts?: RecentTexts): string | null {
  const length = isFlexible ? cursor.uvarint() - 1 : cursor.int16();
  if (length < 0 && (!isNullable || length !== -1)) throw new MalformedError(`a string at byte ${cursor.place} has length ${length}`);
  if (length < 0) return null;
  return texts === undefined ? cursor.string(length) : texts.read(cursor, length);
}

export function writeCount(writer: Writer, count: number, isFlexible: boolean): void {
  if (isFlexible) writer.uvarint(count + 1);
  else writer.int32(count);
}

export function writeText(writer: Writer, value: string | null, isFlexible: boolean): void {
  const length = value === null ? -1 : Buffer.byteLength(value);
  if (isFlexible) writer.uvarint(length + 1);
  else writer.int16(length);
  if (value !== null && length > 0) writer.text(value, length);
}
