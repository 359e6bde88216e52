/**
 * The order of keys from publishing to handlers: failing heads, a member that ends without a word, and lanes that go to another. On our own broker over each of
 * its ways, on the cluster at DOVECOTE_TEST_KAFKA_URL and the broker at DOVECOTE_TEST_AMQP_URL where they are set.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { type Ground, realGround } from '@dovecote/ground';
import type { DeadLetter } from '../dead-letters.js';
import { contractOf } from '../delivery-contract.js';
import { type Envelope, plainEvent } from '../envelope.js';
import type { Log } from '../log.js';
import { Messaging } from '../messaging.js';
import { checkOptions } from '../options.js';
import type { Subscription } from '../subscription.js';
import { turn } from '../turn.js';
import type { TransportSubject } from '../transport-contract.js';
import type { Transport } from '../transport.js';
import { AmqpSubject } from '../transports/amqp-subject.js';
import { EmbeddedSubject } from '../transports/embedded-subject.js';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import { KafkaSubject } from '../transports/kafka/kafka-subject.js';

const KEYS = 6;
const MESSAGES = 60;

let subject: TransportSubject;
let service: string;
let lines: string[];
/** The first ends of messages by key. */
let ends: Map<string, string[]>;
const members: Service[] = [];

const ground = (clock: JumpingClock): { readonly ground: Ground } => ({ ground: { ...realGround(), clock } });

async function overKafka(): Promise<TransportSubject> {
  const clock = new JumpingClock();
  const kafka = { port: 0, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ durability: 'memory', kafka, ...ground(clock) });
  return new KafkaSubject(`kafka://127.0.0.1:${broker.kafkaPort}`, clock, () => broker.close());
}

async function overAmqp(): Promise<TransportSubject> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  return AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close());
}

const ways: Record<string, () => Promise<TransportSubject>> = {
  'over Kafka': overKafka,
  'over AMQP': overAmqp,
  'in process': () => EmbeddedSubject.open(),
};
const { DOVECOTE_TEST_KAFKA_URL: kafkaUrl = '', DOVECOTE_TEST_AMQP_URL: amqpUrl = '' } = process.env;
if (kafkaUrl !== '') ways['on another Kafka'] = () => Promise.resolve(new KafkaSubject(kafkaUrl, new JumpingClock()));
if (amqpUrl !== '') ways['on another AMQP broker'] = () => AmqpSubject.open(amqpUrl);

/** An instance of a service with one handler. */
class Service {
  readonly transport: Transport;
  readonly messaging: Messaging;
  isDead = false;

  constructor(private readonly failures: Map<string, number>) {
    this.transport = subject.transport();
    const note = (line: string): void => void lines.push(line);
    const log: Log = { info: note, warn: note, error: note };
    const settings = checkOptions({ service, broker: 'kafka://test', prefetch: 20, drainTimeoutMs: 100, abortGraceMs: 0 });
    this.messaging = new Messaging(settings, this.transport, log);
    members.push(this);
  }

  async start(order: 'none' | 'key' | 'strict', firstMs = 30): Promise<this> {
    const place = 'Readers.read';
    const contract = contractOf({ order, retry: { attempts: 3, backoff: 'delayed', firstMs } }, place);
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

describe.each(Object.entries(ways))('the order of keys %s', (_way, open) => {
  beforeEach(async () => {
    [lines, ends] = [[], new Map()];
    subject = await open();
    service = subject.unique('readers');
  });

  afterEach(async () => {
    await Promise.all(members.splice(0).map(({ messaging }) => messaging.close()));
    await subject.close();
  });

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
    const failures = new Map([['m-2', Number.POSITIVE_INFINITY]]);
    const first = await new Service(failures).start('strict');
    for (let index = 0; index < 24; index++) await first.publish(`m-${index}`, keyOf(index));
    const held = published()
      .get(keyOf(2))!
      .filter((id) => Number(id.slice(2)) < 24);
    const before = held.indexOf('m-2');
    await until(() => count() === 24 - (held.length - before));
    await until(() => lines.some((line) => line.includes('its key waits until')));
    await first.crash();
    const second = await new Service(failures).start('strict');
    await second.publish('m-late', 'o-late');
    await until(() => ends.has('o-late'));
    expect(ends.get(keyOf(2)) ?? []).toEqual(held.slice(0, before));
    const { deadLetters } = second.messaging;
    // Whoever has the lane publishes it where the one before it did not come to that.
    let letter: DeadLetter | undefined;
    while (letter === undefined) [letter] = await deadLetters.list();
    expect(letter).toMatchObject({
      id: 'm-2',
      death: { cause: 'attempts', parked: { lane: expect.any(String) as unknown } },
    });
    failures.clear();
    // Two, where the first member ended before it could say that it had published it.
    expect((await deadLetters.redrive()).done).toBeGreaterThan(0);
    await until(() => ends.get(keyOf(2))?.length === held.length);
    expect(ends.get(keyOf(2))).toEqual(held);
    expect(await deadLetters.list()).toEqual([]);
  });

  it('is that of what is parked also where its handler asks for no order any more', async () => {
    const first = await new Service(new Map([['m-0', 1]])).start('key', 2_000);
    const ids = Array.from({ length: 6 }, (_, index) => `m-${index}`);
    for (const id of ids) await first.publish(id, 'o-1');
    await until(() => lines.some((line) => line.includes('It comes again in')));
    for (let count = 0; count < 200; count++) await turn();
    await first.crash();
    await new Service(new Map()).start('none');
    await until(() => count() === ids.length);
    expect(ends.get('o-1')).toEqual(ids);
  });

  it('holds a key behind its dead letter also where its handler asks for no order any more', async () => {
    const first = await new Service(new Map([['m-0', Number.POSITIVE_INFINITY]])).start('strict');
    const ids = ['m-0', 'm-1', 'm-2'];
    for (const id of ids) await first.publish(id, 'o-1');
    await until(() => lines.some((line) => line.includes('its key waits until')));
    let letters: readonly DeadLetter[] = [];
    while (letters.length === 0) letters = await first.messaging.deadLetters.list();
    for (let count = 0; count < 200; count++) await turn();
    await first.crash();
    const second = await new Service(new Map()).start('none');
    await second.publish('m-other', 'o-2');
    await until(() => count() === 1);
    let done = 0;
    while (done === 0) ({ done } = await second.messaging.deadLetters.redrive());
    await until(() => count() === 4);
    expect([ends.get('o-2'), ends.get('o-1')]).toEqual([['m-other'], ids]);
  });

  it('goes on behind a dead letter that is thrown away', async () => {
    const first = await new Service(new Map([['m-0', Number.POSITIVE_INFINITY]])).start('strict');
    for (const id of ['m-0', 'm-1']) await first.publish(id, 'o-1');
    await until(() => lines.some((line) => line.includes('its key waits until')));
    let done = 0;
    while (done === 0) ({ done } = await first.messaging.deadLetters.purge());
    await until(() => count() === 1);
    expect(ends.get('o-1')).toEqual(['m-1']);
  });
});
