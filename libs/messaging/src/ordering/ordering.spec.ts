/** The order of keys, over lanes in memory: whatever fails, ends or moves, in every run from a seed. */
import { describe, expect, it } from '@jest/globals';
import { PARKED_MAX, SUSPECTED_STARTS_MAX } from '../limits.js';
import type { Message } from '../message.js';
import { type LaneLog, type Member, World, type WorldOptions } from './lane-world.js';

const RUNS = 50;
const STEPS = 120;

describe('a model of keys in lanes', () => {
  for (const order of ['key', 'strict'] as const) {
    for (const isLog of [true, false]) {
      it(`keeps order '${order}' over ${isLog ? 'a log' : 'queues'}, loses nothing, and comes to an end`, async () => {
        for (let seed = 1; seed <= RUNS; seed++) {
          const { found, wanted } = await run({ seed, order, isLog, lanes: 3, refusals: seed % 3 === 0 ? 0.1 : 0 });
          expect({ seed, ...found }).toEqual({ seed, ...wanted });
        }
      });
    }
  }
});

describe('a key', () => {
  it('whose first message fails is parked behind it, out of the way of the others', async () => {
    const { world, lane, begun } = scene({ failing: { 'a-0': 2 }, retryMs: 1_000 });
    await world.clock.drive(world.give(lane, world.member()));
    for (let count = 0; count < 20; count++) world.publish(`a-${count}`, 'a');
    for (let count = 0; count < 20; count++) world.publish(`b-${count}`, 'b');
    await world.clock.advance(900);
    // More than may be out at once came before those of the other key.
    expect(world.ends.get('b')).toHaveLength(20);
    expect(begun.filter((id) => id.startsWith('a'))).toEqual(['a-0']);
    expect(lane.entries.every(({ isDone }) => isDone)).toBe(true);
    expect([...lane.parked.values()].map(({ state }) => state)).toEqual(['retry', ...Array.from({ length: 19 }, () => 'behind')]);
    await world.clock.runUntilIdle();
    expect(world.ends.get('a')).toEqual(Array.from({ length: 20 }, (_, index) => `a-${index}`));
    expect([lane.parked.size, begun.filter((id) => id === 'a-0').length]).toEqual([0, 3]);
  });

  it('goes on behind a dead letter, and strictly only when that is sent again or thrown away', async () => {
    for (const order of ['key', 'strict'] as const) {
      const { world, lane, begun } = scene({ order, failing: { 'a-0': 3, 'a-2': 3 } });
      await world.clock.drive(world.give(lane, world.member()));
      for (let count = 0; count < 4; count++) world.publish(`a-${count}`, 'a');
      await world.clock.runUntilIdle();
      if (order === 'key') {
        expect(world.ends.get('a')).toEqual(['a-0', 'a-1', 'a-2', 'a-3']);
        expect([...world.letters.keys()]).toEqual(['a-0', 'a-2']);
        continue;
      }
      expect([...world.letters.keys(), ...(world.ends.get('a') ?? [])]).toEqual(['a-0']);
      await world.clock.drive(world.resolveLetter(world.letters.get('a-0')!, true));
      await world.clock.runUntilIdle();
      expect(world.ends.get('a')).toEqual(['a-0', 'a-1']);
      await world.clock.drive(world.resolveLetter(world.letters.get('a-2')!, false));
      await world.clock.runUntilIdle();
      expect(world.ends.get('a')).toEqual(['a-0', 'a-1', 'a-3']);
      expect([begun.filter((id) => id === 'a-2').length, lane.parked.size]).toEqual([3, 0]);
    }
  });

  it('takes no message of a dead letter that was sent again twice for a later one', async () => {
    const failing: Record<string, number> = { 'a-0': 3 };
    const { world, lane } = scene({ order: 'strict', failing });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    world.publish('a-0', 'a');
    await world.clock.runUntilIdle();
    const letter = world.letters.get('a-0')!;
    await world.clock.drive(world.resolveLetter(letter, true));
    await world.clock.runUntilIdle();
    await world.clock.drive(first.giveUp(lane));
    failing['a-1'] = 3;
    world.publish('a-1', 'a');
    await world.clock.drive(world.give(lane, world.member()));
    await world.clock.runUntilIdle();
    expect([...world.letters.keys()]).toEqual(['a-1']);
    await world.clock.drive(world.resolveLetter(letter, true));
    await world.clock.runUntilIdle();
    expect([...lane.parked.values()].map(({ envelope, state }) => [envelope.id, state])).toEqual([['a-1', 'dead']]);
  });

  it('counts the attempts of a message once that comes again because the crash was before its acknowledgement', async () => {
    const { world, lane, begun } = scene({ failing: { a: 9 }, acknowledges: false });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    world.publish('a', 'a');
    await world.clock.advance(11);
    first.kill();
    expect([lane.parked.size, lane.entries[0]!.isDone]).toEqual([1, false]);
    await world.clock.drive(world.give(lane, world.member()));
    await world.clock.runUntilIdle();
    expect([begun.length, [...world.letters.keys()], lane.entries[0]!.isDone]).toEqual([3, ['a'], true]);
  });

  it('has its dead letter although the process ends before that is written down', async () => {
    const { world, lane } = scene({ order: 'strict', failing: { a: 3 }, keepsLetters: false });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    world.publish('a', 'a');
    await world.clock.advance(1_000);
    expect([[...lane.parked.values()].map(({ state }) => state), world.letters.size]).toEqual([['dead'], 0]);
    first.kill();
    world.keepsLetters = true;
    await world.clock.drive(world.give(lane, world.member()));
    await world.clock.runUntilIdle();
    expect(world.letters.get('a')!.trail!.death).toMatchObject({ cause: 'attempts', parked: { lane: lane.id } });
  });
});

describe('a message that is too large to be parked', () => {
  const large = (order: 'key' | 'strict', failing: Record<string, number>, bytesMax = 1_000) => {
    const { world, lane, begun } = scene({ order, failing, bytesMax, isLog: true });
    const publish = (id: string, bytes: number): void => world.publish(id, 'a', 'x'.repeat(bytes));
    return { world, lane, begun, publish };
  };

  it('is a dead letter when it fails, without its payload where that stands in a log, and its key goes on', async () => {
    const { world, lane, publish } = large('key', { 'a-0': 1 });
    await world.clock.drive(world.give(lane, world.member()));
    publish('a-0', 950);
    publish('a-1', 0);
    await world.clock.runUntilIdle();
    const letter = world.letters.get('a-0')!;
    expect(letter.trail!.death).toMatchObject({ cause: 'too-large', handler: 'Readers.read' });
    expect(letter.trail!.death!.reason).toMatch(
      /^its 9\d\d bytes are too many for a dead letter, and stand at orders\/0, offset 0, as long as they are kept there; the broker takes 1000 bytes/,
    );
    expect([letter.body.byteLength, world.ends.get('a'), lane.parked.size]).toEqual([0, ['a-0', 'a-1'], 0]);
    expect(world.log.filter((line) => line.includes('could not be parked'))).toEqual([]);
    expect(lane.entries.every(({ isDone }) => isDone)).toBe(true);
  });

  it('holds its key as a dead letter where that is strict, until it is sent again or thrown away', async () => {
    const { world, lane, publish } = large('strict', { 'a-0': 1 });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    publish('a-0', 950);
    publish('a-1', 0);
    await world.clock.runUntilIdle();
    expect([world.ends.get('a'), [...lane.parked.values()].map(({ state }) => state)]).toEqual([undefined, ['dead', 'behind']]);
    await world.clock.drive(first.giveUp(lane));
    await world.clock.drive(world.give(lane, world.member()));
    await world.clock.drive(world.resolveLetter(world.letters.get('a-0')!, false));
    await world.clock.runUntilIdle();
    expect([world.ends.get('a'), lane.parked.size]).toEqual([['a-1'], 0]);
  });

  it('waits unacknowledged behind one that fails, with all that is behind it, and is handled in its place', async () => {
    const { world, lane, publish, begun } = large('key', { 'a-0': 2 });
    await world.clock.drive(world.give(lane, world.member()));
    publish('a-0', 0);
    publish('a-1', 1_000);
    publish('a-2', 0);
    world.publish('b-0', 'b');
    await world.clock.advance(15);
    expect([...lane.parked.values()].map(({ envelope: { id } }) => id)).toEqual(['a-0']);
    await world.clock.runUntilIdle();
    expect(world.ends.get('a')).toEqual(['a-0', 'a-1', 'a-2']);
    expect([begun.length, lane.parked.size, lane.entries.every(({ isDone }) => isDone)]).toEqual([6, 0, true]);
    expect(world.log.filter((line) => line.includes('too large to be parked behind'))).toHaveLength(1);
  });

  it('keeps what there is of it where its source would be gone: nothing is lost, and nothing said again and again', async () => {
    const { world, lane } = scene({ order: 'strict', failing: { a: 1 }, bytesMax: 1_000 });
    await world.clock.drive(world.give(lane, world.member()));
    world.publish('a', 'a', 'x'.repeat(980));
    world.publish('b', 'b');
    await world.clock.advance(10_000);
    expect([world.ends.get('b'), lane.entries[0]!.isDone, world.letters.size]).toEqual([['b'], false, 0]);
    expect(world.log.filter((line) => line.includes('cannot be kept:')).length).toBeLessThan(12);
  });
});

describe('a message that ends its process', () => {
  it('is found, alone of all that were being handled with it, and is a dead letter', async () => {
    const { world, lane } = scene({
      handle: async (id, member) => {
        await world.clock.pause(10);
        if (id === 'poison') member.kill();
        await world.clock.pause(10);
      },
    });
    for (const id of ['x', 'poison', 'y', 'z']) world.publish(id, id);
    world.publish('behind', 'poison');
    let members = 0;
    for (; members < 20 && world.letters.size === 0; members++) {
      await world.clock.drive(world.give(lane, world.member()));
      await world.clock.advance(1_000);
    }
    expect([...world.letters.keys()]).toEqual(['poison']);
    expect(world.letters.get('poison')!.trail!.death!.cause).toBe('poisoned');
    expect(members).toBeLessThan(4 + SUSPECTED_STARTS_MAX + 3);
    await world.clock.runUntilIdle();
    expect(['x', 'y', 'z'].map((key) => world.ends.get(key))).toEqual([['x'], ['y'], ['z']]);
    expect(world.ends.get('poison')).toEqual(['poison', 'behind']);
  });
});

describe('a lane', () => {
  it('that goes to another member has its handlers done, and what is behind them as well', async () => {
    const { world, lane } = scene({ handle: () => world.clock.pause(50) });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    for (const id of ['a-0', 'a-1']) world.publish(id, 'a');
    await world.clock.drive(first.giveUp(lane));
    expect([world.ends.get('a'), world.clock.monotonicMs() < 110]).toEqual([['a-0', 'a-1'], true]);
  });

  it('goes when the time is over, with the signals of its handlers aborted, and nothing counts as a failure', async () => {
    const { world, lane } = scene({
      handle: (id, _member, message) =>
        id === 'a-0'
          ? new Promise((_resolve, reject) => message.signal.addEventListener('abort', () => reject(new Error('told to stop'))))
          : Promise.resolve(),
    });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    for (const id of ['a-0', 'a-1']) world.publish(id, 'a');
    await world.clock.drive(first.giveUp(lane));
    expect([world.clock.monotonicMs() < 210, lane.parked.size, lane.entries.map(({ isDone }) => isDone)]).toEqual([
      true,
      0,
      [false, false],
    ]);
  });

  it("takes nothing from a member that stood still and writes when it is another one's, who does not know of it either", async () => {
    const { world, lane, begun } = scene({ failing: { 'a-0': 1, 'b-0': 1 } });
    const [first, second, third] = [world.member(), world.member(), world.member()];
    await world.clock.drive(world.give(lane, first));
    let thaw = (): void => undefined;
    first.frozen = new Promise((resolve) => (thaw = resolve));
    for (const id of ['a-0', 'a-1', 'b-0']) world.publish(id, id.slice(0, 1));
    await world.clock.advance(10);
    // The first one has failed, and what it parks is on its way. Nobody tells it that the lane goes.
    await world.clock.drive(world.give(lane, second));
    await world.clock.runUntilIdle();
    expect([world.ends.get('a'), world.ends.get('b')]).toEqual([['a-0', 'a-1'], ['b-0']]);
    thaw();
    await world.clock.advance(10);
    await world.clock.drive(second.giveUp(lane));
    const before = [...begun];
    await world.clock.drive(world.give(lane, third));
    await world.clock.advance(1);
    expect([lane.parked.size, begun]).toEqual([0, before]);
  });

  it('that is lost has its signals aborted at once, and writes nothing more', async () => {
    const { world, lane, begun } = scene({
      handle: (_id, _member, message) =>
        new Promise((_resolve, reject) => message.signal.addEventListener('abort', () => reject(new Error('told to stop')))),
    });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    for (const id of ['a-0', 'a-1']) world.publish(id, 'a');
    await world.clock.advance(10);
    first.lose(lane);
    await world.clock.runUntilIdle();
    expect([begun, lane.parked.size, lane.entries.map(({ isDone }) => isDone)]).toEqual([['a-0'], 0, [false, false]]);
  });

  it('of a service that stops has its handlers done and what failed written down, and the rest goes back', async () => {
    const { world, lane, begun } = scene({ failing: { 'b-0': 1 }, handle: () => world.clock.pause(50) });
    const first = world.member();
    await world.clock.drive(world.give(lane, first));
    for (const id of ['a-0', 'a-1', 'b-0', 'b-1']) world.publish(id, id.slice(0, 1));
    await world.clock.drive(first.consumption.drain(200, 20));
    expect([begun, world.ends.get('a'), lane.entries.map(({ isDone }) => isDone)]).toEqual([
      ['a-0', 'b-0'],
      ['a-0'],
      [true, false, true, false],
    ]);
    expect([...lane.parked.values()].map(({ envelope, state }) => [envelope.id, state, envelope.trail?.failures])).toEqual([
      ['b-0', 'retry', 1],
    ]);
    await world.clock.runUntilIdle();
    expect(begun).toHaveLength(2);
  });

  it('is paused when as much waits as may, and goes on when there is room', async () => {
    const failing: Record<string, number> = { 'a-0': 3 };
    const { world, lane } = scene({ order: 'strict', failing, isInstant: true });
    await world.clock.drive(world.give(lane, world.member()));
    for (let count = 0; count < PARKED_MAX + 100; count++) world.publish(`a-${count}`, 'a');
    await world.clock.runUntilIdle();
    expect(lane.parked.size).toBe(PARKED_MAX);
    expect(world.log.filter((line) => line.includes('which is as many as may'))).toHaveLength(1);
    await world.clock.drive(world.resolveLetter(world.letters.get('a-0')!, true));
    await world.clock.runUntilIdle();
    expect(world.ends.get('a')).toEqual(Array.from({ length: PARKED_MAX + 100 }, (_, index) => `a-${index}`));
  });
});

interface Scene extends Partial<Pick<WorldOptions, 'order' | 'bytesMax' | 'isLog'>> {
  readonly failing?: Record<string, number>;
  readonly handle?: (id: string, member: Member, message: Message) => Promise<void>;
  readonly acknowledges?: boolean;
  readonly keepsLetters?: boolean;
  readonly retryMs?: number;
  readonly isInstant?: boolean;
}

/** One lane of a queue; `begun` are the attempts. */
function scene({
  order = 'key',
  failing = {},
  handle,
  acknowledges = true,
  keepsLetters = true,
  retryMs = 20,
  isInstant = false,
  ...rest
}: Scene) {
  const begun: string[] = [];
  const world = new World({
    seed: 1,
    order,
    isInstant,
    ...rest,
    delivery: { retry: { attempts: 3, backoff: 'delayed', firstMs: retryMs } },
    handle: async (id, message, member) => {
      begun.push(id);
      await handle?.(id, member, message);
      const left = failing[id] ?? 0;
      failing[id] = left - 1;
      if (left > 0) throw new Error('down');
    },
  });
  Object.assign(world, { acknowledges, keepsLetters });
  return { world, lane: world.lanes[0]!, begun };
}

/** Random messages, failures, ends of processes and moves of lanes; then calm, in which everything must come to its end. */
async function run(options: WorldOptions) {
  const failing = new Map<string, number>();
  const world: World = new World({
    ...options,
    handle: async (id) => {
      await world.clock.pause(world.random.below(15));
      const left = failing.get(id) ?? 0;
      if (left === 0) return;
      failing.set(id, left - 1);
      throw new Error('down');
    },
  });
  const { random, clock } = world;
  const published = new Map<string, string[]>();
  let members: Member[] = [world.member(), world.member()];
  const give = (lane: LaneLog): void => void world.give(lane, members[random.below(members.length)]!);
  for (const lane of world.lanes) give(lane);
  for (let step = 0; step < STEPS; step++) {
    const key = `k-${random.below(6)}`;
    const id = `m-${step}`;
    const lane = world.lanes[random.below(world.lanes.length)]!;
    const chance = random.below(100);
    if (chance < 70) {
      if (random.chance(0.25)) failing.set(id, random.below(5));
      published.set(key, [...(published.get(key) ?? []), id]);
      world.publish(id, key);
    } else if (chance < 76) {
      const member = members[random.below(members.length)]!;
      const lanes = member.kill();
      members = [...members.filter((one) => one !== member), world.member()];
      for (const one of lanes) if (one.owner === undefined) give(one);
    } else if (chance < 82) {
      const { owner } = lane;
      if (owner !== undefined) void owner.giveUp(lane).then(() => lane.owner === undefined && give(lane));
    } else if (chance < 86) {
      lane.owner?.lose(lane);
      if (lane.owner === undefined) give(lane);
    } else if (chance < 92) await resolveSome(world, failing);
    await clock.advance(random.below(20));
  }
  for (let round = 0; round < 100 && !isOver(world, published); round++) {
    for (const lane of world.lanes) {
      // What a member wrote after it had lost its lane is found by whoever has it after the next one.
      if (round % 20 === 19) await clock.drive(lane.owner?.giveUp(lane) ?? Promise.resolve());
      if (lane.owner === undefined) give(lane);
    }
    await resolveSome(world, failing);
    await clock.advance(500);
  }
  const left = world.lanes.map(({ parked, entries }) => parked.size + entries.filter(({ isDone }) => !isDone).length);
  const found = { ends: Object.fromEntries(world.ends), left };
  return { found, wanted: { ends: Object.fromEntries(published), left: left.map(() => 0) } };
}

async function resolveSome(world: World, failing: Map<string, number>): Promise<void> {
  for (const letter of [...world.letters.values()]) {
    if (letter.trail?.death?.parked === undefined) continue;
    failing.delete(letter.id);
    void world.resolveLetter(letter, true);
  }
}

function isOver(world: World, published: ReadonlyMap<string, readonly string[]>): boolean {
  const isEnded = [...published].every(([key, ids]) => world.ends.get(key)?.length === ids.length);
  return isEnded && world.lanes.every(({ parked, entries }) => parked.size === 0 && entries.every(({ isDone }) => isDone));
}
