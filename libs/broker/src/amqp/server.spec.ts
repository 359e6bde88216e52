import { afterEach, describe, expect, it } from '@jest/globals';
import type { Clock } from '@dovecote/ground';
import { SeededRandom } from '@dovecote/ground/testing';
import type { FieldTable } from '../queues/field-table.js';
import type { MessageProperties } from '../queues/properties.js';
import { AmqpWorld } from './amqp-world.js';
import { Heartbeat } from './heartbeat.js';
import { frame, handshake, header, method, openChannel, publish, type ScriptedClient, startOk, tuneOk } from './scripted-client.js';
import { ourProtocolHeader } from './protocol-header.js';

const worlds: AmqpWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function openWorld(options: Parameters<typeof AmqpWorld.open>[0] = {}): Promise<AmqpWorld> {
  const world = await AmqpWorld.open(options);
  worlds.push(world);
  return world;
}

const onChannel = Buffer.concat([handshake, openChannel]);
const declare = method('queue.declare', { queue: 'q' });
const consume = method('basic.consume', { queue: 'q', consumerTag: 'c' });

/** Everything that a client does, with messages of all sizes and shapes. The last frame is the close. */
const longSession = Buffer.concat([
  onChannel,
  method('exchange.declare', { exchange: 'x', type: 'topic' }),
  declare,
  method('queue.bind', { queue: 'q', exchange: 'x', routingKey: 'a.#' }),
  method('confirm.select'),
  publish({ exchange: 'x', routingKey: 'a.b' }, 'first', { deliveryMode: 2 }),
  publish({ exchange: 'x', routingKey: 'a.b' }, 'second', { contentType: 'text/plain', deliveryMode: 1, messageId: 'm2' }),
  publish({ exchange: 'x', routingKey: 'a.c' }, '', { headers: { key: 'value' }, timestamp: 5 }),
  publish({ exchange: 'x', routingKey: 'a.c' }, 'in three frames', { userId: 'guest' }, { bodyFrameBytes: 6 }),
  publish({ exchange: 'x', routingKey: 'nowhere', mandatory: true }, 'back'),
  publish({ exchange: 'x', routingKey: 'nowhere', mandatory: true }, 'back again'),
  method('channel.open', {}, 2),
  method('basic.publish', { routingKey: 'q' }, 1),
  method('basic.publish', { routingKey: 'q' }, 2),
  header(4, {}, { channel: 2 }),
  header(3, {}, { channel: 1 }),
  frame(8, 0, Buffer.alloc(0)),
  frame(3, 2, Buffer.from('four')),
  frame(3, 1, Buffer.from('one')),
  method('basic.qos', { prefetchCount: 3 }),
  consume,
  method('basic.get', { queue: 'q' }, 2),
  method('basic.ack', { deliveryTag: 1 }, 2),
  method('basic.ack', { deliveryTag: 77 }, 2),
  publish({}, 'swallowed', {}, { channel: 2 }),
  method('channel.close-ok', {}, 2),
  method('connection.close', { replyCode: 200 }, 0),
]);

/** One line of answers for each channel, because the order between channels may depend on when the loop turns. */
async function converse(pieces: readonly Buffer[]): Promise<Record<string, string[]>> {
  const world = await AmqpWorld.open();
  const client = world.client();
  for (const piece of pieces) client.send(piece);
  await world.settle();
  const lines = client.take();
  await world.close();
  const byChannel: Record<string, string[]> = {};
  for (const line of lines) (byChannel[/^[\w.-]+ (\d+)/.exec(line)?.[1] ?? '0'] ??= []).push(line);
  return byChannel;
}

describe('a long session', () => {
  it('is answered alike wherever its bytes are split', async () => {
    const whole = await converse([longSession]);
    expect(whole['0']!.slice(-2)).toEqual(['connection.close-ok 0 {}', 'closed']);
    expect(whole['1']!.filter((line) => line.startsWith('basic.return'))).toHaveLength(2);
    expect(whole['2']!.at(-1)).toContain('unknown delivery tag 77');
    expect(whole['2']).toContain('body 2 15 in three fra'); // the consumer has taken the three before it
    const differing: number[] = [];
    for (let cut = 1; cut < longSession.length; cut++) {
      const split = await converse([longSession.subarray(0, cut), longSession.subarray(cut)]);
      if (JSON.stringify(split) !== JSON.stringify(whole)) differing.push(cut);
    }
    expect(differing).toEqual([]);
    expect(await converse([...longSession].map((byte) => Buffer.from([byte])))).toEqual(whole);
  });
});

describe('the fast lane', () => {
  const tables: readonly FieldTable[] = [
    {},
    { a: 1, b: 'text', c: true },
    { nested: { d: [1] } },
    { CC: 'x' },
    { aCC: 1, BCC: 2 },
    { xCC: null },
    { CC: ['q', 5], BCC: ['none'], a: 1 },
    { BCC: ['q'] },
  ];

  /** A publish with random properties, some of them broken by a changed byte, and a plain one that goes the same way. */
  function randomPublish(random: SeededRandom): { message: Buffer; plain: Buffer } {
    const maybe = <Value>(value: Value): Value | undefined => (random.below(3) === 0 ? value : undefined);
    const properties: MessageProperties = {
      contentType: maybe('text/plain'),
      contentEncoding: maybe(''),
      headers: maybe(tables[random.below(tables.length)]!),
      deliveryMode: maybe(random.below(2) === 0 ? 1 : 2),
      priority: maybe(5),
      correlationId: maybe('correlation'),
      replyTo: maybe(['queue', 'amq.rabbitmq.reply-to'][random.below(2)]!),
      expiration: random.below(20) === 0 ? '5' : undefined,
      messageId: maybe('id'),
      timestamp: maybe(9),
      type: maybe('type'),
      userId: maybe(random.below(8) === 0 ? 'other' : 'guest'),
      appId: maybe('app'),
      clusterId: maybe('cluster'),
    };
    const to = {
      exchange: ['', 'x', 'amq.headers'][random.below(3)]!,
      routingKey: ['q', 'a.b', 'none'][random.below(3)]!,
      mandatory: random.below(4) === 0,
      immediate: random.below(60) === 0,
    };
    const bytes = publish(to, 'b'.repeat(random.below(4) * 30), properties);
    const end = method('basic.publish', to).length + 20 + random.below(40);
    if (random.below(4) === 0 && end < bytes.length) bytes[end]! ^= 1 << random.below(8);
    return { message: bytes, plain: publish(to, '') };
  }

  it('takes and refuses exactly what the slow one does', async () => {
    const random = new SeededRandom('lanes');
    const plainBegin = Buffer.concat([
      onChannel,
      method('exchange.declare', { exchange: 'x', type: 'topic' }),
      declare,
      method('queue.bind', { queue: 'q', exchange: 'x', routingKey: '#' }),
      method('queue.bind', { queue: 'q', exchange: 'amq.headers', arguments: { a: 1 } }),
    ]);
    const replies = method('basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'replies', noAck: true, noWait: true });
    const begins = [plainBegin, Buffer.concat([plainBegin, replies])];
    const end = Buffer.concat([method('basic.get'), method('basic.qos')]);
    const linesOfBegin = (await converse([plainBegin]))['1']!.length;
    const outcomes = new Map<string, number>();
    for (let round = 0; round < 700; round++) {
      const { message, plain } = randomPublish(random);
      const begin = begins[random.below(2)]!;
      const whole = await converse([begin, message, end]);
      const split = await converse([begin, ...[...message].map((byte) => Buffer.from([byte])), end]);
      expect(split).toEqual(whole);
      // Once more where the route is known, so that nothing is looked at that need not be.
      const before = Buffer.concat([begin, plain, method('queue.purge', { queue: 'q', noWait: true })]);
      const known = await converse([before, message, end]);
      expect(known['0']).toEqual(whole['0']);
      const linesBefore = (await converse([before]))['1']!.length;
      expect(known['1']!.slice(linesBefore)).toEqual(whole['1']!.slice(linesOfBegin));
      const outcome = /"replyCode":\d+|basic\.get-\w+/.exec(`${whole['0']!.join()} ${whole['1']!.join()}`)?.[0] ?? 'none';
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // Every way to end was met, so that the two were compared on each.
    for (const outcome of ['basic.get-ok', 'basic.get-empty', '"replyCode":312', '"replyCode":406', '"replyCode":501', '"replyCode":540']) {
      expect([outcome, (outcomes.get(outcome) ?? 0) > 3]).toEqual([outcome, true]);
    }
  });

  it('follows the bindings as they are, whatever it remembers', async () => {
    const world = await openWorld();
    const client = await world.connected(
      Buffer.concat([onChannel, method('exchange.declare', { exchange: 'x', type: 'direct' }), declare]),
    );
    const random = new SeededRandom('routes');
    const bound = new Set<string>();
    let expected = 0;
    for (let round = 0; round < 6_000; round++) {
      const routingKey = `${'long'.repeat(random.below(2) * 30)}key-${random.below(60) ** 2}`;
      const isBinding = random.below(30);
      if (isBinding === 0) bound.add(routingKey);
      if (isBinding === 1) bound.delete(routingKey);
      const binding = { queue: 'q', exchange: 'x', routingKey };
      if (isBinding === 0) client.send(method('queue.bind', binding));
      else if (isBinding === 1) client.send(method('queue.unbind', binding));
      else client.send(publish({ exchange: 'x', routingKey }, 'm'));
      if (isBinding > 1 && bound.has(routingKey)) expected++;
    }
    client.send(method('queue.declare', { queue: 'q', passive: true }));
    await world.settle();
    expect(expected).toBeGreaterThan(500);
    expect(client.take().at(-1)).toContain(`"messageCount":${expected},`);
  });
});

describe('strangers', () => {
  it('send random bytes and get an end, while others work on', async () => {
    const world = await openWorld();
    const random = new SeededRandom('strangers');
    const good = await world.connected(Buffer.concat([onChannel, declare]));
    for (let round = 0; round < 400; round++) {
      const client = world.client();
      const prefix = [Buffer.alloc(0), ourProtocolHeader, onChannel, onChannel][round % 4]!;
      const noise = random.bytes(20 + random.below(200));
      // A frame head that could be right lets the noise get further.
      if (round % 4 === 3) noise.set([1 + random.below(3), 0, 1, 0, 0, 0, random.below(12)]);
      client.send(prefix, noise);
      await world.settle();
      const answered = client.take();
      const said = answered.join('\n');
      if (!client.isClosed && !/connection\.close 0 \{"replyCode":5\d\d/.test(said)) {
        // What looked like the beginning of a frame waits for the rest of it; it must not wait for long.
        client.cut();
      }
    }
    await world.clock.advance(11_000);
    expect(world.server.connections).toHaveLength(1);
    good.send(publish({ routingKey: 'q' }, 'still here'), method('basic.get', { queue: 'q' }));
    await world.settle();
    expect(good.take()[2]).toBe('body 1 10 still here');
  });

  it('are told apart in the log', async () => {
    const world = await openWorld();
    for (const said of ['GET / HTTP/1.1\r\n', '\x16\x03\x01\x02\x00\x01\x00', 'AMQP\x00\x01\x00\x00', 'whatever'])
      world.client().send(Buffer.from(said, 'latin1'));
    expect(world.logged.map((line) => /HTTP client|TLS client|AMQP 1\.0\.0|not AMQP/.exec(line)?.[0])).toEqual([
      'HTTP client',
      'TLS client',
      'AMQP 1.0.0',
      'not AMQP',
    ]);
  });

  it('cannot make the server keep more than a named amount of unfinished messages', async () => {
    const world = await openWorld({ amqp: { unfinishedBytesMax: 1_000_000 } });
    const client = await world.connected(onChannel);
    const begun: Buffer[] = [];
    for (let channel = 2; channel < 12; channel++) {
      begun.push(method('channel.open', {}, channel), method('basic.publish', {}, channel), header(16_000_000, {}, { channel }));
    }
    client.send(...begun);
    await world.settle();
    expect(client.take().at(-1)).toContain('"replyCode":506,"replyText":"RESOURCE_ERROR - more than 1000000 bytes of unfinished messages');
  });

  it('get no memory before they send: a large announced body is taken in pieces and arrives whole', async () => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([onChannel, declare]));
    const large = new SeededRandom(5).bytes(1_000_000);
    client.send(publish({ routingKey: 'q' }, large, {}, { bodyFrameBytes: 100_000 }), method('basic.get', { queue: 'q' }));
    await world.settle();
    const received = client.takeBytes();
    const bodies: Buffer[] = [];
    for (let at = 0; at < received.length; at += 8 + received.readUInt32BE(at + 3)) {
      if (received[at] === 3) bodies.push(received.subarray(at + 7, at + 7 + received.readUInt32BE(at + 3)));
    }
    expect(Buffer.concat(bodies).equals(large)).toBe(true);
  });

  it('beyond the limit of connections are closed at once', async () => {
    const world = await openWorld({ limits: { connectionsMax: 2 } });
    const clients = [world.client(), world.client(), world.client()];
    expect(clients.map((client) => client.isClosed)).toEqual([false, false, true]);
    clients[0]!.cut();
    expect(world.client().isClosed).toBe(false);
  });
});

describe('time', () => {
  it('ends a handshake that takes more than ten seconds', async () => {
    const world = await openWorld();
    const [silent, slow] = [world.client(), world.client()];
    slow.send(ourProtocolHeader, startOk());
    const done = world.client().send(handshake);
    await world.clock.advance(9_999);
    expect([silent.isClosed, slow.isClosed, done.isClosed]).toEqual([false, false, false]);
    await world.clock.advance(1);
    expect([silent.isClosed, slow.isClosed, done.isClosed]).toEqual([true, true, false]);
  });

  it('cuts a client that does not answer a close within three seconds', async () => {
    const world = await openWorld();
    const client = await world.connected(handshake);
    client.send(method('queue.declare', {}, 9));
    await world.clock.advance(2_999);
    expect(client.isClosed).toBe(false);
    await world.clock.advance(1);
    expect(client.isClosed).toBe(true);
  });

  it('lets a refused login wait when the client did not ask to be told', async () => {
    const world = await openWorld();
    const client = world.client();
    client.send(ourProtocolHeader, startOk({ response: Buffer.from('\0guest\0wrong'), clientProperties: {} }));
    await world.clock.advance(999);
    expect(client.take()).toEqual(['connection.start']);
    await world.clock.advance(1);
    expect(client.take()).toEqual(['closed']);
    expect(world.logged[0]).toContain("login refused: user 'guest'");
  });

  const withHeartbeat = (seconds: number): Buffer =>
    Buffer.concat([ourProtocolHeader, startOk(), tuneOk({ heartbeat: seconds }), method('connection.open', { virtualHost: '/' }, 0)]);

  it('sends heartbeats when it has nothing else to say, often enough', async () => {
    const world = await openWorld();
    const client = await world.connected(withHeartbeat(4));
    const seen: string[][] = [];
    for (let second = 0; second < 7; second++) {
      client.send(frame(8, 0, Buffer.alloc(0)));
      await world.clock.advance(1_000);
      seen.push(client.take());
    }
    expect(seen.flat().every((line) => line === 'heartbeat 0')).toBe(true);
    expect(seen.flat().length).toBeGreaterThanOrEqual(3);
    for (let second = 2; second < seen.length; second++) expect(seen.slice(second - 2, second + 1).flat()).not.toEqual([]);
  });

  it('cuts a client that is silent for two timeouts; any byte counts, and 0 turns it off', async () => {
    const world = await openWorld();
    const silent = await world.connected(withHeartbeat(4));
    const slow = await world.connected(withHeartbeat(4));
    const never = await world.connected(withHeartbeat(0));
    const declaring = method('queue.declare', { queue: 'q' });
    for (let second = 0; second < 9; second++) {
      slow.send(declaring.subarray(second, second + 1));
      await world.clock.advance(1_000);
    }
    expect([silent.isClosed, slow.isClosed, never.isClosed]).toEqual([true, false, false]);
    expect(never.take()).toEqual([]);
    expect(world.logged[0]).toContain('missed heartbeats');
  });

  it('does not take its own pause for the silence of a client', () => {
    const machine = { elapsedMs: 0, due: [] as { atMs: number; run: () => void }[] };
    const clock: Clock = {
      now: () => machine.elapsedMs,
      monotonicMs: () => machine.elapsedMs,
      after: (delayMs, run) => {
        machine.due.push({ atMs: machine.elapsedMs + delayMs, run });
        return { cancel: () => undefined };
      },
      defer: (run) => run(),
    };
    const line = { sentBytes: 0, receivedBytes: 0, isListening: true, sendHeartbeat: () => undefined, lost: () => void (isLost = true) };
    let isLost = false;
    new Heartbeat(clock, line).start(4);
    const look = (): void => machine.due.shift()!.run();
    for (let hour = 0; hour < 50; hour++) {
      machine.elapsedMs += 3_600_000; // the machine sleeps; what is due runs once it is awake, and only then can anything be read
      look();
      line.receivedBytes += 8;
    }
    expect(isLost).toBe(false);
    for (let looks = 0; looks < 7; looks++) look();
    line.isListening = false; // we do not read: silence proves nothing
    for (let looks = 0; looks < 50; looks++) look();
    expect(isLost).toBe(false);
    line.isListening = true;
    for (let looks = 0; looks < 8; looks++) look();
    expect(isLost).toBe(true);
  });
});

describe('back-pressure', () => {
  const large = publish({ routingKey: 'q' }, Buffer.alloc(20_000, 1));

  it('stops deliveries to a client that does not read, and goes on without a loss when it does', async () => {
    const world = await openWorld();
    const publisher = await world.connected(Buffer.concat([onChannel, declare]));
    const consumer = await world.connected(onChannel);
    consumer.isStalled = true;
    consumer.send(method('basic.consume', { queue: 'q', consumerTag: 'c', noAck: true }));
    for (let round = 0; round < 100; round++) publisher.send(large);
    await world.settle();
    expect(consumer.server.unsentBytes).toBeLessThan(400_000);
    const inQueue = method('queue.declare', { queue: 'q', passive: true });
    publisher.send(inQueue);
    await world.settle();
    expect(Number(/"messageCount":(\d+)/.exec(publisher.take().at(-1)!)![1])).toBeGreaterThan(80);
    consumer.unstall();
    await world.settle();
    const bodies = consumer.take().filter((line) => line.startsWith('body'));
    expect(bodies).toHaveLength(100);
  });

  it('gives up a client that reads nothing for half a minute: what it was given goes to others, first of all', async () => {
    const world = await openWorld();
    const consume = (tag: string) => method('basic.consume', { queue: 'q', consumerTag: tag });
    const stalled = await world.connected(Buffer.concat([onChannel, declare]));
    const slow = await world.connected(onChannel);
    for (const client of [stalled, slow]) {
      client.send(consume('c'));
      client.isStalled = true;
    }
    await world.settle();
    for (let round = 0; round < 200; round++) stalled.send(large);
    await world.settle();
    // The second one reads a little, ten seconds later.
    await world.clock.advance(10_000);
    slow.unstall();
    slow.isStalled = true;
    await world.clock.advance(19_000);
    expect(stalled.isClosed).toBe(false);
    await world.clock.advance(9000);
    expect([stalled.isClosed, slow.isClosed]).toEqual([true, false]);
    expect(world.logged.at(-1)).toBe('127.0.0.1:40000: client read nothing of what waits for it, timeout 30 s, closed');
    slow.unstall();
    const other = await world.connected(onChannel);
    other.send(consume('other'));
    await world.settle();
    slow.cut();
    await world.settle();
    const given = other.take().filter((line) => line.startsWith('basic.deliver'));
    expect(given).toHaveLength(200);
    expect(given[0]).toContain('"redelivered":true');
  });

  it('stops reading a client that asks and asks and never reads the answers', async () => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([onChannel, declare]));
    client.send(publish({ routingKey: 'q' }, Buffer.alloc(100_000)));
    client.isStalled = true;
    const asking = Buffer.concat([method('basic.get', { queue: 'q' }), method('basic.nack', { requeue: true, multiple: true })]);
    for (let round = 0; round < 200; round++) {
      client.send(asking);
      await world.settle();
    }
    expect(client.server.unsentBytes).toBeLessThan(6_000_000);
    expect(client.server.waitingBytes).toBeGreaterThan(0);
    client.unstall();
    await world.settle();
    client.unstall();
    for (let round = 0; round < 100 && client.server.waitingBytes > 0; round++) await world.settle();
    expect(client.server.waitingBytes).toBe(0);
    expect(client.take().filter((line) => line.startsWith('basic.get-ok'))).toHaveLength(200);
  });

  it('holds publishers back while memory is used up, tells them why, and lets them go on', async () => {
    const world = await openWorld({ limits: { memoryBytesMax: 3_000_000 } });
    const publisher = await world.connected(Buffer.concat([onChannel, declare]));
    const quiet = await world.connected(
      Buffer.concat([
        ourProtocolHeader,
        startOk({ clientProperties: {} }),
        tuneOk(),
        method('connection.open', { virtualHost: '/' }, 0),
        openChannel,
      ]),
    );
    const consumer = await world.connected(onChannel);
    for (let round = 0; round < 300; round++) {
      publisher.send(large);
      await world.settle();
    }
    expect(publisher.take()).toEqual([expect.stringMatching(/^connection\.blocked 0 \{"reason":".+"\}$/)]);
    expect(publisher.server.waitingBytes).toBeGreaterThan(0);
    quiet.send(publish({ routingKey: 'none' }, ''));
    await world.settle();
    expect(quiet.take()).toEqual([]);
    consumer.send(method('basic.consume', { queue: 'q', consumerTag: 'c', noAck: true }));
    await world.settle();
    expect(publisher.take()).toEqual(['connection.unblocked 0 {}']);
    expect(publisher.server.waitingBytes).toBe(0);
    await world.settle();
    expect(consumer.take().filter((line) => line.startsWith('body'))).toHaveLength(300);
  });
});

describe('durability', () => {
  it('answers pipelined definitions in order once they are durable, and lets nothing overtake them', async () => {
    const world = await openWorld({ durability: 'fsync' });
    const client = await world.connected(onChannel);
    const durable = (queue: string): Buffer => method('queue.declare', { queue, durable: true });
    client.send(
      durable('one'),
      durable('two'),
      method('queue.bind', { queue: 'two', exchange: 'amq.direct', routingKey: 'k' }),
      method('basic.consume', { queue: 'one', consumerTag: 'c' }),
      method('queue.declare', { queue: 'none', passive: true }),
    );
    await world.settle();
    expect(client.take()).toEqual([]);
    await world.clock.advance(10_000);
    const answered = client.take().map((line) => line.replace(/ .*"(queue|consumerTag|replyCode)":"?(\w+)"?.*/, ' $2'));
    expect(answered).toEqual([
      'queue.declare-ok one',
      'queue.declare-ok two',
      'queue.bind-ok 1 {}',
      'basic.consume-ok c',
      'channel.close 404',
    ]);
  });

  it('says a refusal behind the answers that wait, and swallows what comes after it', async () => {
    const world = await openWorld({ durability: 'fsync' });
    const client = await world.connected(onChannel);
    client.send(
      method('queue.declare', { queue: 'one', durable: true }),
      method('queue.bind', { queue: 'none', exchange: 'amq.direct' }),
      method('queue.declare', { queue: 'two' }),
    );
    await world.clock.advance(10_000);
    expect(client.take().map((line) => line.split(' ')[0])).toEqual(['queue.declare-ok', 'channel.close']);
  });

  it('confirms a persistent message after its commit, and then all of the batch at once', async () => {
    const world = await openWorld({ durability: 'fsync' });
    const client = await world.connected(Buffer.concat([onChannel, method('queue.declare', { queue: 'd', durable: true })]));
    await world.clock.advance(10_000);
    client.take();
    client.send(method('confirm.select'));
    for (let round = 0; round < 5; round++) client.send(publish({ routingKey: 'd' }, 'x', { deliveryMode: 2 }));
    await world.settle();
    expect(client.take()).toEqual(['confirm.select-ok 1 {}']);
    await world.clock.advance(10_000);
    expect(client.take()).toEqual(['basic.ack 1 {"deliveryTag":5,"multiple":true}']);
    client.send(publish({ routingKey: 'd' }, 'x', { deliveryMode: 2 }));
    await world.clock.advance(10_000);
    expect(client.take()).toEqual(['basic.ack 1 {"deliveryTag":6,"multiple":false}']);
  });
});

describe('the end of a connection', () => {
  const body = (client: ScriptedClient): string[] => client.take().filter((line) => /^(basic\.deliver|body)/.test(line));

  it('gives back what was not acknowledged, marked as redelivered, however the connection ends', async () => {
    for (const end of ['close', 'cut', 'error'] as const) {
      const world = await openWorld();
      const first = await world.connected(Buffer.concat([onChannel, declare, publish({ routingKey: 'q' }, 'm'), consume]));
      if (end === 'cut') first.cut();
      else first.send(end === 'close' ? method('connection.close', {}, 0) : method('queue.declare', {}, 0));
      const second = await world.connected(onChannel);
      second.send(consume);
      await world.settle();
      expect(body(second)).toEqual([
        'basic.deliver 1 {"consumerTag":"c","deliveryTag":1,"redelivered":true,"exchange":"","routingKey":"q"}',
        'body 1 1 m',
      ]);
    }
  });

  it('takes exclusive queues away before it says close-ok', async () => {
    const world = await openWorld();
    const owner = await world.connected(Buffer.concat([onChannel, method('queue.declare', { queue: 'mine', exclusive: true })]));
    const other = await world.connected(onChannel);
    other.send(method('queue.declare', { queue: 'mine' }));
    await world.settle();
    expect(other.take()[0]).toContain('"replyCode":405');
    owner.send(method('connection.close', {}, 0));
    expect([...world.storage.host.queues]).toHaveLength(0);
  });

  it('is announced to every client when the server closes; those that do not answer are cut', async () => {
    const world = await openWorld();
    const [polite, deaf, new_] = [await world.connected(handshake), await world.connected(handshake), world.client()];
    const closing = world.server.close({ drainMs: 1_000 });
    await world.settle();
    expect(new_.isClosed).toBe(true);
    const forced = `connection.close 0 {"replyCode":320,"replyText":"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'","failedClass":0,"failedMethod":0}`;
    expect(polite.take()).toEqual([forced]);
    polite.send(method('connection.close-ok', {}, 0));
    expect([polite.isClosed, deaf.isClosed]).toEqual([true, false]);
    await world.clock.drive(closing);
    expect(deaf.isClosed).toBe(true);
    expect(world.server.connections).toEqual([]);
  });

  it('is seen by whoever looks at the connections', async () => {
    const world = await openWorld();
    const client = world.client();
    client.send(
      ourProtocolHeader,
      startOk({ clientProperties: { connection_name: 'orders' } }),
      tuneOk(),
      method('connection.open', { virtualHost: '/' }, 0),
      openChannel,
    );
    expect(world.server.connections).toMatchObject([
      { name: '127.0.0.1:40000 -> 127.0.0.1:5672', user: 'guest', virtualHost: '/', state: 'running', channels: [{ number: 1 }] },
    ]);
    expect(world.server.connections[0]!.clientProperties).toEqual({ connection_name: 'orders' });
    client.cut();
    expect(world.server.connections).toEqual([]);
  });
});

describe('channels', () => {
  it('open and close a thousand times, under the same number and under many', async () => {
    const world = await openWorld();
    const client = await world.connected(handshake);
    const steps: Buffer[] = [];
    for (let round = 0; round < 1_000; round++) steps.push(method('channel.open', {}, 1), method('channel.close', {}, 1));
    for (let channel = 1; channel <= 2_047; channel++) steps.push(method('channel.open', {}, channel * 32));
    client.send(...steps);
    await world.settle();
    expect(client.take()).toHaveLength(2_000 + 2_047);
    expect(world.server.connections[0]!.channels).toHaveLength(2_047);
  });

  it('deliver to prefetch and no further, count tags over all consumers, and share what is global', async () => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([onChannel, declare]));
    const many = Array.from({ length: 10 }, (_, index) => publish({ routingKey: 'q' }, `m${index}`));
    client.send(...many, method('basic.qos', { prefetchCount: 2 }), consume, method('basic.consume', { queue: 'q', consumerTag: 'd' }));
    await world.settle();
    const tags = (): string[] =>
      client.take().flatMap((line) => /"consumerTag":"(.)","deliveryTag":(\d+)/.exec(line)?.slice(1, 3).join('') ?? []);
    expect(tags()).toEqual(['c1', 'd2', 'c3', 'd4']);
    client.send(method('basic.ack', { deliveryTag: 2, multiple: true }));
    await world.settle();
    expect(tags()).toEqual(['c5', 'd6']);
    client.send(method('basic.qos', { prefetchCount: 3, isGlobal: true }), method('basic.ack', { deliveryTag: 0, multiple: true }));
    await world.settle();
    expect(tags()).toEqual(['c7', 'd8', 'c9']);
  });
});
