/** The module as an application meets it: decorators and publisher, and what it refuses with a sentence. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { Controller, Injectable, Module, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { DovecoteModule, EventMessage, Message, MessagingError, type MessagingOptions, Publisher, Subscribe } from './index.js';
import { Desk, Notifications, NotificationsWorld, OrderPaid, OrderPlaced } from './notifications.module.js';
import { until } from './turn.js';

let world: NotificationsWorld;

beforeEach(async () => {
  world = await NotificationsWorld.open();
});
afterEach(() => world.close());

describe('an application with DovecoteModule', () => {
  it('brings a published event to its handler, as an instance of its class, with the message beside it', async () => {
    const { desk, publisher } = await world.start({ providers: [Notifications] });
    await publisher.publish(new OrderPlaced('o-1', 250), { headers: { traceparent: '00-abc-def-01' } });
    await until(() => desk.seen.length === 1);
    const { event, message } = desk.seen[0]!;
    expect(event).toBeInstanceOf(OrderPlaced);
    expect((event as OrderPlaced).isLarge).toBe(true);
    expect(message).toMatchObject({
      type: 'orders.order-placed',
      source: 'notifications',
      key: 'o-1',
      version: 2,
      headers: { traceparent: '00-abc-def-01' },
      isRedelivered: false,
    });
    expect(message.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(message.time).toEqual(new Date(world.clock.now()));
    expect(message.signal.aborted).toBe(false);
  });

  it('finds handlers on controllers, in several modules, and under forRootAsync', async () => {
    @Controller()
    class PaymentsController {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPaid)
      paid(event: OrderPaid, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const shared = new Desk();
    @Module({ controllers: [PaymentsController], providers: [{ provide: Desk, useValue: shared }] })
    class PaymentsModule {}
    const options: MessagingOptions = {
      service: 'notifications',
      broker: { broker: world.broker },
      ground: { clock: world.clock, random: new SeededRandom(1) },
    };
    const app = await Test.createTestingModule({
      imports: [DovecoteModule.forRootAsync({ useFactory: () => Promise.resolve(options) }), PaymentsModule],
      providers: [Notifications, { provide: Desk, useValue: shared }],
    }).compile();
    await app.init();
    world.keep(app);
    await app.get(Publisher).publish(new OrderPaid('o-1'));
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await until(() => shared.seen.length === 2);
    expect(shared.seen.map(({ by }) => by.constructor.name)).toEqual(['PaymentsController', 'Notifications']);
  });

  it('shares the work between services of one name, and gives another service a copy', async () => {
    const [one, two] = [await world.start({ providers: [Notifications] }), await world.start({ providers: [Notifications] })];
    const other = await world.start({ providers: [Notifications], options: { service: 'audit' } });
    for (let index = 0; index < 20; index++) await one.publisher.publish(new OrderPlaced(`o-${index}`));
    await until(() => one.desk.seen.length + two.desk.seen.length === 20 && other.desk.seen.length === 20);
    expect(Math.min(one.desk.seen.length, two.desk.seen.length)).toBeGreaterThan(0);
  });

  it('lets others publish while they start, but not before', async () => {
    const outcomes: unknown[] = [];
    @Injectable()
    class Early implements OnModuleInit, OnApplicationBootstrap {
      constructor(private readonly publisher: Publisher) {}

      async onModuleInit(): Promise<void> {
        outcomes.push(await this.publisher.publish(new OrderPlaced('too early')).catch((error: unknown) => error));
      }

      async onApplicationBootstrap(): Promise<void> {
        outcomes.push(await this.publisher.publish(new OrderPlaced('o-1')));
      }
    }
    const { desk } = await world.start({ providers: [Early, Notifications] });
    await until(() => desk.seen.length === 1);
    expect(outcomes).toEqual([expect.objectContaining({ code: 'not-started', retryable: false }), undefined]);
  });
});

describe('publish', () => {
  it('refuses what cannot travel, with a sentence that says what to do', async () => {
    const { publisher } = await world.start({});
    class Undecorated {}
    class Child extends OrderPlaced {}
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const outcome = (event: object, options?: object): Promise<string> =>
      publisher.publish(event, options).then(
        () => 'published',
        (error: unknown) => (error instanceof MessagingError ? `${error.code}: ${error.message}` : String(error)),
      );
    expect(await outcome(new Undecorated())).toMatch(/^not-an-event: Undecorated .* put @EventMessage/);
    expect(await outcome(new Child('x'))).toMatch(/^not-an-event: Child .* on the class itself/);
    expect(await outcome({ orderId: 'x' })).toMatch(/^not-an-event: .* not a plain object/);
    expect(await outcome('text' as never)).toMatch(/^not-an-event: .* not string/);
    expect(await outcome(Object.assign(new OrderPlaced('x'), circle))).toMatch(/^invalid-publish: .* has no JSON/);
    expect(await outcome(new OrderPlaced(undefined as never))).toMatch(/^invalid-publish: .* its key must be a string/);
    expect(await outcome(new OrderPlaced('x'), { id: 'i'.repeat(256) })).toMatch(/^invalid-publish: .* its id must be/);
    expect(await outcome(new OrderPlaced('x'), { id: 'i'.repeat(255) })).toBe('published');
    expect(await outcome(new OrderPlaced('x'), { headers: { cloudEvents_id: '1' } })).toMatch(
      /^invalid-publish: .* header 'cloudEvents_id'/,
    );
    expect(await outcome(new OrderPlaced('x'), { headers: { note: 'n'.repeat(20_000) } })).toMatch(/^too-large: .* headers/);
    expect(await outcome(new OrderPlaced('x'.repeat(1_000)), { key: 'k' })).toBe('published');
    expect(await outcome(Object.assign(new OrderPaid('x'), { text: 'x'.repeat(16 * 1024 * 1024) }))).toMatch(
      /^too-large: .* Give the module a claimCheck/,
    );
  });

  it('reads the event during the call', async () => {
    const { desk, publisher } = await world.start({ providers: [Notifications] });
    const event = new OrderPlaced('before');
    const published = publisher.publish(event);
    Object.assign(event, { orderId: 'after' });
    await published;
    await until(() => desk.seen.length === 1);
    expect(desk.seen[0]!.event.orderId).toBe('before');
  });
});

describe('the start is refused, with a sentence that says what to do,', () => {
  it('when one service subscribes twice to one event', async () => {
    @Injectable()
    class Mailer {
      @Subscribe(OrderPlaced)
      mail(): void {}
    }
    @Module({ providers: [Mailer] })
    class MailModule {}
    expect(await world.refusal({ providers: [Notifications, Mailer] })).toMatch(
      /^subscribed-twice: In the service 'notifications', \S+ and \S+ both subscribe to orders\.order-placed\./,
    );
    expect(await world.refusal({ providers: [Mailer], imports: [MailModule] })).toMatch(
      /Mailer\.mail is there for .* provided in several modules/,
    );
  });

  it('when a class is no event', async () => {
    class Plain {}
    @Injectable()
    class Wrong {
      @Subscribe(Plain)
      handle(): void {}
    }
    expect(await world.refusal({ providers: [Wrong] })).toMatch(/^not-an-event: Wrong\.handle subscribes to Plain, .* put @EventMessage/);
    expect(() => EventMessage('spaces are wrong')(Plain)).toThrow(/must be words of letters/);
    expect(() => EventMessage('fine', { version: 0 })(Plain)).toThrow(/version must be a whole number/);
  });

  it('when the broker cannot be', async () => {
    const withBroker = (choice: MessagingOptions['broker']): Promise<string> => world.refusal({ options: { broker: choice } });
    expect(await withBroker('redis://here')).toMatch(/^unknown-broker: No transport speaks redis:/);
    expect(await withBroker('kafka://here:port')).toMatch(/^invalid-options: .* host that cannot be read \(here:port\)/);
    expect(await withBroker({ url: 'kafka://here', durability: 'os' })).toMatch(/^invalid-options: .* durability is for embedded brokers/);
    expect(await withBroker({ url: 'kafka://here', kafka: { partitions: 0 } })).toMatch(
      /^invalid-options: .* kafka\.partitions is a whole number/,
    );
    expect(await withBroker({ url: 'amqp://localhost', kafka: {} })).toMatch(/^invalid-options: The settings in kafka/);
    expect(await withBroker('nonsense')).toMatch(/^unknown-broker: .* no scheme/);
    expect(await withBroker('embedded://data')).toMatch(/^invalid-options: .* not a host/);
    expect(await withBroker({ url: 'embedded:', durability: 'fsync' })).toMatch(/^invalid-options: .* cannot be durable/);
    expect(await withBroker({ url: 'embedded:', queueType: 'quorum' })).toMatch(/^invalid-options: queueType/);
    expect(await withBroker({ url: 'amqp://localhost', durability: 'os' })).toMatch(/^invalid-options: durability/);
    expect(await withBroker({ broker: {} })).toMatch(/^invalid-options: .* an open broker/);
    expect(await withBroker(undefined as never)).toMatch(/^invalid-options: .* broker must be a URL/);
    const file = `${process.execPath}/data`;
    expect(await withBroker(`embedded:${file}`)).toContain('broker-unusable: The embedded broker did not start: ');
    expect(await withBroker(`embedded:${file}`)).toContain(file);
  });

  it('by the compiler already, when a handler takes something else than its event', () => {
    class Wrong {
      // @ts-expect-error An event is no text.
      @Subscribe(OrderPlaced)
      handle(_event: string): void {}

      // @ts-expect-error The second argument is the message.
      @Subscribe(OrderPaid)
      other(_event: OrderPaid, _message: number): void {}
    }
    // @ts-expect-error The key is a text.
    const decorate = EventMessage('orders.wrong', { key: (event: OrderPlaced) => event.total });
    expect(Wrong.name).toBe('Wrong');
    expect(() => decorate(OrderPlaced)).toThrow("OrderPlaced is 'orders.order-placed' already");
  });

  it('when an option makes no sense', async () => {
    expect(await world.refusal({ options: { service: '' } })).toMatch(/^invalid-options: .* service must be the name/);
    expect(await world.refusal({ options: { prefetch: 0 } })).toMatch(
      /^invalid-options: .* prefetch must be a whole number of at least 1 and at most 65535; it is 0/,
    );
    expect(await world.refusal({ options: { publishTimeoutMs: 1.5 } })).toMatch(/publishTimeoutMs must be/);
    @Injectable()
    class Zero {
      @Subscribe(OrderPlaced, { concurrency: 0 })
      handle(): void {}
    }
    expect(await world.refusal({ providers: [Zero] })).toMatch(
      /^invalid-options: Zero\.handle: concurrency must be a whole number from 1, not 0/,
    );
  });
});
