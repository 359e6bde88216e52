/** Commands and queries, patterns, batches, and what came of what: as an application meets them, on the embedded broker and over AMQP. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { type INestApplicationContext, Injectable, type Type } from '@nestjs/common';
import {
  BatchFailure,
  CommandMessage,
  EventMessage,
  Handle,
  type Message,
  MessagingError,
  type MessagingOptions,
  Publisher,
  QueryMessage,
  RequestError,
  Subscribe,
} from './index.js';
import { StartedServices } from './started-services.module.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { until } from './turn.js';

@CommandMessage('orders.place-order')
class PlaceOrder {
  constructor(readonly orderId: string) {}
}

@QueryMessage('orders.get-order')
class GetOrder {
  constructor(readonly orderId: string) {}
}

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

class OutOfStock extends Error {
  readonly code = 'out-of-stock';
  readonly retryable = false;
}

@Injectable()
class Orders {
  readonly placed: string[] = [];
  attempts = 0;

  constructor(readonly publisher: Publisher) {}

  @Handle(PlaceOrder, { retry: { attempts: 3, backoff: 'immediate' } })
  async place({ orderId }: PlaceOrder): Promise<{ accepted: string }> {
    this.attempts += 1;
    if (orderId === 'gone') throw new OutOfStock('nothing left');
    if (orderId === 'flaky' && this.attempts < 3) throw new Error('not yet');
    this.placed.push(orderId);
    await this.publisher.publish(new OrderPlaced(orderId));
    return { accepted: orderId };
  }

  @Handle(GetOrder)
  get({ orderId }: GetOrder): { orderId: string; isKnown: boolean } {
    if (orderId === 'broken') throw new Error('the database is away');
    return { orderId, isKnown: this.placed.includes(orderId) };
  }
}

@Injectable()
class Audit {
  readonly seen: { readonly event: object; readonly message: Message }[] = [];

  @Subscribe('orders.*')
  note(event: Readonly<Record<string, unknown>>, message: Message): void {
    this.seen.push({ event, message });
  }
}

const clock = new JumpingClock();
const services = new StartedServices();

afterEach(async () => {
  await services.end();
});

async function openBroker(): Promise<Broker> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, ground: { ...realGround(), clock } });
  services.add(() => broker.close());
  return broker;
}

async function start(service: string, broker: MessagingOptions['broker'], providers: Type[]): Promise<INestApplicationContext> {
  const ground = { ...realGround(), clock };
  return services.start({ service, broker, ground }, providers);
}

async function errorOf(work: Promise<unknown>): Promise<Error & { readonly code: string }> {
  return work.then(
    () => Object.assign(new Error('it did not fail'), { code: 'none' }),
    (error: unknown) => error as Error & { readonly code: string },
  );
}

describe.each(['embedded', 'amqp'])('over %s', (kind) => {
  async function brokerFor(): Promise<MessagingOptions['broker']> {
    const broker = await openBroker();
    return kind === 'embedded' ? { broker } : `amqp://guest:guest@127.0.0.1:${broker.amqpPort}`;
  }

  it('a command is done by the one service that handles it, and what it answers comes back', async () => {
    const broker = await brokerFor();
    const orders = (await start('orders', broker, [Orders])).get(Orders);
    const shop = (await start('shop', broker, [])).get(Publisher);
    expect(await shop.request(new PlaceOrder('o-1'))).toEqual({ accepted: 'o-1' });
    expect(await shop.request(new PlaceOrder('flaky'))).toEqual({ accepted: 'flaky' });
    expect(await shop.request(new GetOrder('o-1'))).toEqual({ orderId: 'o-1', isKnown: true });
    await shop.send(new PlaceOrder('o-2'));
    await until(() => orders.placed.includes('o-2'));
    const asked = await Promise.all(Array.from({ length: 50 }, (_, index) => shop.request<{ orderId: string }>(new GetOrder(`${index}`))));
    expect(asked.map(({ orderId }) => orderId)).toEqual(asked.map((_, index) => `${index}`));
  });

  it('an error at the other end comes back as a value: its code and its sentence, not its stack', async () => {
    const broker = await brokerFor();
    const orders = (await start('orders', broker, [Orders])).get(Orders);
    const shop = (await start('shop', broker, [])).get(Publisher);
    const gone = await errorOf(shop.request(new PlaceOrder('gone')));
    expect(gone).toBeInstanceOf(RequestError);
    expect([gone.code, gone.message]).toEqual(['fatal', 'orders.place-order was refused by orders: nothing left']);
    expect(orders.attempts).toBe(1);
    const broken = await errorOf(shop.request(new GetOrder('broken')));
    expect([broken.code, broken.message]).toEqual(['Error', 'orders.get-order was refused by orders: the database is away']);
  });

  it('what nobody handles is refused, and what is not answered in time says so and is not handled later', async () => {
    const broker = await brokerFor();
    const shop = (await start('shop', broker, [])).get(Publisher);
    expect((await errorOf(shop.send(new PlaceOrder('o-1')))).code).toBe('nobody-there');
    expect((await errorOf(shop.request(new GetOrder('o-1')))).code).toBe('nobody-there');
    const first = await start('orders', broker, [Orders]);
    await first.close();
    const late = errorOf(shop.request(new GetOrder('o-1'), { timeoutMs: 500 }));
    await clock.pass(600);
    expect(await late).toMatchObject({ code: 'request-timeout', retryable: true });
    const orders = (await start('orders', broker, [Orders])).get(Orders);
    expect(await shop.request(new GetOrder('o-2'))).toEqual({ orderId: 'o-2', isKnown: false });
    expect(orders.placed).toEqual([]);
  });

  it('a pattern is given all events that match it, as plain objects, and knows what each came of', async () => {
    const broker = await brokerFor();
    await start('orders', broker, [Orders]);
    const audit = (await start('audit', broker, [Audit])).get(Audit);
    const shop = (await start('shop', broker, [])).get(Publisher);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await shop.request(new PlaceOrder('o-1'), { id: 'command-1', headers: { traceparent, other: 'stays' } });
    await until(() => audit.seen.length === 1);
    const { event, message } = audit.seen[0]!;
    expect(event).toEqual({ orderId: 'o-1' });
    expect(message).toMatchObject({ type: 'orders.order-placed', source: 'orders', correlationId: 'command-1', causationId: 'command-1' });
    expect({ ...message.headers }).toEqual({ traceparent });
    await shop.publish(new OrderPlaced('o-2'), { because: message, headers: { traceparent: 'another' } });
    await until(() => audit.seen.length === 2);
    expect(audit.seen[1]!.message).toMatchObject({
      correlationId: 'command-1',
      causationId: message.id,
      headers: { traceparent: 'another' },
    });
  });
});

describe('a batch', () => {
  function collecting(size: number): {
    readonly batches: string[][];
    readonly provider: Type;
    fail: (events: OrderPlaced[], messages: Message[]) => void;
  } {
    const desk = { batches: [] as string[][], provider: undefined as unknown as Type, fail: (): void => undefined };
    @Injectable()
    class Collector {
      @Subscribe(OrderPlaced, { batch: { size, lingerMs: 200 }, retry: { attempts: 2, backoff: 'immediate' } })
      async take(events: OrderPlaced[], messages: Message[]): Promise<void> {
        desk.batches.push(events.map((event, index) => `${event.constructor.name} ${event.orderId} ${messages[index]!.attempt}`));
        (desk.fail as (events: OrderPlaced[], messages: Message[]) => void)(events, messages);
      }
    }
    desk.provider = Collector;
    return desk;
  }

  const publish = (app: INestApplicationContext, ...ids: string[]): Promise<unknown> =>
    Promise.all(ids.map((id) => app.get(Publisher).publish(new OrderPlaced(id))));

  it('is as large as asked for, or what came within its time', async () => {
    const desk = collecting(3);
    const app = await start('collectors', { broker: await openBroker() }, [desk.provider]);
    await publish(app, 'a', 'b', 'c', 'd');
    await until(() => desk.batches.length === 1);
    await clock.pass(300);
    await until(() => desk.batches.length === 2);
    expect(desk.batches).toEqual([['OrderPlaced a 1', 'OrderPlaced b 1', 'OrderPlaced c 1'], ['OrderPlaced d 1']]);
  });

  it('that fails is tried again, whole, or only those that failed', async () => {
    const desk = collecting(3);
    const broker = await openBroker();
    const app = await start('collectors', { broker }, [desk.provider]);
    desk.fail = (_events, messages) => {
      if (desk.batches.length === 1) throw new BatchFailure(new Map([[messages[1]!, new Error('only this one')]]));
      throw new Error('all of them');
    };
    await publish(app, 'a', 'b', 'c');
    await until(() => desk.batches.length === 1);
    await clock.pass(300);
    await until(() => desk.batches.length === 2);
    const dead = (): number => broker.inspect().queues.find(({ name }) => name === 'dovecote.collectors.dead')!.messageCount;
    await until(() => dead() === 1);
    expect(desk.batches[1]).toEqual(['OrderPlaced b 2']);
  });

  it('larger than what the service may hold is refused at the start', async () => {
    const error = await errorOf(start('collectors', { broker: await openBroker() }, [collecting(500).provider]));
    expect(error).toBeInstanceOf(MessagingError);
    expect(error.message).toMatch(/^Collector\.take takes batches of 500, and the service holds 100 messages at most/);
  });
});

describe('the start is refused', () => {
  it('where a handler has the wrong decorator, or one message two handlers', async () => {
    const broker = { broker: await openBroker() };
    const refusal = async (...providers: Type[]): Promise<string> => (await errorOf(start('orders', broker, providers))).message;
    class WrongVerb {
      @Handle(OrderPlaced)
      take(): void {}
    }
    class WrongEvent {
      @Subscribe(PlaceOrder)
      take(): void {}
    }
    class Overlapping {
      @Subscribe('orders.#')
      all(): void {}

      @Subscribe(OrderPlaced)
      one(): void {}
    }
    class Twice {
      @Handle(GetOrder)
      take(): void {}
    }
    class Broken {
      @Subscribe('orders..x')
      take(): void {}
    }
    expect(await refusal(WrongVerb)).toBe('WrongVerb.take has @Handle for OrderPlaced, which is an event: use @Subscribe.');
    expect(await refusal(WrongEvent)).toBe('WrongEvent.take has @Subscribe for PlaceOrder, which is a command: use @Handle.');
    expect(await refusal(Overlapping)).toContain(
      'Overlapping.all and Overlapping.one both subscribe to orders.order-placed (as orders.# and orders.order-placed)',
    );
    expect(await refusal(Orders, Twice)).toContain('both handle orders.get-order');
    expect(await refusal(Broken)).toContain("'orders..x' is no pattern of types");
  });

  it('and the publisher says which of its verbs is meant', async () => {
    const shop = (await start('shop', { broker: await openBroker() }, [])).get(Publisher);
    expect((await errorOf(shop.publish(new PlaceOrder('x')))).message).toBe(
      'orders.place-order is a command: use Publisher.send, or Publisher.request for its answer.',
    );
    expect((await errorOf(shop.send(new OrderPlaced('x')))).message).toBe('orders.order-placed is an event: use Publisher.publish.');
    expect((await errorOf(shop.send(new GetOrder('x')))).message).toBe('orders.get-order is a query: use Publisher.request.');
  });
});
