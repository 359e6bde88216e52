import { crc32c } from '@dovecote/ground';
import { type ProducerBatch, type ProducerEntry, windowBatches } from './producer-state.js';
import { readInt64, sequenceAfter, writeInt64 } from './record-batch.js';

/**
 * What a partition knew of its producers at an offset, in Kafka's `.snapshot` file:
 *
 *   | version i16 = 1 | CRC-32C u32 of the rest | count i32 | entry … |
 *   entry  | producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64 | coordinator epoch i32 | open transaction i64 |
 *
 * Kafka keeps the last batch of each producer only. The earlier ones of the window stand in a file of ours beside it, `.window`, so that a batch sent
 * twice is known after a restart too; without that file the window is one batch:
 *
 *   | version i16 = 1 | CRC-32C u32 of the rest | count i32 | (producer id i64 | first sequence i32 | last sequence i32 | first offset i64 | last offset i64 | timestamp i64) … |
 *   | base offset i64 … |
 *
 * Behind it stand the segments that have a `.txnindex`: a lost one would make aborted records count, so it must be missed.
 */
const version = 1;
const headBytes = 10;
const entryBytes = 46;
const windowEntryBytes = 40;
/** Kafka does not look at the sequence where there is no last offset. */
const unknownSequence = -2;

export function encodeSnapshot(entries: Iterable<ProducerEntry>): Buffer {
  const all = [...entries];
  const bytes = Buffer.alloc(headBytes + all.length * entryBytes);
  let at = headBytes;
  for (const entry of all) {
    const last = entry.batches.at(-1);
    writeInt64(bytes, entry.producerId, at);
    bytes.writeInt16BE(entry.producerEpoch, at + 8);
    bytes.writeInt32BE(last?.lastSequence ?? (entry.isSequenceKnown ? -1 : unknownSequence), at + 10);
    writeInt64(bytes, last?.lastOffset ?? -1, at + 14);
    bytes.writeInt32BE(last === undefined ? 0 : last.lastOffset - last.firstOffset, at + 22);
    writeInt64(bytes, entry.lastTimestamp, at + 26);
    bytes.writeInt32BE(entry.coordinatorEpoch, at + 34);
    writeInt64(bytes, entry.openTransactionFirstOffset, at + 38);
    at += entryBytes;
  }
  return seal(bytes, all.length);
}

/** undefined where the bytes are not a whole snapshot. */
export function decodeSnapshot(bytes: Buffer): ProducerEntry[] | undefined {
  const count = countOf(bytes, entryBytes);
  if (count === undefined) return undefined;
  const entries: ProducerEntry[] = [];
  for (let at = headBytes; at < bytes.length; at += entryBytes) {
    const lastSequence = bytes.readInt32BE(at + 10);
    const lastOffset = readInt64(bytes, at + 14);
    const delta = bytes.readInt32BE(at + 22);
    const timestamp = readInt64(bytes, at + 26);
    const firstSequence = lastSequence >= delta ? lastSequence - delta : lastSequence - delta + 0x80000000;
    const batch: ProducerBatch = { firstSequence, lastSequence, firstOffset: lastOffset - delta, lastOffset, timestamp };
    entries.push({
      producerId: readInt64(bytes, at),
      producerEpoch: bytes.readInt16BE(at + 8),
      coordinatorEpoch: bytes.readInt32BE(at + 34),
      lastTimestamp: timestamp,
      openTransactionFirstOffset: readInt64(bytes, at + 38),
      isSequenceKnown: lastSequence !== unknownSequence,
      batches: lastSequence >= 0 ? [batch] : [],
    });
  }
  return entries;
}

export interface Window {
  readonly batches: ReadonlyMap<number, readonly ProducerBatch[]>;
  /** Base offsets of the segments with aborted transactions. */
  readonly segmentsWithAborted: readonly number[];
}

/** The batches before the last one of each producer, and which segments have aborted transactions. */
export function encodeWindow(entries: Iterable<ProducerEntry>, segmentsWithAborted: readonly number[]): Buffer {
  const all: { readonly producerId: number; readonly batch: ProducerBatch }[] = [];
  for (const { producerId, batches } of entries) for (const batch of batches.slice(0, -1)) all.push({ producerId, batch });
  const bytes = Buffer.alloc(headBytes + all.length * windowEntryBytes + segmentsWithAborted.length * 8);
  let at = headBytes;
  for (const { producerId, batch } of all) {
    writeInt64(bytes, producerId, at);
    bytes.writeInt32BE(batch.firstSequence, at + 8);
    bytes.writeInt32BE(batch.lastSequence, at + 12);
    writeInt64(bytes, batch.firstOffset, at + 16);
    writeInt64(bytes, batch.lastOffset, at + 24);
    writeInt64(bytes, batch.timestamp, at + 32);
    at += windowEntryBytes;
  }
  for (const [index, base] of segmentsWithAborted.entries()) writeInt64(bytes, base, at + index * 8);
  return seal(bytes, all.length);
}

/** undefined where the bytes are not a whole file. */
export function decodeWindow(bytes: Buffer): Window | undefined {
  const count = countOf(bytes, windowEntryBytes, 8);
  if (count === undefined) return undefined;
  const batches = new Map<number, ProducerBatch[]>();
  let at = headBytes;
  for (let index = 0; index < count; index++, at += windowEntryBytes) {
    const batch: ProducerBatch = {
      firstSequence: bytes.readInt32BE(at + 8),
      lastSequence: bytes.readInt32BE(at + 12),
      firstOffset: readInt64(bytes, at + 16),
      lastOffset: readInt64(bytes, at + 24),
      timestamp: readInt64(bytes, at + 32),
    };
    const producerId = readInt64(bytes, at);
    const ofProducer = batches.get(producerId);
    if (ofProducer === undefined) batches.set(producerId, [batch]);
    else ofProducer.push(batch);
  }
  const segmentsWithAborted: number[] = [];
  for (; at < bytes.length; at += 8) segmentsWithAborted.push(readInt64(bytes, at));
  return { batches, segmentsWithAborted };
}

/** Puts the earlier batches back, where they go on to the one that the snapshot had. */
export function restoreWindow(entries: readonly ProducerEntry[], window: Window): void {
  for (const { producerId, batches } of entries) {
    const before = window.batches.get(producerId);
    const last = batches[0];
    if (before === undefined || last === undefined || before.length >= windowBatches) continue;
    if (sequenceAfter(before.at(-1)!.lastSequence, 1) === last.firstSequence) batches.unshift(...before);
  }
}

function seal(bytes: Buffer, count: number): Buffer {
  bytes.writeInt16BE(version, 0);
  bytes.writeInt32BE(count, 6);
  bytes.writeUInt32BE(crc32c(bytes, 0, 6), 2);
  return bytes;
}

function countOf(bytes: Buffer, each: number, eachBehind = 0): number | undefined {
  if (bytes.length < headBytes || bytes.readInt16BE(0) !== version) return undefined;
  if (bytes.readUInt32BE(2) !== crc32c(bytes, 0, 6)) return undefined;
  const count = bytes.readInt32BE(6);
  const rest = bytes.length - headBytes - count * each;
  return rest === 0 || (eachBehind > 0 && rest > 0 && rest % eachBehind === 0) ? count : undefined;
}
