/**
 * The messages of a queue that wait for their first delivery, oldest first: a ring of numbers, no object per message.
 *
 *   position   0 … | head … | visible … | tail        positions only grow; their slot is position & mask
 *
 * Each entry is the place of a message in the arena and its sequence in the queue. Entries behind the last commit are there
 * but not visible. 20 bytes an entry; it doubles when it is full and halves when it is mostly empty.
 */
const slotsMin = 16;
const slotBytes = 20;

export interface EntryMemory {
  entryBytes: number;
  hasGrown: boolean;
}

export class ReadyRing {
  head: number;
  tail: number;
  sequences = new Float64Array(slotsMin);
  chunks = new Uint32Array(slotsMin);
  offsets = new Uint32Array(slotsMin);
  /** 0 marks an entry that was settled while the ring was recovered. */
  lengths = new Uint32Array(slotsMin);
  private mask = slotsMin - 1;

  constructor(
    /** Where the memory of long rings is counted. */
    private readonly memory?: EntryMemory,
    /** The position of the first entry. */
    start = 0,
    /** Called when it needed more slots. */
    private readonly grown?: (slots: number) => void,
  ) {
    this.head = start;
    this.tail = start;
  }

  get slots(): number {
    return this.mask + 1;
  }

  get length(): number {
    return this.tail - this.head;
  }

  push(sequence: number, chunk: number, offset: number, length: number): void {
    if (this.tail - this.head > this.mask) this.grow();
    const slot = this.tail++ & this.mask;
    this.sequences[slot] = sequence;
    this.chunks[slot] = chunk;
    this.offsets[slot] = offset;
    this.lengths[slot] = length;
  }

  /** The slot of the oldest entry, which is taken out; its numbers stay readable until the next push. */
  shift(): number {
    const slot = this.head++ & this.mask;
    const slots = this.mask + 1;
    if (slots > 4096 && (this.head & 1023) === 0 && this.tail - this.head < slots / 8) {
      this.head--;
      this.resize(slots / 2);
      return this.head++ & this.mask;
    }
    return slot;
  }

  slotAt(position: number): number {
    return position & this.mask;
  }

  /** The first position whose sequence is not below `sequence`; `tail` when there is none. */
  positionOf(sequence: number): number {
    let low = this.head;
    let high = this.tail;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if (this.sequences[middle & this.mask]! < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  forEach(visit: (sequence: number, chunk: number, offset: number, length: number) => void): void {
    for (let position = this.head; position < this.tail; position++) {
      const slot = position & this.mask;
      visit(this.sequences[slot]!, this.chunks[slot]!, this.offsets[slot]!, this.lengths[slot]!);
    }
  }

  /** Takes out the entries that were marked with length 0. */
  compact(): void {
    let to = this.head;
    for (let from = this.head; from < this.tail; from++) {
      const slot = from & this.mask;
      if (this.lengths[slot] === 0) continue;
      const target = to++ & this.mask;
      this.sequences[target] = this.sequences[slot]!;
      this.chunks[target] = this.chunks[slot]!;
      this.offsets[target] = this.offsets[slot]!;
      this.lengths[target] = this.lengths[slot]!;
    }
    this.tail = to;
  }

  /** Its memory is not counted any more. */
  release(): void {
    if (this.memory !== undefined) this.memory.entryBytes -= (this.slots - slotsMin) * slotBytes;
  }

  /** Takes the entries before the position `head` out. */
  dropUpTo(head: number): void {
    this.head = head;
    let { slots } = this;
    while (slots > 4096 && this.length < slots / 8) slots /= 2;
    if (slots < this.slots) this.resize(slots);
  }

  private grow(): void {
    this.resize(this.slots * 2);
    if (this.memory !== undefined) this.memory.hasGrown = true;
    this.grown?.(this.slots);
  }

  private resize(slots: number): void {
    if (this.memory !== undefined) this.memory.entryBytes += (slots - this.slots) * slotBytes;
    const sequences = new Float64Array(slots);
    const chunks = new Uint32Array(slots);
    const offsets = new Uint32Array(slots);
    const lengths = new Uint32Array(slots);
    for (let position = this.head; position < this.tail; position++) {
      const from = position & this.mask;
      const to = position & (slots - 1);
      sequences[to] = this.sequences[from]!;
      chunks[to] = this.chunks[from]!;
      offsets[to] = this.offsets[from]!;
      lengths[to] = this.lengths[from]!;
    }
    this.sequences = sequences;
    this.chunks = chunks;
    this.offsets = offsets;
    this.lengths = lengths;
    this.mask = slots - 1;
  }
}
