import type { Arena, Chunk, ChunkWaiter } from '../storage/arena.js';

/** The messages that are held, in slots. */
export interface HeldSlots {
  readonly count: number;
  /** Slots, in front of `count` those that are in use. */
  readonly heap: Uint32Array;
  readonly times: Float64Array;
  readonly chunks: Uint32Array;
  readonly offsets: Uint32Array;
  /** 0 where nothing stands. */
  readonly lengths: Uint32Array;
  isBefore(one: number, other: number): boolean;
  /** What was read ahead is there. */
  cameAhead(): void;
}

/** Looked at to find out how many messages there is room for. */
const samplesMax = 1024;

/**
 * Copies of the messages that an exchange gives out next, where they are scattered over more chunks than memory has room for.
 *
 * Messages are due in another order than they came in. To read a chunk for each of them would be a megabyte for a hundred bytes. So the next
 * ones, as many as a buffer holds, are copied together chunk by chunk, each read once and in the order of the files; and when half of them
 * are gone, those after them into a second buffer. What there are copies of is held in its chunk as before: a crash finds nothing changed.
 *
 * Takes no memory while all chunks are in it; then two buffers of `arena.readAheadBytes` and four bytes a message.
 */
export class ReadAhead implements ChunkWaiter {
  /** For each slot 0, or one more than twice the place of its copy, plus the number of the buffer. */
  private places = new Uint32Array(0);
  private buffers: Buffer[] = [];
  /** How many copies in each buffer were not given out yet, and how many there were. */
  private readonly left = [0, 0];
  private readonly brought = [0, 0];
  /** What is still to be copied: slots by chunk. */
  private wanted: { readonly chunk: Chunk; slots: number[] }[] = [];
  /** The buffer that is filled, and how far. */
  private filling = 0;
  private end = 0;
  /** Nothing that is due later is copied. */
  private until = 0;

  constructor(
    private readonly held: HeldSlots,
    private readonly arena: Arena,
  ) {}

  /** Whether the bytes of the message can be had without a read. */
  isHere(slot: number): boolean {
    return this.arena.evictedCount === 0 || (this.places[slot] ?? 0) !== 0 || this.chunkOf(slot).isResident;
  }

  /** Of the copy in `bytesOf`, or of the message itself. */
  offsetOf(slot: number): number {
    const place = this.places[slot] ?? 0;
    return place === 0 ? this.held.offsets[slot]! : (place - 1) >>> 1;
  }

  bytesOf(slot: number): Buffer {
    const place = this.places[slot] ?? 0;
    return place === 0 ? this.chunkOf(slot).bytes : this.buffers[(place - 1) & 1]!;
  }

  /** The message was given out. */
  leave(slot: number): void {
    const place = this.places[slot] ?? 0;
    if (place === 0) return;
    this.left[(place - 1) & 1]!--;
    this.places[slot] = 0;
  }

  /**
   * The first message is not here: true when it is under way, with others, and `cameAhead` will be called. False where it is to be read at once, by itself:
   * one that is longer than a buffer would be asked for again and again.
   */
  bring(): boolean {
    if (this.wanted.length > 0) return true;
    if (this.held.lengths[this.held.heap[0]!]! > this.arena.readAheadBytes) return false;
    const free = this.left.indexOf(0);
    if (free >= 0) this.begin(free);
    return this.wanted.length > 0;
  }

  /** Begins to bring those that come next, in time. */
  goOn(): void {
    const { arena, left, brought, held } = this;
    if (this.buffers.length === 0 || this.wanted.length > 0) return;
    if (held.count === 0 || (arena.evictedCount === 0 && left[0]! + left[1]! === 0)) return this.forget();
    const free = left.indexOf(0);
    if (free >= 0 && arena.evictedCount > 0 && left[1 - free]! * 2 < brought[1 - free]!) this.begin(free);
  }

  bytesCame(): void {
    if (this.wanted.length > 0 && this.copy()) this.held.cameAhead();
  }

  /** Slots have other numbers now: `from[slot]` is the old one. */
  renumber(from: Uint32Array, slots: number): void {
    if (this.places.length === 0) return;
    const before = this.places;
    const numbers = new Uint32Array(before.length);
    this.places = new Uint32Array(slots);
    for (let slot = 0; slot < Math.min(slots, from.length); slot++) {
      this.places[slot] = before[from[slot]!] ?? 0;
      numbers[from[slot]!] = slot;
    }
    for (const group of this.wanted) group.slots = group.slots.map((slot) => numbers[slot]!);
    this.arena.entryBytes += 4 * (slots - before.length);
  }

  /** Nothing is held any more. */
  forget(): void {
    this.arena.entryBytes -= 4 * this.places.length + this.buffers.reduce((bytes, { length }) => bytes + length, 0);
    this.places = new Uint32Array(0);
    this.buffers = [];
    this.wanted = [];
    this.left.fill(0);
  }

  /** Chooses what is copied next, and begins. */
  private begin(buffer: number): void {
    const { arena, held } = this;
    if (this.buffers.length === 0) {
      this.buffers = [0, 1].map(() => Buffer.allocUnsafeSlow(arena.readAheadBytes));
      this.places = new Uint32Array(held.heap.length);
      arena.entryBytes += 4 * this.places.length + 2 * arena.readAheadBytes;
    }
    this.filling = buffer;
    this.end = 0;
    this.wanted = this.choose(arena.readAheadBytes);
    this.copy();
  }

  /** The first messages without a copy, by chunk in the order of the files: about as many as there is room for. */
  private choose(room: number): { readonly chunk: Chunk; slots: number[] }[] {
    const { heap, count, lengths } = this.held;
    const step = Math.max(Math.floor(count / samplesMax), 1);
    const samples: number[] = [];
    for (let place = 0; place < count; place += step) samples.push(heap[place]!);
    samples.sort((one, other) => (this.held.isBefore(one, other) ? -1 : 1));
    const mean = samples.reduce((bytes, slot) => bytes + lengths[slot]!, 0) / samples.length;
    const share = (this.left[0]! + this.left[1]! + (room / mean) * 0.9) / count;
    const last = samples[Math.min(Math.floor(share * samples.length), samples.length - 1)]!;
    this.until = this.held.times[last]!;
    const groups = new Map<number, { readonly chunk: Chunk; slots: number[] }>();
    for (let place = 0; place < count; place++) {
      const slot = heap[place]!;
      if (this.places[slot] !== 0 || lengths[slot]! > room || this.held.isBefore(last, slot)) continue;
      const chunk = this.chunkOf(slot);
      const group = groups.get(chunk.id);
      if (group === undefined) groups.set(chunk.id, { chunk, slots: [slot] });
      else group.slots.push(slot);
    }
    return [...groups.values()].sort(({ chunk: one }, { chunk: other }) => (isBeforeOnDisk(one, other) ? -1 : 1));
  }

  /** Copies what is in memory, and asks for the next chunks that are not. True when everything is copied. */
  private copy(): boolean {
    const { arena } = this;
    this.wanted = this.wanted.filter(({ chunk, slots }) => {
      if (arena.chunks[chunk.id] !== chunk) return false; // all in it were given out
      if (!chunk.isResident) return true;
      for (const slot of slots) this.copyOne(slot, chunk);
      return false;
    });
    for (const { chunk } of this.wanted.slice(0, fetchedAtOnce)) arena.reader!.fetch(chunk, this);
    this.brought[this.filling] = this.left[this.filling]!;
    return this.wanted.length === 0;
  }

  private copyOne(slot: number, chunk: Chunk): void {
    const { chunks, offsets, lengths, times } = this.held;
    const length = lengths[slot]!;
    // It may be gone meanwhile, and another in its slot.
    if (length === 0 || chunks[slot] !== chunk.id || times[slot]! > this.until || this.places[slot] !== 0) return;
    const buffer = this.buffers[this.filling]!;
    if (this.end + length > buffer.length) return; // another time
    chunk.bytes.copy(buffer, this.end, offsets[slot], offsets[slot]! + length);
    this.places[slot] = 2 * this.end + this.filling + 1;
    this.left[this.filling]!++;
    this.end += length;
  }

  private chunkOf(slot: number): Chunk {
    return this.arena.chunks[this.held.chunks[slot]!]!;
  }
}

/** While one is copied the next are read. */
const fetchedAtOnce = 3;

function isBeforeOnDisk(one: Chunk, other: Chunk): boolean {
  const [path, otherPath] = [one.home?.path ?? '', other.home?.path ?? ''];
  return path < otherPath || (path === otherPath && one.position < other.position);
}
