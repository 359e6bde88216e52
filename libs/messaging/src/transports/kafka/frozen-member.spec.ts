/** A member whose process stands still for two sessions, and then goes on: what overlaps, and what does not. Processes, and time as it is. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { RealRandom, realGround } from '@dovecote/ground';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Envelope, plainEvent } from '../../envelope.js';
import { JumpingClock } from './jumping-clock.js';
import { KafkaSubject } from './kafka-subject.js';

const SESSION_MS = 6_000;
const program = fileURLToPath(new URL('member-program.js', import.meta.url));
const ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

class Member {
  readonly lines: string[] = [];
  readonly child: ChildProcessByStdio<null, Readable, null>;
  #heard: () => void = () => undefined;

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
    this.child.stdout.setEncoding('utf8');
    let rest = '';
    this.child.stdout.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      this.lines.push(...lines);
      this.#heard();
    });
    const exited = once(this.child, 'close');
    ends.push(async () => {
      this.child.kill('SIGKILL');
      await exited;
    });
  }

  async says(text: string): Promise<void> {
    while (!this.lines.some((line) => line.includes(text))) await new Promise<void>((resolve) => (this.#heard = resolve));
  }

  said(verb: string): string[] {
    return this.lines.filter((line) => line.startsWith(`${verb} `)).map((line) => line.slice(verb.length + 1));
  }
}

describe('a member that stands still for two sessions', () => {
  it('may end the one handler it was in the middle of a second time, and begins nothing that another has', async () => {
    const broker = await Broker.open({ durability: 'memory', kafka: { port: 0 } });
    ends.push(() => broker.close());
    const url = `kafka://127.0.0.1:${broker.kafkaPort}`;
    const [service, type] = [`frozen-${new RealRandom().bytes(4).toString('hex')}`, 'orders.placed'];
    const subject = new KafkaSubject(url, new JumpingClock());
    ends.push(() => subject.close());
    const publisher = subject.transport();
    await publisher.open();
    const publish = (id: string): Promise<void> => {
      const envelope: Envelope = {
        ...plainEvent,
        id,
        type,
        source: 'shop',
        time: undefined,
        key: 'o-1',
        version: 1,
        contentType: 'application/json',
        body: Buffer.from('{}'),
      };
      return publisher.publish(envelope, Number.POSITIVE_INFINITY);
    };

    const first = new Member([url, service, type, 'm-1']);
    await first.says('ready');
    await Promise.all(['m-0', 'm-1', 'm-2', 'm-3'].map(publish));
    await first.says('began m-1');
    first.child.kill('SIGSTOP');
    const { clock } = realGround();
    const isOver = new Promise<void>((resolve) => clock.after(2 * SESSION_MS, resolve));
    const second = new Member([url, service, type, '']);
    // What stood still was in the middle of m-1, and had m-2 and m-3 in its hands.
    await second.says('done m-3');
    await isOver;

    first.child.kill('SIGCONT');
    await first.says('done m-1');
    for (const id of ['m-4', 'm-5']) await publish(id);
    const done = (id: string): Promise<void> => Promise.race([first.says(`done ${id}`), second.says(`done ${id}`)]);
    await done('m-5');

    // Ended twice: nobody can call back what a handler does already.
    expect(first.said('done').slice(0, 2)).toEqual(['m-0', 'm-1']);
    expect(second.said('done').filter((id) => id !== 'm-0' && id <= 'm-3')).toEqual(['m-1', 'm-2', 'm-3']);
    expect(first.said('began').filter((id) => id === 'm-2' || id === 'm-3')).toEqual([]);
    // Nothing is lost, and nothing else was done twice.
    const both = [...first.said('done'), ...second.said('done')];
    expect([...new Set(both)].toSorted()).toEqual(['m-0', 'm-1', 'm-2', 'm-3', 'm-4', 'm-5']);
    expect(['m-2', 'm-3', 'm-4', 'm-5'].map((id) => both.filter((one) => one === id).length)).toEqual([1, 1, 1, 1]);
    await first.says('stood still for longer than its session');
  });
});
