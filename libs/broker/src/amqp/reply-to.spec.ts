import { afterEach, describe, expect, it } from '@jest/globals';
import { decodeProperties } from '../queues/properties.js';
import { AmqpWorld, converse } from './amqp-world.js';
import { replyConversations } from './reply-conversations.js';
import { handshake, method, openChannel, publish, type ScriptedClient } from './scripted-client.js';

const worlds: AmqpWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

const onChannel = Buffer.concat([handshake, openChannel]);
const askReplies = method('basic.consume', { queue: 'amq.rabbitmq.reply-to', consumerTag: 'replies', noAck: true, noWait: true });
const request = publish({ routingKey: 'work' }, 'question', {
  replyTo: 'amq.rabbitmq.reply-to',
  correlationId: '7',
  headers: { BCC: [], a: 1 },
});
const takeRequest = method('basic.get', { queue: 'work', noAck: true });

/** A requester that has asked, a responder, and the name that the responder was given. */
async function ask(): Promise<{ world: AmqpWorld; requester: ScriptedClient; responder: ScriptedClient; name: string }> {
  const world = await AmqpWorld.open();
  worlds.push(world);
  const responder = await world.connected(Buffer.concat([onChannel, method('queue.declare', { queue: 'work' })]));
  const requester = await world.connected(Buffer.concat([onChannel, askReplies, request]));
  responder.send(takeRequest);
  await world.settle();
  const header = Buffer.from(
    responder
      .take()
      .find((line) => line.startsWith('header '))!
      .split(' ')[2]!,
    'hex',
  );
  const { replyTo, ...others } = decodeProperties(header, 12, header.length);
  expect(others).toEqual({ correlationId: '7', headers: { a: 1 } });
  return { world, requester, responder, name: replyTo! };
}

const is = (queue: string): Buffer => method('queue.declare', { queue, passive: true });
const isThere = (queue: string): string => `queue.declare-ok 1 ${JSON.stringify({ queue, messageCount: 0, consumerCount: 1 })}`;
const notThere = (queue: string): string =>
  `channel.close 1 ${JSON.stringify({ replyCode: 404, replyText: `NOT_FOUND - no queue '${queue}' in vhost '/'`, failedClass: 50, failedMethod: 10 })}`;

describe('direct reply-to', () => {
  it.each(replyConversations)('%s, as with a RabbitMQ 4.0.5', async (_name, said, answered) => {
    expect((await converse([onChannel, ...said])).slice(4)).toEqual(answered);
  });

  it('leads a reply to who asked, by a name of its own that says nothing', async () => {
    const { world, requester, responder, name } = await ask();
    expect(name).toMatch(/^amq\.rabbitmq\.reply-to\.[\w-]{32}$/);
    responder.send(is(name), publish({ routingKey: name, mandatory: true }, 'answer', { correlationId: '7', deliveryMode: 2 }));
    responder.send(publish({ routingKey: 'none' }, 'by CC', { headers: { CC: [name] } }));
    await world.settle();
    expect(responder.take()).toEqual([isThere(name)]);
    const deliveries = requester.take().filter((line) => !line.startsWith('header'));
    const delivered = (deliveryTag: number, routingKey: string): string =>
      `basic.deliver 1 ${JSON.stringify({ consumerTag: 'replies', deliveryTag, redelivered: false, exchange: '', routingKey })}`;
    expect(deliveries).toEqual([delivered(1, name), 'body 1 6 answer', delivered(2, 'none'), 'body 1 5 by CC']);
  });

  it('gives each requester another name', async () => {
    const { world, name } = await ask();
    const other = await world.connected(Buffer.concat([onChannel, askReplies, request]));
    const taker = await world.connected(onChannel);
    taker.send(takeRequest);
    await world.settle();
    expect(taker.take().join()).toMatch(/basic.get-ok/);
    expect(other.take()).toEqual([]);
    expect([...world.storage.host.queues].map((queue) => queue.name)).toEqual(['work']);
    taker.send(publish({ routingKey: name }, 'for the first'));
    await world.settle();
    expect(other.take()).toEqual([]);
  });

  it.each([
    ['cancels', method('basic.cancel', { consumerTag: 'replies', noWait: true })],
    ['closes its channel', method('channel.close', {})],
    ['is gone', undefined],
  ])('returns a reply where the requester %s', async (_how, said) => {
    const { world, requester, responder, name } = await ask();
    // The way is known to the server by now, and must be forgotten.
    const reply = publish({ routingKey: name, mandatory: true }, 'answer');
    responder.send(reply);
    if (said === undefined) requester.cut();
    else requester.send(said);
    await world.settle();
    responder.take();
    responder.send(reply, is(name));
    await world.settle();
    expect(responder.take()).toEqual([
      `basic.return 1 ${JSON.stringify({ replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: name })}`,
      'header 1 003c000000000000000000060000',
      'body 1 6 answer',
      notThere(name),
    ]);
    expect(world.storage.arena.bytesInUse).toBeLessThanOrEqual(1024 * 1024);
  });

  it('is closed to everybody else: nobody consumes, gets, binds or purges it', async () => {
    for (const theft of ['basic.consume', 'basic.get', 'queue.bind', 'queue.purge'] as const) {
      const { world, responder, name } = await ask();
      responder.send(method(theft, { queue: name, exchange: 'amq.direct' } as never));
      await world.settle();
      expect(responder.take().join()).toContain(`NOT_FOUND - no queue '${name}' in vhost '/'`);
    }
  });

  it('begins again with another name after a cancel', async () => {
    const { world, requester, responder, name } = await ask();
    requester.send(method('basic.cancel', { consumerTag: 'replies', noWait: true }), request);
    await world.settle();
    expect(requester.take().join()).toContain('fast reply consumer does not exist');
    requester.send(method('channel.close-ok'), openChannel, askReplies, request);
    responder.send(takeRequest);
    await world.settle();
    const answered = responder.take().join();
    expect(answered).toContain(Buffer.from('amq.rabbitmq.reply-to.').toString('hex'));
    expect(answered).not.toContain(Buffer.from(name).toString('hex'));
  });
});
