import { crc32, type Disk, type DiskFile, type Random } from '@dovecote/ground';
import type { Chunk, ChunkHome } from './arena.js';
import { areBatchesWhole } from './batch.js';

/**
 * One file of the journal: a head, then batches.
 *
 *   | "DOVECOTE" | version u32 | number u32 | flags u32 | salt u32 | crc u32 | batch | batch | …
 *
 * The head and the name are synced before anything else is written, so a file without a head is one whose creation was cut short.
 * `salt` is drawn for each file; the sums of its batches begin with it. Flag 1: the first batch is a checkpoint, so the files
 * before are needed only for their messages; without it they are also needed to understand this one. Version 1.
 */
export const fileHeadBytes = 28;
const checkpointFlag = 1;
const magic = Buffer.from('DOVECOTE', 'latin1');
const version = 1;

export interface FileHead {
  readonly number: number;
  readonly beginsWithCheckpoint: boolean;
  readonly salt: number;
}

export class JournalFile implements ChunkHome {
  /** Where the next batch goes. */
  end = fileHeadBytes;
  /** Chunks that hold messages of this file, in memory or not. While there are some, neither it nor a younger file may go. */
  chunks = 0;
  /** Its batches were written again in a younger file: nothing in here is read any more. */
  isVoid = false;
  /** Nothing is going to be written to it, and nothing is under way. */
  isComplete = false;
  /** It is complete and on the disk as a whole. */
  isSynced = false;
  /** Set by the journal: a chunk of this file was let go, or a holder has gone. */
  released: (() => void) | undefined;
  /** Those who have something in it that stands nowhere else yet, and not as a chunk. */
  private holders = 0;
  private isClosed = false;

  constructor(
    readonly path: string,
    readonly head: FileHead,
    readonly handle: DiskFile,
  ) {}

  get file(): this {
    return this;
  }

  get number(): number {
    return this.head.number;
  }

  /** Whether everything that is defined can be made again from this file on, without the ones before it. */
  get canBeOldest(): boolean {
    return this.head.beginsWithCheckpoint && !this.isVoid;
  }

  get isNeeded(): boolean {
    return this.chunks > 0 || this.holders > 0;
  }

  /** It stays until `letGo`. */
  hold(): void {
    this.holders++;
  }

  letGo(): void {
    this.holders--;
    this.released?.();
  }

  isIntact({ length }: Chunk, bytes: Buffer): boolean {
    return areBatchesWhole(bytes, length, this.head.salt);
  }

  dropChunk(): void {
    this.chunks--;
    this.released?.();
  }

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

export function encodeFileHead({ number, beginsWithCheckpoint, salt }: FileHead): Buffer {
  const bytes = Buffer.alloc(fileHeadBytes);
  magic.copy(bytes);
  bytes.writeUInt32BE(version, 8);
  bytes.writeUInt32BE(number, 12);
  bytes.writeUInt32BE(beginsWithCheckpoint ? checkpointFlag : 0, 16);
  bytes.writeUInt32BE(salt, 20);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 24)), 24);
  return bytes;
}

/** undefined when the head is not whole. */
export function decodeFileHead(bytes: Buffer, number: number): FileHead | 'newer-version' | undefined {
  if (bytes.length < fileHeadBytes || bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (bytes.readUInt32BE(24) !== crc32(bytes.subarray(0, 24))) return undefined;
  if (bytes.readUInt32BE(8) > version) return 'newer-version';
  if (bytes.readUInt32BE(12) !== number) return undefined;
  return { number, beginsWithCheckpoint: (bytes.readUInt32BE(16) & checkpointFlag) !== 0, salt: bytes.readUInt32BE(20) };
}

/** Makes a file with nothing but a head, which survives the loss of power as its name does. Its first batch will be a checkpoint. `isSynced`: so will every commit. */
export async function createJournalFile(
  {
    disk,
    directory,
    random,
    isSynced,
  }: { readonly disk: Disk; readonly directory: string; readonly random: Random; readonly isSynced: boolean },
  number: number,
): Promise<JournalFile> {
  const path = `${directory}/${journalFileName(number)}`;
  const head: FileHead = { number, beginsWithCheckpoint: true, salt: random.below(2 ** 32) };
  const handle = await disk.open(path, isSynced ? 'create-synced' : 'create');
  try {
    await write(handle, encodeFileHead(head), 0);
    await Promise.all([sync(handle), disk.syncDirectory(directory)]);
  } catch (error) {
    // On a full disk this is tried again, under the same name.
    await handle.close();
    await disk.remove(path);
    throw error;
  }
  return new JournalFile(path, head, handle);
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
