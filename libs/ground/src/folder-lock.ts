/**
 * One process per data folder, held until `release` or the end of the process, however it ends.
 *
 * On Linux the lock is an abstract Unix socket named after the folder's device and inode: it is no file, the kernel frees it with
 * the process, and two names of one folder meet. It is seen by the processes of one network namespace: containers that share a folder
 * but no network are not kept apart. Elsewhere the lock is the file, which a dead owner's process number frees.
 *
 *   lock    {"pid":123,"host":"dove","since":"2026-01-01T00:00:00.000Z"}
 *
 * The file survives a crash and means nothing then; it is there to name the owner in the refusal of the next one.
 */
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DiskError, type DiskLock } from './disk.js';
import { type LockOwner, diskError, lockedError } from './disk-error.js';
import { systemCode } from './system-code.js';

/** Rejects with a `DiskError`: `locked` where another process (or this one) owns the folder, else what the disk said. */
export async function lockFolder(folder: string): Promise<DiskLock> {
  const file = join(folder, 'lock');
  try {
    return process.platform === 'linux' ? await lockBySocket(folder, file) : await lockByFile(folder, file);
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(`lock ${folder}`, error);
  }
}

async function lockBySocket(folder: string, file: string): Promise<DiskLock> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const server = await claim(`\0dovecote-${dev}-${ino}`);
  if (server === undefined) throw lockedError(folder, await readOwner(file));
  try {
    await writeFile(file, describeSelf());
  } catch (error) {
    server.close();
    throw error;
  }
  return {
    async release() {
      // The file goes first: once the socket is free, a file there may be the next owner's.
      await rm(file, { force: true });
      server.close();
    },
  };
}

/** Resolves to nothing where somebody else holds the name. */
function claim(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((stranger) => stranger.destroy()).unref();
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen({ path: name, exclusive: true }, () => resolve(server));
  });
}

/** Folders this process holds where there are no abstract sockets: its own number in a file proves nothing by itself. */
const heldHere = new Set<string>();

async function lockByFile(folder: string, file: string): Promise<DiskLock> {
  for (;;) {
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(describeSelf());
      await handle.close();
      break;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
    const owner = await readOwner(file);
    if (owner !== undefined && (owner.pid === process.pid ? heldHere.has(file) : isAlive(owner.pid))) throw lockedError(folder, owner);
    await rm(file, { force: true });
  }
  heldHere.add(file);
  return {
    async release() {
      await rm(file, { force: true });
      heldHere.delete(file);
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

function describeSelf(): string {
  const owner: LockOwner = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  return `${JSON.stringify(owner)}\n`;
}

async function readOwner(file: string): Promise<LockOwner | undefined> {
  try {
    const owner: unknown = JSON.parse(await readFile(file, 'utf8'));
    return isOwner(owner) ? owner : undefined;
  } catch {
    // Missing, or caught half written: the refusal does without the name.
    return undefined;
  }
}

function isOwner(value: unknown): value is LockOwner {
  return (
    typeof value === 'object' && value !== null && 'pid' in value && typeof value.pid === 'number' && 'host' in value && 'since' in value
  );
}
