import { describe, expect, it } from '@jest/globals';
import { AmqpWorld, converse } from './amqp-world.js';
import { decodeArguments, methodById } from './method-codec.js';
import { ourProtocolHeader } from './protocol-header.js';
import { frame, handshake, method, open, openChannel, startOk, tuneOk } from './scripted-client.js';

/** The first words of a connection; those marked `ours` are answered otherwise by RabbitMQ 4.0.5, which drops the connection without a word. */
type Conversation = readonly [name: string, said: readonly Buffer[], answered: readonly string[]];

const closed = (code: number, text: string, classId = 0, methodId = 0): string[] => [
  `connection.close 0 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`,
  'closed',
];
const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);
const short = (text: string): Buffer => Buffer.concat([bytes(text.length), Buffer.from(text)]);
const greeted = ['connection.start', 'connection.tune 0 {"channelMax":2047,"frameMax":131072,"heartbeat":60}'];
const tuned = (values: Parameters<typeof tuneOk>[0]): Buffer[] => [ourProtocolHeader, startOk(), tuneOk(values), open];
const login = (mechanism: string, response: Buffer): Buffer[] => [ourProtocolHeader, startOk({ mechanism, response }), tuneOk(), open];
const amqplain = (user: string, password: string): Buffer =>
  Buffer.concat([
    short('LOGIN'),
    Buffer.from('S'),
    bytes(0, 0, 0, user.length),
    Buffer.from(user),
    short('PASSWORD'),
    Buffer.from('S'),
    bytes(0, 0, 0, password.length),
    Buffer.from(password),
  ]);
const heartbeat = frame(8, 0, Buffer.alloc(0));
const refusedLogin = (mechanism: string): string[] =>
  closed(403, `ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`);

const fromTheStart: readonly Conversation[] = [
  ['PLAIN', [handshake], [...greeted, 'connection.open-ok 0 {}']],
  ['AMQPLAIN', login('AMQPLAIN', amqplain('guest', 'guest')), [...greeted, 'connection.open-ok 0 {}']],
  ['ANONYMOUS, which is guest with the password of old', login('ANONYMOUS', Buffer.alloc(0)), [...greeted, 'connection.open-ok 0 {}']],
  [
    'a start-ok that is longer than a frame may be so early',
    [ourProtocolHeader, startOk({ clientProperties: { long: 'x'.repeat(8192) } })],
    ['connection.start', ...closed(501, 'FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,8238,8184}')],
  ],
  [
    'AMQPLAIN in any order, with more than is asked for',
    login(
      'AMQPLAIN',
      Buffer.concat([
        amqplain('guest', 'guest').subarray(16),
        short('X'),
        Buffer.from('t\x01'),
        amqplain('guest', 'guest').subarray(0, 16),
      ]),
    ),
    [...greeted, 'connection.open-ok 0 {}'],
  ],
  [
    'another locale, and no client properties',
    [ourProtocolHeader, startOk({ locale: 'de_DE', clientProperties: {} }), tuneOk(), open],
    [...greeted, 'connection.open-ok 0 {}'],
  ],
  [
    'heartbeats between the steps',
    [ourProtocolHeader, startOk(), heartbeat, tuneOk({ heartbeat: 65_535 }), heartbeat, open],
    [...greeted, 'connection.open-ok 0 {}'],
  ],
  [
    'the highest channel number',
    [handshake, method('channel.open', {}, 65_535), method('channel.close', {}, 65_535)],
    [...greeted, 'connection.open-ok 0 {}', 'channel.open-ok 65535 {}', 'channel.close-ok 65535 {}'],
  ],
  ['an empty password', login('PLAIN', Buffer.from('\0guest\0')), ['connection.start', ...refusedLogin('PLAIN')]],
  [
    'no virtual host',
    [ourProtocolHeader, startOk(), tuneOk(), method('connection.open', {}, 0)],
    [...greeted, ...closed(530, 'NOT_ALLOWED - vhost  not found', 10, 40)],
  ],
  ['a wrong password', login('PLAIN', Buffer.from('\0guest\0wrong')), ['connection.start', ...refusedLogin('PLAIN')]],
  ['a wrong password, AMQPLAIN', login('AMQPLAIN', amqplain('guest', 'wrong')), ['connection.start', ...refusedLogin('AMQPLAIN')]],
  [
    'a PLAIN response of four parts (ours)',
    login('PLAIN', Buffer.from('\0guest\0guest\0x')),
    ['connection.start', ...closed(502, 'SYNTAX_ERROR - the response for SASL PLAIN is not NUL, user, NUL, password', 10, 11)],
  ],
  [
    'an AMQPLAIN response that is no table (ours)',
    login('AMQPLAIN', Buffer.from('xyz')),
    ['connection.start', ...closed(502, 'SYNTAX_ERROR - the response for SASL AMQPLAIN is not a table with LOGIN and PASSWORD', 10, 11)],
  ],
  [
    'an unknown mechanism (ours)',
    login('EXTRA', Buffer.alloc(0)),
    ['connection.start', ...closed(503, "COMMAND_INVALID - unknown SASL mechanism 'EXTRA': use one of ANONYMOUS, AMQPLAIN, PLAIN", 10, 11)],
  ],
  [
    'a virtual host that is not there',
    [ourProtocolHeader, startOk(), tuneOk(), method('connection.open', { virtualHost: 'nope' }, 0)],
    [...greeted, ...closed(530, 'NOT_ALLOWED - vhost nope not found', 10, 40)],
  ],
  [
    'a frame without limit',
    tuned({ frameMax: 0 }),
    [
      ...greeted,
      ...closed(530, 'NOT_ALLOWED - negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)', 10, 31),
    ],
  ],
  [
    'a frame above the limit',
    tuned({ frameMax: 131_073 }),
    [...greeted, ...closed(530, 'NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)', 10, 31)],
  ],
  [
    'a frame that is too small',
    tuned({ frameMax: 100 }),
    [...greeted, ...closed(530, 'NOT_ALLOWED - negotiated frame_max = 100 is lower than the minimum allowed value (4096)', 10, 31)],
  ],
  [
    'channels without limit',
    tuned({ channelMax: 0 }),
    [
      ...greeted,
      ...closed(530, 'NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)', 10, 31),
    ],
  ],
  [
    'one channel more than agreed',
    [...tuned({ channelMax: 1 }), openChannel, method('channel.open', {}, 2)],
    [
      ...greeted,
      'connection.open-ok 0 {}',
      'channel.open-ok 1 {}',
      ...closed(530, 'NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)'),
    ],
  ],
  [
    'a channel number above channel_max',
    [...tuned({ channelMax: 1 }), method('channel.open', {}, 9)],
    [...greeted, 'connection.open-ok 0 {}', 'channel.open-ok 9 {}'],
  ],
  [
    'open before the login',
    [ourProtocolHeader, open],
    ['connection.start', ...closed(504, 'CHANNEL_ERROR - unexpected method in connection state starting', 10, 40)],
  ],
  [
    'a channel before open',
    [ourProtocolHeader, startOk(), tuneOk(), openChannel],
    [...greeted, ...closed(505, 'UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>')],
  ],
  [
    'a close before the login',
    [ourProtocolHeader, method('connection.close', {}, 0)],
    ['connection.start', 'connection.close-ok 0 {}', 'closed'],
  ],
  [
    'a huge frame before the login',
    [ourProtocolHeader, bytes(1, 0, 0, 0, 1, 0, 1)],
    ['connection.start', ...closed(501, 'FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,65537,8184}')],
  ],
  ['AMQP 0-9', [Buffer.from('AMQP\x01\x01\0\x09', 'latin1')], ['connection.start']],
  ['AMQP 1.0', [Buffer.from('AMQP\0\x01\0\0', 'latin1')], ['protocol 00000901', 'closed']],
  ['AMQP 0-8', [Buffer.from('AMQP\x01\x01\x08\0', 'latin1')], ['protocol 00000901', 'closed']],
  ['HTTP', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], ['protocol 00000901', 'closed']],
  ['TLS', [Buffer.from('160301020001fc0303', 'hex')], ['protocol 00000901', 'closed']],
];

describe('the handshake', () => {
  it.each(fromTheStart)('with %s', async (_name, said, answered) => {
    expect(await converse(said)).toEqual(answered);
  });

  it('says which RabbitMQ the broker behaves like, and who it is', async () => {
    const world = await AmqpWorld.open();
    const client = world.client().send(ourProtocolHeader);
    await world.settle();
    const payload = client.takeBytes().subarray(7, -1);
    const said = decodeArguments(methodById(payload.readUInt32BE(0))!, payload, 4, payload.length);
    await world.close();
    expect(said).toMatchObject({
      mechanisms: Buffer.from('ANONYMOUS AMQPLAIN PLAIN'),
      serverProperties: {
        product: 'RabbitMQ',
        version: '4.0.5',
        platform: expect.stringContaining('Dovecote') as unknown,
        capabilities: { consumer_priorities: true, direct_reply_to: true, publisher_confirms: true },
      },
    });
  });
});
