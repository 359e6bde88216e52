import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DiskError, type DiskFile } from './disk.js';
import { diskError } from './disk-error.js';
import { DiskFaults, FaultyDisk } from './disk-faults.js';
import { realGround } from './ground.js';
import { RealDisk } from './real-disk.js';
import { SeededRandom } from './seeded-random.js';

const scratch = mkdtempSync(join(tmpdir(), 'dovecote-real-'));
let folders = 0;
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

function emptyFolder(): string {
  const folder = join(scratch, String(folders++));
  mkdirSync(folder);
  return folder;
}

function write(file: DiskFile, text: string, position = 0): Promise<void> {
  return new Promise((done, fail) => file.write([Buffer.from(text)], position, (error) => (error === undefined ? done() : fail(error))));
}

function sync(file: DiskFile): Promise<void> {
  return new Promise((done, fail) => file.sync((error) => (error === undefined ? done() : fail(error))));
}

/** A process of its own that locks the folder; resolves once it has. */
async function lockElsewhere(folder: string): Promise<ChildProcess> {
  const ground = pathToFileURL(resolve('libs/ground/dist/index.js')).href;
  const program = `import { RealDisk } from '${ground}'; await new RealDisk().lock(${JSON.stringify(folder)}); console.log('locked'); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

describe('the lock of a folder', () => {
  it('names the process that holds it, and is free the moment that process is killed', async () => {
    const folder = emptyFolder();
    const disk = new RealDisk();
    const owner = await lockElsewhere(folder);
    const refusal = new RegExp(
      `another broker \\(process ${owner.pid} on .*, since 20.*\\) owns the data folder ${folder}: stop it or choose another folder`,
    );
    await expect(disk.lock(folder)).rejects.toThrow(refusal);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    // What the dead process left behind says nothing any more.
    expect(JSON.parse(readFileSync(join(folder, 'lock'), 'utf8'))).toMatchObject({ pid: owner.pid });
    const lock = await disk.lock(folder);
    expect(JSON.parse(readFileSync(join(folder, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid });
    await lock.release();
    expect(await disk.list(folder)).toEqual([]);
  });

  it('is one for all the names of a folder', async () => {
    const folder = emptyFolder();
    symlinkSync(folder, `${folder}-too`);
    const lock = await new RealDisk().lock(folder);
    await expect(new RealDisk().lock(`${folder}-too`)).rejects.toMatchObject({ code: 'locked' });
    await lock.release();
  });

  it('goes by the process number where there are no abstract sockets', async () => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform');
    assert(platform !== undefined);
    const folder = emptyFolder();
    const alive = await lockElsewhere(emptyFolder());
    const disk = new RealDisk();
    Object.defineProperty(process, 'platform', { ...platform, value: 'freebsd' });
    try {
      const lock = await disk.lock(folder);
      await expect(disk.lock(folder)).rejects.toMatchObject({ code: 'locked' });
      await lock.release();
      const owner = { host: 'elsewhere', since: '2026-01-01T00:00:00.000Z' };
      writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: alive.pid, ...owner }));
      await expect(disk.lock(folder)).rejects.toThrow(`process ${alive.pid} on elsewhere`);
      alive.kill('SIGKILL');
      await once(alive, 'exit');
      await (await disk.lock(folder)).release();
      // Our own number in a file that we did not write is an earlier process of the same number.
      writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid, ...owner }));
      await (await disk.lock(folder)).release();
      writeFileSync(join(folder, 'lock'), '{"pid":');
      await (await disk.lock(folder)).release();
    } finally {
      Object.defineProperty(process, 'platform', platform);
    }
  });
});

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // the folder that is being read has a descriptor too
  }
}

const onLinux = process.platform === 'linux' ? describe : describe.skip;

onLinux('the real disk on Linux', () => {
  it('syncs a file that is synced after each write as it is written, and no other', async () => {
    const disk = new RealDisk();
    const folder = emptyFolder();
    const syncsAsItWrites = (path: string): boolean => {
      const descriptor = readdirSync('/proc/self/fd').find((each) => linkAt(`/proc/self/fd/${each}`) === path);
      const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1'))![1]!;
      return (Number.parseInt(flags, 8) & constants.O_DSYNC) !== 0;
    };
    for (const mode of ['create', 'create-synced'] as const) {
      const file = await disk.open(join(folder, mode), mode);
      expect(syncsAsItWrites(join(folder, mode))).toBe(mode === 'create-synced');
      await file.close();
    }
  });

  it('gives up on a folder that the system lets nobody make', async () => {
    // Node's own recursive mkdir never returns here.
    await expect(new RealDisk().makeDirectory('/proc/nowhere/data')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('the real disk', () => {
  it('says that the volume is full, and what to do', async () => {
    const file = await new RealDisk().open('/dev/full', 'edit');
    const error: unknown = await write(file, 'anything').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DiskError);
    expect(error).toMatchObject({ code: 'full', message: 'cannot write /dev/full: the volume is full: free some space, then try again' });
    await file.close();
  });

  it.each([
    ['EACCES', 'denied', 'cannot make the folder /x: this account may not: give it the right to, or choose another folder'],
    ['EROFS', 'denied', 'cannot make the folder /x: the volume is mounted read-only: mount it for writing or choose another folder'],
    ['EDQUOT', 'full', "cannot make the folder /x: this account's quota is used up: free some space or raise the quota"],
    ['EMFILE', 'failed', 'cannot make the folder /x: this process has too many open files: raise its limit (ulimit -n)'],
    ['EOTHER', 'failed', 'cannot make the folder /x: what Node said'],
  ])('says what %s means and what to do', (system, code, message) => {
    const cause = Object.assign(new Error('what Node said'), { code: system });
    expect(diskError('make the folder /x', cause)).toMatchObject({ code, message, cause });
  });

  it('writes everything though the system takes it in small pieces', async () => {
    const fs = await import('node:fs');
    const taken: number[] = [];
    jest.unstable_mockModule('node:fs', () => ({
      ...fs,
      write: (
        fd: number,
        bytes: Uint8Array,
        at: number,
        length: number,
        position: number,
        done: (error: Error | null, count: number) => void,
      ) =>
        fs.write(fd, bytes, at, Math.min(length, 3), position, (error, count) => {
          taken.push(count);
          done(error, count);
        }),
      writev: (fd: number, parts: Uint8Array[], position: number, done: (error: Error | null, count: number) => void) => {
        const first = parts[0];
        assert(first !== undefined);
        fs.writev(fd, [first.subarray(0, 2)], position, (error, count) => {
          taken.push(count);
          done(error, count);
        });
      },
    }));
    jest.resetModules();
    const { RealDisk: SlowDisk } = await import('./real-disk.js');
    const path = join(emptyFolder(), 'a');
    const file = await new SlowDisk().open(path, 'create');
    const parts = ['', 'one', 'two and', '', 'a long end', 'x'].map((text) => Buffer.from(text));
    await new Promise<void>((done, fail) => file.write(parts.slice(1), 0, (error) => (error === undefined ? done() : fail(error))));
    await file.close();
    expect(readFileSync(path, 'utf8')).toBe('onetwo anda long endx');
    expect(taken.length).toBeGreaterThan(8);
    jest.unstable_unmockModule('node:fs');
  });

  it('fails as planned behind a faulty disk, and not otherwise', async () => {
    const faults = new DiskFaults();
    const disk = new FaultyDisk(new RealDisk(), faults, new SeededRandom(4));
    const folder = emptyFolder();
    const path = join(folder, 'a');
    faults.fail('open', { nth: 2 });
    const file = await disk.open(path, 'create');
    await expect(disk.open(path, 'read')).rejects.toMatchObject({ code: 'failed' });
    faults.fail('sync', { nth: 3 });
    faults.fail('sync', { path: 'another-file' });
    await sync(file);
    await sync(file);
    await expect(sync(file)).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining('the device failed') });
    await sync(file);
    faults.fail('write');
    await expect(write(file, 'abcdefgh')).rejects.toMatchObject({ code: 'failed' });
    expect('abcdefgh'.startsWith(readFileSync(path, 'utf8'))).toBe(true);
    faults.fillUpAfter(10);
    expect(await disk.freeBytes(folder)).toBe(10);
    await write(file, '0123456', 0);
    await expect(write(file, '789ABC', 7)).rejects.toMatchObject({ code: 'full' });
    expect(readFileSync(path, 'utf8')).toBe('0123456789');
    faults.freeUp();
    await write(file, '789ABC', 7);
    expect(readFileSync(path, 'utf8')).toBe('0123456789ABC');
    await file.close();
  });
});

describe('the real network', () => {
  it('does not wait for a peer that never closes: the end comes after a moment', async () => {
    const { network } = realGround();
    const ended: string[] = [];
    let close = (): void => {};
    const closed = new Promise<void>((done) => (close = done));
    const listener = await network.listen({ host: '127.0.0.1', port: 0 }, (socket) => {
      socket.start({ onData() {}, onDrain() {}, onClose: close });
      socket.end();
    });
    const peer = netConnect({ host: '127.0.0.1', port: listener.port, allowHalfOpen: true });
    peer
      .on('error', () => {})
      .on('end', () => ended.push('the peer heard the end'))
      .resume();
    await closed;
    expect(ended).toEqual(['the peer heard the end']);
    peer.destroy();
    await listener.close();
  });

  it('says that a name is not known, and that a server went away, with a sentence', async () => {
    const { network } = realGround();
    await expect(network.listen({ host: '203.0.113.7', port: 0 }, () => {})).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining('this machine has no address 203.0.113.7'),
    });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert(address !== null && typeof address === 'object');
    server.close();
    await expect(network.connect({ host: '127.0.0.1', port: address.port })).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('nobody listens there'),
    });
  });
});
