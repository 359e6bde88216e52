import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import amqplib, { type ChannelModel, type ConfirmChannel, type GetMessage } from 'amqplib';
import { turn } from '../turn.js';
import type { Publishable } from './amqp-publish-frames.js';
import { QUEUE, event, messages, toQueue } from './amqp-sample-messages.js';
import { isAsWeKnowIt, sendingOn } from './amqp-sending.js';

let broker: Broker;
let connection: ChannelModel;

beforeAll(async () => {
  broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`);
});

afterAll(async () => {
  await connection.close();
  await broker.close();
});

/** As an instrumentation leaves it. */
function wrapped(channel: ConfirmChannel): ConfirmChannel {
  const publish = channel.publish.bind(channel);
  const wrapper = (...given: Parameters<typeof publish>): boolean => publish(...given);
  channel.publish = Object.assign(wrapper, { __wrapped: true });
  return channel;
}

async function openChannel(): Promise<ConfirmChannel> {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(QUEUE, { durable: true });
  await channel.purgeQueue(QUEUE);
  return channel;
}

/** What the queue holds after the messages were confirmed one after the other, in their order. */
async function sent(channel: ConfirmChannel, messages: readonly Publishable[]): Promise<GetMessage[]> {
  let confirmed = 0;
  const sending = sendingOn(channel, (tag, isMultiple, isTaken) => {
    expect(isTaken).toBe(true);
    confirmed = isMultiple ? tag : confirmed + 1;
  });
  for (const message of messages) sending.send(message);
  while (confirmed < messages.length) await turn();
  const found: GetMessage[] = [];
  for (let next = await channel.get(QUEUE, { noAck: true }); next !== false; next = await channel.get(QUEUE, { noAck: true }))
    found.push(next);
  return found;
}

describe('sending over amqplib', () => {
  it('knows the inside of the amqplib that this repository has: where this fails, its new version is to be read', async () => {
    expect(isAsWeKnowIt(await openChannel())).toBe(true);
  });

  it('leaves to amqplib what is not as it knows it, or what somebody looks at', async () => {
    const channel = await openChannel();
    expect(isAsWeKnowIt(Object.assign(Object.create(channel), { connection: { frameMax: 131_072 } }))).toBe(false);
    expect(isAsWeKnowIt(Object.assign(Object.create(channel), { ch: undefined }))).toBe(false);
    expect(isAsWeKnowIt(wrapped(channel))).toBe(false);
  });

  it('says in its own bytes what amqplib would have said', async () => {
    const ours = await sent(await openChannel(), messages);
    const theirs = await sent(wrapped(await openChannel()), messages);
    const told = ({ properties, content, fields }: GetMessage) => ({ properties, content, routingKey: fields.routingKey });
    expect(theirs.map(({ properties }) => String(properties.messageId))).toEqual(messages.map(({ envelope }) => envelope.id));
    expect(ours.map(told)).toEqual(theirs.map(told));
  });

  it('refuses what does not fit, and the next message is whole', async () => {
    const channel = await openChannel();
    const sending = sendingOn(channel, () => undefined);
    const headers = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`h${index}`, 'x'.repeat(2000)]));
    expect(() => sending.send(toQueue(event('headers', { headers })))).toThrow(/^its headers take \d+ bytes, and at most 131072 fit/);
    expect(() => sending.send(toQueue(event('i'.repeat(256))))).toThrow(/is 256 bytes long, and at most 255 fit/);
    expect(() => sending.send(toQueue(event('type', { type: 't'.repeat(256) })))).toThrow(RangeError);
    expect((await sent(channel, [toQueue(event('whole'))])).map(({ properties }) => String(properties.messageId))).toEqual(['whole']);
  });

  it('gives the message back that no queue takes, before its confirm', async () => {
    const channel = await openChannel();
    const heard: string[] = [];
    channel.on('return', ({ properties }) => heard.push(`returned ${String(properties.messageId)}`));
    const sending = sendingOn(channel, (tag) => heard.push(`confirmed ${tag}`));
    sending.send(toQueue(event('stray'), { address: { exchange: '', routingKey: 'nowhere' }, isMandatory: true }));
    while (heard.length < 2) await turn();
    expect(heard).toEqual(['returned stray', 'confirmed 1']);
  });

  it('writes nothing on a channel that ended, nor on the one that has its number then', async () => {
    const channel = await openChannel();
    channel.on('error', () => undefined);
    const sending = sendingOn(channel, () => undefined);
    const next = new Promise<ConfirmChannel>((resolve) => {
      channel.on('close', () => {
        sending.send(toQueue(event('too-late')));
        resolve(connection.createConfirmChannel());
      });
    });
    sending.send(toQueue(event('refused'), { address: { exchange: 'missing', routingKey: '' } }));
    const found = await sent(await next, [toQueue(event('in-time'))]);
    expect(found.map(({ properties }) => String(properties.messageId))).toEqual(['in-time']);
  });
});
