import type { FieldTable } from '../queues/field-table.js';
import { frame, header, method, publish } from './scripted-client.js';

/**
 * For tests: what is said about exchanges, bindings and extra routing keys, and what a RabbitMQ 4.0.5 answered to the very same
 * bytes. Everything here is gone with the connection, or is deleted by the conversation itself, so that it can be had again.
 */
export type Conversation = readonly [name: string, said: readonly Buffer[], answered: readonly string[]];

const declareExchange = (
  exchange: string,
  type: string,
  more: { autoDelete?: boolean; internal?: boolean; arguments?: FieldTable } = {},
): Buffer => method('exchange.declare', { exchange, type, noWait: true, ...more });
const asked = (exchange: string, type: string, given: FieldTable = {}): Buffer =>
  method('exchange.declare', { exchange, type, arguments: given });
const there = (exchange: string): Buffer => method('exchange.declare', { exchange, passive: true });
const declareQueue = (queue: string): Buffer => method('queue.declare', { queue, exclusive: true, noWait: true });
const bindQueue = (queue: string, exchange: string, routingKey = '', given: FieldTable = {}): Buffer =>
  method('queue.bind', { queue, exchange, routingKey, arguments: given });
const bind = (destination: string, source: string, routingKey = ''): Buffer => method('exchange.bind', { destination, source, routingKey });
const unbind = (destination: string, source: string, routingKey = ''): Buffer =>
  method('exchange.unbind', { destination, source, routingKey });
const drop = (...names: readonly string[]): Buffer =>
  Buffer.concat(names.map((exchange) => method('exchange.delete', { exchange, noWait: true })));
const get = (queue: string): Buffer => method('basic.get', { queue, noAck: true });
const send = (exchange: string, routingKey: string, headers?: FieldTable): Buffer =>
  publish({ exchange, routingKey, mandatory: true }, 'm', headers === undefined ? {} : { headers });

const refused = (code: number, text: string, classId: number, methodId: number): string =>
  `channel.close 1 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`;
const got = (deliveryTag: number, exchange: string, routingKey: string, messageCount = 0): string =>
  `basic.get-ok 1 ${JSON.stringify({ deliveryTag, redelivered: false, exchange, routingKey, messageCount })}`;
const returned = (exchange: string, routingKey: string): string =>
  `basic.return 1 ${JSON.stringify({ replyCode: 312, replyText: 'NO_ROUTE', exchange, routingKey })}`;
const described = (bytes: Buffer): string => `header 1 ${bytes.subarray(7, -1).toString('hex')}`;
const content = (headers?: FieldTable): readonly string[] => [described(header(1, headers === undefined ? {} : { headers })), 'body 1 1 m'];
const onDefault = 'ACCESS_REFUSED - operation not permitted on the default exchange';
const noExchange = (name: string): string => `NOT_FOUND - no exchange '${name}' in vhost '/'`;
const bound = 'queue.bind-ok 1 {}';
const declared = 'exchange.declare-ok 1 {}';
const empty = 'basic.get-empty 1 {}';

/** A short string in a message's headers, where only arrays are taken for CC. */
const badKeys = (name: string, value: FieldTable[string], type: string): Conversation => [
  `${name} that is ${type}`,
  [send('amq.direct', 'k', { [name]: value })],
  [refused(406, `PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"${name}",${type}}`, 60, 40)],
];

const between: readonly Conversation[] = [
  ['bind with neither end', [bind('cv-no', 'cv-none')], [refused(404, noExchange('cv-none'), 40, 30)]],
  ['bind to no exchange', [bind('cv-no', 'amq.direct')], [refused(404, noExchange('cv-no'), 40, 30)]],
  ['bind from no exchange', [bind('amq.direct', 'cv-no')], [refused(404, noExchange('cv-no'), 40, 30)]],
  ['bind from the default exchange', [bind('amq.direct', '')], [refused(403, onDefault, 40, 30)]],
  ['bind to the default exchange', [bind('', 'amq.direct')], [refused(403, onDefault, 40, 30)]],
  [
    'unbind what is not there',
    [unbind('cv-no', 'cv-none'), unbind('amq.topic', 'amq.direct')],
    ['exchange.unbind-ok 1 {}', 'exchange.unbind-ok 1 {}'],
  ],
  ['unbind from the default exchange', [unbind('cv-no', '')], [refused(403, onDefault, 40, 40)]],
  [
    'bind without an answer',
    [declareExchange('cv-a', 'fanout'), method('exchange.bind', { destination: 'cv-a', source: 'cv-a', noWait: true }), drop('cv-a')],
    [],
  ],
  [
    'two ways and a circle: one copy',
    [
      declareExchange('cv-a', 'topic'),
      declareExchange('cv-b', 'fanout', { internal: true }),
      declareExchange('cv-c', 'direct'),
      declareQueue('cv-q'),
      bind('cv-b', 'cv-a', 'k.#'),
      bind('cv-c', 'cv-a', '*.*'),
      bind('cv-a', 'cv-b'),
      bindQueue('cv-q', 'cv-b'),
      bindQueue('cv-q', 'cv-c', 'k.1'),
      send('cv-a', 'k.1'),
      get('cv-q'),
      get('cv-q'),
      drop('cv-a', 'cv-b', 'cv-c'),
    ],
    [...Array<string>(3).fill('exchange.bind-ok 1 {}'), bound, bound, got(1, 'cv-a', 'k.1'), ...content(), empty],
  ],
  [
    'publish to an internal exchange',
    [
      declareExchange('cv-i', 'fanout', { internal: true, autoDelete: true }),
      declareQueue('cv-q'),
      bindQueue('cv-q', 'cv-i'),
      send('cv-i', 'k'),
    ],
    [bound, refused(403, "ACCESS_REFUSED - cannot publish to internal exchange 'cv-i' in vhost '/'", 60, 40)],
  ],
  [
    'delete if unused where another exchange is bound',
    [
      declareExchange('cv-a', 'fanout', { autoDelete: true }),
      declareQueue('cv-q'),
      bindQueue('cv-q', 'cv-a'),
      bind('amq.fanout', 'cv-a'),
      method('exchange.delete', { exchange: 'cv-a', ifUnused: true }),
    ],
    [bound, 'exchange.bind-ok 1 {}', refused(406, "PRECONDITION_FAILED - exchange 'cv-a' in vhost '/' in use", 40, 20)],
  ],
  [
    'auto-delete goes with the last binding, and up the line',
    [
      drop('cv-a'),
      declareExchange('cv-a', 'fanout', { autoDelete: true }),
      declareExchange('cv-b', 'fanout', { autoDelete: true }),
      declareQueue('cv-q'),
      bind('cv-b', 'cv-a'),
      bindQueue('cv-q', 'cv-b'),
      there('cv-a'),
      method('queue.unbind', { queue: 'cv-q', exchange: 'cv-b' }),
      there('cv-a'),
    ],
    ['exchange.bind-ok 1 {}', bound, declared, 'queue.unbind-ok 1 {}', refused(404, noExchange('cv-a'), 40, 10)],
  ],
  [
    'auto-delete goes when the exchange it leads to is deleted',
    [
      declareExchange('cv-a', 'fanout', { autoDelete: true }),
      declareExchange('cv-b', 'fanout'),
      bind('cv-b', 'cv-a'),
      drop('cv-b'),
      there('cv-a'),
    ],
    ['exchange.bind-ok 1 {}', refused(404, noExchange('cv-a'), 40, 10)],
  ],
];

const inequivalent = (difference: string): string =>
  refused(406, `PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'cv-x' in vhost '/': ${difference}`, 40, 10);
const withAlternate = (alternate: string): Buffer =>
  Buffer.concat([drop('cv-x'), declareExchange('cv-x', 'direct', { arguments: { 'alternate-exchange': alternate, 'cv-other': 1 } })]);

const alternate: readonly Conversation[] = [
  [
    'an alternate exchange takes what nobody takes, also when it is internal',
    [
      declareExchange('cv-i', 'fanout', { internal: true }),
      withAlternate('cv-i'),
      declareQueue('cv-q'),
      bindQueue('cv-q', 'cv-i'),
      send('cv-x', 'k'),
      get('cv-q'),
      drop('cv-x', 'cv-i'),
    ],
    [bound, got(1, 'cv-x', 'k'), ...content()],
  ],
  [
    'an alternate exchange is not for what another exchange took and lost',
    [
      declareExchange('cv-i', 'fanout'),
      withAlternate('cv-i'),
      declareExchange('cv-l', 'fanout'),
      declareQueue('cv-q'),
      bindQueue('cv-q', 'cv-i'),
      bind('cv-l', 'cv-x', 'k'),
      send('cv-x', 'k'),
      get('cv-q'),
      drop('cv-x', 'cv-i', 'cv-l'),
    ],
    [bound, 'exchange.bind-ok 1 {}', returned('cv-x', 'k'), ...content(), empty],
  ],
  [
    'an alternate exchange that is not there',
    [withAlternate('cv-no'), send('cv-x', 'k'), drop('cv-x')],
    [returned('cv-x', 'k'), ...content()],
  ],
  [
    'the default exchange is nobody’s alternate',
    [withAlternate(''), declareQueue('cv-q'), send('cv-x', 'cv-q'), drop('cv-x')],
    [returned('cv-x', 'cv-q'), ...content()],
  ],
  [
    'alternates in a circle',
    [
      declareExchange('cv-y', 'fanout', { arguments: { 'alternate-exchange': 'cv-x' } }),
      withAlternate('cv-y'),
      send('cv-x', 'k'),
      drop('cv-x', 'cv-y'),
    ],
    [returned('cv-x', 'k'), ...content()],
  ],
  [
    'an alternate that is no text',
    [asked('cv-n', 'direct', { 'alternate-exchange': 7 })],
    [refused(406, "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'cv-n' in vhost '/'", 40, 10)],
  ],
  [
    'the same again, with other arguments that do not count',
    [withAlternate('cv-no'), asked('cv-x', 'direct', { 'alternate-exchange': 'cv-no', 'cv-more': true }), drop('cv-x')],
    [declared],
  ],
  [
    'another alternate',
    [withAlternate('cv-no'), asked('cv-x', 'direct', { 'alternate-exchange': 'cv-new' })],
    [inequivalent("received 'cv-new' but current is 'cv-no'")],
  ],
  [
    'no alternate any more',
    [withAlternate('cv-no'), asked('cv-x', 'direct')],
    [inequivalent("received none but current is the value 'cv-no' of type 'longstr'")],
  ],
  [
    'an alternate that was not there before',
    [drop('cv-x'), declareExchange('cv-x', 'direct'), asked('cv-x', 'direct', { 'alternate-exchange': 'cv-new' })],
    [inequivalent("received the value 'cv-new' of type 'longstr' but current is none")],
  ],
];

const typed: readonly Conversation[] = [
  [
    'what is declared from the beginning',
    [drop('cv-x'), there('amq.headers'), there('amq.match'), there('amq.rabbitmq.trace'), asked('cv-x', '')],
    [declared, declared, declared, refused(406, "PRECONDITION_FAILED - invalid exchange type ''", 40, 10)],
  ],
  [
    'x-match that is no text',
    [declareQueue('cv-q'), bindQueue('cv-q', 'amq.headers', '', { 'x-match': true })],
    [refused(406, 'PRECONDITION_FAILED - Invalid x-match field type bool (value true); expected longstr', 50, 20)],
  ],
  [
    'x-match that is empty',
    [declareQueue('cv-q'), bindQueue('cv-q', 'amq.headers', '', { 'x-match': '' })],
    [refused(406, 'PRECONDITION_FAILED - Invalid x-match field value <<>>; expected all, any, all-with-x, or any-with-x', 50, 20)],
  ],
  [
    'x-match that is unknown',
    [declareQueue('cv-q'), bindQueue('cv-q', 'amq.headers', '', { 'x-match': "all or any I don't mind" })],
    [
      refused(
        406,
        `PRECONDITION_FAILED - Invalid x-match field value <<"all or any I don't mind">>; expected all, any, all-with-x, or any-with-x`,
        50,
        20,
      ),
    ],
  ],
  [
    'headers that match and headers that do not',
    [
      declareQueue('cv-q'),
      bindQueue('cv-q', 'amq.headers', '', { 'cv-a': 1, 'cv-b': 'x', 'x-ignored': 1 }),
      bindQueue('cv-q', 'amq.match', 'key', { 'x-match': 'any-with-x', 'cv-a': 1, 'x-seen': null }),
      send('amq.headers', 'key', { 'cv-a': 1, 'cv-b': 'x', 'cv-c': 3 }),
      send('amq.headers', 'key', { 'cv-a': 1, 'cv-b': 'y' }),
      send('amq.match', 'other', { 'x-seen': false }),
      get('cv-q'),
      get('cv-q'),
    ],
    [
      bound,
      bound,
      returned('amq.headers', 'key'),
      ...content({ 'cv-a': 1, 'cv-b': 'y' }),
      got(1, 'amq.headers', 'key', 1),
      ...content({ 'cv-a': 1, 'cv-b': 'x', 'cv-c': 3 }),
      got(2, 'amq.match', 'other'),
      ...content({ 'x-seen': false }),
    ],
  ],
];

const twoQueues = Buffer.concat([
  declareQueue('cv-q'),
  declareQueue('cv-r'),
  bindQueue('cv-q', 'amq.direct', 'cv-1'),
  bindQueue('cv-r', 'amq.direct', 'cv-2'),
]);
const extra: readonly Conversation[] = [
  badKeys('CC', 'text', 'longstr'),
  badKeys('CC', null, 'void'),
  badKeys('BCC', { a: 1 }, 'table'),
  ['an unknown exchange comes before a bad CC', [send('cv-no', 'k', { CC: 1 })], [refused(404, noExchange('cv-no'), 60, 40)]],
  [
    'a bad CC comes before a foreign user-id',
    [publish({}, 'm', { headers: { CC: 1 }, userId: 'other' })],
    [refused(406, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",signedint}', 60, 40)],
  ],
  [
    'CC leads on and stays, BCC leads on and goes',
    [
      twoQueues,
      send('amq.direct', 'cv-no', { BCC: ['cv-1'], CC: ['cv-2', 5, 'cv-2'], a: 1, z: 'z' }),
      get('cv-q'),
      get('cv-r'),
      get('cv-r'),
    ],
    [
      bound,
      bound,
      got(1, 'amq.direct', 'cv-no'),
      ...content({ CC: ['cv-2', 5, 'cv-2'], a: 1, z: 'z' }),
      got(2, 'amq.direct', 'cv-no'),
      ...content({ CC: ['cv-2', 5, 'cv-2'], a: 1, z: 'z' }),
      empty,
    ],
  ],
  [
    'BCC alone leaves an empty table',
    [twoQueues, send('amq.direct', 'cv-no', { BCC: ['cv-1', 'cv-1'] }), get('cv-q'), get('cv-q')],
    [bound, bound, got(1, 'amq.direct', 'cv-no'), ...content({}), empty],
  ],
  [
    'nobody is told of BCC, not even by a return',
    [send('amq.direct', 'cv-no', { BCC: ['cv-no'], CC: ['cv-no'] })],
    [returned('amq.direct', 'cv-no'), ...content({ CC: ['cv-no'] })],
  ],
  [
    'CC on the default exchange',
    [twoQueues, send('', 'cv-no', { CC: ['cv-q', 'cv-r'] }), get('cv-q'), get('cv-r')],
    [bound, bound, got(1, '', 'cv-no'), ...content({ CC: ['cv-q', 'cv-r'] }), got(2, '', 'cv-no'), ...content({ CC: ['cv-q', 'cv-r'] })],
  ],
];

/** Of the plugins rabbitmq_consistent_hash_exchange, rabbitmq_random_exchange and rabbitmq_sharding. */
const badWeight = (weight: string, text: string): Conversation => [
  `the weight '${weight}'`,
  [drop('cv-h'), declareExchange('cv-h', 'x-consistent-hash'), declareQueue('cv-q'), bindQueue('cv-q', 'cv-h', weight)],
  [refused(406, `PRECONDITION_FAILED - The binding key must be ${text}`, 50, 20)],
];
const ofPlugins: readonly Conversation[] = [
  badWeight('abc', 'an integer: <<"abc">>'),
  badWeight('', 'an integer: <<>>'),
  badWeight('0', 'greater than 0'),
  [
    'hash-header and hash-property',
    [drop('cv-h'), asked('cv-h', 'x-consistent-hash', { 'hash-header': 'a', 'hash-property': 'message_id' })],
    [refused(406, 'PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive', 40, 10)],
  ],
  [
    'an unknown hash-property',
    [asked('cv-h', 'x-consistent-hash', { 'hash-property': 'foo' })],
    [refused(406, 'PRECONDITION_FAILED - Unsupported property: foo', 40, 10)],
  ],
  [
    'one queue gets each message, by hash, modulus and chance',
    [
      ...['x-consistent-hash', 'x-modulus-hash', 'x-random'].flatMap((type) => [
        declareExchange('cv-h', type),
        declareQueue('cv-q'),
        bindQueue('cv-q', 'cv-h', '1'),
        send('cv-h', 'k'),
        drop('cv-h'),
      ]),
      declareExchange('cv-h', 'x-local-random'),
      bindQueue('cv-q', 'cv-h', ''),
      send('cv-h', 'k'),
      drop('cv-h'),
      ...Array<Buffer>(4).fill(get('cv-q')),
    ],
    [bound, bound, bound, bound, ...[1, 2, 3, 4].flatMap((tag) => [got(tag, 'cv-h', 'k', 4 - tag), ...content()])],
  ],
  [
    'a key for x-local-random',
    [declareExchange('cv-l', 'x-local-random'), declareQueue('cv-q'), bindQueue('cv-q', 'cv-l', 'k')],
    [refused(406, "PRECONDITION_FAILED - Non empty binding 'k' key not permitted", 50, 20)],
  ],
  ['and nothing is left', [drop('cv-l', 'cv-h', 'cv-x', 'cv-a', 'cv-i', 'cv-y'), frame(8, 0, Buffer.alloc(0))], []],
];

export const exchangeConversations: readonly Conversation[] = [...between, ...alternate, ...typed, ...extra, ...ofPlugins];
