import type { Queue } from './queue.js';
import type { Consumer } from './consumer.js';

/** One delivery that was taken out of the ring. */
export interface Outstanding {
  readonly tag: number;
  readonly queue: Queue;
  readonly consumer: Consumer | undefined;
  readonly sequence: number;
  readonly chunk: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * What a session has delivered and not yet heard about, in the order of the delivery tags: a ring of numbers beside two arrays
 * for the queue and the consumer.
 *
 * Tags are usually dense and acknowledged in order, so a tag is found by subtraction; where others were settled out of order it
 * is found by halving. Settled entries in the middle are squeezed out before they outnumber the living ones, so one message that
 * is never acknowledged costs one entry, not everything delivered after it.
 */
const slotsMin = 16;

export class Unacknowledged {
  /** How many are outstanding. */
  count = 0;
  private head = 0;
  private tail = 0;
  private mask = slotsMin - 1;
  private tags = new Float64Array(slotsMin);
  sequences = new Float64Array(slotsMin);
  chunks = new Uint32Array(slotsMin);
  offsets = new Uint32Array(slotsMin);
  lengths = new Uint32Array(slotsMin);
  /** undefined marks a settled entry. */
  queues: (Queue | undefined)[] = new Array<Queue | undefined>(slotsMin).fill(undefined);
  /** undefined for a message that was fetched with get. */
  consumers: (Consumer | undefined)[] = new Array<Consumer | undefined>(slotsMin).fill(undefined);

  push(tag: number, queue: Queue, consumer: Consumer | undefined, sequence: number, chunk: number, offset: number, length: number): void {
    if (this.tail - this.head > this.mask) this.makeRoom();
    const slot = this.tail++ & this.mask;
    this.tags[slot] = tag;
    this.queues[slot] = queue;
    this.consumers[slot] = consumer;
    this.sequences[slot] = sequence;
    this.chunks[slot] = chunk;
    this.offsets[slot] = offset;
    this.lengths[slot] = length;
    this.count++;
  }

  /** The slot of `tag`, or -1 when it is not outstanding. */
  find(tag: number): number {
    if (this.count === 0) return -1;
    const guess = this.head + (tag - this.tags[this.head & this.mask]!);
    if (guess >= this.head && guess < this.tail && this.tags[guess & this.mask] === tag) {
      return this.queues[guess & this.mask] === undefined ? -1 : guess & this.mask;
    }
    let low = this.head;
    let high = this.tail;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if (this.tags[middle & this.mask]! < tag) low = middle + 1;
      else high = middle;
    }
    const slot = low & this.mask;
    return low < this.tail && this.tags[slot] === tag && this.queues[slot] !== undefined ? slot : -1;
  }

  tagAt(slot: number): number {
    return this.tags[slot]!;
  }

  /** The slot of the oldest outstanding entry, if its tag is at most `tag`; else -1. */
  oldestUpTo(tag: number): number {
    if (this.count === 0) return -1;
    const slot = this.head & this.mask; // the head is never a settled entry
    return this.tags[slot]! <= tag ? slot : -1;
  }

  /** Takes an entry out. */
  take(slot: number): Outstanding {
    const outstanding = this.at(slot);
    this.remove(slot);
    return outstanding;
  }

  /** Puts back what was taken out, each in the place of its tag. */
  restore(taken: readonly Outstanding[]): void {
    if (taken.length === 0) return;
    const all = [...taken];
    for (let position = this.head; position < this.tail; position++) {
      if (this.queues[position & this.mask] !== undefined) all.push(this.at(position & this.mask));
    }
    all.sort((one, other) => one.tag - other.tag);
    this.head = this.tail;
    this.count = 0;
    this.queues.fill(undefined);
    this.consumers.fill(undefined);
    for (const { tag, queue, consumer, sequence, chunk, offset, length } of all) {
      this.push(tag, queue, consumer, sequence, chunk, offset, length);
    }
  }

  /** Forgets an entry whose numbers were read. */
  remove(slot: number): void {
    this.queues[slot] = undefined;
    this.consumers[slot] = undefined;
    this.count--;
    while (this.head < this.tail && this.queues[this.head & this.mask] === undefined) this.head++;
  }

  private at(slot: number): Outstanding {
    return {
      tag: this.tags[slot]!,
      queue: this.queues[slot]!,
      consumer: this.consumers[slot],
      sequence: this.sequences[slot]!,
      chunk: this.chunks[slot]!,
      offset: this.offsets[slot]!,
      length: this.lengths[slot]!,
    };
  }

  private makeRoom(): void {
    const slots = this.mask + 1;
    this.copyTo(this.count > slots / 2 ? slots * 2 : slots);
  }

  /** Copies the living entries to fresh arrays; always, because source and target slots may overlap. */
  private copyTo(slots: number): void {
    const { head, tail, mask, tags, queues, consumers, sequences, chunks, offsets, lengths } = this;
    this.tags = new Float64Array(slots);
    this.sequences = new Float64Array(slots);
    this.chunks = new Uint32Array(slots);
    this.offsets = new Uint32Array(slots);
    this.lengths = new Uint32Array(slots);
    this.queues = new Array<Queue | undefined>(slots).fill(undefined);
    this.consumers = new Array<Consumer | undefined>(slots).fill(undefined);
    let to = 0;
    for (let position = head; position < tail; position++) {
      const from = position & mask;
      if (queues[from] === undefined) continue;
      this.tags[to] = tags[from]!;
      this.queues[to] = queues[from];
      this.consumers[to] = consumers[from];
      this.sequences[to] = sequences[from]!;
      this.chunks[to] = chunks[from]!;
      this.offsets[to] = offsets[from]!;
      this.lengths[to] = lengths[from]!;
      to++;
    }
    this.head = 0;
    this.tail = to;
    this.mask = slots - 1;
  }
}
