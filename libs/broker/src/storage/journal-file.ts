import { crc32, type Disk, type DiskFile } from '@dovecote/ground';

/**
 * One file of the journal: a head, then batches.
 *
 *   | "DOVECOTE" | version u32 | number u32 | first sequence f64 | flags u32 | crc u32 | batch | batch | …
 *
 * `first sequence` also limits the file before: batches there with this sequence or a later one are void, because they were
 * written again here. Flag 1: the first batch is a checkpoint, so the files before are needed only for their messages; without it
 * they are also needed to understand this one. Version 1.
 */
export const fileHeadBytes = 32;
const checkpointFlag = 1;
const magic = Buffer.from('DOVECOTE', 'latin1');
const version = 1;

export class JournalFile {
  /** Where the next batch goes; 0 while even the head is missing. */
  end = 0;
  /** Chunks of memory that hold messages of this file. The file is dead when it is sealed and this is 0. */
  chunks = 0;
  /** The last sequence written to it, for the day it is synced as a whole. */
  lastSequence = 0;
  /** Set by the journal: a chunk of this file was let go. */
  released: (() => void) | undefined;

  constructor(
    readonly path: string,
    readonly number: number,
    readonly handle: DiskFile,
    readonly beginsWithCheckpoint: boolean,
  ) {}

  /** A chunk of memory that stood for this file was let go. */
  dropChunk(): void {
    if (this.heir !== undefined) return this.heir.dropChunk();
    this.chunks--;
    this.released?.();
  }

  /** Everything in this file was written again in `heir`: what keeps it from being removed keeps that one. */
  leaveTo(heir: JournalFile): void {
    this.heir = heir;
    heir.chunks += this.chunks;
    this.chunks = 0;
  }

  private isClosed = false;
  private heir: JournalFile | undefined;

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.handle.close();
  }
}

export function journalFileName(number: number): string {
  return `${String(number).padStart(16, '0')}.log`;
}

/** The number in a file's name, or undefined for a file that is not ours. */
export function journalFileNumber(name: string): number | undefined {
  return /^\d{16}\.log$/.test(name) ? Number(name.slice(0, 16)) : undefined;
}

export function encodeFileHead(number: number, firstSequence: number, beginsWithCheckpoint: boolean): Buffer {
  const head = Buffer.alloc(fileHeadBytes);
  magic.copy(head);
  head.writeUInt32BE(version, 8);
  head.writeUInt32BE(number, 12);
  head.writeDoubleBE(firstSequence, 16);
  head.writeUInt32BE(beginsWithCheckpoint ? checkpointFlag : 0, 24);
  head.writeUInt32BE(crc32(head.subarray(0, 28)), 28);
  return head;
}

export interface FileHead {
  readonly firstSequence: number;
  readonly beginsWithCheckpoint: boolean;
}

/** The head of a file; undefined when it is not whole, which is what a crash before its first commit leaves. */
export function decodeFileHead(head: Buffer, number: number): FileHead | 'newer-version' | undefined {
  if (head.length < fileHeadBytes || head.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (head.readUInt32BE(28) !== crc32(head.subarray(0, 28))) return undefined;
  if (head.readUInt32BE(8) > version) return 'newer-version';
  if (head.readUInt32BE(12) !== number) return undefined;
  return { firstSequence: head.readDoubleBE(16), beginsWithCheckpoint: (head.readUInt32BE(24) & checkpointFlag) !== 0 };
}

/**
 * Makes an empty file to go on with, whose first batch will be a checkpoint; its head is written together with its first batch, because only then its first sequence is
 * known. The name survives the loss of power, so what is later synced in the file does too.
 */
export async function createJournalFile(disk: Disk, directory: string, number: number): Promise<JournalFile> {
  const path = `${directory}/${journalFileName(number)}`;
  const handle = await disk.open(path, 'create');
  await disk.syncDirectory(directory);
  return new JournalFile(path, number, handle, true);
}

export function write(file: DiskFile, bytes: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write([bytes], position, (error) => (error ? reject(error) : resolve()));
  });
}

export function sync(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => {
    file.sync((error) => (error ? reject(error) : resolve()));
  });
}
