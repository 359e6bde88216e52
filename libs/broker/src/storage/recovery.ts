import { type Disk, DiskError, type Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { type Arena, type Chunk, chunkBytes } from './arena.js';
import { batchHeadBytes, batchMagic, type BatchHead, claimedLength, forEachRecord, readBatch, sealBatch } from './batch.js';
import type { JournalDurability, JournalStart } from './journal.js';
import {
  createJournalFile,
  decodeFileHead,
  encodeFileHead,
  type FileHead,
  fileHeadBytes,
  JournalFile,
  journalFileName,
  journalFileNumber,
  sync,
  write,
} from './journal-file.js';

/**
 * Reads a journal back after the end of its last owner, whatever the end was.
 *
 * Batches are believed in the order of their sequence up to the first that is missing or torn. If another batch, anywhere, proves
 * that the bad one had been synced, the disk has lost something that was promised: that is damage, and the broker must not open
 * over it. Behind a tear nothing is deleted: what is written next has the same sequences in a younger file, which makes it void.
 *
 * What was written behind the last known sync may be in the page cache only, and after a failed sync Linux calls such pages
 * clean although they are not on the disk. So under `fsync` that tail is copied to a new file, and the copy is synced, before
 * anybody is served. A crash in the middle of that changes nothing: the copy gets its name when it is whole.
 */
export interface RecoveryOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly arena: Arena;
  readonly directory: string;
  readonly durability: JournalDurability;
  /** Takes every record, in the order in which it was decided. The bytes stay in the chunk as long as somebody holds it. */
  readonly replay: (chunk: Chunk, offset: number, length: number) => void;
  readonly progress?: (bytesRead: number, bytesTotal: number) => void;
  /** Called now and then: memory may be given back. */
  readonly relieve?: () => void;
  /** Told before the records of each piece that is read: where in which file they stand. */
  readonly piece?: (file: JournalFile, position: number) => void;
}

export interface FoundFile {
  readonly file: JournalFile;
  readonly size: number;
  /** The sequence of its first batch, undefined where that is not whole: then nothing in the file is believed. */
  readonly firstSequence: number | undefined;
}

interface Place {
  readonly file: JournalFile;
  readonly position: number;
  readonly length: number;
  readonly sequence: number;
  /** In which its records stand. */
  readonly chunk: Chunk;
}
const batchBytesMax = 1 << 30;

export async function recover(options: RecoveryOptions): Promise<JournalStart> {
  return new Recovery(options).run();
}

/** One reading of a journal. `inspection.ts` reads through the same code and changes nothing. */
export class Recovery {
  /** The files that are there, oldest first, without youngest ones that hold no batch. */
  found: readonly FoundFile[] = [];
  /** Files with a lower number are left over. */
  oldest = 1;
  /** Where the last believed batch of each file ends. */
  readonly believedEnds = new Map<JournalFile, number>();
  /** Where the journal stops being believed although there is more. */
  torn: { readonly file: JournalFile; readonly position: number } | undefined;
  /** The highest sequence that some batch says was synced. */
  durable = 0;
  /** The sequence of the next batch. */
  private expected = 1;
  private bytesRead = 0;
  private bytesTotal = 0;
  /** Batches behind the last known sync. */
  private tail: Place[] = [];
  readonly opened: JournalFile[] = [];

  constructor(
    private readonly options: RecoveryOptions,
    private readonly isReadOnly = false,
  ) {}

  async run(): Promise<JournalStart> {
    try {
      return await this.recover();
    } catch (error) {
      for (const file of this.opened) await file.close();
      throw error;
    }
  }

  private async recover(): Promise<JournalStart> {
    const { disk, random, directory, durability } = this.options;
    await disk.makeDirectory(directory);
    const files = await this.readAll();
    const { found, oldest } = this;
    const unneeded = found.slice(0, found.length - files.length);
    const kept = files.map(({ file }) => file);
    let number = kept.at(-1)?.number ?? oldest - 1;
    if (durability === 'fsync' && this.tail.length > 0) kept.push(await this.rewriteTail(files, ++number));
    for (const file of kept) file.isSynced = durability === 'fsync' || !this.tail.some((place) => place.file === file);
    for (const file of kept) if (file.isSynced) await file.close();
    kept.push(await createJournalFile({ disk, directory, random, isSynced: durability === 'fsync' }, number + 1));
    const lastSequence = this.expected - 1;
    return {
      files: kept,
      unneeded: unneeded.map(({ file }) => file),
      lastSequence,
      durableSequence: durability === 'fsync' ? lastSequence : this.durable,
    };
  }

  /** Replays what is believed; answers the files that are needed. Throws where the broker must not open. */
  async readAll(): Promise<readonly FoundFile[]> {
    this.found = await this.openFiles();
    this.oldest = await this.findOldest(this.found);
    const files = this.found.filter(({ file }) => file.number >= this.oldest);
    this.checkSeries(files, this.oldest);
    await this.replayFiles(files);
    return files;
  }

  private async openFiles(): Promise<FoundFile[]> {
    const { disk, directory } = this.options;
    const found: FoundFile[] = [];
    for (const name of await disk.list(directory)) {
      const path = `${directory}/${name}`;
      if (name.endsWith('.log.new') && !this.isReadOnly) await disk.remove(path);
      const number = journalFileNumber(name);
      if (number === undefined) continue;
      const handle = await disk.open(path, this.isReadOnly ? 'read' : 'edit');
      const size = await handle.size();
      const bytes = Buffer.alloc(fileHeadBytes);
      const head = decodeFileHead(bytes.subarray(0, await handle.read(bytes, 0)), number);
      if (head === 'newer-version') {
        throw new CodedError('data-folder-unusable', `${path} was written by a newer version of Dovecote: open it with that version`);
      }
      const file = new JournalFile(path, head ?? { number, beginsWithCheckpoint: false, salt: 0 }, handle);
      this.opened.push(file);
      file.end = size;
      file.isComplete = true;
      // The head is synced before anything is written behind it.
      if (head === undefined && size > fileHeadBytes) throw damaged(path, 0);
      found.push({ file, size, firstSequence: (await this.readBatchAt(file, fileHeadBytes, size))?.sequence });
      this.bytesTotal += size;
    }
    // A file without any batch is created anew: nobody knows whether its head was synced.
    while (found.length > 0 && found.at(-1)!.size <= fileHeadBytes) {
      const { file } = found.pop()!;
      if (this.isReadOnly) continue;
      await file.close();
      await disk.remove(file.path);
    }
    return found;
  }

  private async readBatchAt(file: JournalFile, position: number, size: number): Promise<BatchHead | undefined> {
    const bytes = await this.readBytes(file, position, Math.max(Math.min(8, size - position), 0));
    const length = bytes.length < 8 ? 0 : claimedLength(bytes, 0);
    if (length === 0 || length > size - position || length > batchBytesMax) return undefined;
    return readBatch(await this.readBytes(file, position, length), 0, length, file.head.salt);
  }

  async readBytes(file: JournalFile, position: number, length: number): Promise<Buffer> {
    const bytes = this.options.arena.takeBuffer(length);
    return bytes.subarray(0, await file.handle.read(bytes, position));
  }

  /**
   * The oldest file that is needed, as the last batch says that is believed. Everything before the file that it names may be gone,
   * wholly or in part, by a trimming that was interrupted.
   *
   * Usually that batch stands in the youngest file. But while older files are there that it does not need, its word may not have
   * reached the disk together with what is before it: then what is before it is looked through, and where that is torn the word
   * of the last batch before the tear counts.
   */
  private async findOldest(found: readonly FoundFile[]): Promise<number> {
    for (let files = found; ;) {
      const youngest = files.findLastIndex(({ firstSequence }) => firstSequence !== undefined);
      if (youngest < 0) return 1;
      let oldest = 1;
      const reader: WindowReader = { take: (_at, head) => (oldest = head.oldestFile), end: () => undefined };
      await this.scan(files[youngest]!, files[youngest]!.firstSequence!, Infinity, () => reader);
      if (files[0]!.file.number >= oldest) return oldest;
      const needed = files.slice(0, youngest + 1).filter(({ file }) => file.number >= oldest);
      const torn = await this.findTear(needed);
      if (torn === undefined) return oldest;
      files = files.slice(0, files.indexOf(torn) + 1);
    }
  }

  /** The first of these files that does not reach the next one's first batch. */
  private async findTear(files: readonly FoundFile[]): Promise<FoundFile | undefined> {
    const limits = limitsOf(files);
    const reader: WindowReader = { take: () => undefined, end: () => undefined };
    let expected = files[0]?.firstSequence ?? 1;
    for (const [i, entry] of files.slice(0, -1).entries()) {
      const limit = limits[i]!;
      if ((entry.firstSequence ?? 0) >= limit) continue;
      expected = (await this.scan(entry, expected, limit, () => reader)).next;
      if (expected !== limit) return entry;
    }
    return undefined;
  }

  private checkSeries(files: readonly FoundFile[], oldest: number): void {
    const { directory } = this.options;
    for (const [i, { file }] of files.entries()) {
      if (file.number !== oldest + i) throw missing(`${directory}/${journalFileName(oldest + i)}`);
    }
    const first = files[0];
    if (first === undefined) {
      if (oldest > 1) throw missing(`${directory}/${journalFileName(oldest)}`);
      return;
    }
    if (!first.file.head.beginsWithCheckpoint) throw damaged(first.file.path, 0);
    if (first.firstSequence === undefined && oldest > 1) throw damaged(first.file.path, fileHeadBytes);
    this.expected = first.firstSequence ?? 1;
  }

  private async replayFiles(files: readonly FoundFile[]): Promise<void> {
    const limits = limitsOf(files);
    for (const [i, entry] of files.entries()) {
      const { file, firstSequence } = entry;
      const before = this.expected;
      file.isVoid = firstSequence !== undefined && firstSequence >= limits[i]!;
      if (file.isVoid) continue;
      const tornAt = await this.replayFile(entry, limits[i]!);
      file.isVoid = this.expected === before;
      if (tornAt < 0 || this.expected === limits[i]) continue;
      this.torn = { file, position: tornAt };
      const later = files.slice(i + 1);
      await this.findProof(file, tornAt, file);
      for (const { file: other } of later) await this.findProof(other, fileHeadBytes, file);
      if (this.expected <= this.durable) throw damaged(file.path, tornAt);
      for (const { file: other } of later) other.isVoid = true;
      break;
    }
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
  }

  /**
   * Looks at every whole batch from `position` on, wherever one begins, for what it proves about synced sequences in `torn`. One
   * that does not need that file any more proves nothing about it: nobody synced it then.
   */
  private async findProof(file: JournalFile, position: number, torn: JournalFile): Promise<void> {
    await this.forEachWholeBatch(file, position, (head) => {
      if (head.oldestFile <= torn.number && head.durable > this.durable) this.durable = head.durable;
    });
  }

  /** Every whole batch of the file from `position` on, wherever one begins and whatever stands between them. */
  async forEachWholeBatch(file: JournalFile, position: number, visit: (head: BatchHead, position: number) => void): Promise<void> {
    const bytes = await this.readBytes(file, position, Math.max((await file.handle.size()) - position, 0));
    const mark = Buffer.alloc(4);
    mark.writeUInt32BE(batchMagic);
    for (let at = bytes.indexOf(mark); at >= 0 && at + batchHeadBytes <= bytes.length;) {
      const length = claimedLength(bytes, at);
      const head = length > 0 && at + length <= bytes.length ? readBatch(bytes, at, length, file.head.salt) : undefined;
      if (head !== undefined) visit(head, position + at);
      at = bytes.indexOf(mark, head === undefined ? at + 1 : at + length);
    }
  }

  /** Where the file stops being believed before it reaches `limit`, or -1. */
  private async replayFile(entry: FoundFile, limit: number): Promise<number> {
    const { arena, replay } = this.options;
    const { file } = entry;
    const { position, isWhole } = await this.scan(entry, this.expected, limit, (bytes, start) => {
      this.options.piece?.(file, start);
      file.chunks++;
      const chunk = arena.adopt(bytes, true, file);
      return {
        take: (at, head) => {
          if (head.durable > this.durable) this.durable = head.durable;
          forEachRecord(bytes, at, head.length, (offset, length) => replay(chunk, offset, length));
          this.tail.push({ file, position: start + at, length: head.length, sequence: head.sequence, chunk });
          this.believedEnds.set(file, start + at + head.length);
          this.expected = head.sequence + 1;
        },
        end: (used) => {
          chunk.position = start;
          chunk.length = used;
          arena.unpin(chunk);
          this.options.relieve?.();
          this.bytesRead += used;
          this.options.progress?.(this.bytesRead, this.bytesTotal);
        },
      };
    });
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
    return isWhole && (this.expected === limit || limit === Infinity) ? -1 : position;
  }

  /** Reads the batches from `next` up to `limit` in windows of memory; answers where it stopped. `isWhole` is false where a bad one did. */
  async scan({ file, size }: FoundFile, next: number, limit: number, begin: (bytes: Buffer, position: number) => WindowReader) {
    let position = fileHeadBytes;
    let wanted = chunkBytes;
    while (position < size && next < limit) {
      const bytes = await this.readBytes(file, position, Math.min(wanted, size - position));
      const reader = begin(bytes, position);
      let at = 0;
      let needed = 0;
      while (at < bytes.length && next < limit) {
        const length = at + batchHeadBytes > bytes.length ? batchHeadBytes : claimedLength(bytes, at);
        needed = length === 0 || length > batchBytesMax ? Infinity : at + length > bytes.length ? length : 0;
        if (needed > 0) break;
        const head = readBatch(bytes, at, length, file.head.salt);
        needed = head?.sequence === next ? 0 : Infinity;
        if (head === undefined || needed > 0) break;
        reader.take(at, head);
        next++;
        at += length;
      }
      reader.end(at);
      position += at;
      if (needed > size - position) return { position, next, isWhole: false };
      wanted = Math.max(chunkBytes, needed);
    }
    return { position, next, isWhole: true };
  }

  /** Copies what lies behind the last known sync to a new file and syncs it there. */
  private async rewriteTail(files: readonly FoundFile[], number: number): Promise<JournalFile> {
    const { disk, random, directory } = this.options;
    const first = this.tail[0]!;
    const path = `${directory}/${journalFileName(number)}`;
    const beginsWithCheckpoint = first.file.head.beginsWithCheckpoint && first.position === fileHeadBytes;
    const head: FileHead = { number, beginsWithCheckpoint, salt: random.below(2 ** 32) };
    const handle = await disk.open(`${path}.new`, 'create');
    const moved: { readonly chunk: Chunk; readonly position: number }[] = [];
    const copy = new JournalFile(path, head, handle);
    this.opened.push(copy);
    await write(handle, encodeFileHead(head), 0);
    for (const { file, position, length, chunk } of this.tail) {
      if (position === chunk.position) moved.push({ chunk, position: copy.end });
      const bytes = await this.readBytes(file, position, length);
      // What the disk gave a moment ago it need not give again.
      const batch = bytes.length === length ? readBatch(bytes, 0, length, file.head.salt) : undefined;
      if (batch === undefined) throw damaged(file.path, position);
      sealBatch(bytes, 0, length, batch, head.salt);
      await write(handle, bytes, copy.end);
      copy.end += length;
    }
    await sync(handle);
    await disk.rename(`${path}.new`, path);
    await disk.syncDirectory(directory);
    copy.isComplete = true;
    this.moveChunks(copy, moved);
    for (const { file, firstSequence } of files) if ((firstSequence ?? Infinity) >= first.sequence) file.isVoid = true;
    return copy;
  }

  /** What was copied is read back from the copy. Only the chunk in which the tail begins stands in two files: it stays in memory. */
  private moveChunks(copy: JournalFile, moved: readonly { readonly chunk: Chunk; readonly position: number }[]): void {
    const { arena } = this.options;
    const first = this.tail[0]!.chunk;
    if (moved[0]?.chunk !== first && arena.chunks[first.id] === first) {
      void first.bytes; // what is not in memory is read while it can be
      first.length = 0;
    }
    for (const { chunk, position } of moved) {
      if (arena.chunks[chunk.id] !== chunk) continue;
      (chunk.home as JournalFile).chunks--;
      copy.chunks++;
      chunk.home = copy;
      chunk.position = position;
    }
  }
}

/** Takes the batches of one window, by where they stand in it. */
export interface WindowReader {
  take(at: number, head: BatchHead): void;
  /** Of the window `used` bytes were batches that were taken. */
  end(used: number): void;
}

/** The sequence at which each file ends at the latest: what is written again in a younger file is void in the older ones. */
function limitsOf(files: readonly FoundFile[]): readonly number[] {
  const limits: number[] = [];
  let limit = Infinity;
  for (const { firstSequence } of files.toReversed()) {
    limits.unshift(limit);
    limit = Math.min(limit, firstSequence ?? Infinity);
  }
  return limits;
}

function damaged(path: string, position: number): CodedError {
  return new CodedError(
    'data-damaged',
    `${path} is damaged at byte ${position}: what stands there had been synced and is not readable any more. ` +
      `Restore the data folder from a copy, or move it away to start with an empty one`,
  );
}

function missing(path: string): CodedError {
  return new CodedError(
    'data-damaged',
    `${path} is missing although it is still needed. Put it back, or move the data folder away to start with an empty one`,
  );
}

/** The sentence for a folder that cannot be used, whatever the disk said. */
export function folderError(directory: string, error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  const code = error instanceof DiskError ? error.code : 'failed';
  if (code === 'locked') return new CodedError('data-folder-locked', reason, { cause: error });
  if (code === 'full') {
    return new CodedError('disk-full', `The disk of ${directory} is full: free some space and start again`, { cause: error });
  }
  return new CodedError('data-folder-unusable', `The data folder ${directory} cannot be used: ${reason}`, { cause: error });
}
