import { compileReader, compileWriter } from '../codec.js';
import { Cursor } from '../cursor.js';
import { bytes, int16, int32, int64, list, type Read, string } from '../schema.js';
import { Writer } from '../writer.js';

/**
 * The records of `__consumer_offsets`, in Kafka's own form, so that its tools read them: one key for each committed offset, one for
 * each group; the last record of a key holds, none means that it is gone.
 *
 *   key     version i16 (1: an offset, 2: a group) | group | topic | partition          value   version i16 | …
 *
 * Written: offsets as version 3, groups as version 3. Read: what Kafka 2.1 to 4.x writes for classic groups; other keys (the new
 * group protocols') are passed over. Wire code: no I/O.
 */
export const offsetsTopicName = '__consumer_offsets';

/** What Kafka gives the topic. */
export const offsetsTopicConfigs = { 'cleanup.policy': 'compact', 'compression.type': 'producer', 'segment.bytes': '104857600' };

export interface CommittedOffset {
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
  /** Milliseconds since 1970. */
  readonly committedAt: number;
}

const offsetKey = { version: int16(), group: string(), topic: string(), partition: int32() };
const groupKey = { version: int16(), group: string() };
const offsetValue = {
  version: int16(),
  offset: int64(),
  leaderEpoch: int32().since(3).or(-1),
  metadata: string(),
  committedAt: int64(),
  expiresAt: int64().since(1).until(1).or(-1),
};
const groupValue = {
  version: int16(),
  protocolType: string(),
  generation: int32(),
  protocol: string().nullable(),
  leader: string().nullable(),
  stateSince: int64().since(2).or(-1),
  members: list({
    memberId: string(),
    groupInstanceId: string().since(3).nullable().or(null),
    clientId: string(),
    clientHost: string(),
    rebalanceTimeoutMs: int32().since(1).or(-1),
    sessionTimeoutMs: int32(),
    subscription: bytes(),
    assignment: bytes(),
  }),
};

export type StoredGroup = Read<typeof groupValue>;

const writer = new Writer(4096);
const writeOffsetKey = compileWriter(offsetKey, 1, false);
const writeGroupKey = compileWriter(groupKey, 2, false);
const writeOffsetValue = compileWriter(offsetValue, 3, false);
const writeGroupValue = compileWriter(groupValue, 3, false);

/** Which partition a group's records are in; Kafka's tools compute it too. */
export function partitionOf(group: string, partitionCount: number): number {
  let hash = 0;
  for (let i = 0; i < group.length; i++) hash = (Math.imul(hash, 31) + group.charCodeAt(i)) | 0;
  return (hash & 0x7fffffff) % partitionCount;
}

function written<T>(write: (writer: Writer, value: T) => void, value: T): Buffer {
  writer.begin();
  write(writer, value);
  return Buffer.from(writer.bytes.subarray(4, writer.used));
}

export function encodeOffsetKey(group: string, topic: string, partition: number): Buffer {
  return written(writeOffsetKey, { version: 1, group, topic, partition });
}

export function encodeOffset(value: CommittedOffset): Buffer {
  return written(writeOffsetValue, { version: 3, ...value });
}

export function encodeGroupKey(group: string): Buffer {
  return written(writeGroupKey, { version: 2, group });
}

export function encodeGroup(value: Omit<StoredGroup, 'version'>): Buffer {
  return written(writeGroupValue, { version: 3, ...value });
}

export type OffsetsRecord =
  | {
      readonly kind: 'offset';
      readonly group: string;
      readonly topic: string;
      readonly partition: number;
      readonly value: CommittedOffset | undefined;
    }
  | { readonly kind: 'group'; readonly group: string; readonly value: StoredGroup | undefined };

/** Undefined for keys of other kinds. Throws MalformedError. */
export function decodeOffsetsRecord(key: Buffer, value: Buffer | null): OffsetsRecord | undefined {
  const keyVersion = key.length < 2 ? -1 : key.readInt16BE(0);
  if (keyVersion === 0 || keyVersion === 1) {
    const { group, topic, partition } = compileReader(offsetKey, 1, false)(Cursor.over(key));
    return { kind: 'offset', group, topic, partition, value: value === null ? undefined : readOffset(value) };
  }
  if (keyVersion !== 2) return undefined;
  const { group } = compileReader(groupKey, 2, false)(Cursor.over(key));
  return { kind: 'group', group, value: value === null ? undefined : readGroup(value) };
}

function readGroup(value: Buffer): StoredGroup {
  const version = value.readInt16BE(0);
  return compileReader(groupValue, version, version >= 4)(Cursor.over(value));
}

/** Version 4 (Kafka 4.x) is version 3 with compact strings and the id of the topic behind. */
function readOffset(value: Buffer): CommittedOffset {
  const version = value.readInt16BE(0);
  return compileReader(offsetValue, version, version >= 4)(Cursor.over(value));
}
