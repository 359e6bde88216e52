import { crc32, type Disk, type DiskFile } from '@dovecote/ground';

/**
 * One file of the journal: a head, then batches.
 *
 *   | "DOVECOTE" | version u32 | number u32 | first sequence f64 | crc u32 | batch | batch | …
 *
 * `first sequence` also limits the file before: batches there with this sequence or a later one are void, because they were
 * written again here. Version 1.
 */
export const fileHeadBytes = 28;
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
  ) {}

  private isClosed = false;

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

export function encodeFileHead(number: number, firstSequence: number): Buffer {
  const head = Buffer.alloc(fileHeadBytes);
  magic.copy(head);
  head.writeUInt32BE(version, 8);
  head.writeUInt32BE(number, 12);
  head.writeDoubleBE(firstSequence, 16);
  head.writeUInt32BE(crc32(head.subarray(0, 24)), 24);
  return head;
}

/** The first sequence of the file; undefined when the head is not whole, which is what a crash while it was created leaves. */
export function decodeFileHead(head: Buffer, number: number): number | 'newer-version' | undefined {
  if (head.length < fileHeadBytes || head.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (head.readUInt32BE(24) !== crc32(head.subarray(0, 24))) return undefined;
  if (head.readUInt32BE(8) > version) return 'newer-version';
  return head.readUInt32BE(12) === number ? head.readDoubleBE(16) : undefined;
}

/**
 * Makes an empty file to go on with; its head is written together with its first batch, because only then its first sequence is
 * known. The name survives the loss of power, so what is later synced in the file does too.
 */
export async function createJournalFile(disk: Disk, directory: string, number: number): Promise<JournalFile> {
  const path = `${directory}/${journalFileName(number)}`;
  const handle = await disk.open(path, 'create');
  await disk.syncDirectory(directory);
  return new JournalFile(path, number, handle);
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
