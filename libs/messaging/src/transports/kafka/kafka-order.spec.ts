/**
 * The order of keys over Kafka, from publishing to handlers: failing heads, a member that ends without a word, and lanes that go to another. On our own broker,
 * or on the cluster at DOVECOTE_TEST_KAFKA_URL where that is set.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { RealRandom, realGround } from '@dovecote/ground';
import { contractOf } from '../../delivery-contract.js';
import { type Envelope, plainEvent } from '../../envelope.js';
import type { Log } from '../../log.js';
import { Messaging } from '../../messaging.js';
import { checkOptions } from '../../options.js';
import type { Subscription } from '../../subscription.js';
import { turn } from '../../turn.js';
import { JumpingClock } from './jumping-clock.js';
import { KafkaSubject } from './kafka-subject.js';
import type { KafkaTransport } from './kafka-transport.js';

const KEYS = 6;
const MESSAGES = 60;

let clock: JumpingClock;
let subject: KafkaSubject;
let service: string;
let lines: string[];
/** The first ends of messages by key, and all attempts. */
let ends: Map<string, string[]>;
let attempts: string[];
const members: Service[] = [];

const foreignUrl = process.env['DOVECOTE_TEST_KAFKA_URL'] ?? '';

beforeEach(async () => {
  clock = new JumpingClock();
  [lines, ends, attempts] = [[], new Map(), []];
  subject = foreignUrl === '' ? await ours() : new KafkaSubject(foreignUrl, clock);
  service = subject.unique('readers');
});

async function ours(): Promise<KafkaSubject> {
  const kafka = { port: 0, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
  return new KafkaSubject(`kafka://127.0.0.1:${broker.kafkaPort}`, clock, () => broker.close());
}

afterEach(async () => {
  const closed = members.splice(0).map(({ messaging }) => messaging.close());
  // Those that crashed wait for handlers that never end.
  await clock.pass(12_000, 1_000);
  await Promise.all(closed);
  await subject.close();
});

/** An instance of a service with one handler. */
class Service {
  readonly transport: KafkaTransport;
  readonly messaging: Messaging;
  isDead = false;

  constructor(private readonly failures: Map<string, number>) {
    this.transport = subject.transport();
    const note = (line: string): void => void lines.push(line);
    const log: Log = { info: note, warn: note, error: note };
    const settings = checkOptions({ service, broker: 'kafka://test', ground: { clock, random: new RealRandom() } as never, prefetch: 20 });
    this.messaging = new Messaging(settings, this.transport, log);
    members.push(this);
  }

  async start(order: 'key' | 'strict'): Promise<this> {
    const place = 'Readers.read';
    const contract = contractOf({ order, retry: { attempts: 3, backoff: 'delayed', firstMs: 30 } }, place);
    const subscription: Subscription = {
      kind: 'event',
      pattern: subject.unique('orders.placed'),
      topic: undefined,
      messageClass: undefined,
      schema: undefined,
      contract,
      place,
      handle: (_event, message) => this.#handle(message.id, message.key!),
    };
    await this.messaging.start([subscription]);
    return this;
  }

  async crash(): Promise<void> {
    this.isDead = true;
    await subject.crash(this.transport);
  }

  async publish(id: string, key: string): Promise<void> {
    const envelope: Envelope = {
      ...plainEvent,
      id,
      type: subject.unique('orders.placed'),
      source: 'shop',
      time: undefined,
      key,
      version: 1,
      contentType: 'application/json',
      body: Buffer.from('{}'),
    };
    await this.transport.publish(envelope, Number.POSITIVE_INFINITY);
  }

  async #handle(id: string, key: string): Promise<void> {
    attempts.push(id);
    await turn();
    if (this.isDead) return new Promise(() => undefined);
    const left = this.failures.get(id) ?? 0;
    this.failures.set(id, left - 1);
    if (left > 0) throw new Error('down');
    ended(key, id);
  }
}

function ended(key: string, id: string): void {
  const ids = ends.get(key) ?? [];
  ends.set(key, ids);
  if (!ids.includes(id)) ids.push(id);
}

function keyOf(index: number): string {
  return `o-${(index * 7) % KEYS}`;
}

function published(): Map<string, string[]> {
  const all = new Map<string, string[]>();
  for (let index = 0; index < MESSAGES; index++) all.set(keyOf(index), [...(all.get(keyOf(index)) ?? []), `m-${index}`]);
  return all;
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

function count(): number {
  return [...ends.values()].reduce((sum, ids) => sum + ids.length, 0);
}

describe('the order of keys over Kafka', () => {
  it('is kept while heads fail, a member ends without a word and others take its lanes', async () => {
    const failures = new Map([4, 9, 17, 23, 31, 44].map((index) => [`m-${index}`, 1 + (index % 2)]));
    const first = await new Service(failures).start('key');
    for (let index = 0; index < MESSAGES / 2; index++) await first.publish(`m-${index}`, keyOf(index));
    await until(() => count() >= 8);
    await first.crash();
    const second = await new Service(failures).start('key');
    for (let index = MESSAGES / 2; index < MESSAGES; index++) {
      await second.publish(`m-${index}`, keyOf(index));
      if (index === MESSAGES - 15) await new Service(failures).start('key');
    }
    await until(() => count() === MESSAGES);
    expect(Object.fromEntries(ends)).toEqual(Object.fromEntries(published()));
    expect(await second.messaging.deadLetters.list()).toEqual([]);
  });

  it('is kept strictly: a dead letter holds its key over the end of its member, until it is sent again in its place', async () => {
    const failures = new Map([['m-2', 3]]);
    const first = await new Service(failures).start('strict');
    for (let index = 0; index < 24; index++) await first.publish(`m-${index}`, keyOf(index));
    const held = published()
      .get(keyOf(2))!
      .filter((id) => Number(id.slice(2)) < 24);
    const before = held.indexOf('m-2');
    await until(() => count() === 24 - (held.length - before));
    await first.crash();
    const second = await new Service(failures).start('strict');
    await second.publish('m-late', 'o-late');
    await until(() => ends.has('o-late'));
    expect(ends.get(keyOf(2)) ?? []).toEqual(held.slice(0, before));
    const [letter] = await second.messaging.deadLetters.list();
    expect(letter).toMatchObject({
      id: 'm-2',
      death: { cause: 'attempts', parked: { lane: expect.stringContaining('orders') as unknown } },
    });
    expect(await second.messaging.deadLetters.redrive()).toMatchObject({ done: 1 });
    await until(() => ends.get(keyOf(2))?.length === held.length);
    expect([ends.get(keyOf(2)), attempts.filter((id) => id === 'm-2').length]).toEqual([held, 4]);
    expect(await second.messaging.deadLetters.list()).toEqual([]);
  });

  it('goes on behind a dead letter that is thrown away', async () => {
    const first = await new Service(new Map([['m-0', 3]])).start('strict');
    for (const id of ['m-0', 'm-1']) await first.publish(id, 'o-1');
    await until(() => lines.some((line) => line.includes('its key waits until')));
    let done = 0;
    while (done === 0) ({ done } = await first.messaging.deadLetters.purge());
    await until(() => count() === 1);
    expect(ends.get('o-1')).toEqual(['m-1']);
  });
});
