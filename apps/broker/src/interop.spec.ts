/**
 * A client that knows nothing of us against the daemon: amqplib, with a user of its own, over every feature that a client can see.
 *
 * amqplib turns Nagle's algorithm on unless it is told otherwise; without `noDelay` each connection waits 40 ms for an acknowledgement.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Channel, type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage, type Message } from 'amqplib';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';
import { RawClient } from './raw-client.js';

let daemon: DaemonProcess;
let url: string;
const open: ChannelModel[] = [];

beforeAll(async () => {
  daemon = await DaemonProcess.listening(['--data', temporaryFolder(), '--amqp-port', '0', '--durability', 'os', '--user', 'ann:a secret']);
  url = `amqp://ann:a%20secret@127.0.0.1:${daemon.port}`;
});
afterEach(async () => {
  for (const connection of open.splice(0)) await connection.close().catch(() => undefined);
});
afterAll(cleanUp);

describe('amqplib', () => {
  it('publishes and consumes through a direct exchange, prefetch 1, with acknowledgements', async () => {
    const channel = await openChannel();
    await channel.assertExchange('test_exchange', 'direct');
    await channel.assertQueue('test_queue');
    await channel.bindQueue('test_queue', 'test_exchange', 'test');
    await channel.prefetch(1);
    for (let number = 0; number < 100; number++) channel.publish('test_exchange', 'test', Buffer.from(`${number}`), { persistent: true });
    channel.publish('test_exchange', 'elsewhere', Buffer.from('not for this queue'));
    await channel.waitForConfirms();
    const seen: number[] = [];
    let inHand = 0;
    await new Promise<void>((resolve) => {
      void channel.consume('test_queue', (message) => {
        expect(++inHand).toBe(1);
        seen.push(Number(message!.content.toString()));
        setImmediate(() => {
          inHand--;
          channel.ack(message!);
          if (seen.length === 100) resolve();
        });
      });
    });
    expect(seen).toEqual(Array.from({ length: 100 }, (_, number) => number));
    expect(await channel.checkQueue('test_queue')).toMatchObject({ consumerCount: 1, messageCount: 0 });
  });

  it('routes by fanout and topic exchanges', async () => {
    const channel = await openChannel();
    await channel.assertExchange('everyone', 'fanout');
    await channel.assertExchange('by-topic', 'topic');
    for (const [queue, pattern] of [
      ['all', '#'],
      ['one', 'a.*'],
      ['none', 'b.#'],
    ] as const) {
      await channel.assertQueue(queue);
      await channel.bindQueue(queue, 'everyone', '');
      await channel.bindQueue(queue, 'by-topic', pattern);
    }
    channel.publish('everyone', 'any', Buffer.from('1'));
    channel.publish('by-topic', 'a.b', Buffer.from('2'));
    await channel.waitForConfirms();
    const counts = await Promise.all(['all', 'one', 'none'].map(async (queue) => (await channel.checkQueue(queue)).messageCount));
    expect(counts).toEqual([2, 2, 1]);
  });

  it('gets back what nobody wanted when it is mandatory, before the confirm', async () => {
    const channel = await openChannel();
    const order: string[] = [];
    channel.on('return', (message: Message) => order.push(`return ${message.fields.routingKey} ${message.content.toString()}`));
    channel.publish('', 'no such queue', Buffer.from('hello'), { mandatory: true }, () => order.push('confirm'));
    await channel.waitForConfirms();
    expect(order).toEqual(['return no such queue hello', 'confirm']);
  });

  it('gets what was in hand again, flagged and in order, when the connection drops', async () => {
    const dropping = await connect(url, { noDelay: true });
    dropping.on('error', () => undefined);
    const channel = await dropping.createConfirmChannel();
    await channel.assertQueue('dropped');
    for (const text of ['1', '2', '3', '4']) channel.sendToQueue('dropped', Buffer.from(text));
    await channel.waitForConfirms();
    const [one] = [await channel.get('dropped'), await channel.get('dropped'), await channel.get('dropped')];
    channel.ack(one as Message);
    await channel.checkQueue('dropped'); // behind it the acknowledgement has arrived
    (dropping.connection as unknown as { readonly stream: Socket }).stream.destroy(new Error('the network went away'));
    const after = await take(await openChannel(), 'dropped', 3);
    expect(after.map(({ content, fields }) => [content.toString(), fields.redelivered])).toEqual([
      ['2', true],
      ['3', true],
      ['4', false],
    ]);
  });

  it('requeues what is rejected in its old place, and drops what must not come back', async () => {
    const channel = await openChannel();
    await channel.assertQueue('rejected');
    for (const text of ['1', '2', '3']) channel.sendToQueue('rejected', Buffer.from(text));
    await channel.waitForConfirms();
    const [one, two] = [await channel.get('rejected'), await channel.get('rejected')];
    channel.nack(two as Message, false, false);
    channel.nack(one as Message, false, true);
    const left = await take(channel, 'rejected', 2);
    expect(left.map(({ content, fields }) => [content.toString(), fields.redelivered])).toEqual([
      ['1', true],
      ['3', false],
    ]);
  });

  it('hears that its queue is gone', async () => {
    const channel = await openChannel();
    await channel.assertQueue('going');
    const cancelled = new Promise((resolve) => void channel.consume('going', resolve));
    await (await openChannel()).deleteQueue('going');
    expect(await cancelled).toBeNull();
  });

  it('keeps an exclusive queue to one connection, and loses it with that', async () => {
    const owner = await openConnection();
    await (await owner.createChannel()).assertQueue('mine', { exclusive: true });
    await expect(refusal(await openChannel(), (channel) => channel.checkQueue('mine'))).resolves.toMatchObject({ code: 405 });
    await owner.close();
    await expect(refusal(await openChannel(), (channel) => channel.checkQueue('mine'))).resolves.toMatchObject({ code: 404 });
  });

  it.each(['ann:wrong', 'nobody:a%20secret', 'guest:guest'])('is refused as %s', async (login) => {
    await expect(connect(`amqp://${login}@127.0.0.1:${daemon.port}`, { noDelay: true })).rejects.toThrow(/403.*ACCESS[_-]REFUSED/);
  });

  it('is refused a virtual host that is not there', async () => {
    await expect(connect(`${url}/elsewhere`, { noDelay: true })).rejects.toThrow('got <ConnectionClose');
  });

  it.each([
    ['an unknown queue', 404, "NOT_FOUND - no queue 'nothing' in vhost '/'", (channel: Channel) => channel.checkQueue('nothing')],
    ['an unknown exchange', 404, "NOT_FOUND - no exchange 'nothing' in vhost '/'", (channel: Channel) => channel.checkExchange('nothing')],
    [
      'a queue of another shape',
      406,
      "PRECONDITION_FAILED - inequivalent arg 'durable'",
      async (channel: Channel) => {
        await channel.assertQueue('shape');
        await channel.assertQueue('shape', { durable: false });
      },
    ],
    [
      'an unknown type of exchange',
      406,
      "PRECONDITION_FAILED - unknown exchange type 'wheel'",
      (channel: Channel) => channel.assertExchange('x', 'wheel'),
    ],
    [
      'a reserved name',
      403,
      "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix",
      (channel: Channel) => channel.assertQueue('amq.mine'),
    ],
    [
      'the default exchange',
      403,
      'ACCESS_REFUSED - operation not permitted on the default exchange',
      async (channel: Channel) => {
        await channel.assertQueue('shape');
        await channel.bindQueue('shape', '', 'x');
      },
    ],
  ])('has its channel closed for %s, and goes on with another', async (_, code, text, ask) => {
    const connection = await openConnection();
    await expect(refusal(await connection.createChannel(), ask)).resolves.toMatchObject({ code, message: expect.stringContaining(text) });
    await (await connection.createChannel()).assertQueue('shape');
  });

  it('asks and is answered through direct reply-to', async () => {
    const [server, client] = [await openChannel(), await openChannel()];
    await server.assertQueue('double', { exclusive: true });
    await server.consume('double', (message) => {
      const { replyTo, correlationId } = message!.properties as { replyTo: string; correlationId: string };
      server.sendToQueue(replyTo, Buffer.from(`${Number(message!.content.toString()) * 2}`), { correlationId });
      server.ack(message!);
    });
    const answers = new Map<string, string>();
    await new Promise<void>((resolve) => {
      const take = (message: ConsumeMessage | null): void => {
        answers.set(String(message!.properties.correlationId), message!.content.toString());
        if (answers.size === 20) resolve();
      };
      void client.consume('amq.rabbitmq.reply-to', take, { noAck: true }).then(() => {
        for (let number = 0; number < 20; number++) {
          client.sendToQueue('double', Buffer.from(`${number}`), { replyTo: 'amq.rabbitmq.reply-to', correlationId: `c${number}` });
        }
      });
    });
    for (let number = 0; number < 20; number++) expect(answers.get(`c${number}`)).toBe(`${number * 2}`);
  });

  it('routes by headers, through other exchanges, and to an alternate', async () => {
    const channel = await openChannel();
    await channel.assertExchange('strays', 'fanout', { internal: true });
    await channel.assertExchange('by-header', 'headers', { alternateExchange: 'strays' });
    await channel.assertExchange('front', 'fanout');
    await channel.bindExchange('by-header', 'front', '');
    for (const queue of ['prints', 'stray']) await channel.assertQueue(queue, { exclusive: true });
    await channel.bindQueue('prints', 'by-header', '', { 'x-match': 'all', format: 'pdf', pages: 2 });
    await channel.bindQueue('stray', 'strays', '');
    channel.publish('front', '', Buffer.from('printed'), { headers: { format: 'pdf', pages: 2, more: true } });
    channel.publish('front', '', Buffer.from('astray'), { headers: { format: 'pdf', pages: 3 } });
    channel.publish('front', '', Buffer.from('copied'), { CC: ['ignored'], BCC: ['ignored too'] });
    await channel.waitForConfirms();
    expect((await take(channel, 'prints', 1)).map(({ content }) => content.toString())).toEqual(['printed']);
    expect((await take(channel, 'stray', 2)).map(({ content }) => content.toString())).toEqual(['astray', 'copied']);
  });

  it('has its connection closed for what is not built, with a sentence', async () => {
    const connection = await openConnection();
    const closed = once(connection, 'error');
    const channel = await connection.createChannel();
    channel.on('error', () => undefined);
    channel.assertQueue('later', { durable: true, arguments: { 'x-queue-type': 'stream' } }).catch(() => undefined);
    const [error] = (await closed) as [Error & { code: number }];
    expect(error).toMatchObject({ code: 540, message: expect.stringMatching(/NOT_IMPLEMENTED - x-queue-type 'stream'/) });
  });

  it.each([
    ['empty', 0],
    ['of one byte', 1],
    ['that fills a frame', 131_064],
    ['of one byte more', 131_065],
    ['of three frames', 300_000],
    ['of 10 MB', 10_000_000],
  ])('gets a body %s back as it was', async (_, length) => {
    const channel = await openChannel();
    await channel.assertQueue('bodies');
    const body = Buffer.alloc(length, Buffer.from('abcdefghijklmnopqrstuvwxyz0123456789'));
    channel.sendToQueue('bodies', body, { persistent: true });
    await channel.waitForConfirms();
    const message = (await channel.get('bodies', { noAck: true })) as Message;
    expect(message.content.equals(body)).toBe(true);
  });

  it('is refused a body above 16 MiB, with its channel', async () => {
    const connection = await openConnection();
    const channel = await connection.createConfirmChannel();
    const closed = once(channel, 'error');
    await channel.assertQueue('bodies');
    channel.sendToQueue('bodies', Buffer.alloc(16 * 1024 * 1024 + 1));
    const [error] = await closed;
    expect(error).toMatchObject({ code: 406, message: expect.stringContaining('larger than configured max size 16777216') });
    await connection.createChannel(); // under the number that was closed
  });

  it('gets properties and headers of every type back as they were', async () => {
    const channel = await openChannel();
    await channel.assertQueue('headers');
    const properties = {
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: 7,
      correlationId: 'correlation',
      replyTo: 'answers',
      messageId: 'message-1',
      timestamp: 1_700_000_000,
      type: 'greeting',
      userId: 'ann',
      appId: 'interop',
      clusterId: undefined,
      expiration: undefined,
    };
    const headers = {
      text: 'grüße',
      whole: 42,
      large: 2 ** 40,
      negative: -5,
      fraction: 1.5,
      yes: true,
      no: false,
      nothing: null,
      list: [1, 'two', { three: 3 }],
      table: { deeper: { still: 'here' } },
      bytes: Buffer.from([0, 255]),
    };
    channel.publish('', 'headers', Buffer.from('x'), { ...properties, headers });
    const [message] = await take(channel, 'headers', 1);
    expect(message!.properties).toEqual({ ...properties, headers });
  });

  it('keeps an idle connection by heartbeats, while a client that sends none is cut', async () => {
    const connection = await openConnection('?heartbeat=1');
    let failure: Error | undefined;
    connection.on('error', (error: Error) => (failure = error));
    const silent = await RawClient.open(daemon.port, { heartbeatS: 1, user: 'ann', password: 'a secret' });
    await silent.closed(); // amqplib was idle for longer than this, and would itself have given up without heartbeats of ours
    await (await connection.createChannel()).assertQueue('alive');
    expect(failure).toBeUndefined();
  });
});

async function openConnection(query = ''): Promise<ChannelModel> {
  const connection = await connect(url + query, { noDelay: true });
  connection.on('error', () => undefined);
  open.push(connection);
  return connection;
}

async function openChannel(): Promise<ConfirmChannel> {
  return (await openConnection()).createConfirmChannel();
}

/** The next messages of a queue, acknowledged. */
async function take(channel: Channel, queue: string, count: number): Promise<ConsumeMessage[]> {
  const taken: ConsumeMessage[] = [];
  return new Promise((resolve, reject) => {
    const take1 = (message: ConsumeMessage | null): void => {
      if (message === null) return reject(new Error('cancelled'));
      taken.push(message);
      channel.ack(message);
      if (taken.length === count) resolve(taken);
    };
    channel.consume(queue, take1).catch(reject);
  });
}

/** The error with which the broker closed a channel. */
async function refusal(channel: Channel, ask: (channel: Channel) => Promise<unknown>): Promise<unknown> {
  const closed = once(channel, 'error');
  await ask(channel).catch(() => undefined);
  return (await closed)[0];
}
