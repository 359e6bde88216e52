import type { Arena, Chunk, Packable } from '../storage/arena.js';
import { bodyLength } from './content.js';
import { PackedEntries } from './packed-entries.js';
import { ReadyRing } from './ready-ring.js';
import { Strays } from './strays.js';

/**
 * The messages of a queue that wait for their first delivery, oldest first, however many there are.
 *
 *   position   | front: taken from … | packed … | packed … | back … visible … pushed to |
 *
 * As long as memory is enough, front and back are one ring and nothing is packed. Beyond that the pager has the oldest entries behind the
 * front packed, a few thousand at a time; when the front is used up, the next of them become the front, and the chunks of the ones after
 * are asked for ahead. Positions only grow and count through all parts, packed or not.
 *
 * Nothing here survives a crash: recovery builds it anew, message by message.
 */
export class Backlog implements Packable {
  /** What is taken out stands in here, unless it is empty: then `shift` and `firstSlot` fill it. */
  front: ReadyRing;
  private back: ReadyRing;
  /** Where the front ends and what is packed begins; Infinity while front and back are one. */
  private packedFrom = Infinity;
  /** Oldest first, from `firstPart` on. */
  private parts: PackedEntries[] = [];
  private firstPart = 0;
  /** The chunks of the part that went to the front last, until they were asked for. */
  private unasked: readonly number[] | undefined;
  /** Settled entries in the back; only while it is recovered. */
  private holes = 0;
  private frontMax = frontMaxLeast;
  private lastRecovered = 0;
  private strays: Strays | undefined;
  /** Who looks for one sequence looks for its neighbours next. */
  private lookedAt: { readonly part: PackedEntries; readonly sequences: ReadonlySet<number> } | undefined;

  constructor(
    private readonly arena: Arena,
    private readonly owner: BacklogOwner,
  ) {
    this.back = new ReadyRing(arena, 0, this.grown);
    this.front = this.back;
  }

  private readonly grown = (slots: number): void => {
    if (slots >= this.longRingSlots) this.arena.backlogs.add(this);
  };

  get head(): number {
    return this.front.head;
  }

  get tail(): number {
    return this.back.tail;
  }

  get length(): number {
    return this.back.tail - this.front.head;
  }

  push(sequence: number, chunk: number, offset: number, length: number): void {
    this.back.push(sequence, chunk, offset, length);
  }

  /** The slot in `front` of the oldest entry, which is taken out; its numbers stay readable until the next push. There must be one. */
  shift(): number {
    if (this.front.head === this.packedFrom) this.refill();
    return this.front.shift();
  }

  /** The slot in `front` of the oldest entry. There must be one. */
  firstSlot(): number {
    if (this.front.head === this.packedFrom) this.refill();
    return this.front.slotAt(this.front.head);
  }

  /** The sequence of an entry that is not visible, or of the last part that is. */
  sequenceAt(position: number): number {
    return this.back.sequences[this.back.slotAt(position)]!;
  }

  /** Has the bytes that will be needed next brought, if nobody has seen to it. Whoever takes in order calls this now and then. */
  askAhead(): void {
    if (this.unasked === undefined) return;
    let left = chunksAhead;
    const { arena, unasked, parts } = this;
    this.unasked = undefined;
    for (let at = this.firstPart - 1; at < parts.length && left > 0; at++) {
      for (const id of at < this.firstPart ? unasked : parts[at]!.chunks) {
        const chunk = arena.chunks[id];
        if (chunk === undefined) continue;
        if (left-- === 0) break;
        if (at >= this.firstPart) chunk.isAwaited = true;
        if (!chunk.isResident) arena.reader!.fetch(chunk, undefined);
      }
    }
  }

  /** There must be an entry. */
  get firstChunk(): number {
    const slot = this.firstSlot();
    return this.front.chunks[slot]!;
  }

  /** There must be an entry. */
  get firstSequence(): number {
    const slot = this.firstSlot();
    return this.front.sequences[slot]!;
  }

  /** Of up to `max` visible entries at the head, as far as they are at hand. There must be an entry. */
  firstSequences(max: number): readonly number[] {
    this.firstSlot();
    const { front } = this;
    const end = Math.min(front.head + max, front.tail, this.packedFrom, this.owner.visible);
    return Array.from({ length: end - front.head }, (_, index) => front.sequences[front.slotAt(front.head + index)]!);
  }

  get packableCount(): number {
    const kept = this.packedFrom === Infinity ? this.frontEntries : 0;
    return Math.max(Math.min(this.owner.visible, this.back.tail) - this.back.head - kept, 0);
  }

  get isLong(): boolean {
    return this.back.slots >= this.longRingSlots;
  }

  pack(entriesMax: number): number {
    if (this.holes > 0) this.fillBackHoles();
    if (this.packedFrom === Infinity) this.split();
    const { back } = this;
    const from = back.head;
    const to = Math.min(this.owner.visible, back.tail, from + entriesMax);
    while (back.head < to) this.packPart(Math.min(to, back.head + this.arena.packedTogetherMax));
    return Math.max(to - from, 1);
  }

  /** Nothing is kept in here any more. */
  release(): void {
    this.front.release();
    if (this.back !== this.front) this.back.release();
    this.arena.backlogs.delete(this);
  }

  forEach(visit: (sequence: number, chunk: number, offset: number, length: number) => void): void {
    this.front.forEach(visit);
    for (let at = this.firstPart; at < this.parts.length; at++) this.parts[at]!.forEach(visit);
    if (this.back !== this.front) this.back.forEach(visit);
  }

  /** The same for the entries in some chunks; others may be visited too. */
  forEachIn(isWanted: readonly boolean[], visit: (sequence: number, chunk: number, offset: number, length: number) => void): void {
    this.front.forEach(visit);
    for (let at = this.firstPart; at < this.parts.length; at++) {
      if (this.parts[at]!.chunks.some((chunk) => isWanted[chunk])) this.parts[at]!.forEach(visit);
    }
    if (this.back !== this.front) this.back.forEach(visit);
  }

  /** Bytes of all bodies. In the order in which they stand on the disk; what was not in memory does not stay there. */
  countBodies(): number {
    const { arena } = this;
    let bytes = 0;
    let current: Chunk | undefined;
    let wasHere = true;
    const leave = (): void => {
      if (current !== undefined && !wasHere && current.isEvictable) arena.evict(current);
    };
    this.forEach((_sequence, id, offset) => {
      const chunk = arena.chunks[id]!;
      if (chunk !== current) {
        leave();
        current = chunk;
        wasHere = chunk.isResident;
      }
      bytes += bodyLength(chunk.bytes, offset);
    });
    leave();
    return bytes;
  }

  // What recovery does, in the order of the journal: entries may be settled that are not the first, and leave holes.

  /** Takes an entry in, and holds its chunk for it. */
  recover(sequence: number, id: number, offset: number, length: number): void {
    if (sequence <= this.lastRecovered) {
      this.strays ??= new Strays(this.arena, this, () => new Backlog(this.arena, everything));
      return this.strays.take(sequence, id, offset, length);
    }
    this.lastRecovered = sequence;
    const chunk = this.arena.chunks[id]!;
    chunk.live++;
    chunk.born++;
    this.push(sequence, id, offset, length);
  }

  /** Takes the entries from the sequence `start` to below `end` out and drops their chunks. */
  settle(start: number, end: number): void {
    this.strays?.settle(start, end);
    this.settleIn(this.front, start, end);
    if (this.packedFrom !== Infinity) {
      this.settlePacked(start, end);
      this.settleIn(this.back, start, end);
    }
    const { front } = this;
    while (front.length > 0 && front.lengths[front.slotAt(front.head)] === 0) front.shift();
    if (this.back === front && front.length === 0) this.holes = 0;
    if (front.length === 0 && this.packedFrom !== Infinity && this.firstPart === this.parts.length) this.join();
  }

  /** Whether an entry of this sequence is there. */
  has(sequence: number): boolean {
    if (hasIn(this.front, sequence) || hasIn(this.back, sequence)) return true;
    const part = this.parts[this.partOf(sequence)];
    if (part === undefined || this.packedFrom === Infinity || sequence < part.firstSequence) return false;
    if (this.lookedAt?.part !== part) {
      const sequences: number[] = [];
      part.forEach((one) => sequences.push(one));
      this.lookedAt = { part, sequences: new Set(sequences) };
    }
    return this.lookedAt.sequences.has(sequence);
  }

  /** Everything was recovered: takes out the holes, and puts what was met late to its place. Afterwards positions are dense. */
  compact(): void {
    if (this.strays !== undefined) this.adopt(this.strays.merge());
    this.strays = undefined;
    this.fillHoles();
  }

  /** The same without what was met late. */
  fillHoles(): void {
    this.lookedAt = undefined;
    this.fillBackHoles();
    if (this.back === this.front) return;
    this.front.compact();
    // The packed entries stand right before the back ones, and the front before them.
    let packed = 0;
    for (let at = this.firstPart; at < this.parts.length; at++) packed += this.parts[at]!.count;
    const front = new ReadyRing(this.arena, this.back.head - packed - this.front.length);
    this.front.forEach((...entry) => front.push(...entry));
    this.front.release();
    this.front = front;
    this.packedFrom = front.tail;
    if (front.length === 0 && packed === 0) this.join();
  }

  private get frontEntries(): number {
    return this.arena.packedTogetherMax / 4;
  }

  /** A ring that has so many slots is worth a look when memory is short. */
  private get longRingSlots(): number {
    return this.arena.packedTogetherMax;
  }

  /** The first entries become the front, all others the back. */
  private split(): void {
    const { back } = this;
    const front = new ReadyRing(this.arena, back.head);
    const to = Math.min(back.head + this.frontEntries, this.owner.visible, back.tail);
    while (back.head < to) pushFrom(back, back.shift(), front);
    this.front = front;
    this.packedFrom = front.tail;
  }

  /** Front and back are one again; the front must be empty, and nothing packed. */
  private join(): void {
    this.front.release();
    this.front = this.back;
    this.packedFrom = Infinity;
    this.parts = [];
    this.firstPart = 0;
  }

  private packPart(to: number): void {
    const { back } = this;
    const part = PackedEntries.pack(back, back.head, to);
    back.dropUpTo(back.head + part.count);
    this.parts.push(part);
    this.countPart(part, 1);
  }

  private countPart(part: PackedEntries, sign: 1 | -1): void {
    const { arena } = this;
    arena.entryBytes += sign * part.size;
    for (const [index, id] of part.chunks.entries()) arena.chunks[id]!.cold += sign * part.chunkCounts[index]!;
  }

  /** The front is used up. */
  private refill(): void {
    if (this.firstPart === this.parts.length) return this.join();
    this.appendPart();
  }

  /** The first packed entries go to the end of the front. */
  private appendPart(): void {
    const { arena } = this;
    const part = this.parts[this.firstPart++]!;
    if (this.firstPart === 64) {
      this.parts.splice(0, 64); // not one by one: it moves all that follow
      this.firstPart = 0;
    }
    this.countPart(part, -1);
    part.unpackTo(this.front);
    this.packedFrom = this.front.tail;
    this.unasked = part.chunks;
    for (const id of part.chunks) {
      const chunk = arena.chunks[id]!;
      chunk.isAwaited = false;
      arena.touch(chunk);
    }
  }

  private settleIn(ring: ReadyRing, start: number, end: number): void {
    for (let position = ring.positionOf(start); position < ring.tail; position++) {
      const slot = ring.slotAt(position);
      if (ring.sequences[slot]! >= end) break;
      if (ring.lengths[slot] === 0) continue;
      this.arena.drop(this.arena.chunks[ring.chunks[slot]!]!);
      ring.lengths[slot] = 0;
      if (ring === this.back) this.holes++;
    }
  }

  private settlePacked(start: number, end: number): void {
    for (let at = this.partOf(start); at < this.parts.length && this.parts[at]!.firstSequence < end;) {
      const part = this.parts[at]!;
      const isWhole = part.firstSequence >= start && part.lastSequence < end;
      if (!isWhole && at - this.firstPart < partsNear) {
        // Usually it goes on with the ones behind, so they are not packed again for each.
        for (let left = at - this.firstPart; left >= 0; left--) this.appendPart();
        this.settleIn(this.front, start, end);
        this.compactLongFront();
        at = this.firstPart;
        continue;
      }
      this.countPart(part, -1);
      const ring = new ReadyRing();
      part.unpackTo(ring);
      this.settleIn(ring, start, end);
      ring.compact();
      const rest: PackedEntries[] = [];
      if (ring.length > 0) rest.push(PackedEntries.pack(ring, ring.head, ring.tail));
      for (const one of rest) this.countPart(one, 1);
      this.parts.splice(at, 1, ...rest);
      at += rest.length;
    }
  }

  /** While one message at the front is never settled, all behind it that are leave holes. */
  private compactLongFront(): void {
    if (this.front.length < this.frontMax) return;
    this.front.compact();
    this.packedFrom = this.front.tail;
    this.frontMax = Math.max(frontMaxLeast, 2 * this.front.length);
  }

  /** The first packed part that does not end before this sequence. */
  private partOf(sequence: number): number {
    let low = this.firstPart;
    let high = this.parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.parts[middle]!.lastSequence < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private adopt(other: Backlog): void {
    this.front = other.front;
    this.back = other.back;
    this.back.grown = this.grown;
    this.packedFrom = other.packedFrom;
    this.parts = other.parts;
    this.firstPart = other.firstPart;
    this.holes = 0;
    this.arena.backlogs.delete(other);
    if (this.isLong) this.arena.backlogs.add(this);
  }

  private fillBackHoles(): void {
    this.holes = 0;
    this.back.compact();
  }
}

/** Whose entries they are. */
export interface BacklogOwner {
  /** The first position that no commit has made visible: from there on nothing is packed. */
  readonly visible: number;
}

/** Nothing is waited for: all of it is committed. */
export const everything: BacklogOwner = { visible: Infinity };
/** The bytes of so many chunks are asked for before they are needed. */
const chunksAhead = 4;
/** A front of so many entries is looked through for holes. */
const frontMaxLeast = 65_536;
/** Packed parts so near to the front join it when recovery takes something out of them. */
const partsNear = 8;

function hasIn(ring: ReadyRing, sequence: number): boolean {
  const position = ring.positionOf(sequence);
  const slot = ring.slotAt(position);
  return position < ring.tail && ring.sequences[slot] === sequence && ring.lengths[slot] !== 0;
}

function pushFrom(ring: ReadyRing, slot: number, to: ReadyRing): void {
  to.push(ring.sequences[slot]!, ring.chunks[slot]!, ring.offsets[slot]!, ring.lengths[slot]!);
}
