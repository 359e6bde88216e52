/**
 * Doors made of Unix sockets, and of named pipes on Windows.
 *
 *   door        {"socket":"door.sock","about":{"durability":"fsync"}}
 *   door.sock   the socket; only its account may connect (0600)
 *
 * A socket's address has room for about a hundred bytes. Where the folder's path is longer, or its volume takes no sockets, the socket is in a folder of its own
 * (0700) under the system's one for temporary files, and `door` holds its whole path. After a kill both files stay behind and mean nothing: the next owner
 * takes them away. `realGround` makes it.
 */
import { chmod, mkdtemp, readFile, realpath, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import type { Door, Doors, FoundDoor } from './doors.js';
import { NetworkError, type Socket } from './network.js';
import { HIGH_WATER_MARK_BYTES, RealSocket } from './real-socket.js';

/** Without the zero at its end: 108 bytes on Linux, 104 on macOS and the BSDs. */
const PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;
const SOCKET = 'door.sock';
const TEMPORARY = 'dovecote-door-';

export class RealDoors implements Doors {
  async open(folder: string, about: Readonly<Record<string, string>>, accept: (socket: Socket) => void): Promise<Door> {
    const home = await realpath(folder);
    await clear(home);
    let visitors = 0;
    const server = createServer({ highWaterMark: HIGH_WATER_MARK_BYTES }, (socket) =>
      accept(new RealSocket(socket, undefined, { address: 'local', port: ++visitors })),
    );
    const path = await listenSomewhere(server, home);
    // A connection that could not be accepted is the visitor's loss and comes again; it must not end the process.
    server.on('error', () => undefined);
    const file = join(home, 'door');
    await writeFile(`${file}.new`, `${JSON.stringify({ socket: dirname(path) === home ? SOCKET : path, about })}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
    return {
      async close() {
        await rm(file, { force: true });
        // Node takes the socket's file away. It would wait for every connection to end; the path is free as soon as `close` was called.
        server.close();
        await removeTemporary(path);
      },
    };
  }

  async find(folder: string): Promise<FoundDoor | undefined> {
    const home = await realpath(folder).catch(() => undefined);
    const told = home === undefined ? undefined : await read(home);
    if (home === undefined || told === undefined) return undefined;
    return { path: isLocalName(told.socket) ? join(home, told.socket) : told.socket, about: told.about };
  }
}

async function listenSomewhere(server: Server, home: string): Promise<string> {
  if (process.platform === 'win32') {
    const { dev, ino } = await stat(home, { bigint: true });
    return listen(server, `\\\\.\\pipe\\dovecote-door-${dev}-${ino}`);
  }
  const near = join(home, SOCKET);
  if (Buffer.byteLength(near) <= PATH_BYTES_MAX) {
    const path = await listen(server, near).catch(() => undefined);
    if (path !== undefined) return path;
  }
  const far = join(await mkdtemp(join(tmpdir(), TEMPORARY)), SOCKET);
  try {
    return await listen(server, far);
  } catch (error) {
    await removeTemporary(far);
    const reason = error instanceof Error ? error.message : String(error);
    throw new NetworkError('failed', `no local socket can be made for ${home}, neither in it nor at ${far}: ${reason}`, { cause: error });
  }
}

/** Nobody else may connect, from the first moment: the mask holds while the system makes the file. */
async function listen(server: Server, path: string): Promise<string> {
  const isMasked = process.platform !== 'win32' && isMainThread;
  const mask = isMasked ? process.umask(0o177) : 0;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, exclusive: true }, () => {
        server.removeListener('error', reject);
        resolve();
      });
      if (isMasked) process.umask(mask);
    });
  } finally {
    if (isMasked) process.umask(mask);
  }
  // A worker has no mask of its own to change.
  if (process.platform !== 'win32') await chmod(path, 0o600);
  return path;
}

/** What an owner that was killed has left. */
async function clear(home: string): Promise<void> {
  const told = await read(home);
  if (told !== undefined && !isLocalName(told.socket)) await removeTemporary(told.socket);
  await rm(join(home, SOCKET), { force: true });
}

/** Only what looks like one of ours: the path was read from a file. */
async function removeTemporary(path: string): Promise<void> {
  const folder = dirname(path);
  if (!isAbsolute(path) || basename(path) !== SOCKET || !basename(folder).startsWith(TEMPORARY)) return;
  await rm(path, { force: true });
  await rmdir(folder).catch(() => undefined);
}

async function read(home: string): Promise<{ readonly socket: string; readonly about: Readonly<Record<string, string>> } | undefined> {
  try {
    const told: unknown = JSON.parse(await readFile(join(home, 'door'), 'utf8'));
    return isTold(told) ? told : undefined;
  } catch {
    // Missing, or not one of ours.
    return undefined;
  }
}

function isTold(value: unknown): value is { socket: string; about: Record<string, string> } {
  return typeof value === 'object' && value !== null && 'socket' in value && typeof value.socket === 'string' && 'about' in value;
}

/** On Windows a pipe's name is absolute too. */
function isLocalName(socket: string): boolean {
  return socket === SOCKET;
}
