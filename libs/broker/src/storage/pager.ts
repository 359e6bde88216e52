import type { Clock, Disk, DiskFile } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Spill } from './spill.js';
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
 * Volatile chunks stand nowhere else, so they are written to files of their own first (spill.ts), a few at a time. Where that fails they stay
 * in memory, and it is tried again later.
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
  readonly clock: Clock;
  /** Where volatile chunks go; undefined keeps them in memory. */
  readonly spill: Spill | undefined;
}

/** Entries that are packed in one go; the rest has to wait for the next turn. */
const packedPerTurnMax = 65_536;
const packedAtOnceMax = 8192;
const spillingBytesMax = 16 * 1024 * 1024;
/** After a write that failed, as on a full disk. */
const spillRetryMs = 5000;
/** So that what is taken out of its pack to be delivered is a small part of the memory that there is. */
const bytesPerPackedEntry = 16_384;
/** There are two buffers of what is due soon: a quarter of the memory that there is. */
const readAheadShare = 8;
const readAheadBytesMin = 16 * 1024;

export class Pager implements ChunkReader {
  /** Takes the reason why the broker cannot go on. Until then whoever asks for the bytes hears of it. */
  onFailure: ((error: CodedError) => void) | undefined;
  private failure: CodedError | undefined;
  /** Bytes of volatile chunks that are being written. */
  private spillingBytes = 0;
  private spillAgainAt = 0;

  constructor(private readonly options: PagerOptions) {
    const { arena, residentBytesMax } = options;
    arena.reader = this;
    arena.readAheadBytes = Math.min(Math.max(Math.floor(residentBytesMax / readAheadShare), readAheadBytesMin), arena.readAheadBytes);
    arena.packedTogetherMax = Math.min(Math.max(Math.floor(residentBytesMax / bytesPerPackedEntry), 16), arena.packedTogetherMax);
  }

  /** Brings memory down to the limit, or nearer to it, if it has grown. True when there is more to do and it can be done. */
  relieve(): boolean {
    const { arena } = this.options;
    if (!arena.hasGrown) return false;
    arena.hasGrown = false;
    if (this.excess <= 0) return false;
    this.evictCold();
    for (let left = packedPerTurnMax; this.excess > 0 && left > 0 && this.spillingBytes < spillingBytesMax;) {
      const longest = this.longestBacklog();
      if (longest === undefined) return this.evictUnused();
      left -= longest.pack(packedAtOnceMax);
      this.evictCold();
    }
    if (this.spillingBytes >= spillingBytesMax) return false; // it goes on when they are written
    return (arena.hasGrown = this.excess > 0);
  }

  readNow(chunk: Chunk, into: Buffer): void {
    const { home, position } = chunk;
    if (this.failure !== undefined) throw this.failure;
    try {
      const bytes = rangeFor(chunk, into);
      this.take(chunk, bytes, this.options.disk.readNow(home!.path, bytes, position), into);
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
    const { home, position } = chunk;
    try {
      const bytes = rangeFor(chunk, buffer);
      const count = await readFrom(disk, home!.path, bytes, position);
      // Meanwhile it may have been let go, with its file, or moved, or read by somebody who could not wait.
      const isWanted = arena.chunks[chunk.id] === chunk && !chunk.isResident && this.failure === undefined;
      if (isWanted && chunk.home === home && chunk.position === position) {
        this.take(chunk, bytes, count, buffer);
        arena.restore(chunk, buffer);
      } else arena.giveBuffer(buffer);
    } catch (error) {
      if (arena.chunks[chunk.id] === chunk && chunk.home === home && !chunk.isResident) this.fail(chunk, error);
    }
    const waiters = chunk.waiters ?? [];
    chunk.waiters = undefined;
    if (this.failure === undefined) for (const waiter of waiters) waiter.bytesCame();
  }

  /** What was read becomes the bytes of the chunk, if it is what was written. */
  private take(chunk: Chunk, bytes: Buffer, count: number, into: Buffer): void {
    const home = chunk.home!;
    if (count === bytes.length && home.isIntact(chunk, bytes)) return home.place?.(bytes, into);
    const { path } = home;
    throw new CodedError(
      'data-damaged',
      `${path} is damaged between bytes ${chunk.position} and ${chunk.position + bytes.length}: messages that wait there cannot be read ` +
        'back. Stop writing to this disk, and restore the data folder from a copy',
    );
  }

  private evictCold(): void {
    const { arena } = this.options;
    for (let at = arena.resident.length - 1; at >= 0 && this.excess > 0; at--) {
      const chunk = arena.resident[at]!;
      if (chunk.cold === chunk.live && !chunk.isAwaited) this.evict(chunk);
    }
  }

  /** Nothing can be packed any more: what was not used for the longest time goes. False, because nothing is left to do then. */
  private evictUnused(): boolean {
    const { arena } = this.options;
    const candidates = arena.resident
      .filter((chunk) => chunk.isEvictable || chunk.isSpillable)
      .sort((one, other) => one.lastUse - other.lastUse);
    for (const chunk of candidates) {
      if (this.excess <= 0) break;
      chunk.isAwaited = false;
      this.evict(chunk);
    }
    return false;
  }

  /** What memory holds above its limit, without what leaves it already. */
  private get excess(): number {
    const { arena, residentBytesMax } = this.options;
    return arena.bytesInUse - this.spillingBytes - residentBytesMax;
  }

  /** Lets the bytes go if they stand somewhere else, or has them written there first. */
  private evict(chunk: Chunk): void {
    if (chunk.isEvictable) return this.options.arena.evict(chunk);
    const { spill, clock } = this.options;
    if (spill === undefined || !chunk.isSpillable || this.spillingBytes >= spillingBytesMax || clock.monotonicMs() < this.spillAgainAt)
      return;
    chunk.isSpilling = true;
    this.spillingBytes += chunk.capacity;
    void this.spillOut(spill, chunk);
  }

  private async spillOut(spill: Spill, chunk: Chunk): Promise<void> {
    const { arena, clock } = this.options;
    const home = await spill.write(chunk).catch(() => undefined);
    chunk.isSpilling = false;
    this.spillingBytes -= chunk.capacity;
    if (home === undefined) this.spillAgainAt = clock.monotonicMs() + spillRetryMs;
    else if (arena.chunks[chunk.id] !== chunk) home.dropChunk(chunk);
    else {
      chunk.home = home;
      chunk.length = chunk.capacity;
      if (this.excess > 0 && chunk.isEvictable) arena.evict(chunk);
    }
    arena.hasGrown = true;
    arena.onChange?.();
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

/** Where the bytes that are read go first. */
function rangeFor({ home, length }: Chunk, into: Buffer): Buffer {
  return home!.place === undefined ? into.subarray(0, length) : Buffer.allocUnsafe(length);
}

async function readFrom(disk: Disk, path: string, into: Buffer, position: number): Promise<number> {
  const file: DiskFile = await disk.open(path, 'read');
  try {
    return await file.read(into, position);
  } finally {
    await file.close();
  }
}
