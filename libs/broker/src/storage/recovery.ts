import { type Disk, DiskError, type DiskFile } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena, Chunk } from './arena.js';
import { batchHeadBytes, batchMagic, type BatchHead, claimedLength, forEachRecord, readBatch } from './batch.js';
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
 * Batches are believed in the order of their sequence up to the first that is missing or torn. If a later batch proves that the
 * bad one had been synced, the disk has lost something that was promised: that is damage, and the broker must not open over it.
 *
 * What was written behind the last known sync may be in the page cache only, and after a failed sync Linux calls such pages
 * clean although they are not on the disk. So under `fsync` that tail is copied to a new file, and the copy is synced, before
 * anybody is served. A crash in the middle of that changes nothing: the copy gets its name when it is whole.
 */
export interface RecoveryOptions {
  readonly disk: Disk;
  readonly arena: Arena;
  readonly directory: string;
  readonly durability: JournalDurability;
  /** Takes every record, in the order in which it was decided. The bytes stay in the chunk as long as somebody holds it. */
  readonly replay: (chunk: Chunk, offset: number, length: number) => void;
  readonly progress?: (bytesRead: number, bytesTotal: number) => void;
}

interface Place {
  readonly file: JournalFile;
  readonly position: number;
  readonly length: number;
  readonly sequence: number;
}

const windowBytes = 1 << 20;
const batchBytesMax = 1 << 30;

export async function recover(options: RecoveryOptions): Promise<JournalStart> {
  return new Recovery(options).run();
}

class Recovery {
  private durable = 0;
  private oldestFile = 0;
  /** The sequence of the next batch. */
  private expected = 1;
  private bytesRead = 0;
  private bytesTotal = 0;
  /** Batches behind the last known sync. */
  private tail: Place[] = [];

  constructor(private readonly options: RecoveryOptions) {}

  async run(): Promise<JournalStart> {
    const { disk, directory, durability } = this.options;
    await disk.makeDirectory(directory);
    const found = await this.openFiles();
    const headless = await this.checkSeries(found);
    const whole = found.filter((entry) => entry.head !== undefined);
    for (let i = 0; i < whole.length; i++) {
      const isTorn = await this.replayFile(whole[i]!, whole[i + 1], whole.slice(i + 1));
      if (isTorn) await this.removeAll(found, whole.splice(i + 1));
    }
    if (headless.length > 0 && this.expected <= this.durable) throw damaged(headless[0]!.file.path, 0);
    await this.removeAll(found, headless);
    const kept = found.map(({ file }) => file);
    if (durability === 'fsync' && this.tail.length > 0) kept.push(await this.rewriteTail(whole, (kept.at(-1)?.number ?? 0) + 1));
    kept.push(await createJournalFile(disk, directory, (kept.at(-1)?.number ?? 0) + 1));
    const lastSequence = this.expected - 1;
    return { files: kept, lastSequence, durableSequence: durability === 'fsync' ? lastSequence : this.durable };
  }

  private async openFiles(): Promise<FoundFile[]> {
    const { disk, directory } = this.options;
    const found: FoundFile[] = [];
    for (const name of await disk.list(directory)) {
      if (name.endsWith('.log.new')) await disk.remove(`${directory}/${name}`);
      const number = journalFileNumber(name);
      if (number === undefined) continue;
      const path = `${directory}/${name}`;
      const handle = await disk.open(path, 'read');
      const size = await handle.size();
      const bytes = Buffer.alloc(fileHeadBytes);
      const head = decodeFileHead(bytes.subarray(0, await handle.read(bytes, 0)), number);
      if (head === 'newer-version') {
        throw new CodedError('data-folder-unusable', `${path} was written by a newer version of Dovecote: open it with that version`);
      }
      const file = new JournalFile(path, number, handle, head?.beginsWithCheckpoint ?? false);
      file.end = size;
      found.push({ file, size, head });
      this.bytesTotal += size;
    }
    return found;
  }

  /**
   * Removes what an interrupted trimming left at the front; what is missing is damage. Returns the files at the back that never
   * got a head. One without a head in the middle was written again in the next: the sequences will show that nothing is missing.
   */
  private async checkSeries(found: FoundFile[]): Promise<FoundFile[]> {
    const lastWhole = found.findLastIndex((entry) => entry.head !== undefined);
    const headless = found.slice(lastWhole + 1);
    for (const { file } of headless) await this.findProof(file, 0);
    const last = found[lastWhole];
    if (last === undefined) return headless;
    await this.findProof(last.file, fileHeadBytes);
    await this.removeAll(
      found,
      found.filter(({ file }) => file.number < this.oldestFile),
    );
    const oldest = this.oldestFile > 0 ? this.oldestFile : found[0]!.file.number;
    for (const [i, { file }] of found.entries()) {
      if (file.number !== oldest + i) throw missing(`${this.options.directory}/${journalFileName(oldest + i)}`);
    }
    const first = found.find((entry) => entry.head !== undefined);
    this.expected = first?.head?.firstSequence ?? 1;
    if (found[0]?.head === undefined && this.expected !== 1) throw damaged(found[0]!.file.path, 0);
    return headless;
  }

  private async removeAll(found: FoundFile[], unneeded: readonly FoundFile[]): Promise<void> {
    for (const entry of unneeded) {
      await this.remove(entry.file);
      found.splice(found.indexOf(entry), 1);
    }
  }

  private async remove(file: JournalFile): Promise<void> {
    await file.close();
    await this.options.disk.remove(file.path);
  }

  /**
   * Looks at every whole batch from `position` on, wherever one begins, for what it proves about synced sequences and needed
   * files.
   */
  private async findProof(file: JournalFile, position: number): Promise<void> {
    const size = await file.handle.size();
    const bytes = Buffer.allocUnsafeSlow(Math.max(size - position, 0));
    await file.handle.read(bytes, position);
    const mark = Buffer.alloc(4);
    mark.writeUInt32BE(batchMagic);
    for (let at = bytes.indexOf(mark); at >= 0 && at + batchHeadBytes <= bytes.length;) {
      const length = claimedLength(bytes, at);
      const head = length > 0 && at + length <= bytes.length ? readBatch(bytes, at, length) : undefined;
      if (head !== undefined) this.note(head);
      at = bytes.indexOf(mark, head === undefined ? at + 1 : at + length);
    }
  }

  private note(head: BatchHead): void {
    if (head.durable > this.durable) this.durable = head.durable;
    if (head.oldestFile > this.oldestFile) this.oldestFile = head.oldestFile;
  }

  /** True when the file ends in a torn tail, behind which nothing is believed. */
  private async replayFile({ file, size }: FoundFile, next: FoundFile | undefined, later: readonly FoundFile[]): Promise<boolean> {
    const limit = next?.head?.firstSequence ?? Infinity;
    let position = fileHeadBytes;
    let wanted = windowBytes;
    while (position < size && this.expected < limit) {
      const bytes = Buffer.allocUnsafeSlow(Math.min(wanted, size - position));
      const got = await file.handle.read(bytes, position);
      const used = this.replayWindow(file, bytes.subarray(0, got), position, limit);
      this.bytesRead += used.bytes;
      this.options.progress?.(this.bytesRead, this.bytesTotal);
      position += used.bytes;
      if (used.outcome === 'void') break;
      if (used.outcome === 'need-more' && used.wanted <= size - position) wanted = Math.max(windowBytes, used.wanted);
      else if (used.outcome === 'need-more' || used.outcome === 'bad') return this.judgeTear(file, position, limit, later);
      else wanted = windowBytes;
    }
    if (next !== undefined && limit !== this.expected) return this.judgeTear(file, position, limit, later);
    file.lastSequence = this.expected - 1;
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
    return false;
  }

  private async judgeTear(file: JournalFile, position: number, limit: number, later: readonly FoundFile[]): Promise<boolean> {
    if (limit === this.expected) return false;
    await this.findProof(file, position);
    for (const entry of later) await this.findProof(entry.file, fileHeadBytes);
    if (this.expected <= this.durable) throw damaged(file.path, position);
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
    return true;
  }

  private replayWindow(file: JournalFile, bytes: Buffer, position: number, limit: number): WindowUse {
    const { arena, replay } = this.options;
    file.chunks++;
    const chunk = arena.adopt(bytes, true, () => file.dropChunk());
    let at = 0;
    const done = (outcome: WindowUse['outcome'], wanted = 0): WindowUse => {
      arena.unpin(chunk);
      return { bytes: at, outcome, wanted };
    };
    while (at < bytes.length) {
      if (at + batchHeadBytes > bytes.length) return done('need-more', batchHeadBytes);
      const length = claimedLength(bytes, at);
      if (length === 0 || length > batchBytesMax) return done('bad');
      if (at + length > bytes.length) return done('need-more', length);
      const head = readBatch(bytes, at, length);
      if (head === undefined || head.sequence !== this.expected) return done('bad');
      if (this.expected >= limit) return done('void');
      this.note(head);
      forEachRecord(bytes, at, length, (offset, recordLength) => replay(chunk, offset, recordLength));
      this.tail.push({ file, position: position + at, length, sequence: this.expected });
      this.expected++;
      at += length;
    }
    return done('all');
  }

  /** Copies what lies behind the last known sync to a new file and syncs it there. */
  private async rewriteTail(whole: readonly FoundFile[], number: number): Promise<JournalFile> {
    const { disk, directory } = this.options;
    const first = this.tail[0]!;
    const beginsWithCheckpoint = first.file.beginsWithCheckpoint && first.position === fileHeadBytes;
    const path = `${directory}/${journalFileName(number)}`;
    const handle = await disk.open(`${path}.new`, 'create');
    await write(handle, encodeFileHead(number, first.sequence, beginsWithCheckpoint), 0);
    let end = fileHeadBytes;
    for (const { file, position, length } of this.tail) {
      const bytes = Buffer.allocUnsafeSlow(length);
      await file.handle.read(bytes, position);
      await write(handle, bytes, end);
      end += length;
    }
    await sync(handle);
    await disk.rename(`${path}.new`, path);
    await disk.syncDirectory(directory);
    const file = new JournalFile(path, number, handle, beginsWithCheckpoint);
    file.end = end;
    file.lastSequence = this.expected - 1;
    for (const entry of whole) if (entry.head!.firstSequence >= first.sequence) entry.file.leaveTo(file);
    return file;
  }
}

interface FoundFile {
  readonly file: JournalFile;
  readonly size: number;
  readonly head: FileHead | undefined;
}

interface WindowUse {
  readonly bytes: number;
  /** `void`: the batches from here on were written again in the next file. */
  readonly outcome: 'all' | 'need-more' | 'bad' | 'void';
  /** How long the next window must be, where more is needed. */
  readonly wanted: number;
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
  if (!(error instanceof DiskError))
    return new CodedError('data-folder-unusable', `The data folder ${directory} cannot be used: ${reason}`, { cause: error });
  if (error.code === 'locked') return new CodedError('data-folder-locked', reason, { cause: error });
  if (error.code === 'full')
    return new CodedError('disk-full', `The disk of ${directory} is full: free some space and start again`, { cause: error });
  return new CodedError(
    'data-folder-unusable',
    `The data folder ${directory} cannot be used: ${reason}. Choose another folder, or give this account the right to write there`,
    { cause: error },
  );
}
