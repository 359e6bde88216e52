import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import amqplib, { type ChannelModel, type ConsumeMessage } from 'amqplib';
import type { Envelope } from '../envelope.js';
import type { UnreadableEnvelope } from '../transport.js';
import { turn } from '../turn.js';
import { Acknowledgements } from './amqp-acknowledgements.js';
import { DeliveryReader } from './amqp-deliveries.js';
import { PublishFrames, type Publishable } from './amqp-publish-frames.js';
import { isKnownInside, receivingOn } from './amqp-receiving.js';
import { QUEUE, event, messages, toQueue } from './amqp-sample-messages.js';
import { sendingOn } from './amqp-sending.js';
import { fromProperties } from './cloud-events.js';

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

const envelopeOf = ({ properties, fields, content }: ConsumeMessage): Envelope | UnreadableEnvelope =>
  fromProperties(properties, fields.routingKey, content);

describe('receiving over amqplib', () => {
  it('knows the inside of the amqplib that this repository has: where this fails, its new version is to be read', () => {
    const { connection: inside } = connection as unknown as { connection: object };
    expect(isKnownInside(inside)).toBe(true);
    expect(isKnownInside({ ...inside, rest: undefined })).toBe(false);
    expect(receivingOn({} as ChannelModel)).toBeUndefined();
  });

  it('reads what is usual as amqplib would have, and leaves the rest to it, all in the order of the queue', async () => {
    const reading = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`);
    const receiving = receivingOn(reading)!;
    const channel = await reading.createChannel();
    await channel.assertExchange('both', 'fanout');
    for (const queue of [QUEUE, 'copies']) {
      await channel.assertQueue(queue, { durable: true });
      await channel.bindQueue(queue, 'both', '');
    }
    const read: { id: string; isOurs: boolean; tag: number; envelope: Envelope | UnreadableEnvelope }[] = [];
    const { consumerTag } = await channel.consume(QUEUE, (message) => {
      const { messageId } = message!.properties;
      read.push({ id: String(messageId), isOurs: false, tag: message!.fields.deliveryTag, envelope: envelopeOf(message!) });
    });
    receiving.consume(channel, consumerTag, (envelope, tag) => read.push({ id: String(envelope.id), isOurs: true, tag, envelope }));
    const foreign = await connection.createConfirmChannel();
    const sending = sendingOn(foreign, () => undefined);
    const twice = messages.map((message) => ({ ...message, address: { exchange: 'both', routingKey: '' } }));
    // Each in a turn of its own, so that it is whole in what is read; then all at once.
    for (const [index, message] of twice.entries()) {
      sending.send(message);
      while (read.length === index) await turn();
    }
    for (const message of twice) sending.send(message);
    foreign.publish('both', '', Buffer.from('{}'), { messageId: 'of-a-stranger', headers: { count: 7, list: ['a'] } });
    const count = 2 * twice.length + 1;
    while (read.length < count) await turn();
    const copies: (Envelope | UnreadableEnvelope)[] = [];
    await channel.consume('copies', (message) => void copies.push(envelopeOf(message!)));
    while (copies.length < count) await turn();
    expect(read.map(({ envelope }) => envelope)).toEqual(copies);
    expect(read.map(({ tag }) => tag)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    const left = new Set(read.slice(0, twice.length).flatMap(({ id, isOurs }) => (isOurs ? [] : [id])));
    // Without a time, with a trail, or larger than what is read at once: those are for amqplib.
    expect(left).toEqual(new Set(['a-stranger', 'dead', 'large', 'as-large-as-a-frame']));
    await reading.close();
  });

  it('comes back to the consumer of amqplib when its channel ended and another has its number', async () => {
    const receiving = receivingOn(connection)!;
    const first = await connection.createChannel();
    await first.assertQueue('numbers', { durable: true });
    const { consumerTag } = await first.consume('numbers', () => undefined, { consumerTag: 'same' });
    const heard: string[] = [];
    receiving.consume(first, consumerTag, () => heard.push('first'));
    await first.close();
    const second = await connection.createChannel();
    await second.consume('numbers', () => void heard.push('second'), { consumerTag: 'same' });
    await second.assertQueue('numbers', { durable: true });
    sendingOn(await connection.createConfirmChannel(), () => undefined).send(
      toQueue(event('a'), { address: { exchange: '', routingKey: 'numbers' } }),
    );
    while (heard.length === 0) await turn();
    expect(heard).toEqual(['second']);
  });
});

describe('what is said of deliveries', () => {
  it('reaches the broker in its order: what is given back comes again, and all else that is acknowledged does not', async () => {
    const channel = await connection.createChannel();
    const receiving = receivingOn(connection)!;
    const acknowledgements = new Acknowledgements(receiving.settling(channel));
    const heard: string[] = [];
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const heed = (id: string, tag: number): void => {
      heard.push(id);
      acknowledgements.delivered(tag);
    };
    const { consumerTag } = await channel.consume(queue, (message) =>
      heed(`${String(message!.properties.messageId)} again`, message!.fields.deliveryTag),
    );
    receiving.consume(channel, consumerTag, ({ id }, tag) => heed(String(id), tag));
    const sending = sendingOn(await connection.createConfirmChannel(), () => undefined);
    for (const id of ['a', 'b', 'c', 'd', 'e']) sending.send(toQueue(event(id), { address: { exchange: '', routingKey: queue } }));
    while (heard.length < 5) await turn();
    acknowledgements.acknowledge(1);
    acknowledgements.release(2);
    acknowledgements.acknowledge(3);
    acknowledgements.acknowledge(5);
    while (heard.length < 6) await turn();
    expect(heard).toEqual(['a', 'b', 'c', 'd', 'e', 'b again']);
    await channel.close();
    // Of a channel that has ended nothing can be said, and nobody is told otherwise.
    acknowledgements.acknowledge(6);
    await turn();
    const later = await connection.createChannel();
    expect((await later.checkQueue(queue)).messageCount).toBe(2);
    await later.deleteQueue(queue);
  });
});

describe('the bytes of deliveries', () => {
  const CHANNEL = 3;
  const tag = Buffer.from('consumer');

  /** As a broker hands it out: basic.deliver in the place of basic.publish. */
  function delivered(message: Publishable, deliveryTag: number, isRedelivered = false): Buffer {
    const frames = new PublishFrames(CHANNEL, 131_072);
    frames.append(message);
    const published = Buffer.concat(frames.take());
    const behind = published.subarray(8 + published.readUInt32BE(3));
    const values = Buffer.concat([Buffer.from([tag.length]), tag, Buffer.alloc(9), Buffer.from([0, 0])]);
    values.writeBigUInt64BE(BigInt(deliveryTag), 1 + tag.length);
    values[9 + tag.length] = isRedelivered ? 1 : 0;
    const head = Buffer.from([1, 0, CHANNEL, 0, 0, 0, values.length + 4, 0, 60, 0, 60]);
    return Buffer.concat([head, values, Buffer.from([0xce]), behind]);
  }

  function reading(): { reader: DeliveryReader; heard: string[] } {
    const heard: string[] = [];
    const reader = new DeliveryReader();
    reader.consume(CHANNEL, { tag: Buffer.from('another'), onDelivery: () => heard.push('another') });
    reader.consume(CHANNEL, { tag, onDelivery: ({ id }, deliveryTag) => heard.push(`${deliveryTag} ${String(id)}`) });
    return { reader, heard };
  }

  it('are taken whole or not at all, wherever they are cut', () => {
    const all = [delivered(toQueue(event('a')), 1), delivered(toQueue(event('b', { body: new Uint8Array(0) })), 2 ** 40 + 2)];
    const bytes = Buffer.concat(all);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { reader, heard } = reading();
      const taken = reader.read(bytes.subarray(0, cut));
      const expected =
        cut < all[0]!.length ? [0, []] : cut < bytes.length ? [all[0]!.length, ['1 a']] : [bytes.length, ['1 a', `${2 ** 40 + 2} b`]];
      expect([taken, heard]).toEqual(expected);
    }
  });

  it('are left where they are another channel’s, come again, or are broken', () => {
    const good = delivered(toQueue(event('a')), 1);
    const changed = (change: (bytes: Buffer) => void): Buffer => {
      const bytes = Buffer.from(good);
      change(bytes);
      return bytes;
    };
    const { reader, heard } = reading();
    const left = [
      delivered(toQueue(event('a')), 1, true),
      changed((bytes) => (bytes[2] = CHANNEL + 1)),
      changed((bytes) => (bytes[12] = 'x'.charCodeAt(0))),
      changed((bytes) => (bytes[bytes.length - 1] = 0)),
    ];
    for (const bytes of left) expect(reader.read(bytes)).toBe(0);
    expect(reader.read(good)).toBe(good.length);
    reader.forget(CHANNEL);
    expect(reader.read(good)).toBe(0);
    expect(heard).toEqual(['1 a']);
  });

  it('end no reader, whatever is in them', () => {
    const good = delivered(toQueue(event('a', { headers: { own: 'value' } })), 1);
    const { reader } = reading();
    for (let at = 0; at < good.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        expect(reader.read(bytes)).toBeLessThanOrEqual(good.length);
      }
    }
  });
});
