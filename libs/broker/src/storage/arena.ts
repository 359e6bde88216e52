import { copyBytes, viewOf } from '../small-copy.js';

/**
 * Where messages stand in memory: large chunks that are filled from front to back, with a count of what in them still lives.
 *
 *   | message | message | dead | message | free … |      live = 3
 *
 * A message is (chunk, offset, length) and never an object. Nobody counts references to one message: each holder adds one to
 * its chunk's `live` and takes it away again, and a chunk that nobody holds goes back to the pool. So an old message keeps its
 * whole chunk in memory: that is the price of paying nothing per message.
 *
 * A journaled chunk holds exactly the bytes that were written to the journal; a volatile one exists only here.
 */
export class Chunk {
  /** The same bytes, for copies of a few words. */
  readonly view: DataView;

  /** Messages in here that a queue or a consumer still holds, each counted once per holder. */
  live = 0;
  /** Reasons to keep the bytes although no message lives: it is being filled, or a write of it is under way. */
  pins = 1;

  constructor(
    readonly id: number,
    readonly bytes: Buffer,
    readonly isJournaled: boolean,
    /** Called when the chunk is let go: the file it stands in may now be dead too. */
    readonly released: (() => void) | undefined,
  ) {
    this.view = viewOf(bytes);
  }
}

const chunkBytes = 1 << 20;
const pooledChunksMax = 16;

export class Arena {
  /** Chunks by id; a released id is free for the next chunk. */
  readonly chunks: (Chunk | undefined)[] = [];
  /** Bytes of memory taken by chunks that are in use. */
  bytesInUse = 0;
  /** Called when a chunk was opened or let go: memory is to be looked at. */
  onChange: (() => void) | undefined;
  private readonly freeIds: number[] = [];
  private readonly pool: Buffer[] = [];
  private volatileChunk: Chunk | undefined;
  private volatileEnd = 0;
  private source: Buffer | undefined;
  private sourceView = viewOf(Buffer.alloc(0));

  /** A chunk of at least `bytes`, pinned once for the caller. */
  open(bytes: number, isJournaled: boolean, released?: () => void): Chunk {
    const buffer = bytes <= chunkBytes ? (this.pool.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)) : Buffer.allocUnsafeSlow(bytes);
    return this.adopt(buffer, isJournaled, released);
  }

  /** The same for bytes that exist already: what recovery read from a file. */
  adopt(buffer: Buffer, isJournaled: boolean, released?: () => void): Chunk {
    const id = this.freeIds.pop() ?? this.chunks.length;
    const chunk = new Chunk(id, buffer, isJournaled, released);
    this.chunks[id] = chunk;
    this.bytesInUse += buffer.length;
    this.onChange?.();
    return chunk;
  }

  /** Takes one holder of a message away. */
  drop(chunk: Chunk): void {
    if (--chunk.live === 0 && chunk.pins === 0) this.release(chunk);
  }

  unpin(chunk: Chunk): void {
    if (--chunk.pins === 0 && chunk.live === 0) this.release(chunk);
  }

  /** Room for `length` volatile bytes at `volatileOffset` of the chunk that is returned. The caller counts itself as a holder. */
  reserveVolatile(length: number): Chunk {
    let chunk = this.volatileChunk;
    if (chunk === undefined || this.volatileEnd + length > chunk.bytes.length) {
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

  private release(chunk: Chunk): void {
    this.chunks[chunk.id] = undefined;
    this.freeIds.push(chunk.id);
    this.bytesInUse -= chunk.bytes.length;
    if (chunk.bytes.length === chunkBytes && this.pool.length < pooledChunksMax) this.pool.push(chunk.bytes);
    chunk.released?.();
    this.onChange?.();
  }
}
