import type { Cursor } from './cursor.js';
import { MalformedError } from './cursor.js';
import { readCount, readText, writeCount, writeText } from './produce-wire.js';
import { zeroId } from './schema.js';
import type { Writer } from './writer.js';

/**
 * The bytes of Fetch, written out by hand as those of Produce are (see produce-wire.ts): what the table in `apis/01-fetch.ts` says, but for what only followers send. A test holds
 * the two together over every version.
 *
 * Wire code: no I/O, keeps nothing.
 */
export interface FetchRequest {
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly isolationLevel: number;
  readonly sessionId: number;
  readonly sessionEpoch: number;
  readonly topics: readonly FetchedTopic[];
  readonly forgottenTopicsData: readonly { readonly topic: string; readonly topicId: string; readonly partitions: readonly number[] }[];
}

export interface FetchedTopic {
  /** Empty from version 13 on. */
  readonly topic: string;
  /** Since version 13. */
  readonly topicId: string;
  readonly partitions: readonly AskedPartition[];
}

export interface AskedPartition {
  readonly partition: number;
  readonly currentLeaderEpoch: number;
  readonly fetchOffset: number;
  readonly lastFetchedEpoch: number;
  readonly partitionMaxBytes: number;
}

/** Versions 4 to 17, behind the head of the request. Throws MalformedError. */
export function readFetchRequest(cursor: Cursor, version: number): FetchRequest {
  const isFlexible = version >= 12;
  if (version <= 14) cursor.int32(); // the follower that asks
  const maxWaitMs = cursor.int32();
  const minBytes = cursor.int32();
  const maxBytes = cursor.int32();
  const isolationLevel = cursor.int8();
  const sessionId = version >= 7 ? cursor.int32() : 0;
  const sessionEpoch = version >= 7 ? cursor.int32() : -1;
  const topics: FetchedTopic[] = [];
  for (let left = readCount(cursor, isFlexible); left > 0; left--) topics.push(readTopic(cursor, version, isFlexible));
  const forgottenTopicsData: FetchRequest['forgottenTopicsData'][number][] = [];
  if (version >= 7) {
    for (let left = readCount(cursor, isFlexible); left > 0; left--) {
      const topic = version <= 12 ? readText(cursor, isFlexible, false)! : '';
      const topicId = version >= 13 ? cursor.uuid() : zeroId;
      const partitions: number[] = [];
      for (let more = readCount(cursor, isFlexible); more > 0; more--) partitions.push(cursor.int32());
      if (isFlexible) cursor.skipTags();
      forgottenTopicsData.push({ topic, topicId, partitions });
    }
  }
  if (version >= 11) passOverText(cursor, isFlexible); // the rack
  if (isFlexible) cursor.skipTags();
  return { maxWaitMs, minBytes, maxBytes, isolationLevel, sessionId, sessionEpoch, topics, forgottenTopicsData };
}

function readTopic(cursor: Cursor, version: number, isFlexible: boolean): FetchedTopic {
  const topic = version <= 12 ? readText(cursor, isFlexible, false)! : '';
  const topicId = version >= 13 ? cursor.uuid() : zeroId;
  const partitions: AskedPartition[] = [];
  for (let left = readCount(cursor, isFlexible); left > 0; left--) {
    const partition = cursor.int32();
    const currentLeaderEpoch = version >= 9 ? cursor.int32() : -1;
    const fetchOffset = cursor.int64();
    const lastFetchedEpoch = version >= 12 ? cursor.int32() : -1;
    if (version >= 5) cursor.take(8); // where the log of a follower begins
    const partitionMaxBytes = cursor.int32();
    if (isFlexible) cursor.skipTags();
    partitions.push({ partition, currentLeaderEpoch, fetchOffset, lastFetchedEpoch, partitionMaxBytes });
  }
  if (isFlexible) cursor.skipTags();
  return { topic, topicId, partitions };
}

function passOverText(cursor: Cursor, isFlexible: boolean): void {
  const length = isFlexible ? cursor.uvarint() - 1 : cursor.int16();
  if (length < 0) throw new MalformedError(`a string at byte ${cursor.at} has length ${length}`);
  cursor.take(length);
}

export interface FetchResponse {
  readonly errorCode: number;
  readonly sessionId: number;
  readonly responses: readonly FetchTopicResponse[];
}

export interface FetchTopicResponse {
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: readonly FetchPartitionResponse[];
}

export interface FetchPartitionResponse {
  readonly partitionIndex: number;
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly abortedTransactions: readonly { readonly producerId: number; readonly firstOffset: number }[] | null;
  readonly records: readonly Uint8Array[];
}

/** The same versions, behind the head of the response. Without tagged fields: who has some to tell writes by the table. */
export function writeFetchResponse(writer: Writer, response: FetchResponse, version: number): void {
  const isFlexible = version >= 12;
  writer.int32(0); // throttle
  if (version >= 7) {
    writer.int16(response.errorCode);
    writer.int32(response.sessionId);
  }
  writeCount(writer, response.responses.length, isFlexible);
  for (const { topic, topicId, partitions } of response.responses) {
    if (version <= 12) writeText(writer, topic, isFlexible);
    else writer.uuid(topicId);
    writeCount(writer, partitions.length, isFlexible);
    for (const partition of partitions) writePartition(writer, partition, version, isFlexible);
    if (isFlexible) writer.uvarint(0);
  }
  if (isFlexible) writer.uvarint(0);
}

function writePartition(writer: Writer, partition: FetchPartitionResponse, version: number, isFlexible: boolean): void {
  const { abortedTransactions, records } = partition;
  writer.int32(partition.partitionIndex);
  writer.int16(partition.errorCode);
  writer.int64(partition.highWatermark);
  writer.int64(partition.lastStableOffset);
  if (version >= 5) writer.int64(partition.logStartOffset);
  writeCount(writer, abortedTransactions?.length ?? -1, isFlexible);
  if (abortedTransactions !== null) {
    for (const { producerId, firstOffset } of abortedTransactions) {
      writer.int64(producerId);
      writer.int64(firstOffset);
      if (isFlexible) writer.uvarint(0);
    }
  }
  if (version >= 11) writer.int32(-1); // no other replica to read from
  let bytes = 0;
  for (const part of records) bytes += part.length;
  writeCount(writer, bytes, isFlexible);
  for (const part of records) writer.attach(part);
  if (isFlexible) writer.uvarint(0);
}
