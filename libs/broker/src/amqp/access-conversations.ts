import { method, publish } from './scripted-client.js';

/**
 * For tests: what a user is answered who may do everything in the virtual host `av` but one thing, as a RabbitMQ 4.0.5 answered it: an
 * operation, its answer where nothing is denied, and for each denial that changes the answer what the sentence is about. A denial that
 * is not listed was tried too, if its name is in the operation, and changed nothing.
 *
 * There are the queues `aq` and `aqd` (with the dead-letter exchange `ad`) and the exchanges `ax` (topic), `ad` (fanout), `ai`
 * (internal) and `axa` (with the alternate exchange `ad`); `an` is nothing.
 */
export type AccessConversation = readonly [
  operation: string,
  said: readonly Buffer[],
  answered: string,
  refused: Readonly<Record<string, 'queue' | 'exchange'>>,
];

const dlx = { 'x-dead-letter-exchange': 'ad' };

/** What is there before each operation. */
export const prepared: readonly Buffer[] = [
  method('queue.declare', { queue: 'aq' }),
  method('queue.declare', { queue: 'aqd', arguments: dlx }),
  method('exchange.declare', { exchange: 'ax', type: 'topic' }),
  method('exchange.declare', { exchange: 'ad', type: 'fanout' }),
  method('exchange.declare', { exchange: 'ai', type: 'fanout', internal: true }),
  method('exchange.declare', { exchange: 'axa', type: 'direct', arguments: { 'alternate-exchange': 'ad' } }),
];

/** The names that are denied, one deed at a time. */
export const deniedNames = ['aq', 'aqd', 'an', 'ax', 'axa', 'ad', 'ai', 'amq.an', 'amq.direct', 'amq.gen-', 'amq.default'] as const;

export const accessConversations: readonly AccessConversation[] = [
  ['declare a queue', [method('queue.declare', { queue: 'an' })], 'queue.declare-ok', { 'configure an': 'queue' }],
  ['declare a queue that is there', [method('queue.declare', { queue: 'aq' })], 'queue.declare-ok', { 'configure aq': 'queue' }],
  ['declare a queue passively', [method('queue.declare', { queue: 'aq', passive: true })], 'queue.declare-ok', {}],
  ['declare passively no queue', [method('queue.declare', { queue: 'an', passive: true })], "NOT_FOUND - no queue 'an' in vhost 'av'", {}],
  ['declare a queue without a name', [method('queue.declare', { exclusive: true })], 'queue.declare-ok', { 'configure amq.gen-': 'queue' }],
  [
    'declare a queue with a reserved name',
    [method('queue.declare', { queue: 'amq.an' })],
    "ACCESS_REFUSED - queue name 'amq.an' contains reserved prefix 'amq.*'",
    {},
  ],
  [
    'declare a queue with dead letters',
    [method('queue.declare', { queue: 'an', arguments: dlx })],
    'queue.declare-ok',
    { 'configure an': 'queue', 'read an': 'queue', 'write ad': 'exchange' },
  ],
  [
    'declare a queue with dead letters that is there',
    [method('queue.declare', { queue: 'aqd', arguments: dlx })],
    'queue.declare-ok',
    { 'configure aqd': 'queue' },
  ],
  [
    'declare a queue with dead letters to the default exchange',
    [method('queue.declare', { queue: 'an', arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'k' } })],
    'queue.declare-ok',
    { 'configure an': 'queue', 'read an': 'queue', 'write amq.default': 'exchange' },
  ],
  ['delete a queue', [method('queue.delete', { queue: 'aq' })], 'queue.delete-ok', { 'configure aq': 'queue' }],
  ['delete no queue', [method('queue.delete', { queue: 'an' })], 'queue.delete-ok', { 'configure an': 'queue' }],
  ['purge a queue', [method('queue.purge', { queue: 'aq' })], 'queue.purge-ok', { 'read aq': 'queue' }],
  ['purge no queue', [method('queue.purge', { queue: 'an' })], "NOT_FOUND - no queue 'an' in vhost 'av'", { 'read an': 'queue' }],
  [
    'bind a queue',
    [method('queue.bind', { queue: 'aq', exchange: 'ax', routingKey: 'k' })],
    'queue.bind-ok',
    { 'write aq': 'queue', 'read ax': 'exchange' },
  ],
  [
    'bind no queue',
    [method('queue.bind', { queue: 'an', exchange: 'ax', routingKey: 'k' })],
    "NOT_FOUND - no queue 'an' in vhost 'av'",
    { 'write an': 'queue', 'read ax': 'exchange' },
  ],
  [
    'bind a queue to no exchange',
    [method('queue.bind', { queue: 'aq', exchange: 'an', routingKey: 'k' })],
    "NOT_FOUND - no exchange 'an' in vhost 'av'",
    { 'write aq': 'queue', 'read an': 'exchange' },
  ],
  [
    'bind a queue to the default exchange',
    [method('queue.bind', { queue: 'aq', exchange: '', routingKey: 'k' })],
    'ACCESS_REFUSED - operation not permitted on the default exchange',
    { 'write aq': 'queue' },
  ],
  [
    'unbind a queue',
    [method('queue.unbind', { queue: 'aq', exchange: 'ax', routingKey: 'k' })],
    'queue.unbind-ok',
    { 'write aq': 'queue', 'read ax': 'exchange' },
  ],
  [
    'unbind no queue',
    [method('queue.unbind', { queue: 'an', exchange: 'ax', routingKey: 'k' })],
    'queue.unbind-ok',
    { 'write an': 'queue', 'read ax': 'exchange' },
  ],
  ['get', [method('basic.get', { queue: 'aq' })], 'basic.get-empty', { 'read aq': 'queue' }],
  ['get from no queue', [method('basic.get', { queue: 'an' })], "NOT_FOUND - no queue 'an' in vhost 'av'", { 'read an': 'queue' }],
  ['consume', [method('basic.consume', { queue: 'aq', consumerTag: 't' })], 'basic.consume-ok', { 'read aq': 'queue' }],
  [
    'consume from no queue',
    [method('basic.consume', { queue: 'an', consumerTag: 't' })],
    "NOT_FOUND - no queue 'an' in vhost 'av'",
    { 'read an': 'queue' },
  ],
  ['consume replies', [method('basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 't', noAck: true })], 'basic.consume-ok', {}],
  [
    'declare an exchange',
    [method('exchange.declare', { exchange: 'an', type: 'direct' })],
    'exchange.declare-ok',
    { 'configure an': 'exchange' },
  ],
  [
    'declare an exchange that is there',
    [method('exchange.declare', { exchange: 'ax', type: 'topic' })],
    'exchange.declare-ok',
    { 'configure ax': 'exchange' },
  ],
  ['declare an exchange passively', [method('exchange.declare', { exchange: 'ax', passive: true })], 'exchange.declare-ok', {}],
  [
    'declare passively no exchange',
    [method('exchange.declare', { exchange: 'an', passive: true })],
    "NOT_FOUND - no exchange 'an' in vhost 'av'",
    {},
  ],
  [
    'declare an exchange of no type',
    [method('exchange.declare', { exchange: 'an', type: 'none' })],
    "PRECONDITION_FAILED - unknown exchange type 'none'",
    {},
  ],
  [
    'declare an exchange with a reserved name',
    [method('exchange.declare', { exchange: 'amq.an', type: 'direct' })],
    "ACCESS_REFUSED - exchange name 'amq.an' contains reserved prefix 'amq.*'",
    { 'configure amq.an': 'exchange' },
  ],
  [
    'declare the default exchange',
    [method('exchange.declare', { exchange: '', type: 'direct' })],
    'ACCESS_REFUSED - operation not permitted on the default exchange',
    {},
  ],
  [
    'declare an exchange with an alternate',
    [method('exchange.declare', { exchange: 'an', type: 'direct', arguments: { 'alternate-exchange': 'ad' } })],
    'exchange.declare-ok',
    { 'configure an': 'exchange', 'read an': 'exchange', 'write ad': 'exchange' },
  ],
  [
    'declare an exchange with an alternate that is there',
    [method('exchange.declare', { exchange: 'axa', type: 'direct', arguments: { 'alternate-exchange': 'ad' } })],
    'exchange.declare-ok',
    { 'configure axa': 'exchange' },
  ],
  ['delete an exchange', [method('exchange.delete', { exchange: 'ax' })], 'exchange.delete-ok', { 'configure ax': 'exchange' }],
  ['delete no exchange', [method('exchange.delete', { exchange: 'an' })], 'exchange.delete-ok', { 'configure an': 'exchange' }],
  [
    'delete a system exchange',
    [method('exchange.delete', { exchange: 'amq.direct' })],
    "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'av' not allowed",
    {},
  ],
  [
    'bind an exchange',
    [method('exchange.bind', { destination: 'ad', source: 'ax', routingKey: 'k' })],
    'exchange.bind-ok',
    { 'read ax': 'exchange', 'write ad': 'exchange' },
  ],
  [
    'bind no exchange',
    [method('exchange.bind', { destination: 'an', source: 'ax', routingKey: 'k' })],
    "NOT_FOUND - no exchange 'an' in vhost 'av'",
    { 'write an': 'exchange', 'read ax': 'exchange' },
  ],
  [
    'unbind an exchange',
    [method('exchange.unbind', { destination: 'ad', source: 'ax', routingKey: 'k' })],
    'exchange.unbind-ok',
    { 'read ax': 'exchange', 'write ad': 'exchange' },
  ],
  ['publish', [method('confirm.select'), publish({ exchange: 'ax', routingKey: 'k' }, 'm')], 'basic.ack', { 'write ax': 'exchange' }],
  [
    'publish to no exchange',
    [method('confirm.select'), publish({ exchange: 'an', routingKey: 'k' }, 'm')],
    "NOT_FOUND - no exchange 'an' in vhost 'av'",
    { 'write an': 'exchange' },
  ],
  [
    'publish to the default exchange',
    [method('confirm.select'), publish({ exchange: '', routingKey: 'aq' }, 'm')],
    'basic.ack',
    { 'write amq.default': 'exchange' },
  ],
  [
    'publish to an internal exchange',
    [method('confirm.select'), publish({ exchange: 'ai', routingKey: 'k' }, 'm')],
    "ACCESS_REFUSED - cannot publish to internal exchange 'ai' in vhost 'av'",
    { 'write ai': 'exchange' },
  ],
  [
    'publish with a bad user-id',
    [method('confirm.select'), publish({ exchange: 'ax', routingKey: 'k' }, 'm', { userId: 'x' })],
    "PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'au'",
    { 'write ax': 'exchange' },
  ],
  [
    'publish with the user-id of somebody else',
    [method('confirm.select'), publish({ exchange: 'ax', routingKey: 'k' }, 'm', { userId: 'guest' })],
    "PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'au'",
    { 'write ax': 'exchange' },
  ],
];
