/**
 * A disk in memory that keeps the contract of the port to the letter and nothing beyond it: what was not synced is lost with the power, or
 * kept, or torn; operations take random time; those on one file complete in order.
 *
 * Several disks may stand on one volume, one per simulated process: `kill` ends one of them (what it had asked for may be done, done by half
 * or not at all), and the volume lives on. Made by `simulatedGround`; tests call `crash`, `faults` and `pace`.
 */
import type { Timer } from './clock.js';
import { type Disk, DiskError, type DiskFile, type DiskLock, type OpenMode } from './disk.js';
import { lockedError } from './disk-error.js';
import { DiskFaults, fullError } from './disk-faults.js';
import type { SeededRandom } from './seeded-random.js';
import type { SimulatedClock } from './simulated-clock.js';
import type { SimulatedFileNode } from './simulated-file-node.js';
import { SimulatedFile } from './simulated-file.js';
import { SimulatedVolume } from './simulated-volume.js';
import { PAGE_BYTES } from './sparse-content.js';

/** How long things take, in milliseconds of the simulated clock; every range is drawn from evenly. */
export interface DiskPace {
  readonly quickMs: readonly [number, number];
  readonly syncMs: readonly [number, number];
  /** The share of operations that take `hiccupMs` on top. */
  readonly hiccupShare: number;
  readonly hiccupMs: readonly [number, number];
}

export interface SimulatedDiskOptions {
  readonly clock: SimulatedClock;
  readonly random: SeededRandom;
  readonly volume?: SimulatedVolume;
  readonly faults?: DiskFaults;
  readonly processNumber?: number;
}

export class SimulatedDisk implements Disk {
  readonly volume: SimulatedVolume;
  readonly faults: DiskFaults;
  readonly processNumber: number;
  pace: DiskPace = { quickMs: [0.01, 0.2], syncMs: [0.1, 3], hiccupShare: 0.01, hiccupMs: [1, 60] };
  #generation = 0;
  #isDead = false;
  readonly #clock: SimulatedClock;
  readonly #random: SeededRandom;
  readonly #underWay = new Set<Operation>();

  constructor(options: SimulatedDiskOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.volume = options.volume ?? new SimulatedVolume();
    this.faults = options.faults ?? new DiskFaults();
    this.processNumber = options.processNumber ?? 1;
  }

  /**
   * The process behind this disk dies, with or without the power of the machine. What was under way never calls back, open files fail from now
   * on, and the disk may be used again at once, as by the next process.
   */
  crash(how: { readonly power: boolean; readonly random?: SeededRandom }): void {
    const random = how.random ?? this.#random;
    this.#generation++;
    for (const operation of this.#underWay) {
      operation.timer?.cancel();
      if (random.chance(0.4)) operation.finishQuietly();
      else operation.tear?.(random);
    }
    this.#underWay.clear();
    this.volume.unlockAll(this);
    if (how.power) this.volume.losePower(random);
    else this.volume.loseProcess(random);
    this.note(`crashed, power ${how.power ? 'lost' : 'kept'}`);
  }

  /** The same without a next process: whatever is still asked of this disk never comes back. */
  kill(): void {
    this.crash({ power: false });
    this.#isDead = true;
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#ask(`open ${path} to ${mode}`, () => {
      this.#strike('open', path);
      const node = mode.startsWith('create') ? this.volume.create(path) : this.volume.open(path);
      return new SimulatedFile(this, node, path, mode !== 'read');
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.#ask(`make folder ${path}`, () => {
      this.#strike('makeDirectory', path);
      this.volume.makeFolder(path);
    });
  }

  list(path: string): Promise<readonly string[]> {
    return this.#ask(`list ${path}`, () => {
      this.#strike('list', path);
      return this.volume.list(path);
    });
  }

  exists(path: string): Promise<boolean> {
    return this.#ask(`exists ${path}`, () => this.volume.exists(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#ask(`rename ${from} to ${to}`, () => {
      this.#strike('rename', from);
      this.volume.rename(from, to);
    });
  }

  remove(path: string): Promise<void> {
    return this.#ask(`remove ${path}`, () => {
      this.#strike('remove', path);
      this.volume.remove(path);
    });
  }

  syncDirectory(path: string): Promise<void> {
    const beforeOrder = this.volume.unsyncedOrder();
    return this.#ask(
      `sync folder ${path}`,
      () => {
        this.#strike('syncDirectory', path);
        this.volume.syncFolder(path, beforeOrder);
      },
      { isSync: true },
    );
  }

  readNow(path: string, into: Uint8Array, position: number): number {
    if (this.#isDead) throw new DiskError('failed', `cannot read ${path}: its process was killed`);
    this.note(`read now ${into.length} at ${position} of ${path}`);
    this.#strike('read', path);
    return this.volume.open(path).read(into, position);
  }

  lock(path: string): Promise<DiskLock> {
    return this.#ask(`lock ${path}`, () => {
      const owner = this.volume.lock(path, this, {
        pid: this.processNumber,
        host: 'simulated',
        since: new Date(this.#clock.now()).toISOString(),
      });
      if (owner !== undefined) throw lockedError(path, owner);
      return { release: () => this.#ask(`unlock ${path}`, () => this.volume.unlock(path, this)) };
    });
  }

  freeBytes(path: string): Promise<number> {
    return this.#ask(`free bytes of ${path}`, () => Math.min(this.volume.freeBytes(), this.faults.bytesLeft));
  }

  /** For the files of this disk: does `effect` after a while and tells `done`, unless the disk crashes before. */
  submit<Answer>(request: Request<Answer>): void {
    if (this.#isDead) return;
    const { label, effect, done, node } = request;
    const operation: Operation = { timer: undefined, finishQuietly: () => void attempt(effect), tear: request.tear };
    const dueMs = Math.max(this.#clock.monotonicMs() + this.#delayMs(request.isSync === true), node?.lastDueMs ?? 0);
    if (node !== undefined) node.lastDueMs = dueMs;
    this.#underWay.add(operation);
    operation.timer = this.#clock.at(dueMs, () => {
      this.#underWay.delete(operation);
      const outcome = attempt(effect);
      this.note(`${label}${'error' in outcome ? `: ${outcome.error.message}` : ''}`);
      done(outcome);
    });
  }

  note(line: string): void {
    this.#clock.trace.note(`disk ${this.processNumber}: ${line}`);
  }

  /** How many crashes there were: a file opened before the last one is of no use. */
  get generation(): number {
    return this.#generation;
  }

  /** How many bytes of a write are kept, and the error it ends with. */
  strikeWrite(
    node: SimulatedFileNode,
    path: string,
    position: number,
    length: number,
  ): { readonly kept: number; readonly error: DiskError | undefined } {
    const planned = this.faults.strikeWrite(path, length, this.#random);
    const kept = node.roomFor(position, planned.kept, Math.floor(this.volume.freeBytes() / PAGE_BYTES));
    return kept < planned.kept ? { kept, error: fullError(path) } : planned;
  }

  strikeSync(node: SimulatedFileNode, path: string, count: number): void {
    const error = this.faults.strike('sync', path);
    if (error === undefined) return node.sync(count);
    node.failSync(count, this.#random);
    throw error;
  }

  #strike(operation: Parameters<DiskFaults['strike']>[0], path: string): void {
    const error = this.faults.strike(operation, path);
    if (error !== undefined) throw error;
  }

  #ask<Answer>(label: string, effect: () => Answer, options: { readonly isSync?: boolean } = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.submit({ label, effect, ...options, done: (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.answer)) });
    });
  }

  #delayMs(isSync: boolean): number {
    const { quickMs, syncMs, hiccupShare, hiccupMs } = this.pace;
    const delayMs = this.#random.between(...(isSync ? syncMs : quickMs));
    return this.#random.chance(hiccupShare) ? delayMs + this.#random.between(...hiccupMs) : delayMs;
  }
}

/** What a file asks of its disk. `effect` throws a `DiskError` where it fails; `tear` does it by half, for a crash in the middle. */
export interface Request<Answer> {
  readonly label: string;
  readonly node?: SimulatedFileNode;
  readonly isSync?: boolean;
  readonly effect: () => Answer;
  readonly tear?: (random: SeededRandom) => void;
  readonly done: (outcome: Outcome<Answer>) => void;
}

export type Outcome<Answer> = { readonly answer: Answer } | { readonly error: DiskError };

interface Operation {
  timer: Timer | undefined;
  readonly finishQuietly: () => void;
  readonly tear: ((random: SeededRandom) => void) | undefined;
}

function attempt<Answer>(effect: () => Answer): Outcome<Answer> {
  try {
    return { answer: effect() };
  } catch (error) {
    if (error instanceof DiskError) return { error };
    throw error;
  }
}
