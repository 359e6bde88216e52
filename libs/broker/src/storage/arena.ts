import { copyBytes, viewOf } from '../small-copy.js';

/** Where the bytes of a chunk can be read back: a file of the journal, or one for what memory cannot hold. */
export interface ChunkHome {
  readonly path: string;
  /** The file that must stay for it. */
  readonly file: object;
  /** Whether `bytes`, read back for the chunk, are what was written for it. */
  isIntact(chunk: Chunk, bytes: Buffer): boolean;
  /** Where they do not stand as they did in the chunk: puts the messages in them to their places. */
  readonly place?: (bytes: Buffer, into: Buffer) => void;
  /** The chunk was let go. */
  dropChunk(chunk: Chunk): void;
}

/** Somebody who stopped because the bytes of a chunk were not in memory. */
export interface ChunkWaiter {
  /** They are there now, or nobody will bring them. */
  bytesCame(): void;
}

/**
 * Where messages stand: large chunks that are filled from front to back, with a count of what in them still lives.
 *
 *   | message | message | dead | message | free … |      live = 3
 *
 * A message is (chunk, offset, length) and never an object. Nobody counts references to one message: each holder adds one to
 * its chunk's `live` and takes it away again, and a chunk that nobody holds goes back to the pool. So an old message keeps its
 * whole chunk: that is the price of paying nothing per message.
 *
 * A journaled chunk holds exactly the bytes that were written to the journal; a volatile one exists only here. A chunk that is full and
 * written may be without its bytes for a while, because they stand at its `home` too (pager.ts): whoever asks for them gets them, at the
 * price of a read that everybody waits for. So `bytes` is good within one turn of the event loop, and only as long as its holder holds.
 */
export class Chunk {
  /** Messages in here that a queue or a consumer still holds, each counted once per holder. */
  live = 0;
  /** Holders that there ever were, as far as they were counted: what lives is about `live / born` of it. */
  born = 0;
  /** How many of the holders have packed their entries away: they will not ask for the bytes soon. */
  cold = 0;
  /** Reasons to keep the bytes although no message lives: it is being filled, or a write of it is under way. */
  pins = 1;
  /** Where its first `length` bytes can be read back, from `position` on; 0 bytes until they were given to a file. */
  home: ChunkHome | undefined;
  position = 0;
  length = 0;
  /** Somebody wants the bytes soon although all holders are cold. */
  isAwaited = false;
  /** Its bytes are being written to where they can be read back. */
  isSpilling = false;
  /** Grows with every use of any chunk: the least was not used for the longest time. */
  lastUse = 0;
  /** Who is told when the bytes are there; undefined while nobody reads them. */
  waiters: ChunkWaiter[] | undefined;
  /** Its place among the chunks in memory; -1 for one that is not. */
  place = -1;
  buffer: Buffer | undefined;
  private bufferView: DataView | undefined;

  constructor(
    readonly id: number,
    readonly capacity: number,
    readonly isJournaled: boolean,
    private readonly arena: Arena,
  ) {}

  get bytes(): Buffer {
    return this.buffer ?? this.arena.readBack(this);
  }

  /** The same bytes, for copies of a few words. */
  get view(): DataView {
    return (this.bufferView ??= viewOf(this.bytes));
  }

  get isResident(): boolean {
    return this.buffer !== undefined;
  }

  /** Nobody fills or writes it, and its bytes stand somewhere else too. */
  get isEvictable(): boolean {
    return this.pins === 0 && this.length > 0 && this.buffer !== undefined;
  }

  /** Nobody fills it any more, and its bytes stand nowhere else. */
  get isSpillable(): boolean {
    return this.pins === 0 && this.length === 0 && this.home === undefined && !this.isSpilling;
  }

  setBuffer(buffer: Buffer | undefined): void {
    this.buffer = buffer;
    this.bufferView = undefined;
  }
}

/** What brings back the bytes of chunks: the pager. */
export interface ChunkReader {
  /** Fills `into` with the first `length` bytes of the chunk. Throws a CodedError when they cannot be had: then the broker ends. */
  readNow(chunk: Chunk, into: Buffer): void;
  /** Brings the bytes soon and tells `waiter`, if there is one. */
  fetch(chunk: Chunk, waiter: ChunkWaiter | undefined): void;
  /** Brings memory down to its limit, as far as that can be done now. */
  relieve(): boolean;
}

/** The entries of a queue, which can be made smaller. */
export interface Packable {
  /** How many entries could be packed away now. */
  readonly packableCount: number;
  /** It is of a size at which packing may be worth while. */
  readonly isLong: boolean;
  /** Packs the oldest of them away, about so many at most; returns how many. */
  pack(entriesMax: number): number;
}

export const chunkBytes = 1 << 20;
const pooledChunksMax = 16;

export class Arena {
  /** Chunks by id; a released id is free for the next chunk. */
  readonly chunks: (Chunk | undefined)[] = [];
  /** The ones whose bytes are in memory, in no order. */
  readonly resident: Chunk[] = [];
  /** Chunks whose bytes are not in memory. */
  evictedCount = 0;
  /** Bytes of memory taken by the chunks in memory. */
  chunkBytesInUse = 0;
  /** Bytes of memory taken by the entries of queues, counted where there are many. */
  entryBytes = 0;
  /** Entries that are packed together at most: fewer where little memory is to be used. */
  packedTogetherMax = 4096;
  /** Copies of messages that are due soon, in a buffer of this size. */
  readAheadBytes = 8 << 20;
  /** Queues with many entries in memory. */
  readonly backlogs = new Set<Packable>();
  /** undefined where no chunk can ever be without its bytes. */
  reader: ChunkReader | undefined;
  /** More of it was taken since somebody last looked. */
  hasGrown = false;
  /** Called when a chunk was opened or let go: memory is to be looked at. */
  onChange: (() => void) | undefined;
  private uses = 0;
  private readonly freeIds: number[] = [];
  private readonly pool: Buffer[] = [];
  private volatileChunk: Chunk | undefined;
  private volatileEnd = 0;
  private source: Buffer | undefined;
  private sourceView = viewOf(Buffer.alloc(0));

  get bytesInUse(): number {
    return this.chunkBytesInUse + this.entryBytes;
  }

  /** A chunk of at least `bytes`, pinned once for the caller. */
  open(bytes: number, isJournaled: boolean, home?: ChunkHome): Chunk {
    return this.adopt(this.takeBuffer(Math.max(bytes, chunkBytes)), isJournaled, home);
  }

  /** The same for bytes that exist already: what recovery read from a file. */
  adopt(buffer: Buffer, isJournaled: boolean, home?: ChunkHome): Chunk {
    const id = this.freeIds.pop() ?? this.chunks.length;
    const chunk = new Chunk(id, buffer.length, isJournaled, this);
    chunk.home = home;
    this.chunks[id] = chunk;
    this.settle(chunk, buffer);
    this.onChange?.();
    return chunk;
  }

  /** Takes one holder of a message away. */
  drop(chunk: Chunk): void {
    if (--chunk.live === 0 && chunk.pins === 0) this.release(chunk);
  }

  /** Takes many cold holders away. */
  dropCold(chunk: Chunk, count: number): void {
    chunk.live -= count;
    chunk.cold -= count;
    if (chunk.live === 0 && chunk.pins === 0) this.release(chunk);
  }

  unpin(chunk: Chunk): void {
    if (--chunk.pins > 0) return;
    if (chunk.live === 0) this.release(chunk);
    else this.hasGrown = true; // it could be evicted now
  }

  /** Room for `length` volatile bytes at `volatileOffset` of the chunk that is returned. The caller counts itself as a holder. */
  reserveVolatile(length: number): Chunk {
    let chunk = this.volatileChunk;
    if (chunk === undefined || this.volatileEnd + length > chunk.capacity) {
      if (chunk !== undefined) this.unpin(chunk);
      chunk = this.open(length, false);
      this.volatileChunk = chunk;
      this.volatileEnd = 0;
    } else if (chunk.live === 0) {
      this.volatileEnd = 0; // nobody looks at what is in here: fill it again, it is still in the processor's cache
    }
    this.volatileOffset = this.volatileEnd;
    this.volatileEnd += length;
    return chunk;
  }

  volatileOffset = 0;

  /** Copies bytes of a stranger into a chunk. A source that comes again, as a socket's block does, costs nothing extra. */
  copy(source: Buffer, start: number, into: Chunk, at: number, length: number): void {
    if (source !== this.source) {
      this.source = source;
      this.sourceView = viewOf(source);
    }
    copyBytes(into.bytes, into.view, at, source, this.sourceView, start, length);
  }

  /** The bytes are wanted now, and are not in memory. */
  readBack(chunk: Chunk): Buffer {
    const buffer = this.takeBuffer(chunk.capacity);
    this.reader!.readNow(chunk, buffer);
    this.restore(chunk, buffer);
    return buffer;
  }

  /** The bytes of a chunk are in memory again. */
  restore(chunk: Chunk, buffer: Buffer): void {
    this.evictedCount--;
    this.settle(chunk, buffer);
    this.onChange?.();
  }

  /** Forgets the bytes of a chunk, which must be evictable. */
  evict(chunk: Chunk): void {
    this.evictedCount++;
    this.unsettle(chunk);
  }

  touch(chunk: Chunk): void {
    chunk.lastUse = ++this.uses;
  }

  takeBuffer(bytes: number): Buffer {
    return (bytes === chunkBytes ? this.pool.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes);
  }

  giveBuffer(buffer: Buffer): void {
    if (buffer.length === chunkBytes && this.pool.length < pooledChunksMax) this.pool.push(buffer);
  }

  private settle(chunk: Chunk, buffer: Buffer): void {
    chunk.setBuffer(buffer);
    chunk.place = this.resident.push(chunk) - 1;
    this.chunkBytesInUse += buffer.length;
    this.hasGrown = true;
    this.touch(chunk);
  }

  private unsettle(chunk: Chunk): void {
    const last = this.resident.pop()!;
    if (last !== chunk) {
      this.resident[chunk.place] = last;
      last.place = chunk.place;
    }
    chunk.place = -1;
    const { buffer } = chunk;
    chunk.setBuffer(undefined);
    this.chunkBytesInUse -= buffer!.length;
    this.giveBuffer(buffer!);
  }

  private release(chunk: Chunk): void {
    this.chunks[chunk.id] = undefined;
    this.freeIds.push(chunk.id);
    if (chunk.isResident) this.unsettle(chunk);
    else this.evictedCount--;
    chunk.home?.dropChunk(chunk);
    this.onChange?.();
  }
}
