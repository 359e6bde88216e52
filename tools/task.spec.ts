/**
 * Holds task.mjs to what a person at a terminal counts on, in a small house of its own: a compiler that does nothing and a program that only says
 * which signals it gets.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const tools = join(import.meta.dirname, '..');
const onPosix = process.platform === 'win32' ? describe.skip : describe;
let house = '';

/** Says each signal it gets; ends with code 7 on SIGTERM, on its own with the code it is given. */
const program = `
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => { console.log(signal); if (signal === 'SIGTERM') process.exit(7); });
if (process.argv[2] === 'exit') process.exit(Number(process.argv[3]));
if (process.argv[2] === 'die') process.kill(process.pid, 'SIGKILL');
setInterval(() => undefined, 1000);
console.log('ready ' + process.argv.slice(2).join(' '));
`;

beforeAll(() => {
  house = mkdtempSync(join(tmpdir(), 'dovecote-task-'));
  for (const file of ['task.mjs', 'leash.mjs']) put(`tools/${file}`, undefined);
  put('node_modules/.package-lock.json', '{}');
  put('node_modules/typescript7/bin/tsc', '');
  put('tools/bundle.mjs', '');
  put('apps/broker/dist/main.js', '');
  put('apps/broker/bundle/main.js', program);
  put('apps/broker/src/main.ts', '');
});

afterAll(() => {
  rmSync(house, { recursive: true, force: true });
});

describe('task.mjs', () => {
  it('says in a line each what it does, and passes arguments and the exit code through', () => {
    const { stdout, status } = runToEnd('broker', 'exit', '3');
    expect(stdout).toMatch(/^> building .*\n> starting the broker daemon \(apps\/broker\/bundle\/main\.js\)\n$/);
    expect(status).toBe(3);
  });

  it('says how to use it when the task is unknown', () => {
    const { stderr, status } = runToEnd('fly');
    expect(stderr).toMatch(/^usage: .*start\|broker/);
    expect(status).toBe(1);
  });

  it('says which program has not been built', () => {
    const { stderr, status } = runToEnd('bench');
    expect(stderr).toContain('apps/bench/src/main.ts has not been written or did not compile');
    expect(status).toBe(1);
  });

  it('removes built files whose source is gone, and no others', () => {
    put('apps/broker/dist/old.spec.js', '');
    put('apps/broker/dist/room/old.d.ts', '');
    put('apps/broker/dist/.tsbuildinfo', '');
    put('tools/dist/old.spec.js', '');
    runToEnd('build');
    const left = [
      'apps/broker/dist/old.spec.js',
      'apps/broker/dist/room/old.d.ts',
      'tools/dist/old.spec.js',
      'apps/broker/dist/main.js',
      'apps/broker/dist/.tsbuildinfo',
    ];
    expect(left.filter((file) => existsSync(join(house, file)))).toEqual(['apps/broker/dist/main.js', 'apps/broker/dist/.tsbuildinfo']);
  });
});

onPosix('a program under task.mjs', () => {
  it('gets a Ctrl-C once, though terminal and npm both send it', async () => {
    const { task, lines, ended } = start();
    await next(lines, 'ready');
    process.kill(-pidOf(task), 'SIGINT'); // as a terminal: to the whole group
    task.kill('SIGINT'); // as npm: to the task
    expect(await next(lines, 'SIG')).toBe('SIGINT');
    task.kill('SIGTERM');
    expect(await next(lines, 'SIG')).toBe('SIGTERM');
    expect(await ended).toBe(7);
  });

  it('is asked to stop when the task is killed with no chance to say so', async () => {
    const { task, lines } = start();
    await next(lines, 'ready');
    task.kill('SIGKILL');
    expect(await next(lines, 'SIG')).toBe('SIGTERM');
  });

  it('is asked to stop when npm ends and its shell hands nothing on', async () => {
    const { task, lines } = start('sh', ['-c', `"${process.execPath}" tools/task.mjs broker; true`], { npm_lifecycle_event: 'start' });
    await next(lines, 'ready');
    task.kill('SIGTERM');
    expect(await next(lines, 'SIG')).toBe('SIGTERM');
  });

  it('leaves the code of the signal it died of', () => {
    expect(runToEnd('broker', 'die').status).toBe(128 + 9);
  });
});

function put(file: string, text: string | undefined): void {
  mkdirSync(join(house, dirname(file)), { recursive: true });
  if (text === undefined) copyFileSync(join(tools, '..', file), join(house, file));
  else writeFileSync(join(house, file), text);
}

function runToEnd(...args: string[]): { readonly stdout: string; readonly stderr: string; readonly status: number | null } {
  return spawnSync(process.execPath, ['tools/task.mjs', ...args], { cwd: house, encoding: 'utf8' });
}

function start(
  command = process.execPath,
  args = ['tools/task.mjs', 'broker'],
  environment: Readonly<Record<string, string>> = {},
): { readonly task: ChildProcess; readonly lines: Interface; readonly ended: Promise<number | null> } {
  const env = { ...process.env, ...environment };
  const task = spawn(command, args, { cwd: house, stdio: ['ignore', 'pipe', 'inherit'], detached: true, env });
  const lines = createInterface({ input: task.stdout as NodeJS.ReadableStream });
  return { task, lines, ended: new Promise((resolve) => task.on('exit', resolve)) };
}

/** The next line that begins with `prefix`. */
function next(lines: Interface, prefix: string): Promise<string> {
  return new Promise((resolve) => {
    const look = (line: string): void => {
      if (!line.startsWith(prefix)) return;
      lines.off('line', look);
      resolve(line);
    };
    lines.on('line', look);
  });
}

function pidOf(task: ChildProcess): number {
  if (task.pid === undefined) throw new Error('the task did not start');
  return task.pid;
}
