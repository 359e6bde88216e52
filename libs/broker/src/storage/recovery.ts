import { type Disk, DiskError, type DiskFile } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena, Chunk } from './arena.js';
import { batchHeadBytes, batchMagic, type BatchHead, claimedLength, forEachRecord, readBatch } from './batch.js';
import type { JournalDurability, JournalStart } from './journal.js';
import {
  createJournalFile,
  decodeFileHead,
  encodeFileHead,
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
  private expected = 0;
  private bytesRead = 0;
  private bytesTotal = 0;
  /** Batches behind the last known sync. */
  private tail: Place[] = [];

  constructor(private readonly options: RecoveryOptions) {}

  async run(): Promise<JournalStart> {
    const { disk, directory, durability } = this.options;
    await disk.makeDirectory(directory);
    const found = await this.openFiles();
    const files = await this.dropUnneeded(found);
    for (let i = 0; i < files.length; i++) {
      const isTorn = await this.replayFile(files[i]!, files[i + 1]);
      if (!isTorn) continue;
      for (const file of files.splice(i + 1)) await this.remove(file.file);
    }
    const lastSequence = Math.max(this.expected - 1, 0);
    const kept = files.map(({ file }) => file);
    let number = kept.at(-1)?.number ?? 0;
    if (durability === 'fsync' && this.tail.length > 0) kept.push(await this.rewriteTail(++number));
    kept.push(await createJournalFile(disk, directory, number + 1));
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
      const head = Buffer.alloc(fileHeadBytes);
      const headBytes = await handle.read(head, 0);
      const firstSequence = decodeFileHead(head.subarray(0, headBytes), number);
      if (firstSequence === 'newer-version') {
        throw new CodedError('data-folder-unusable', `${path} was written by a newer version of Dovecote: open it with that version`);
      }
      const file = new JournalFile(path, number, handle);
      file.end = size;
      found.push({ file, size, firstSequence });
      this.bytesTotal += size;
    }
    return found;
  }

  /** Removes what an interrupted trimming left at the front and what never got a head at the back; what is missing is damage. */
  private async dropUnneeded(found: readonly FoundFile[]): Promise<FoundFile[]> {
    const files = [...found];
    while (files.length > 0 && files.at(-1)!.firstSequence === undefined) {
      const last = files.pop()!;
      if ((await this.findProof(last.file, 0)) > 0) throw damaged(last.file.path, 0);
      await this.remove(last.file);
    }
    const last = files.at(-1);
    if (last === undefined) return files;
    await this.findProof(last.file, fileHeadBytes);
    while (files.length > 0 && files[0]!.file.number < this.oldestFile) await this.remove(files.shift()!.file);
    for (const [i, { file, firstSequence }] of files.entries()) {
      if (firstSequence === undefined) throw damaged(file.path, 0);
      const number = i === 0 && this.oldestFile > 0 ? this.oldestFile : files[0]!.file.number + i;
      if (file.number !== number) throw missing(`${this.options.directory}/${journalFileName(number)}`);
    }
    this.expected = files[0]!.firstSequence ?? 0;
    return files;
  }

  private async remove(file: JournalFile): Promise<void> {
    await file.close();
    await this.options.disk.remove(file.path);
  }

  /**
   * Looks at every whole batch from `position` on, wherever one begins, for what it proves about synced sequences and needed
   * files. Returns how many it met.
   */
  private async findProof(file: JournalFile, position: number): Promise<number> {
    const size = await file.handle.size();
    const bytes = Buffer.allocUnsafeSlow(Math.max(size - position, 0));
    await file.handle.read(bytes, position);
    const mark = Buffer.alloc(4);
    mark.writeUInt32BE(batchMagic);
    let met = 0;
    for (let at = bytes.indexOf(mark); at >= 0 && at + batchHeadBytes <= bytes.length; ) {
      const length = claimedLength(bytes, at);
      const head = length > 0 && at + length <= bytes.length ? readBatch(bytes, at, length) : undefined;
      if (head !== undefined) {
        met++;
        this.note(head);
      }
      at = bytes.indexOf(mark, head === undefined ? at + 1 : at + length);
    }
    return met;
  }

  private note(head: BatchHead): void {
    if (head.durable > this.durable) this.durable = head.durable;
    if (head.oldestFile > this.oldestFile) this.oldestFile = head.oldestFile;
  }

  /** True when the file ends in a torn tail, behind which nothing is believed. */
  private async replayFile({ file, size }: FoundFile, next: FoundFile | undefined): Promise<boolean> {
    const limit = next?.firstSequence ?? Infinity;
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
      else if (used.outcome === 'need-more' || used.outcome === 'bad') return this.judgeTear(file, position, next);
      else wanted = windowBytes;
    }
    if (next !== undefined && next.firstSequence !== this.expected) return this.judgeTear(file, position, next);
    file.lastSequence = this.expected - 1;
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
    return false;
  }

  private async judgeTear(file: JournalFile, position: number, next: FoundFile | undefined): Promise<boolean> {
    if (next?.firstSequence === this.expected) return false;
    await this.findProof(file, position);
    if (this.expected <= this.durable) throw damaged(file.path, position);
    this.tail = this.tail.filter((place) => place.sequence > this.durable);
    return true;
  }

  private replayWindow(file: JournalFile, bytes: Buffer, position: number, limit: number): WindowUse {
    const { arena, replay } = this.options;
    file.chunks++;
    const chunk = arena.adopt(bytes, true, () => {
      file.chunks--;
      file.released?.();
    });
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
  private async rewriteTail(number: number): Promise<JournalFile> {
    const { disk, directory } = this.options;
    const path = `${directory}/${journalFileName(number)}`;
    const handle = await disk.open(`${path}.new`, 'create');
    await write(handle, encodeFileHead(number, this.tail[0]!.sequence), 0);
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
    const file = new JournalFile(path, number, handle);
    file.end = end;
    file.lastSequence = this.expected - 1;
    return file;
  }
}

interface FoundFile {
  readonly file: JournalFile;
  readonly size: number;
  readonly firstSequence: number | undefined;
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
  if (!(error instanceof DiskError)) return new CodedError('data-folder-unusable', `The data folder ${directory} cannot be used: ${reason}`, { cause: error });
  if (error.code === 'locked') return new CodedError('data-folder-locked', reason, { cause: error });
  if (error.code === 'full') return new CodedError('disk-full', `The disk of ${directory} is full: free some space and start again`, { cause: error });
  return new CodedError(
    'data-folder-unusable',
    `The data folder ${directory} cannot be used: ${reason}. Choose another folder, or give this account the right to write there`,
    { cause: error },
  );
}
