/** Doors on the real machine. What they are for, with processes that are killed, is tested with the transport that joins through them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Socket } from './network.js';
import { realGround } from './ground.js';

const doors = realGround().doors!;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-doors-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Greets, and says from where the visitor comes. */
function greet(socket: Socket): void {
  socket.start({ onData() {}, onDrain() {}, onClose() {} });
  socket.write(Buffer.from(`hello ${socket.remoteAddress}:${socket.remotePort}`));
}

async function heardBehind(path: string): Promise<string> {
  const socket = connect({ path });
  const [said] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return said.toString();
}

describe('the door of a folder', () => {
  it('is found by the folder, tells what was given to tell, and lets in', async () => {
    const door = await doors.open(folder, { durability: 'os' }, greet);
    const found = await doors.find(folder);
    expect(found).toEqual({ path: join(folder, 'door.sock'), about: { durability: 'os' } });
    expect([await heardBehind(found!.path), await heardBehind(found!.path)]).toEqual(['hello local:1', 'hello local:2']);
    await door.close();
    expect(await doors.find(folder)).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is for its own account only', async () => {
    const mask = process.umask(0);
    const door = await doors.open(folder, {}, greet);
    expect(process.umask(mask)).toBe(0);
    for (const file of ['door', 'door.sock']) expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    await door.close();
  });

  it('is elsewhere where the path is too long for a socket, and is found all the same', async () => {
    const deep = join(folder, 'd'.repeat(120));
    mkdirSync(deep);
    const door = await doors.open(deep, {}, greet);
    const { path } = (await doors.find(deep))!;
    expect(path.startsWith(join(tmpdir(), 'dovecote-door-'))).toBe(true);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    expect(await heardBehind(path)).toBe('hello local:1');
    await door.close();
    expect([existsSync(dirname(path)), readdirSync(deep)]).toEqual([false, []]);
  });

  it.each(['near', 'far'])('takes away what an earlier owner has left, %s', async (where) => {
    const home = where === 'near' ? folder : join(folder, 'd'.repeat(120));
    mkdirSync(home, { recursive: true });
    const kept = await doors.open(home, {}, greet);
    const old = (await doors.find(home))!.path;
    // As a killed process leaves it: nobody has closed it, and the next one may not care.
    const door = await doors.open(home, {}, greet);
    const { path } = (await doors.find(home))!;
    expect(await heardBehind(path)).toBe('hello local:1');
    expect(existsSync(old)).toBe(where === 'near');
    expect(JSON.parse(readFileSync(join(home, 'door'), 'utf8'))).toMatchObject({ about: {} });
    await door.close();
    await kept.close();
  });

  it('is not there where nobody has opened one, or no folder is', async () => {
    expect(await doors.find(folder)).toBeUndefined();
    expect(await doors.find(join(folder, 'nowhere'))).toBeUndefined();
  });
});
