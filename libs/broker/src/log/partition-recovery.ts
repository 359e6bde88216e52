import { crc32, crc32c } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { AbortedTransactions } from './aborted-transactions.js';
import { type ScannedBatch, scanBatches } from './batch-scan.js';
import { LeaderEpochs } from './leader-epochs.js';
import type { Topic } from './log.js';
import { type OpenFile, readWhole, removeIfThere, sync, write } from './open-files.js';
import { PartitionLog, type PartitionWorld } from './partition-log.js';
import { ProducerStates } from './producer-state.js';
import { decodeSnapshot, decodeWindow, restoreWindow } from './producer-snapshot.js';
import { baseOffsetAt, BatchHead, batchHeadBytes } from './record-batch.js';
import { RecordCursor } from './records.js';
import { isGone } from './segment-reader.js';
import { finishSwap } from './segment-swap.js';
import { type IndexSums, offsetInName, Segment, segmentStem } from './segment.js';
import { OffsetIndex, TimeIndex } from './sparse-index.js';
import type { PendingWrite } from './tail.js';

/**
 * Opens the folder of a partition as the last owner left it, in order or not.
 *
 * After an orderly end only the last batches are looked at. After a crash everything from the recovery point on is read and its sums are checked: the first batch
 * that is not whole and everything behind it is cut away, because nobody was told of it. Damage before the recovery point is not of a crash: the broker refuses to open.
 * Indexes, the list of aborted transactions and the producers are made again from the batches where they are lost. Under `fsync` what lies behind the
 * recovery point is written once more and synced before anybody sees it: what was read back may be in memory only.
 */
export interface RecoveryHints {
  /** The last owner closed it in order, and its recovery point is its end. */
  readonly isClean: boolean;
  /** 0 where nothing is known. */
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
  /** At which offsets begins what the journal has of it, and what may be missing in the segments. */
  readonly journaledFrom: readonly number[];
  /** What the files of the active segment's indexes must be, 'unknown' in a folder of Kafka or of an older version; undefined where they are not to be believed. */
  readonly indexSums: IndexSums | 'unknown' | undefined;
  /** Tells readers after a crash that records may have been taken back. */
  readonly bumpEpoch: boolean;
}

const copyBytes = 1 << 20;

/** `look` and `read` first, then `putBack` for everything that the journal has, `flush` now and then, and `finish` in the end. */
export class PartitionOpening {
  private readonly producers = new ProducerStates();
  private segments: Segment[] = [];
  private names: readonly string[] = [];
  private snapshots: number[] = [];
  /** Producers are known up to here. */
  private producersUpTo = 0;
  /** Batches or segments were taken away. */
  private wasCut = false;
  /** What the journal has of it without a gap, and keeps until it is settled.
   */
  private keptFrom = Infinity;
  private keptTo = -1;
  private abortedAreLost = false;
  private epochs = new LeaderEpochs();
  private logStartOffset = 0;
  private readonly head = new BatchHead();
  /** Put back, and not in the files yet. */
  private pending: PendingWrite[] = [];

  constructor(
    private readonly topic: Topic,
    private readonly number: number,
    private readonly folder: string,
    private readonly world: PartitionWorld,
    private readonly hints: RecoveryHints,
    private readonly report: (line: string) => void,
  ) {}

  /** Finds out what is in the folder. Resolves to the bytes that `read` goes through, those that it passes over in a segment counted in. */
  async look(): Promise<number> {
    const { hints } = this;
    await this.sweep();
    await this.findSegments();
    this.epochs = await this.readEpochs();
    this.logStartOffset = Math.max(hints.logStartOffset, this.segments[0]!.baseOffset);
    await this.readProducers(this.segments[0]!.baseOffset);
    const last = this.segments.at(-1);
    const unread = this.segments.filter((segment) => segment === last || segment.nextOffset > this.readFrom);
    return unread.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  }

  private get readFrom(): number {
    return Math.min(this.hints.recoveryPoint, this.producersUpTo);
  }

  async finish(): Promise<PartitionLog> {
    const { world, hints, epochs, logStartOffset } = this;
    await this.flush();
    const end = this.segments.at(-1)!.nextOffset;
    const firstOffset = this.segments[0]!.baseOffset;
    if (end < hints.recoveryPoint && hints.recoveryPoint > logStartOffset) this.damaged(end);
    const prove = await this.bringToDisk(end);
    epochs.cutEnd(Math.max(end, 1));
    const partition = new PartitionLog(
      {
        topic: this.topic,
        number: this.number,
        folder: this.folder,
        segments: this.segments,
        logStartOffset: Math.min(logStartOffset, end),
        recoveryPoint: Math.min(hints.isClean ? end : hints.recoveryPoint, end),
        leaderEpoch: Math.max(0, epochs.latest) + (hints.bumpEpoch && !hints.isClean && end > firstOffset ? 1 : 0),
        producers: this.producers,
        epochs,
        snapshots: this.snapshots,
        prove,
      },
      world,
    );
    // The first one is known without its file.
    if (epochs.assign(partition.leaderEpoch, end)) await partition.saveEpochs(world.isSynced && partition.leaderEpoch > 0);
    return partition;
  }

  /** Sees to it that what is served is on the disk for certain, now or, where the journal has it, later: by what is answered. */
  private async bringToDisk(end: number): Promise<(() => Promise<void>) | undefined> {
    const { hints, world } = this;
    const { recoveryPoint } = hints;
    const isKept = this.keptTo === end && this.keptFrom <= recoveryPoint;
    const sizes = new Map(this.segments.map((segment) => [segment, segment.sizeBytes]));
    if (world.isSynced && !this.wasCut && end <= recoveryPoint) return undefined;
    if (world.isSynced && !this.wasCut && isKept) return () => this.writeAgain(recoveryPoint, sizes);
    for (const segment of this.segments) {
      // What the journal had is about to be forgotten there, also by an owner who syncs nothing.
      if (hints.journaledFrom.length > 0 && segment.nextOffset > recoveryPoint) segment.isUnsynced = true;
      await segment.syncIfNeeded();
    }
    if (world.isSynced && !hints.isClean) await this.writeAgain(recoveryPoint, sizes);
    return undefined;
  }

  /** Ends what a crash interrupted: half-made files go, a finished compaction takes the place of what it compacted. */
  private async sweep(): Promise<void> {
    const { disk } = this.world;
    this.names = await disk.list(this.folder);
    for (const name of this.names) {
      if (/\.(?:tmp|cleaned|deleted)$/.test(name)) await removeIfThere(disk, `${this.folder}/${name}`);
    }
    const swapped = this.names.map((name) => offsetInName(name, '.log.swap')).filter((offset) => offset !== undefined);
    for (const offset of swapped) await finishSwap(disk, this.folder, offset, await this.endOfSwap(offset));
    this.names = await disk.list(this.folder);
    for (const name of this.names) if (name.endsWith('.swap')) await removeIfThere(disk, `${this.folder}/${name}`);
  }

  /** Behind the last batch of a compacted segment that has not got its name yet. */
  private async endOfSwap(baseOffset: number): Promise<number> {
    const file = await this.world.disk.open(`${this.folder}/${segmentStem(baseOffset)}.log.swap`, 'read');
    try {
      let end = baseOffset;
      await scanBatches(file, 0, await file.size(), ({ head }) => {
        end = head.nextOffset;
      });
      return end;
    } finally {
      await file.close();
    }
  }

  private async findSegments(): Promise<void> {
    const { disk, files } = this.world;
    const bases = this.names.map((name) => offsetInName(name, '.log')).filter((offset) => offset !== undefined);
    for (const base of bases.sort((one, other) => one - other)) {
      const segment = new Segment(this.folder, base, disk, files, this.world.loaded);
      const file = await segment.pin();
      try {
        segment.sizeBytes = await file.handle.size();
        segment.writtenBytes = segment.sizeBytes;
        // Nothing in it counts as being on the disk, so neither does its name: an earlier life may have ended between making it and syncing the folder.
        segment.isNameUnsynced = base >= this.hints.recoveryPoint;
      } finally {
        segment.unpin(file);
      }
      const aborted = await readWhole(disk, segment.path('.txnindex'));
      if (aborted !== undefined) {
        const decoded = AbortedTransactions.decode(aborted);
        if (decoded !== undefined) segment.aborted = decoded;
        else this.abortedAreLost = true;
        segment.abortedAreSaved();
      }
      this.segments.push(segment);
    }
    if (this.segments.length === 0) this.segments.push(Segment.fresh(this.folder, this.hints.logStartOffset, this.world));
    for (const [index, segment] of this.segments.entries()) segment.nextOffset = this.segments[index + 1]?.baseOffset ?? segment.baseOffset;
  }

  private hasNoAborted(baseOffset: number): boolean {
    return this.segments.some((segment) => segment.baseOffset === baseOffset && segment.aborted.entries.length === 0);
  }

  /** What is known of the aborted transactions does not fit: the whole log is read again for it. */
  private async forgetSnapshots(offsets: readonly number[]): Promise<void> {
    for (const offset of offsets) {
      await removeIfThere(this.world.disk, `${this.folder}/${segmentStem(offset)}.snapshot`);
      await removeIfThere(this.world.disk, `${this.folder}/${segmentStem(offset)}.window`);
    }
    this.snapshots = [];
    for (const segment of this.segments) segment.aborted = new AbortedTransactions();
  }

  private async readEpochs(): Promise<LeaderEpochs> {
    const bytes = await readWhole(this.world.disk, `${this.folder}/leader-epoch-checkpoint`);
    const decoded = bytes === undefined ? undefined : LeaderEpochs.decode(bytes.toString('latin1'));
    return decoded ?? new LeaderEpochs();
  }

  /** The youngest snapshot that is whole and of batches that are believed without being read. */
  private async readProducers(firstOffset: number): Promise<void> {
    const { disk } = this.world;
    const offsets = this.names.map((name) => offsetInName(name, '.snapshot')).filter((offset) => offset !== undefined);
    this.producersUpTo = firstOffset;
    this.snapshots = [];
    for (const offset of offsets.sort((one, other) => other - one)) {
      const stem = `${this.folder}/${segmentStem(offset)}`;
      const bytes =
        this.snapshots.length === 0 && offset <= this.hints.recoveryPoint ? await readWhole(disk, `${stem}.snapshot`) : undefined;
      const entries = bytes === undefined ? undefined : decodeSnapshot(bytes);
      const window = entries === undefined ? undefined : decodeWindow((await readWhole(disk, `${stem}.window`)) ?? Buffer.alloc(0));
      if (entries !== undefined && window !== undefined && offset >= firstOffset) {
        // Without its list nobody knows which aborted transactions there were.
        const isMissing = window.segmentsWithAborted.some((base) => this.hasNoAborted(base));
        if (isMissing || this.abortedAreLost) return this.forgetSnapshots(offsets);
        restoreWindow(entries, window);
        this.producers.restore(entries);
        this.producersUpTo = offset;
        this.snapshots.push(offset);
      } else if (this.snapshots.length > 0) this.snapshots.unshift(offset);
      else {
        // Of a life that is not believed.
        await removeIfThere(disk, `${stem}.snapshot`);
        await removeIfThere(disk, `${stem}.window`);
      }
    }
  }

  /** Looks at all batches that are not known well enough, and tells how many bytes and records it has read. */
  async read(told: (bytes: number, records: number) => void): Promise<void> {
    const from = this.readFrom;
    const lastIndex = this.segments.length - 1;
    for (let index = 0; index < this.segments.length; index++) {
      const segment = this.segments[index]!;
      const isLast = index === lastIndex;
      if (!isLast && segment.nextOffset <= from && (await this.takeAsItIs(segment))) continue;
      const isWhole = await this.scanSegment(segment, from, isLast, told);
      const isGap = !isLast && this.hasGapBehind(segment, this.segments[index + 1]!);
      if (isWhole && !isGap) continue;
      await this.dropAfter(index);
      break;
    }
    const last = this.segments.at(-1)!;
    // It was not the last one before the cut.
    if (last.indexes === undefined) await last.rebuildIndexes(this.topic.config.indexIntervalBytes);
  }

  /**
   * Whether the end of a segment was lost though the next one is there: nobody was told of that one, or the journal has what is missing. Compaction leaves gaps
   * too, but only below the recovery point.
   */
  private hasGapBehind(segment: Segment, next: Segment): boolean {
    const { recoveryPoint, journaledFrom } = this.hints;
    if (segment.nextOffset >= next.baseOffset || segment.nextOffset < recoveryPoint) return false;
    if (recoveryPoint > 0 || !this.topic.config.isCompacted) return true;
    return journaledFrom.some((offset) => offset <= segment.nextOffset && offset >= segment.baseOffset);
  }

  /**
   * Appends those of the batches in `bytes[start..end)` that are not in the segments. Answers how many bytes `flush` has to write. `isKept`: they stay where they
   * stand until they are settled.
   */
  putBack(bytes: Buffer, start: number, end: number, isKept: boolean): number {
    const { head } = this;
    let written = 0;
    const first = baseOffsetAt(bytes, start);
    const lowest = Math.min(this.hints.recoveryPoint, this.logStartOffset);
    if (!isKept) this.keptFrom = Infinity;
    else if (first !== this.keptTo) this.keptFrom = first;
    for (let at = start; at < end; at += head.bytes) {
      head.read(bytes, at);
      let segment = this.segments.at(-1)!;
      if (segment.isNew && this.segments.length === 1 && head.baseOffset < segment.baseOffset && head.nextOffset > lowest) {
        // Nothing was in the segments yet. What lies below the log start says what its producer has sent, as it would if nothing had happened.
        segment = Segment.fresh(this.folder, head.baseOffset, this.world);
        this.segments = [segment];
        if (this.snapshots.length === 0) this.producersUpTo = head.baseOffset;
      }
      if (head.nextOffset <= segment.nextOffset) continue;
      if (head.baseOffset !== segment.nextOffset) this.damaged(segment.nextOffset, segment, segment.sizeBytes);
      const copy = Buffer.from(bytes.subarray(at, at + head.bytes));
      let write = this.pending.at(-1);
      if (write?.segment !== segment) {
        write = { segment, position: segment.sizeBytes, parts: [], bytes: 0 };
        this.pending.push(write);
      }
      write.parts.push(copy);
      write.bytes += copy.length;
      written += copy.length;
      this.countIn(segment, { bytes, at, position: segment.sizeBytes, head });
      segment.appended(head, this.topic.config.indexIntervalBytes);
    }
    this.keptTo = head.nextOffset;
    return written;
  }

  /** Writes what was put back. */
  async flush(): Promise<void> {
    const { pending } = this;
    this.pending = [];
    for (const { segment, position, parts } of pending) {
      const file = await segment.pin();
      try {
        await write(file.handle, parts, position);
      } finally {
        segment.unpin(file);
      }
      if (segment.isNew) segment.isNameUnsynced = true;
      segment.isNew = false;
      segment.isUnsynced = true;
      segment.writtenBytes = segment.sizeBytes;
    }
  }

  /** A segment from before the recovery point, with its indexes in place: only the largest timestamp is asked of it. */
  private async takeAsItIs(segment: Segment): Promise<boolean> {
    const has = (suffix: '.index' | '.timeindex'): boolean => this.names.includes(`${segmentStem(segment.baseOffset)}${suffix}`);
    if (segment.sizeBytes === 0) return false;
    if (!has('.index') || !has('.timeindex')) {
      await segment.rebuildIndexes(this.topic.config.indexIntervalBytes);
      segment.indexes = undefined;
      return true;
    }
    const times = await readWhole(this.world.disk, segment.path('.timeindex'));
    const index = new TimeIndex(times!.subarray(0, times!.length - (times!.length % TimeIndex.entryBytes)));
    if (index.length === 0 || index.lastOffset > segment.nextOffset - segment.baseOffset) return false;
    segment.maxTimestamp = index.lastTimestamp;
    segment.maxTimestampOffset = segment.baseOffset + index.lastOffset;
    return true;
  }

  /** Reads the batches of a segment from `from` on, or from where its index reaches; false where it had to be cut. */
  private async scanSegment(
    segment: Segment,
    from: number,
    isLast: boolean,
    told: (bytes: number, records: number) => void,
  ): Promise<boolean> {
    const { hints, topic } = this;
    const { indexIntervalBytes } = topic.config;
    if (segment.isNew) return true;
    const endOfFile = segment.sizeBytes;
    const start = await this.startOfScan(segment, Math.max(from, segment.baseOffset));
    let hasBadSum = false;
    let next = segment.nextOffset;
    told(start, 0);
    const isBelieved = hints.isClean ? Infinity : hints.recoveryPoint;
    const end = await segment.scan(start, (batch) => {
      const { head } = batch;
      if (head.baseOffset < next) return false;
      if (head.nextOffset > isBelieved && crc32c(batch.bytes, 0, batch.at + 21, batch.at + head.bytes) !== head.sum) {
        hasBadSum = true;
        return false;
      }
      next = head.nextOffset;
      this.countIn(segment, batch);
      segment.appended(head, indexIntervalBytes);
      told(head.bytes, head.count);
      return true;
    });
    const isWhole = end === endOfFile;
    segment.writtenBytes = segment.sizeBytes;
    if (!isWhole) {
      const what = hasBadSum ? 'a batch whose sum does not fit' : 'bytes that are no whole batch';
      if (segment.nextOffset < hints.recoveryPoint) this.damaged(segment.nextOffset, segment, end);
      this.wasCut = true;
      this.report(
        `${segment.logPath}: ${what} from byte ${end} on, ${endOfFile - end} bytes; what was not committed when the broker ended is cut away`,
      );
      await segment.truncateFile();
    }
    if (!isLast && isWhole) {
      segment.sealTimes();
      await segment.saveIndexes(true);
      segment.indexes = undefined;
    }
    return isWhole;
  }

  /** Where to begin, with everything before it counted in. */
  private async startOfScan(segment: Segment, from: number): Promise<number> {
    const [offsetBytes, timeBytes] = await this.readIndexes(segment);
    const whole = (bytes: Buffer, each: number): Buffer => bytes.subarray(0, bytes.length - (bytes.length % each));
    const offsets = new OffsetIndex(whole(offsetBytes ?? Buffer.alloc(0), OffsetIndex.entryBytes));
    const times = new TimeIndex(whole(timeBytes ?? Buffer.alloc(0), TimeIndex.entryBytes));
    offsets.keepSane(segment.sizeBytes);
    times.keepSane(Infinity);
    // An entry of a batch that ends before `from`: everything up to its end is counted in already.
    const entry = offsets.lookUp(from - 1 - segment.baseOffset);
    const position = entry < 0 ? 0 : offsets.positionAt(entry);
    const indexed = entry < 0 ? undefined : await segment.headAt(position);
    const fits = indexed?.lastOffset === segment.baseOffset + (entry < 0 ? 0 : offsets.offsetAt(entry));
    segment.startAnew();
    if (indexed === undefined || !fits || times.length === 0) return 0;
    await segment.readFirstTimestamp();
    segment.indexes = { offsets, times };
    segment.rewind(position, indexed);
    return segment.sizeBytes;
  }

  /** The files of a segment's indexes, as far as they can be believed. */
  private async readIndexes(segment: Segment): Promise<readonly [Buffer | undefined, Buffer | undefined]> {
    const { disk } = this.world;
    const { indexSums, recoveryPoint } = this.hints;
    const files = [await readWhole(disk, segment.path('.index')), await readWhole(disk, segment.path('.timeindex'))] as const;
    if (indexSums !== 'unknown' && indexSums?.baseOffset === segment.baseOffset && indexSums.offsetBytes === 0)
      segment.indexSums = indexSums;
    const [offsets, times] = files;
    // Those of a segment that is over were synced before the recovery point went past it.
    const isOver = segment !== this.segments.at(-1) && segment.nextOffset <= recoveryPoint;
    if (offsets === undefined || times === undefined || isOver) return files;
    const { baseOffset } = segment;
    const sums =
      indexSums === 'unknown'
        ? { baseOffset, offsetBytes: offsets.length, offsetSum: crc32(offsets), timeBytes: times.length, timeSum: crc32(times) }
        : indexSums;
    if (sums?.baseOffset !== baseOffset) return [undefined, undefined];
    const [known, knownTimes] = [offsets.subarray(0, sums.offsetBytes), times.subarray(0, sums.timeBytes)];
    if (known.length < sums.offsetBytes || knownTimes.length < sums.timeBytes) return [undefined, undefined];
    if (crc32(known) !== sums.offsetSum || crc32(knownTimes) !== sums.timeSum) return [undefined, undefined];
    segment.indexSums = sums;
    return [known, knownTimes];
  }

  /** What a batch says about its producer. */
  private countIn(segment: Segment, { head, bytes, at }: ScannedBatch): void {
    if (head.nextOffset <= this.producersUpTo || head.producerId < 0) return;
    if (!head.isControl) return this.producers.appended(head);
    const cursor = new RecordCursor(bytes, at + batchHeadBytes, at + head.bytes);
    if (!cursor.next() || cursor.keyLength < 4 || cursor.valueLength < 6) return;
    const kind = bytes.readInt16BE(cursor.keyStart + 2);
    if (kind > 1) return;
    const { producerId, producerEpoch } = head;
    const marker = { producerId, producerEpoch, coordinatorEpoch: bytes.readInt32BE(cursor.valueStart + 2), isCommit: kind === 1 };
    const completed = this.producers.markerAppended(marker, head.baseOffset, head.maxTimestamp);
    const known = segment.aborted.entries.some(({ lastOffset }) => lastOffset === head.baseOffset);
    if (completed?.isAborted === true && !known) segment.aborted.append(completed);
  }

  /** Segments behind a cut hold what was committed even later: nobody was told of it. */
  private async dropAfter(index: number): Promise<void> {
    const dropped = this.segments.splice(index + 1);
    if (dropped.length > 0) this.wasCut = true;
    for (const segment of dropped) {
      this.report(`${segment.logPath}: removed, because it lies behind a cut`);
      await segment.removeFiles();
    }
  }

  /** Writes what stands behind `from` once more and syncs it: what was read back may be in memory only. */
  private async writeAgain(from: number, sizes: ReadonlyMap<Segment, number>): Promise<void> {
    const block = Buffer.allocUnsafeSlow(Math.min(copyBytes, Math.max(...sizes.values(), 1)));
    const last = [...sizes.keys()].at(-1);
    for (const [segment, sizeBytes] of sizes) {
      if (segment.isNew || (segment.nextOffset <= from && !this.wasCut && segment !== last)) continue;
      const { indexes } = segment;
      const entry = indexes?.offsets.lookUp(from - segment.baseOffset) ?? -1;
      let file: OpenFile;
      try {
        file = await segment.pin();
      } catch (error) {
        // It was compacted or removed meanwhile, and nobody needs it.
        if (isGone(error)) continue;
        throw error;
      }
      try {
        for (let position = entry < 0 ? 0 : indexes!.offsets.positionAt(entry); position < sizeBytes;) {
          const length = await file.handle.read(block.subarray(0, Math.min(block.length, sizeBytes - position)), position);
          if (length === 0) break;
          await write(file.handle, [block.subarray(0, length)], position);
          position += length;
        }
        await sync(file.handle);
      } finally {
        segment.unpin(file);
      }
    }
    await this.world.disk.syncDirectory(this.folder);
  }

  private damaged(end: number, segment?: Segment, position?: number): never {
    const where =
      segment === undefined
        ? `The log of ${this.folder} ends at offset ${end}`
        : `${segment.logPath} has no whole batch at byte ${position} (offset ${end})`;
    throw new CodedError(
      'data-damaged',
      `${where}, and everything below offset ${this.hints.recoveryPoint} was on the disk: the file was changed or the disk lost it. Restore the folder from a copy, ` +
        'or remove the line of this partition from recovery-point-offset-checkpoint to go on without what is missing',
    );
  }
}
