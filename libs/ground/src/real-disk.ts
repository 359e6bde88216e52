/**
 * Files through Node. What survives which crash is written at the port (disk.ts); every error comes out as a `DiskError`.
 * Made once by `realGround`; anyone may call it.
 */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fstat,
  ftruncate,
  open as openFile,
  openSync,
  read as readFile,
  readSync,
  write as writeOne,
  writev,
} from 'node:fs';
import { access, mkdir, open, readdir, rename, rmdir, stat, statfs, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { nextTick } from 'node:process';
import { setImmediate } from 'node:timers';
import { type Disk, DiskError, type DiskFile, type DiskLock, type OpenMode } from './disk.js';
import { diskError } from './disk-error.js';
import { lockFolder } from './folder-lock.js';
import { systemCode } from './system-code.js';

export class RealDisk implements Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return new Promise((resolve, reject) => {
      openFile(path, flagsOf(mode), (error, descriptor) => {
        if (error === null) resolve(new RealFile(path, descriptor, mode === 'create-synced' && syncsAsItWrites()));
        else reject(diskError(`${mode.startsWith('create') ? 'create' : 'open'} ${path}`, error));
      });
    });
  }

  async makeDirectory(path: string): Promise<void> {
    await attempt(`make the folder ${path}`, async () => {
      const missing: string[] = [];
      for (let at = path; !(await isFolder(at)); at = dirname(at)) missing.unshift(at);
      for (const folder of missing) {
        await makeFolder(folder);
        // A file synced inside is worth nothing while a folder on the way to it may vanish.
        await syncFolder(dirname(folder));
      }
    });
  }

  list(path: string): Promise<readonly string[]> {
    return attempt(`list ${path}`, async () => (await readdir(path)).sort());
  }

  exists(path: string): Promise<boolean> {
    return attempt(`look at ${path}`, async () => {
      try {
        await access(path);
        return true;
      } catch (error) {
        const code = systemCode(error);
        if (code === 'ENOENT' || code === 'ENOTDIR') return false;
        throw error;
      }
    });
  }

  rename(from: string, to: string): Promise<void> {
    return attempt(`rename ${from} to ${to}`, () => rename(from, to));
  }

  remove(path: string): Promise<void> {
    return attempt(`remove ${path}`, async () => {
      try {
        await unlink(path);
      } catch (error) {
        const code = systemCode(error);
        if (code !== 'EISDIR' && code !== 'EPERM') throw error;
        await rmdir(path);
      }
    });
  }

  syncDirectory(path: string): Promise<void> {
    return attempt(`sync the folder ${path}`, () => syncFolder(path));
  }

  readNow(path: string, into: Uint8Array, position: number): number {
    try {
      const descriptor = openSync(path, FLAGS.read);
      try {
        let filled = 0;
        while (filled < into.length) {
          const count = readSync(descriptor, into, filled, into.length - filled, position + filled);
          if (count === 0) break;
          filled += count;
        }
        return filled;
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      throw diskError(`read ${path}`, error);
    }
  }

  lock(path: string): Promise<DiskLock> {
    return lockFolder(path);
  }

  freeBytes(path: string): Promise<number> {
    return attempt(`ask for the free space of ${path}`, async () => {
      const volume = await statfs(path);
      return volume.bavail * volume.bsize;
    });
  }
}

const FLAGS = { read: 'r', edit: 'r+', create: 'wx+' } as const;

function flagsOf(mode: OpenMode): string | number {
  if (mode !== 'create-synced') return FLAGS[mode];
  return syncsAsItWrites() ? constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC : FLAGS.create;
}

/** Elsewhere the flag promises less than what Node does for `fdatasync`, or there is none. */
function syncsAsItWrites(): boolean {
  return process.platform === 'linux';
}

/**
 * Counts what is under way, because the system gives the number of a closed descriptor to the next file that is opened: a write that
 * starts late would land in a stranger's file.
 */
class RealFile implements DiskFile {
  #underWay = 0;
  #isClosing = false;
  #closed: (() => void) | undefined;
  /** Something was done, or failed, that the writes themselves have not synced. */
  #hasUnsynced = false;

  constructor(
    private readonly path: string,
    private readonly descriptor: number,
    private readonly syncsAsItWrites: boolean,
  ) {}

  size(): Promise<number> {
    return this.#ask<number>('ask for the size of', (settle) => {
      fstat(this.descriptor, (error, status) => settle(error, error === null ? status.size : 0));
    });
  }

  read(into: Uint8Array, position: number): Promise<number> {
    if (into.length === 0) return Promise.resolve(0);
    return this.#ask<number>('read', (settle) => {
      let filled = 0;
      const next = (error: Error | null, count: number): void => {
        if (error !== null) return settle(error, 0);
        filled += count;
        if (count === 0 || filled === into.length) return settle(null, filled);
        readFile(this.descriptor, into, filled, into.length - filled, position + filled, next);
      };
      readFile(this.descriptor, into, 0, into.length, position, next);
    });
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    let left = [...parts];
    let remaining = 0;
    for (const part of parts) remaining += part.length;
    if (remaining === 0 || this.#isClosing) {
      const error = this.#isClosing ? this.#closedError('write') : undefined;
      setImmediate(() => done(error));
      return;
    }
    this.#underWay++;
    const finish = (error: Error | null): void => {
      this.#leave();
      if (error !== null) this.#hasUnsynced = true;
      done(error === null ? undefined : diskError(`write ${this.path}`, error));
    };
    const step = (error: Error | null, count: number): void => {
      if (error !== null) return finish(error);
      remaining -= count;
      if (remaining === 0) return finish(null);
      if (count === 0) return finish(new Error('the system took no byte and gave no reason'));
      // A short write: the volume is nearly full or the range is past 2 GiB. The next one brings the rest or the error.
      left = withoutStart(left, count);
      position += count;
      this.#put(left, position, step);
    };
    this.#put(left, position, step);
  }

  sync(done: (error: DiskError | undefined) => void): void {
    if (this.#isClosing) {
      const error = this.#closedError('sync');
      setImmediate(() => done(error));
      return;
    }
    if (this.syncsAsItWrites && !this.#hasUnsynced) {
      nextTick(done, undefined);
      return;
    }
    this.#underWay++;
    this.#hasUnsynced = false;
    fdatasync(this.descriptor, (error) => {
      this.#leave();
      if (error !== null) this.#hasUnsynced = true;
      done(error === null ? undefined : diskError(`sync ${this.path}`, error));
    });
  }

  truncate(size: number): Promise<void> {
    this.#hasUnsynced = true;
    return this.#ask<void>('truncate', (settle) => ftruncate(this.descriptor, size, (error) => settle(error, undefined)));
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#closed = resolve));
    await new Promise<void>((resolve, reject) => {
      close(this.descriptor, (error) => (error ? reject(diskError(`close ${this.path}`, error)) : resolve()));
    });
  }

  #put(parts: Uint8Array[], position: number, step: (error: Error | null, count: number) => void): void {
    const only = parts.length === 1 ? parts[0] : undefined;
    if (only !== undefined) writeOne(this.descriptor, only, 0, only.length, position, step);
    else writev(this.descriptor, parts, position, step);
  }

  #ask<Answer>(action: string, run: (settle: (error: Error | null, answer: Answer) => void) => void): Promise<Answer> {
    if (this.#isClosing) return Promise.reject(this.#closedError(action));
    return new Promise((resolve, reject) => {
      this.#underWay++;
      run((error, answer) => {
        this.#leave();
        if (error === null) resolve(answer);
        else reject(diskError(`${action} ${this.path}`, error));
      });
    });
  }

  #leave(): void {
    this.#underWay--;
    if (this.#underWay === 0) this.#closed?.();
  }

  #closedError(action: string): DiskError {
    return new DiskError('failed', `cannot ${action} ${this.path}: it was closed`);
  }
}

function withoutStart(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const part of parts) {
    if (skip < part.length) rest.push(skip === 0 ? part : part.subarray(skip));
    skip = Math.max(0, skip - part.length);
  }
  return rest;
}

/** False where nothing is; a file in the way is the error of whoever makes a folder below it. */
async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory() || path === dirname(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** One folder, not its parents: Node's own recursion never returns where the system answers ENOENT to every attempt, as /proc does. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !(await isFolder(path))) throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows opens no folder and keeps names safe by itself.
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function attempt<Answer>(action: string, run: () => Promise<Answer>): Promise<Answer> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(action, error);
  }
}
