import { describe, expect, it } from '@jest/globals';
import { converse } from './amqp-world.js';
import { frame, handshake, header, method, open, openChannel, publish, startOk } from './scripted-client.js';

/**
 * What is answered to what, as a RabbitMQ 4.0.5 answers it: each of these was said to a real one and its answer written down.
 * Those marked `ours` differ: RabbitMQ drops the connection without a word, waits for ever, or has the feature that we refuse.
 */
type Conversation = readonly [name: string, said: readonly Buffer[], answered: readonly string[]];

const closed = (code: number, text: string, classId = 0, methodId = 0): string[] => [
  `connection.close 0 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`,
  'closed',
];
const refused = (code: number, text: string, classId: number, methodId: number): string =>
  `channel.close 1 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`;
const declared = (queue: string, messageCount = 0, consumerCount = 0): string =>
  `queue.declare-ok 1 ${JSON.stringify({ queue, messageCount, consumerCount })}`;

const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);
const body = (text: string): Buffer => frame(3, 1, Buffer.from(text));
const declare = method('queue.declare', { queue: 'q' });
const begin = method('basic.publish', { exchange: '', routingKey: 'q' });
const short = (text: string): Buffer => Buffer.concat([bytes(text.length), Buffer.from(text)]);
const declareWith = (table: Buffer): Buffer => frame(1, 1, Buffer.concat([bytes(0, 50, 0, 10, 0, 0), short('q'), bytes(0), table]));
const greeted = ['connection.start', 'connection.tune 0 {"channelMax":2047,"frameMax":131072,"heartbeat":60}'];
const noQueue = "NOT_FOUND - no queue 'none' in vhost '/'";
const noExchange = "NOT_FOUND - no exchange 'none' in vhost '/'";
const strayFrame = 'UNEXPECTED_FRAME - expected method frame, got non method frame instead';
const wantsHeader = 'UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead';
const wantsBody = 'UNEXPECTED_FRAME - expected content body, got non content body frame instead';

/** After the handshake, on no channel. */
const onConnection: readonly Conversation[] = [
  [
    'a method on a channel that is not open',
    [method('queue.declare', {}, 5)],
    closed(504, "CHANNEL_ERROR - expected 'channel.open'", 50, 10),
  ],
  [
    'a close of a channel that is not open',
    [method('channel.close', {}, 7)],
    closed(504, "CHANNEL_ERROR - expected 'channel.open'", 20, 40),
  ],
  ['a header on a channel that is not open', [header(0, {}, { channel: 5 })], closed(505, strayFrame)],
  [
    'a queue method on channel 0',
    [method('queue.declare', {}, 0)],
    closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 50, 10),
  ],
  [
    'channel.open on channel 0',
    [method('channel.open', {}, 0)],
    closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 20, 10),
  ],
  ['a second connection.open', [open], closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 10, 40)],
  ['a second start-ok', [startOk()], closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 10, 11)],
  [
    'a close-ok that nobody asked for',
    [method('connection.close-ok', {}, 0)],
    closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 10, 51),
  ],
  [
    'connection.blocked from a client',
    [method('connection.blocked', {}, 0)],
    closed(504, 'CHANNEL_ERROR - unexpected method in connection state running', 10, 60),
  ],
  ['update-secret', [method('connection.update-secret', { newSecret: Buffer.from('s') }, 0)], ['connection.update-secret-ok 0 {}']],
  ['connection.close', [method('connection.close', { replyCode: 200 }, 0)], ['connection.close-ok 0 {}', 'closed']],
  ['a heartbeat on a channel', [frame(8, 1, bytes())], closed(505, 'UNEXPECTED_FRAME - type 8, all octets = <<>>')],
  ['a heartbeat with a payload', [frame(8, 0, bytes(1, 2))], closed(501, 'FRAME_ERROR - type 8, all octets = <<1,2>>: unknown_frame')],
  [
    'a frame of an unknown type',
    [frame(0, 0, Buffer.from('1234567890\x0012345', 'latin1'))],
    closed(501, 'FRAME_ERROR - type 0, all octets = <<49,50,51,52,53,54,55,56,57,48,0,49,50,51,52,53>>: unknown_frame'),
  ],
  [
    'a frame that is too large',
    [bytes(3, 0, 1, 0, 2, 0, 1)],
    closed(501, 'FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}'),
  ],
  [
    'a wrong frame end',
    [Buffer.concat([method('channel.open', {}, 0).subarray(0, -1), bytes(0)])],
    closed(501, 'FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}'),
  ],
  [
    'an unknown class on channel 0 (ours)',
    [frame(1, 0, bytes(0, 77, 0, 1))],
    closed(503, 'COMMAND_INVALID - unknown method: class 77, method 1'),
  ],
];

/** On an open channel. */
const onChannel: readonly Conversation[] = [
  ['a second channel.open', [openChannel], closed(504, "CHANNEL_ERROR - second 'channel.open' seen", 20, 10)],
  ['a connection method on a channel', [method('connection.open')], closed(503, 'COMMAND_INVALID - unimplemented method', 10, 40)],
  ['an answer that only a server gives', [method('queue.declare-ok')], closed(503, 'COMMAND_INVALID - unimplemented method', 50, 11)],
  ['flow-ok', [method('channel.flow-ok')], closed(503, 'COMMAND_INVALID - unimplemented method', 20, 21)],
  ['cancel-ok', [method('basic.cancel-ok')], closed(503, 'COMMAND_INVALID - unimplemented method', 60, 31)],
  ['channel.close-ok that nobody asked for', [method('channel.close-ok')], closed(503, 'COMMAND_INVALID - unimplemented method', 20, 41)],
  ['an unknown method (ours)', [frame(1, 1, bytes(0, 50, 0, 99))], closed(503, 'COMMAND_INVALID - unknown method: class 50, method 99')],
  ['an empty method frame', [frame(1, 1, bytes())], closed(501, 'FRAME_ERROR - type 1, all octets = <<>>: unknown_frame')],
  [
    'arguments that end too early',
    [frame(1, 1, bytes(0, 50, 0, 10, 0, 0, 5, 65))],
    closed(501, 'FRAME_ERROR - the frame ends before its last argument', 50, 10),
  ],
  [
    'an unknown tag in a table (ours)',
    [declareWith(bytes(0, 0, 0, 4, 1, 97, 90, 1))],
    closed(501, 'FRAME_ERROR - a field has the unknown type tag 90', 50, 10),
  ],
  [
    'a table longer than its frame',
    [declareWith(bytes(0, 0, 0, 200, 1, 97, 116, 1))],
    closed(501, 'FRAME_ERROR - a field reaches beyond the table it is in', 50, 10),
  ],
  ['a header out of place', [header(5)], closed(505, strayFrame)],
  ['a body out of place', [body('hello')], closed(505, strayFrame)],
  ['an empty body frame after an empty message', [begin, header(0), body('')], closed(505, strayFrame)],
  ['a weight that is not zero', [begin, header(1, {}, { weight: 1 })], closed(505, wantsHeader, 60, 40)],
  [
    'a header of another class',
    [begin, header(1, {}, { classId: 61 })],
    closed(505, 'UNEXPECTED_FRAME - expected content header for class 60, got one for class 61 instead', 60, 40),
  ],
  ['a body instead of a header', [begin, body('x')], closed(505, wantsHeader, 60, 40)],
  ['a method instead of a header', [begin, method('basic.qos')], closed(505, wantsHeader, 60, 40)],
  ['a method in the middle of a body', [begin, header(5), method('basic.qos')], closed(505, wantsBody, 60, 40)],
  ['an acknowledgement in the middle of a body', [begin, header(5), method('basic.ack')], closed(505, wantsBody, 60, 40)],
  ['a header in the middle of a body', [begin, header(5), header(5)], closed(505, wantsBody, 60, 40)],
  [
    'a body longer than announced (ours)',
    [begin, header(5), body('123456')],
    closed(501, 'FRAME_ERROR - the body is longer than its header announced: 6 bytes came and 5 were missing', 60, 40),
  ],
  [
    'a header that is too short',
    [begin, frame(2, 1, bytes(0, 60, 0, 0))],
    closed(501, 'FRAME_ERROR - type 2, all octets = <<0,60,0,0>>: unknown_frame'),
  ],
  [
    'properties that are cut (ours)',
    [begin, header(0, {}, { rest: bytes(0x80, 0, 9, 65) })],
    closed(501, 'FRAME_ERROR - a property reaches beyond the content header', 60, 40),
  ],
  [
    'properties with something behind them (ours)',
    [begin, header(0, {}, { rest: bytes(0, 0, 1) })],
    closed(501, 'FRAME_ERROR - the content header is longer than its properties', 60, 40),
  ],
  [
    'a message that is too large',
    [
      begin,
      header(20_971_520),
      ...Array<Buffer>(160).fill(body('x'.repeat(131_064))),
      body('x'.repeat(1280)),
      method('channel.close-ok'),
      openChannel,
    ],
    [
      refused(406, 'PRECONDITION_FAILED - message size 20971520 is larger than configured max size 16777216', 60, 40),
      'channel.open-ok 1 {}',
    ],
  ],
  ['immediate', [method('basic.publish', { immediate: true }), header(0)], closed(540, 'NOT_IMPLEMENTED - immediate=true', 60, 40)],
  [
    'a publish to no exchange',
    [publish({ exchange: 'none' }, 'x'), publish({}, 'swallowed'), method('basic.qos')],
    [refused(404, noExchange, 60, 40)],
  ],
  [
    'a routing key that is not UTF-8',
    [frame(1, 1, Buffer.concat([bytes(0, 60, 0, 40, 0, 0, 0, 200), Buffer.alloc(200, 0xff), bytes(0)])), header(0)],
    closed(501, 'FRAME_ERROR - Malformed UTF-8 in shortstr', 60, 40),
  ],
  [
    'an expiration that is no number',
    [publish({}, '', { expiration: 'foo' })],
    [refused(406, "PRECONDITION_FAILED - invalid expiration 'foo': no_integer", 60, 40)],
  ],
  [
    'an expiration with a rest',
    [publish({}, '', { expiration: '100foo' })],
    [refused(406, 'PRECONDITION_FAILED - invalid expiration \'100foo\': {leftover_string,"foo"}', 60, 40)],
  ],
  [
    'a negative expiration',
    [publish({}, '', { expiration: '-10' })],
    [refused(406, "PRECONDITION_FAILED - invalid expiration '-10': {value_negative,-10}", 60, 40)],
  ],
  [
    'an expiration of more than ten years',
    [publish({}, '', { expiration: '99999999999999' })],
    [refused(406, "PRECONDITION_FAILED - invalid expiration '99999999999999': {value_too_large,99999999999999}", 60, 40)],
  ],
  ['a good expiration', [publish({}, '', { expiration: '100' }), method('basic.qos')], ['basic.qos-ok 1 {}']],
  [
    'a user-id of somebody else',
    [publish({}, '', { userId: 'other' })],
    [refused(406, "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'", 60, 40)],
  ],
  [
    'a mandatory message to nowhere',
    [method('confirm.select'), publish({ routingKey: 'none', mandatory: true }, 'abc', { deliveryMode: 2 })],
    [
      'confirm.select-ok 1 {}',
      'basic.return 1 {"replyCode":312,"replyText":"NO_ROUTE","exchange":"","routingKey":"none"}',
      'header 1 003c00000000000000000003100002',
      'body 1 3 abc',
      'basic.ack 1 {"deliveryTag":1,"multiple":false}',
    ],
  ],
  [
    'an empty mandatory message to nowhere',
    [publish({ routingKey: 'none', mandatory: true }, '')],
    ['basic.return 1 {"replyCode":312,"replyText":"NO_ROUTE","exchange":"","routingKey":"none"}', 'header 1 003c000000000000000000000000'],
  ],
  ['ack of everything when there is nothing', [method('basic.ack', { multiple: true }), method('basic.qos')], ['basic.qos-ok 1 {}']],
  ['ack of tag 0 alone', [method('basic.ack')], [refused(406, 'PRECONDITION_FAILED - unknown delivery tag 0', 60, 80)]],
  [
    'ack of an unknown tag, and what comes after it',
    [
      method('basic.ack', { deliveryTag: 99 }),
      publish({}, 'swallowed'),
      method('basic.qos'),
      method('channel.close-ok'),
      openChannel,
      method('basic.qos'),
    ],
    [refused(406, 'PRECONDITION_FAILED - unknown delivery tag 99', 60, 80), 'channel.open-ok 1 {}', 'basic.qos-ok 1 {}'],
  ],
  [
    'nack of an unknown tag',
    [method('basic.nack', { deliveryTag: 9 })],
    [refused(406, 'PRECONDITION_FAILED - unknown delivery tag 9', 60, 120)],
  ],
  [
    'reject of an unknown tag',
    [method('basic.reject', { deliveryTag: 9 })],
    [refused(406, 'PRECONDITION_FAILED - unknown delivery tag 9', 60, 90)],
  ],
  [
    'a consumer tag used twice',
    [declare, method('basic.consume', { queue: 'q', consumerTag: 't' }), method('basic.consume', { queue: 'q', consumerTag: 't' })],
    [declared('q'), 'basic.consume-ok 1 {"consumerTag":"t"}', ...closed(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", 60, 20)],
  ],
  [
    'a consumer without a tag',
    [declare, method('basic.consume', { queue: 'q' })],
    [declared('q'), 'basic.consume-ok 1 {"consumerTag":"amq.ctag-?"}'],
  ],
  [
    'an exclusive consumer where there is one already',
    [declare, method('basic.consume', { queue: 'q', consumerTag: 't' }), method('basic.consume', { queue: 'q', exclusive: true })],
    [
      declared('q'),
      'basic.consume-ok 1 {"consumerTag":"t"}',
      refused(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", 60, 20),
    ],
  ],
  ['a cancel of an unknown consumer', [method('basic.cancel', { consumerTag: 'z' })], ['basic.cancel-ok 1 {"consumerTag":"z"}']],
  [
    'a consumer whose queue goes away',
    [declare, method('basic.consume', { queue: 'q', consumerTag: 'c' }), method('queue.delete', { queue: 'q' })],
    [
      declared('q'),
      'basic.consume-ok 1 {"consumerTag":"c"}',
      'basic.cancel 1 {"consumerTag":"c","noWait":true}',
      'queue.delete-ok 1 {"messageCount":0}',
    ],
  ],
  ['qos with a size', [method('basic.qos', { prefetchSize: 1000 })], closed(540, 'NOT_IMPLEMENTED - prefetch_size!=0 (1000)', 60, 10)],
  ['qos for the channel', [method('basic.qos', { prefetchCount: 10, isGlobal: true })], ['basic.qos-ok 1 {}']],
  ['recover', [method('basic.recover', { requeue: true })], ['basic.recover-ok 1 {}']],
  ['recover without requeue', [method('basic.recover')], closed(540, 'NOT_IMPLEMENTED - requeue=false', 60, 110)],
  ['recover-async', [method('basic.recover-async', { requeue: true }), method('basic.qos')], ['basic.qos-ok 1 {}']],
  ['recover-async without requeue', [method('basic.recover-async')], closed(540, 'NOT_IMPLEMENTED - requeue=false', 60, 100)],
  ['flow on', [method('channel.flow', { isActive: true })], ['channel.flow-ok 1 {"isActive":true}']],
  ['flow off', [method('channel.flow')], closed(540, 'NOT_IMPLEMENTED - active=false', 20, 20)],
  ['access.request', [method('access.request')], ['access.request-ok 1 {"ticket":1}']],
  [
    'confirm.select, twice and without an answer',
    [method('confirm.select'), method('confirm.select'), method('confirm.select', { noWait: true })],
    ['confirm.select-ok 1 {}', 'confirm.select-ok 1 {}'],
  ],
  ['tx.commit', [method('tx.commit')], [refused(406, 'PRECONDITION_FAILED - channel is not transactional', 90, 20)]],
  ['tx.rollback', [method('tx.rollback')], [refused(406, 'PRECONDITION_FAILED - channel is not transactional', 90, 30)]],
  [
    'an argument that is not built (ours)',
    [method('queue.declare', { queue: 'q', durable: true, arguments: { 'x-queue-type': 'stream' } })],
    closed(
      540,
      "NOT_IMPLEMENTED - x-queue-type 'stream' of queue 'q' is not built yet: leave it out, or use RabbitMQ where you need it",
      50,
      10,
    ),
  ],
  ['get from no queue', [method('basic.get', { queue: 'none' })], [refused(404, noQueue, 60, 70)]],
  ['get from a queue never named', [method('basic.get')], [refused(404, 'NOT_FOUND - no previously declared queue', 60, 70)]],
  ['get from an empty queue', [declare, method('basic.get')], [declared('q'), 'basic.get-empty 1 {}']],
  ['consume from no queue', [method('basic.consume', { queue: 'none' })], [refused(404, noQueue, 60, 20)]],
  [
    'get, acknowledged, left and put back',
    [
      declare,
      publish({ routingKey: 'q' }, 'one', { contentType: 'a/b', deliveryMode: 1 }),
      publish({ routingKey: 'q' }, ''),
      method('basic.get'),
      method('basic.get', { noAck: true }),
      method('basic.get'),
      method('basic.nack', { deliveryTag: 1, requeue: true }),
      method('basic.get'),
    ],
    [
      declared('q'),
      'basic.get-ok 1 {"deliveryTag":1,"redelivered":false,"exchange":"","routingKey":"q","messageCount":1}',
      'header 1 003c00000000000000000003900003612f6201',
      'body 1 3 one',
      'basic.get-ok 1 {"deliveryTag":2,"redelivered":false,"exchange":"","routingKey":"q","messageCount":0}',
      'header 1 003c000000000000000000000000',
      'basic.get-empty 1 {}',
      'basic.get-ok 1 {"deliveryTag":3,"redelivered":true,"exchange":"","routingKey":"q","messageCount":0}',
      'header 1 003c00000000000000000003900003612f6201',
      'body 1 3 one',
    ],
  ],
  [
    'a bind to the default exchange',
    [declare, method('queue.bind', { queue: 'q' })],
    [declared('q'), refused(403, 'ACCESS_REFUSED - operation not permitted on the default exchange', 50, 20)],
  ],
  [
    'a bind to no exchange',
    [declare, method('queue.bind', { queue: 'q', exchange: 'none' })],
    [declared('q'), refused(404, noExchange, 50, 20)],
  ],
  ['a bind of no queue', [method('queue.bind', { queue: 'none', exchange: 'amq.direct' })], [refused(404, noQueue, 50, 20)]],
  [
    'a bind that names neither queue nor key',
    [declare, method('queue.bind', { exchange: 'amq.direct' }), publish({ exchange: 'amq.direct', routingKey: 'q' }, ''), declare],
    [declared('q'), 'queue.bind-ok 1 {}', declared('q', 1)],
  ],
  ['a bind of neither', [method('queue.bind', { queue: 'none', exchange: 'none' })], [refused(404, noExchange, 50, 20)]],
  [
    'unbinds of what is not there',
    [
      declare,
      method('queue.unbind', { queue: 'q', exchange: 'amq.direct', routingKey: 'k' }),
      method('queue.unbind', { queue: 'q', exchange: 'none' }),
      method('queue.unbind', { queue: 'none', exchange: 'amq.direct' }),
    ],
    [declared('q'), 'queue.unbind-ok 1 {}', 'queue.unbind-ok 1 {}', 'queue.unbind-ok 1 {}'],
  ],
  [
    'a reserved queue name',
    [method('queue.declare', { queue: 'amq.mine' })],
    [refused(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", 50, 10)],
  ],
  [
    'a reserved exchange name',
    [method('exchange.declare', { exchange: 'amq.mine', type: 'direct' })],
    [refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", 40, 10)],
  ],
  [
    'a delete of a predeclared exchange',
    [method('exchange.delete', { exchange: 'amq.direct' })],
    [refused(403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed", 40, 20)],
  ],
  ['a passive declare of no queue', [method('queue.declare', { queue: 'none', passive: true })], [refused(404, noQueue, 50, 10)]],
  [
    'a redeclare that differs',
    [declare, method('queue.declare', { queue: 'q', durable: true })],
    [
      declared('q'),
      refused(
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
        50,
        10,
      ),
    ],
  ],
  [
    'deletes of what is not there',
    [method('queue.delete', { queue: 'none' }), method('exchange.delete', { exchange: 'none' })],
    ['queue.delete-ok 1 {"messageCount":0}', 'exchange.delete-ok 1 {}'],
  ],
  [
    'a delete of a queue that is not empty',
    [declare, publish({ routingKey: 'q' }, ''), method('queue.delete', { queue: 'q', ifEmpty: true })],
    [declared('q'), refused(406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty", 50, 40)],
  ],
  [
    'a purge',
    [declare, publish({ routingKey: 'q' }, ''), publish({ routingKey: 'q' }, ''), method('queue.purge', { queue: 'q' })],
    [declared('q'), 'queue.purge-ok 1 {"messageCount":2}'],
  ],
  ['a purge of no queue', [method('queue.purge', { queue: 'none' })], [refused(404, noQueue, 50, 30)]],
  [
    'a declare of the default exchange',
    [method('exchange.declare', { type: 'direct' })],
    [refused(403, 'ACCESS_REFUSED - operation not permitted on the default exchange', 40, 10)],
  ],
  [
    'an unknown exchange type',
    [method('exchange.declare', { exchange: 'x', type: 'weird' })],
    [refused(406, "PRECONDITION_FAILED - unknown exchange type 'weird'", 40, 10)],
  ],
  [
    'a passive declare of no exchange',
    [method('exchange.declare', { exchange: 'none', passive: true })],
    [refused(404, noExchange, 40, 10)],
  ],
  [
    'a publish to an internal exchange',
    [method('exchange.declare', { exchange: 'i', type: 'fanout', internal: true }), publish({ exchange: 'i' }, '')],
    ['exchange.declare-ok 1 {}', refused(403, "ACCESS_REFUSED - cannot publish to internal exchange 'i' in vhost '/'", 60, 40)],
  ],
  [
    'a queue name with line breaks',
    [method('queue.declare', { queue: 'a\r\nb' }), method('basic.consume', { queue: 'a\nb' })],
    [declared('ab'), refused(404, "NOT_FOUND - no queue 'a\nb' in vhost '/'", 60, 20)],
  ],
  [
    'everything without an answer',
    [
      method('queue.declare', { queue: 'n', noWait: true }),
      method('exchange.declare', { exchange: 'n', type: 'fanout', noWait: true }),
      method('queue.bind', { queue: 'n', exchange: 'n', noWait: true }),
      method('basic.consume', { queue: 'n', consumerTag: 'c', noWait: true }),
      method('basic.cancel', { consumerTag: 'c', noWait: true }),
      method('queue.purge', { queue: 'n', noWait: true }),
      method('queue.delete', { queue: 'n', noWait: true }),
      method('exchange.delete', { exchange: 'n', noWait: true }),
      method('basic.qos'),
    ],
    ['basic.qos-ok 1 {}'],
  ],
  [
    'channel.close, and the number again',
    [method('channel.close', { replyCode: 200 }), openChannel],
    ['channel.close-ok 1 {}', 'channel.open-ok 1 {}'],
  ],
  [
    'channel.close that crosses ours (ours: the number is free again)',
    [method('basic.ack', { deliveryTag: 9 }), method('channel.close'), openChannel],
    [refused(406, 'PRECONDITION_FAILED - unknown delivery tag 9', 60, 80), 'channel.close-ok 1 {}', 'channel.open-ok 1 {}'],
  ],
];

describe('the answers of the AMQP server', () => {
  it.each(onConnection)('on a connection, to %s', async (_name, said, answered) => {
    expect(await converse([handshake, ...said])).toEqual([...greeted, 'connection.open-ok 0 {}', ...answered]);
  });

  it.each(onChannel)('on a channel, to %s', async (_name, said, answered) => {
    expect(await converse([handshake, openChannel, ...said])).toEqual([
      ...greeted,
      'connection.open-ok 0 {}',
      'channel.open-ok 1 {}',
      ...answered,
    ]);
  });
});
