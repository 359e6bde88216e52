import type { Clock } from '@dovecote/ground';
import type { Arena } from '../storage/arena.js';
import type { Deadlines, Due } from './deadlines.js';
import { delayIn } from './delay.js';
import { enqueuedAtBytes } from './expiry.js';
import type { MessageLog } from './message-log.js';
import { type HeldSlots, ReadAhead } from './read-ahead.js';
import { type Route, routeTo } from './route.js';
import type { VisitHolding } from './trimmer.js';

/** What held messages need of their virtual host. */
export interface DelayHost {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Publishes what stands in the image from the exchange on, as it would be published now, and settles what was held, in one record. */
  release(held: DelayedMessages, sequence: number, bytes: Buffer, offset: number, length: number): void;
  /** Sees to it that what was appended is committed, though nobody may wait for it. */
  commitSoon(): void;
  /** The journal is behind or the disk is full: whatever is due waits. */
  readonly mustWait: boolean;
}

/** Messages released before everybody else has a turn. */
const quantum = 1024;
/** How long what is due waits before it asks again whether the journal has caught up. */
const retryMs = 10;
const slotsMin = 16;

/**
 * The messages that one x-delayed-message exchange holds until they are due: a heap of numbers by time and, within a moment, by arrival;
 * one deadline for all of them, no timer and no object for any.
 *
 * To the journal this is like a queue: a message is written with the exchange's own id among its targets and with the moment at which it
 * came, from which its delay counts, and settled in the record that puts it into its queues. So after a crash a persistent message of a
 * durable exchange is either held or routed, and what came due meanwhile goes on at the opening. All others are gone with the process.
 *
 * 36 bytes a message beside its image. Images that memory has no room for are read back together (read-ahead.ts). When the exchange is deleted, what it holds is dropped. Only Exchanges makes and ends one.
 */
export class DelayedMessages implements Due, HeldSlots {
  dueAt = Infinity;
  duePlace = -1;
  count = 0;
  isDeleted = false;
  /** Leads to here and to nowhere else. */
  readonly route: Route;
  private readonly ahead: ReadAhead;
  private nextSequence = 1;
  private isOutOfOrder = false;
  /** Slots in the order of a binary heap in front of `count`, free slots behind. */
  heap = new Uint32Array(slotsMin).map((_, slot) => slot);
  times = new Float64Array(slotsMin);
  private sequences = new Float64Array(slotsMin);
  chunks = new Uint32Array(slotsMin);
  offsets = new Uint32Array(slotsMin);
  /** 0 marks one that was given out, or settled while it was recovered. */
  lengths = new Uint32Array(slotsMin);

  constructor(
    /** Of its exchange. */
    readonly name: string,
    /** Under which it stands in the journal; no queue has the same. */
    readonly id: number,
    /** undefined where nothing is kept. */
    readonly log: MessageLog | undefined,
    private readonly host: DelayHost,
  ) {
    this.route = routeTo([], [this]);
    this.ahead = new ReadAhead(this, host.arena);
  }

  get upcomingSequence(): number {
    return this.nextSequence;
  }

  /** Holds a message, which has the header that delays it and the moment at which it came in front. It becomes a holder of its chunk. */
  enqueue(chunk: number, offset: number, length: number): void {
    const holder = this.host.arena.chunks[chunk]!;
    holder.live++;
    holder.born++;
    const slot = this.fill(this.nextSequence++, chunk, offset, length);
    this.times[slot] = momentOf(holder.bytes, offset);
    this.rise(slot, this.count++);
    this.watchFirst();
    if (holder.isJournaled) this.host.commitSoon();
  }

  due(): void {
    const { clock, mustWait } = this.host;
    const now = clock.now();
    if (mustWait) return this.host.deadlines.schedule(this, now + retryMs);
    const { ahead } = this;
    for (let left = quantum; this.count > 0 && this.times[this.heap[0]!]! <= now; left--) {
      if (left === 0) return this.host.deadlines.schedule(this, now + 1);
      if (!ahead.isHere(this.heap[0]!) && ahead.bring()) return; // it goes on when they are there
      this.giveOut(this.takeFirst());
    }
    ahead.goOn();
    this.watchFirst();
  }

  cameAhead(): void {
    if (this.count > 0) this.host.deadlines.schedule(this, this.host.clock.now());
  }

  /** The slot is free when the message is released: it may be held again, or another come in its place. */
  private giveOut(slot: number): void {
    const { ahead, host } = this;
    const chunk = host.arena.chunks[this.chunks[slot]!]!;
    const [bytes, offset, length] = [ahead.bytesOf(slot), ahead.offsetOf(slot), this.lengths[slot]!];
    ahead.leave(slot);
    this.lengths[slot] = 0;
    host.release(this, this.sequences[slot]!, bytes, offset, length);
    host.arena.drop(chunk);
    if ((this.count & 4095) === 0) this.shrink();
  }

  /** The exchange is deleted. */
  clear(): void {
    const { arena, deadlines } = this.host;
    this.isDeleted = true;
    deadlines.cancel(this);
    for (let place = 0; place < this.count; place++) {
      const slot = this.heap[place]!;
      if (this.lengths[slot] !== 0) arena.drop(arena.chunks[this.chunks[slot]!]!);
    }
    this.count = 0;
    this.ahead.forget();
  }

  // What recovery does, in the order of the journal: so the slots are in the order of the sequences until it is finished.

  recoverMessage(sequence: number, chunk: number, offset: number, length: number): void {
    const holder = this.host.arena.chunks[chunk]!;
    holder.live++;
    holder.born++;
    // Written again when its file went, it comes late, or a second time.
    if (sequence < this.nextSequence) this.isOutOfOrder = true;
    this.fill(sequence, chunk, offset, length);
    this.count++;
    this.recoverSequence(sequence + 1);
  }

  recoverSettled(first: number, count: number): void {
    const { arena } = this.host;
    this.sortRecovered();
    for (let slot = this.slotFrom(first); slot < this.count && this.sequences[slot]! < first + count; slot++) {
      if (this.lengths[slot] === 0) continue;
      arena.drop(arena.chunks[this.chunks[slot]!]!);
      this.lengths[slot] = 0;
    }
    this.recoverSequence(first + count);
  }

  recoverSequence(next: number): void {
    if (next > this.nextSequence) this.nextSequence = next;
  }

  /** Everything was replayed: what is left waits for its moment, or for the first turn where that is past. */
  finishRecovery(): void {
    const { arena } = this.host;
    this.sortRecovered();
    const recovered = this.count;
    this.count = 0;
    for (let slot = 0; slot < recovered; slot++) {
      if (this.lengths[slot] === 0) continue;
      const left = this.fill(this.sequences[slot]!, this.chunks[slot]!, this.offsets[slot]!, this.lengths[slot]!);
      this.times[left] = momentOf(arena.chunks[this.chunks[left]!]!.bytes, this.offsets[left]!);
      this.rise(left, this.count++);
    }
    this.shrink();
    this.watchFirst();
  }

  /** Brings what was recovered into the order of its sequences again, each once. */
  private sortRecovered(): void {
    if (!this.isOutOfOrder) return;
    this.isOutOfOrder = false;
    const { arena } = this.host;
    const { sequences, chunks, offsets, lengths, count } = this;
    const slots = Array.from({ length: count }, (_, slot) => slot).filter((slot) => lengths[slot] !== 0);
    slots.sort((one, other) => sequences[one]! - sequences[other]! || one - other);
    const entries = slots.map((slot) => [sequences[slot]!, chunks[slot]!, offsets[slot]!, lengths[slot]!] as const);
    this.count = 0;
    for (const [sequence, chunk, offset, length] of entries) {
      if (this.count > 0 && this.sequences[this.count - 1] === sequence) arena.drop(arena.chunks[chunk]!);
      else {
        this.fill(sequence, chunk, offset, length);
        this.count++;
      }
    }
  }

  /** Everything that is held. */
  forEachHolding(visit: VisitHolding): void {
    const id = this.log === undefined ? 0 : this.id;
    for (let place = 0; place < this.count; place++) {
      const slot = this.heap[place]!;
      visit(this.chunks[slot]!, this.offsets[slot]!, this.lengths[slot]!, id, this.sequences[slot]!, true);
    }
  }

  private slotFrom(sequence: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.sequences[middle]! < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Writes to the next free slot and returns it; it must be put into the heap now. */
  private fill(sequence: number, chunk: number, offset: number, length: number): number {
    if (this.count === this.heap.length) this.resize(this.heap.length * 2);
    const slot = this.heap[this.count]!;
    this.sequences[slot] = sequence;
    this.chunks[slot] = chunk;
    this.offsets[slot] = offset;
    this.lengths[slot] = length;
    return slot;
  }

  /** Its numbers stay readable until slots are shrunk, or the next message comes. */
  private takeFirst(): number {
    const { heap } = this;
    const first = heap[0]!;
    const last = heap[--this.count]!;
    heap[this.count] = first;
    if (this.count > 0) this.sink(last);
    return first;
  }

  isBefore(one: number, other: number): boolean {
    const [at, otherAt] = [this.times[one]!, this.times[other]!];
    return at < otherAt || (at === otherAt && this.sequences[one]! < this.sequences[other]!);
  }

  private rise(slot: number, from: number): void {
    const { heap } = this;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.isBefore(heap[parent]!, slot)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = slot;
  }

  private sink(slot: number): void {
    const { heap, count } = this;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && this.isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (this.isBefore(slot, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = slot;
  }

  private watchFirst(): void {
    if (this.count > 0) this.host.deadlines.schedule(this, this.times[this.heap[0]!]!);
  }

  /** Gives memory back when most of it is unused. */
  private shrink(): void {
    let slots = this.heap.length;
    while (slots > 4096 && this.count + 1 < slots / 8) slots /= 2;
    if (slots < this.heap.length) this.resize(slots);
  }

  /** Copies slots to the places where they stand in the heap, which is a heap then too. */
  private resize(slots: number): void {
    const { heap, times, sequences, chunks, offsets, lengths } = this;
    this.times = new Float64Array(slots);
    this.sequences = new Float64Array(slots);
    this.chunks = new Uint32Array(slots);
    this.offsets = new Uint32Array(slots);
    this.lengths = new Uint32Array(slots);
    for (let place = 0; place < Math.min(slots, heap.length); place++) {
      const from = heap[place]!;
      this.times[place] = times[from]!;
      this.sequences[place] = sequences[from]!;
      this.chunks[place] = chunks[from]!;
      this.offsets[place] = offsets[from]!;
      this.lengths[place] = lengths[from]!;
    }
    this.ahead.renumber(heap, slots);
    this.heap = new Uint32Array(slots).map((_, slot) => slot);
  }
}

/** When the message at `offset` is due. */
function momentOf(bytes: Buffer, offset: number): number {
  return bytes.readUIntBE(offset - enqueuedAtBytes, enqueuedAtBytes) + delayIn(bytes, offset);
}
