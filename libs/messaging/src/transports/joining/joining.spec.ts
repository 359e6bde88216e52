/** Several processes on one folder, as a restart under --watch or a second service makes them: real ones, really killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { MemberOptions } from './main.js';

const UNENDING = 1_000_000;

let folder: string;
let chronicle: Chronicle;
const members: MemberProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-joining-'));
  chronicle = new Chronicle();
});

afterEach(async () => {
  for (const member of members) member.kill();
  await Promise.all(members.splice(0).map(({ ended }) => ended));
  rmSync(folder, { recursive: true, force: true });
});

function start(name: string, service: string, options: Partial<MemberOptions> = {}): MemberProcess {
  const member = new MemberProcess({ folder, service, name, durability: 'os', publishes: UNENDING, ...options }, chronicle);
  members.push(member);
  return member;
}

/** The process that has the broker, as the lock names it. */
function owner(): MemberProcess | undefined {
  const { pid } = JSON.parse(readFileSync(join(folder, 'lock'), 'utf8')) as { pid: number };
  return members.find((member) => member.pid === pid);
}

async function endAll(): Promise<readonly (number | null)[]> {
  for (const member of members) member.end();
  return (await Promise.all(members.map(({ ended }) => ended))).map(({ code }) => code);
}

describe('a folder that several processes use', () => {
  it('loses nothing that was confirmed although whoever has the broker is killed again and again', async () => {
    const [first, second, third] = [start('a0', 'bills'), start('b0', 'bills'), start('c0', 'mails')];
    await Promise.all([first.ready, second.ready, third.ready]);
    for (const member of members) member.go();
    for (let kill = 1; kill <= 4; kill++) {
      const enough = chronicle.confirmed.size + 300;
      await chronicle.until(() => chronicle.confirmed.size >= enough);
      const victim = owner()!;
      victim.kill();
      await victim.ended;
      members.splice(members.indexOf(victim), 1);
      await chronicle.until(() => chronicle.count('it is in this one now') === kill);
      const next = start(`${victim.options.name.charAt(0)}${kill}`, victim.options.service);
      await next.ready;
      next.go();
    }
    for (const member of members) member.rest();
    await chronicle.until(() => members.every(({ options }) => chronicle.lines.includes(`published ${options.name}`)));
    await chronicle.until(() => chronicle.missing('bills').length === 0 && chronicle.missing('mails').length === 0);
    // One after the other: the last one has the broker to itself.
    expect(await endAll()).toEqual([0, 0, 0]);
    expect(chronicle.confirmed.size).toBeGreaterThan(1200);
  }, 120_000);

  it('has one owner where two start at the same moment, and the other one joins it', async () => {
    const both = [start('a', 'bills', { publishes: 50 }), start('b', 'mails', { publishes: 50 })];
    await Promise.all(both.map(({ ready }) => ready));
    for (const member of both) member.go();
    expect(chronicle.count('has the broker in')).toBe(1);
    await chronicle.until(
      () => chronicle.confirmed.size === 100 && chronicle.missing('bills').length + chronicle.missing('mails').length === 0,
    );
    expect(await endAll()).toEqual([0, 0]);
  }, 60_000);

  it('goes over to who has joined when its owner ends in order, in the midst of what they publish', async () => {
    const first = start('a', 'bills');
    await first.ready;
    const second = start('b', 'mails');
    await second.ready;
    second.go();
    await chronicle.until(() => chronicle.confirmed.size > 200);
    first.end();
    expect((await first.ended).code).toBe(0);
    await chronicle.until(() => chronicle.count('it is in this one now') === 1);
    const before = chronicle.confirmed.size;
    await chronicle.until(() => chronicle.confirmed.size > before + 100);
    second.rest();
    await chronicle.until(() => chronicle.lines.includes('published b') && chronicle.missing('mails').length === 0);
    // What was published while nobody of the first service was there has been kept for it.
    const again = start('c', 'bills', { publishes: 0 });
    await chronicle.until(() => chronicle.missing('bills').length === 0);
    again.end();
    await again.ended;
  }, 60_000);

  it('finds the message that ends the process of the broker, and handles all others', async () => {
    const [reader, writer] = [start('r', 'bills'), start('w', 'mails', { publishes: 30 })];
    await Promise.all([reader.ready, writer.ready]);
    reader.kill();
    await reader.ended;
    writer.go();
    await chronicle.until(() => chronicle.lines.includes('published w'));
    writer.end();
    await writer.ended;
    let kills = 0;
    for (let isBuried = false; !isBuried && kills < 20;) {
      const victim = start(`r${kills}`, 'bills', { publishes: 0, deadly: 'w-7' });
      const buried = chronicle.until(() => chronicle.count('is poison for') > 0).then(() => true);
      isBuried = await Promise.race([buried, victim.ended.then(() => false)]);
      if (!isBuried) kills += 1;
    }
    await chronicle.until(() => chronicle.missing('bills').length === 1);
    expect(chronicle.missing('bills')).toEqual(['w-7']);
    expect(chronicle.count('among the dead letters')).toBe(1);
    // Four times in the midst of others, and four times alone.
    expect(kills).toBe(8);
  }, 120_000);

  it('refuses who asks for more than its owner promises, with a sentence', async () => {
    await start('a', 'bills', { publishes: 0 }).ready;
    const second = start('b', 'mails', { publishes: 0, durability: 'fsync' });
    expect((await second.ended).code).toBe(1);
    expect(chronicle.lines.at(-1)).toBe(
      `failed The broker in ${folder} belongs to a process that opened it with durability 'os', and this service asks for 'fsync': give both the same`,
    );
  }, 60_000);
});

/** What all of them said, which outlives them. */
class Chronicle {
  readonly confirmed = new Set<string>();
  /** By service. */
  readonly handled = new Map<string, Map<string, number>>();
  readonly lines: string[] = [];
  #waiting: (() => void)[] = [];

  take(service: string, line: string): void {
    const [what = '', ...rest] = line.split(' ');
    const text = rest.join(' ');
    this.lines.push(line);
    if (what === 'confirmed') this.confirmed.add(text);
    if (what === 'handled') {
      const counts = this.handled.get(service) ?? new Map<string, number>();
      this.handled.set(service, counts.set(text, (counts.get(text) ?? 0) + 1));
    }
    for (const look of this.#waiting.splice(0)) look();
  }

  /** Confirmed, and not handled by the service. */
  missing(service: string): readonly string[] {
    const handled = this.handled.get(service);
    return [...this.confirmed].filter((name) => handled?.has(name) !== true);
  }

  count(text: string): number {
    return this.lines.filter((line) => line.includes(text)).length;
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

class MemberProcess {
  readonly #child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly ready: Promise<void>;

  constructor(
    readonly options: MemberOptions,
    heard: Chronicle,
  ) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, 'main.js'), JSON.stringify(options)], {
      env: {},
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin?.on('error', () => undefined);
    this.ended = once(this.#child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
    this.ready = new Promise((resolve) => {
      createInterface({ input: this.#child.stdout! }).on('line', (line) => {
        heard.take(options.service, line);
        if (line.startsWith('ready')) resolve();
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Publishes from now on. */
  go(): void {
    this.#child.stdin?.write('go\n');
  }

  /** Publishes no more. */
  rest(): void {
    this.#child.stdin?.write('rest\n');
  }

  /** Ends in order. */
  end(): void {
    this.#child.stdin?.end();
  }
}
