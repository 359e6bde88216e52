/** A message that ends its process, where the messages of its key are handled in order: real processes, really ended, over each way to our broker. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { DELIVERIES_UNSUSPECTED_MAX, SUSPECTED_STARTS_MAX } from '../limits.js';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import type { ProgramOptions } from './poisoned-program.js';

/** What a group misses a member after. */
const SESSION_MS = 6_000;
/** The first kill of a broker in the same process is not counted; on a log it takes three until what ended it is the first that is read. */
const ENDS_MAX = DELIVERIES_UNSUSPECTED_MAX + SUSPECTED_STARTS_MAX + 6;
/** Each life loads all of messaging. */
const TEST_MS_MAX = 240_000;

const ends: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

interface Place {
  readonly url: string;
  /** The broker notices that a process is gone. */
  readonly misses: () => void;
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  'over AMQP': async () => {
    const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
    ends.push(() => broker.close());
    return { url: `amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, misses: () => undefined };
  },
  'over Kafka': async () => {
    const clock = new JumpingClock();
    const kafka = { port: 0, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1 };
    const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
    ends.push(() => broker.close());
    return { url: `kafka://127.0.0.1:${broker.kafkaPort}`, misses: () => clock.jump(SESSION_MS + 1_000) };
  },
  'on a folder': () => {
    const folder = mkdtempSync(join(tmpdir(), 'dovecote-poison-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    return Promise.resolve({ url: `embedded:${folder}`, misses: () => undefined });
  },
};

class Life {
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;
  readonly #child: ChildProcess;
  #waiting: (() => void)[] = [];

  constructor(options: ProgramOptions) {
    const program = join(import.meta.dirname, 'poisoned-program.js');
    this.#child = spawn(process.execPath, [program, JSON.stringify(options)], { env: {}, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin?.on('error', () => undefined);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.lines.push(line);
      for (const look of this.#waiting.splice(0)) look();
    });
    this.ended = once(this.#child, 'close').then(() => {
      for (const look of this.#waiting.splice(0)) look();
    });
    ends.push(() => this.#kill());
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Whether it came to that before it ended. */
  async until(isTrue: () => boolean): Promise<boolean> {
    while (!isTrue()) {
      if (this.hasEnded) return isTrue();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return true;
  }

  said(what: string): string[] {
    return this.lines.filter((line) => line.startsWith(`${what} `)).map((line) => line.slice(what.length + 1));
  }

  tell(word: string): void {
    this.#child.stdin?.write(`${word}\n`);
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    await this.ended;
  }

  async #kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** First ends by key, over all lives. */
function firstEnds(lives: readonly Life[]): Record<string, string[]> {
  const byKey: Record<string, string[]> = {};
  for (const id of new Set(lives.flatMap((life) => life.said('done')))) (byKey[id.split('-')[0]!] ??= []).push(id);
  return byKey;
}

const ids = Array.from({ length: 5 }, (_, index) => ['a', 'b', 'c'].map((key) => `${key}-${index}`)).flat();
const idsOf = (key: string): string[] => ids.filter((id) => id.startsWith(key));

describe.each(Object.keys(places))('a message in order that ends its process, %s', (where) => {
  it.each(['key', 'strict'] as const)(
    'is found under order %s, and the other keys go on',
    async (order) => {
      const { url, misses } = await places[where]!();
      const service = 'readers';
      const first = new Life({ url, service, order });
      await first.until(() => first.said('ready').length > 0);
      await first.end();
      const writer = new Life({ url, service: 'shop', publishes: ids });
      await writer.until(() => writer.said('published').length > 0);
      await writer.end();

      const lives: Life[] = [];
      const isFound = (): boolean => lives.some((life) => life.said('log').some((line) => line.includes('is poison for')));
      const done = (): number => Object.values(firstEnds(lives)).flat().length;
      // Under `strict` what is behind it waits.
      const wanted = order === 'key' ? ids.length - 1 : ids.length - 4;
      for (let isOver = false; !isOver;) {
        expect(lives.length).toBeLessThanOrEqual(ENDS_MAX);
        const life = new Life({ url, service, order, deadly: 'a-1', death: order === 'key' ? 'kill' : 'exit' });
        lives.push(life);
        isOver = await life.until(() => isFound() && done() === wanted);
        if (!isOver) misses();
      }
      // Its process did not end by it again, once it was found.
      const last = lives.at(-1)!;
      expect(lives.filter((life) => life.said('began').includes('a-1'))).toHaveLength(lives.length - 1);
      expect(lives.length - 1).toBeGreaterThanOrEqual(SUSPECTED_STARTS_MAX);
      const behind = ['a-2', 'a-3', 'a-4'];
      expect(firstEnds(lives)).toEqual({ a: order === 'key' ? ['a-0', ...behind] : ['a-0'], b: idsOf('b'), c: idsOf('c') });
      await last.end();

      const healthy = new Life({ url, service, order });
      lives.push(healthy);
      await healthy.until(() => healthy.said('ready').length > 0);
      healthy.tell('redrive');
      await healthy.until(() => healthy.said('redriven').length > 0 && done() === ids.length);
      expect(healthy.said('letter')).toEqual(['a-1 poisoned']);
      expect(firstEnds(lives)['a']).toEqual(order === 'key' ? ['a-0', ...behind, 'a-1'] : idsOf('a'));
      await healthy.end();
    },
    TEST_MS_MAX,
  );
});
