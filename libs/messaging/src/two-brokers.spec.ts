/** Events on one broker and commands on another, as an application meets them: our daemon's Kafka for the one, another daemon's AMQP for the other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { Injectable } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  type BrokerOptions,
  CommandMessage,
  DeadLetters,
  DovecoteModule,
  EventMessage,
  Handle,
  type MessagingOptions,
  Publisher,
  QueryMessage,
  Subscribe,
} from './index.js';
import { contractOf } from './delivery-contract.js';
import type { Log } from './log.js';
import { Messaging } from './messaging.js';
import { checkOptions } from './options.js';
import type { Subscription } from './subscription.js';
import type { Capability, Transport } from './transport.js';
import { type BrokerSource, EmbeddedTransport } from './transports/embedded-transport.js';
import { TwoBrokers } from './transports/two-brokers.js';
import { turn, until } from './turn.js';

@CommandMessage('orders.place-order')
class PlaceOrder {
  constructor(readonly orderId: string) {}
}

@QueryMessage('orders.count-orders')
class CountOrders {}

@CommandMessage('orders.note')
class Note {}

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@EventMessage('parcels.moved', { key: (event: Moved) => event.parcelId })
class Moved {
  constructor(
    readonly parcelId: string,
    readonly step: string,
  ) {}
}

class Refused extends Error {
  readonly retryable = false;
}

@Injectable()
class Orders {
  readonly placed: string[] = [];
  readonly heard: string[] = [];
  notes = 0;
  isBroken = false;

  constructor(readonly publisher: Publisher) {}

  @Handle(PlaceOrder)
  async place({ orderId }: PlaceOrder): Promise<void> {
    if (this.isBroken) throw new Refused('nothing left');
    this.placed.push(orderId);
    await this.publisher.publish(new OrderPlaced(orderId));
  }

  @Handle(Note)
  note(): void {
    this.notes += 1;
  }

  @Handle(CountOrders)
  count(): number {
    return this.placed.length;
  }

  @Subscribe(OrderPlaced)
  hear({ orderId }: OrderPlaced): void {
    if (this.isBroken) throw new Refused('deaf');
    this.heard.push(orderId);
  }
}

@Injectable()
class Strict {
  readonly moved: string[] = [];
  readonly failed: string[] = [];
  isBroken = true;

  @Subscribe(Moved, { order: 'strict' })
  move({ step }: Moved): void {
    if (this.isBroken) {
      this.failed.push(step);
      throw new Refused('lost');
    }
    this.moved.push(step);
  }
}

const brokers: Broker[] = [];
const apps: TestingModule[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
  for (const broker of brokers.splice(0)) await broker.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

class Town {
  private constructor(
    readonly kafka: Broker,
    readonly amqp: Broker,
    readonly amqpPort: number,
    readonly app: TestingModule,
    readonly publisher: Publisher,
    readonly orders: Orders,
  ) {}

  static async open(): Promise<Town> {
    const kafka = await opened(Broker.open({ durability: 'memory', kafka: { port: 0 } }));
    // Its queues are there again when it is: a broker without them would say that nobody handles a command.
    const data = mkdtempSync(join(tmpdir(), 'dovecote-two-'));
    folders.push(data);
    const amqp = await opened(Broker.open({ data, durability: 'os', amqp: { port: 0 } }));
    const amqpPort = amqp.amqpPort ?? 0;
    const events = { url: `kafka://127.0.0.1:${kafka.kafkaPort}`, kafka: { partitions: 1 } };
    const app = await start({ events, commands: `amqp://guest:guest@127.0.0.1:${amqpPort}` });
    return new Town(kafka, amqp, amqpPort, app, app.get(Publisher), app.get(Orders));
  }
}

async function opened(opening: Promise<Broker>): Promise<Broker> {
  const broker = await opening;
  brokers.push(broker);
  return broker;
}

async function start(broker: BrokerOptions, more: Partial<MessagingOptions> = {}): Promise<TestingModule> {
  const imports = [DovecoteModule.forRoot({ service: 'shop', broker, ...more })];
  const app = await Test.createTestingModule({ imports, providers: [Orders, Strict] }).compile();
  app.useLogger(false);
  apps.push(app);
  await app.init();
  return app;
}

/** A real socket is in between, so it takes as many turns as it takes. */
describe('events on one broker and commands on another', () => {
  it('go each over its own, and so do answers', async () => {
    const { kafka, amqp, publisher, orders } = await Town.open();
    await publisher.request(new PlaceOrder('o-1'));
    expect(await publisher.request(new CountOrders())).toBe(1);
    await until(() => orders.heard.length === 1);
    expect(orders.heard).toEqual(['o-1']);
    const topics = (await kafka.log()).topics;
    expect(topics.map(({ name }) => name)).toContain('orders');
    expect(topics.some(({ name }) => name.startsWith('dovecote.commands.'))).toBe(false);
    const session = amqp.session();
    await expect(session.get('dovecote.shop')).rejects.toThrow(/dovecote\.shop/);
    expect(await session.get('dovecote.shop.commands')).toBeUndefined();
  });

  it('have their dead letters each on its own, and are looked through as one', async () => {
    const { app, amqp, publisher, orders } = await Town.open();
    orders.isBroken = true;
    await publisher.publish(new OrderPlaced('o-1'));
    await expect(publisher.request(new PlaceOrder('o-2'))).rejects.toThrow(/nothing left/);
    const letters = app.get(DeadLetters);
    let kinds: string[] = [];
    while (kinds.length < 2) kinds = (await letters.list()).map(({ kind }) => kind);
    expect(kinds).toEqual(['event', 'command']);
    const session = amqp.session();
    const letter = await session.get('dovecote.shop.dead');
    expect(letter?.properties.type).toBe('orders.place-order');
    letter?.reject({ requeue: true });
    orders.isBroken = false;
    expect(await letters.redrive()).toMatchObject({ done: 2 });
    await until(() => orders.heard.length === 2);
    expect([orders.placed, orders.heard.toSorted((one, other) => (one < other ? -1 : 1))]).toEqual([['o-2'], ['o-1', 'o-2']]);
    expect(await letters.list()).toEqual([]);
  });

  it('hold back the later ones of a key until its dead letter is sent again', async () => {
    const { app, publisher } = await Town.open();
    const strict = app.get(Strict);
    for (const step of ['1', '2', '3']) await publisher.publish(new Moved('o-1', step));
    await until(() => strict.failed.length === 1);
    const letters = app.get(DeadLetters);
    while ((await letters.list()).length === 0) await turn();
    expect(strict.moved).toEqual([]);
    strict.isBroken = false;
    expect(await letters.redrive()).toMatchObject({ done: 1 });
    await until(() => strict.moved.length === 3);
    expect(strict.moved).toEqual(['1', '2', '3']);
  });

  it('go on on the one while the other is away, however much waits for that, and both when it is back', async () => {
    const { amqp, amqpPort, publisher, orders } = await Town.open();
    await amqp.close();
    const waiting = Promise.all(Array.from({ length: 10_100 }, () => publisher.send(new Note())));
    await Promise.all(Array.from({ length: 10 }, (_, index) => publisher.publish(new OrderPlaced(`o-${index}`))));
    await until(() => orders.heard.length === 10);
    expect(orders.notes).toBe(0);
    brokers.splice(brokers.indexOf(amqp), 1);
    await opened(Broker.open({ data: folders[0] ?? '', durability: 'os', amqp: { port: amqpPort } }));
    await waiting;
    await until(() => orders.notes === 10_100);
  }, 60_000);

  it('are held to what their own broker can', async () => {
    const settings = checkOptions({ service: 'shop', broker: 'embedded:' });
    const lacking = (lack: Capability): Transport => {
      const { broker, can } = new EmbeddedTransport(neverOpened, { ...settings, lanes: 1, log: silent }).capabilities;
      return { capabilities: { broker: `${broker} without ${lack}`, can: { ...can, [lack]: { waysOut: ['do without'] } } } } as Transport;
    };
    const place = 'Ordered.place';
    const contract = contractOf({ order: 'key' }, place);
    const handler = { kind: 'command', pattern: 'orders.place-order', contract, place, handle: () => undefined } as unknown as Subscription;
    const transport = new TwoBrokers(lacking('wildcards'), lacking('order-by-key'));
    await expect(new Messaging(settings, transport, silent).start([handler])).rejects.toThrow(
      /Ordered\.place needs order 'key', which the embedded broker without order-by-key cannot give/,
    );
  });

  it('are two, each with its URL', async () => {
    const chosen = (broker: BrokerOptions): unknown => checkOptions({ service: 'shop', broker });
    expect(() => chosen({ events: 'embedded:', commands: 'embedded:' })).toThrow(/same broker for events and for commands/);
    expect(() => chosen({ events: 'kafka://127.0.0.1:1' } as BrokerOptions)).toThrow(/broker must be a URL/);
  });
});

const neverOpened: BrokerSource = { open: () => Promise.reject(new Error('never opened')), isOurs: true, isDurable: false };
const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };
