import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import type { DiskFile } from './disk.js';
import type { SeededRandom } from './seeded-random.js';
import type { SimulatedGround, SimulatedProcess } from './simulated-ground.js';
import { type Scenario, describeRun, shrink, simulate, simulateMany } from './simulation.js';

/** A thing worth simulating: a server that keeps numbered records in a file, asked over the network, and answers once they are safe. */
class Store {
  #file: DiskFile | undefined;
  #end = 0;

  private constructor(
    private readonly process: SimulatedProcess,
    private readonly flaw: Flaw,
  ) {}

  static async open(process: SimulatedProcess, flaw: Flaw): Promise<Store> {
    const store = new Store(process, flaw);
    const { disk, network } = process.ground;
    await disk.makeDirectory('/store');
    await disk.lock('/store');
    if (!(await disk.exists('/store/records'))) {
      await disk.open('/store/records', 'create');
      if (flaw !== 'folder not synced') await disk.syncDirectory('/store');
    }
    store.#file = await disk.open('/store/records', 'edit');
    store.#end = (await Store.read(store.#file)).length * 4;
    await network.listen({ host: '127.0.0.1', port: 7 }, (socket) => {
      let asked = Buffer.alloc(0);
      socket.start({
        onData: (bytes) => {
          asked = Buffer.concat([asked, bytes]);
          for (; asked.length >= 4; asked = asked.subarray(4)) {
            const record = Buffer.from(asked.subarray(0, 4));
            store.#append(record, () => socket.write(record));
          }
        },
        onDrain() {},
        onClose() {},
      });
    });
    return store;
  }

  /** The records up to the first that is not whole; zeros are no record. */
  static async read(file: DiskFile): Promise<number[]> {
    const bytes = Buffer.alloc(await file.size());
    await file.read(bytes, 0);
    const records: number[] = [];
    for (let at = 0; at + 4 <= bytes.length && bytes.readUInt32BE(at) !== 0; at += 4) records.push(bytes.readUInt32BE(at));
    return records;
  }

  #append(record: Buffer, confirm: () => void): void {
    const file = this.#file;
    assert(file !== undefined);
    const position = this.#end;
    this.#end += 4;
    if (this.flaw === 'never answers' && record.readUInt32BE(0) % 8 === 5) return;
    file.write([record], position, (error) => {
      assert(error === undefined, error);
      if (this.flaw === 'confirms before the sync') confirm();
      file.sync((failed) => {
        assert(failed === undefined, failed);
        if (this.flaw !== 'confirms before the sync') confirm();
      });
    });
  }
}

type Flaw = 'none' | 'confirms before the sync' | 'folder not synced' | 'never answers';

type Action =
  | { readonly do: 'append' }
  | { readonly do: 'append and wait' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'crash'; readonly power: boolean }
  | { readonly do: 'cut' };

/** A client with a model: the records it was told are safe must be there in the end. */
class World {
  readonly confirmed = new Set<number>();
  readonly #waiting = new Map<number, () => void>();
  #next = 1;
  #write: ((bytes: Buffer) => unknown) | undefined;

  constructor(
    readonly machine: SimulatedGround,
    readonly flaw: Flaw,
  ) {}

  async restart(): Promise<void> {
    await Store.open(this.machine.startProcess(), this.flaw);
    await this.connect();
  }

  async connect(): Promise<void> {
    const socket = await this.machine.network.connect({ host: '127.0.0.1', port: 7 });
    let answered = Buffer.alloc(0);
    socket.start({
      onData: (bytes) => {
        answered = Buffer.concat([answered, bytes]);
        for (; answered.length >= 4; answered = answered.subarray(4)) {
          const record = answered.readUInt32BE(0);
          this.confirmed.add(record);
          this.#waiting.get(record)?.();
        }
      },
      onDrain() {},
      onClose: () => {
        for (const release of this.#waiting.values()) release();
        if (this.#write === write) this.#write = undefined;
      },
    });
    const write = (bytes: Buffer): unknown => socket.write(bytes);
    this.#write = write;
  }

  append(): Promise<void> {
    const record = this.#next++;
    if (this.#write === undefined) return Promise.resolve();
    const answered = new Promise<void>((resolve) => this.#waiting.set(record, resolve));
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(record);
    this.#write(bytes);
    return answered;
  }
}

function storeScenario(flaw: Flaw): Scenario<World, Action> {
  return {
    name: 'store',
    draw: (random: SeededRandom): Action => {
      const drawn = random.below(10);
      if (drawn < 4) return { do: 'append' };
      if (drawn < 6) return { do: 'append and wait' };
      if (drawn < 8) return { do: 'wait', ms: random.below(20) };
      return drawn < 9 ? { do: 'crash', power: random.chance(0.7) } : { do: 'cut' };
    },
    begin: async (machine) => {
      const world = new World(machine, flaw);
      await world.restart();
      return world;
    },
    act: async (world, action) => {
      switch (action.do) {
        case 'append':
          void world.append();
          return;
        case 'append and wait':
          return world.append();
        case 'wait':
          return world.machine.clock.pause(action.ms);
        case 'crash':
          world.machine.crash({ power: action.power });
          return world.restart();
        case 'cut':
          world.machine.network.cutAll(5);
          await world.machine.clock.pause(100);
          return world.connect();
      }
    },
    check: async (world) => {
      world.machine.crash({ power: true });
      const file = await world.machine.disk.open('/store/records', 'read');
      const found = new Set(await Store.read(file));
      for (const record of world.confirmed) assert(found.has(record), `record ${record} was confirmed and is gone`);
    },
  };
}

describe('a simulation', () => {
  it('holds for a server that keeps its promise, over many seeds', async () => {
    const result = await simulateMany({ scenario: storeScenario('none'), firstSeed: 1, runs: 150, steps: 30 });
    expect(result.failed === undefined ? 'held' : describeRun(result.failed)).toBe('held');
    expect(result.runs).toBe(150);
  });

  it('does the same twice from one seed, down to the last byte, and something else from another', async () => {
    const scenario = storeScenario('none');
    const [once, again, other] = [
      await simulate({ seed: 42, scenario }),
      await simulate({ seed: 42, scenario }),
      await simulate({ seed: 43, scenario }),
    ];
    expect(again).toEqual(once);
    expect(other.traceHash).not.toBe(once.traceHash);
    expect(once.events).toBeGreaterThan(100);
  });

  it('finds the server that confirms before its sync, and shrinks the story to an append and no more than it takes to lose it', async () => {
    const { failed } = await simulateMany({ scenario: storeScenario('confirms before the sync'), firstSeed: 1, runs: 150, steps: 30 });
    assert(failed?.failure !== undefined);
    expect(failed.failure.error.message).toMatch(/was confirmed and is gone/);
    expect(failed.actions.length).toBeLessThanOrEqual(3);
    expect(failed.actions.some((action) => action.do.startsWith('append'))).toBe(true);
    expect(describeRun(failed)).toContain(`seed ${failed.seed} FAILED`);
    // The story told is a run that anybody can have again.
    const again = await simulate({ seed: failed.seed, scenario: storeScenario('confirms before the sync'), actions: failed.actions });
    expect(again.traceHash).toBe(failed.traceHash);
  });

  it('finds the server that leaves its folder unsynced', async () => {
    const { failed } = await simulateMany({ scenario: storeScenario('folder not synced'), firstSeed: 1, runs: 150, steps: 30 });
    expect(failed?.failure?.error.message).toMatch(/no such file|is gone/);
  });

  it('says that a run hangs where an answer never comes, and at which action', async () => {
    const { failed } = await simulateMany({ scenario: storeScenario('never answers'), firstSeed: 1, runs: 50, steps: 30 });
    expect(failed?.failure?.error.message).toMatch(/hangs: nothing is left to happen/);
    expect(failed?.actions.at(-1)).toEqual({ do: 'append and wait' });
    expect(failed?.failure?.at).toBe((failed?.actions.length ?? 0) - 1);
  });

  it('says that a run never ends where it keeps itself busy', async () => {
    const scenario: Scenario<undefined, string> = {
      name: 'busy',
      draw: () => 'spin',
      begin: () => Promise.resolve(undefined),
      act: () => new Promise(() => spin?.()),
      check: () => Promise.resolve(),
    };
    let spin: (() => void) | undefined;
    const busy = await simulate({
      seed: 1,
      scenario: {
        ...scenario,
        begin: (machine) => {
          spin = () => machine.clock.defer(() => spin?.());
          return Promise.resolve(undefined);
        },
      },
      steps: 1,
      limits: { stepsMax: 500 },
    });
    expect(busy.failure?.error.message).toMatch(/did not come within 500 events/);
  });

  it('fails a run in which a promise failed with nobody waiting', async () => {
    // Jest keeps a real one from our listener and fails the test by itself, so the event is sent by hand.
    const run = await simulate({
      seed: 1,
      scenario: {
        name: 'careless',
        draw: () => 'fail',
        begin: () => Promise.resolve(undefined),
        act: () => Promise.resolve(void process.emit('unhandledRejection', new Error('nobody hears this'), Promise.resolve())),
        check: () => Promise.resolve(),
      },
      steps: 2,
    });
    expect(run.failure?.at).toBe(0);
    expect(run.failure?.error.message).toBe('a promise failed with nobody waiting for it');
    expect(run.failure?.error.cause).toMatchObject({ message: 'nobody hears this' });
    expect(process.listenerCount('unhandledRejection')).toBe(0);
  });

  it('keeps the run it was given where no smaller one fails, and stops at its bound', async () => {
    let runs = 0;
    const scenario: Scenario<number[], number> = {
      name: 'all needed',
      draw: (_random, index) => index,
      begin: () => {
        runs++;
        return Promise.resolve([]);
      },
      act: (seen, action) => Promise.resolve(void seen.push(action)),
      check: (seen) => (seen.length === 12 ? Promise.reject(new Error('all twelve')) : Promise.resolve()),
    };
    const failing = await simulate({ seed: 1, scenario, steps: 12 });
    runs = 0;
    expect((await shrink(failing, { scenario, attemptsMax: 5 })).actions).toHaveLength(12);
    expect(runs).toBeLessThanOrEqual(5);
  });
});
