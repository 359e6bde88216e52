/**
 * `dovecote check FOLDER` as a program: what it prints and exits with, on a real disk. What it judges is held in libs/broker (check-folder.spec.ts).
 */
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Broker, type FolderCheck } from '@dovecote/broker';
import { run } from './command-line.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'check-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function fill(messages: number): Promise<void> {
  const broker = await Broker.open({ data: folder });
  const session = broker.session();
  await session.declareQueue('orders', { durable: true });
  const message = { exchange: '', routingKey: 'orders', body: Buffer.alloc(50), properties: { deliveryMode: 2 as const } };
  for (let sent = 0; sent < messages; sent++) await session.publish(message);
  await broker.close();
}

async function check(...argv: string[]): Promise<{ code: number; text: string; warnings: string }> {
  const texts: string[] = [];
  const warnings: string[] = [];
  const terminal = {
    say: (text: string) => void texts.push(text),
    warn: (line: string) => void warnings.push(line),
    isInteractive: false,
    readAll: () => Promise.resolve(''),
    flush: () => Promise.resolve(),
    readLines: () => (async function* () {})(),
    onStop: () => undefined,
    ask: () => Promise.resolve(undefined),
    readHidden: () => Promise.resolve(undefined),
  };
  const code = await run({ argv: ['check', ...argv], environment: {}, terminal });
  return { code, text: texts.join(''), warnings: warnings.join('\n') };
}

it('says what is in a whole folder, and exits with 0', async () => {
  await fill(3);
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [main, 'check', folder], { encoding: 'utf8' });
  expect(stdout).toMatch(/1 queue, 3 messages\nIts broker was closed in order/);
  expect(stdout).toMatch(/orders +3\n/);
  expect(stdout).toContain('Nothing is wrong: a broker opens it.');
  expect(status).toBe(0);
  expect(readdirSync(folder)).toEqual(['journal']);
});

it('names what is wrong by file and byte, as JSON too, and exits with 1', async () => {
  await fill(3);
  const file = join(folder, 'journal', '0000000000000001.log');
  const bytes = readFileSync(file);
  bytes[150]! ^= 1;
  writeFileSync(file, bytes);
  const told = await check(folder);
  expect(told.code).toBe(1);
  expect(told.text).toMatch(/WRONG: journal\/0000000000000001\.log, byte \d+: \d+ bytes cannot be verified: .* Restore the data folder/);
  expect(told.text).toContain('A broker refuses to open it.');
  const result = JSON.parse((await check(folder, '--json')).text) as FolderCheck;
  expect(result).toMatchObject({
    opens: false,
    problems: [{ what: expect.stringContaining('is damaged at byte') }, { file: 'journal/0000000000000001.log' }],
  });
  truncateSync(file, 100);
  expect((await check(folder)).code).toBe(0); // a torn tail behind a checkpoint that nobody knows to be synced
});

it('exits with 2 where nothing can be checked', async () => {
  expect(await check(join(folder, 'absent'))).toMatchObject({ code: 2, warnings: expect.stringContaining('There is no folder') });
  expect(await check()).toMatchObject({ code: 2, warnings: expect.stringContaining("missing required argument 'folder'") });
  const broker = await Broker.open({ data: folder });
  expect(await check(folder)).toMatchObject({ code: 2, text: '', warnings: expect.stringContaining('process') });
  await broker.close();
});
