/** What is answered to commands and queries, and in which format and trace: as an application meets it, on the embedded broker. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { Injectable, type Type } from '@nestjs/common';
import { Handle, type MessageCodec, Publisher, QueryMessage } from './index.js';
import { StartedServices } from './started-services.module.js';

/** Numbers as eight bytes: a format that is not JSON, and cannot write everything. A registry may be asked for it. */
class Doubles implements MessageCodec {
  readonly contentType = 'application/x-double';
  isLate = false;

  encode(payload: unknown): Uint8Array | Promise<Uint8Array> {
    if (typeof payload !== 'number') throw new TypeError(`${typeof payload} is no number`);
    const body = Buffer.alloc(8);
    body.writeDoubleBE(payload);
    return this.isLate ? Promise.resolve(body) : body;
  }

  decode(body: Uint8Array): unknown {
    const value = Buffer.from(body).readDoubleBE();
    return this.isLate ? Promise.resolve(value) : value;
  }
}

const doubles = new Doubles();

@QueryMessage('orders.total', { answerCodec: doubles })
class Total {
  constructor(readonly orderId: string) {}
}

/** The same query, as somebody knows it who does not know how it is answered. */
@QueryMessage('orders.total')
class PlainTotal {
  constructor(readonly orderId: string) {}
}

@Injectable()
class Orders {
  @Handle(Total)
  total({ orderId }: Total): number | string {
    if (orderId === 'unknown') throw new Error('nobody knows that order');
    return orderId === 'broken' ? 'a text' : 42.5;
  }
}

let broker: Broker;
const services = new StartedServices();

beforeEach(async () => {
  doubles.isLate = false;
  broker = await Broker.open({ durability: 'memory' });
  await start('orders', [Orders]);
});

afterEach(async () => {
  await services.end();
  await broker.close();
});

async function start(service: string, providers: Type[]): Promise<Publisher> {
  const app = await services.start({ service, broker: { broker } }, providers);
  return app.get(Publisher);
}

/** What comes back to a client of another kind that asks. */
async function answerTo(headers: Readonly<Record<string, string>>): Promise<{ readonly properties: object; readonly body: Buffer }> {
  const session = broker.session();
  await session.declareQueue('answers', { exclusive: true });
  const answered = new Promise<{ readonly properties: object; readonly body: Buffer }>((resolve) => {
    void session.consume('answers', {}, ({ properties, body }) => resolve({ properties, body: Buffer.from(body) }));
  });
  await session.publish({
    exchange: 'dovecote.commands',
    routingKey: 'orders.total',
    body: Buffer.from('{"orderId":"o-1"}'),
    properties: {
      messageId: 'question-1',
      contentType: 'application/json',
      replyTo: 'answers',
      headers: { cloudEvents_kind: 'query', ...headers },
    },
  });
  return answered;
}

describe('an answer', () => {
  it.each([false, true])('is in the format that its class says for it, where that must be waited for: %s', async (isLate) => {
    doubles.isLate = isLate;
    const shop = await start('shop', []);
    expect(await shop.request(new Total('o-1'))).toBe(42.5);
    const { properties, body } = await answerTo({});
    expect(properties).toMatchObject({ contentType: 'application/x-double' });
    expect(body.readDoubleBE()).toBe(42.5);
  });

  it('is an error in JSON where the handler failed, or answered what has no such format', async () => {
    const shop = await start('shop', []);
    await expect(shop.request(new Total('unknown'))).rejects.toThrow('orders.total was refused by orders: nobody knows that order');
    await expect(shop.request(new Total('broken'))).rejects.toMatchObject({
      code: 'unreadable',
      message: 'orders.total was refused by orders: the answer cannot be written as application/x-double: string is no number',
    });
  });

  it('cannot be read by whoever does not know its format, and says what is missing', async () => {
    const shop = await start('shop', []);
    await expect(shop.request(new PlainTotal('o-1'))).rejects.toThrow(
      'orders.total was answered in application/x-double: give its class here the answerCodec that it has where it is handled',
    );
  });

  it('goes on with the trace of its question', async () => {
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'shop=1', baggage: 'tenant=blue' };
    const { properties } = await answerTo({ ...trace, other: 'stays' });
    const { headers } = properties as { readonly headers: Readonly<Record<string, unknown>> };
    expect(headers).toMatchObject(trace);
    expect(headers).not.toHaveProperty('other');
  });
});
