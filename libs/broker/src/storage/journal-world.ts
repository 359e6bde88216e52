/**
 * A small owner of a journal, which stands in for the queues: it keeps records that name a topic, forgets them, and defines topics, so whatever recovery leaves
 * out or brings back shows. And a world whose disk loses, tears, fails and fills up. For tests alone.
 */
import assert from 'node:assert/strict';
import type { Disk, Ground } from '@dovecote/ground';
import { type SimulatedGround, simulatedGround, type SimulatedProcess } from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import { Arena, type Chunk } from './arena.js';
import { batchHeadBytes, claimedLength } from './batch.js';
import { Journal, type JournalDurability } from './journal.js';
import { fileHeadBytes } from './journal-file.js';
import { recover } from './recovery.js';

export const directory = '/data/journal';

export type Operation =
  { readonly do: 'keep'; readonly id: number; readonly topic: number } | { readonly do: 'forget' | 'define'; readonly id: number };

export const kinds = { keep: 1, forget: 2, define: 3, checkpoint: 4 } as const;

/** What is kept, as text: equal for equal states. */
export class State {
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

export interface OwnerOptions {
  readonly durability: JournalDurability;
  readonly fileBytesMax?: number;
}

/** Owns a journal as the queues do. */
export class Owner {
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

export function open(process: SimulatedProcess, options: OwnerOptions): Promise<Owner> {
  return Owner.open(process.ground, options);
}

export async function readFile(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(await file.size());
  await file.read(bytes, 0);
  await file.close();
  return bytes;
}

/** Puts synced bytes into the place of what stands at `path`. */
export async function writeFile(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  if (await disk.exists(path)) await disk.remove(path);
  const file = await disk.open(path, 'create');
  await new Promise<void>((resolve, reject) => file.write([bytes], 0, (error) => (error ? reject(error) : resolve())));
  await new Promise<void>((resolve, reject) => file.sync((error) => (error ? reject(error) : resolve())));
  await file.close();
  await disk.syncDirectory(directory);
}

/** A world in which promises of the simulated disk come true by themselves. */
export class World {
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

export async function refusal(work: Promise<unknown>): Promise<CodedError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof CodedError, `expected a refusal, not ${String(error)}`);
  return error;
}

/** The positions of the batches of a file. */
export function batches(bytes: Buffer): { readonly start: number; readonly end: number }[] {
  const found = [];
  for (let start = fileHeadBytes; start + batchHeadBytes <= bytes.length;) {
    const length = claimedLength(bytes, start);
    if (length === 0) break;
    found.push({ start, end: start + length });
    start += length;
  }
  return found;
}

/** What stands in the folder after some commits, each of one record, and the states before and after each. */
export async function written(
  commits: number,
  options: OwnerOptions,
): Promise<{ readonly world: World; readonly states: readonly string[] }> {
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
