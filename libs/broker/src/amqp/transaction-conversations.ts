import type { FieldTable } from '../queues/field-table.js';
import { describeFrame, header, method, publish } from './scripted-client.js';

/**
 * For tests: what is said about transactions, turn by turn, and what a RabbitMQ 4.0.5 answered to the very same bytes. Channel 1 has
 * the transaction, channel 2 looks on. Every queue is exclusive, so that nothing is left behind.
 */
export type Turns = readonly (readonly [said: readonly Buffer[], ...answered: readonly string[]])[];
export type TransactionConversation = readonly [name: string, turns: Turns];

const select = method('tx.select');
const commit = method('tx.commit');
const rollback = method('tx.rollback');
const onTwo = 2;
const openTwo = method('channel.open', {}, onTwo);
const declare = (queue: string, given: FieldTable = {}, channel = 1): Buffer =>
  method('queue.declare', { queue, exclusive: true, noWait: true, arguments: given }, channel);
const look = (queue: string): Buffer => method('queue.declare', { queue, passive: true }, onTwo);
const drop = (queue: string): Buffer => method('queue.delete', { queue, noWait: true }, onTwo);
const send = (routingKey: string, body: string, more: { exchange?: string; mandatory?: boolean; immediate?: boolean } = {}): Buffer =>
  publish({ exchange: '', routingKey, ...more }, body);
const sendOnTwo = (routingKey: string, body: string): Buffer => publish({ routingKey }, body, {}, { channel: onTwo });
const get = (queue: string, channel = 1): Buffer => method('basic.get', { queue }, channel);
const take = (queue: string): Buffer => method('basic.get', { queue, noAck: true }, onTwo);
const ack = (deliveryTag: number, multiple = false): Buffer => method('basic.ack', { deliveryTag, multiple });
const nack = (deliveryTag: number, requeue: boolean, multiple = false): Buffer => method('basic.nack', { deliveryTag, requeue, multiple });
const consume = (queue: string): Buffer => method('basic.consume', { queue, consumerTag: 'c', noWait: true });
const limit = (prefetchCount: number, isGlobal: boolean): Buffer => method('basic.qos', { prefetchCount, isGlobal });
const deadTo = (routingKey: string): FieldTable => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': routingKey });

const refused = (code: number, text: string, classId: number, methodId: number): string =>
  `channel.close 1 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`;
const content = (channel: number, body: string): readonly string[] => [
  describeFrame(header(body.length, {}, { channel })),
  ...(body === '' ? [] : [`body ${channel} ${body.length} ${body}`]),
];
const got = (
  channel: number,
  deliveryTag: number,
  routingKey: string,
  body: string,
  messageCount: number,
  redelivered = false,
): string[] => [
  `basic.get-ok ${channel} ${JSON.stringify({ deliveryTag, redelivered, exchange: '', routingKey, messageCount })}`,
  ...content(channel, body),
];
/** With headers of a death, which are looked at elsewhere. */
const died = (channel: number, deliveryTag: number, routingKey: string, body: string, messageCount: number): string[] =>
  got(channel, deliveryTag, routingKey, body, messageCount).map((line) => line.replace(/^(header .).*/, '$1 and more'));
const copied = (channel: number, deliveryTag: number, routingKey: string, body: string, messageCount: number): string[] => {
  const [method, , text] = got(channel, deliveryTag, routingKey, body, messageCount);
  return [method!, describeFrame(header(body.length, { headers: { CC: ['tx-b'] } }, { channel })), text!];
};
const delivered = (deliveryTag: number, body: string, redelivered = false): string[] => [
  `basic.deliver 1 ${JSON.stringify({ consumerTag: 'c', deliveryTag, redelivered, exchange: '', routingKey: 'tx-a' })}`,
  ...content(1, body),
];
const returned = (routingKey: string, body: string): string[] => [
  `basic.return 1 ${JSON.stringify({ replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey })}`,
  ...content(1, body),
];
const counted = (queue: string, messageCount: number): string =>
  `queue.declare-ok 2 ${JSON.stringify({ queue, messageCount, consumerCount: 0 })}`;
const empty = (channel: number): string => `basic.get-empty ${channel} {}`;
const opened = 'channel.open-ok 2 {}';
const selected = 'tx.select-ok 1 {}';
const committed = 'tx.commit-ok 1 {}';
const rolledBack = 'tx.rollback-ok 1 {}';

export const transactionConversations: readonly TransactionConversation[] = [
  [
    'select, and select again',
    [
      [[select], selected],
      [[select], selected],
      [[commit], committed],
      [[rollback], rolledBack],
    ],
  ],
  ['commit without select', [[[commit], refused(406, 'PRECONDITION_FAILED - channel is not transactional', 90, 20)]]],
  ['rollback without select', [[[rollback], refused(406, 'PRECONDITION_FAILED - channel is not transactional', 90, 30)]]],
  [
    'confirm.select in a transaction',
    [
      [[select], selected],
      [[method('confirm.select')], refused(406, 'PRECONDITION_FAILED - cannot switch from tx to confirm mode', 85, 10)],
    ],
  ],
  [
    'tx.select where publishes are confirmed',
    [
      [[method('confirm.select')], 'confirm.select-ok 1 {}'],
      [[select], refused(406, 'PRECONDITION_FAILED - cannot switch from confirm to tx mode', 90, 10)],
    ],
  ],
  [
    'publishes are there after the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[send('tx-a', 'one'), send('tx-a', 'two')]],
      [[take('tx-a')], empty(2)],
      [[commit], committed],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'one', 1)],
      [[look('tx-a')], counted('tx-a', 1)],
    ],
  ],
  [
    'publishes that are rolled back never were',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[send('tx-a', 'one')]],
      [[rollback], rolledBack],
      [[send('tx-a', 'two')]],
      [[commit], committed],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'two', 0)],
      [[take('tx-a')], empty(2)],
    ],
  ],
  [
    'what is unroutable is returned at the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [
        [
          send('tx-none', 'one', { mandatory: true }),
          send('tx-a', 'two', { mandatory: true }),
          send('tx-none', '', { mandatory: true }),
          send('tx-none', 'four'),
        ],
      ],
      [[commit], ...returned('tx-none', 'one'), ...returned('tx-none', ''), committed],
      [[commit], committed],
    ],
  ],
  [
    'what is unroutable and rolled back is not returned',
    [
      [[select, send('tx-none', 'one', { mandatory: true })], selected],
      [[rollback], rolledBack],
      [[commit], committed],
    ],
  ],
  [
    'an unknown exchange is refused at once',
    [
      [
        [select, send('k', 'one', { exchange: 'tx-none' })],
        selected,
        refused(404, "NOT_FOUND - no exchange 'tx-none' in vhost '/'", 60, 40),
      ],
    ],
  ],
  [
    'a bad expiration is refused at once',
    [
      [
        [select, publish({ routingKey: 'k' }, 'one', { expiration: 'x' })],
        selected,
        refused(406, "PRECONDITION_FAILED - invalid expiration 'x': no_integer", 60, 40),
      ],
    ],
  ],
  [
    'immediate is refused at once',
    [
      [
        [select, send('k', 'one', { immediate: true })],
        'connection.close 0 {"replyCode":540,"replyText":"NOT_IMPLEMENTED - immediate=true","failedClass":60,"failedMethod":40}',
        selected,
      ],
    ],
  ],
  [
    'a queue that is deleted before the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[send('tx-a', 'one', { mandatory: true })]],
      [[drop('tx-a')]],
      [[commit], refused(406, 'PRECONDITION_FAILED - partial tx completion', 90, 20)],
    ],
  ],
  [
    'a queue that is deleted and declared again before the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[send('tx-a', 'one', { mandatory: true })]],
      [[drop('tx-a'), declare('tx-a', {}, onTwo)]],
      [[commit], refused(406, 'PRECONDITION_FAILED - partial tx completion', 90, 20)],
      [[look('tx-a')], counted('tx-a', 0)],
    ],
  ],
  [
    'a queue that is declared between publish and commit',
    [
      [[openTwo, select, send('tx-a', 'one', { mandatory: true })], selected, opened],
      [[declare('tx-a', {}, onTwo)]],
      [[commit], ...returned('tx-a', 'one'), committed],
      [[look('tx-a')], counted('tx-a', 0)],
    ],
  ],
  [
    'a binding that goes between publish and commit',
    [
      [
        [
          openTwo,
          select,
          declare('tx-a'),
          method('queue.bind', { queue: 'tx-a', exchange: 'amq.direct', routingKey: 'tx-k', noWait: true }),
        ],
        selected,
        opened,
      ],
      [[send('tx-k', 'one', { exchange: 'amq.direct', mandatory: true })]],
      [[method('queue.unbind', { queue: 'tx-a', exchange: 'amq.direct', routingKey: 'tx-k' }, onTwo)], 'queue.unbind-ok 2 {}'],
      [[commit], committed],
      [[look('tx-a')], counted('tx-a', 1)],
    ],
  ],
  [
    'an acknowledgement that is rolled back can be given again',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two')]],
      [[get('tx-a'), get('tx-a')], ...got(1, 1, 'tx-a', 'one', 1), ...got(1, 2, 'tx-a', 'two', 0)],
      [[ack(1)]],
      [[rollback], rolledBack],
      [[look('tx-a')], counted('tx-a', 0)],
      [[ack(1), ack(2)]],
      [[commit], committed],
      [[method('channel.close')], 'channel.close-ok 1 {}'],
      [[look('tx-a')], counted('tx-a', 0)],
    ],
  ],
  [
    'an unknown tag is refused at once',
    [[[select, ack(7)], selected, refused(406, 'PRECONDITION_FAILED - unknown delivery tag 7', 60, 80)]],
  ],
  [
    'an acknowledgement twice in one transaction is refused at once, and all comes back',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two'), sendOnTwo('tx-a', 'three')]],
      [[get('tx-a'), get('tx-a')], ...got(1, 1, 'tx-a', 'one', 2), ...got(1, 2, 'tx-a', 'two', 1)],
      [[ack(1)]],
      [[ack(1)], refused(406, 'PRECONDITION_FAILED - unknown delivery tag 1', 60, 80)],
      [[method('channel.close-ok')]],
      [[look('tx-a')], counted('tx-a', 3)],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'one', 2, true)],
      [[take('tx-a')], ...got(2, 2, 'tx-a', 'two', 1, true)],
      [[take('tx-a')], ...got(2, 3, 'tx-a', 'three', 0)],
    ],
  ],
  [
    'many at once, rolled back, and put back otherwise',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two'), sendOnTwo('tx-a', 'three')]],
      [
        [get('tx-a'), get('tx-a'), get('tx-a')],
        ...got(1, 1, 'tx-a', 'one', 2),
        ...got(1, 2, 'tx-a', 'two', 1),
        ...got(1, 3, 'tx-a', 'three', 0),
      ],
      [[ack(2), nack(3, true, true)]],
      [[rollback], rolledBack],
      [[ack(2, true)]],
      [[nack(3, true)]],
      [[look('tx-a')], counted('tx-a', 0)],
      [[commit], committed],
      [[look('tx-a')], counted('tx-a', 1)],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'three', 0, true)],
    ],
  ],
  [
    'a channel that is closed with an open transaction',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two')]],
      [[get('tx-a'), get('tx-a')], ...got(1, 1, 'tx-a', 'one', 1), ...got(1, 2, 'tx-a', 'two', 0)],
      [[ack(1), send('tx-a', 'three')]],
      [[method('channel.close')], 'channel.close-ok 1 {}'],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'one', 1, true)],
      [[take('tx-a')], ...got(2, 2, 'tx-a', 'two', 0, true)],
      [[take('tx-a')], empty(2)],
    ],
  ],
  [
    'a prefetch of one waits for the commit',
    [
      [[openTwo, select, declare('tx-a'), limit(1, false)], selected, 'basic.qos-ok 1 {}', opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two')]],
      [[consume('tx-a')], ...delivered(1, 'one')],
      [[ack(1)]],
      [[commit], committed, ...delivered(2, 'two')],
      [[nack(2, true)]],
      [[rollback], rolledBack],
      [[nack(2, true)]],
      [[commit], committed, ...delivered(3, 'two', true)],
    ],
  ],
  [
    'a prefetch of the channel waits for the commit',
    [
      [[openTwo, select, declare('tx-a'), limit(2, true)], selected, 'basic.qos-ok 1 {}', opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two'), sendOnTwo('tx-a', 'three')]],
      [[consume('tx-a')], ...delivered(1, 'one'), ...delivered(2, 'two')],
      [[ack(1)]],
      [[commit], committed, ...delivered(3, 'three')],
    ],
  ],
  [
    'a message is put back at the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two'), sendOnTwo('tx-a', 'three')]],
      [[get('tx-a'), get('tx-a')], ...got(1, 1, 'tx-a', 'one', 2), ...got(1, 2, 'tx-a', 'two', 1)],
      [[nack(1, true), ack(2)]],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'three', 0)],
      [[commit], committed],
      [[take('tx-a')], ...got(2, 2, 'tx-a', 'one', 0, true)],
      [[take('tx-a')], empty(2)],
    ],
  ],
  [
    'a message dies at the commit',
    [
      [[openTwo, select, declare('tx-a', deadTo('tx-b')), declare('tx-b')], selected, opened],
      [[sendOnTwo('tx-a', 'one')]],
      [[get('tx-a')], ...got(1, 1, 'tx-a', 'one', 0)],
      [[nack(1, false)]],
      [[look('tx-b')], counted('tx-b', 0)],
      [[rollback], rolledBack],
      [[nack(1, false)]],
      [[commit], committed],
      [[look('tx-b')], counted('tx-b', 1)],
    ],
  ],
  [
    'the dead of one transaction go in the order of their deliveries',
    [
      [[openTwo, select, declare('tx-a', deadTo('tx-b')), declare('tx-b')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two'), sendOnTwo('tx-a', 'three')]],
      [
        [get('tx-a'), get('tx-a'), get('tx-a')],
        ...got(1, 1, 'tx-a', 'one', 2),
        ...got(1, 2, 'tx-a', 'two', 1),
        ...got(1, 3, 'tx-a', 'three', 0),
      ],
      [[nack(3, false), nack(1, false), ack(2)]],
      [[commit], committed],
      [
        [method('basic.get', { queue: 'tx-b', noAck: true }, onTwo), method('basic.get', { queue: 'tx-b', noAck: true }, onTwo)],
        ...died(2, 1, 'tx-b', 'one', 1),
        ...died(2, 2, 'tx-b', 'three', 0),
      ],
    ],
  ],
  [
    'recover leaves what the transaction acknowledged',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one'), sendOnTwo('tx-a', 'two')]],
      [[get('tx-a'), get('tx-a')], ...got(1, 1, 'tx-a', 'one', 1), ...got(1, 2, 'tx-a', 'two', 0)],
      [[ack(1), method('basic.recover', { requeue: true })], 'basic.recover-ok 1 {}'],
      [[look('tx-a')], counted('tx-a', 1)],
      [[rollback], rolledBack],
      [[look('tx-a')], counted('tx-a', 1)],
      [[ack(1)]],
      [[commit], committed],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'two', 0, true)],
    ],
  ],
  [
    'a full queue refuses a part of a transaction',
    [
      [[openTwo, select, declare('tx-a', { 'x-max-length': 1, 'x-overflow': 'reject-publish' }), declare('tx-b')], selected, opened],
      [[sendOnTwo('tx-b', 'old')]],
      [[get('tx-b')], ...got(1, 1, 'tx-b', 'old', 0)],
      [[send('tx-a', 'one'), send('tx-a', 'two'), send('tx-b', 'three'), ack(1)]],
      [[commit], refused(406, 'PRECONDITION_FAILED - partial tx completion', 90, 20)],
      [[look('tx-a')], counted('tx-a', 1)],
      [[look('tx-b')], counted('tx-b', 1)],
      [[take('tx-b')], ...got(2, 1, 'tx-b', 'three', 0)],
    ],
  ],
  [
    'a queue that drops its head, in one transaction',
    [
      [[openTwo, select, declare('tx-a', { 'x-max-length': 1, ...deadTo('tx-b') }), declare('tx-b')], selected, opened],
      [[send('tx-a', 'one'), send('tx-a', 'two'), send('tx-a', 'three')]],
      [[commit], committed],
      [[take('tx-a')], ...got(2, 1, 'tx-a', 'three', 0)],
      [[look('tx-b')], counted('tx-b', 2)],
    ],
  ],
  [
    'a message that expires at once',
    [
      [[openTwo, select, declare('tx-a', deadTo('tx-b')), declare('tx-b')], selected, opened],
      [[publish({ routingKey: 'tx-a' }, 'one', { expiration: '0' })]],
      [[look('tx-b')], counted('tx-b', 0)],
      [[commit], committed],
      [[look('tx-a')], counted('tx-a', 0)],
      [[look('tx-b')], counted('tx-b', 1)],
    ],
  ],
  [
    'a consumer that is cancelled before the commit',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one')]],
      [[consume('tx-a')], ...delivered(1, 'one')],
      [[ack(1), method('basic.cancel', { consumerTag: 'c' })], 'basic.cancel-ok 1 {"consumerTag":"c"}'],
      [[commit], committed],
      [[method('channel.close')], 'channel.close-ok 1 {}'],
      [[look('tx-a')], counted('tx-a', 0)],
    ],
  ],
  [
    'a queue that is deleted with an acknowledgement open',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one')]],
      [[get('tx-a')], ...got(1, 1, 'tx-a', 'one', 0)],
      [[ack(1)]],
      [[drop('tx-a')]],
      [[rollback], rolledBack],
      [[ack(1)]],
      [[commit], committed],
    ],
  ],
  [
    'keys in CC',
    [
      [[openTwo, select, declare('tx-a'), declare('tx-b')], selected, opened],
      [[publish({ routingKey: 'tx-a' }, 'one', { headers: { CC: ['tx-b'], BCC: ['tx-a'] } })]],
      [[commit], committed],
      [[take('tx-a')], ...copied(2, 1, 'tx-a', 'one', 0)],
      [[look('tx-b')], counted('tx-b', 1)],
    ],
  ],
  [
    'ours: a commit, and more behind it at once, which RabbitMQ refuses with 504',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[send('tx-a', 'one'), commit, send('tx-a', 'two'), commit, send('tx-a', 'three'), rollback], committed, committed, rolledBack],
      [[look('tx-a')], counted('tx-a', 2)],
    ],
  ],
  [
    'a message fetched without acknowledgement',
    [
      [[openTwo, select, declare('tx-a')], selected, opened],
      [[sendOnTwo('tx-a', 'one')]],
      [[method('basic.get', { queue: 'tx-a', noAck: true })], ...got(1, 1, 'tx-a', 'one', 0)],
      [[rollback], rolledBack],
      [[look('tx-a')], counted('tx-a', 0)],
    ],
  ],
  [
    'the connection is closed with an open transaction',
    [
      [[select, declare('tx-a'), send('tx-a', 'one')], selected],
      [[method('connection.close', { replyCode: 200 }, 0)], 'connection.close-ok 0 {}', 'closed'],
    ],
  ],
];
