import { crc32c, type Disk, type Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { AbortedTransactions } from './aborted-transactions.js';
import type { FoundBatches } from './journaled-batches.js';
import { readWhole } from './open-files.js';
import { recoverLog } from './open-log.js';
import { OverlayDisk } from './overlay-disk.js';
import type { PartitionLog } from './partition-log.js';
import type { PartitionedLog } from './partitioned-log.js';
import { decodeSnapshot } from './producer-snapshot.js';
import { offsetInName, type Segment, segmentStem } from './segment.js';
import { OffsetIndex, TimeIndex } from './sparse-index.js';

/**
 * The folder of a log as the next opening would find it, judged by the code of the opening itself, which runs over a disk that keeps its changes in memory. So it says that
 * the log opens exactly where it does. Beyond that every batch is read and its sum checked, and every index and snapshot held against the batches.
 *
 * Memory: what the opening would write, and what the journal has of the log. The caller owns the folder meanwhile; nothing in it is changed.
 */
export interface LogInspectionOptions {
  readonly ground: Ground;
  readonly directory: string;
  /** What the journal of the broker has of it. */
  readonly found: FoundBatches | undefined;
  readonly problem: (path: string, byte: number | undefined, what: string, advice: string) => void;
  readonly note: (line: string) => void;
  readonly progress: (bytesRead: number) => void;
}

export interface InspectedTopic {
  readonly name: string;
  readonly partitions: readonly InspectedPartition[];
}

export interface InspectedPartition {
  /** The first offset, and the one behind the last record, as a broker would have them. */
  readonly start: number;
  readonly end: number;
  readonly segments: number;
  readonly batches: number;
  readonly bytes: number;
}

export interface InspectedLog {
  /** Why it would not open; undefined where it would. */
  readonly refusal: CodedError | undefined;
  readonly topics: readonly InspectedTopic[];
}

export async function inspectLog(options: LogInspectionOptions): Promise<InspectedLog> {
  const { ground, directory, found, note } = options;
  const disk = new OverlayDisk(ground.disk, ground.clock);
  let log: PartitionedLog;
  try {
    const shared = found === undefined ? undefined : { journal: undefined, found };
    log = await recoverLog({ ground: { ...ground, disk }, directory, durability: 'fsync', journal: shared, log: note });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { refusal: error, topics: [] };
  }
  try {
    const topics: InspectedTopic[] = [];
    for (const topic of log.topics) {
      const partitions: InspectedPartition[] = [];
      for (const partition of topic.partitions) partitions.push(await new PartitionInspection(partition as PartitionLog, options).run());
      topics.push({ name: topic.name, partitions });
    }
    return { refusal: undefined, topics };
  } finally {
    await log.abandon();
  }
}

/** The bytes of all files below the folder of a log that hold batches: what an inspection has to read about twice. */
export async function bytesOfLog(disk: Disk, directory: string): Promise<number> {
  let bytes = 0;
  for (const folder of await disk.list(directory)) {
    if (!/-\d+$/.test(folder)) continue;
    for (const name of await disk.list(`${directory}/${folder}`).catch(() => [])) {
      if (!name.endsWith('.log')) continue;
      const file = await disk.open(`${directory}/${folder}/${name}`, 'read');
      bytes += await file.size();
      await file.close();
    }
  }
  return bytes;
}

const madeAgain = 'Remove the file: it is made again from the batches';
const restore = 'Restore the folder from a copy: consumers are given these bytes as they are';

class PartitionInspection {
  private batches = 0;

  constructor(
    private readonly partition: PartitionLog,
    private readonly options: LogInspectionOptions,
  ) {}

  async run(): Promise<InspectedPartition> {
    const { partition } = this;
    const { segments } = partition;
    for (const segment of segments) {
      if (!segment.isNew) await this.inspectSegment(segment, segment === segments.at(-1));
    }
    await this.inspectSnapshots();
    return {
      start: partition.logStartOffset,
      end: partition.logEndOffset,
      segments: segments.length,
      batches: this.batches,
      bytes: partition.sizeBytes,
    };
  }

  private async inspectSegment(segment: Segment, isLast: boolean): Promise<void> {
    const { disk } = this.options.ground;
    const [offsets, times] = [await readWhole(disk, segment.path('.index')), await readWhole(disk, segment.path('.timeindex'))];
    const index = offsets === undefined ? undefined : new IndexWalk(offsets, segment);
    const timeIndex = times === undefined ? undefined : new TimeWalk(times, segment);
    let bytesRead = 0;
    const end = await segment.scan(0, ({ bytes, at, position, head }) => {
      this.batches++;
      if (crc32c(bytes, 0, at + 21, at + head.bytes) !== head.sum)
        this.options.problem(
          segment.logPath,
          position,
          `the sum of the batch at offset ${head.baseOffset} does not match its bytes`,
          restore,
        );
      index?.meet(position, head.lastOffset);
      timeIndex?.meet(head.lastOffset, head.maxTimestamp);
      bytesRead += head.bytes;
    });
    this.options.progress(bytesRead);
    if (end !== segment.sizeBytes) this.options.problem(segment.logPath, end, 'no whole batch begins there', restore);
    for (const [path, fault] of [
      [segment.path('.index'), index?.fault],
      [segment.path('.timeindex'), timeIndex?.fault],
    ] as const) {
      if (fault === undefined) continue;
      // That of the last segment is known by its sum, and made again where it does not fit.
      if (isLast) this.options.note(`${path} does not fit to the batches and is made again: ${fault}`);
      else this.options.problem(path, undefined, fault, madeAgain);
    }
    const aborted = await readWhole(disk, segment.path('.txnindex'));
    if (aborted !== undefined && AbortedTransactions.decode(aborted) === undefined)
      this.options.note(`${segment.path('.txnindex')} is not whole and is made again from the batches`);
  }

  private async inspectSnapshots(): Promise<void> {
    const { disk } = this.options.ground;
    const { folder } = this.partition;
    const names = (await disk.exists(folder)) ? await disk.list(folder) : [];
    for (const offset of names.map((name) => offsetInName(name, '.snapshot'))) {
      if (offset === undefined) continue;
      const path = `${folder}/${segmentStem(offset)}.snapshot`;
      if (decodeSnapshot((await readWhole(disk, path))!) === undefined)
        this.options.note(`${path} is not whole: what is known of producers is read from the batches`);
    }
  }
}

/** Holds the entries of an offset index against the batches, in the order of both. */
class IndexWalk {
  fault: string | undefined;
  private entry = 0;
  private readonly index: OffsetIndex;

  constructor(
    bytes: Buffer,
    private readonly segment: Segment,
  ) {
    this.index = new OffsetIndex(bytes.subarray(0, bytes.length - (bytes.length % OffsetIndex.entryBytes)));
    if (this.index.length * OffsetIndex.entryBytes !== bytes.length) this.fault = 'it does not end with a whole entry';
  }

  meet(position: number, lastOffset: number): void {
    const { index, segment } = this;
    while (this.entry < index.length && index.positionAt(this.entry) < position) {
      this.fault ??= `an entry leads to byte ${index.positionAt(this.entry)} of the segment, where no batch begins`;
      this.entry++;
    }
    if (this.entry >= index.length || index.positionAt(this.entry) !== position) return;
    const said = segment.baseOffset + index.offsetAt(this.entry++);
    if (said !== lastOffset)
      this.fault ??= `an entry says that the batch at byte ${position} ends at offset ${said}, and it ends at ${lastOffset}`;
  }
}

/** The same for a time index. */
class TimeWalk {
  fault: string | undefined;
  private entry = 0;
  private readonly index: TimeIndex;

  constructor(
    bytes: Buffer,
    private readonly segment: Segment,
  ) {
    this.index = new TimeIndex(bytes.subarray(0, bytes.length - (bytes.length % TimeIndex.entryBytes)));
    if (this.index.length * TimeIndex.entryBytes !== bytes.length) this.fault = 'it does not end with a whole entry';
  }

  meet(lastOffset: number, maxTimestamp: number): void {
    const { index, segment } = this;
    // Kafka may name a record in the middle of a batch.
    while (this.entry < index.length && segment.baseOffset + index.offsetAt(this.entry) <= lastOffset) {
      const said = index.timestampAt(this.entry++);
      if (said !== maxTimestamp)
        this.fault ??= `an entry gives the batch that ends at offset ${lastOffset} the time ${said}, and it has ${maxTimestamp}`;
    }
  }
}
