import type { Partition, Topic } from '../log/log.js';
import { BatchHead, batchHeadBytes } from '../log/record-batch.js';
import { encodeBatch, RecordCursor } from '../log/records.js';
import { fail } from './log-model.js';

/**
 * Topics as their users know them: what was decided about them, and each partition as a plain list of records. What the log does is held against it.
 */
export interface ModelTopic {
  readonly name: string;
  /** Of the topic that there is, once it is known. */
  id: string | undefined;
  configs: Readonly<Record<string, string>>;
  readonly partitions: KeyedPartition[];
}

export interface KeyedRecord {
  readonly offset: number;
  readonly key: string;
  /** Null is a tombstone. */
  readonly value: number | null;
}

/** One that was sent and not answered: a producer sends it again. */
export interface SentBatch {
  /** The first of its records, and which batch of its producer it is; -1 for one that is not idempotent. */
  readonly sequence: number;
  readonly number: number;
  readonly records: readonly Omit<KeyedRecord, 'offset'>[];
  readonly bytes: number;
  /** The next answer to it gets lost. */
  isUnheard: boolean;
  /** That was so: it is there, and is sent again. */
  isSafe?: boolean;
}

/** A partition that one idempotent producer and others write to. */
export class KeyedPartition {
  readonly records: KeyedRecord[] = [];
  /** Offsets behind each batch. */
  readonly ends: number[] = [];
  /** Everything below was answered, or seen by somebody. */
  promised = 0;
  /** Where it was seen to begin, and where it may begin at the latest: somebody asked for records to be deleted, or retention does it. */
  start = 0;
  startMax = 0;
  nextSequence = 0;
  sentCount = 0;
  unanswered: SentBatch[] = [];
  hasTimer = false;
  /** By base offset of what the producer had appended, by its first sequence. */
  readonly appended = new Map<number, number>();

  get end(): number {
    return this.ends.at(-1) ?? 0;
  }

  /** A log knows the last five batches of a producer, so none goes further ahead of one that was not answered. */
  get mustWait(): boolean {
    const [oldest] = this.unanswered;
    return oldest !== undefined && this.sentCount - oldest.number >= 5;
  }

  add(base: number, records: readonly Omit<KeyedRecord, 'offset'>[]): void {
    for (const [index, record] of records.entries()) this.records.push({ offset: base + index, ...record });
    this.ends.push(base + records.length);
  }

  look(partition: Partition): void {
    if (partition.highWatermark < this.promised)
      fail(`${nameOf(partition)} ends at ${partition.highWatermark}, ${this.promised} was promised`);
    if (partition.logStartOffset < this.start)
      fail(`${nameOf(partition)} begins at ${partition.logStartOffset}, ${this.start} was promised`);
    if (partition.logStartOffset > this.startMax)
      fail(`${nameOf(partition)} begins at ${partition.logStartOffset}, and nobody asked for that`);
    this.promised = partition.highWatermark;
    this.start = partition.logStartOffset;
  }

  /** After a crash: whole batches at the end may be gone of which nobody was told. */
  cutTo(partition: Partition): void {
    const end = partition.highWatermark;
    if (end < this.promised) fail(`${nameOf(partition)} ends at ${end} after a crash: what is behind it up to ${this.promised} is lost`);
    if (end > this.end || (end > 0 && end !== partition.logStartOffset && !this.ends.includes(end)))
      fail(`${nameOf(partition)} ends at ${end} after a crash, where no batch ends (${this.end} is the last)`);
    while (this.ends.length > 0 && this.ends.at(-1)! > end) this.ends.pop();
    while (this.records.length > 0 && this.records.at(-1)!.offset >= end) this.records.pop();
    for (const [sequence, base] of this.appended) if (base >= end) this.appended.delete(sequence);
    this.look(partition);
  }

  /** Reads from `from` on, as a consumer does, and compares. Whoever reads gets on until the end, whatever was compacted. */
  async compare(partition: Partition, from: number, isCompacted: boolean): Promise<void> {
    const found: KeyedRecord[] = [];
    const end = partition.highWatermark;
    for (let offset = from; offset < end;) {
      const read = await partition.read(offset, { isolation: 'read-uncommitted', bytesMax: 2500, atLeastOne: true });
      if (read === 'removed') return;
      if (read === 'offset-out-of-range') {
        if (partition.logStartOffset <= offset)
          fail(`${nameOf(partition)} has no offset ${offset} between ${partition.logStartOffset} and ${end}`);
        offset = partition.logStartOffset;
        found.length = 0;
        continue;
      }
      const next = collect(read.parts, found);
      if (next <= offset) fail(`a consumer of ${nameOf(partition)} stalls at ${offset}, ${end} is the end`);
      offset = next;
    }
    this.hold(found, Math.max(from, partition.logStartOffset), end, isCompacted, nameOf(partition));
  }

  private hold(found: readonly KeyedRecord[], from: number, end: number, isCompacted: boolean, name: string): void {
    const expected = this.records.filter(({ offset }) => offset >= from && offset < end);
    const within = found.filter(({ offset }) => offset >= from && offset < end);
    const text = ({ offset, key, value }: KeyedRecord): string => `${offset} ${key}=${value}`;
    const known = new Set(expected.map(text));
    for (const [index, record] of within.entries()) {
      if (!known.has(text(record))) fail(`${name} has the record ${text(record)}, which nobody wrote there`);
      if (index > 0 && within[index - 1]!.offset >= record.offset) fail(`${name} has the record ${text(record)} out of order`);
    }
    const there = new Set(within.map(text));
    const last = new Map(expected.map((record) => [record.key, record]));
    for (const record of expected) {
      if (there.has(text(record))) continue;
      if (!isCompacted) fail(`${name} lost the record ${text(record)}`);
      if (last.get(record.key) === record && record.value !== null)
        fail(`${name} lost the record ${text(record)}, the last one of its key`);
    }
  }
}

function nameOf(partition: Partition): string {
  return `${partition.topic.name}-${partition.number}`;
}

/** Answers the offset behind the last batch. */
function collect(parts: readonly Buffer[], into: KeyedRecord[]): number {
  let next = -1;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const head = new BatchHead().read(part, at);
      const cursor = new RecordCursor(part, at + batchHeadBytes, at + head.bytes);
      while (cursor.next()) {
        const value = cursor.value === null ? null : cursor.value.readUInt32BE(0);
        into.push({ offset: head.baseOffset + cursor.offsetDelta, key: String(cursor.key), value });
      }
      next = head.nextOffset;
      at += head.bytes;
    }
  }
  return next;
}

export function encodeSent({ records, bytes, sequence }: SentBatch, producerId: number, timestamp: number): Buffer {
  const encoded = records.map(({ key, value }) => {
    if (value === null) return { key: Buffer.from(key), value: null, timestamp };
    const payload = Buffer.alloc(4 + bytes, value);
    payload.writeUInt32BE(value);
    return { key: Buffer.from(key), value: payload, timestamp };
  });
  return encodeBatch(encoded, producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence: sequence });
}

/** What is decided about a topic, as text: `undefined` for none. */
export function describeTopic(topic: ModelTopic | Topic | undefined, configNames: readonly string[]): string {
  if (topic === undefined) return 'no topic';
  const values =
    'describeConfigs' in topic
      ? new Map(topic.describeConfigs().map(({ name, value }) => [name, value]))
      : new Map(Object.entries(topic.configs));
  return `${topic.partitions.length} partitions, ${configNames.map((name) => `${name}=${values.get(name)}`).join(', ')}`;
}
