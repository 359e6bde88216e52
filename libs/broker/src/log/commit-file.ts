import { crc32, type Disk, DiskError, type DiskFile, type Random } from '@dovecote/ground';
import { removeIfThere, sync, write } from './open-files.js';
import { writeInt64 } from './record-batch.js';

/**
 * Commits of many partitions in one place: under `fsync` a thousand partitions would cost a thousand syncs, so what several of them have is written here one behind
 * the other, synced once, and goes to their segments later, in large pieces and without a hurry.
 *
 *   file    | "DOVELOGC" | version u32 = 1 | salt u32 | commit | commit | …
 *   commit  | 0xd04e106c | length u32 | crc u32 | entries u32 | entry | …
 *   entry   | topic id 16 | partition u32 | first offset i64 | length u32 | record batches |
 *
 * `length` of a commit counts all of it; `crc` is the CRC-32 of what stands behind it, begun with the salt. A commit is believed as a whole or not at all. A file is needed
 * until everything in it is on the disk in the segments too. One owner; the opening reads what the last one left and puts it where it is missing.
 */
const fileHeadBytes = 16;
const commitHeadBytes = 16;
const entryHeadBytes = 32;
const fileMagic = Buffer.from('DOVELOGC', 'latin1');
const commitMagic = 0xd04e106c;
const fileBytesMax = 64 * 1024 * 1024;

/** What one partition has in a commit. */
export interface CommitEntry {
  readonly topicId: Buffer;
  readonly partition: number;
  readonly firstOffset: number;
  readonly parts: readonly Buffer[];
  readonly bytes: number;
  /** Brings to the disk, in its own files, what it had in commits up to now. */
  readonly settle: () => Promise<void>;
}

interface OpenCommitFile {
  readonly path: string;
  readonly handle: DiskFile;
  readonly salt: number;
  end: number;
  /** Who has something in it, by topic id and partition. */
  readonly settles: Map<string, () => Promise<void>>;
}

export class CommitFiles {
  private active: OpenCommitFile | undefined;
  private next: OpenCommitFile | undefined;
  private isPreparing = false;
  private number = 0;
  private readonly retiring = new Set<OpenCommitFile>();

  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly random: Random,
    /** Runs work that nobody waits for. */
    private readonly inBackground: (what: string, work: () => Promise<void>) => Promise<void>,
    private readonly bytesMax = fileBytesMax,
  ) {}

  get isReady(): boolean {
    return this.active !== undefined;
  }

  /** Begins anew: what stood here is in the segments. */
  async start(): Promise<void> {
    await this.disk.makeDirectory(this.directory);
    for (const name of await this.disk.list(this.directory)) {
      this.number = Math.max(this.number, Number.parseInt(name, 10) || 0);
      await removeIfThere(this.disk, `${this.directory}/${name}`);
    }
    this.active = await this.create();
  }

  /** One write and one sync for all of them; calls back in a later turn. After an error of a full disk it may be called again. */
  write(entries: readonly CommitEntry[], done: (error: DiskError | undefined) => void): void {
    if (this.active!.end > this.bytesMax && this.next !== undefined) this.roll();
    const file = this.active!;
    const { parts, bytes } = encodeCommit(entries, file.salt);
    file.handle.write(parts, file.end, (error) => {
      if (error !== undefined) return done(error);
      file.handle.sync((syncError) => {
        if (syncError !== undefined) return done(syncError);
        file.end += bytes;
        for (const { topicId, partition, settle } of entries) file.settles.set(`${topicId.toString('latin1')} ${partition}`, settle);
        if (file.end > this.bytesMax / 2) this.prepare();
        done(undefined);
      });
    });
  }

  /** Everything is in the segments: the files go. */
  async finish(): Promise<void> {
    for (const file of [this.active, this.next, ...this.retiring]) await file?.handle.close();
    this.active = undefined;
    this.next = undefined;
    for (const name of await this.disk.list(this.directory)) await removeIfThere(this.disk, `${this.directory}/${name}`);
    await this.disk.syncDirectory(this.directory);
  }

  async close(): Promise<void> {
    for (const file of [this.active, this.next, ...this.retiring]) await file?.handle.close();
  }

  private prepare(): void {
    if (this.next !== undefined || this.isPreparing) return;
    this.isPreparing = true;
    void this.inBackground('Creating a file for commits', async () => {
      try {
        this.next = await this.create();
      } finally {
        this.isPreparing = false;
      }
    });
  }

  private roll(): void {
    const old = this.active!;
    this.active = this.next;
    this.next = undefined;
    this.retiring.add(old);
    void this.inBackground(`Bringing ${old.path} to the segments`, async () => {
      for (const settle of old.settles.values()) await settle();
      await old.handle.close();
      await removeIfThere(this.disk, old.path);
      this.retiring.delete(old);
    });
  }

  private async create(): Promise<OpenCommitFile> {
    const path = `${this.directory}/${String(++this.number).padStart(16, '0')}.log`;
    const salt = this.random.below(2 ** 32);
    const head = Buffer.alloc(fileHeadBytes);
    fileMagic.copy(head);
    head.writeUInt32BE(1, 8);
    head.writeUInt32BE(salt, 12);
    const handle = await this.disk.open(path, 'create');
    try {
      await write(handle, [head], 0);
      await sync(handle);
      await this.disk.syncDirectory(this.directory);
    } catch (error) {
      await handle.close();
      await removeIfThere(this.disk, path);
      throw error;
    }
    return { path, handle, salt, end: fileHeadBytes, settles: new Map() };
  }
}

function encodeCommit(entries: readonly CommitEntry[], salt: number): { readonly parts: Buffer[]; readonly bytes: number } {
  const heads = Buffer.allocUnsafe(commitHeadBytes + entries.length * entryHeadBytes);
  const parts: Buffer[] = [heads.subarray(0, commitHeadBytes)];
  let bytes = commitHeadBytes;
  for (const [index, entry] of entries.entries()) {
    const at = commitHeadBytes + index * entryHeadBytes;
    entry.topicId.copy(heads, at);
    heads.writeUInt32BE(entry.partition, at + 16);
    writeInt64(heads, entry.firstOffset, at + 20);
    heads.writeUInt32BE(entry.bytes, at + 28);
    parts.push(heads.subarray(at, at + entryHeadBytes), ...entry.parts);
    bytes += entryHeadBytes + entry.bytes;
  }
  heads.writeUInt32BE(commitMagic, 0);
  heads.writeUInt32BE(bytes, 4);
  heads.writeUInt32BE(entries.length, 12);
  let sum = crc32(heads.subarray(12, commitHeadBytes), salt);
  for (let index = 1; index < parts.length; index++) sum = crc32(parts[index]!, sum);
  heads.writeUInt32BE(sum, 8);
  return { parts, bytes };
}

/** What each partition has in the files of the last owner, in the order in which it was committed; by `entryKey`. */
export async function readCommitFiles(disk: Disk, directory: string): Promise<Map<string, Buffer[]>> {
  const found = new Map<string, Buffer[]>();
  const names = (await disk.exists(directory)) ? await disk.list(directory) : [];
  for (const name of names) {
    const file = await disk.open(`${directory}/${name}`, 'read');
    try {
      const bytes = Buffer.allocUnsafeSlow(await file.size());
      readCommits(bytes.subarray(0, await file.read(bytes, 0)), found);
    } finally {
      await file.close();
    }
  }
  return found;
}

export function entryKey(topicId: Buffer, partition: number): string {
  return `${topicId.toString('hex')} ${partition}`;
}

function readCommits(bytes: Buffer, into: Map<string, Buffer[]>): void {
  if (bytes.length < fileHeadBytes || bytes.compare(fileMagic, 0, 8, 0, 8) !== 0) return;
  const salt = bytes.readUInt32BE(12);
  for (let at = fileHeadBytes; at + commitHeadBytes <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 4);
    if (bytes.readUInt32BE(at) !== commitMagic || length < commitHeadBytes || at + length > bytes.length) return;
    if (crc32(bytes.subarray(at + 12, at + length), salt) !== bytes.readUInt32BE(at + 8)) return;
    for (let entry = at + commitHeadBytes; entry < at + length;) {
      const size = bytes.readUInt32BE(entry + 28);
      const key = entryKey(bytes.subarray(entry, entry + 16), bytes.readUInt32BE(entry + 16));
      const batches = bytes.subarray(entry + entryHeadBytes, entry + entryHeadBytes + size);
      const there = into.get(key);
      if (there === undefined) into.set(key, [batches]);
      else there.push(batches);
      entry += entryHeadBytes + size;
    }
    at += length;
  }
}
