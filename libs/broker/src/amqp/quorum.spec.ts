import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FieldTable } from '../queues/field-table.js';
import { decodeProperties, type MessageProperties } from '../queues/properties.js';
import { AmqpWorld } from './amqp-world.js';
import type { Arguments } from './method-codec.js';
import { handshake, method, openChannel, publish, type ScriptedClient } from './scripted-client.js';

/**
 * What is said to a quorum queue, and what a RabbitMQ 4.0.5 answered to the very same frames, each sent when the one before was answered.
 *
 * Long, because what was said and what was answered to it are written out, and split they would hide what belongs to one kind of queue.
 */
const quorum = (queue: string, more: FieldTable = {}): Buffer =>
  method('queue.declare', { queue, durable: true, arguments: { 'x-queue-type': 'quorum', ...more } });
const classic = (queue: string): Buffer => method('queue.declare', { queue, durable: true });
const deadTo = (routingKey: string): FieldTable => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': routingKey });
const to = (queue: string, body: string, properties: MessageProperties = {}): Buffer => publish({ routingKey: queue }, body, properties);
const toEach = (queue: string, ...bodies: readonly string[]): Buffer[] => bodies.map((body) => to(queue, body));
const get = (queue: string, noAck = false): Buffer => method('basic.get', { queue, noAck });
const nack = (deliveryTag: number, multiple = false): Buffer => method('basic.nack', { deliveryTag, multiple, requeue: true });
const reject = (deliveryTag: number): Buffer => method('basic.reject', { deliveryTag, requeue: true });
const ack = (deliveryTag: number): Buffer => method('basic.ack', { deliveryTag });
const there = (queue: string): Buffer => method('queue.declare', { queue, passive: true });
const consume = (queue: string, consumerTag: string, more: Partial<Arguments<'basic.consume'>> = {}): Buffer =>
  method('basic.consume', { queue, consumerTag, ...more });

type Conversation = readonly [name: string, said: readonly Buffer[], answered: readonly string[]];

const conversations: readonly Conversation[] = [
  [
    "counts how often a message came back, in a header of the broker's",
    [
      quorum('a'),
      to('a', 'x', { headers: { 'x-delivery-count': 9 } }),
      get('a'),
      nack(1),
      get('a'),
      reject(2),
      get('a'),
      method('basic.recover', { requeue: true }),
      get('a'),
    ],
    [
      'declared, 0 there',
      'got, 0 left: x (count 9)',
      'got, 0 left: x (again, count 1)',
      'got, 0 left: x (again, count 2)',
      'basic.recover-ok',
      'got, 0 left: x (again, count 3)',
    ],
  ],
  [
    'dead-letters what came back more often than its limit',
    [
      classic('d'),
      quorum('a', { 'x-delivery-limit': 2, ...deadTo('d') }),
      to('a', 'x'),
      get('a'),
      nack(1),
      get('a'),
      nack(2),
      get('a'),
      nack(3),
      get('a'),
      get('d'),
    ],
    [
      'declared, 0 there',
      'declared, 0 there',
      'got, 0 left: x',
      'got, 0 left: x (again, count 1)',
      'got, 0 left: x (again, count 2)',
      'empty',
      'got, 0 left: x (dead: delivery_limit)',
    ],
  ],
  [
    'with a limit of 0 at once',
    [classic('d'), quorum('a', { 'x-delivery-limit': 0, ...deadTo('d') }), to('a', 'x'), get('a'), nack(1), get('a'), get('d')],
    ['declared, 0 there', 'declared, 0 there', 'got, 0 left: x', 'empty', 'got, 0 left: x (dead: delivery_limit)'],
  ],
  [
    'counts anew in the next quorum queue',
    [
      quorum('d'),
      quorum('a', { 'x-delivery-limit': 1, ...deadTo('d') }),
      to('a', 'x'),
      get('a'),
      nack(1),
      get('a'),
      nack(2),
      get('d'),
      nack(3),
      get('d'),
    ],
    [
      'declared, 0 there',
      'declared, 0 there',
      'got, 0 left: x',
      'got, 0 left: x (again, count 1)',
      'got, 0 left: x (dead: delivery_limit)',
      'got, 0 left: x (again, count 1, dead: delivery_limit)',
    ],
  ],
  [
    'gives first what came back, in the order in which it did',
    [
      quorum('a'),
      ...toEach('a', '1', '2', '3', '4', '5'),
      get('a'),
      get('a'),
      get('a'),
      nack(3),
      nack(1),
      to('a', '6', { priority: 9 }),
      get('a'),
      get('a'),
      get('a'),
      get('a'),
      get('a'),
      get('a'),
    ],
    [
      'declared, 0 there',
      'got, 4 left: 1',
      'got, 3 left: 2',
      'got, 2 left: 3',
      'got, 4 left: 3 (again, count 1)',
      'got, 3 left: 1 (again, count 1)',
      'got, 2 left: 6',
      'got, 1 left: 4',
      'got, 0 left: 5',
      'empty',
    ],
  ],
  [
    'several at once in the order in which they were delivered',
    [quorum('a'), ...toEach('a', '1', '2', '3', '4'), get('a'), get('a'), get('a'), nack(3, true), get('a'), get('a'), get('a'), get('a')],
    [
      'declared, 0 there',
      'got, 3 left: 1',
      'got, 2 left: 2',
      'got, 1 left: 3',
      'got, 3 left: 1 (again, count 1)',
      'got, 2 left: 2 (again, count 1)',
      'got, 1 left: 3 (again, count 1)',
      'got, 0 left: 4',
    ],
  ],
  [
    'without a limit puts what came back behind all others',
    [
      quorum('a', { 'x-delivery-limit': -1 }),
      to('a', '1'),
      to('a', '2', { priority: 9 }),
      ...toEach('a', '3', '4', '5'),
      get('a'),
      get('a'),
      get('a'),
      nack(2),
      nack(1),
      get('a'),
      get('a'),
      get('a'),
      get('a'),
      get('a'),
    ],
    [
      'declared, 0 there',
      'got, 4 left: 2',
      'got, 3 left: 1',
      'got, 2 left: 3',
      'got, 3 left: 4',
      'got, 2 left: 5',
      'got, 1 left: 1 (again, count 1)',
      'got, 0 left: 2 (again, count 1)',
      'empty',
    ],
  ],
  [
    'gives two messages of a high priority for each of the others',
    [
      quorum('a'),
      ...toEach('a', 'n1', 'n2', 'n3'),
      ...['h1', 'h2', 'h3', 'h4', 'h5'].map((body) => to('a', body, { priority: 5 })),
      to('a', 'n4', { priority: 4 }),
      ...Array<Buffer>(10).fill(get('a', true)),
    ],
    [
      'declared, 0 there',
      'got, 8 left: h1',
      'got, 7 left: h2',
      'got, 6 left: n1',
      'got, 5 left: h3',
      'got, 4 left: h4',
      'got, 3 left: n2',
      'got, 2 left: h5',
      'got, 1 left: n3',
      'got, 0 left: n4',
      'empty',
    ],
  ],
  [
    'and what is high and came before them first',
    [
      quorum('a'),
      ...['h1', 'h2', 'h3', 'h4'].map((body) => to('a', body, { priority: 255 })),
      ...toEach('a', 'n1', 'n2'),
      ...Array<Buffer>(7).fill(get('a', true)),
    ],
    [
      'declared, 0 there',
      'got, 5 left: h1',
      'got, 4 left: h2',
      'got, 3 left: h3',
      'got, 2 left: h4',
      'got, 1 left: n1',
      'got, 0 left: n2',
      'empty',
    ],
  ],
  [
    'refuses publishes from when it is too long until a fifth is free',
    [
      quorum('a', { 'x-max-length': 5, 'x-overflow': 'reject-publish' }),
      method('confirm.select'),
      ...toEach('a', '0', '1', '2', '3', '4', '5', '6', '7'),
      get('a', true),
      to('a', '8'),
      get('a', true),
      to('a', '9'),
      to('a', '10'),
      to('a', '11'),
      there('a'),
    ],
    [
      'declared, 0 there',
      'confirm.select-ok',
      'confirmed 1',
      'confirmed 2',
      'confirmed 3',
      'confirmed 4',
      'confirmed 5',
      'confirmed 6',
      'refused 7',
      'refused 8',
      'got, 5 left: 0',
      'refused 9',
      'got, 4 left: 1',
      'confirmed 10',
      'confirmed 11',
      'refused 12',
      'declared, 6 there',
    ],
  ],
  [
    'the same by bytes',
    [
      quorum('a', { 'x-max-length-bytes': 10, 'x-overflow': 'reject-publish' }),
      method('confirm.select'),
      ...toEach('a', '1234', '1234', '1234', '1'),
      there('a'),
    ],
    ['declared, 0 there', 'confirm.select-ok', 'confirmed 1', 'confirmed 2', 'confirmed 3', 'refused 4', 'declared, 3 there'],
  ],
  [
    'takes reject-publish-dlx for drop-head',
    [
      classic('d'),
      quorum('a', { 'x-max-length': 2, 'x-overflow': 'reject-publish-dlx', ...deadTo('d') }),
      method('confirm.select'),
      ...toEach('a', '0', '1', '2', '3'),
      there('a'),
      there('d'),
    ],
    [
      'declared, 0 there',
      'declared, 0 there',
      'confirm.select-ok',
      'confirmed 1',
      'confirmed 2',
      'confirmed 3',
      'confirmed 4',
      'declared, 2 there',
      'declared, 2 there',
    ],
  ],
  [
    'drops what would be given next',
    [
      classic('d'),
      quorum('a', { 'x-max-length': 2, ...deadTo('d') }),
      to('a', '0'),
      to('a', '1', { priority: 9 }),
      ...toEach('a', '2', '3', '4'),
      get('a', true),
      get('a', true),
      get('d', true),
      get('d', true),
      get('d', true),
    ],
    [
      'declared, 0 there',
      'declared, 0 there',
      'got, 1 left: 3',
      'got, 0 left: 4',
      'got, 2 left: 1 (dead: maxlen)',
      'got, 1 left: 0 (dead: maxlen)',
      'got, 0 left: 2 (dead: maxlen)',
    ],
  ],
  [
    'drops what came back first',
    [quorum('a', { 'x-max-length': 2 }), ...toEach('a', '1', '2'), get('a'), to('a', '3'), nack(1), get('a'), get('a'), get('a')],
    ['declared, 0 there', 'got, 1 left: 1', 'got, 1 left: 2', 'got, 0 left: 3', 'empty'],
  ],
  [
    'lets messages expire at its head, also behind one that is fetched',
    [quorum('a'), to('a', '1'), to('a', '2', { expiration: '1' }), to('a', '3'), get('a', true), get('a', true), get('a', true)],
    ['declared, 0 there', 'got, 1 left: 1', 'got, 0 left: 3', 'empty'],
  ],
  [
    'does not give a message with no time to live a second time',
    [quorum('a'), consume('a', 'c'), to('a', '1', { expiration: '0' }), nack(1), there('a')],
    ['declared, 0 there', 'basic.consume-ok', 'to c: 1', 'declared, 0 there'],
  ],
  [
    'is not fetched from where it has a single active consumer',
    [quorum('a', { 'x-single-active-consumer': true }), get('a')],
    [
      'declared, 0 there',
      "channel: RESOURCE_LOCKED - cannot obtain access to locked queue 'a' in vhost '/'. basic.get operations are not supported by quorum queues with single active consumer",
    ],
  ],
  [
    'takes exclusive consumers, several of them',
    [quorum('a'), consume('a', 'one', { exclusive: true }), consume('a', 'two', { exclusive: true }), to('a', '1'), to('a', '2')],
    ['declared, 0 there', 'basic.consume-ok', 'basic.consume-ok', 'to one: 1', 'to two: 2'],
  ],
  [
    'serves consumers of a higher priority first',
    [
      quorum('a'),
      method('basic.qos', { prefetchCount: 1 }),
      consume('a', 'low', { arguments: { 'x-priority': -1 } }),
      consume('a', 'high', { arguments: { 'x-priority': 3 } }),
      consume('a', 'mid'),
      ...toEach('a', '1', '2', '3', '4'),
    ],
    [
      'declared, 0 there',
      'basic.qos-ok',
      'basic.consume-ok',
      'basic.consume-ok',
      'basic.consume-ok',
      'to high: 1',
      'to mid: 2',
      'to low: 3',
    ],
  ],
  [
    'has no global prefetch',
    [quorum('a'), method('basic.qos', { prefetchCount: 5, isGlobal: true }), consume('a', 'c')],
    ['declared, 0 there', 'basic.qos-ok', "connection: NOT_IMPLEMENTED - queue 'a' in vhost '/' does not support global qos"],
  ],
  [
    'but one of 0',
    [quorum('a'), method('basic.qos', { prefetchCount: 0, isGlobal: true }), consume('a', 'c')],
    ['declared, 0 there', 'basic.qos-ok', 'basic.consume-ok'],
  ],
  [
    'and one that is set later does not count',
    [quorum('a'), consume('a', 'c'), method('basic.qos', { prefetchCount: 1, isGlobal: true }), to('a', '1'), to('a', '2')],
    ['declared, 0 there', 'basic.consume-ok', 'basic.qos-ok', 'to c: 1', 'to c: 2'],
  ],
  [
    'refuses the arguments of stream consumers',
    [quorum('a'), consume('a', 'c', { arguments: { 'x-stream-offset': 'first' } })],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'a' in vhost '/' of queue type rabbit_quorum_queue",
    ],
  ],
  [
    'refuses a priority of a consumer that is none',
    [quorum('a'), consume('a', 'c', { arguments: { 'x-priority': 'a' } })],
    [
      'declared, 0 there',
      `channel: PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'a' in vhost '/': "expected integer, got longstr"`,
    ],
  ],
  [
    'is not deleted if unused',
    [quorum('a'), method('queue.delete', { queue: 'a', ifUnused: true })],
    [
      'declared, 0 there',
      "connection: NOT_IMPLEMENTED - cannot delete queue 'a' in vhost '/'. queue.delete operations with if-unused flag set are not supported by quorum queues",
    ],
  ],
  [
    'is not deleted if empty',
    [quorum('a'), method('queue.delete', { queue: 'a', ifEmpty: true })],
    [
      'declared, 0 there',
      "connection: NOT_IMPLEMENTED - cannot delete queue 'a' in vhost '/'. queue.delete operations with if-empty flag set are not supported by quorum queues",
    ],
  ],
  [
    'says how many waited when it is deleted',
    [quorum('a'), ...toEach('a', '1', '2', '3'), get('a'), method('queue.delete', { queue: 'a' }), ack(1)],
    ['declared, 0 there', 'got, 2 left: 1', 'queue.delete-ok: 2'],
  ],
  [
    'says how many waited when it is purged, with those that came back',
    [quorum('a'), ...toEach('a', '1', '2', '3'), get('a'), get('a'), nack(1), method('queue.purge', { queue: 'a' }), nack(2), get('a')],
    ['declared, 0 there', 'got, 2 left: 1', 'got, 1 left: 2', 'queue.purge-ok: 2', 'got, 0 left: 2 (again, count 1)'],
  ],
  [
    'keeps what is with a cancelled consumer, and counts when that comes back',
    [quorum('a'), ...toEach('a', '1', '2'), consume('a', 'c'), method('basic.cancel', { consumerTag: 'c' }), nack(1), get('a')],
    ['declared, 0 there', 'basic.consume-ok', 'to c: 1', 'to c: 2', 'basic.cancel-ok', 'got, 0 left: 1 (again, count 1)'],
  ],
  [
    'is no classic queue',
    [quorum('a'), classic('a')],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'a' in vhost '/': received 'classic' but current is 'quorum'",
    ],
  ],
  [
    'and none becomes one',
    [classic('a'), quorum('a')],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'a' in vhost '/': received 'quorum' but current is 'classic'",
    ],
  ],
  [
    'knows its delivery limit',
    [quorum('a', { 'x-delivery-limit': 3 }), quorum('a')],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'a' in vhost '/': received none but current is the value '3' of type 'signedint'",
    ],
  ],
  [
    'knows its group size',
    [quorum('a'), quorum('a', { 'x-quorum-initial-group-size': 1 })],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - inequivalent arg 'x-quorum-initial-group-size' for queue 'a' in vhost '/': received the value '1' of type 'signedint' but current is none",
    ],
  ],
  [
    'compares what it was given, not what it means',
    [quorum('a'), quorum('a', { 'x-overflow': 'drop-head' })],
    [
      'declared, 0 there',
      "channel: PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'a' in vhost '/': received the value 'drop-head' of type 'longstr' but current is none",
    ],
  ],
  [
    'cannot be exclusive later',
    [quorum('a'), method('queue.declare', { queue: 'a', durable: true, exclusive: true, arguments: { 'x-queue-type': 'quorum' } })],
    [
      'declared, 0 there',
      "channel: RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'a' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
    ],
  ],
  [
    'cannot be without a name',
    [quorum('')],
    ['channel: PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue'],
  ],
];

/** One line for what was answered: a message with its frames is one, and of the headers only what quorum queues add is named. */
function short(lines: readonly string[]): string[] {
  const all: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const [name = '', , ...rest] = lines[i]!.split(' ');
    const values = JSON.parse(rest.join(' ')) as Record<string, string | number | boolean>;
    if (name === 'basic.get-ok' || name === 'basic.deliver') {
      const where = name === 'basic.get-ok' ? `got, ${values['messageCount']} left` : `to ${values['consumerTag']}`;
      all.push(`${where}: ${lines[i + 2]!.split(' ').slice(3).join(' ')}${marks(lines[i + 1]!, values['redelivered'] === true)}`);
      i += 2;
    } else if (name === 'basic.get-empty') all.push('empty');
    else if (name === 'channel.close' || name === 'connection.close') all.push(`${name.split('.')[0]}: ${values['replyText']}`);
    else if (name === 'basic.ack') all.push(`confirmed ${values['deliveryTag']}`);
    else if (name === 'basic.nack') all.push(`refused ${values['deliveryTag']}`);
    else if (name === 'queue.declare-ok') all.push(`declared, ${values['messageCount']} there`);
    else if (name === 'queue.delete-ok' || name === 'queue.purge-ok') all.push(`${name}: ${values['messageCount']}`);
    else all.push(name);
  }
  return all;
}

function marks(header: string, isRedelivered: boolean): string {
  const payload = Buffer.from(header.split(' ')[2]!, 'hex');
  const { headers = {} } = decodeProperties(payload, 12, payload.length);
  const count = headers['x-delivery-count'];
  const reason = headers['x-last-death-reason'];
  const all = [
    isRedelivered ? 'again' : '',
    count === undefined ? '' : `count ${Number(count)}`,
    reason === undefined ? '' : `dead: ${reason as string}`,
  ];
  const shown = all.filter((mark) => mark !== '').join(', ');
  return shown === '' ? '' : ` (${shown})`;
}

let world: AmqpWorld;
let client: ScriptedClient;

beforeEach(async () => {
  world = await AmqpWorld.open();
  client = await world.connected(Buffer.concat([handshake, openChannel]));
});

afterEach(() => world.close());

async function say(...said: readonly Buffer[]): Promise<string[]> {
  for (const frames of said) {
    client.send(frames);
    await world.clock.advance(2); // as long as a message may live at least
  }
  return client.take();
}

describe('a quorum queue', () => {
  it.each(conversations)('%s', async (_name, said, answered) => {
    expect(short(await say(...said))).toEqual(answered);
  });

  it.each<[string, FieldTable[string], string | undefined]>([
    ['x-max-priority', 5, 'of queue type rabbit_quorum_queue'],
    ['x-queue-mode', 'lazy', 'of queue type rabbit_quorum_queue'],
    ['x-queue-version', 2, 'of queue type rabbit_quorum_queue'],
    ['x-queue-master-locator', 'min-masters', 'of queue type rabbit_quorum_queue'],
    ['x-initial-cluster-size', 1, 'of queue type rabbit_quorum_queue'],
    ['x-max-age', '1h', 'of queue type rabbit_quorum_queue'],
    ['x-stream-max-segment-size-bytes', 5, 'of queue type rabbit_quorum_queue'],
    ['x-quorum-initial-group-size', 3, undefined],
    ['x-quorum-initial-group-size', 0, '{value_zero,0}'],
    ['x-quorum-initial-group-size', -1, '{value_negative,-1}'],
    ['x-quorum-initial-group-size', 'a', '"expected integer, got longstr"'],
    ['x-delivery-limit', -7, undefined],
    ['x-delivery-limit', 'a', undefined],
    ['x-max-in-memory-length', 5, undefined],
    ['x-max-in-memory-bytes', -1, '{value_negative,-1}'],
    ['x-overflow', 'reject-publish-dlx', undefined],
    ['x-overflow', 'foo', 'invalid_overflow'],
    ['x-dead-letter-strategy', 'at-least-once', undefined],
    ['x-dead-letter-strategy', 'foo', 'invalid_dlx_strategy'],
    ['x-dead-letter-strategy', 5, '{unacceptable_type,signedint}'],
    ['x-dead-letter-routing-key', 'k', 'routing_key_but_no_dlx_defined'],
    ['x-single-active-consumer', 1, '{unacceptable_type,signedint}'],
    ['x-queue-leader-locator', 'balanced', undefined],
    ['x-queue-leader-locator', 'min-masters', undefined],
    ['x-queue-leader-locator', 'foo', 'invalid_queue_locator_arg'],
    ['x-message-ttl', 'a', '"expected integer, got longstr"'],
    ['x-consumer-timeout', 'a', undefined],
    ['x-unknown', 1, undefined],
  ])('takes %s = %p, or says why not: %p', async (argument, value, refusal) => {
    const separator = refusal?.startsWith('of ') === true ? ' ' : ': ';
    const text = `channel: PRECONDITION_FAILED - invalid arg '${argument}' for queue 'a' in vhost '/'${separator}${refusal}`;
    expect(short(await say(quorum('a', { [argument]: value })))).toEqual([refusal === undefined ? 'declared, 0 there' : text]);
  });

  it.each<[string, Partial<Arguments<'queue.declare'>>]>([
    ['exclusive-owner', { durable: true, exclusive: true }],
    ['non-durable', {}],
    ['auto-delete', { autoDelete: true, exclusive: true }],
  ])('cannot be %s', async (property, values) => {
    const declare = method('queue.declare', { queue: 'a', arguments: { 'x-queue-type': 'quorum' }, ...values });
    expect(short(await say(declare))).toEqual([`channel: PRECONDITION_FAILED - invalid property '${property}' for queue 'a' in vhost '/'`]);
  });

  it('counts what a channel gives back when it is closed', async () => {
    await say(quorum('a'), ...toEach('a', '1', '2'), method('channel.open', {}, 2));
    const other = method('basic.consume', { queue: 'a', consumerTag: 'c' }, 2);
    expect(short(await say(other, method('channel.close', {}, 2)))).toEqual(['basic.consume-ok', 'to c: 1', 'to c: 2', 'channel.close-ok']);
    expect(short(await say(get('a'), get('a')))).toEqual(['got, 1 left: 1 (again, count 1)', 'got, 0 left: 2 (again, count 1)']);
  });

  it('with a single active consumer lets one of a higher priority take over when nothing is out any more', async () => {
    const high = consume('a', 'high', { arguments: { 'x-priority': 5 } });
    const began = await say(quorum('a', { 'x-single-active-consumer': true }), to('a', '1'), consume('a', 'low'), high, to('a', '2'));
    expect(short(began).slice(1)).toEqual(['basic.consume-ok', 'to low: 1', 'basic.consume-ok']);
    expect(short(await say(ack(1), to('a', '3')))).toEqual(['to high: 2', 'to high: 3']);
    expect(short(await say(method('basic.cancel', { consumerTag: 'high', noWait: true }), to('a', '4')))).toEqual(['to low: 4']);
  });

  it('puts the count into messages of any kind of properties', async () => {
    const all: MessageProperties = {
      contentType: 'a/b',
      contentEncoding: 'gzip',
      deliveryMode: 2,
      priority: 4,
      correlationId: 'c',
      appId: 'app',
    };
    await say(quorum('a'), to('a', 'x'.repeat(300_000), all), get('a'), nack(1), get('a'));
    client.send(nack(2), get('a'));
    await world.settle();
    const [, header] = client.take();
    const payload = Buffer.from(header!.split(' ')[2]!, 'hex');
    expect(decodeProperties(payload, 12, payload.length)).toEqual({ ...all, headers: { 'x-delivery-count': 2 } });
  });
});

describe('a consumer that does not acknowledge', () => {
  const timedOut = (timeoutMs: number): string =>
    `channel: PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: ${timeoutMs} ms. This timeout value can be configured, see consumers doc guide to learn more`;
  const minutes = async (count: number): Promise<string[]> => {
    await world.clock.advance(count * 60_000);
    return short(client.take());
  };

  it('loses its channel after half an hour, and what it held goes back', async () => {
    await say(classic('a'), consume('a', 'c'), ...toEach('a', '1', '2'), ack(2));
    expect(await minutes(30)).toEqual([]);
    expect(await minutes(2)).toEqual([timedOut(1_800_000)]);
    await say(method('channel.close-ok'), openChannel);
    expect(short(await say(get('a')))).toEqual(['got, 0 left: 1 (again)']);
  });

  it('keeps it while each delivery is acknowledged in time, and however long nothing is out', async () => {
    await say(classic('a'), consume('a', 'c'), to('a', '1'));
    for (let tag = 1; tag < 8; tag++) {
      expect(await minutes(20)).toEqual([]);
      await say(to('a', 'x'), ack(tag));
    }
    await say(ack(8));
    expect(await minutes(100)).toEqual([]);
  });

  it('is judged by what its queue says, and by what it says itself before that', async () => {
    await say(method('queue.declare', { queue: 'a', arguments: { 'x-consumer-timeout': 240_000 } }), ...toEach('a', '1', '2'));
    await say(get('a'));
    expect(await minutes(4)).toEqual([]);
    expect(await minutes(2)).toEqual([timedOut(240_000)]);
    await say(method('channel.close-ok'), openChannel, consume('a', 'c', { arguments: { 'x-consumer-timeout': 60_000 } }));
    expect(await minutes(3)).toEqual([timedOut(60_000)]);
  });
});
