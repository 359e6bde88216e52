/** The parts of a queue and of an exchange, each against the plainest model of it, with random commands from a seed. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import { Arena } from '../storage/arena.js';
import { Gate } from './gate.js';
import { ReadyRing } from './ready-ring.js';
import { Returned } from './returned.js';
import { RecentRoutes, routesPerGenerationMax } from './recent-routes.js';
import { nowhere } from './route.js';
import { TopicTrie } from './topic-trie.js';
import { type Flushable, Turn } from './turn.js';
import type { Queue } from './queue.js';
import { Unacknowledged } from './unacknowledged.js';

describe('the ready ring', () => {
  it('is a queue of numbers, through growing and shrinking', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = new SeededRandom(seed);
      const ring = new ReadyRing();
      const model: [number, number, number, number][] = [];
      let first = 0;
      let sequence = 0;
      for (let step = 0; step < 400; step++) {
        const grows = random.chance(0.5);
        for (let left = random.below(seed % 5 === 0 ? 1500 : 40); left > 0; left--) {
          if (grows) {
            const entry: [number, number, number, number] = [
              (sequence += 1 + random.below(3)),
              random.below(2 ** 32),
              random.below(2 ** 32),
              1 + random.below(100),
            ];
            ring.push(...entry);
            model.push(entry);
          } else if (model.length > first) {
            const slot = ring.shift();
            const taken = [ring.sequences[slot], ring.chunks[slot], ring.offsets[slot], ring.lengths[slot]];
            const wanted = model[first++]!;
            if (taken.some((value, i) => value !== wanted[i])) expect(taken).toEqual(wanted);
          }
        }
        if (ring.length !== model.length - first) expect(ring.length).toBe(model.length - first);
        if (step % 10 !== 0) continue;
        const wanted = random.below(sequence + 3);
        const position = model.findIndex(([other], i) => i >= first && other >= wanted);
        expect(ring.positionOf(wanted) - ring.head).toBe((position < 0 ? model.length : position) - first);
      }
    }
  });

  it('leaves out the entries that were marked, and keeps the order of the others', () => {
    const random = new SeededRandom(1);
    const ring = new ReadyRing();
    for (let round = 0; round < 30; round++) {
      for (let sequence = 1; sequence <= 100; sequence++) ring.push(round * 1000 + sequence, 0, 0, random.chance(0.5) ? 0 : 1);
      const left: number[] = [];
      for (let position = ring.head; position < ring.tail; position++) {
        if (ring.lengths[ring.slotAt(position)] !== 0) left.push(ring.sequences[ring.slotAt(position)]!);
      }
      ring.compact();
      expect(Array.from({ length: ring.length }, (_, i) => ring.sequences[ring.slotAt(ring.head + i)])).toEqual(left);
      while (ring.length > 20) ring.shift();
    }
  });
});

describe('returned messages', () => {
  it('come out in the order of their sequence', () => {
    const random = new SeededRandom(2);
    const returned = new Returned();
    const model: number[] = [];
    for (let step = 0; step < 3000; step++) {
      if (model.length === 0 || random.chance(0.52)) {
        const sequence = random.below(1e6);
        returned.push({ sequence, chunk: 0, offset: 0, length: 0 });
        model.push(sequence);
        model.sort((one, other) => one - other);
      } else expect(returned.shift().sequence).toBe(model.shift());
      if (returned.length !== model.length) expect(returned.length).toBe(model.length);
    }
  });
});

describe('unacknowledged deliveries', () => {
  it('are found and forgotten by their tags, in any order', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = new SeededRandom(seed);
      const unacknowledged = new Unacknowledged();
      const model = new Map<number, number>();
      const queue = {} as Queue;
      let tag = 0;
      for (let step = 0; step < 1500; step++) {
        const choice = random.below(10);
        if (choice < 5) {
          unacknowledged.push(++tag, queue, undefined, tag * 2, 1, 2, 3);
          model.set(tag, tag * 2);
        } else if (choice < 8) {
          const wanted = random.chance(0.1) ? random.below(tag + 10) : ([...model.keys()][random.below(model.size + 1)] ?? 0);
          const slot = unacknowledged.find(wanted);
          expect(slot < 0 ? undefined : unacknowledged.sequences[slot]).toBe(model.get(wanted));
          if (slot >= 0) unacknowledged.remove(slot);
          model.delete(wanted);
        } else {
          const upTo = random.below(tag + 2);
          const [oldest] = model.keys();
          const slot = unacknowledged.oldestUpTo(upTo);
          expect(slot < 0 ? undefined : unacknowledged.sequences[slot]).toBe(
            oldest !== undefined && oldest <= upTo ? oldest * 2 : undefined,
          );
          if (slot >= 0) unacknowledged.remove(slot);
          if (slot >= 0) model.delete(oldest!);
        }
        if (unacknowledged.count !== model.size) expect(unacknowledged.count).toBe(model.size);
      }
    }
  });

  it.each([-1, 0, 0.5, 2, 1e15, Number.MAX_SAFE_INTEGER, Infinity])('know nothing of the tag %d', (tag) => {
    const unacknowledged = new Unacknowledged();
    expect(unacknowledged.find(tag)).toBe(-1);
    unacknowledged.push(1, {} as Queue, undefined, 1, 1, 1, 1);
    unacknowledged.push(3, {} as Queue, undefined, 1, 1, 1, 1);
    expect(unacknowledged.find(tag)).toBe(-1);
  });

  it('cost no more for one that is never settled', () => {
    const unacknowledged = new Unacknowledged();
    unacknowledged.push(1, {} as Queue, undefined, 1, 1, 1, 1);
    for (let tag = 2; tag < 10_000; tag++) {
      unacknowledged.push(tag, {} as Queue, undefined, tag, 1, 1, 1);
      unacknowledged.remove(unacknowledged.find(tag));
    }
    expect(unacknowledged.queues.length).toBe(16);
    expect(unacknowledged.find(1)).toBeGreaterThanOrEqual(0);
  });
});

/** What a topic pattern means, said as shortly as possible. */
function matches(pattern: readonly string[], key: readonly string[]): boolean {
  const [word, ...rest] = pattern;
  if (word === undefined) return key.length === 0;
  if (word === '#') return matches(rest, key) || (key.length > 0 && matches(pattern, key.slice(1)));
  return key.length > 0 && (word === '*' || (word === key[0] && word !== '#')) && matches(rest, key.slice(1));
}

const split = (text: string): string[] => (text === '' ? [] : text.split('.'));

describe('the topic trie', () => {
  it('finds what a recursive matcher finds, while patterns come and go', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new SeededRandom(seed);
      const draw = (words: readonly string[], lengthMax: number): string =>
        Array.from({ length: random.below(lengthMax + 1) }, () => words[random.below(words.length)]).join('.');
      const trie = new TopicTrie<string>();
      const patterns = new Set<string>();
      for (let step = 0; step < 120; step++) {
        const pattern = draw(['a', 'b', '*', '#', '#', ''], 5);
        if (random.chance(0.4) && patterns.has(pattern)) {
          patterns.delete(pattern);
          trie.remove(pattern, pattern);
        } else if (!patterns.has(pattern)) {
          patterns.add(pattern);
          trie.add(pattern, pattern);
        }
        const key = draw(['a', 'b', 'c', ''], 6);
        const found: string[] = [];
        trie.match(key, (value) => found.push(value));
        const wanted = [...patterns].filter((other) => matches(split(other), split(key)));
        expect([key, ...found.sort()]).toEqual([key, ...wanted.sort()]);
      }
      for (const pattern of patterns) trie.remove(pattern, pattern);
      trie.match('a.b', () => expect(false).toBe(true));
      trie.remove('never.there', 'x');
    }
  });

  it.each([
    ['stock.#.nyse', 'stock.nyse', true],
    ['stock.#.nyse', 'stock.a.b.nyse', true],
    ['stock.#.nyse', 'stock.a.b', false],
    ['#', '', true],
    ['*', '', false],
    ['', '', true],
    ['a.*', 'a.', true],
    ['a.b', 'a..b', false],
    ['a.*.b', 'a..b', true],
    ['*', '*', true],
    ['a', '#', false],
  ])('leads %p and the key %p together: %p', (pattern, key, isMatch) => {
    const trie = new TopicTrie<string>();
    trie.add(pattern, 'it');
    const found: string[] = [];
    trie.match(key, (value) => found.push(value));
    expect(found).toEqual(isMatch ? ['it'] : []);
  });

  it('does a bounded amount of work for hostile patterns', () => {
    const trie = new TopicTrie<string>();
    // Each of these doubles the work of a matcher that tries everything, and none of them matches.
    trie.add(`${Array.from({ length: 100 }, () => '#').join('.')}.x`, 'all rests');
    trie.add(`${Array.from({ length: 60 }, () => '#.*').join('.')}.x`, 'rests and words');
    trie.add(`${Array.from({ length: 60 }, () => '#.').join('.')}.x`, 'rests and empty words');
    let compared = 0;
    const get = Object.getOwnPropertyDescriptor(Map.prototype, 'get')!;
    const counting = {
      ...get,
      value(this: Map<unknown, unknown>, wanted: unknown) {
        compared++;
        return (get.value as (wanted: unknown) => unknown).call(this, wanted);
      },
    };
    Object.defineProperty(Map.prototype, 'get', counting);
    const found: string[] = [];
    try {
      trie.match('.'.repeat(254), (value) => found.push(value));
    } finally {
      Object.defineProperty(Map.prototype, 'get', get);
    }
    expect(found).toEqual([]);
    expect(compared).toBeGreaterThan(1000);
    expect(compared).toBeLessThan(6 * 256 * 350); // words of the key, nodes of the patterns
  });
});

describe('recent routes', () => {
  it('keep what is asked for through a flood of other keys, and forget all when bindings change', () => {
    const recent = new RecentRoutes();
    const route = { ...nowhere };
    recent.find(1, 'x', 'a');
    recent.keep('x', 'a', route);
    for (let flood = 0; flood < 5 * routesPerGenerationMax; flood++) {
      recent.keep('x', `flood ${flood}`, nowhere);
      if (flood % 1000 === 0) expect(recent.find(1, 'x', 'a')).toBe(route);
    }
    expect(recent.find(1, 'x', 'flood 0')).toBeUndefined();
    expect(recent.find(1, 'y', 'a')).toBeUndefined();
    expect(recent.find(2, 'x', 'a')).toBeUndefined();
  });
});

describe('the arena', () => {
  it('gives every chunk back that nobody holds, and uses its memory again', () => {
    const random = new SeededRandom(3);
    const arena = new Arena();
    const held: { chunk: number; offset: number; length: number; fill: number }[] = [];
    for (let step = 0; step < 4000; step++) {
      if (random.chance(0.5)) {
        const length = random.chance(0.01) ? 1_500_000 : 1 + random.below(20_000);
        const chunk = arena.reserveVolatile(length);
        chunk.live++;
        const fill = step & 0xff;
        chunk.bytes.fill(fill, arena.volatileOffset, arena.volatileOffset + length);
        held.push({ chunk: chunk.id, offset: arena.volatileOffset, length, fill });
      } else if (held.length > 0) {
        const [{ chunk, offset, length, fill }] = held.splice(random.below(held.length), 1) as [(typeof held)[0]];
        const bytes = arena.chunks[chunk]!.bytes.subarray(offset, offset + length);
        if (bytes[0] !== fill || bytes[length - 1] !== fill) expect([bytes[0], bytes[length - 1]]).toEqual([fill, fill]);
        arena.drop(arena.chunks[chunk]!);
      }
      if (random.chance(0.002)) for (const { chunk } of held.splice(0)) arena.drop(arena.chunks[chunk]!);
    }
    for (const { chunk } of held.splice(0)) arena.drop(arena.chunks[chunk]!);
    // The chunk that is being filled may stay, whatever its size.
    expect(arena.chunks.filter((chunk) => chunk !== undefined).length).toBe(1);
    expect(arena.bytesInUse).toBe(arena.chunks.find((chunk) => chunk !== undefined)!.bytes.length);
  });
});

describe('the gate', () => {
  it('tells of every change of its state, and puts the disk before the memory', () => {
    const gate = new Gate();
    const heard: string[] = [];
    const stop = gate.onChange(() => heard.push(`${gate.state} ${gate.reason}`));
    gate.journalIsBehind(true);
    gate.journalIsBehind(true);
    gate.memoryIsFull('memory');
    gate.diskIsFull('disk');
    expect(gate.reason).toBe('disk');
    expect(gate.isDiskFull).toBe(true);
    gate.diskIsFull(undefined);
    gate.memoryIsFull(undefined);
    gate.journalIsBehind(false);
    stop();
    gate.diskIsFull('disk');
    expect(heard).toEqual(['busy ', 'blocked memory', 'busy ', 'open ']);
  });
});

describe('a turn', () => {
  /** Runs what was deferred, and what that defers; returns how many turns it took. */
  function turns(deferred: (() => void)[]): number {
    let count = 0;
    for (let run = deferred.shift(); run !== undefined; run = deferred.shift(), count++) run();
    return count;
  }

  function setUp(): { readonly turn: Turn; readonly deferred: (() => void)[]; readonly connection: Flushable & { flushes: number } } {
    const deferred: (() => void)[] = [];
    const clock = {
      now: () => 0,
      monotonicMs: () => 0,
      after: () => ({ cancel: () => undefined }),
      defer: (run: () => void) => void deferred.push(run),
    };
    const connection = { isFlushQueued: false, flushes: 0, flush: (): void => void connection.flushes++ };
    return { turn: new Turn(clock), deferred, connection };
  }

  it('sends what it delivered, without one more turn', () => {
    const { turn, deferred, connection } = setUp();
    const deliver = (): boolean => (turn.flushSoon(connection), false);
    turn.queueIsDirty({ isDirty: true, dispatch: deliver } as unknown as Queue);
    expect(turns(deferred)).toBe(1);
    expect(connection.flushes).toBe(1);
  });

  it('is followed by another for what is said while it sends, and after a delivery that failed', () => {
    const { turn, deferred, connection } = setUp();
    const late = { isFlushQueued: false, flush: (): void => turn.flushSoon(connection) };
    turn.flushSoon(late);
    expect(turns(deferred)).toBe(2);
    expect(connection.flushes).toBe(1);
    const fail = (): never => {
      turn.flushSoon(connection);
      throw new CodedError('storage-failed', 'the bytes could not be read back');
    };
    turn.queueIsDirty({ isDirty: true, dispatch: fail } as unknown as Queue);
    expect(turns(deferred)).toBe(2);
    expect(connection.flushes).toBe(2);
  });
});
