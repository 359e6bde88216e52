import type { ReadyRing } from './ready-ring.js';

/**
 * Entries of a queue that nobody needs soon, in a few bytes each: alike messages that were published one behind the other take next to
 * nothing, others about three bytes.
 *
 *   run   | count u4, flags u4 | [sequence step] | [gap or chunk and offset] | [length] |      numbers of 7 bits a byte, low ones first
 *
 * A run is so many entries with the same distance to the one before, in sequence and in place, and the same length. What is as in the run
 * before is left out. Only in memory; made from a ring and given back to one.
 */
export class PackedEntries {
  private constructor(
    readonly count: number,
    readonly firstSequence: number,
    readonly lastSequence: number,
    /** The chunks that the entries stand in, each once, and how many stand in each. */
    readonly chunks: readonly number[],
    readonly chunkCounts: readonly number[],
    private readonly bytes: Uint8Array,
  ) {}

  /** Bytes of memory. */
  get size(): number {
    return this.bytes.length + objectBytes + 16 * this.chunks.length;
  }

  /** Packs entries of `ring` from the position `from` on: up to `to`, but not more than `packedEntriesMax` and not of more than a few chunks. */
  static pack(ring: ReadyRing, from: number, to: number): PackedEntries {
    const { sequences, chunks, offsets, lengths } = ring;
    const first = ring.slotAt(from);
    const state = { ...start, sequence: sequences[first]! - 1 };
    const known: number[] = [];
    const counts: number[] = [];
    let at = 0;
    let index = -1;
    let runAt = -1;
    let runCount = 0;
    let position = from;
    for (const end = Math.min(to, from + packedEntriesMax); position < end; position++) {
      const slot = ring.slotAt(position);
      const isSameChunk = index >= 0 && chunks[slot] === known[index];
      if (!isSameChunk && known.length === packedChunksMax && !known.includes(chunks[slot]!)) break;
      const step = sequences[slot]! - state.sequence;
      const length = lengths[slot]!;
      const offset = offsets[slot]!;
      const gap = offset - state.end;
      state.sequence += step;
      state.end = offset + length;
      if (isSameChunk && runAt >= 0 && gap === state.gap && length === state.length && step === state.step && runCount < runMax) {
        runCount++;
        counts[index]!++;
        continue;
      }
      if (runAt >= 0) scratch[runAt]! |= runCount << 4;
      let flags = 0;
      runAt = at++;
      runCount = 1;
      if (step !== state.step) {
        flags |= hasStep;
        at = putNumber(at, step);
      }
      if (!isSameChunk) {
        index = known.indexOf(chunks[slot]!);
        if (index < 0) index = known.push(chunks[slot]!) - 1;
        flags |= hasPlace;
        at = putNumber(putNumber(at, index), offset);
      } else if (gap !== state.gap) {
        flags |= hasGap;
        at = putNumber(at, gap < 0 ? -2 * gap - 1 : 2 * gap);
        state.gap = gap;
      }
      if (length !== state.length) {
        flags |= hasLength;
        at = putNumber(at, length);
      }
      state.step = step;
      state.length = length;
      scratch[runAt] = flags;
      counts[index] = (counts[index] ?? 0) + 1;
    }
    scratch[runAt]! |= runCount << 4;
    return new PackedEntries(position - from, sequences[first]!, state.sequence, known, counts, scratch.slice(0, at));
  }

  /** Pushes all entries to the end of `ring`. */
  unpackTo(ring: ReadyRing): void {
    this.forEach((sequence, chunk, offset, length) => ring.push(sequence, chunk, offset, length));
  }

  forEach(visit: (sequence: number, chunk: number, offset: number, length: number) => void): void {
    const { bytes } = this;
    let { step, gap, length, end } = start;
    let sequence = this.firstSequence - 1;
    let chunk = 0;
    for (reader.at = 0; reader.at < bytes.length;) {
      const head = bytes[reader.at++]!;
      if ((head & hasStep) !== 0) step = takeNumber(bytes);
      let offset = -1;
      if ((head & hasPlace) !== 0) {
        chunk = this.chunks[takeNumber(bytes)]!;
        offset = takeNumber(bytes);
      } else if ((head & hasGap) !== 0) {
        const coded = takeNumber(bytes);
        gap = coded % 2 === 1 ? -(coded + 1) / 2 : coded / 2;
      }
      if ((head & hasLength) !== 0) length = takeNumber(bytes);
      for (let left = head >> 4; left > 0; left--) {
        sequence += step;
        if (offset < 0) offset = end + gap;
        visit(sequence, chunk, offset, length);
        end = offset + length;
        offset = -1;
      }
    }
  }
}

/** Of one `PackedEntries`, so that its first entry is never far. */
const packedEntriesMax = 4096;
/** The same for their bytes. */
const packedChunksMax = 4;

const hasStep = 1;
const hasPlace = 2;
const hasGap = 4;
const hasLength = 8;
/** What the head of a run has room for. */
const runMax = 15;
/** What an object of this class takes beside its bytes, about. */
const objectBytes = 250;
const start = { sequence: 0, step: 1, gap: 0, length: 0, end: 0 };

/** The longest run takes a head and numbers of 8, 4, 4 and 5 bytes. */
const scratch = new Uint8Array(packedEntriesMax * 24);
const reader = { at: 0 };

/** Writes a number and returns where it ends. */
function putNumber(from: number, number: number): number {
  let at = from;
  let value = number;
  while (value >= 128) {
    scratch[at++] = (value % 128) | 128;
    value = Math.floor(value / 128);
  }
  scratch[at++] = value;
  return at;
}

function takeNumber(bytes: Uint8Array): number {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[reader.at++]!;
    value += (byte & 127) * factor;
    if (byte < 128) return value;
  }
}
