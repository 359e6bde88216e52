import type { Arena, Chunk } from '../storage/arena.js';
import type { Journal } from '../storage/journal.js';
import type { JournalFile } from '../storage/journal-file.js';
import { crc32c } from '@dovecote/ground';
import { isPlausible } from './batch-scan.js';
import { BatchHead, batchHeadBytes, readInt64, writeInt64 } from './record-batch.js';

/**
 * What the log has in the journal of the broker: under `fsync` a thousand partitions would cost a thousand syncs, so what they have is written there, one behind the
 * other and between the messages of queues, synced once with everything else, and goes to their segments later, in large pieces and without a hurry.
 *
 *   batches  | 32 | topic id 16 | partition u32 | first offset i64 | record batches |
 *   settled  | 33 |
 *
 * A file of the journal stays until what it has of the log is on the disk in the segments too. `settled` says that this is so for all batches before it. Numbers are big-endian.
 */
export const logRecordKind = { batches: 32, settled: 33 } as const;

const headBytes = 29;
/** The topic's id and the number of the partition, as they stand in a record. */
const keyBytes = 20;

/** A partition, as the journal sees it. */
export interface JournaledPartition {
  /** What names it in a record. */
  readonly key: Buffer;
  /** Brings to the disk, in its own files, what it had in the journal up to now. */
  settle(): Promise<void>;
}

/** Partitions that are brought to the disk at the same time, beside commits, which need the disk too. */
const settledAtOnce = 2;
export class JournaledBatches {
  /** Who has something in which file, the youngest last. */
  private readonly files = new Map<JournalFile, Set<JournaledPartition>>();
  private youngest: JournalFile | undefined;
  private holders = new Set<JournaledPartition>();
  private isStopped = false;
  /** What a recovery has found, and whose it is, until it is in the segments. */
  private found: { readonly batches: FoundBatches; readonly holders: readonly JournaledPartition[] } | undefined;

  constructor(
    readonly journal: Journal,
    /** Writes down up to where the partitions are on the disk. */
    private readonly writeDown: () => Promise<void>,
  ) {}

  /** Writes what one partition has for a commit. The bytes are copied. */
  append(partition: JournaledPartition, firstOffset: number, parts: readonly Uint8Array[], length: number): void {
    const { journal } = this;
    const file = journal.activeFile;
    if (file !== this.youngest) this.begin(file);
    this.holders.add(partition);
    let at = journal.reserve(headBytes + length);
    const { bytes } = journal.chunk;
    bytes[at] = logRecordKind.batches;
    bytes.set(partition.key, at + 1);
    writeInt64(bytes, firstOffset, at + 1 + keyBytes);
    at += headBytes;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
  }

  /** Takes over what a recovery has found of these partitions: the journal keeps it until they are settled. */
  adopt(batches: FoundBatches, holders: readonly JournaledPartition[]): void {
    this.found = { batches, holders };
  }

  /** Whether the log still needs a file that the journal has left behind. */
  get hasOld(): boolean {
    return this.found !== undefined || this.files.size > (this.youngest === this.journal.activeFile ? 1 : 0);
  }

  /** Brings what stands in the files that the journal has left behind to the segments, and lets them go. Where that fails, or is stopped, they stay. */
  async settleOld(): Promise<void> {
    const { found } = this;
    if (found !== undefined) {
      if (!(await this.settleEach(found.holders))) return;
      this.found = undefined;
      found.batches.release();
    }
    for (const [file, holders] of [...this.files]) {
      if (file === this.journal.activeFile) continue;
      if (!(await this.settleEach([...holders]))) return;
      this.files.delete(file);
      if (this.youngest === file) this.youngest = undefined;
      file.letGo();
    }
  }

  /** The log is being closed: what is not settled stays in the journal until the next opening. */
  stop(): void {
    this.isStopped = true;
  }

  /** The log is closed in order. Where it has nothing in the journal any more, the next recovery need not look for it. */
  close(): void {
    if (this.files.size > 0 || this.found !== undefined) return;
    const at = this.journal.reserve(1);
    this.journal.chunk.bytes[at] = logRecordKind.settled;
  }

  /** False where it was stopped before the end. */
  private async settleEach(holders: readonly JournaledPartition[]): Promise<boolean> {
    const settle = async (holder: JournaledPartition): Promise<void> => {
      if (!this.isStopped) await holder.settle();
    };
    await runAll(
      holders.map((holder) => () => settle(holder)),
      settledAtOnce,
    );
    if (this.isStopped) return false;
    await this.writeDown();
    return true;
  }

  private begin(file: JournalFile): void {
    file.hold();
    this.youngest = file;
    this.holders = new Set();
    this.files.set(file, this.holders);
  }
}

/** Takes what a recovery of the journal finds of the log, until the log is opened and has brought it to its segments. Its files stay so long. */
export class FoundBatches {
  /** The chunks in which it stands, and which place is the first in each. */
  private chunks: Chunk[] = [];
  private firstPlaces: number[] = [];
  /** Where records of batches begin, and how long they are. */
  private offsets: number[] = [];
  private lengths: number[] = [];
  private starts = new Map<string, number[]>();

  constructor(private readonly arena: Arena) {}

  static has(kind: number | undefined): boolean {
    return kind !== undefined && kind >= logRecordKind.batches && kind <= logRecordKind.settled;
  }

  get isEmpty(): boolean {
    return this.offsets.length === 0;
  }

  /** A record of a kind for which `has` is true. */
  take(chunk: Chunk, offset: number, length: number): void {
    const { bytes } = chunk;
    if (bytes[offset] === logRecordKind.settled) return this.release();
    if (this.chunks.at(-1) !== chunk) {
      chunk.live++;
      chunk.born++;
      this.chunks.push(chunk);
      this.firstPlaces.push(this.offsets.length);
    }
    this.offsets.push(offset);
    this.lengths.push(length);
    const key = keyAt(bytes, offset + 1);
    const first = readInt64(bytes, offset + 1 + keyBytes);
    const starts = this.starts.get(key);
    if (starts === undefined) this.starts.set(key, [first]);
    else starts.push(first);
  }

  /** At which offsets begins what there is of a partition. */
  startsOf(key: string): readonly number[] {
    return this.starts.get(key) ?? [];
  }

  /** Visits everything in the order in which it was committed: the batches of the partition with this key are `bytes[start..end)`, good until `visit` returned. */
  async forEach(visit: (key: string, bytes: Buffer, start: number, end: number) => void, rest: () => Promise<void>): Promise<void> {
    for (const [index, chunk] of this.chunks.entries()) {
      const { bytes } = chunk;
      const end = this.firstPlaces[index + 1] ?? this.offsets.length;
      for (let place = this.firstPlaces[index]!; place < end; place++) {
        const offset = this.offsets[place]!;
        visit(keyAt(bytes, offset + 1), bytes, offset + headBytes, offset + this.lengths[place]!);
      }
      await rest();
    }
  }

  /** All of it is in the segments, and on the disk. */
  release(): void {
    for (const chunk of this.chunks) this.arena.drop(chunk);
    this.chunks = [];
    this.firstPlaces = [];
    this.offsets = [];
    this.lengths = [];
    this.starts = new Map();
  }
}

/** What names a partition in a record: its topic's id and its number. */
export function encodeKey(topicId: Buffer, partition: number): Buffer {
  const key = Buffer.alloc(keyBytes);
  topicId.copy(key);
  key.writeUInt32BE(partition, 16);
  return key;
}

/** The same as a text, for maps. */
export function keyAt(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, at + keyBytes);
}

/** What is wrong with a record of the log, as a sentence; undefined where it is one that we write. */
export function journaledFault(bytes: Buffer, offset: number, length: number): string | undefined {
  if (bytes[offset] === logRecordKind.settled) return length === 1 ? undefined : `a mark of the log has ${length} bytes and not 1`;
  if (length < headBytes + batchHeadBytes) return 'a record of batches is cut short';
  const end = offset + length;
  const head = new BatchHead();
  let next = readInt64(bytes, offset + 1 + keyBytes);
  for (let at = offset + headBytes; at < end; at += head.bytes) {
    if (at + batchHeadBytes > end || !isPlausible(head.read(bytes, at)) || at + head.bytes > end)
      return 'a record of batches does not end with a whole batch';
    if (head.baseOffset !== next) return `a batch at offset ${head.baseOffset} stands where ${next} was to come`;
    if (crc32c(bytes, 0, at + 21, at + head.bytes) !== head.sum)
      return `the sum of the batch at offset ${head.baseOffset} does not match its bytes`;
    next = head.nextOffset;
  }
  return undefined;
}

/** Runs all of it, so much at the same time, and rejects with the first failure when everything begun has ended. */
export async function runAll(work: readonly (() => Promise<void>)[], atOnce: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < work.length) await work[next++]!();
  };
  const settled = await Promise.allSettled(Array.from({ length: Math.min(atOnce, work.length) }, worker));
  for (const result of settled) if (result.status === 'rejected') throw result.reason;
}
