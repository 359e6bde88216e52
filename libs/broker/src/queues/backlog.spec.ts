/** The entries of a queue with a part of them packed away, against a plain array: whatever is packed when, the same comes out. */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { SeededRandom } from '@dovecote/ground/testing';
import { Arena, type Chunk } from '../storage/arena.js';
import { Backlog } from './backlog.js';
import { PackedEntries } from './packed-entries.js';
import { ReadyRing } from './ready-ring.js';

type Entry = readonly [sequence: number, chunk: number, offset: number, length: number];

function entriesOf(ring: Pick<ReadyRing, 'forEach'>): Entry[] {
  const entries: Entry[] = [];
  ring.forEach((...entry) => entries.push(entry));
  return entries;
}

/** Entries as publishers make them, and now and then as nobody would. */
function drawEntries(random: SeededRandom, count: number, chunks: readonly number[]): Entry[] {
  let sequence = 1 + random.below(1000) * (random.chance(0.1) ? 2 ** 33 : 1);
  let at = random.below(1000);
  let place = 0;
  return Array.from({ length: count }, () => {
    const length = random.chance(0.7) ? 100 : 1 + random.below(random.chance(0.1) ? 2 ** 24 : 300);
    const entry: Entry = [sequence, chunks[place]!, at, length];
    sequence += random.chance(0.8) ? 1 : 1 + random.below(random.chance(0.1) ? 2 ** 32 : 20);
    at += length + (random.chance(0.8) ? 19 : random.below(500));
    if (random.chance(0.05)) at = Math.max(at - 5000, 0);
    if (random.chance(0.05)) {
      place = (place + 1) % chunks.length;
      at = random.below(1000);
    }
    return entry;
  });
}

describe('packed entries', () => {
  it.each(Array.from({ length: 20 }, (_, seed) => seed))('are unpacked as they were, seed %i', (seed) => {
    const random = new SeededRandom(seed);
    const ring = new ReadyRing(undefined, random.below(100));
    const entries = drawEntries(random, 1 + random.below(3000), [3, 1, 4]);
    for (const entry of entries) ring.push(...entry);
    const packed = PackedEntries.pack(ring, ring.head, ring.tail);
    expect(packed.count).toBe(entries.length);
    expect(entriesOf(packed)).toEqual(entries);
    expect([packed.firstSequence, packed.lastSequence]).toEqual([entries[0]![0], entries.at(-1)![0]]);
    for (const [index, chunk] of packed.chunks.entries()) {
      expect(packed.chunkCounts[index]).toBe(entries.filter((entry) => entry[1] === chunk).length);
    }
  });

  it('take next to nothing where the messages are alike', () => {
    const ring = new ReadyRing();
    for (let i = 0; i < 4096; i++) ring.push(i + 1, 7, 50 + i * 180, 161);
    expect(PackedEntries.pack(ring, 0, ring.tail).size).toBeLessThan(600);
  });

  it('are of a few chunks at most', () => {
    const ring = new ReadyRing();
    for (let i = 0; i < 100; i++) ring.push(i + 1, i, 0, 1000);
    expect(PackedEntries.pack(ring, 0, ring.tail)).toMatchObject({ count: 4, chunks: [0, 1, 2, 3] });
  });
});

class Owner {
  visible = 0;
  readonly arena = new Arena();
  readonly model: Entry[] = [];
  readonly backlog: Backlog;
  private sequence = 1;
  private chunk: Chunk;
  private at = 0;

  constructor(readonly random: SeededRandom) {
    this.arena.packedTogetherMax = 16;
    this.backlog = new Backlog(this.arena, this);
    this.chunk = this.arena.open(1, true);
  }

  push(): void {
    if (this.random.chance(0.1)) {
      this.arena.unpin(this.chunk);
      this.chunk = this.arena.open(1, true);
    }
    const entry: Entry = [(this.sequence += 1 + this.random.below(3)), this.chunk.id, (this.at += 10), 10];
    this.chunk.live++;
    this.backlog.push(...entry);
    this.model.push(entry);
  }

  /** Chunks must be held exactly by what is there, and be cold exactly where it is packed. */
  check(): void {
    const held = new Map<number, number>();
    for (const [, chunk] of this.model) held.set(chunk, (held.get(chunk) ?? 0) + 1);
    for (const chunk of this.arena.chunks) {
      if (chunk === undefined) continue;
      assert.equal(chunk.live, held.get(chunk.id) ?? 0);
      assert(chunk.cold <= chunk.live);
    }
  }
}

describe('a backlog', () => {
  it.each(Array.from({ length: 12 }, (_, seed) => seed))('gives out in order what was pushed, whatever is packed when, seed %i', (seed) => {
    const random = new SeededRandom(seed);
    const owner = new Owner(random);
    const { backlog, model, arena } = owner;
    for (let step = 0; step < 1500; step++) {
      const kind = random.below(10);
      if (kind < 5) owner.push();
      else if (kind < 6) backlog.pack(1 + random.below(40));
      else if (kind < 7) owner.visible = Math.max(owner.visible, backlog.tail - random.below(5));
      else if (owner.visible > backlog.head) {
        const slot = backlog.shift();
        const { sequences, chunks, offsets, lengths } = backlog.front;
        assert.deepEqual([sequences[slot], chunks[slot], offsets[slot], lengths[slot]], model.shift());
        arena.drop(arena.chunks[chunks[slot]!]!);
      }
      assert.equal(backlog.length, model.length);
      if (step % 500 === 499) {
        owner.check();
        expect(entriesOf(backlog)).toEqual(model);
      }
    }
    backlog.release();
    expect(arena.entryBytes).toBeGreaterThanOrEqual(0);
  });

  it.each(Array.from({ length: 12 }, (_, seed) => seed))('is recovered with what was settled left out, seed %i', (seed) => {
    const random = new SeededRandom(seed);
    const owner = new Owner(random);
    const { backlog, model, arena } = owner;
    for (let step = 0; step < 1500; step++) {
      const kind = random.below(10);
      if (kind < 7) {
        owner.push();
        owner.visible = backlog.tail;
      } else if (kind < 8) backlog.pack(1 + random.below(60));
      else if (model.length > 0) {
        const place = random.chance(0.6) ? 0 : random.below(model.length);
        const start = model[place]![0];
        const end = start + 1 + random.below(random.chance(0.1) ? 400 : 10);
        backlog.settle(start, end);
        const gone = model.filter(([sequence]) => sequence >= start && sequence < end).length;
        model.splice(place, gone);
      }
    }
    owner.check();
    backlog.compact();
    owner.visible = backlog.tail;
    owner.check();
    expect(backlog.length).toBe(model.length);
    expect(entriesOf(backlog)).toEqual(model);
    while (backlog.length > 0) {
      const slot = backlog.shift();
      const { sequences, chunks } = backlog.front;
      expect(sequences[slot]).toBe(model.shift()![0]);
      arena.drop(arena.chunks[chunks[slot]!]!);
    }
    expect(arena.chunks.filter((chunk) => chunk !== undefined && chunk.pins === 0)).toEqual([]);
  });
});
