import { AbortedTransactions } from './aborted-transactions.js';
import { isPlausible, type ScannedBatch, scanBatches } from './batch-scan.js';
import { type OpenFile, type OpenFiles, readWhole, removeIfThere, replaceFile, sync, write } from './open-files.js';
import { BatchHead, batchHeadBytes } from './record-batch.js';
import { OffsetIndex, TimeIndex } from './sparse-index.js';
import { crc32, type Disk, DiskError } from '@dovecote/ground';

/**
 * One segment of a partition: batches in a `.log` file named after the first offset that may stand in it, and beside it what helps to find them.
 *
 *   00000000000000000000.log | .index | .timeindex | .txnindex
 *
 * After a crash the tail of the last one may be cut in the middle of a batch; recovery takes that away. Indexes are hints: those of the last
 * segment are in memory and go to their files at checkpoints, those of others are read when needed. Its partition alone calls it.
 */
export class Segment {
  /** Bytes appended; `writtenBytes` of them are in the file. */
  sizeBytes = 0;
  writtenBytes = 0;
  /** Behind its last batch. */
  nextOffset: number;
  maxTimestamp = -1;
  /** Last offset of the batch that has it. */
  maxTimestampOffset = -1;
  /** Of the first batch: rolling by time counts from it. */
  firstTimestamp: number | undefined;
  aborted = new AbortedTransactions();
  /** The file is not there yet. */
  isNew = false;
  /** Something was written that no sync has covered. */
  isUnsynced = false;
  /** The file was made, and its folder not synced since then. */
  isNameUnsynced = false;
  /** Entries of the last segment stand here until the next checkpoint; others come and go. */
  indexes: Indexes | undefined;
  private readonly hints: { readonly offset: number; readonly position: number }[] = [];
  private nextHint = 0;
  private bytesSinceEntry = 0;
  private savedOffsetBytes = 0;
  private savedTimeBytes = 0;
  /** What stands in the files of the indexes for certain, unless the disk lost it. */
  indexSums: IndexSums | undefined;
  /** The files were written and not synced. */
  private hasUnsyncedIndexes = false;
  private savedAborted = 0;
  private loading: Promise<Indexes> | undefined;
  private heldIndexes: Indexes | undefined;
  private held: OpenFile | undefined;
  private isReplaced = false;

  constructor(
    readonly folder: string,
    readonly baseOffset: number,
    private readonly disk: Disk,
    private readonly files: OpenFiles,
    private readonly loaded: LoadedIndexes,
  ) {
    this.nextOffset = baseOffset;
  }

  static fresh(folder: string, baseOffset: number, { disk, files, loaded }: SegmentWorld): Segment {
    const segment = new Segment(folder, baseOffset, disk, files, loaded);
    segment.isNew = true;
    segment.indexes = { offsets: new OffsetIndex(), times: new TimeIndex() };
    return segment;
  }

  get logPath(): string {
    return `${this.folder}/${segmentStem(this.baseOffset)}.log`;
  }

  path(suffix: SegmentSuffix): string {
    return `${this.folder}/${segmentStem(this.baseOffset)}${suffix}`;
  }

  /** Counts a batch in that begins at `sizeBytes`; its bytes are the caller's business. */
  appended(head: BatchHead, intervalBytes: number): void {
    const { offsets, times } = this.indexes!;
    if (head.maxTimestamp > this.maxTimestamp) {
      this.maxTimestamp = head.maxTimestamp;
      this.maxTimestampOffset = head.lastOffset;
    }
    this.firstTimestamp ??= head.maxTimestamp;
    if (this.bytesSinceEntry > intervalBytes) {
      offsets.append(head.lastOffset - this.baseOffset, this.sizeBytes);
      times.appendIfLater(this.maxTimestamp, this.maxTimestampOffset - this.baseOffset);
      this.bytesSinceEntry = 0;
    }
    this.bytesSinceEntry += head.bytes;
    this.sizeBytes += head.bytes;
    this.nextOffset = head.nextOffset;
  }

  /** A reader stopped at `offset`, which stands at `position`: it will ask for it next, and needs no index then. */
  leaveHint(offset: number, position: number): void {
    this.hints[this.nextHint] = { offset, position };
    this.nextHint = (this.nextHint + 1) % hintsMax;
  }

  takeHint(offset: number): number | undefined {
    for (const hint of this.hints) if (hint.offset === offset) return hint.position;
    return undefined;
  }

  /** Its file is going to be replaced: who reads this segment goes on with the old one, until `letGo`. */
  async hold(indexIntervalBytes: number): Promise<void> {
    this.heldIndexes = await this.loadIndexes(indexIntervalBytes);
    this.held = await this.pin();
  }

  /** Another segment took its place. */
  letGo(): void {
    const { held } = this;
    this.held = undefined;
    this.isReplaced = true;
    if (held !== undefined) this.files.unpin(held);
  }

  /** The file pinned, if that takes no waiting. */
  pinNow(): OpenFile | undefined {
    if (this.held === undefined) return this.isReplaced ? undefined : this.files.pinOpen(this.logPath);
    this.held.pins++;
    return this.held;
  }

  async pin(): Promise<OpenFile> {
    const now = this.pinNow();
    if (now !== undefined) return now;
    if (this.isReplaced) throw new DiskError('not-found', `${this.logPath} was compacted meanwhile`);
    return this.files.pin(this.logPath, this.isNew ? 'create' : 'edit');
  }

  unpin(file: OpenFile): void {
    this.files.unpin(file);
  }

  /** The indexes, read from their files if need be, and made anew where they are not there or do not fit to the batches. */
  async loadIndexes(intervalBytes: number): Promise<Indexes> {
    const there = this.indexes ?? this.heldIndexes;
    if (there !== undefined) return there;
    this.loading ??= this.readIndexes(intervalBytes).finally(() => (this.loading = undefined));
    const indexes = await this.loading;
    return indexes;
  }

  /** Others were read since: they are read again when they are needed. */
  unloadIndexes(): void {
    this.indexes = undefined;
  }

  private async readIndexes(intervalBytes: number): Promise<Indexes> {
    const [offsetBytes, timeBytes] = [await readWhole(this.disk, this.path('.index')), await readWhole(this.disk, this.path('.timeindex'))];
    if (offsetBytes !== undefined && timeBytes !== undefined) {
      const offsets = new OffsetIndex(offsetBytes);
      const times = new TimeIndex(timeBytes);
      const isSane = offsets.keepSane(this.sizeBytes) && times.keepSane(this.nextOffset - this.baseOffset);
      if (isSane && (await this.fits(offsets))) {
        this.indexes = { offsets, times };
        this.savedOffsetBytes = offsets.byteLength;
        this.savedTimeBytes = times.byteLength;
        this.loaded.add(this);
        return this.indexes;
      }
    }
    await this.rebuildIndexes(intervalBytes);
    this.loaded.add(this);
    return this.indexes!;
  }

  /** The last entry leads to a batch that ends where the entry says: a file of another segment, or of an earlier life, does not. */
  private async fits(offsets: OffsetIndex): Promise<boolean> {
    if (offsets.length === 0) return this.sizeBytes < 1 << 20;
    const head = await this.headAt(offsets.lastPosition);
    return head?.lastOffset === this.baseOffset + offsets.lastOffset;
  }

  /** The head of the batch that begins at `position`; undefined where none does. */
  async headAt(position: number): Promise<BatchHead | undefined> {
    const file = await this.pin();
    try {
      const bytes = Buffer.alloc(batchHeadBytes);
      if ((await file.handle.read(bytes, position)) < batchHeadBytes) return undefined;
      const head = new BatchHead().read(bytes, 0);
      return isPlausible(head) ? head : undefined;
    } finally {
      this.unpin(file);
    }
  }

  /** From the batches alone; writes the files. */
  async rebuildIndexes(intervalBytes: number): Promise<void> {
    const file = await this.pin();
    try {
      const { sizeBytes, nextOffset } = this;
      this.startAnew();
      await scanBatches(file.handle, 0, sizeBytes, ({ head }) => this.appended(head, intervalBytes));
      // Batches behind what is whole are the recovery's business, not that of an index.
      this.sizeBytes = sizeBytes;
      this.nextOffset = nextOffset;
    } finally {
      this.unpin(file);
    }
    this.sealTimes();
    await this.saveIndexes(true);
  }

  /** What rolling by time counts from, where the first batch is not counted in anew. */
  async readFirstTimestamp(): Promise<void> {
    this.firstTimestamp = (await this.headAt(0))?.maxTimestamp;
  }

  /** Forgets what is known of the batches: they are going to be counted in again with `appended`. */
  startAnew(): void {
    this.indexes = { offsets: new OffsetIndex(), times: new TimeIndex() };
    this.sizeBytes = 0;
    this.nextOffset = this.baseOffset;
    this.maxTimestamp = -1;
    this.maxTimestampOffset = -1;
    this.firstTimestamp = undefined;
    this.bytesSinceEntry = 0;
    this.savedOffsetBytes = 0;
    this.savedTimeBytes = 0;
  }

  /** Goes back to the end of the batch that the index entry at `position` leads to: what stands behind is counted in again. Needs the indexes. */
  rewind(position: number, batch: BatchHead): void {
    const { offsets, times } = this.indexes!;
    offsets.cutPosition(position + 1);
    times.cutOffset(batch.lastOffset - this.baseOffset);
    this.maxTimestamp = times.lastTimestamp;
    this.maxTimestampOffset = times.length === 0 ? -1 : this.baseOffset + times.lastOffset;
    this.sizeBytes = position + batch.bytes;
    this.nextOffset = batch.nextOffset;
    this.bytesSinceEntry = batch.bytes;
    this.savedOffsetBytes = 0;
    this.savedTimeBytes = 0;
  }

  /** The last entry of a segment's time index is its largest timestamp: that is where the next opening finds it. */
  sealTimes(): void {
    if (this.maxTimestampOffset >= 0) this.indexes?.times.appendIfLater(this.maxTimestamp, this.maxTimestampOffset - this.baseOffset);
  }

  /**
   * Brings the files up to what is in memory. `isSynced`: and to the disk, so that an opening believes them without a look at the batches; without it `indexSums`
   * says what must stand there. A short segment that goes on has no such files.
   */
  async saveIndexes(isSynced: boolean): Promise<void> {
    const { indexes, indexSums: before } = this;
    if (!isSynced && indexes?.offsets.length === 0) this.indexSums = { baseOffset: this.baseOffset, ...noIndexes };
    else if (indexes !== undefined) {
      const { offsets, times } = indexes;
      const [offsetBytes, timeBytes] = [this.savedOffsetBytes, this.savedTimeBytes];
      const newOffsets = Buffer.from(offsets.encoded(offsetBytes));
      const newTimes = Buffer.from(times.encoded(timeBytes));
      await this.saveEntries('.index', newOffsets, offsetBytes, isSynced);
      await this.saveEntries('.timeindex', newTimes, timeBytes, isSynced);
      this.savedOffsetBytes = offsetBytes + newOffsets.length;
      this.savedTimeBytes = timeBytes + newTimes.length;
      this.indexSums = {
        baseOffset: this.baseOffset,
        offsetBytes: this.savedOffsetBytes,
        offsetSum: crc32(newOffsets, offsetBytes === 0 ? 0 : before?.offsetSum),
        timeBytes: this.savedTimeBytes,
        timeSum: crc32(newTimes, timeBytes === 0 ? 0 : before?.timeSum),
      };
      this.hasUnsyncedIndexes = !isSynced;
    }
    const { length } = this.aborted.entries;
    if (length === this.savedAborted) return;
    await replaceFile(this.disk, this.folder, `${segmentStem(this.baseOffset)}.txnindex`, this.aborted.encode(), true);
    this.savedAborted = length;
  }

  /** The files are as what is in memory. */
  indexesAreSaved(): void {
    this.savedOffsetBytes = this.indexes!.offsets.byteLength;
    this.savedTimeBytes = this.indexes!.times.byteLength;
    this.abortedAreSaved();
    this.indexes = undefined;
  }

  /** How many of the aborted transactions stand in the file already. */
  abortedAreSaved(): void {
    this.savedAborted = this.aborted.entries.length;
  }

  private async saveEntries(suffix: '.index' | '.timeindex', entries: Buffer, position: number, isSynced: boolean): Promise<void> {
    if (position === 0) {
      await this.files.forget(this.path(suffix));
      return replaceFile(this.disk, this.folder, `${segmentStem(this.baseOffset)}${suffix}`, entries, isSynced);
    }
    const mustSync = isSynced && (entries.length > 0 || this.hasUnsyncedIndexes);
    if (entries.length === 0 && !mustSync) return;
    const file = await this.files.pin(this.path(suffix), 'edit');
    try {
      if (entries.length > 0) await write(file.handle, [entries], position);
      if (mustSync) await sync(file.handle);
    } finally {
      this.files.unpin(file);
    }
  }

  /** Cuts the file to what is counted in. */
  async truncateFile(): Promise<void> {
    const file = await this.pin();
    try {
      await file.handle.truncate(this.sizeBytes);
    } finally {
      this.unpin(file);
    }
    this.writtenBytes = this.sizeBytes;
  }

  /** Visits the batches from the one at `position` on. */
  async scan(position: number, visit: (batch: ScannedBatch) => boolean | void | Promise<boolean | void>): Promise<number> {
    const file = await this.pin();
    try {
      return await scanBatches(file.handle, position, this.writtenBytes, visit);
    } finally {
      this.unpin(file);
    }
  }

  async syncIfNeeded(): Promise<void> {
    if (this.isNew || !this.isUnsynced) return;
    this.isUnsynced = false;
    const file = await this.pin();
    try {
      await sync(file.handle);
      if (this.isNameUnsynced) await this.disk.syncDirectory(this.folder);
      this.isNameUnsynced = false;
    } catch (error) {
      this.isUnsynced = true;
      throw error;
    } finally {
      this.unpin(file);
    }
  }

  /** Takes the files away for good. */
  async removeFiles(): Promise<void> {
    for (const suffix of segmentSuffixes) {
      await this.files.forget(this.path(suffix));
      await removeIfThere(this.disk, this.path(suffix));
    }
  }
}

/** Of the files of a segment's indexes: how long they are at least, and the CRC-32 of so much. */
export interface IndexSums {
  readonly baseOffset: number;
  readonly offsetBytes: number;
  readonly offsetSum: number;
  readonly timeBytes: number;
  readonly timeSum: number;
}

const noIndexes = { offsetBytes: 0, offsetSum: 0, timeBytes: 0, timeSum: 0 };

export interface Indexes {
  readonly offsets: OffsetIndex;
  readonly times: TimeIndex;
}

/** What all segments of a log share. */
export interface SegmentWorld {
  readonly disk: Disk;
  readonly files: OpenFiles;
  readonly loaded: LoadedIndexes;
}

/** Segments whose indexes were read from their files: a long log has more than memory is for, so the one that was read first goes first. */
export class LoadedIndexes {
  private readonly segments: Segment[] = [];

  constructor(private readonly segmentsMax: number) {}

  add(segment: Segment): void {
    this.segments.push(segment);
    if (this.segments.length > this.segmentsMax) this.segments.shift()!.unloadIndexes();
  }
}

/** Readers that one segment remembers. */
const hintsMax = 16;

export const segmentSuffixes = ['.log', '.index', '.timeindex', '.txnindex'] as const;
export type SegmentSuffix = (typeof segmentSuffixes)[number];

export function segmentStem(offset: number): string {
  return String(offset).padStart(20, '0');
}

/** The offset in the name of a segment's file, or undefined for another file. */
export function offsetInName(name: string, suffix: string): number | undefined {
  return name.length === 20 + suffix.length && name.endsWith(suffix) && /^\d{20}/.test(name) ? Number(name.slice(0, 20)) : undefined;
}
