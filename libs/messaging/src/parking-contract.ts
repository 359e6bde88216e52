/** What every `ParkingStore` must do, for members of a group that come, end without a word, and take lanes from each other. Nothing waits for time to pass. */
import assert from 'node:assert/strict';
import { type ContractCase, contractCase } from './contract-case.js';
import type { Envelope } from './envelope.js';
import type { Parked, ParkingStore, Released } from './parking-store.js';
import type { Lane, Transport } from './transport.js';
import { type Bench, type Body, assertSame, turns, until } from './transport-bench.js';
import type { TransportSubject } from './transport-contract.js';
import { turn } from './turn.js';

const TURNS_MAX = 200_000;

export function parkingStoreContract(open: () => Promise<TransportSubject>): readonly ContractCase[] {
  return Object.entries(cases).map(([name, body]) => contractCase(name, open, body));
}

interface Restored {
  readonly lane: Lane;
  readonly parked: readonly Parked[];
  readonly released: Released[];
}

/** A member of the group, which restores each lane that it is given. */
class Keeper {
  readonly lanes = new Map<string, Restored>();
  store!: ParkingStore;
  #isGone = false;

  private constructor(
    readonly bench: Bench,
    readonly transport: Transport,
  ) {}

  static async join(bench: Bench): Promise<Keeper> {
    const transport = await bench.open();
    bench.requires(transport, 'order-by-key');
    const keeper = new Keeper(bench, transport);
    const group = bench.subject.unique('keepers');
    const store = transport.parkingStore(group);
    assert.ok(store, 'a transport with lanes has a parking store');
    keeper.store = store;
    const source = { ...bench.source('event', 'placed'), order: 'key' as const };
    const consumer = {
      onMessage: () => undefined,
      assigned: (lane: Lane) => keeper.#restore(lane),
      revoked: async (lane: Lane) => {
        keeper.lanes.delete(lane.id);
        await store.leave(lane);
      },
    };
    await transport.subscribe({ group, sources: [source], prefetch: 10 }, consumer);
    return keeper;
  }

  async crash(): Promise<void> {
    this.#isGone = true;
    await this.bench.subject.crash(this.transport);
  }

  /** Any of its lanes. */
  async lane(): Promise<Restored> {
    await until(() => this.lanes.size > 0);
    return [...this.lanes.values()][0]!;
  }

  async has(laneId: string): Promise<Restored> {
    await until(() => this.lanes.has(laneId));
    return this.lanes.get(laneId)!;
  }

  async #restore(lane: Lane): Promise<void> {
    const released: Released[] = [];
    const parked = await this.store.restore(lane, (one) => void released.push(one));
    if (!this.#isGone) this.lanes.set(lane.id, { lane, parked, released });
  }
}

/** A release is heard in a moment; one that is not would be waited for without end. */
async function told(released: readonly Released[], count: number): Promise<void> {
  for (let turns = 0; released.length < count; turns += 1) {
    assert.ok(turns < TURNS_MAX, `of ${count} releases ${released.length} were told`);
    await turn();
  }
}

function parked(bench: Bench, sequence: number, state: Parked['state'], dueAtMs?: number): Parked {
  return { sequence, key: 'order-7', envelope: { ...bench.envelope('placed', String(sequence)), key: 'order-7' }, state, dueAtMs };
}

function withFailures(one: Parked, failures: number, state: Parked['state'], dueAtMs?: number): Parked {
  const history = [{ atMs: 1, reason: 'down' }];
  return { ...one, envelope: { ...one.envelope, trail: { failures, starts: 0, history, death: undefined } }, state, dueAtMs };
}

function again(envelope: Envelope): Envelope {
  return { ...envelope, trail: { failures: 0, starts: 0, history: [{ atMs: 1, reason: 'down' }], death: undefined } };
}

function shortly({ sequence, state, dueAtMs }: Parked): readonly unknown[] {
  return [sequence, state, dueAtMs];
}

const cases: Readonly<Record<string, Body>> = {
  'gives what a member parked to the next one, in the order of its places, with all that was said of it': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane, parked: before } = await first.lane();
    assert.deepEqual(before, []);
    const third = withFailures(parked(bench, 3_000_000_000_003, 'retry'), 2, 'retry', 1_800_000_000_123);
    for (const one of [third, parked(bench, 3_000_000_000_004, 'behind'), parked(bench, 3_000_000_000_010, 'behind')])
      await first.store.park(lane, one);
    await first.store.park(lane, { ...parked(bench, 3_000_000_000_005, 'dead', 77), key: 'order-8 ü' });
    await first.crash();
    const { parked: found } = await (await Keeper.join(bench)).has(lane.id);
    assert.deepEqual(found.map(shortly), [
      [3_000_000_000_003, 'retry', 1_800_000_000_123],
      [3_000_000_000_004, 'behind', undefined],
      [3_000_000_000_005, 'dead', 77],
      [3_000_000_000_010, 'behind', undefined],
    ]);
    assertSame(found[0]!.envelope, third.envelope);
    assert.deepEqual([found[0]!.key, found[2]!.key], ['order-7', 'order-8 ü']);
  },
  'has what was updated once, and nothing of what was resolved': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane } = await first.lane();
    const [one, two, three] = [parked(bench, 1, 'retry', 5), parked(bench, 2, 'behind'), parked(bench, 3, 'behind')];
    for (const each of [one, two, three]) await first.store.park(lane, each);
    await first.store.update(lane, withFailures(one, 2, 'retry', 9));
    await first.store.resolve(lane, 2);
    await first.store.update(lane, withFailures(one, 3, 'dead'));
    await first.crash();
    const { parked: found } = await (await Keeper.join(bench)).has(lane.id);
    assert.deepEqual(found.map(shortly), [
      [1, 'dead', undefined],
      [3, 'behind', undefined],
    ]);
    assert.equal(found[0]!.envelope.trail?.failures, 3);
  },
  'keeps lanes apart, and goes with a lane to the member that takes it over': async (bench) => {
    const first = await Keeper.join(bench);
    await until(() => first.lanes.size > 1);
    const before = [...first.lanes.values()].map(({ lane }, index) => ({ lane, one: parked(bench, index + 1, 'behind') }));
    for (const { lane, one } of before) await first.store.park(lane, one);
    const others: Keeper[] = [];
    const taken = (): boolean => before.some(({ lane }) => !first.lanes.has(lane.id) && others.some(({ lanes }) => lanes.has(lane.id)));
    // Where lanes are shared out by chance, one that comes may get none.
    while (!taken()) {
      others.push(await Keeper.join(bench));
      for (let count = 0; count < 50 && !taken(); count++) await turns();
    }
    for (const { lane, one } of before) {
      for (const { lanes } of others) {
        const restored = lanes.get(lane.id);
        if (restored !== undefined) assert.deepEqual(restored.parked.map(shortly), [shortly(one)]);
      }
    }
  },
  'tells the member that has the lane what was released, once it was parked as dead': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane, released } = await first.lane();
    const [one, two] = [parked(bench, 1, 'dead'), parked(bench, 2, 'dead')];
    for (const each of [one, two]) await first.store.park(lane, each);
    const elsewhere = (await bench.open()).parkingStore(bench.subject.unique('keepers'))!;
    await elsewhere.release(lane.id, { sequence: 1, key: one.key, envelope: again(one.envelope) });
    await elsewhere.release(lane.id, { sequence: 2, key: two.key, envelope: undefined });
    await told(released, 2);
    assert.deepEqual(
      released.map(({ sequence, envelope }) => [sequence, envelope?.id]),
      [
        [1, one.envelope.id],
        [2, undefined],
      ],
    );
    assertSame(released[0]!.envelope!, again(one.envelope));
    await first.store.resolve(lane, 2);
    await first.store.update(lane, withFailures(one, 1, 'retry', 5));
    await first.crash();
    const { parked: found } = await (await Keeper.join(bench)).has(lane.id);
    assert.deepEqual(found.map(shortly), [[1, 'retry', 5]]);
    assert.equal(found[0]!.envelope.trail?.failures, 1);
  },
  'tells of a second release of what is dead again, and of the first no more': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane, released } = await first.lane();
    const one = parked(bench, 1, 'dead');
    await first.store.park(lane, one);
    await first.store.release(lane.id, { sequence: 1, key: one.key, envelope: again(one.envelope) });
    await told(released, 1);
    await first.store.update(lane, withFailures(one, 1, 'dead'));
    const other = { ...again(one.envelope), body: Buffer.from('second') };
    await first.store.release(lane.id, { sequence: 1, key: one.key, envelope: other });
    await told(released, 2);
    assertSame(released[1]!.envelope!, other);
  },
  'has what was released while nobody was there in its place': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane } = await first.lane();
    const [one, two, three] = [parked(bench, 1, 'dead'), parked(bench, 2, 'dead'), parked(bench, 3, 'behind')];
    for (const each of [one, two, three]) await first.store.park(lane, each);
    await first.crash();
    const elsewhere = (await bench.open()).parkingStore(bench.subject.unique('keepers'))!;
    const edited = { ...again(one.envelope), body: Buffer.from('edited') };
    await elsewhere.release(lane.id, { sequence: 1, key: one.key, envelope: edited });
    await elsewhere.release(lane.id, { sequence: 2, key: two.key, envelope: undefined });
    const second = await Keeper.join(bench);
    const { lane: same, parked: found } = await second.has(lane.id);
    assert.deepEqual(
      found.map(({ sequence, state }) => [sequence, state]),
      [
        [1, 'retry'],
        [3, 'behind'],
      ],
    );
    assertSame(found[0]!.envelope, edited);
    await second.store.resolve(same, 1);
    await second.store.resolve(same, 3);
    await turns();
    await second.crash();
    assert.deepEqual((await (await Keeper.join(bench)).has(lane.id)).parked, []);
  },
  'does not lose a release over what its owner writes without knowing of it': async (bench) => {
    const first = await Keeper.join(bench);
    const { lane, released } = await first.lane();
    const one = parked(bench, 1, 'dead', 5);
    await first.store.park(lane, one);
    const elsewhere = (await bench.open()).parkingStore(bench.subject.unique('keepers'))!;
    await elsewhere.release(lane.id, { sequence: 1, key: one.key, envelope: again(one.envelope) });
    const wasTold = released.length > 0;
    await first.store.update(lane, { ...one, dueAtMs: undefined });
    await first.crash();
    const { parked: found } = await (await Keeper.join(bench)).has(lane.id);
    // Who was told of it may say anything after that.
    const wanted = wasTold ? found.map(({ state }) => state) : ['retry'];
    assert.deepEqual(
      found.map(({ state }) => state),
      wanted,
    );
  },
};
