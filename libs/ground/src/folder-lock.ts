/**
 * One process per data folder, held until `release` or the end of the process, however it ends.
 *
 * On Linux and Windows the lock is a socket without a file (an abstract Unix socket, a named pipe) named after the folder's device and
 * inode: the kernel frees it with the process, and two names of one folder meet. Abstract sockets are seen by one network namespace only, so on
 * Linux a second socket in the folder keeps apart two containers that share it. Elsewhere the `lock` file is the lock, which a dead owner's process
 * number frees.
 *
 *   lock        {"pid":123,"host":"dove","since":"2026-01-01T00:00:00.000Z"}
 *   lock.sock   answers while the owner lives (Linux)
 *
 * Both files survive a crash and mean nothing then; `lock` is there to name the owner in the refusal of the next one. `RealDisk.lock` calls it.
 */
import { type FileHandle, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DiskError, type DiskLock } from './disk.js';
import { diskError, lockedError, type LockOwner } from './disk-error.js';
import { systemCode } from './system-code.js';

/** Rejects with a `DiskError`: `locked` where another process (or this one) owns the folder, else what the disk said. */
export async function lockFolder(folder: string): Promise<DiskLock> {
  const file = join(folder, 'lock');
  try {
    if (process.platform === 'linux' || process.platform === 'win32') return await lockBySocket(folder, file);
    return await lockByFile(folder, file);
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(`lock ${folder}`, error);
  }
}

async function lockBySocket(folder: string, file: string): Promise<DiskLock> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const server = await claim(process.platform === 'win32' ? `\\\\.\\pipe\\dovecote-${dev}-${ino}` : `\0dovecote-${dev}-${ino}`);
  if (server === undefined) throw lockedError(folder, await readOwner(file));
  let doorbell: Doorbell | undefined;
  try {
    if (process.platform === 'linux') doorbell = await hangDoorbell(folder, file);
    await writeFile(file, describeSelf()).catch((error: unknown) => {
      // A broker must be able to start on a full disk, to let its queues be emptied; the lock holds without the name.
      if (systemCode(error) !== 'ENOSPC' && systemCode(error) !== 'EDQUOT') throw error;
    });
  } catch (error) {
    await doorbell?.remove();
    server.close();
    throw error;
  }
  return {
    async release() {
      // The files go first: once the socket is free, what stands there may be the next owner's.
      await doorbell?.remove();
      await rm(file, { force: true });
      server.close();
    },
  };
}

/** Resolves to nothing where somebody else holds the name. */
function claim(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((stranger) => stranger.destroy()).unref();
    // Stays for good: a stranger that cannot be accepted must not end the process.
    server.on('error', (error) => (systemCode(error) === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen({ path: name, exclusive: true }, () => resolve(server));
  });
}

/** The socket in the folder: whoever can connect to it, from whatever container, knows that the owner lives. */
interface Doorbell {
  remove(): Promise<void>;
}

/** Resolves to nothing where the volume has no sockets: then only containers are not kept apart. */
async function hangDoorbell(folder: string, file: string): Promise<Doorbell | undefined> {
  // A socket's address has room for about a hundred bytes; through the open folder every path is short.
  const handle: FileHandle = await open(folder, 'r');
  const path = `/proc/self/fd/${handle.fd}/lock.sock`;
  if (await answers(path)) {
    const owner = await readOwner(file);
    await handle.close();
    throw lockedError(folder, owner);
  }
  await rm(join(folder, 'lock.sock'), { force: true });
  const server = await claim(path).catch(() => undefined);
  if (server === undefined) {
    await handle.close();
    return undefined;
  }
  return {
    async remove() {
      // Node takes the file away with the socket, and needs the folder for that.
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await handle.close();
    },
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const bell = connect(path);
    bell.once('error', () => resolve(false));
    bell.once('connect', () => {
      bell.destroy();
      resolve(true);
    });
  });
}

/** Folders this process holds where there are no such sockets: its own number in a file proves nothing by itself. */
const heldHere = new Set<string>();

async function lockByFile(folder: string, file: string): Promise<DiskLock> {
  for (;;) {
    try {
      await writeFile(file, describeSelf(), { flag: 'wx' });
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
