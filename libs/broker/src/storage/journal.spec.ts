/**
 * The journal and its recovery, under a disk that loses, tears, fails and fills up. A small owner of a journal stands in for the queues: it
 * keeps records that name a topic, forgets them, and defines topics, so whatever recovery leaves out or brings back shows.
 * Long, because writing and reading back are one promise and share that owner.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { crc32, type Disk, type DiskFile, type Ground, type OpenMode } from '@dovecote/ground';
import {
  DiskFaults,
  FaultyDisk,
  SeededRandom,
  type SimulatedGround,
  simulatedGround,
  type SimulatedProcess,
} from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import { Arena, type Chunk } from './arena.js';
import { batchHeadBytes, claimedLength, sealBatch } from './batch.js';
import { Journal, type JournalDurability } from './journal.js';
import { fileHeadBytes, journalFileName } from './journal-file.js';
import { recover } from './recovery.js';

const directory = '/data/journal';

/** Seeds per test; more of them on demand. */
const runs = Number(process.env['JOURNAL_RUNS'] ?? 12);

type Operation =
  { readonly do: 'keep'; readonly id: number; readonly topic: number } | { readonly do: 'forget' | 'define'; readonly id: number };

const kinds = { keep: 1, forget: 2, define: 3, checkpoint: 4 } as const;

/** What is kept, as text: equal for equal states. */
class State {
  readonly topics = new Set<number>();
  readonly kept = new Map<number, number>();

  apply(operation: Operation): void {
    if (operation.do === 'keep') this.kept.set(operation.id, operation.topic);
    else if (operation.do === 'forget') this.kept.delete(operation.id);
    else this.topics.add(operation.id);
  }

  toString(): string {
    const kept = [...this.kept].sort(([one], [other]) => one - other);
    return `topics ${[...this.topics].sort((one, other) => one - other).join()} kept ${kept.map(([id, topic]) => `${id}@${topic}`).join()}`;
  }
}

interface OwnerOptions {
  readonly durability: JournalDurability;
  readonly fileBytesMax?: number;
}

/** Owns a journal as the queues do. */
class Owner {
  readonly arena = new Arena();
  readonly state = new State();
  /** In the order of the journal, since it was opened. */
  readonly operations: Operation[] = [];
  committedCount = 0;
  commits = 0;
  failure: CodedError | undefined;
  fullReasons: (string | undefined)[] = [];
  readonly chunks = new Map<number, Chunk>();
  private sealedCount = 0;
  private unrecorded: number[] = [];
  journal!: Journal;

  static async open(
    ground: Pick<Ground, 'disk' | 'clock' | 'random'>,
    { durability, fileBytesMax = 1 << 20 }: OwnerOptions,
  ): Promise<Owner> {
    const { disk, clock, random } = ground;
    const owner = new Owner();
    const { arena } = owner;
    const start = await recover({ disk, arena, random, directory, durability, replay: (...place) => owner.replay(...place) });
    owner.journal = new Journal({ disk, clock, arena, random, directory, durability, fileBytesMax }, start);
    owner.journal.start({
      get isWaiting(): boolean {
        return owner.unrecorded.length > 0;
      },
      sealing: () => owner.recordForgotten(),
      sealed: () => (owner.sealedCount = owner.operations.length),
      committed: () => {
        owner.committedCount = owner.sealedCount;
        owner.commits++;
      },
      checkpoint: () => owner.append(kinds.checkpoint, [...owner.state.topics]),
      full: (reason) => owner.fullReasons.push(reason),
      failed: (error) => (owner.failure = error),
    });
    owner.journal.seal();
    return owner;
  }

  define(topic: number): void {
    this.append(kinds.define, [topic]);
    this.note({ do: 'define', id: topic });
  }

  keep(id: number, topic: number, bytes = 20): void {
    const at = this.append(kinds.keep, [id, topic], bytes);
    const { chunk } = this.journal;
    assert.equal(chunk.bytes.readUInt32BE(at + 1), id);
    chunk.live++;
    this.chunks.set(id, chunk);
    this.note({ do: 'keep', id, topic });
  }

  /** Recorded with the next commit only, as acknowledgements are. */
  forget(id: number): void {
    const chunk = this.chunks.get(id);
    if (chunk === undefined) return;
    this.chunks.delete(id);
    this.unrecorded.push(id);
    this.arena.drop(chunk);
  }

  private note(operation: Operation): void {
    this.operations.push(operation);
    this.state.apply(operation);
  }

  private recordForgotten(): void {
    for (const id of this.unrecorded.splice(0)) {
      this.append(kinds.forget, [id]);
      this.note({ do: 'forget', id });
    }
  }

  private append(kind: number, numbers: readonly number[], padding = 0): number {
    const at = this.journal.reserve(1 + numbers.length * 4 + padding);
    const { bytes } = this.journal.chunk;
    bytes[at] = kind;
    for (const [index, value] of numbers.entries()) bytes.writeUInt32BE(value, at + 1 + index * 4);
    bytes.fill(kind, at + 1 + numbers.length * 4, at + 1 + numbers.length * 4 + padding);
    return at;
  }

  private replay(chunk: Chunk, offset: number, length: number): void {
    const { bytes } = chunk;
    const id = length > 1 ? bytes.readUInt32BE(offset + 1) : 0;
    const { topics, kept } = this.state;
    switch (bytes[offset]) {
      case kinds.keep: {
        const topic = bytes.readUInt32BE(offset + 5);
        assert(topics.has(topic), `record ${id} is of topic ${topic}, which nobody defined`);
        assert(bytes.subarray(offset + 9, offset + length).equals(Buffer.alloc(length - 9, kinds.keep)));
        chunk.live++;
        this.chunks.set(id, chunk);
        kept.set(id, topic);
        return;
      }
      case kinds.forget: {
        const holder = this.chunks.get(id);
        this.chunks.delete(id);
        kept.delete(id);
        if (holder !== undefined) this.arena.drop(holder);
        return;
      }
      case kinds.define:
        return void topics.add(id);
      default:
        for (let at = offset + 1; at < offset + length; at += 4) topics.add(bytes.readUInt32BE(at));
    }
  }
}

function open(process: SimulatedProcess, options: OwnerOptions): Promise<Owner> {
  return Owner.open(process.ground, options);
}

async function readFile(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(await file.size());
  await file.read(bytes, 0);
  await file.close();
  return bytes;
}

/** Puts synced bytes into the place of what stands at `path`. */
async function writeFile(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  if (await disk.exists(path)) await disk.remove(path);
  const file = await disk.open(path, 'create');
  await new Promise<void>((resolve, reject) => file.write([bytes], 0, (error) => (error ? reject(error) : resolve())));
  await new Promise<void>((resolve, reject) => file.sync((error) => (error ? reject(error) : resolve())));
  await file.close();
  await disk.syncDirectory(directory);
}

/** A world in which promises of the simulated disk come true by themselves. */
class World {
  readonly machine: SimulatedGround;
  process: SimulatedProcess;

  constructor(seed: number | string) {
    this.machine = simulatedGround(seed);
    this.process = this.machine.startProcess();
  }

  drive<Answer>(work: Promise<Answer>): Promise<Answer> {
    return this.machine.clock.drive(work);
  }

  open(options: OwnerOptions): Promise<Owner> {
    return this.drive(open(this.process, options));
  }

  async settle(): Promise<void> {
    await this.machine.clock.runUntilIdle();
  }

  crash(power: boolean): void {
    this.machine.crash({ power });
    this.process = this.machine.startProcess();
  }

  files(): Promise<readonly string[]> {
    return this.drive(this.machine.disk.list(directory));
  }

  read(name: string): Promise<Buffer> {
    return this.drive(readFile(this.machine.disk, `${directory}/${name}`));
  }

  async contents(): Promise<readonly (readonly [name: string, bytes: Buffer])[]> {
    const contents: [string, Buffer][] = [];
    for (const name of await this.files()) contents.push([name, await this.read(name)]);
    return contents;
  }

  write(name: string, bytes: Buffer): Promise<void> {
    return this.drive(writeFile(this.machine.disk, `${directory}/${name}`, bytes));
  }
}

async function refusal(work: Promise<unknown>): Promise<CodedError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof CodedError, `expected a refusal, not ${String(error)}`);
  return error;
}

/** The positions of the batches of a file. */
function batches(bytes: Buffer): { readonly start: number; readonly end: number }[] {
  const found = [];
  for (let start = fileHeadBytes; start + batchHeadBytes <= bytes.length;) {
    const length = claimedLength(bytes, start);
    if (length === 0) break;
    found.push({ start, end: start + length });
    start += length;
  }
  return found;
}

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

/** What stands in the folder after some commits, each of one record, and the states before and after each. */
async function written(commits: number, options: OwnerOptions): Promise<{ readonly world: World; readonly states: readonly string[] }> {
  const world = new World('written');
  const owner = await world.open(options);
  owner.define(1);
  owner.journal.seal();
  await world.settle();
  const states = [owner.state.toString()];
  for (let id = 1; id <= commits; id++) {
    owner.keep(id, 1);
    owner.journal.seal();
    await world.settle();
    states.push(owner.state.toString());
  }
  return { world, states };
}

const [first, second, third] = [1, 2, 3].map((number) => journalFileName(number)) as [string, string, string];

describe('one commit at a time', () => {
  it('takes what is appended meanwhile together, with one write and one sync each', async () => {
    const world = new World(1);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    owner.define(1);
    owner.journal.seal();
    const before = owner.commits;
    for (let id = 1; id <= 500; id++) {
      owner.keep(id, 1);
      owner.journal.seal();
    }
    expect(owner.committedCount).toBe(0);
    await world.settle();
    expect(owner.commits - before).toBe(2);
    expect(owner.committedCount).toBe(501);
    expect(batches(await world.read(first)).length).toBe(3);
    const writes = world.machine.trace.recent().filter((line) => line.includes('write ') || line.includes('sync of'));
    expect(writes.slice(-4).map((line) => line.replace(/.*: (write|sync).*/, '$1'))).toEqual(['write', 'sync', 'write', 'sync']);
  });

  it('writes records that are longer than a chunk of memory, and gives all memory back', async () => {
    const world = new World(2);
    const owner = await world.open({ durability: 'fsync', fileBytesMax: 8 << 20 });
    owner.define(1);
    for (let id = 1; id <= 8; id++) owner.keep(id, 1, id % 2 === 0 ? 3_000_000 : 700_000);
    owner.journal.seal();
    await world.settle();
    world.crash(true);
    const reader = await world.open({ durability: 'fsync', fileBytesMax: 8 << 20 });
    expect(reader.state.toString()).toBe(owner.state.toString());
    expect(reader.arena.bytesInUse).toBeGreaterThan(8 * 700_000);
    for (const id of [...reader.chunks.keys()]) reader.forget(id);
    reader.journal.seal();
    await world.settle();
    expect(reader.arena.bytesInUse).toBe(1 << 20); // the one that is being filled
    for (const id of [...owner.chunks.keys()]) owner.forget(id);
    expect(owner.arena.bytesInUse).toBe(owner.journal.chunk.bytes.length);
  });

  it('commits on closing what was only acknowledged while the last commit was under way', async () => {
    const world = new World(3);
    const owner = await world.open({ durability: 'os' });
    owner.define(1);
    owner.keep(1, 1);
    owner.keep(2, 1);
    owner.journal.seal();
    owner.forget(1);
    await world.drive(owner.journal.close());
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe('topics 1 kept 2@1');
  });
});

describe('a torn tail', () => {
  it('is cut at every byte of the last batch, and everything before it is there', async () => {
    const { world, states } = await written(3, { durability: 'fsync' });
    const whole = await world.read(first);
    const last = batches(whole).at(-1)!;
    for (let end = last.start; end <= last.end; end++) {
      const other = new World(`cut at ${end}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      await other.write(first, whole.subarray(0, end));
      const owner = await other.open({ durability: 'fsync' });
      expect(owner.state.toString()).toBe(end === last.end ? states[3] : states[2]);
      owner.keep(100, 1);
      owner.journal.seal();
      await other.settle();
      other.crash(true);
      expect((await other.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
    }
  });

  it('is cut when any byte of the last batch is another one, and is damage in any batch that was synced', async () => {
    const { world, states } = await written(3, { durability: 'fsync' });
    const whole = await world.read(first);
    const last = batches(whole).at(-1)!;
    const outcomes = { cut: 0, damaged: 0 };
    for (let at = 0; at < whole.length; at++) {
      const other = new World(`flipped at ${at}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 0x40;
      await other.write(first, bytes);
      const outcome = await other.open({ durability: 'fsync' }).catch((error: unknown) => error);
      if (at >= last.start) {
        assert(outcome instanceof Owner);
        expect(outcome.state.toString()).toBe(states[2]);
        outcomes.cut++;
      } else {
        // A version that is not known yet, or damage: never silence.
        const error = outcome as CodedError;
        expect(['data-damaged', 'data-folder-unusable']).toContain(error.code);
        expect(error.message).toContain(first);
        outcomes.damaged++;
      }
    }
    expect(outcomes).toEqual({ cut: last.end - last.start, damaged: last.start });
  });

  it.each([0, 10, 60])('right behind a new file, %d bytes into it, is no damage at any later opening', async (bytes) => {
    const world = new World('behind a new file');
    const options: OwnerOptions = { durability: 'fsync', fileBytesMax: 4096 };
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; (await world.files()).length < 3; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    for (const name of (await world.files()).slice(2)) await world.drive(world.machine.disk.remove(`${directory}/${name}`));
    await world.write(second, (await world.read(second)).subarray(0, fileHeadBytes + bytes));
    const states: string[] = [];
    for (let opening = 0; opening < 4; opening++) {
      world.crash(opening % 2 === 0);
      const next = await world.open(options);
      states.push(next.state.toString());
      await world.settle();
    }
    expect(new Set(states).size).toBe(1);
    expect(states[0]).toContain('1@1,2@1');
  });

  it('is not mended by what a publisher wrote into it', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    const whole = await world.read(first);
    const forged = Buffer.alloc(batchHeadBytes);
    // The best forgery without the salt: it says that everything was synced and that no file is needed.
    sealBatch(forged, 0, forged.length, { oldestFile: 1000, sequence: 1000, durable: 999 }, 0);
    const torn = Buffer.concat([whole, whole.subarray(batches(whole)[0]!.start, batches(whole)[0]!.start + 40), forged]);
    await world.write(first, torn);
    world.crash(false);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
  });
});

describe('a sync that fails', () => {
  it('ends the journal with a sentence, and nothing is committed after it', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    world.crash(false);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fail('sync', { path: '.log' });
    owner.keep(50, 1);
    owner.journal.seal();
    await world.settle();
    const committed = owner.commits;
    expect(owner.failure?.code).toBe('storage-failed');
    expect(owner.failure?.message).toMatch(/^Syncing .*\.log failed: .* Check the disk, then start the broker again$/);
    owner.keep(51, 1);
    owner.journal.seal();
    await world.settle();
    expect(owner.commits).toBe(committed);
    expect(owner.committedCount).toBe(0);
    await expect(world.drive(owner.journal.close())).rejects.toThrow(owner.failure!.message);
  });

  it('makes the next opening copy what lies behind the last good one, and sync the copy, before anybody is served', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const { machine } = world;
    machine.crash({ power: false });
    world.process = machine.startProcess();
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    machine.faults.fail('sync', { path: '.log' });
    owner.keep(50, 1);
    owner.journal.seal();
    await world.settle();
    await world.drive(owner.journal.abandon());
    const from = machine.trace.recent().length;
    const next = await world.open({ durability: 'fsync' });
    const lines = machine.trace.recent().slice(from > 190 ? 0 : from);
    const served = next.state.toString();
    const steps = lines
      .map((line) => /(create|write|sync|rename|sync folder) .*journal\S*/.exec(line)?.[0] ?? '')
      .filter((step) => step !== '');
    const copied = steps.findIndex((step) => step.startsWith('write') && step.endsWith('.new'));
    expect(copied).toBeGreaterThanOrEqual(0);
    const wanted = [/^write .*\.new$/, /^sync of .*\.new$/, /^rename .*\.new/, /^sync folder/];
    const places = wanted.map((pattern) => steps.findIndex((step) => pattern.test(step)));
    expect(places.every((place, i) => place >= 0 && (i === 0 || place > places[i - 1]!))).toBe(true);
    // The copy is what survives now, whatever becomes of the pages that were never written.
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(served);
  });
});

describe('files', () => {
  const options: OwnerOptions = { durability: 'fsync', fileBytesMax: 4096 };

  /** Keeps and forgets so much that the journal goes through several files; number 1 stays kept. */
  async function rolled(world: World, rounds: number): Promise<Owner> {
    const owner = await world.open(options);
    if (!owner.state.topics.has(1)) owner.define(1);
    for (let id = 1000; id < 1000 + rounds; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
      owner.forget(id);
    }
    owner.journal.seal();
    await world.settle();
    return owner;
  }

  it('go when nothing in them is needed, and only once a commit has said so', async () => {
    const world = new World(5);
    const owner = await rolled(world, 40);
    const files = await world.files();
    expect(files.length).toBeLessThan(5);
    expect(Number.parseInt(files[0]!, 10)).toBeGreaterThan(5);
    const removals = world.machine.trace.recent().flatMap((line, at, lines) => {
      if (!/remove .*\.log$/.test(line)) return [];
      return [lines.slice(0, at).findLastIndex((other) => /sync of .*\.log$/.test(other))];
    });
    expect(removals.length).toBeGreaterThan(0);
    expect(removals.every((synced) => synced >= 0)).toBe(true);
    world.crash(true);
    expect((await world.open(options)).state.toString()).toBe(owner.state.toString());
  });

  it('stay while an old record is kept, through any number of openings, and its topic is known', async () => {
    const world = new World(6);
    let owner = await world.open(options);
    owner.define(7);
    owner.keep(1, 7);
    owner.journal.seal();
    await world.settle();
    for (let round = 0; round < 12; round++) {
      world.crash(round % 2 === 0);
      owner = await rolled(world, 6);
      expect(owner.state.kept.get(1)).toBe(7);
    }
    owner.forget(1);
    owner.journal.seal();
    await world.settle();
    owner.keep(2, 7);
    owner.journal.seal();
    await world.settle();
    expect((await world.files()).length).toBeLessThan(4);
  });

  it('may be half removed by a crash: whichever of the unneeded are left are no obstacle', async () => {
    const world = new World(7);
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; id <= 16; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    const full = await world.contents();
    expect(full.length).toBeGreaterThan(3);
    for (let id = 1; id <= 15; id++) owner.forget(id);
    owner.journal.seal();
    await world.settle();
    owner.define(2);
    owner.journal.seal();
    await world.settle();
    const needed = await world.contents();
    const gone = full.filter(([name]) => !needed.some(([other]) => other === name));
    expect(gone.length).toBeGreaterThan(2);
    for (let some = 0; some < 1 << gone.length; some++) {
      const other = new World(`left ${some}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      const left = gone.filter((_, i) => (some & (1 << i)) !== 0);
      for (const [name, bytes] of [...left, ...needed]) await other.write(name, bytes);
      expect((await other.open(options)).state.toString()).toBe(owner.state.toString());
      await other.settle();
      const names = await other.files();
      expect(left.every(([name]) => !names.includes(name))).toBe(true);
    }
  });

  it.each(['first', 'middle', 'last'])('are missed when the %s needed one is not there', async (which) => {
    const world = new World(8);
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; id <= 16; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    const names = (await world.files()).filter((name) => name !== third);
    const name = which === 'first' ? first : which === 'middle' ? second : names.at(-2)!;
    await world.drive(world.machine.disk.remove(`${directory}/${name}`));
    world.crash(false);
    const error = await refusal(world.open(options));
    expect(error.code).toBe('data-damaged');
    expect(error.message).toContain(name);
    expect(error.message).toContain('is missing although it is still needed');
  });

  it('that are not ours are left alone, and a copy that was never finished is thrown away', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    await world.write('0000000000000009.log.new', Buffer.from('half a copy'));
    await world.write('notes.txt', Buffer.from('mine'));
    world.crash(false);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
    const names = await world.files();
    expect(names).toContain('notes.txt');
    expect(names).not.toContain('0000000000000009.log.new');
  });

  it('of a newer version are refused with a sentence', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const bytes = await world.read(first);
    bytes.writeUInt32BE(2, 8);
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 24)), 24);
    await world.write(first, bytes);
    world.crash(false);
    const error = await refusal(world.open({ durability: 'fsync' }));
    expect(error.code).toBe('data-folder-unusable');
    expect(error.message).toContain('newer version');
  });

  it('are not half opened: a refused opening leaves no file open', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const whole = await world.read(first);
    whole[batches(whole)[0]!.start + 40]! ^= 1;
    await world.write(first, whole);
    let openFiles = 0;
    class CountingDisk extends FaultyDisk {
      override async open(path: string, mode: OpenMode): Promise<DiskFile> {
        const file = await super.open(path, mode);
        openFiles++;
        const close = file.close.bind(file);
        return Object.assign(file, { close: () => close().then(() => void openFiles--) });
      }
    }
    const { disk, clock, random } = world.process.ground;
    const counting = new CountingDisk(disk, new DiskFaults(), random);
    await refusal(world.drive(Owner.open({ disk: counting, clock, random }, { durability: 'fsync' })));
    expect(openFiles).toBe(0);
  });
});

describe('a full disk', () => {
  it('stops commits until there is space, tells, and loses nothing', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    world.crash(false);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fillUpAfter(100);
    owner.keep(50, 1, 4000);
    owner.journal.seal();
    await world.machine.clock.advance(5000);
    owner.keep(51, 1, 4000);
    owner.journal.seal();
    await world.machine.clock.advance(5000);
    expect(owner.committedCount).toBe(0);
    expect(owner.failure).toBeUndefined();
    expect(owner.fullReasons.at(-1)).toContain('full');
    world.machine.faults.freeUp();
    await world.machine.clock.advance(1100);
    await world.settle();
    expect(owner.committedCount).toBe(2);
    expect(owner.fullReasons.at(-1)).toBeUndefined();
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
  });

  it('at the moment at which a file is to be begun only makes the old one longer', async () => {
    const world = new World(11);
    const owner = await world.open({ durability: 'fsync', fileBytesMax: 4096 });
    owner.define(1);
    const { faults } = world.machine;
    for (let id = 1; id <= 12; id++) {
      owner.keep(id, 1, 600);
      owner.journal.seal();
      if (id === 3) faults.fillUpAfter(700); // room for the record, none for the head of a file
      await world.machine.clock.advance(900);
      if (id === 3) faults.freeUp();
      await world.machine.clock.advance(1100);
    }
    expect(owner.failure).toBeUndefined();
    expect(owner.committedCount).toBe(13);
    expect((await world.files()).length).toBeGreaterThan(1);
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
  });

  it('at the opening is an error of the disk, and the folder opens when there is space', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    world.crash(false);
    world.machine.faults.fillUpAfter(10);
    await expect(world.open({ durability: 'fsync' })).rejects.toMatchObject({ code: 'full' });
    world.machine.faults.freeUp();
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
  });

  it('at the end is a refusal to close well, not a silence', async () => {
    const world = new World(12);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fillUpAfter(10);
    owner.define(1);
    await expect(world.drive(owner.journal.close())).rejects.toMatchObject({ code: 'storage-failed' });
  });
});
