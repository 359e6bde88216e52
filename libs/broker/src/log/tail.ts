import { copyBytes, smallCopyBytesMax, viewOf } from '../small-copy.js';
import { baseOffsetAt, batchBytesAt } from './record-batch.js';
import type { Segment } from './segment.js';

/**
 * The youngest batches of a partition in memory: what is not written yet, and what readers who keep up are served from without a read.
 *
 *   | chunk: batch batch batch | chunk: one large batch | chunk: batch batch … room |
 *
 * Small batches are copied one behind the other into chunks, so that many of them are one piece to write and one to send; large ones stay in the
 * memory they came in. Nothing here survives the process. One per partition; the budget is one for all.
 */
export class TailChunk {
  used = 0;
  nextOffset: number;
  /** Base offset and place of the first batch, and of one every few KiB: the ones between are found by going from head to head. */
  private readonly markOffsets: number[] = [];
  private readonly markStarts: number[] = [];
  private ownView: DataView | undefined;

  constructor(
    readonly tail: Tail,
    readonly segment: Segment,
    /** Of its first byte, in the segment. */
    readonly position: number,
    readonly baseOffset: number,
    readonly bytes: Buffer,
  ) {
    this.nextOffset = baseOffset;
  }

  get view(): DataView {
    return (this.ownView ??= viewOf(this.bytes));
  }

  /** The batch stands at `used`. */
  count(baseOffset: number, nextOffset: number, length: number): void {
    const { used, markStarts } = this;
    if (used === 0 || used - markStarts[markStarts.length - 1]! >= markEveryBytes) {
      this.markOffsets.push(baseOffset);
      markStarts.push(used);
    }
    this.used = used + length;
    this.nextOffset = nextOffset;
  }

  /** Where the last batch begins whose base offset is `offset` or less. */
  startAt(offset: number): number {
    const { bytes, used } = this;
    let at = this.markStarts[lastAtOrBelow(this.markOffsets, offset)]!;
    for (let next = at + batchBytesAt(bytes, at); next < used && baseOffsetAt(bytes, next) <= offset;) {
      at = next;
      next += batchBytesAt(bytes, next);
    }
    return at;
  }

  /** The end of the last whole batch that ends at `place` or before; `place` lies below `used`. */
  endBefore(place: number): number {
    let at = this.markStarts[lastAtOrBelow(this.markStarts, place)]!;
    for (let next = at; next <= place; next += batchBytesAt(this.bytes, next)) at = next;
    return at;
  }

  /** Where the batch that begins at `start` ends. */
  endAt(start: number): number {
    return start + batchBytesAt(this.bytes, start);
  }

  /** Of the batch at `place`, or of the one that comes next. */
  offsetAt(place: number): number {
    return place < this.used ? baseOffsetAt(this.bytes, place) : this.nextOffset;
  }
}

export interface PendingWrite {
  readonly segment: Segment;
  readonly position: number;
  readonly parts: Buffer[];
  bytes: number;
}

/** A batch of at least so many bytes is kept as it came; smaller ones would hold a larger block alive. */
const adoptedBytesMin = 8 * 1024;
const firstChunkBytes = 4 * 1024;
const chunkBytesMax = 256 * 1024;
const markEveryBytes = 2 * 1024;

export class Tail {
  private chunks: TailChunk[] = [];
  private nextChunkBytes = firstChunkBytes;
  /** The chunk and the byte in it that is not given to a write yet. */
  private unwrittenChunk = 0;
  private unwrittenByte = 0;

  constructor(private readonly budget: TailBudget) {}

  /** Reads below this offset go to the files; Infinity when nothing is here. */
  get firstOffset(): number {
    return this.chunks.length === 0 ? Infinity : this.chunks[0]!.baseOffset;
  }

  /** Takes a batch that stands at `position` of `segment`. */
  add(batch: Buffer, segment: Segment, position: number, baseOffset: number, nextOffset: number): void {
    let chunk = this.chunks.at(-1);
    if (batch.length >= adoptedBytesMin) {
      chunk = this.open(segment, position, baseOffset, batch);
    } else {
      if (chunk === undefined || chunk.segment !== segment || chunk.used + batch.length > chunk.bytes.length) {
        const size = Math.max(this.nextChunkBytes, batch.length);
        this.nextChunkBytes = Math.min(chunkBytesMax, this.nextChunkBytes * 4);
        chunk = this.open(segment, position, baseOffset, Buffer.allocUnsafeSlow(size));
      }
      if (batch.length <= smallCopyBytesMax) copySmall(batch, chunk);
      else chunk.bytes.set(batch, chunk.used);
    }
    chunk.count(baseOffset, nextOffset, batch.length);
  }

  /** What was added since the last call, as writes: one per segment. */
  takePending(): PendingWrite[] {
    const writes: PendingWrite[] = [];
    for (; this.unwrittenChunk < this.chunks.length; this.unwrittenChunk++, this.unwrittenByte = 0) {
      const chunk = this.chunks[this.unwrittenChunk]!;
      if (this.unwrittenByte < chunk.used) {
        let last = writes.at(-1);
        if (last?.segment !== chunk.segment) {
          last = { segment: chunk.segment, position: chunk.position + this.unwrittenByte, parts: [], bytes: 0 };
          writes.push(last);
        }
        last.parts.push(chunk.bytes.subarray(this.unwrittenByte, chunk.used));
        last.bytes += chunk.used - this.unwrittenByte;
        this.unwrittenByte = chunk.used;
      }
      if (this.unwrittenChunk === this.chunks.length - 1) break; // it may go on to be filled
    }
    return writes;
  }

  /** Whole batches from the one that holds `offset` on, below `limit`; `offset` is `firstOffset` or more. */
  read(
    offset: number,
    limit: number,
    bytesMax: number,
    atLeastOne: boolean,
  ): { readonly parts: Buffer[]; readonly bytes: number; readonly nextOffset: number } {
    const parts: Buffer[] = [];
    let bytes = 0;
    let nextOffset = offset;
    let index = this.chunks.length - 1;
    while (this.chunks[index]!.baseOffset > offset) index--;
    for (; index < this.chunks.length; index++) {
      const chunk = this.chunks[index]!;
      if (chunk.baseOffset >= limit) break;
      const start = parts.length === 0 ? chunk.startAt(offset) : 0;
      // Behind the last batch that is visible, and behind the last one that fits.
      let stop = chunk.nextOffset <= limit ? chunk.used : chunk.endAt(chunk.startAt(limit - 1));
      const room = bytesMax - bytes;
      if (stop - start > room) {
        stop = chunk.endBefore(start + Math.max(room, 0));
        if (stop <= start) stop = atLeastOne && parts.length === 0 ? chunk.endAt(start) : start;
      }
      if (stop === start) break;
      parts.push(start === 0 && stop === chunk.bytes.length ? chunk.bytes : chunk.bytes.subarray(start, stop));
      bytes += stop - start;
      nextOffset = chunk.offsetAt(stop);
      if (stop < chunk.used) break;
    }
    return { parts, bytes, nextOffset };
  }

  /** Lets the oldest chunk go, if it is `chunk` and written. */
  evict(chunk: TailChunk): boolean {
    if (this.chunks[0] !== chunk || (this.unwrittenChunk === 0 && this.unwrittenByte < chunk.used)) return false;
    if (chunk.segment.writtenBytes < chunk.position + chunk.used) return false;
    this.chunks.shift();
    if (this.unwrittenChunk > 0) this.unwrittenChunk--;
    else this.unwrittenByte = 0;
    return true;
  }

  /** What stands in these segments is read from their files from now on: they were compacted, and all of it is written. */
  forgetSegments(segments: readonly Segment[]): void {
    while (this.chunks.length > 1 && segments.includes(this.chunks[0]!.segment)) {
      this.budget.dropped(this.chunks.shift()!);
      if (this.unwrittenChunk > 0) this.unwrittenChunk--;
    }
  }

  clear(): void {
    for (const chunk of this.chunks) this.budget.dropped(chunk);
    this.chunks = [];
    this.unwrittenChunk = 0;
    this.unwrittenByte = 0;
  }

  private open(segment: Segment, position: number, baseOffset: number, bytes: Buffer): TailChunk {
    const chunk = new TailChunk(this, segment, position, baseOffset, bytes);
    this.chunks.push(chunk);
    this.budget.opened(chunk);
    return chunk;
  }
}

/** Memory of all tails together: the oldest chunk of any of them goes first. */
export class TailBudget {
  private bytes = 0;
  private queue: (TailChunk | undefined)[] = [];
  private head = 0;

  constructor(private readonly bytesMax: number) {}

  opened(chunk: TailChunk): void {
    this.bytes += chunk.bytes.length;
    this.queue.push(chunk);
  }

  /** Its partition is gone. */
  dropped(chunk: TailChunk): void {
    const at = this.queue.indexOf(chunk, this.head);
    if (at >= 0) this.queue[at] = undefined;
    this.bytes -= chunk.bytes.length;
  }

  /** Called when a commit ended: what is written may go. */
  trim(): void {
    while (this.bytes > this.bytesMax && this.head < this.queue.length) {
      const chunk = this.queue[this.head];
      if (chunk !== undefined && !chunk.tail.evict(chunk)) return;
      if (chunk !== undefined) this.bytes -= chunk.bytes.length;
      this.queue[this.head] = undefined;
      this.head++;
    }
    if (this.head > 1024 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
  }
}

/** The place of the last value that is `wanted` or less, in a list that grows; -1 where there is none. */
function lastAtOrBelow(values: readonly number[], wanted: number): number {
  let low = 0;
  let high = values.length;
  // Readers who keep up ask for the end.
  if (high > 0 && values[high - 1]! <= wanted) return high - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Many batches in a row come in one block: its view is made once. */
let lastBlock: Buffer = Buffer.alloc(0);
let lastView = viewOf(lastBlock);

function copySmall(batch: Buffer, { bytes, view, used }: TailChunk): void {
  if (batch.buffer !== lastBlock.buffer) {
    lastBlock = Buffer.from(batch.buffer);
    lastView = viewOf(lastBlock);
  }
  copyBytes(bytes, view, used, lastBlock, lastView, batch.byteOffset, batch.length);
}
