/**
 * The messages of a queue that wait for their first delivery, oldest first: a ring of numbers, no object per message.
 *
 *   position   0 … | head … | visible … | tail        positions only grow; their slot is position & mask
 *
 * Each entry is the place of a message in the arena and its sequence in the queue. Entries behind the last commit are there
 * but not visible. 20 bytes an entry; it doubles when it is full and halves when it is mostly empty.
 */
const slotsMin = 16;

export class ReadyRing {
  head = 0;
  tail = 0;
  sequences = new Float64Array(slotsMin);
  chunks = new Uint32Array(slotsMin);
  offsets = new Uint32Array(slotsMin);
  /** 0 marks an entry that was settled while the ring was recovered. */
  lengths = new Uint32Array(slotsMin);
  private mask = slotsMin - 1;

  get length(): number {
    return this.tail - this.head;
  }

  push(sequence: number, chunk: number, offset: number, length: number): void {
    if (this.tail - this.head > this.mask) this.resize((this.mask + 1) * 2);
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

  private resize(slots: number): void {
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
