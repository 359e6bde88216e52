import { type Clock, type Disk, DiskError, type Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena, Chunk } from './arena.js';
import { batchHeadBytes, recordHeadBytes, sealBatch } from './batch.js';
import { createJournalFile, type JournalFile, journalFileName, sync } from './journal-file.js';

/** `memory` has no journal at all. */
export type JournalDurability = 'os' | 'fsync';

/**
 * The one append-only journal of a broker: what is decided is written here, in the order in which it was decided.
 *
 * Records are appended to memory and go to the file together: one write (and under `fsync` one fdatasync) is under way at a
 * time, and what is appended meanwhile makes up the next commit. So a commit costs the same for one record and for ten
 * thousand, and the batch grows by itself as the disk gets slower. No timer is involved.
 *
 * After a crash everything up to some commit is there and nothing behind it: a batch is believed as a whole or not at all.
 * Under `os` what was committed survives the end of the process; under `fsync` also the loss of power.
 *
 * A failed sync ends the journal (`failed`), because nothing that is read back afterwards proves what is on the disk. A full
 * disk does not: the write is repeated every second, `full` says so, and nothing is committed meanwhile.
 *
 * It knows no message, queue or topic. One owner opens and closes it; several members append to it, none of which knows the others, and share its
 * order and its commits.
 */
export interface JournalMember {
  /** Somebody waits for what this member holds back: the end of a commit begins the next. */
  readonly isWaiting: boolean;
  /** A commit begins: append what was held back. What is appended by the end of this call belongs to it. */
  sealing(): void;
  /** The call of `sealing` is over: what is appended from now on belongs to the next commit. */
  sealed(): void;
  /** What the last `sealed` closed is as durable as was asked for. May append, and leaves it to the journal to begin the next commit. */
  committed(): void;
  full(reason: string | undefined): void;
  /** It ended by itself: nothing is committed any more. */
  failed(error: CodedError): void;
}

/** The member that the journal is started with: what is defined is its own. */
export interface JournalOwner extends JournalMember {
  /** A new file begins: append records from which everything that is defined now can be made again. */
  checkpoint(): void;
}

export interface JournalOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly arena: Arena;
  readonly directory: string;
  readonly durability: JournalDurability;
  /** A file is closed and the next one begun when it is longer than this. */
  readonly fileBytesMax: number;
}

/** What recovery hands over: the files as they are needed now, and a new one to write to. */
export interface JournalStart {
  /** Oldest first; the last one is new and empty. */
  readonly files: JournalFile[];
  /** Files that are older than the oldest in `files`. */
  readonly unneeded: readonly JournalFile[];
  readonly lastSequence: number;
  /** The last sequence known to be synced. */
  readonly durableSequence: number;
}

interface Commit {
  readonly file: JournalFile;
  readonly chunks: readonly Chunk[];
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  readonly lastSequence: number;
}

const fullDiskRetryMs = 1000;

export class Journal {
  /** The chunk in which `reserve` made room last. */
  chunk: Chunk;
  /** Bytes appended and not committed: the measure for holding publishers back. */
  uncommittedBytes = 0;
  /** Bytes of the last checkpoint: each file has one. */
  checkpointBytes = 0;

  private cursor = 0;
  /** Where the next batch will stand in the file. */
  private filePosition: number;
  /** Where the open batch begins in `chunk`, or -1 when none is open. */
  private batchStart = -1;
  private sealedChunks: Chunk[] = [];
  private sealedParts: Uint8Array[] = [];
  private isWriting = false;
  private isFull = false;
  private state: 'open' | 'closing' | 'ended' = 'open';
  private owner: JournalOwner | undefined;
  private members: readonly JournalMember[] = [];
  private commitEnded: (() => void) | undefined;
  private sequence: number;
  private committedSequence: number;
  private durableSequence: number;
  /** What the batches say: the oldest file that is needed and the last sequence that was synced, as the last seal found them. */
  private oldestFile: number;
  private saidDurable: number;
  /** Files that are needed, oldest first; the last one is being written. */
  private readonly files: JournalFile[];
  private nextFile: JournalFile | undefined;
  private isCreatingFile = false;
  /** Files nobody needs, to be removed once a commit has said so. */
  private condemned: { readonly file: JournalFile; readonly after: number }[] = [];
  /** Work on old files that is under way, one thing after the other. */
  private housekeeping: Promise<void> = Promise.resolve();
  private failure: CodedError | undefined;

  constructor(
    private readonly options: JournalOptions,
    start: JournalStart,
  ) {
    this.files = start.files;
    this.sequence = start.lastSequence;
    this.committedSequence = start.lastSequence;
    this.durableSequence = start.durableSequence;
    this.saidDurable = start.durableSequence;
    this.oldestFile = start.files[0]!.number;
    for (const file of start.unneeded) this.condemned.push({ file, after: Infinity });
    for (const file of this.files) file.released = () => this.condemnDeadFiles();
    this.filePosition = this.activeFile.end;
    this.chunk = this.openChunk(0);
  }

  /** Starts to take records: the first ones are a checkpoint. */
  start(owner: JournalOwner): void {
    this.owner = owner;
    this.members = [owner];
    this.appendCheckpoint();
    this.condemnDeadFiles();
  }

  /** Somebody else appends too, from now on until `leave`. A commit that is under way is none of its own. */
  join(member: JournalMember): void {
    this.members = [...this.members, member];
  }

  leave(member: JournalMember): void {
    this.members = this.members.filter((each) => each !== member);
  }

  /** Something was appended that no commit has taken yet. */
  get hasPending(): boolean {
    return this.batchStart >= 0 || this.sealedParts.length > 0;
  }

  /** Makes room for a record of `length` bytes and returns where in `chunk.bytes` it begins; fill it before anything else is called. */
  reserve(length: number): number {
    const needed = recordHeadBytes + length;
    if (this.batchStart < 0 || this.cursor + needed > this.chunk.capacity) this.openBatch(needed);
    const bytes = this.chunk.bytes;
    const at = this.cursor;
    bytes[at] = length >>> 24;
    bytes[at + 1] = length >>> 16;
    bytes[at + 2] = length >>> 8;
    bytes[at + 3] = length;
    this.cursor = at + needed;
    this.uncommittedBytes += needed;
    return at + recordHeadBytes;
  }

  /** What is appended from now on stands in batches of its own. Returns where the first of them will stand in `activeFile`. */
  beginBatch(): number {
    this.closeBatch();
    return this.filePosition;
  }

  /** Nobody has asked it to close, and it did not fail. */
  get isOpen(): boolean {
    return this.state === 'open';
  }

  /** Bytes of the files that are needed. */
  get bytesOnDisk(): number {
    return this.files.reduce((total, { end }) => total + end, 0);
  }

  get fileCount(): number {
    return this.files.length;
  }

  /** The oldest files, which could all go if no chunk stood in them any more; none while no file can. */
  get filesToEmpty(): readonly JournalFile[] {
    const next = this.files.findIndex((file, index) => index > 0 && file.canBeOldest);
    const oldest = next < 0 ? [] : this.files.slice(0, next);
    return this.state === 'open' && oldest.every(({ isComplete }) => isComplete) ? oldest : [];
  }

  /** Begins a commit of everything appended so far, unless one is under way: then its end begins the next. */
  seal(): void {
    if (this.isWriting || this.state === 'ended') return;
    for (const member of this.members) member.sealing();
    if (!this.hasPending) return;
    // Only the last batch of a commit says which files may go: it is believed only if the whole commit is there. And what it says
    // of synced sequences is true of the files that it needs, not of the ones that nobody synced because they die.
    this.oldestFile = this.files[0]!.number;
    this.saidDurable = this.durableSequence;
    if (this.batchStart < 0) this.openBatch(0); // it may have been closed early, and then it did not say this
    this.closeBatch();
    if (this.condemned.length > 0)
      this.condemned = this.condemned.map(({ file, after }) => ({ file, after: Math.min(after, this.sequence) }));
    const file = this.activeFile;
    const parts = this.sealedParts;
    const commit = { file, chunks: this.sealedChunks, parts, bytes: this.uncommittedBytes, lastSequence: this.sequence };
    this.sealedChunks = [];
    this.sealedParts = [];
    this.isWriting = true;
    for (const member of this.members) member.sealed();
    this.write(commit);
    this.rollIfLong();
  }

  /** Commits and syncs what is left and lets the files go. Nothing may be appended any more. Rejects when that fails. */
  async close(): Promise<void> {
    if (this.state === 'open') {
      this.state = 'closing';
      for (this.seal(); this.isWriting && this.isUsable; this.seal()) await new Promise<void>((resolve) => (this.commitEnded = resolve));
      if (this.options.durability === 'os') this.inBackground('Syncing the journal failed', () => this.syncFiles());
    }
    await this.abandon();
    if (this.failure !== undefined) throw this.failure;
  }

  /** Lets the files go as they are. */
  async abandon(): Promise<void> {
    if (this.state === 'open') this.state = 'ended';
    await this.housekeeping;
    this.state = 'ended';
    this.commitEnded?.();
    const open = [...this.files, ...this.condemned.map(({ file }) => file), ...(this.nextFile === undefined ? [] : [this.nextFile])];
    for (const file of open) await file.close();
  }

  private get isUsable(): boolean {
    return this.state !== 'ended';
  }

  /** The file that the next commit goes to. */
  get activeFile(): JournalFile {
    return this.files.at(-1)!;
  }

  private openBatch(recordBytes: number): void {
    const needed = batchHeadBytes + recordBytes;
    this.closeBatch();
    if (this.cursor + needed > this.chunk.capacity) {
      this.options.arena.unpin(this.chunk);
      this.chunk = this.openChunk(needed);
    }
    this.batchStart = this.cursor;
    this.cursor += batchHeadBytes;
    this.uncommittedBytes += batchHeadBytes;
  }

  private openChunk(bytes: number): Chunk {
    const file = this.activeFile;
    file.chunks++;
    this.cursor = 0;
    return this.options.arena.open(bytes, true, file);
  }

  private closeBatch(): void {
    if (this.batchStart < 0) return;
    const { chunk, batchStart, cursor } = this;
    const head = { oldestFile: this.oldestFile, sequence: ++this.sequence, durable: this.saidDurable };
    sealBatch(chunk.bytes, batchStart, cursor, head, this.activeFile.head.salt);
    // The batches of a chunk follow one another in the file as they do here.
    if (batchStart === 0) chunk.position = this.filePosition;
    chunk.length = cursor;
    this.filePosition += cursor - batchStart;
    chunk.pins++;
    this.sealedChunks.push(chunk);
    this.sealedParts.push(chunk.bytes.subarray(batchStart, cursor));
    this.batchStart = -1;
  }

  private write(commit: Commit): void {
    const { file } = commit;
    file.handle.write(commit.parts, file.end, (error) => {
      if (!this.isUsable) return;
      if (error?.code === 'full' && this.state === 'open') return this.waitForSpace(commit, error);
      if (error) return this.fail(`Writing to ${file.path} failed`, error);
      for (const part of commit.parts) file.end += part.length;
      if (this.options.durability === 'os') return this.finish(commit);
      file.handle.sync((syncError) => {
        if (!this.isUsable) return;
        if (syncError) return this.fail(`Syncing ${file.path} failed`, syncError);
        this.durableSequence = commit.lastSequence;
        this.finish(commit);
      });
    });
  }

  private waitForSpace(commit: Commit, error: DiskError): void {
    this.isFull = true;
    for (const member of this.members) member.full(error.message);
    this.options.clock.after(fullDiskRetryMs, () => {
      if (this.isUsable) this.write(commit);
    });
  }

  private finish(commit: Commit): void {
    this.isWriting = false;
    this.committedSequence = commit.lastSequence;
    this.uncommittedBytes -= commit.bytes;
    if (this.isFull) {
      this.isFull = false;
      for (const member of this.members) member.full(undefined);
    }
    for (const chunk of commit.chunks) this.options.arena.unpin(chunk);
    if (commit.file !== this.activeFile) this.retire(commit.file); // before anybody can seal again
    this.removeCondemned();
    for (const member of this.members) member.committed();
    if (this.hasPending || this.members.some(({ isWaiting }) => isWaiting)) this.seal();
    this.commitEnded?.();
  }

  /** Called right behind a seal: the commit under way goes to the old file, everything later to the new one. */
  private rollIfLong(): void {
    if (this.state !== 'open') return; // the last words are the last record
    const length = this.activeFile.end + this.uncommittedBytes;
    if (length < this.options.fileBytesMax / 2) return;
    this.prepareNextFile();
    if (length < this.options.fileBytesMax || this.nextFile === undefined) return;
    this.nextFile.released = () => this.condemnDeadFiles();
    this.files.push(this.nextFile);
    this.nextFile = undefined;
    this.filePosition = this.activeFile.end;
    this.options.arena.unpin(this.chunk);
    this.chunk = this.openChunk(0);
    this.appendCheckpoint();
  }

  private appendCheckpoint(): void {
    const before = this.uncommittedBytes;
    this.owner?.checkpoint();
    this.checkpointBytes = this.uncommittedBytes - before;
  }

  private prepareNextFile(): void {
    if (this.nextFile !== undefined || this.isCreatingFile || this.state !== 'open') return;
    this.isCreatingFile = true;
    const { disk, random, directory, durability } = this.options;
    const number = this.activeFile.number + 1;
    this.inBackground(`Creating ${directory}/${journalFileName(number)} failed`, async () => {
      try {
        this.nextFile = await createJournalFile({ disk, directory, random, isSynced: durability === 'fsync' }, number);
      } catch (error) {
        // A full disk: the old file goes on growing as far as it can, and a later commit tries again.
        if (!(error instanceof DiskError && error.code === 'full')) throw error;
      } finally {
        this.isCreatingFile = false;
      }
    });
  }

  /** Nothing is written to `file` any more. Under `os` this is the moment at which it is synced. */
  private retire(file: JournalFile): void {
    file.isComplete = true;
    if (this.options.durability === 'fsync') file.isSynced = true;
    this.inBackground(`Syncing ${file.path} failed`, () => (file.isSynced ? file.close() : this.syncFiles()));
  }

  /** Everything that is committed by now is on the disk, in every file that is needed. Only `os` asks for this. */
  private async syncFiles(): Promise<void> {
    const sequence = this.committedSequence;
    for (const file of [...this.files]) {
      if (file.isSynced) continue;
      const isComplete = file.isComplete;
      await sync(file.handle);
      if (!isComplete) continue;
      file.isSynced = true;
      await file.close();
    }
    this.durableSequence = Math.max(this.durableSequence, sequence);
  }

  /**
   * Files die from the oldest on, because a younger one may hold the acknowledgements of an older one's messages; and only up to
   * one that begins with a checkpoint, because that is where the next recovery begins.
   */
  private condemnDeadFiles(): void {
    while (this.isUsable) {
      const next = this.files.findIndex((file, index) => index > 0 && file.canBeOldest);
      if (next < 0 || this.files.slice(0, next).some(({ isNeeded }) => isNeeded)) return;
      for (const file of this.files.splice(0, next)) this.condemned.push({ file, after: Infinity });
    }
  }

  /**
   * Every commit names the oldest file that is needed: only when that is on the disk may the files before it go. Under `os` they
   * stay until it is, or the loss of power could leave the files without the word that they are not needed.
   */
  private removeCondemned(): void {
    const dead = this.condemned.filter(({ after }) => after <= this.committedSequence);
    if (dead.length === 0) return;
    this.condemned = this.condemned.filter(({ after }) => after > this.committedSequence);
    this.inBackground(`Removing ${dead[0]!.file.path} failed`, async () => {
      if (this.options.durability === 'os') await this.syncFiles();
      for (const { file } of dead) {
        await file.close();
        await this.options.disk.remove(file.path);
      }
    });
  }

  private inBackground(what: string, work: () => Promise<void>): void {
    this.housekeeping = this.housekeeping.then(async () => {
      if (!this.isUsable) return;
      await work().catch((error: unknown) => this.fail(what, error));
    });
  }

  private fail(what: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const advice = 'What was not confirmed by then may be lost. Check the disk, then start the broker again';
    this.end(new CodedError('storage-failed', `${what}: ${reason}. ${advice}`, { cause: error }));
  }

  /** Writes nothing any more, for this reason. */
  end(failure: CodedError): void {
    if (this.failure !== undefined || this.state === 'ended') return;
    this.state = 'ended';
    this.failure = failure;
    this.commitEnded?.();
    for (const member of this.members) member.failed(failure);
  }
}
