/**
 * What shall go wrong with a disk: a plan that a test writes and changes as it goes, and a wrapper that carries it out around any disk.
 *
 * The simulated disk carries a plan out by itself, and more truly: after its failed sync the platter holds some of the writes and no later
 * sync brings the rest. The wrapper only refuses; what lies below it is as it was. Nothing here survives its test.
 */
import { type Disk, DiskError, type DiskFile, type DiskLock, type OpenMode } from './disk.js';
import type { Random } from './random.js';

export type FaultyOperation =
  'open' | 'read' | 'write' | 'sync' | 'truncate' | 'rename' | 'remove' | 'syncDirectory' | 'makeDirectory' | 'list';

export class DiskFaults {
  #plan: { readonly operation: FaultyOperation; readonly path: string; left: number }[] = [];
  #bytesLeft = Infinity;

  /**
   * The `nth` such operation from now on fails with code `failed`; 1 is the next one. `path` counts only those whose path contains it. A write
   * that fails is torn: some of its first bytes are written. Each call adds one fault.
   */
  fail(operation: FaultyOperation, options: { readonly nth?: number; readonly path?: string } = {}): void {
    this.#plan.push({ operation, path: options.path ?? '', left: options.nth ?? 1 });
  }

  /** After so many more bytes every write fails with code `full`, its first bytes written as far as they fit, until `freeUp`. */
  fillUpAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  freeUp(): void {
    this.#bytesLeft = Infinity;
  }

  /** Forgets every fault that has not struck. */
  clear(): void {
    this.#plan = [];
    this.freeUp();
  }

  get bytesLeft(): number {
    return this.#bytesLeft;
  }

  /** For a disk that carries the plan out: the error this operation must end with, if any. Counts it. */
  strike(operation: FaultyOperation, path: string): DiskError | undefined {
    let isStruck = false;
    for (const fault of this.#plan) {
      if (fault.operation !== operation || !path.includes(fault.path)) continue;
      fault.left--;
      if (fault.left === 0) isStruck = true;
    }
    if (!isStruck) return undefined;
    this.#plan = this.#plan.filter((fault) => fault.left > 0);
    return new DiskError(
      'failed',
      `cannot ${operation} ${path}: the device failed (a planned fault): look at the disk before trusting it again`,
    );
  }

  /** The same for a write of `length` bytes: how many of them are to be written, and the error after that, if any. */
  strikeWrite(path: string, length: number, random: Random): { readonly kept: number; readonly error: DiskError | undefined } {
    const error = this.strike('write', path);
    const wanted = error === undefined ? length : random.below(length + 1);
    const kept = Math.min(wanted, this.#bytesLeft);
    this.#bytesLeft -= kept;
    return { kept, error: error ?? (kept < length ? fullError(path) : undefined) };
  }
}

export function fullError(path: string): DiskError {
  return new DiskError('full', `cannot write ${path}: the volume is full: free some space, then try again`);
}

/** The first `length` bytes of what `parts` hold, in a buffer of their own. */
export function firstBytes(parts: readonly Uint8Array[], length: number): Buffer {
  return Buffer.concat(parts, length);
}

/** A disk that fails as planned, around any other. */
export class FaultyDisk implements Disk {
  constructor(
    private readonly inner: Disk,
    readonly faults: DiskFaults,
    private readonly random: Random,
  ) {}

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    this.#strike('open', path);
    return new FaultyFile(await this.inner.open(path, mode), path, this.faults, this.random);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#strike('makeDirectory', path);
    return this.inner.makeDirectory(path);
  }

  async list(path: string): Promise<readonly string[]> {
    this.#strike('list', path);
    return this.inner.list(path);
  }

  exists(path: string): Promise<boolean> {
    return this.inner.exists(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#strike('rename', from);
    return this.inner.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.#strike('remove', path);
    return this.inner.remove(path);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#strike('syncDirectory', path);
    return this.inner.syncDirectory(path);
  }

  readNow(path: string, into: Uint8Array, position: number): number {
    this.#strike('read', path);
    return this.inner.readNow(path, into, position);
  }

  lock(path: string): Promise<DiskLock> {
    return this.inner.lock(path);
  }

  async freeBytes(path: string): Promise<number> {
    return Math.min(await this.inner.freeBytes(path), this.faults.bytesLeft);
  }

  #strike(operation: FaultyOperation, path: string): void {
    const error = this.faults.strike(operation, path);
    if (error !== undefined) throw error;
  }
}

class FaultyFile implements DiskFile {
  constructor(
    private readonly inner: DiskFile,
    private readonly path: string,
    private readonly faults: DiskFaults,
    private readonly random: Random,
  ) {}

  size(): Promise<number> {
    return this.inner.size();
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const error = this.faults.strike('read', this.path);
    if (error !== undefined) throw error;
    return this.inner.read(into, position);
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    let length = 0;
    for (const part of parts) length += part.length;
    const { kept, error } = this.faults.strikeWrite(this.path, length, this.random);
    if (error === undefined) this.inner.write(parts, position, done);
    else this.inner.write([firstBytes(parts, kept)], position, (failed) => done(failed ?? error));
  }

  sync(done: (error: DiskError | undefined) => void): void {
    const error = this.faults.strike('sync', this.path);
    if (error === undefined) this.inner.sync(done);
    // An empty write only brings the callback in a later turn, as a real failure would come.
    else this.inner.write([], 0, (failed) => done(failed ?? error));
  }

  async truncate(size: number): Promise<void> {
    const error = this.faults.strike('truncate', this.path);
    if (error !== undefined) throw error;
    return this.inner.truncate(size);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
