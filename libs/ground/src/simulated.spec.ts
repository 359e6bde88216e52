import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import type { Disk, DiskFile } from './disk.js';
import type { Socket } from './network.js';
import { SeededRandom } from './seeded-random.js';
import { SimulatedClock, StuckError } from './simulated-clock.js';
import { type SimulatedGround, simulatedGround } from './simulated-ground.js';

function write(file: DiskFile, bytes: string | Buffer, position = 0): Promise<void> {
  return new Promise((done, fail) => file.write([Buffer.from(bytes)], position, (error) => (error === undefined ? done() : fail(error))));
}

function sync(file: DiskFile): Promise<void> {
  return new Promise((done, fail) => file.sync((error) => (error === undefined ? done() : fail(error))));
}

async function content(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(await file.size());
  await file.read(bytes, 0);
  await file.close();
  return bytes.toString('latin1');
}

/** What `story` ends with, over many seeds: everything that can happen, sorted. */
async function outcomes(seeds: number, story: (world: SimulatedGround) => Promise<string>): Promise<string[]> {
  const seen = new Set<string>();
  for (let seed = 1; seed <= seeds; seed++) {
    const world = simulatedGround(seed);
    seen.add(await world.clock.drive(story(world)));
  }
  return [...seen].toSorted();
}

describe('seeded chance', () => {
  it("is the authors' own xoshiro128**", () => {
    // The first numbers of xoshiro128starstar.c 1.1 with the state 1, 2, 3, 4.
    const random = new SeededRandom(0, [1, 2, 3, 4]);
    expect(Array.from({ length: 10 }, () => random.below(2 ** 32))).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  it('repeats itself, and gives each part of a run a stream that the others do not disturb', () => {
    const draw = (random: SeededRandom): number[] => Array.from({ length: 20 }, () => random.below(1_000_000));
    expect(draw(new SeededRandom(7))).toEqual(draw(new SeededRandom(7)));
    expect(draw(new SeededRandom(7))).not.toEqual(draw(new SeededRandom(8)));
    const [fresh, used] = [new SeededRandom(7), new SeededRandom(7)];
    draw(used);
    expect(draw(used.fork('disk'))).toEqual(draw(fresh.fork('disk')));
    expect(draw(fresh.fork('disk'))).not.toEqual(draw(fresh.fork('network')));
  });
});

describe('the simulated clock', () => {
  it('lets thirty minutes pass in no time, and ends exactly there', async () => {
    const clock = new SimulatedClock();
    const startMs = clock.now();
    const calls: number[] = [];
    const again = (): void => void clock.after(60_000, () => (calls.push(clock.monotonicMs()), again()));
    again();
    await clock.advance(30 * 60_000);
    expect(calls).toHaveLength(30);
    expect(clock.monotonicMs()).toBe(30 * 60_000);
    expect(clock.now() - startMs).toBe(30 * 60_000);
  });

  it('runs until idle, with what promises ask for on the way', async () => {
    const clock = new SimulatedClock();
    let isDone = false;
    void (async () => {
      for (let round = 0; round < 5; round++) await clock.pause(10);
      isDone = true;
    })();
    await clock.runUntilIdle();
    expect(isDone).toBe(true);
    expect(clock.nextDueMs).toBeUndefined();
  });

  it('gives up on what never ends and on what never comes', async () => {
    const clock = new SimulatedClock();
    await expect(clock.drive(new Promise(() => {}))).rejects.toThrow(StuckError);
    const again = (): void => clock.defer(again);
    again();
    await expect(clock.runUntilIdle(100)).rejects.toThrow('still busy after 100 events');
    await expect(clock.drive(clock.pause(60_000), { msMax: 1_000, stepsMax: 50 })).rejects.toThrow(StuckError);
  });

  it('jumps when somebody sets the machine, and what is under way takes as long as before', async () => {
    const clock = new SimulatedClock();
    let firedMs = 0;
    clock.after(1_000, () => (firedMs = clock.monotonicMs()));
    await clock.advance(10);
    clock.setWallClock(Date.UTC(2040, 0, 1));
    expect(clock.now()).toBe(Date.UTC(2040, 0, 1));
    await clock.runUntilIdle();
    expect(firedMs).toBe(1_000);
  });

  it('keeps the order of a thousand timers set and cancelled at random', async () => {
    const clock = new SimulatedClock();
    const random = new SeededRandom(5);
    const expected: (readonly [number, number])[] = [];
    const fired: (readonly [number, number])[] = [];
    for (let index = 0; index < 1_000; index++) {
      const dueMs = random.below(200);
      const timer = clock.after(dueMs, () => fired.push([dueMs, index]));
      if (random.chance(0.3)) timer.cancel();
      else expected.push([dueMs, index]);
    }
    await clock.runUntilIdle();
    expect(fired).toEqual(expected.toSorted((one, other) => one[0] - other[0] || one[1] - other[1]));
  });
});

describe('the simulated disk, when the power is lost', () => {
  it('keeps what was synced and the name of its folder, always', async () => {
    expect(
      await outcomes(60, async (world) => {
        const { disk } = world.startProcess().ground;
        await disk.makeDirectory('/x/data');
        const file = await disk.open('/x/data/a', 'create');
        await write(file, 'safe');
        await sync(file);
        await disk.syncDirectory('/x/data');
        world.crash({ power: true });
        return content(world.disk, '/x/data/a');
      }),
    ).toEqual(['safe']);
  });

  it('may forget, keep or tear what was not synced, and the name that no folder sync made safe', async () => {
    const seen = await outcomes(400, async (world) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await disk.syncDirectory('/data');
      await write(file, 'old.');
      await sync(file);
      await write(file, 'NEW!');
      await disk.open('/data/b', 'create');
      world.crash({ power: true });
      return `${await content(world.disk, '/data/a')} ${(await world.disk.list('/data')).join()}`;
    });
    for (const left of ['old.', 'NEW.', 'NEW!', 'Nld.', 'NEd.']) expect(seen).toContain(`${left} a`);
    expect(seen).toContain('old. a,b');
    // Nothing else than the old bytes, the new ones, or new ones up to some place.
    for (const left of seen) expect(left).toMatch(/^(old\.|Nld\.|NEd\.|NEW\.|NEW!) a(,b)?$/);
  });

  it('tears a long write at sectors in any order, and may leave zeros where the length came through and the bytes did not', async () => {
    const kinds = await outcomes(400, async (world) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await disk.syncDirectory('/data');
      await write(file, Buffer.alloc(4 * 512, 'x'));
      world.crash({ power: true });
      const left = await content(world.disk, '/data/a');
      const sectors = [0, 1, 2, 3].map((index) => left.slice(index * 512, index * 512 + 512));
      return sectors.map((sector) => (sector === '' ? '-' : sector === 'x'.repeat(512) ? 'x' : /^\0+$/.test(sector) ? '0' : 'p')).join('');
    });
    for (const kind of [/^----$/, /^xxxx$/, /^x+-+$/, /^0+x/, /x0+x/, /^0000$/, /^x*p-/])
      expect(kinds).toContainEqual(expect.stringMatching(kind));
  });

  it('brings each of two writes by itself, so that the second may be there without the first', async () => {
    const seen = await outcomes(200, async (world) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await disk.syncDirectory('/data');
      await write(file, '1', 0);
      await write(file, '2', 1);
      world.crash({ power: true });
      return content(world.disk, '/data/a');
    });
    expect(seen).toEqual(expect.arrayContaining(['', '1', '12', '\x002']));
  });

  it('covers by a sync what was written when it was asked for, and no more', async () => {
    const seen = await outcomes(100, async (world) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await disk.syncDirectory('/data');
      await write(file, 'A', 0);
      const synced = sync(file);
      await write(file, 'B', 1);
      await synced;
      world.crash({ power: true });
      return content(world.disk, '/data/a');
    });
    expect(seen).toEqual(expect.arrayContaining(['A', 'AB']));
    for (const left of seen) expect(left[0]).toBe('A');
  });

  it('takes a rename back as a whole or not at all, and brings removed files back, until the folder is synced', async () => {
    const story = (isSynced: boolean) => async (world: SimulatedGround) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      for (const name of ['old', 'new', 'gone']) {
        const file = await disk.open(`/data/${name}`, 'create');
        await write(file, name);
        await sync(file);
      }
      await disk.syncDirectory('/data');
      await disk.rename('/data/new', '/data/old');
      await disk.remove('/data/gone');
      if (isSynced) await disk.syncDirectory('/data');
      world.crash({ power: true });
      return `${(await world.disk.list('/data')).join()}: ${await content(world.disk, '/data/old')}`;
    };
    expect(await outcomes(100, story(false))).toEqual(['gone,new,old: old', 'gone,old: new', 'new,old: old', 'old: new']);
    expect(await outcomes(30, story(true))).toEqual(['old: new']);
  });

  it('does not bring a name back through an older change once a rename to another folder is safe', async () => {
    const seen = await outcomes(50, async (world) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/from');
      await disk.makeDirectory('/to');
      await disk.open('/from/a', 'create');
      await disk.rename('/from/a', '/to/a');
      await disk.syncDirectory('/to');
      await disk.syncDirectory('/from');
      world.crash({ power: true });
      return `${(await world.disk.list('/from')).join()}|${(await world.disk.list('/to')).join()}`;
    });
    expect(seen).toEqual(['|a']);
  });
});

describe('the simulated disk', () => {
  it('keeps everything that called back when only the process dies; what was under way may be done, half done or not', async () => {
    const seen = await outcomes(200, async (world) => {
      const process = world.startProcess();
      const { disk } = process.ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await write(file, 'done.');
      let calledBack = 0;
      file.write([Buffer.from('HALF')], 5, () => calledBack++);
      process.kill();
      await world.clock.pause(1_000);
      assert.equal(calledBack, 0);
      return content(world.disk, '/data/a');
    });
    expect(seen).toEqual(['done.', 'done.H', 'done.HA', 'done.HAL', 'done.HALF']);
  });

  it('loses for good what a failed sync covered, though readers see it and the next sync succeeds', async () => {
    const story = (isCrashed: boolean) => async (world: SimulatedGround) => {
      const { disk } = world.startProcess().ground;
      await disk.makeDirectory('/data');
      const file = await disk.open('/data/a', 'create');
      await disk.syncDirectory('/data');
      await write(file, 'lost', 0);
      world.faults.fail('sync');
      await assert.rejects(sync(file), { code: 'failed' });
      await write(file, 'kept', 4);
      await sync(file);
      if (isCrashed) world.crash({ power: true });
      return content(isCrashed ? world.disk : disk, '/data/a');
    };
    expect(await outcomes(20, story(false))).toEqual(['lostkept']);
    const seen = await outcomes(100, story(true));
    for (const left of seen) expect(left.slice(4)).toBe('kept');
    expect(seen).toEqual(expect.arrayContaining(['\0\0\0\0kept', 'lostkept']));
  });

  it('fills up: the write that does not fit is cut, and room that is freed can be used', async () => {
    const world = simulatedGround(1);
    const { disk } = world.startProcess().ground;
    await world.clock.drive(
      (async () => {
        await disk.makeDirectory('/data');
        world.volume.capacityBytes = 3 * 4096;
        const file = await disk.open('/data/a', 'create');
        await write(file, Buffer.alloc(5_000));
        expect(await disk.freeBytes('/data')).toBe(4096);
        const other = await disk.open('/data/b', 'create');
        await expect(write(other, Buffer.alloc(5_000))).rejects.toMatchObject({ code: 'full' });
        expect(await other.size()).toBe(4096);
        expect(await disk.freeBytes('/data')).toBe(0);
        await write(file, Buffer.alloc(5_000, 1));
        await file.close();
        await disk.remove('/data/a');
        await write(other, Buffer.alloc(5_000));
        expect(await other.size()).toBe(5_000);
      })(),
    );
  });

  it('reads the bytes of a write when it happens: whoever changes them before the callback finds out', async () => {
    const world = simulatedGround(1);
    const text = await world.clock.drive(
      (async () => {
        await world.disk.makeDirectory('/data');
        const file = await world.disk.open('/data/a', 'create');
        const bytes = Buffer.from('mine');
        const written = new Promise<void>((done) => file.write([bytes], 0, () => done()));
        bytes.write('gone');
        await written;
        return content(world.disk, '/data/a');
      })(),
    );
    expect(text).toBe('gone');
  });

  it('may be crashed and used again without a process: old files fail, new ones work', async () => {
    const world = simulatedGround(1);
    await world.clock.drive(
      (async () => {
        await world.disk.makeDirectory('/data');
        const lock = await world.disk.lock('/data');
        const file = await world.disk.open('/data/a', 'create');
        world.disk.crash({ power: false });
        await expect(write(file, 'late')).rejects.toThrow('the machine crashed since it was opened: open it again');
        expect(await world.disk.list('/data')).toEqual(['a']);
        await (await world.disk.lock('/data')).release();
        await lock.release();
      })(),
    );
  });
});

describe('a simulated process', () => {
  it('stops dead when it is killed: no timer, no callback, no lock, no port of it is left', async () => {
    const world = simulatedGround(3);
    const process = world.startProcess();
    const events: string[] = [];
    await world.clock.drive(
      (async () => {
        const { clock, disk, network } = process.ground;
        await disk.makeDirectory('/data');
        await disk.lock('/data');
        await network.listen({ host: '127.0.0.1', port: 5672 }, (socket) =>
          socket.start({ onData: () => events.push('data'), onDrain() {}, onClose: () => events.push('close') }),
        );
        const client = await world.network.connect({ host: '127.0.0.1', port: 5672 });
        const closed = new Promise<void>((done) => client.start({ onData() {}, onDrain() {}, onClose: done }));
        clock.after(5, () => events.push('timer'));
        client.write(Buffer.from('on its way'));
        process.kill();
        await closed;
        await world.clock.pause(1_000);
        await expect(world.network.connect({ host: '127.0.0.1', port: 5672 })).rejects.toMatchObject({ code: 'refused' });
        const next = world.startProcess().ground;
        await next.disk.lock('/data');
        await next.network.listen({ host: '127.0.0.1', port: 5672 }, () => {});
      })(),
    );
    expect(events).toEqual([]);
    expect(process.isRunning).toBe(false);
    await expect(world.clock.drive(process.ground.disk.list('/data'))).rejects.toThrow('hangs');
  });

  it('goes without a word when the power is lost: the other end hears of it when it sends', async () => {
    const world = simulatedGround(3);
    let closes = 0;
    await world.clock.drive(
      (async () => {
        await world
          .startProcess()
          .ground.network.listen({ host: '127.0.0.1', port: 7 }, (socket) => socket.start({ onData() {}, onDrain() {}, onClose() {} }));
        const client = await world.network.connect({ host: '127.0.0.1', port: 7 });
        client.start({ onData() {}, onDrain() {}, onClose: () => closes++ });
        world.crash({ power: true });
        await world.clock.pause(60_000);
        expect(closes).toBe(0);
        client.write(Buffer.from('anybody?'));
        await world.clock.pause(1_000);
      })(),
    );
    expect(closes).toBe(1);
  });
});

describe('the simulated network', () => {
  async function connected(world: SimulatedGround): Promise<{ readonly near: Recorder; readonly far: Recorder }> {
    const accepted = new Promise<Recorder>(
      (done) => void world.network.listen({ host: '127.0.0.1', port: 7 }, (socket) => done(new Recorder(socket))),
    );
    await world.clock.pause(10);
    const near = new Recorder(await world.network.connect({ host: '127.0.0.1', port: 7 }));
    return { near, far: await accepted };
  }

  class Recorder {
    readonly pieces: Buffer[] = [];
    closes = 0;
    constructor(readonly socket: Socket) {
      socket.start({ onData: (bytes) => this.pieces.push(bytes), onDrain() {}, onClose: () => this.closes++ });
    }
    text(): string {
      return Buffer.concat(this.pieces).toString();
    }
  }

  it('splits at every byte when told to', async () => {
    const world = simulatedGround(1);
    world.network.pace = { ...world.network.pace, pieceBytesMax: 1 };
    const { near, far } = await world.clock.drive(connected(world));
    near.socket.write(Buffer.from('every byte by itself'));
    await world.clock.runUntilIdle();
    expect(far.pieces.map(String)).toEqual(Array.from('every byte by itself'));
  });

  it('splits and joins what was written at random places', async () => {
    const sizes = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      const world = simulatedGround(seed);
      const { near, far } = await world.clock.drive(connected(world));
      for (let count = 0; count < 10; count++) near.socket.write(Buffer.from('0123456789'));
      await world.clock.runUntilIdle();
      expect(far.text()).toBe('0123456789'.repeat(10));
      for (const piece of far.pieces) sizes.add(piece.length);
    }
    expect(Math.min(...sizes)).toBeLessThan(10);
    expect(Math.max(...sizes)).toBeGreaterThan(10);
  });

  it('cuts a connection in the middle: some first part arrives, and both ends close once', async () => {
    const lengths = new Set<number>();
    for (let seed = 1; seed <= 40; seed++) {
      const world = simulatedGround(seed);
      const { near, far } = await world.clock.drive(connected(world));
      const sent = 'abcdefghijklmnopqrstuvwxyz'.repeat(400);
      near.socket.write(Buffer.from(sent));
      await world.clock.advance(0.3);
      expect(world.network.connectionCount).toBe(1);
      expect(world.network.cutOne(50)).toBe(true);
      await world.clock.runUntilIdle();
      expect([near.closes, far.closes]).toEqual([1, 1]);
      expect(sent.startsWith(far.text())).toBe(true);
      expect(world.network.cutOne()).toBe(false);
      lengths.add(far.text().length);
    }
    expect(lengths.size).toBeGreaterThan(5);
  });

  it('stalls without a word, and flows again as if nothing had been', async () => {
    const world = simulatedGround(1);
    const { near, far } = await world.clock.drive(connected(world));
    world.network.stall();
    near.socket.write(Buffer.from('patience'));
    await world.clock.advance(3_600_000);
    expect([far.text(), near.closes, far.closes]).toEqual(['', 0, 0]);
    world.network.flow();
    await world.clock.runUntilIdle();
    expect(far.text()).toBe('patience');
  });

  it('shows who changes bytes that were not given back', async () => {
    const world = simulatedGround(2);
    const { near, far } = await world.clock.drive(connected(world));
    const bytes = Buffer.from('mine');
    near.socket.write(bytes);
    bytes.write('gone');
    await world.clock.runUntilIdle();
    expect(far.text()).toBe('gone');
  });
});
