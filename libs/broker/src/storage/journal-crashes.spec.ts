/** The journal and its recovery from crashes at random moments, under a disk that loses and tears what was not synced. */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { SeededRandom } from '@dovecote/ground/testing';
import type { JournalDurability } from './journal.js';
import { type Operation, State, open, World } from './journal-world.js';

/** Seeds per test; more of them on demand. */
const runs = Number(process.env['JOURNAL_RUNS'] ?? 12);

/** The state that the first `count` operations make of what was there before. */
function stateAfter(before: readonly Operation[], operations: readonly Operation[], count: number): string {
  const state = new State();
  for (const operation of before) state.apply(operation);
  for (const operation of operations.slice(0, count)) state.apply(operation);
  return state.toString();
}

/** Crashes at random moments, and after each the journal holds some prefix of what was appended, with all that was committed. */
async function surviveCrashes(
  seed: string,
  durability: () => JournalDurability,
  power: boolean,
  promised: 'what was committed' | 'some earlier state' = 'what was committed',
): Promise<number> {
  const world = new World(seed);
  const random = new SeededRandom(seed).fork('owner');
  const { machine } = world;
  let past: Operation[] = [];
  let present: readonly Operation[] = [];
  let committed = 0;
  let id = 0;
  for (let round = 0; round < 12; round++) {
    const now = durability();
    const opening = open(world.process, { durability: now, fileBytesMax: 4096 * (1 + random.below(4)) });
    if (random.chance(0.2)) {
      let isOpen = false;
      const error: unknown[] = [];
      opening.then(
        () => (isOpen = true),
        (reason: unknown) => error.push(reason),
      );
      await machine.clock.advance(random.between(0, 30));
      assert.deepEqual(error, []);
      if (!isOpen) {
        world.crash(power);
        continue;
      }
    }
    const owner = await world.drive(opening);
    let kept = -1;
    for (let count = present.length; count >= committed && kept < 0; count--) {
      if (stateAfter(past, present, count) === owner.state.toString()) kept = count;
    }
    if (kept < 0) {
      throw new Error(
        `round ${round}: found ${owner.state.toString()}\ncommitted was ${stateAfter(past, present, committed)}\nappended was ${stateAfter(past, present, present.length)}`,
      );
    }
    past = [...past, ...present.slice(0, kept)];
    if (owner.state.topics.size === 0) owner.define(1);
    // Where `os` follows nothing is promised when the device fails: the system may drop what it could not write.
    if (power && promised === 'what was committed' && random.chance(0.1))
      machine.faults.fail('sync', { nth: 1 + random.below(6), path: '.log' });
    for (let step = random.below(40); step > 0 && owner.failure === undefined; step--) {
      const topics = [...owner.state.topics];
      for (let count = random.below(5); count > 0; count--) {
        owner.keep(++id, topics[random.below(topics.length)]!, random.chance(0.005) ? 1_100_000 : random.below(800));
      }
      if (random.chance(0.1)) owner.define(random.below(1000));
      const ids = [...owner.chunks.keys()];
      // Mostly the oldest, so that files die; some are left behind for long.
      if (random.chance(0.6))
        for (const old of ids.slice(0, random.below(12))) if (old % 17 !== 0 || random.chance(0.05)) owner.forget(old);
      owner.journal.seal();
      await machine.clock.advance(random.between(0, 6));
    }
    if (random.chance(0.15) && owner.failure === undefined) {
      await world.drive(owner.journal.close()).catch(() => undefined);
      if (owner.failure === undefined) assert.equal(owner.committedCount, owner.operations.length);
    } else if (owner.failure !== undefined && random.chance(0.5)) await world.drive(owner.journal.abandon());
    present = [...owner.operations];
    committed = owner.committedCount;
    if (promised === 'some earlier state') {
      present = [...past, ...present];
      past = [];
      committed = 0;
    }
    machine.faults.clear();
    world.crash(power && random.chance(0.7));
  }
  return past.length;
}

/** The same, and a failure says which run it was. */
async function survive(...run: Parameters<typeof surviveCrashes>): Promise<number> {
  try {
    return await surviveCrashes(...run);
  } catch (error) {
    throw new Error(`in the run '${run[0]}': ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** The last three each found a fault that the others do not. */
const seeds = [...Array.from({ length: runs }, (_, index) => index + 1), 13, 61, 105];

describe('recovery from crashes at random moments', () => {
  it('keeps everything committed and nothing unknown when power is lost under fsync', async () => {
    for (const seed of seeds) expect(await survive(`power ${seed}`, () => 'fsync', true)).toBeGreaterThan(0);
  });

  it('keeps everything committed when the process is killed under os', async () => {
    for (const seed of seeds) expect(await survive(`kill ${seed}`, () => 'os', false)).toBeGreaterThan(0);
  });

  it('keeps everything committed when the durability changes between openings', async () => {
    for (const seed of seeds) {
      const random = new SeededRandom(seed);
      expect(await survive(`both ${seed}`, () => (random.chance(0.5) ? 'os' : 'fsync'), false)).toBeGreaterThan(0);
    }
  });

  it('finds some earlier state, whole in itself, when power is lost under os', async () => {
    for (const seed of seeds) expect(await survive(`lost ${seed}`, () => 'os', true, 'some earlier state')).toBeGreaterThanOrEqual(0);
  });
});
