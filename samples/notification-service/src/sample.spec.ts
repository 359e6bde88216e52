/**
 * The whole sample, as `npm start` runs it: real processes, real kill -9, real files. Waits for conditions, never for a while.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Counters, ProcessView } from './page/observer.js';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));
const CHECKER = fileURLToPath(new URL('checker.js', import.meta.url));
const LYING_BROKER = fileURLToPath(new URL('lying-broker.js', import.meta.url));
const TEST_MS_MAX = 120_000;
const CONDITION_MS_MAX = 40_000;
const LOOK_AGAIN_MS = 50;
const SENDERS = ['posts', 'groups', 'likes', 'orders', 'payments'];

let data: string;
let runs: Run[];

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'notification-sample-'));
  runs = [];
});

afterEach(async () => {
  for (const run of runs) await run.end();
  rmSync(data, { recursive: true, force: true });
});

/** One `npm start`, and what a person at its page could do. */
class Run {
  output = '';
  private readonly process: ChildProcess;
  private readonly gone: Promise<unknown>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    // A process group of its own, so that a signal to the group is what Ctrl-C in a terminal is.
    this.process = spawn(process.execPath, [MAIN, '--data', data, '--load', '0', ...args], {
      env: { ...process.env, PORT: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.gone = once(this.process, 'exit');
    for (const stream of [this.process.stdout, this.process.stderr]) stream?.on('data', (text) => (this.output += String(text)));
    runs.push(this);
  }

  static async start(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Run> {
    const run = new Run(args, env);
    await until('the page is open', () => /Ctrl-C/.test(run.output) || run.process.exitCode !== null);
    if (run.process.exitCode !== null) throw new Error(run.output);
    return run;
  }

  get port(): number {
    return Number(/http:\/\/localhost:(\d+)/.exec(this.output)?.[1]);
  }

  async post(path: string, body: object = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}/api/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  /** A click that must be granted. */
  async click(path: string, body: object = {}): Promise<void> {
    const answer = await this.post(path, body);
    if (!answer.ok) throw new Error(await answer.text());
  }

  async counters(): Promise<Counters> {
    return (await (await fetch(`http://127.0.0.1:${this.port}/api/counters`)).json()) as Counters;
  }

  async processes(): Promise<Map<string, ProcessView>> {
    const views = (await (await fetch(`http://127.0.0.1:${this.port}/api/processes`)).json()) as ProcessView[];
    return new Map(views.map((view) => [view.name, view]));
  }

  async pids(): Promise<number[]> {
    return [...(await this.processes()).values()].flatMap(({ pid }) => pid ?? []);
  }

  untilCounters(what: string, holds: (counters: Counters) => boolean): Promise<Counters> {
    return until(what, async () => {
      const counters = await this.counters();
      return holds(counters) && counters;
    });
  }

  /** Nothing new is sent, and what was sent was confirmed and handled. */
  async drained(): Promise<Counters> {
    await this.click('load', { perSecond: 0 });
    return this.untilCounters('everything is handled', ({ sent, confirmed, handled }) => sent === confirmed && handled === sent);
  }

  signal(name: NodeJS.Signals, to: 'stage' | 'group'): void {
    process.kill(to === 'group' ? -(this.process.pid ?? 0) : (this.process.pid ?? 0), name);
  }

  async ended(): Promise<number | null> {
    await this.gone;
    return this.process.exitCode;
  }

  async end(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGTERM');
    await this.gone;
  }
}

async function until<T>(what: string, condition: () => T | Promise<T>): Promise<Exclude<T, false | undefined>> {
  const deadline = Date.now() + CONDITION_MS_MAX;
  for (;;) {
    const met = await condition();
    if (met) return met as Exclude<T, false | undefined>;
    if (Date.now() > deadline)
      throw new Error(`Waited ${CONDITION_MS_MAX / 1000} s in vain until ${what}.\n${runs.map(({ output }) => output).join('\n')}`);
    await delay(LOOK_AGAIN_MS);
  }
}

function check(): { code: number | null; sums: Record<string, number> } {
  const { status, stdout } = spawnSync(process.execPath, [CHECKER, data], { encoding: 'utf8' });
  const sums = Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]),
  );
  return { code: status, sums };
}

/** Gone, or dead and only not yet buried by whoever inherited it. */
function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0] === 'Z';
  } catch {
    return true;
  }
}

describe('the notification sample', () => {
  it(
    'turns each kind of event into a notification, and loses none while each of its parts is killed and started again',
    async () => {
      const run = await Run.start();
      for (const sender of SENDERS) await run.click(`senders/${sender}/happen`);
      await run.untilCounters('five notifications went out', ({ handled }) => handled === 5);

      await run.click('load', { perSecond: 200 });
      await run.untilCounters('the load runs', ({ handled }) => handled > 100);

      await run.click('processes/notifications-1/kill');
      await run.untilCounters('events wait', ({ waiting }) => waiting > 200);
      expect((await run.counters()).lost).toBe(0);
      await run.click('processes/notifications-1/start');
      await run.untilCounters('the queue drains', ({ waiting }) => waiting < 50);

      const { confirmed } = await run.counters();
      await run.click('processes/broker/kill');
      await run.untilCounters('the senders go on', ({ sent }) => sent > confirmed + 200);
      await run.click('processes/broker/start');
      await run.untilCounters('all goes on', (now) => now.handled > confirmed + 300);

      const before = (await run.processes()).get('notifications-1')?.count ?? 0;
      await run.click('processes/notifications-2/start');
      await until('the two share the work', async () => {
        const now = await run.processes();
        return (now.get('notifications-1')?.count ?? 0) > before + 50 && (now.get('notifications-2')?.count ?? 0) > 50;
      });

      const { waiting: _, unknown, lost, ...sums } = await run.drained();
      expect({ lost, unknown }).toEqual({ lost: 0, unknown: 0 });
      expect(check()).toEqual({ code: 0, sums: { ...sums, lost: 0 } });
      await run.click('processes/posts/kill');
      expect((await run.post('senders/posts/happen')).status).toBe(409);
      await run.click('processes/posts/start');
      await run.click('senders/posts/happen');
      await run.untilCounters('the restarted sender sends', ({ handled }) => handled === sums.handled + 1);
    },
    TEST_MS_MAX,
  );

  it(
    'shows a loss where a broker confirms what it has not kept, and so does the checker',
    async () => {
      const run = await Run.start(['--broker-program', LYING_BROKER]);
      await run.click('processes/notifications-1/kill');
      for (let time = 0; time < 10; time += 1) for (const sender of SENDERS) await run.click(`senders/${sender}/happen`);
      await run.untilCounters('all are confirmed', ({ confirmed }) => confirmed === 50);
      await run.click('processes/broker/kill');
      await run.click('processes/broker/start');
      await run.click('processes/notifications-1/start');
      await run.untilCounters('the loss shows', ({ lost }) => lost === 50);
      expect(check()).toEqual({ code: 1, sums: { sent: 50, confirmed: 50, handled: 0, duplicate: 0, lost: 50 } });
    },
    TEST_MS_MAX,
  );

  it(
    'takes a free port where PORT is taken, refuses what cannot be done with a sentence, and stops when the terminal says Ctrl-C',
    async () => {
      const squatter = createServer().listen(0, '127.0.0.1');
      await once(squatter, 'listening');
      const { port } = squatter.address() as AddressInfo;
      const run = await Run.start([], { PORT: String(port) });
      squatter.close();
      expect(run.port).not.toBe(port);
      expect(run.port).toBeGreaterThan(0);
      expect(run.output).toContain(`port ${port} is taken`);
      expect(run.output.trim().split('\n')).toHaveLength(8);

      for (const path of ['', 'page.js', 'page.css', 'uplot/uPlot.iife.min.js']) {
        expect((await fetch(`http://127.0.0.1:${run.port}/${path}`)).status).toBe(200);
      }
      const live = (await fetch(`http://127.0.0.1:${run.port}/api/live`)).body?.getReader();
      expect(new TextDecoder().decode((await live?.read())?.value)).toContain('event: past');
      await live?.cancel();

      const again = await run.post('processes/notifications-1/start');
      expect({ status: again.status, ...((await again.json()) as object) }).toMatchObject({
        status: 409,
        message: 'notifications-1 is running already.',
      });
      expect((await run.post('load', { perSecond: -1 })).status).toBe(409);
      const foreign = await fetch(`http://127.0.0.1:${run.port}/api/load`, {
        method: 'POST',
        headers: { origin: 'http://elsewhere.test' },
      });
      expect(foreign.status).toBe(403);

      const second = new Run([]);
      expect(await second.ended()).toBe(1);
      expect(second.output.trim()).toBe(
        `${data} is used by another run of this sample. Stop that one, or name another folder with --data.`,
      );

      const pids = await run.pids();
      expect(pids).toHaveLength(7);
      run.signal('SIGINT', 'group');
      expect(await run.ended()).toBe(0);
      expect(pids.filter((pid) => !isGone(pid))).toEqual([]);
    },
    TEST_MS_MAX,
  );

  it(
    'leaves no process behind when it is killed itself, and goes on where it was with --keep',
    async () => {
      const run = await Run.start();
      await run.click('processes/notifications-1/kill');
      for (const sender of SENDERS) await run.click(`senders/${sender}/happen`);
      await run.untilCounters('all are confirmed', ({ confirmed }) => confirmed === 5);
      const pids = await run.pids();
      run.signal('SIGKILL', 'stage');
      await until('its processes are gone', () => pids.every(isGone));

      const next = await Run.start(['--keep']);
      await next.untilCounters('what waited is handled', ({ handled }) => handled === 5);
      next.signal('SIGTERM', 'stage');
      expect(await next.ended()).toBe(0);
    },
    TEST_MS_MAX,
  );

  it('says what is wrong with what it was told, and touches no folder that is not its own', async () => {
    writeFileSync(join(data, 'thesis.txt'), 'mine');
    for (const [args, env, sentence] of [
      [[], {}, `${data} holds thesis.txt, which is not this sample's. Name an empty folder with --data.`],
      [['--load', 'much'], {}, '--load is a whole number from 0 to 2000; this is "much".'],
      [
        ['--broker-url', 'localhost'],
        {},
        '--broker-url is an address as amqp://user:password@host:5672 or kafka://host:9092; this is localhost.',
      ],
      [[], { PORT: 'http' }, 'PORT is a whole number from 0 to 65535; this is "http".'],
    ] as const) {
      const run = new Run(args, env);
      expect(await run.ended()).toBe(1);
      expect(run.output.trim()).toBe(sentence);
    }
    const nothing = spawnSync(process.execPath, [CHECKER, join(data, 'nowhere')], { encoding: 'utf8' });
    expect(nothing.status).toBe(2);
    expect(nothing.stderr).toContain('is not the data folder of a run');
  });
});
