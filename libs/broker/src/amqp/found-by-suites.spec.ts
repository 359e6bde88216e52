import { afterEach, describe, expect, it } from '@jest/globals';
import { AmqpWorld } from './amqp-world.js';
import { frame, handshake, header, method, open, openChannel, publish, type ScriptedClient, startOk, tuneOk } from './scripted-client.js';
import { ourProtocolHeader } from './protocol-header.js';

/**
 * What the test suites of other clients found, each said to a RabbitMQ 4.0.5 as well: there an answer is what a client's own tests
 * wait for. SUPPORT.md lists the suites.
 */
const onChannel = Buffer.concat([handshake, openChannel]);
const worlds: AmqpWorld[] = [];

afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()));
});

async function openWorld(options: Parameters<typeof AmqpWorld.open>[0] = {}): Promise<AmqpWorld> {
  const world = await AmqpWorld.open(options);
  worlds.push(world);
  return world;
}

/** A client on a disk that takes its time, with a durable queue `d`. */
async function withDurableQueue(): Promise<{ world: AmqpWorld; client: ScriptedClient }> {
  const world = await openWorld({ durability: 'fsync' });
  const client = await world.connected(Buffer.concat([onChannel, method('queue.declare', { queue: 'd', durable: true })]));
  await world.clock.advance(10_000);
  client.take();
  return { world, client };
}

const persistent = (text: string, routingKey = 'd'): Buffer => publish({ routingKey }, text, { deliveryMode: 2 });
const names = (lines: readonly string[]): string[] => lines.map((line) => line.split(' ')[0]!);

/** As a RabbitMQ 4.0.5 does it, which random commands found. */
describe('a limit for the whole channel', () => {
  it('is over when one for each consumer is set', async () => {
    const world = await openWorld();
    const declare = method('queue.declare', { queue: 'q' });
    const client = await world.connected(
      Buffer.concat([handshake, openChannel, declare, method('basic.qos', { prefetchCount: 1, isGlobal: true })]),
    );
    client.send(
      method('basic.consume', { queue: 'q', consumerTag: 'c' }),
      ...['1', '2', '3'].map((body) => publish({ routingKey: 'q' }, body)),
    );
    await world.settle();
    const given = (): number => client.take().filter((line) => line.startsWith('basic.deliver')).length;
    expect(given()).toBe(1);
    client.send(method('basic.qos', { prefetchCount: 1 }));
    await world.settle();
    expect(given()).toBe(2);
  });
});

describe('a look into a queue', () => {
  it.each([
    ['basic.get', method('basic.get', { queue: 'd' }), /^basic\.get-ok .*"messageCount":0/],
    ['a passive declare', method('queue.declare', { queue: 'd', passive: true }), /^queue\.declare-ok .*"messageCount":1/],
    ['a declare of the same', method('queue.declare', { queue: 'd', durable: true }), /^queue\.declare-ok .*"messageCount":1/],
    ['a purge', method('queue.purge', { queue: 'd' }), /^queue\.purge-ok .*"messageCount":1/],
    ['a deletion if empty', method('queue.delete', { queue: 'd', ifEmpty: true }), /^channel\.close .*not empty/],
    ['a look at the last queue by the empty name', method('basic.get', {}), /^basic\.get-ok /],
  ])('sees what was published before it and is on its way to the disk: %s', async (_name, look, seen) => {
    const { world, client } = await withDurableQueue();
    client.send(persistent('m'), look);
    await world.settle();
    expect(client.take()).toEqual([]);
    await world.clock.advance(10_000);
    expect(client.take()[0]).toMatch(seen);
  });

  it('waits for one commit, also while others go on publishing', async () => {
    const { world, client } = await withDurableQueue();
    const other = await world.connected(onChannel);
    client.send(persistent('mine'), method('basic.get', { queue: 'd' }));
    let answered: string[] = [];
    for (let step = 0; step < 100 && answered.length === 0; step++) {
      other.send(persistent('another'));
      await world.clock.advance(1);
      answered = client.take();
    }
    expect(names(answered)).toEqual(['basic.get-ok', 'header', 'body']);
  });

  it('holds nothing up where nothing is on its way', async () => {
    const { world, client } = await withDurableQueue();
    client.send(persistent('m'), method('basic.get', { queue: 'none', noAck: true }));
    await world.settle();
    expect(names(client.take())).toEqual(['channel.close']);
  });

  it('finds what consumers have left', async () => {
    const { world, client } = await withDurableQueue();
    client.send(method('basic.qos', { prefetchCount: 1 }), method('basic.consume', { queue: 'd', consumerTag: 'c' }));
    client.send(persistent('first'), persistent('second'), method('basic.get', { queue: 'd' }));
    await world.clock.advance(10_000);
    const lines = client.take().filter((line) => /^(basic\.(deliver|get)|body)/.test(line));
    expect(lines.map((line) => line.replace(/ \{.*/, ''))).toEqual([
      'basic.deliver 1',
      'body 1 5 first',
      'basic.get-ok 1',
      'body 1 6 second',
    ]);
  });
});

describe('a consumer whose queue is deleted', () => {
  it('hears of it with delete-ok and not before: a client that closes at once must not be left waiting', async () => {
    const { world, client } = await withDurableQueue();
    client.send(method('basic.consume', { queue: 'd', consumerTag: 'c' }), method('queue.delete', { queue: 'd' }));
    await world.settle();
    expect(names(client.take())).toEqual(['basic.consume-ok']);
    await world.clock.advance(10_000);
    expect(names(client.take())).toEqual(['basic.cancel', 'queue.delete-ok']);
  });
});

describe('a message that lives for no time', () => {
  it('is over when it comes back', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(
      method('queue.declare', { queue: 'z', arguments: { 'x-message-ttl': 0 } }),
      method('basic.consume', { queue: 'z', consumerTag: 'c' }),
      publish({ routingKey: 'z' }, 'once'),
    );
    await world.settle();
    expect(names(client.take())).toEqual(['queue.declare-ok', 'basic.consume-ok', 'basic.deliver', 'header', 'body']);
    client.send(method('basic.reject', { deliveryTag: 1, requeue: true }), method('queue.declare', { queue: 'z', passive: true }));
    await world.settle();
    expect(client.take()).toEqual(['queue.declare-ok 1 {"queue":"z","messageCount":0,"consumerCount":1}']);
  });
});

describe('one limit for all consumers of a channel', () => {
  /** The bodies that the client has got since. */
  const bodies = (client: ScriptedClient): string[] =>
    client.take().flatMap((line) => (line.startsWith('body') ? line.split(' ').slice(3) : []));

  it('is kept also by those that acknowledge nothing', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(
      method('queue.declare', { queue: 'a' }),
      method('queue.declare', { queue: 'b' }),
      method('basic.qos', { prefetchCount: 1, isGlobal: true }),
      method('basic.consume', { queue: 'a', consumerTag: 'a' }),
      publish({ routingKey: 'a' }, 'a1'),
    );
    await world.settle();
    client.send(method('basic.consume', { queue: 'b', consumerTag: 'b', noAck: true }), publish({ routingKey: 'b' }, 'b1'));
    await world.settle();
    expect(bodies(client)).toEqual(['a1']);
    client.send(method('basic.ack', { deliveryTag: 1 }));
    await world.settle();
    expect(bodies(client)).toEqual(['b1']);
  });

  it('does not count what was fetched', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(method('queue.declare', { queue: 'a' }), publish({ routingKey: 'a' }, 'fetched'), method('basic.get', { queue: 'a' }));
    client.send(method('basic.qos', { prefetchCount: 1, isGlobal: true }), method('basic.consume', { queue: 'a', consumerTag: 'a' }));
    client.send(publish({ routingKey: 'a' }, 'first'), publish({ routingKey: 'a' }, 'second'));
    await world.settle();
    expect(bodies(client)).toEqual(['fetched', 'first']);
    client.send(method('basic.ack', { deliveryTag: 1 }));
    await world.settle();
    expect(bodies(client)).toEqual([]);
    client.send(method('basic.ack', { deliveryTag: 2 }));
    await world.settle();
    expect(bodies(client)).toEqual(['second']);
  });

  it('goes round the queues', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(method('basic.qos', { prefetchCount: 1, isGlobal: true }));
    for (const queue of ['a', 'b', 'c']) {
      client.send(method('queue.declare', { queue }));
      for (let count = 0; count < 20; count++) client.send(publish({ routingKey: queue }, queue));
    }
    for (const queue of ['a', 'b', 'c']) client.send(method('basic.consume', { queue, consumerTag: queue }));
    const got: string[] = [];
    for (let tag = 1; tag <= 12; tag++) {
      await world.settle();
      got.push(...bodies(client));
      client.send(method('basic.ack', { deliveryTag: tag }));
    }
    expect(got).toHaveLength(12);
    for (const queue of ['a', 'b', 'c']) expect(got.filter((body) => body === queue).length).toBeGreaterThanOrEqual(3);
  });
});

describe('an exclusive queue', () => {
  it('is the same whether it was declared as durable or not', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(
      method('queue.declare', { queue: 'e', exclusive: true, durable: true }),
      method('queue.declare', { queue: 'e', exclusive: true }),
    );
    await world.settle();
    expect(names(client.take())).toEqual(['queue.declare-ok', 'queue.declare-ok']);
  });
});

describe('unusual clients', () => {
  const declare = method('queue.declare', { queue: 'u' });
  const get = method('basic.get', { queue: 'u', noAck: true });
  const ofContent = (lines: readonly string[]): string[] => lines.filter((line) => /^(header|body|connection)/.test(line));

  it('get messages in frames as small as they asked for, and may miscount by the eight bytes of a frame', async () => {
    const world = await openWorld();
    const client = await world.connected(
      Buffer.concat([ourProtocolHeader, startOk(), tuneOk({ frameMax: 4096 }), open, openChannel, declare]),
    );
    client.send(publish({ routingKey: 'u' }, 'x'.repeat(4089), {}, { bodyFrameBytes: 4089 }), get);
    await world.settle();
    expect(ofContent(client.take())).toEqual(['header 1 003c00000000000000000ff90000', 'body 1 4088 xxxxxxxxxxxx', 'body 1 1 x']);
  });

  it('may send empty frames within a body, but none behind it', async () => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([onChannel, declare]));
    const piece = (text: string): Buffer => frame(3, 1, Buffer.from(text));
    client.send(method('basic.publish', { routingKey: 'u' }), header(2), piece(''), piece('a'), piece(''), piece('b'), get);
    await world.settle();
    expect(ofContent(client.take())).toEqual(['header 1 003c000000000000000000020000', 'body 1 2 ab']);
    client.send(publish({ routingKey: 'u' }, ''), piece(''));
    await world.settle();
    expect(client.take().join()).toContain('UNEXPECTED_FRAME - expected method frame, got non method frame instead');
  });

  it('get back what they put into a message, whatever it is', async () => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([onChannel, declare]));
    client.send(
      method('basic.publish', { routingKey: 'u' }),
      header(1, {}, { rest: Buffer.from([0x10, 0, 0]) }), // delivery-mode 0
      frame(3, 1, Buffer.from('a')),
      get,
      publish({ routingKey: 'u' }, 'b', { headers: { long: 'y'.repeat(60_000) } }),
      get,
    );
    await world.settle();
    const [plain, , large] = ofContent(client.take());
    expect(plain).toBe('header 1 003c00000000000000000001100000');
    expect(large).toHaveLength('header 1 '.length + 2 * (14 + 4 + 5 + 1 + 4 + 60_000));
  });

  it('may ask for what is done already, or for nothing', async () => {
    const world = await openWorld();
    const client = await world.connected(onChannel);
    client.send(
      method('basic.ack', { deliveryTag: 0, multiple: true }),
      method('basic.nack', { deliveryTag: 0, multiple: true }),
      method('basic.cancel', { consumerTag: 'none', noWait: true }),
      method('basic.cancel', { consumerTag: 'none' }),
      method('queue.delete', { queue: 'none' }),
      method('exchange.delete', { exchange: 'none' }),
      method('confirm.select'),
      method('confirm.select'),
    );
    await world.settle();
    expect(names(client.take())).toEqual([
      'basic.cancel-ok',
      'queue.delete-ok',
      'exchange.delete-ok',
      'confirm.select-ok',
      'confirm.select-ok',
    ]);
  });
});
