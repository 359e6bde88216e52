/**
 * The journal and its recovery, under a disk that loses, tears, fails and fills up. A small owner of a journal stands in for the queues: it
 * keeps records that name a topic, forgets them, and defines topics, so whatever recovery leaves out or brings back shows.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import type { Disk, Ground } from '@dovecote/ground';
import { SeededRandom, type SimulatedGround, simulatedGround, type SimulatedProcess } from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import { Arena, type Chunk } from './arena.js';
import { batchHeadBytes, claimedLength } from './batch.js';
import { Journal, type JournalDurability } from './journal.js';
import { fileHeadBytes } from './journal-file.js';
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
      sealing: () => owner.recordForgotten(),
      sealed: () => (owner.sealedCount = owner.operations.length),
      committed: () => {
        owner.committedCount = owner.sealedCount;
        owner.commits++;
        owner.journal.seal();
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
async function surviveCrashes(seed: string, durability: () => JournalDurability, power: boolean, rounds: number): Promise<number> {
  const world = new World(seed);
  const random = new SeededRandom(seed).fork('owner');
  const { machine } = world;
  let past: Operation[] = [];
  let present: readonly Operation[] = [];
  let committed = 0;
  let id = 0;
  for (let round = 0; round < rounds; round++) {
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
    for (let count = committed; count <= present.length && kept < 0; count++) {
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
    if (power && random.chance(0.1)) machine.faults.fail('sync', { nth: 1 + random.below(6), path: '.log' });
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
    machine.faults.clear();
    world.crash(power && random.chance(0.7));
  }
  return past.length;
}

describe('recovery from crashes at random moments', () => {
  it('keeps everything committed and nothing unknown when power is lost under fsync', async () => {
    for (let seed = 1; seed <= runs; seed++) expect(await surviveCrashes(`power ${seed}`, () => 'fsync', true, 12)).toBeGreaterThan(0);
  });

  it('keeps everything committed when the process is killed under os, and when the durability changes between openings', async () => {
    for (let seed = 1; seed <= runs; seed++) {
      expect(await surviveCrashes(`kill ${seed}`, () => 'os', false, 12)).toBeGreaterThan(0);
      const random = new SeededRandom(seed);
      expect(await surviveCrashes(`both ${seed}`, () => (random.chance(0.5) ? 'os' : 'fsync'), false, 12)).toBeGreaterThan(0);
    }
  });
});
