/**
 * A member of a group that stands still for two sessions, as a process does on a machine that sleeps or is out of memory: in a process of its own, run by
 * clients that know nothing of us, against the daemon. What our own client does: libs/messaging, transports/kafka/frozen-member.spec.ts.
 */
import { afterEach, describe, expect, it } from '@jest/globals';
import { realGround } from '@dovecote/ground';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs';
import { cleanUp, DaemonProcess, temporaryFolder } from '../daemon-process.js';
import type { MemberOptions } from './member-words.js';

const sessionMs = 5_000;
const partitions = [0, 1, 2, 3];
const topic = 'orders';
const group = 'shippers';
const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
  await cleanUp();
});

class Member {
  readonly lines: string[] = [];
  private readonly child: ChildProcess;
  private heard: () => void = () => undefined;

  constructor(client: string, broker: string) {
    const options: MemberOptions = { broker, group, topic, sessionMs, held: 'held' };
    const program = `${import.meta.dirname}/${client}-member.js`;
    this.child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'], env: {} });
    this.child.stdout!.setEncoding('utf8');
    let rest = '';
    this.child.stdout!.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      this.lines.push(...lines);
      this.heard();
    });
    const exited = once(this.child, 'close');
    ends.push(() => {
      this.child.kill('SIGKILL');
      return exited;
    });
  }

  get assigned(): readonly number[] {
    return this.said('assigned').at(-1)?.split(' ').filter(Boolean).map(Number) ?? [];
  }

  said(verb: string): readonly string[] {
    return this.lines.filter((line) => line.startsWith(`${verb} `)).map((line) => line.slice(verb.length + 1));
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.heard = resolve));
  }

  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  /** Does not stand still in the midst of a record, or not any longer. */
  goOn(): void {
    this.child.stdin!.write('\n');
  }
}

type Records = readonly (readonly [partition: number, value: string])[];

const eachIn = (some: readonly number[], moment: string): Records => some.map((partition) => [partition, `${moment}-${partition}`]);
const valuesOf = (records: Records): readonly string[] => records.map(([, value]) => value);

/** Resolves when each of these was committed by one of them. */
async function committed(members: readonly Member[], values: readonly string[]): Promise<void> {
  for (const value of values) await Promise.race(members.map((member) => member.until(() => member.said('committed').includes(value))));
}

describe.each(['kafkajs', 'platformatic'])('a member run by %s that stands still for two sessions', (client) => {
  it('is given up, may commit nothing any more, and comes back; the group misses nothing and goes back nowhere', async () => {
    const config = ['group.initial.rebalance.delay.ms=0', 'group.min.session.timeout.ms=1000'].flatMap((one) => ['--kafka-config', one]);
    const daemon = await DaemonProcess.listening([
      ...['--data', temporaryFolder(), '--durability', 'fsync', '--amqp-port', '0', '--kafka-port', '0'],
      ...config,
    ]);
    const broker = `127.0.0.1:${daemon.kafkaPort}`;
    const observer = await observe(broker);
    const [first, second] = [new Member(client, broker), new Member(client, broker)];
    await Promise.all([first, second].map((member) => member.until(() => member.assigned.length === 2)));
    const [held, ...others] = [first.assigned[0]!, ...partitions.filter((partition) => partition !== first.assigned[0])];
    await observer.send(eachIn(partitions, 'before'));
    await committed([first, second], valuesOf(eachIn(partitions, 'before')));

    const interrupted = ['held', 'behind'].map((value) => [held, value] as const);
    await observer.send(interrupted);
    await first.until(() => first.said('began').includes('held'));
    first.freeze();
    second.goOn();
    const { clock } = realGround();
    const isOver = new Promise<void>((resolve) => clock.after(2 * sessionMs, resolve));
    await observer.send(eachIn(others, 'meanwhile'));
    const meanwhile = valuesOf([...interrupted, ...eachIn(others, 'meanwhile')]);
    await committed([second], meanwhile);
    expect(second.assigned).toEqual(partitions);
    await isOver;
    const before = await observer.offsets();
    const joined = first.said('assigned').length;
    expect(before).toEqual(partitions.map((partition) => (partition === held ? 3 : 2)));

    first.thaw();
    first.goOn();
    await first.until(() => first.said('refused').length > 0);
    expect(first.said('refused')[0]).toMatch(/^held: .*(UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION)/);
    await first.until(() => first.said('assigned').length > joined);
    await Promise.all([first, second].map((member) => member.until(() => member.assigned.length === 2)));
    expect(await observer.offsets()).toEqual(before);

    await observer.send(eachIn(partitions, 'after'));
    await committed([first, second], valuesOf(eachIn(partitions, 'after')));
    await first.until(() => first.said('committed').some((value) => value.startsWith('after')));
    expect(await observer.offsets()).toEqual(before.map((offset) => offset + 1));
    // Nobody can call back what it was in the midst of: that was done twice, and nothing else of what was handled meanwhile.
    expect(meanwhile.filter((value) => first.said('done').includes(value) && second.said('done').includes(value))).toEqual(['held']);
  });
});

/** Who writes to the topic, and looks at what the group has committed. */
async function observe(broker: string): Promise<{
  send(records: Records): Promise<unknown>;
  offsets(): Promise<readonly number[]>;
}> {
  const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const producer: Producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await Promise.all([admin.connect(), producer.connect()]);
  ends.push(() => Promise.all([admin.disconnect(), producer.disconnect()]));
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions.length }] });
  return {
    send: (records) => producer.send({ topic, messages: records.map(([partition, value]) => ({ partition, value })) }),
    offsets: async () => {
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
      return partitions.map((number) => Number(found!.partitions.find(({ partition }) => partition === number)!.offset));
    },
  };
}
