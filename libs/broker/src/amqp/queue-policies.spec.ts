import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodeProperties, type MessageProperties } from '../queues/properties.js';
import type { FieldTable } from '../queues/field-table.js';
import { AmqpWorld, converse } from './amqp-world.js';
import { handshake, method, openChannel, publish, type ScriptedClient } from './scripted-client.js';

/**
 * What queues do with messages that nobody takes, as a RabbitMQ 4.0.5 does it: each of these was said to a real one, and what is
 * expected here is what it answered (times aside).
 *
 * Long, because every conversation is written out beside its answer.
 */
let world: AmqpWorld;
let client: ScriptedClient;

beforeEach(async () => {
  world = await AmqpWorld.open();
  client = await world.connected(Buffer.concat([handshake, openChannel]));
});

afterEach(() => world.close());

const declareQueue = (queue: string, given: FieldTable = {}): Buffer => method('queue.declare', { queue, arguments: given });
const toQueue = (queue: string, body: string | Buffer, properties: MessageProperties = {}): Buffer =>
  publish({ routingKey: queue }, body, properties);
const deadTo = (routingKey: string, more: FieldTable = {}): FieldTable => ({
  'x-dead-letter-exchange': '',
  'x-dead-letter-routing-key': routingKey,
  ...more,
});

/** What is answered, with the properties of messages decoded. */
async function say(...said: readonly Buffer[]): Promise<string[]> {
  client.send(...said);
  await world.settle();
  return client.take().map((line) => {
    const [, hex] = /^header 1 (\w+)$/.exec(line) ?? [];
    if (hex === undefined) return line;
    const payload = Buffer.from(hex, 'hex');
    return `header ${text(decodeProperties(payload, 12, payload.length))}`;
  });
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item)).replace(
    /"timestamp":\d+/g,
    '"timestamp":0',
  );

interface Got {
  readonly body: string;
  readonly properties: MessageProperties;
  readonly tag: number;
  readonly redelivered: boolean;
  readonly exchange: string;
  readonly key: string;
}

/** Fetches one message; undefined from an empty queue. */
async function get(queue: string, noAck = false): Promise<Got | undefined> {
  const lines = await say(method('basic.get', { queue, noAck }));
  if (lines[0] === 'basic.get-empty 1 {}') return undefined;
  const ok = JSON.parse(lines[0]!.slice('basic.get-ok 1 '.length)) as {
    deliveryTag: number;
    redelivered: boolean;
    exchange: string;
    routingKey: string;
  };
  const properties = JSON.parse(lines[1]!.slice('header '.length)) as MessageProperties;
  const body = lines[2]?.split(' ').slice(3).join(' ') ?? '';
  return { body, properties, tag: ok.deliveryTag, redelivered: ok.redelivered, exchange: ok.exchange, key: ok.routingKey };
}

async function getAndReject(queue: string): Promise<Got> {
  const got = await get(queue);
  await say(method('basic.nack', { deliveryTag: got!.tag }));
  return got!;
}

async function bodiesIn(queue: string): Promise<string[]> {
  const bodies: string[] = [];
  for (let got = await get(queue, true); got !== undefined; got = await get(queue, true)) bodies.push(got.body);
  return bodies;
}

const count = async (queue: string): Promise<number> => {
  const [line] = await say(method('queue.declare', { queue, passive: true }));
  return (JSON.parse(line!.slice('queue.declare-ok 1 '.length)) as { messageCount: number }).messageCount;
};

const death = (queue: string, reason: string, exchange: string, key: string, times = 1): FieldTable => ({
  count: times,
  reason,
  queue,
  time: { timestamp: 0 },
  exchange,
  'routing-keys': [key],
});

const marks = (which: 'first' | 'last', exchange: string, queue: string, reason: string): FieldTable => ({
  [`x-${which}-death-exchange`]: exchange,
  [`x-${which}-death-queue`]: queue,
  [`x-${which}-death-reason`]: reason,
});

describe('a delayed message', () => {
  const declareLater = (given: FieldTable): Buffer =>
    method('exchange.declare', { exchange: 'later', type: 'x-delayed-message', arguments: given });

  it('is confirmed and not returned when it is held, and says when it is delivered how long that was', async () => {
    const bind = method('queue.bind', { queue: 'q', exchange: 'later', noWait: true });
    await say(declareLater({ 'x-delayed-type': 'fanout' }), declareQueue('q'), bind, method('confirm.select', { noWait: true }));
    const held = publish({ exchange: 'later', mandatory: true }, 'one', { headers: { a: 1, 'x-delay': 500 } });
    expect(await say(held)).toEqual(['basic.ack 1 {"deliveryTag":1,"multiple":false}']);
    expect(await get('q')).toBeUndefined();
    await world.clock.advance(500);
    expect(await get('q')).toMatchObject({ body: 'one', exchange: 'later', properties: { headers: { a: 1, 'x-delay': -500 } } });
    const returned = await say(
      method('queue.unbind', { queue: 'q', exchange: 'later' }),
      publish({ exchange: 'later', mandatory: true }, 'two'),
    );
    expect(returned[1]).toMatch(/^basic.return 1 .*NO_ROUTE/);
  });

  it.each([
    [{}, "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"],
    [{ 'x-delayed-type': 'x-none' }, "PRECONDITION_FAILED - unknown exchange type 'x-none'"],
    [
      { 'x-delayed-type': 'x-delayed-message' },
      "PRECONDITION_FAILED - Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
    ],
  ])('is not taken by an exchange with %p', async (given, replyText) => {
    const close = { replyCode: 406, replyText, failedClass: 40, failedMethod: 10 };
    expect(await say(declareLater(given))).toEqual([`channel.close 1 ${JSON.stringify(close)}`]);
  });

  it('with a delay that is no number closes the channel', async () => {
    await say(declareLater({ 'x-delayed-type': 'fanout' }));
    const replyText = "PRECONDITION_FAILED - invalid header 'x-delay': 'soon' is no whole number of milliseconds";
    const close = { replyCode: 406, replyText, failedClass: 60, failedMethod: 40 };
    expect(await say(publish({ exchange: 'later' }, 'x', { headers: { 'x-delay': 'soon' } }))).toEqual([
      `channel.close 1 ${JSON.stringify(close)}`,
    ]);
  });
});

describe('dead letters', () => {
  it('go on with their deaths in the headers, each queue and reason once and the newest first', async () => {
    await say(declareQueue('pa', deadTo('pb')), declareQueue('pb', deadTo('pa')));
    await say(method('queue.bind', { queue: 'pa', exchange: 'amq.direct', routingKey: 'key' }));
    await say(
      publish({ exchange: 'amq.direct', routingKey: 'key' }, 'one', { headers: { mine: 1, x: 'y' }, expiration: '60000', priority: 3 }),
    );
    await getAndReject('pa');
    const first = await getAndReject('pb');
    const inA = { 'original-expiration': '60000', ...death('pa', 'rejected', 'amq.direct', 'key') };
    const firstMarks = marks('first', 'amq.direct', 'pa', 'rejected');
    expect(first).toMatchObject({ exchange: '', key: 'pb', redelivered: false, body: 'one' });
    expect(text(first.properties)).toBe(
      text({
        headers: { mine: 1, x: 'y', 'x-death': [inA], ...firstMarks, ...marks('last', 'amq.direct', 'pa', 'rejected') },
        priority: 3,
      }),
    );
    const second = await getAndReject('pa');
    expect(text(second.properties.headers)).toBe(
      text({
        mine: 1,
        x: 'y',
        'x-death': [death('pb', 'rejected', '', 'pb'), inA],
        ...firstMarks,
        ...marks('last', '', 'pb', 'rejected'),
      }),
    );
    const third = await get('pb');
    expect(text(third!.properties.headers)).toBe(
      text({
        mine: 1,
        x: 'y',
        'x-death': [{ ...inA, count: 2 }, death('pb', 'rejected', '', 'pb')],
        ...firstMarks,
        ...marks('last', '', 'pa', 'rejected'),
      }),
    );
  });

  it('believe no deaths that a publisher wrote', async () => {
    await say(declareQueue('pa', deadTo('pb')), declareQueue('pb'));
    const spoofed = { a: 1, 'x-death': [death('pa', 'rejected', '', 'pa', 7)], ...marks('first', 'x', 'y', 'expired'), b: 2 };
    const forged = publish({ routingKey: 'pa' }, 'spoof', { headers: spoofed });
    forged[17] = 0x80; // the bits behind exchange and key
    await say(forged);
    const arrived = await getAndReject('pa');
    expect(text(arrived.properties.headers)).toBe(text(spoofed));
    const dead = await get('pb');
    expect(text(dead!.properties.headers)).toBe(
      text({
        a: 1,
        b: 2,
        'x-death': [death('pa', 'rejected', '', 'pa')],
        ...marks('first', '', 'pa', 'rejected'),
        ...marks('last', '', 'pa', 'rejected'),
      }),
    );
  });

  it('keep every other property, and a large body', async () => {
    const all: MessageProperties = {
      contentType: 'a/b',
      contentEncoding: 'gzip',
      deliveryMode: 2,
      priority: 4,
      correlationId: 'c',
      replyTo: 'r',
      messageId: 'm',
      timestamp: 0,
      type: 't',
      userId: 'guest',
      appId: 'app',
      clusterId: 'k',
    };
    await say(declareQueue('pa', deadTo('pb')), declareQueue('pb'));
    await say(toQueue('pa', Buffer.alloc(300_000, 'x'), all));
    await getAndReject('pa');
    client.send(method('basic.get', { queue: 'pb' }));
    await world.settle();
    const lines = client.take();
    const sizes = lines.slice(2).map((line) => Number(line.split(' ')[2]));
    expect(sizes.reduce((total, size) => total + size)).toBe(300_000);
    const payload = Buffer.from(lines[1]!.split(' ')[2]!, 'hex');
    const { headers, ...properties } = decodeProperties(payload, 12, payload.length);
    expect(Object.keys(headers!)).toHaveLength(7);
    expect(properties).toEqual(all);
  });

  it('are dropped where there is no exchange, no queue, or no argument that names one', async () => {
    await say(declareQueue('pa', { 'x-dead-letter-exchange': 'no-such' }), declareQueue('pb', deadTo('no-such')), declareQueue('pc'));
    for (const queue of ['pa', 'pb', 'pc']) {
      await say(toQueue(queue, 'x'));
      await getAndReject(queue);
      expect(await count(queue)).toBe(0);
    }
    expect(world.storage.arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
  });

  it('come back to their own queue when they were rejected, to its end', async () => {
    await say(declareQueue('pa', { 'x-dead-letter-exchange': '' }), toQueue('pa', 'x'), toQueue('pa', 'y'));
    await getAndReject('pa');
    expect(await bodiesIn('pa')).toEqual(['y', 'x']);
  });

  it('go through an exchange with the key they came with, to every queue bound', async () => {
    await say(method('exchange.declare', { exchange: 'dlx', type: 'topic', internal: true }));
    await say(declareQueue('pa', { 'x-dead-letter-exchange': 'dlx' }), declareQueue('pb'), declareQueue('pc'));
    await say(method('queue.bind', { queue: 'pb', exchange: 'dlx', routingKey: '#' }));
    await say(method('queue.bind', { queue: 'pc', exchange: 'dlx', routingKey: 'pa' }));
    await say(toQueue('pa', 'x'));
    await getAndReject('pa');
    expect(await get('pb')).toMatchObject({ exchange: 'dlx', key: 'pa', body: 'x' });
    expect(await get('pc')).toMatchObject({ exchange: 'dlx', key: 'pa', body: 'x' });
  });

  it('are rejected together with nack of several', async () => {
    await say(declareQueue('pa', deadTo('pb')), declareQueue('pb'), ...['a', 'b', 'c'].map((body) => toQueue('pa', body)));
    for (let i = 0; i < 3; i++) await get('pa');
    await say(method('basic.nack', { deliveryTag: 2, multiple: true }), method('basic.reject', { deliveryTag: 3 }));
    expect(await bodiesIn('pb')).toEqual(['a', 'b', 'c']);
  });
});

describe('a bounded queue', () => {
  /** Publishes bodies of these sizes with confirms; returns how each was answered, and what is where afterwards. */
  async function fill(given: FieldTable, sizes: readonly number[]): Promise<string> {
    await say(declareQueue('dead'), method('queue.bind', { queue: 'dead', exchange: 'amq.fanout' }));
    await say(declareQueue('full', { 'x-dead-letter-exchange': 'amq.fanout', ...given }), method('confirm.select'));
    const answers = await say(...sizes.map((size) => toQueue('full', Buffer.alloc(size, 'x'))));
    const outcomes: string[] = [];
    for (const line of answers) {
      const [, verb, tag, multiple] = /^basic\.(n?ack) 1 {"deliveryTag":(\d+),"multiple":(true|false)/.exec(line)!;
      if (multiple === 'true') while (outcomes.length < Number(tag) - 1) outcomes.push(verb!);
      expect(outcomes).toHaveLength(Number(tag) - 1); // in order, and no multiple passes over a nack
      outcomes.push(verb!);
    }
    const lengths = (bodies: readonly string[]): string => bodies.map((body) => body.length).join();
    const left = lengths(await bodiesIn('full'));
    return `${outcomes.join()} left ${left} dead ${lengths(await bodiesIn('dead'))}`;
  }

  it.each([
    [{ 'x-max-length': 2 }, [1, 2, 3, 4], 'ack,ack,ack,ack left 3,4 dead 1,2'],
    [{ 'x-max-length': 0 }, [1, 2], 'ack,ack left  dead 1,2'],
    [{ 'x-max-length-bytes': 10 }, [4, 4, 4, 11, 1], 'ack,ack,ack,ack,ack left 1 dead 4,4,4,11'],
    [{ 'x-max-length-bytes': 10, 'x-overflow': 'reject-publish' }, [4, 4, 4, 11, 2, 1], 'ack,ack,nack,nack,ack,nack left 4,4,2 dead '],
    [{ 'x-max-length': 2, 'x-overflow': 'reject-publish' }, [1, 2, 3, 4], 'ack,ack,nack,nack left 1,2 dead '],
    [{ 'x-max-length': 2, 'x-overflow': 'reject-publish-dlx' }, [1, 2, 3, 4], 'ack,ack,nack,nack left 1,2 dead 3,4'],
    [{ 'x-max-length': 0, 'x-overflow': 'reject-publish' }, [1, 2], 'nack,nack left  dead '],
  ])('%j given %j', async (given, sizes, expected) => {
    expect(await fill(given, sizes)).toBe(expected);
  });

  it.each([
    [{ 'x-max-length': 0 }, 'ack 5', 'm0,m1,m2,m3,m4'],
    [{ 'x-max-length': 1 }, 'ack 5', 'm0,m1,m2,m3,m4'],
    [{ 'x-max-length': 1, 'x-overflow': 'reject-publish' }, 'ack 5', 'm0,m1,m2,m3,m4'],
    [{ 'x-max-length': 0, 'x-overflow': 'reject-publish' }, 'nack 1,nack 2,nack 3,nack 4,nack 5', ''],
  ])('%j drops or rejects nothing that a consumer takes at once', async (given, answered, delivered) => {
    await say(declareQueue('q', given), method('confirm.select'), method('basic.consume', { queue: 'q', noAck: true }));
    const lines = await say(...[0, 1, 2, 3, 4].map((i) => toQueue('q', `m${i}`)));
    const answers = lines
      .filter((line) => /^basic\.n?ack/.test(line))
      .map((line) => line.replace(/^basic\.(n?ack) 1 {"deliveryTag":(\d+).*/, '$1 $2'));
    expect(answers.join()).toBe(answered);
    expect(
      lines
        .filter((line) => line.startsWith('body'))
        .map((line) => line.split(' ')[3])
        .join(),
    ).toBe(delivered);
  });

  it('counts what is ready and not what is out with a consumer', async () => {
    await say(declareQueue('q', { 'x-max-length': 2 }), ...['a', 'b'].map((body) => toQueue('q', body)));
    const a = await get('q');
    await say(toQueue('q', 'c'));
    expect(await count('q')).toBe(2);
    await say(method('basic.nack', { deliveryTag: a!.tag, requeue: true }));
    expect(await bodiesIn('q')).toEqual(['b', 'c']); // it came back to its place, the head, and there was no room
  });

  it('is nacked when one of several queues refuses, and the others keep the message', async () => {
    await say(declareQueue('full', { 'x-max-length': 0, 'x-overflow': 'reject-publish' }), declareQueue('free'));
    for (const queue of ['full', 'free']) await say(method('queue.bind', { queue, exchange: 'amq.fanout' }));
    await say(method('confirm.select'));
    expect(await say(publish({ exchange: 'amq.fanout' }, 'x'))).toEqual([
      'basic.nack 1 {"deliveryTag":1,"multiple":false,"requeue":false}',
    ]);
    expect(await bodiesIn('free')).toEqual(['x']);
  });

  it('has its excess dropped before it is counted or fetched from, in the same breath', async () => {
    await say(declareQueue('q', { 'x-max-length': 1 }));
    const lines = await say(
      toQueue('q', 'a'),
      toQueue('q', 'b'),
      declareQueue('q', { 'x-max-length': 1 }),
      method('basic.get', { queue: 'q' }),
    );
    expect(lines[0]).toBe('queue.declare-ok 1 {"queue":"q","messageCount":1,"consumerCount":0}');
    expect(lines.at(-1)).toBe('body 1 1 b');
  });

  it.each([5, 300])('drops a message that goes through a ring of %i full queues, and forgets it', async (length) => {
    for (let i = 0; i < length; i++) await say(declareQueue(`c${i}`, deadTo(`c${(i + 1) % length}`, { 'x-max-length': 0 })));
    await say(toQueue('c0', 'x'));
    expect(await count('c0')).toBe(0);
    expect(world.storage.arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
  });

  it('hands a message down a chain of full queues to its end', async () => {
    for (let i = 0; i < 20; i++) await say(declareQueue(`c${i}`, deadTo(`c${i + 1}`, { 'x-max-length': 0 })));
    await say(declareQueue('c20'), toQueue('c0', 'x'));
    const { headers } = (await get('c20'))!.properties;
    expect((headers!['x-death'] as readonly FieldTable[]).map(({ queue }) => queue)).toEqual(
      [...Array(20).keys()].reverse().map((i) => `c${i}`),
    );
  });
});

describe('messages that expire', () => {
  const pass = async (ms: number): Promise<string[]> => {
    await world.clock.advance(ms);
    return say();
  };

  it('die at the head of their queue when the time of the queue is over, and not before', async () => {
    await say(declareQueue('pc', deadTo('pd', { 'x-message-ttl': 50 })), declareQueue('pd'), toQueue('pc', 'exp', { headers: { a: 1 } }));
    await pass(49);
    expect([await count('pc'), await count('pd')]).toEqual([1, 0]);
    await pass(1);
    expect([await count('pc'), await count('pd')]).toEqual([0, 1]);
    const { properties } = (await get('pd'))!;
    expect(text(properties.headers)).toBe(
      text({
        a: 1,
        'x-death': [death('pc', 'expired', '', 'pc')],
        ...marks('first', '', 'pc', 'expired'),
        ...marks('last', '', 'pc', 'expired'),
      }),
    );
  });

  it('die by the shorter of their own time and that of the queue, which they lose on the way', async () => {
    await say(declareQueue('pc', deadTo('pd', { 'x-message-ttl': 50 })), declareQueue('pd', { 'x-message-ttl': 1000 }));
    await say(toQueue('pc', 'one', { expiration: '20' }), toQueue('pc', 'two', { expiration: '2000' }));
    await pass(20);
    const one = await get('pd');
    expect(one).toMatchObject({ body: 'one', properties: { headers: { 'x-death': [{ 'original-expiration': '20' }] } } });
    expect(one!.properties.expiration).toBeUndefined();
    await pass(30);
    expect(await bodiesIn('pd')).toEqual(['two']);
  });

  it('count behind others that live longer, and are never delivered', async () => {
    await say(declareQueue('pa'));
    for (const [body, expiration] of [
      ['long', '5000'],
      ['short', '50'],
    ] as const)
      await say(toQueue('pa', body, { expiration }));
    await say(toQueue('pa', 'plain'));
    await pass(200);
    expect(await count('pa')).toBe(3);
    const long = await get('pa');
    expect(long).toMatchObject({ body: 'long', properties: { expiration: '5000' } });
    expect(await count('pa')).toBe(1);
    expect(await get('pa')).toMatchObject({ body: 'plain' });
    await say(method('basic.nack', { deliveryTag: long!.tag, requeue: true }));
    expect(await get('pa')).toMatchObject({ body: 'long', redelivered: true });
  });

  it('keep their deadline when they come back, and expire at once when it is past', async () => {
    await say(declareQueue('pa', { 'x-message-ttl': 100 }), toQueue('pa', 'a'), toQueue('pa', 'b'));
    const a = await get('pa');
    const b = await get('pa');
    await pass(60);
    await say(method('basic.nack', { deliveryTag: a!.tag, requeue: true }));
    expect(await count('pa')).toBe(1);
    await pass(40);
    expect(await count('pa')).toBe(0);
    await say(method('basic.nack', { deliveryTag: b!.tag, requeue: true }));
    expect(await count('pa')).toBe(0);
  });

  it('of no time at all go to a consumer that can take them at once, or die', async () => {
    await say(declareQueue('pa', deadTo('pb', { 'x-message-ttl': 0 })), declareQueue('pb'), toQueue('pa', 'early'));
    await say(method('basic.qos', { prefetchCount: 1 }), method('basic.consume', { queue: 'pa', consumerTag: 'c' }));
    const lines = await say(toQueue('pa', 'm0'), toQueue('pa', 'm1'));
    expect(lines.filter((line) => line.startsWith('body'))).toEqual(['body 1 2 m0']);
    expect(await count('pa')).toBe(0);
    expect(await bodiesIn('pb')).toEqual(['early', 'm1']);
    await say(method('basic.nack', { deliveryTag: 1, requeue: true }));
    expect(await bodiesIn('pb')).toEqual(['m0']); // it had its chance
  });

  it('go round as long as somebody rejects them, and no longer', async () => {
    await say(declareQueue('pc', deadTo('pd', { 'x-message-ttl': 50 })), declareQueue('pd', deadTo('pc')), toQueue('pc', 'x'));
    for (let round = 1; round <= 3; round++) {
      await pass(50);
      const { properties } = await getAndReject('pd');
      const [newest] = properties.headers!['x-death'] as readonly FieldTable[];
      expect(newest).toMatchObject({ queue: 'pc', reason: 'expired', count: round });
    }
    await say(declareQueue('pe', deadTo('pf', { 'x-message-ttl': 50 })), declareQueue('pf', deadTo('pe', { 'x-message-ttl': 50 })));
    await say(declareQueue('self', { 'x-dead-letter-exchange': '', 'x-message-ttl': 50 }), toQueue('pe', 'x'), toQueue('self', 'x'));
    await pass(50);
    expect([await count('pe'), await count('pf'), await count('self')]).toEqual([0, 1, 0]);
    await pass(50);
    expect([await count('pe'), await count('pf')]).toEqual([0, 0]);
  });
});

describe('a queue that expires', () => {
  const isThere = async (): Promise<boolean> => {
    const client2 = await world.connected(Buffer.concat([handshake, openChannel]));
    client2.send(method('queue.delete', { queue: 'q', ifUnused: true, ifEmpty: true })); // asks without renewing; the queue is never empty here
    await world.settle();
    const lines = client2.take();
    client2.cut();
    return !lines.includes('queue.delete-ok 1 {"messageCount":0}');
  };

  it('goes when nobody has consumed, fetched or declared it for so long, and takes its messages along', async () => {
    const given = deadTo('dead', { 'x-expires': 100 });
    await say(declareQueue('q', given), declareQueue('dead'), ...['1', '2', '3'].map((body) => toQueue('q', body)));
    await world.clock.advance(99);
    await say(declareQueue('q', given));
    await world.clock.advance(99);
    await say(method('queue.declare', { queue: 'q', passive: true }));
    await world.clock.advance(99);
    await get('q', true);
    await world.clock.advance(99);
    await say(toQueue('q', 'publishing is no use'));
    expect(await isThere()).toBe(true);
    await world.clock.advance(1);
    expect(await isThere()).toBe(false);
    expect(await count('dead')).toBe(0);
  });

  it('stays while it has a consumer', async () => {
    await say(declareQueue('q', { 'x-expires': 100 }), toQueue('q', 'x'), method('basic.consume', { queue: 'q', consumerTag: 'c' }));
    await world.clock.advance(1000);
    expect(await isThere()).toBe(true);
    await say(method('basic.cancel', { consumerTag: 'c' }), method('basic.recover', { requeue: true }));
    await world.clock.advance(99);
    expect(await isThere()).toBe(true);
    await world.clock.advance(1);
    expect(await isThere()).toBe(false);
  });
});

describe('arguments of queues', () => {
  const invalid = (argument: string, reason: string): string => `invalid arg '${argument}' for queue 'q' in vhost '/': ${reason}`;
  const foreign = (argument: string): string => `invalid arg '${argument}' for queue 'q' in vhost '/' of queue type rabbit_classic_queue`;

  it.each<[FieldTable, string]>([
    [{ 'x-max-length': -10 }, invalid('x-max-length', '{value_negative,-10}')],
    [{ 'x-max-length': '5' }, invalid('x-max-length', '"expected integer, got longstr"')],
    [{ 'x-max-length': 5.5 }, invalid('x-max-length', '"expected integer, got double"')],
    [{ 'x-max-length': true }, invalid('x-max-length', '"expected integer, got bool"')],
    [{ 'x-max-length': null }, invalid('x-max-length', '"expected integer, got void"')],
    [{ 'x-max-length-bytes': [1] }, invalid('x-max-length-bytes', '"expected integer, got array"')],
    [{ 'x-max-length-bytes': { a: 1 } }, invalid('x-max-length-bytes', '"expected integer, got table"')],
    [{ 'x-message-ttl': -10 }, invalid('x-message-ttl', '{value_negative,-10}')],
    [{ 'x-message-ttl': 315_360_000_001 }, invalid('x-message-ttl', '{value_too_large,315360000001}')],
    [{ 'x-expires': 0 }, invalid('x-expires', '{value_zero,0}')],
    [{ 'x-queue-leader-locator': 'zzz' }, invalid('x-queue-leader-locator', 'invalid_queue_locator_arg')],
    [{ 'x-queue-leader-locator': 5 }, invalid('x-queue-leader-locator', '{unacceptable_type,signedint}')],
    [{ 'x-overflow': 'bogus' }, invalid('x-overflow', 'invalid_overflow')],
    [{ 'x-overflow': true }, invalid('x-overflow', '{unacceptable_type,bool}')],
    [{ 'x-dead-letter-exchange': 5 }, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"],
    [{ 'x-dead-letter-routing-key': 'k' }, invalid('x-dead-letter-routing-key', 'routing_key_but_no_dlx_defined')],
    [deadTo('', { 'x-dead-letter-routing-key': 5 }), invalid('x-dead-letter-routing-key', '{unacceptable_type,signedint}')],
    [{ 'x-queue-mode': 'zzz' }, invalid('x-queue-mode', '"unsupported queue mode \'zzz\'"')],
    [{ 'x-queue-version': 9 }, invalid('x-queue-version', '"unsupported queue version \'9\'"')],
    [{ 'x-queue-type': 'bogus' }, invalid('x-queue-type', '"unsupported queue type \'bogus\'"')],
    [{ 'x-queue-type': true }, invalid('x-queue-type', '{unacceptable_type,bool}')],
    [{ 'x-dead-letter-strategy': 'at-least-once' }, foreign('x-dead-letter-strategy')],
    [{ 'x-delivery-limit': 5 }, foreign('x-delivery-limit')],
    [{ 'x-max-age': '7D' }, foreign('x-max-age')],
  ])('%j are refused', async (given, explanation) => {
    expect(await say(declareQueue('q', given))).toEqual([
      `channel.close 1 ${JSON.stringify({ replyCode: 406, replyText: `PRECONDITION_FAILED - ${explanation}`, failedClass: 50, failedMethod: 10 })}`,
    ]);
  });

  const inequivalent = (argument: string, difference: string): string =>
    `inequivalent arg '${argument}' for queue 'q' in vhost '/': ${difference}`;

  it.each<[FieldTable, FieldTable, string]>([
    [{ 'x-max-length': 5 }, { 'x-max-length': 6 }, inequivalent('x-max-length', "received '6' but current is '5'")],
    [{ 'x-max-length': 5 }, { 'x-max-length': { float: 5 } }, inequivalent('x-max-length', "received '5.0' but current is '5'")],
    [
      { 'x-max-length': 5, 'x-message-ttl': 7 },
      { 'x-max-length': 6, 'x-message-ttl': 8 },
      inequivalent('x-message-ttl', "received '8' but current is '7'"),
    ],
    [deadTo('a'), deadTo('b'), inequivalent('x-dead-letter-routing-key', "received 'b' but current is 'a'")],
    [
      { 'x-dead-letter-exchange': 'a' },
      {},
      inequivalent('x-dead-letter-exchange', "received none but current is the value 'a' of type 'longstr'"),
    ],
    [{}, { 'x-max-length': 70_000 }, inequivalent('x-max-length', "received the value '70000' of type 'signedint' but current is none")],
    [{}, { 'x-max-length': 2 ** 33 }, inequivalent('x-max-length', "received the value '8589934592' of type 'long' but current is none")],
    [{}, { 'x-overflow': 'drop-head' }, inequivalent('x-overflow', "received the value 'drop-head' of type 'longstr' but current is none")],
  ])('%j and then %j are refused', async (first, then, explanation) => {
    const [, refused] = await say(declareQueue('q', first), declareQueue('q', then));
    expect(refused).toContain(`PRECONDITION_FAILED - ${explanation}"`);
  });

  it.each<[FieldTable, FieldTable]>([
    [{ 'x-unknown': 5 }, { 'x-unknown': 6 }],
    [{ 'x-queue-type': 'classic' }, {}],
    [{}, { 'x-queue-type': 'classic' }],
    [{ 'x-queue-mode': 'lazy' }, { 'x-queue-mode': 'lazy' }],
    [deadTo('a', { 'x-max-length': 5 }), deadTo('a', { 'x-max-length': 5, other: 'thing' })],
  ])('%j and then %j are the same', async (first, then) => {
    expect(await say(declareQueue('q', first), declareQueue('q', then))).toHaveLength(2);
  });

  it('that are not built are refused as such', async () => {
    const lines = await converse([handshake, openChannel, declareQueue('q', { 'x-queue-type': 'stream' })]);
    expect(lines[4]).toContain('NOT_IMPLEMENTED - ');
  });
});

describe('as random commands found them', () => {
  const consume = method('basic.consume', { queue: 'q', consumerTag: 'c', noWait: true });
  const putBack = (deliveryTag: number): Buffer => method('basic.nack', { deliveryTag, multiple: true, requeue: true });

  it('a message without time that comes back from its consumer is not given to anybody again', async () => {
    expect((await say(declareQueue('q', { 'x-message-ttl': 0 }), consume, toQueue('q', 'one'))).at(-1)).toBe('body 1 3 one');
    expect(await say(putBack(1))).toEqual([]);
    expect(await count('q')).toBe(0);
  });

  it('a queue that is too long with what comes back drops the head before its consumer has its chance', async () => {
    await say(declareQueue('q', { 'x-max-length': 1, ...deadTo('dead') }), declareQueue('dead'), consume);
    await say(toQueue('q', 'one'), toQueue('q', 'two'));
    expect((await say(putBack(2))).filter((line) => line.startsWith('body'))).toEqual(['body 1 3 two']);
    expect(await bodiesIn('dead')).toEqual(['one']);
  });

  it('a message that is over is not counted behind the one that is fetched', async () => {
    await say(declareQueue('q'), toQueue('q', 'one'), toQueue('q', 'two', { expiration: '0' }), toQueue('q', 'three'));
    const [answer] = await say(method('basic.get', { queue: 'q', noAck: true }));
    expect(answer).toContain('"messageCount":1');
  });

  it('a consumer tag that is taken is refused before the queue is looked for', async () => {
    await say(declareQueue('q'), consume);
    const answers = await say(method('basic.consume', { queue: 'none', consumerTag: 'c' }));
    expect(answers[0]).toContain('"replyCode":530');
  });
});
