import type { Disk, DiskFile } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena, Chunk, ChunkReader, ChunkWaiter, Packable } from './arena.js';

/**
 * Keeps what messages take of memory near a limit, however many there are.
 *
 * The bytes of a journaled chunk stand in the journal, where they were written anyway: to forget them costs nothing, and they are read
 * back in one piece. So above the limit queues pack the entries of their longest backlogs away, the oldest behind what is delivered now,
 * and a chunk of which only packed entries are left is forgotten. Where that is not enough the chunks that were not used for the longest
 * time go too. What is delivered in order is asked for ahead of time (`fetch`), so that nobody waits for the disk; what is asked for out of
 * order is read while everybody waits (`readNow`), one chunk at a time.
 *
 * What is read back is compared with its sums. Damage, or a read that fails, ends the broker: what it was asked to keep it has not got.
 *
 * Nothing here survives a crash or needs to.
 */
export interface PagerOptions {
  readonly arena: Arena;
  readonly disk: Disk;
  /** Memory for messages; more of them are left on the disk. */
  readonly residentBytesMax: number;
}

/** Entries that are packed in one go; the rest has to wait for the next turn. */
const packedPerTurnMax = 65_536;
const packedAtOnceMax = 8192;
/** So that what is taken out of its pack to be delivered is a small part of the memory that there is. */
const bytesPerPackedEntry = 16_384;

export class Pager implements ChunkReader {
  /** Takes the reason why the broker cannot go on. Until then whoever asks for the bytes hears of it. */
  onFailure: ((error: CodedError) => void) | undefined;
  private failure: CodedError | undefined;

  constructor(private readonly options: PagerOptions) {
    const { arena, residentBytesMax } = options;
    arena.reader = this;
    arena.packedTogetherMax = Math.min(Math.max(Math.floor(residentBytesMax / bytesPerPackedEntry), 16), arena.packedTogetherMax);
  }

  /** Brings memory down to the limit, or nearer to it, if it has grown. True when there is more to do and it can be done. */
  relieve(): boolean {
    const { arena, residentBytesMax } = this.options;
    if (!arena.hasGrown) return false;
    arena.hasGrown = false;
    if (arena.bytesInUse <= residentBytesMax) return false;
    this.evictCold();
    for (let left = packedPerTurnMax; arena.bytesInUse > residentBytesMax && left > 0;) {
      const longest = this.longestBacklog();
      if (longest === undefined) return this.evictUnused();
      left -= longest.pack(packedAtOnceMax);
      this.evictCold();
    }
    return (arena.hasGrown = arena.bytesInUse > residentBytesMax);
  }

  readNow(chunk: Chunk, into: Buffer): void {
    const { disk } = this.options;
    const { home, position, length } = chunk;
    if (this.failure !== undefined) throw this.failure;
    try {
      const bytes = into.subarray(0, length);
      const count = disk.readNow(home!.path, bytes, position);
      this.check(chunk, bytes, count);
    } catch (error) {
      throw this.fail(chunk, error);
    }
  }

  fetch(chunk: Chunk, waiter: ChunkWaiter | undefined): void {
    if (chunk.waiters === undefined) {
      chunk.waiters = [];
      void this.bring(chunk);
    }
    if (waiter !== undefined && !chunk.waiters.includes(waiter)) chunk.waiters.push(waiter);
  }

  /** Ends reading; who waits is told. */
  private fail(chunk: Chunk, error: unknown): CodedError {
    const reason = error instanceof Error ? error.message : String(error);
    this.failure ??=
      error instanceof CodedError
        ? error
        : new CodedError(
            'storage-failed',
            `Reading messages back from ${chunk.home!.path} failed: ${reason}. Check the disk, then start the broker again`,
            {
              cause: error,
            },
          );
    this.onFailure?.(this.failure);
    return this.failure;
  }

  private async bring(chunk: Chunk): Promise<void> {
    const { arena, disk } = this.options;
    const buffer = arena.takeBuffer(chunk.capacity);
    const { home, position, length } = chunk;
    try {
      const bytes = buffer.subarray(0, length);
      const count = await readFrom(disk, home!.path, bytes, position);
      // Meanwhile it may have been let go, with its file, or moved, or read by somebody who could not wait.
      const isWanted = arena.chunks[chunk.id] === chunk && !chunk.isResident && this.failure === undefined;
      if (isWanted && chunk.home === home && chunk.position === position) {
        this.check(chunk, bytes, count);
        arena.restore(chunk, buffer);
      } else arena.giveBuffer(buffer);
    } catch (error) {
      if (arena.chunks[chunk.id] === chunk && chunk.home === home && !chunk.isResident) this.fail(chunk, error);
    }
    const waiters = chunk.waiters ?? [];
    chunk.waiters = undefined;
    if (this.failure === undefined) for (const waiter of waiters) waiter.bytesCame();
  }

  private check(chunk: Chunk, bytes: Buffer, count: number): void {
    if (count === bytes.length && chunk.home!.isIntact(chunk, bytes)) return;
    const { path } = chunk.home!;
    throw new CodedError(
      'data-damaged',
      `${path} is damaged between bytes ${chunk.position} and ${chunk.position + bytes.length}: messages that wait there cannot be read ` +
        'back. Stop writing to this disk, and restore the data folder from a copy',
    );
  }

  private evictCold(): void {
    const { arena, residentBytesMax } = this.options;
    for (let at = arena.resident.length - 1; at >= 0 && arena.bytesInUse > residentBytesMax; at--) {
      const chunk = arena.resident[at]!;
      if (chunk.cold === chunk.live && !chunk.isAwaited && chunk.isEvictable) arena.evict(chunk);
    }
  }

  /** Nothing can be packed any more: what was not used for the longest time goes. False, because nothing is left to do then. */
  private evictUnused(): boolean {
    const { arena, residentBytesMax } = this.options;
    const candidates = arena.resident.filter((chunk) => chunk.isEvictable).sort((one, other) => one.lastUse - other.lastUse);
    for (const chunk of candidates) {
      if (arena.bytesInUse <= residentBytesMax) break;
      chunk.isAwaited = false;
      arena.evict(chunk);
    }
    return false;
  }

  private longestBacklog(): Packable | undefined {
    const { backlogs } = this.options.arena;
    let longest: Packable | undefined;
    let most = 0;
    for (const backlog of backlogs) {
      const count = backlog.packableCount;
      if (count === 0 && !backlog.isLong) backlogs.delete(backlog);
      if (count <= most) continue;
      most = count;
      longest = backlog;
    }
    return longest;
  }
}

async function readFrom(disk: Disk, path: string, into: Buffer, position: number): Promise<number> {
  const file: DiskFile = await disk.open(path, 'read');
  try {
    return await file.read(into, position);
  } finally {
    await file.close();
  }
}
