/**
 * The module as an application meets it: decorators, publisher, handlers with everything Nest puts around them, start and end.
 * Long, because each file that loads Nest costs the suite its start again.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker, type Delivery } from '@dovecote/broker';
import { type Clock, RealClock, realGround } from '@dovecote/ground';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  Module,
  type NestInterceptor,
  type OnApplicationBootstrap,
  type OnModuleInit,
  type PipeTransform,
  Scope,
  type Type,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  createParamDecorator,
} from '@nestjs/common';
import { APP_GUARD, APP_PIPE, REQUEST } from '@nestjs/core';
import { Test, type TestingModule } from '@nestjs/testing';
import { Observable, map, of } from 'rxjs';
import { DovecoteModule, EventMessage, Message, MessagingError, type MessagingOptions, Publisher, Subscribe } from './index.js';
import { turn } from './turn.js';

@EventMessage('orders.order-placed', { version: 2, key: (event: OrderPlaced) => event.orderId })
class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly total = 1,
  ) {}

  get isLarge(): boolean {
    return this.total > 100;
  }
}

@EventMessage('orders.order-paid')
class OrderPaid {
  constructor(readonly orderId: string) {}
}

/** What the handlers of a test saw, and how they should behave. */
class Desk {
  readonly seen: { event: OrderPlaced | OrderPaid; message: Message; by: object }[] = [];
  readonly notes: unknown[] = [];
  behave: (event: OrderPlaced | OrderPaid, message: Message) => unknown = () => undefined;

  take(by: object, event: OrderPlaced | OrderPaid, message: Message): unknown {
    this.seen.push({ by, event, message });
    return this.behave(event, message);
  }
}

@Injectable()
class Notifications {
  constructor(readonly desk: Desk) {}

  @Subscribe(OrderPlaced)
  notify(event: OrderPlaced, message: Message): unknown {
    return this.desk.take(this, event, message);
  }
}

let broker: Broker;
let clock: SimulatedClock;
let lines: string[];
const apps: TestingModule[] = [];

beforeEach(async () => {
  clock = new SimulatedClock();
  broker = await Broker.open({ durability: 'memory', ground: { ...realGround(), clock: aroundTheClock() } });
  lines = [];
});

/** What the broker has under way goes on by itself; what it waits for comes when the test moves the clock. */
function aroundTheClock(): Clock {
  const real = new RealClock();
  return {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, run) => clock.after(delayMs, run),
    defer: (run) => real.defer(run),
  };
}

afterEach(async () => {
  for (const app of apps.splice(0)) await clock.drive(app.close());
  await broker.close();
  Logger.overrideLogger(false);
});

interface Parts {
  readonly providers?: Type[] | unknown[];
  readonly controllers?: Type[];
  readonly imports?: Type[];
  readonly options?: Partial<MessagingOptions>;
}

async function build({ providers = [], controllers = [], imports = [], options = {} }: Parts): Promise<TestingModule> {
  const write = (line: unknown): void => void lines.push(String(line));
  const app = await Test.createTestingModule({
    imports: [
      DovecoteModule.forRoot({ service: 'notifications', broker: { broker }, ground: { clock, random: new SeededRandom(1) }, ...options }),
      ...imports,
    ],
    controllers,
    providers: [Desk, ...(providers as Type[])],
  }).compile();
  app.useLogger({ log: write, warn: write, error: write });
  return app;
}

/** A running application. */
async function start(parts: Parts): Promise<{ app: TestingModule; desk: Desk; publisher: Publisher }> {
  const app = await build(parts);
  await app.init();
  apps.push(app);
  return { app, desk: app.get(Desk), publisher: app.get(Publisher) };
}

/** The sentence with which the application refuses to start. */
async function refusal(parts: Parts): Promise<string> {
  const error: unknown = await (async () => (await build(parts)).init())().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MessagingError);
  return `${(error as MessagingError).code}: ${(error as MessagingError).message}`;
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let turns = 0; !isTrue(); turns++) {
    if (turns > 2_000) throw new Error('what the test waits for did not happen');
    await turn();
  }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn();
}

function depth(wanted = 'dovecote.notifications'): { ready: number; unacknowledged: number } {
  const queue = broker.inspect().queues.find(({ name }) => name === wanted);
  return { ready: queue?.messageCount ?? -1, unacknowledged: queue?.unacknowledgedCount ?? -1 };
}

describe('an application with DovecoteModule', () => {
  it('brings a published event to its handler, as an instance of its class, with the message beside it', async () => {
    const { desk, publisher } = await start({ providers: [Notifications] });
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
    expect(message.time).toEqual(new Date(clock.now()));
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
    const options: MessagingOptions = { service: 'notifications', broker: { broker }, ground: { clock, random: new SeededRandom(1) } };
    const app = await Test.createTestingModule({
      imports: [DovecoteModule.forRootAsync({ useFactory: () => Promise.resolve(options) }), PaymentsModule],
      providers: [Notifications, { provide: Desk, useValue: shared }],
    }).compile();
    await app.init();
    apps.push(app);
    await app.get(Publisher).publish(new OrderPaid('o-1'));
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await until(() => shared.seen.length === 2);
    expect(shared.seen.map(({ by }) => by.constructor.name)).toEqual(['PaymentsController', 'Notifications']);
  });

  it('shares the work between services of one name, and gives another service a copy', async () => {
    const [one, two] = [await start({ providers: [Notifications] }), await start({ providers: [Notifications] })];
    const other = await start({ providers: [Notifications], options: { service: 'audit' } });
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
    const { desk } = await start({ providers: [Early, Notifications] });
    await until(() => desk.seen.length === 1);
    expect(outcomes).toEqual([expect.objectContaining({ code: 'not-started', retryable: false }), undefined]);
  });
});

describe('a handler', () => {
  it('is acknowledged only after its promise fulfilled', async () => {
    const { desk, publisher } = await start({ providers: [Notifications] });
    let finish = (): void => undefined;
    desk.behave = () => new Promise<void>((resolve) => (finish = resolve));
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(depth()).toEqual({ ready: 0, unacknowledged: 1 });
    finish();
    await until(() => depth().unacknowledged === 0);
    expect(depth().ready).toBe(0);
  });

  it('that fails gets the event again after a while, with another instance too, while others go on, and in the end it is a dead letter', async () => {
    const { desk, publisher } = await start({
      providers: [Notifications],
      options: { retry: { attempts: 4, backoff: 'delayed', firstMs: 500 } },
    });
    const times: number[] = [];
    desk.behave = (event) => {
      if (event.orderId !== 'bad') return undefined;
      times.push(clock.monotonicMs());
      throw new Error('mail server down');
    };
    await publisher.publish(new OrderPlaced('bad'), { id: 'event-1' });
    await publisher.publish(new OrderPlaced('good'));
    await until(() => desk.seen.length === 2 && depth().unacknowledged === 0);
    for (let attempt = 2; attempt <= 4; attempt++) {
      await settle();
      await clock.advance(500);
      await until(() => times.length === attempt);
    }
    await until(() => depth('dovecote.notifications.dead').ready === 1 && depth().unacknowledged === 0);
    expect(times.map((time) => time - times[0]!)).toEqual([0, 500, 1_000, 1_500]);
    expect(desk.seen.map(({ event, message }) => [event.orderId, message.attempt, message.isRedelivered])).toEqual([
      ['bad', 1, false],
      ['good', 1, false],
      ['bad', 2, false],
      ['bad', 3, false],
      ['bad', 4, false],
    ]);
    expect(new Set(desk.seen.filter(({ event }) => event.orderId === 'bad').map(({ message }) => message.id))).toEqual(
      new Set(['event-1']),
    );
    expect(depth().ready).toBe(0);
    const said = lines.filter((line) => line.includes('event-1'));
    expect(said).toHaveLength(4);
    expect(said[1]).toBe('Notifications.notify failed on orders.order-placed event-1: mail server down. It comes again in 500 ms.');
    expect(said[3]).toContain("That was attempt 4, the last one. It is among the dead letters of 'notifications' now.");
  });

  it('that lost its process again and again is given such a message alone, and then no more', async () => {
    const session = broker.session();
    const held: Delivery[] = [];
    const first = await start({ providers: [Notifications] });
    await first.app.close();
    await session.consume('dovecote.notifications', { prefetch: 1 }, (delivery) => held.push(delivery));
    const publisher = (await start({})).publisher;
    await publisher.publish(new OrderPlaced('deadly'));
    // As if a process had taken it and ended, four times.
    for (let times = 1; times <= 4; times++) {
      await until(() => held.length === times);
      held.at(-1)!.reject({ requeue: true });
    }
    await until(() => held.length === 5);
    await session.close();
    const { desk } = await start({ providers: [Notifications] });
    await until(() => depth('dovecote.notifications.quarantine').unacknowledged === 1);
    await settle();
    expect(desk.seen).toHaveLength(0); // others might be on their way into quarantine
    await clock.advance(100);
    await until(() => desk.seen.length === 1 && depth('dovecote.notifications.quarantine').unacknowledged === 0);
    expect(lines.find((line) => line.includes('it may be what ends the process'))).toMatch(
      /was handed out \d times and never acknowledged/,
    );
    expect(depth('dovecote.notifications.dead').ready).toBe(0);
  });

  it('works on at most so many events as its concurrency says, in order where that is 1', async () => {
    let running = 0;
    let most = 0;
    const finishers: (() => void)[] = [];
    @Injectable()
    class OneByOne {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced, { concurrency: 1 })
      async notify(event: OrderPlaced, message: Message): Promise<void> {
        this.desk.take(this, event, message);
        most = Math.max(most, (running += 1));
        await new Promise<void>((resolve) => finishers.push(resolve));
        running -= 1;
      }
    }
    const { desk, publisher } = await start({ providers: [OneByOne] });
    for (let index = 0; index < 5; index++) await publisher.publish(new OrderPlaced(`${index}`));
    for (let index = 0; index < 5; index++) {
      await until(() => finishers.length === index + 1);
      finishers[index]!();
    }
    await until(() => depth().unacknowledged === 0);
    expect(most).toBe(1);
    expect(desk.seen.map(({ event }) => event.orderId)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('never holds more than the prefetch', async () => {
    const { desk, publisher } = await start({ providers: [Notifications], options: { prefetch: 3 } });
    desk.behave = () => new Promise(() => undefined);
    for (let index = 0; index < 8; index++) await publisher.publish(new OrderPlaced(`${index}`));
    await until(() => desk.seen.length === 3);
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(depth()).toEqual({ ready: 5, unacknowledged: 3 });
  });

  it('in request scope gets an instance of its own for every event, and what it was asked', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerEvent {
      constructor(
        readonly desk: Desk,
        @Inject(REQUEST) readonly request: { readonly pattern: string; readonly data: OrderPlaced; readonly context: Message },
      ) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { desk, publisher } = await start({ providers: [PerEvent] });
    await publisher.publish(new OrderPlaced('o-1'));
    await publisher.publish(new OrderPlaced('o-2'));
    await until(() => desk.seen.length === 2);
    const [first, second] = desk.seen.map(({ by }) => by as PerEvent);
    expect(first).toBeInstanceOf(PerEvent);
    expect(first).not.toBe(second);
    expect([first, second].map((one) => [one!.request.pattern, one!.request.data.orderId, one!.request.context.type])).toEqual([
      ['orders.order-placed', 'o-1', 'orders.order-placed'],
      ['orders.order-placed', 'o-2', 'orders.order-placed'],
    ]);
  });
});

describe('guards, pipes, interceptors and filters', () => {
  @Injectable()
  class OnlyFromShop implements CanActivate {
    constructor(private readonly desk: Desk) {}

    canActivate(context: ExecutionContext): boolean {
      const message = context.switchToRpc().getContext<Message>();
      this.desk.notes.push(`guard ${context.getType()} ${context.getClass().name} ${context.switchToRpc().getData<OrderPlaced>().orderId}`);
      return message.headers['shop'] === 'yes';
    }
  }

  @Injectable()
  class Timing implements NestInterceptor {
    constructor(private readonly desk: Desk) {}

    intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
      this.desk.notes.push('before');
      return next.handle().pipe(map((result) => void this.desk.notes.push(`after ${String(result)}`)));
    }
  }

  @Injectable()
  class Doubling implements PipeTransform {
    constructor(private readonly desk: Desk) {}

    transform(value: OrderPlaced | Message, { metatype, type }: { metatype?: Type | undefined; type: string }): unknown {
      if (!(value instanceof OrderPlaced)) return value;
      this.desk.notes.push(`pipe ${type} ${metatype?.name}`);
      return Object.assign(new OrderPlaced(value.orderId), { total: value.total * 2 });
    }
  }

  class Poison extends Error {}

  @Catch(Poison)
  class PoisonFilter implements ExceptionFilter {
    catch(error: Poison, host: ArgumentsHost): unknown {
      const { id } = host.switchToRpc().getContext<Message>();
      return of(`${error.message} ${id} was put aside`);
    }
  }

  const OrderId = createParamDecorator((_data: unknown, context: ExecutionContext) => context.switchToRpc().getData<OrderPlaced>().orderId);

  @Injectable()
  @UseGuards(OnlyFromShop)
  class Guarded {
    constructor(readonly desk: Desk) {}

    @UseInterceptors(Timing)
    @UsePipes(Doubling)
    @UseFilters(PoisonFilter)
    @Subscribe(OrderPlaced)
    notify(event: OrderPlaced, message: Message, @OrderId() orderId: string): unknown {
      this.desk.notes.push(`handler ${event.total} ${orderId}`);
      this.desk.take(this, event, message);
      if (event.orderId === 'poison') throw new Poison('poison');
      return of('done');
    }
  }

  it('stand around a handler as they do on any controller', async () => {
    const { desk, publisher } = await start({ providers: [Guarded] });
    await publisher.publish(new OrderPlaced('o-1', 21), { headers: { shop: 'yes' } });
    await until(() => depth().unacknowledged === 0 && desk.seen.length === 1);
    expect(desk.notes).toEqual(['guard rpc Guarded o-1', 'before', 'pipe body OrderPlaced', 'handler 42 o-1', 'after done']);
  });

  it('refuse and forgive: a guard that says no is a failure, a filter that answers is not', async () => {
    const { desk, publisher } = await start({ providers: [Guarded] });
    await publisher.publish(new OrderPlaced('poison'), { id: 'p', headers: { shop: 'yes' } });
    await until(() => desk.seen.length === 1 && depth().unacknowledged === 0);
    await publisher.publish(new OrderPlaced('stranger'), { id: 's' });
    await until(() => lines.some((line) => line.includes('Forbidden')) && depth().unacknowledged === 0);
    expect(depth()).toEqual({ ready: 0, unacknowledged: 0 });
    await clock.advance(1_000);
    await until(() => lines.filter((line) => line.includes('Forbidden')).length === 2);
    expect(lines.filter((line) => line.includes('order-placed p:'))).toEqual([]);
    expect(desk.seen).toHaveLength(1);
  });

  @Injectable()
  class HttpGuard implements CanActivate {
    static asked: string[] = [];

    canActivate(context: ExecutionContext): boolean {
      HttpGuard.asked.push(context.getType());
      // Written for HTTP and nothing else: an event has no headers, so this throws.
      return context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['authorization'] !== undefined;
    }
  }

  @Injectable()
  class EmptyingPipe implements PipeTransform {
    transform(): unknown {
      return {};
    }
  }

  it('that are global were written for HTTP, and leave handlers of events alone', async () => {
    HttpGuard.asked = [];
    const providers = [Notifications, { provide: APP_GUARD, useClass: HttpGuard }, { provide: APP_PIPE, useClass: EmptyingPipe }];
    const { desk, publisher } = await start({ providers });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1 && depth().unacknowledged === 0);
    expect(desk.seen[0]!.event.orderId).toBe('o-1');
    expect(HttpGuard.asked).toEqual([]);
  });

  it('that are global stand before handlers too where inheritAppConfig says so', async () => {
    HttpGuard.asked = [];
    const { publisher } = await start({
      providers: [Notifications, { provide: APP_GUARD, useClass: HttpGuard }],
      options: { inheritAppConfig: true },
    });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => lines.some((line) => line.includes('Notifications.notify failed')));
    expect(HttpGuard.asked).toEqual(['rpc']);
  });

  it("stand around a controller that is nobody's provider, with its own module's instances", async () => {
    @Injectable()
    class Counting implements CanActivate {
      count = 0;

      canActivate(): boolean {
        this.count += 1;
        return true;
      }
    }
    @Controller()
    @UseGuards(Counting)
    class PlainController {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { app, desk, publisher } = await start({ controllers: [PlainController] });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    expect(app.get(Counting, { strict: false }).count).toBe(1);
  });

  it('in request scope work as well', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class ScopedGuard implements CanActivate {
      constructor(
        private readonly desk: Desk,
        @Inject(REQUEST) private readonly request: { readonly data: OrderPlaced },
      ) {}

      canActivate(): boolean {
        this.desk.notes.push(`scoped guard ${this.request.data.orderId}`);
        return true;
      }
    }
    @Controller()
    @UseGuards(ScopedGuard)
    class Scoped {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { desk, publisher } = await start({ controllers: [Scoped] });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1 && depth().unacknowledged === 0);
    expect(desk.notes).toEqual(['scoped guard o-1']);
  });
});

describe('a message that nobody can handle', () => {
  async function send(body: string, properties: object, routingKey = 'orders.order-placed'): Promise<void> {
    const session = broker.session();
    await session.publish({ exchange: 'dovecote.events', routingKey, body: Buffer.from(body), properties });
    await session.close();
  }

  it('is among the dead letters, as it came, and never silent', async () => {
    const { desk } = await start({ providers: [Notifications] });
    await send('{"orderId":', { messageId: 'torn', contentType: 'application/json' });
    await send('[]', { messageId: 'list' });
    await send('<xml/>', { messageId: 'xml', contentType: 'application/xml' });
    await send('{"orderId":"x"}', { headers: { note: 'kept' } });
    await send('{"__proto__":{"isLarge":true},"orderId":"x"}', { messageId: 'proto' });
    await until(() => depth('dovecote.notifications.dead').ready === 5);
    const reasons = ['payload is no JSON \\(', 'its payload is no object', 'application/xml', 'it has no id', '__proto__'];
    for (const reason of reasons)
      expect(lines.filter((line) => new RegExp(`${reason}.*among the dead letters of 'notifications' now\\.$`).test(line))).toHaveLength(1);
    const dead: Delivery[] = [];
    const session = broker.session();
    await session.consume('dovecote.notifications.dead', {}, (delivery) => dead.push(delivery));
    await until(() => dead.length === 5);
    const stranger = dead.find(({ properties }) => properties.headers!['note'] === 'kept')!;
    expect(stranger.body.toString()).toBe('{"orderId":"x"}');
    expect(stranger.properties.headers!['dovecote-death']).toContain('"cause":"unreadable"');
    await session.close();
    expect(desk.seen).toEqual([]);
    expect(depth()).toEqual({ ready: 0, unacknowledged: 0 });
  });

  it('because its type has no handler here is tried again, for a newer instance may have one', async () => {
    await start({ providers: [Notifications] });
    await send('{"orderId":"x"}', { messageId: 'other', type: 'orders.order-lost' });
    await until(() =>
      lines.some((line) => /^Nobody in this service handles orders\.order-lost \(other\).* comes again in \d+ ms\.$/.test(line)),
    );
    for (let attempt = 2; attempt <= 5; attempt++) {
      await settle();
      await clock.advance(60_000);
      await settle();
    }
    await until(() => depth('dovecote.notifications.dead').ready === 1);
    expect(lines.filter((line) => line.startsWith('Nobody in this service handles'))).toHaveLength(5);
  });

  it('is read where a stranger sent no more than JSON and an id', async () => {
    const { desk } = await start({ providers: [Notifications] });
    await send('{"orderId":"o-9","total":3}', {
      messageId: 'from-python',
      timestamp: 1_700_000_000,
      appId: 'shop',
      headers: { retries: 2, 'x-death': [] },
    });
    await until(() => desk.seen.length === 1);
    const { event, message } = desk.seen[0]!;
    expect(event).toEqual(Object.assign(Object.create(OrderPlaced.prototype) as object, { orderId: 'o-9', total: 3 }));
    expect([message.id, message.source, message.time?.toISOString(), message.key, message.version]).toEqual([
      'from-python',
      'shop',
      '2023-11-14T22:13:20.000Z',
      undefined,
      undefined,
    ]);
    expect({ ...message.headers }).toEqual({ retries: '2' });
  });
});

describe('the shutdown', () => {
  it('takes no more, lets running handlers finish and publish, and gives back what waits', async () => {
    const { app, desk, publisher } = await start({ providers: [Notifications], options: { prefetch: 2 } });
    let finish = (): void => undefined;
    desk.behave = async () => {
      await new Promise<void>((resolve) => (finish = resolve));
      await publisher.publish(new OrderPaid('o-1'));
    };
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    desk.behave = () => {
      throw new Error('down');
    };
    await publisher.publish(new OrderPlaced('o-2'));
    await until(() => desk.seen.length === 2 && depth().unacknowledged === 1);
    let isClosed = false;
    const closed = app.close().then(() => (isClosed = true));
    await settle();
    await publisher.publish(new OrderPlaced('o-3'));
    await settle();
    expect([isClosed, depth().unacknowledged, depth().ready]).toEqual([false, 1, 1]);
    finish();
    await clock.drive(closed);
    expect(desk.seen).toHaveLength(2);
    await clock.advance(1_000);
    await until(() => depth().ready === 2);
    expect(depth().unacknowledged).toBe(0);
    await expect(publisher.publish(new OrderPlaced('late'))).rejects.toMatchObject({ code: 'closed' });
  });

  it('aborts the signal of a handler that takes too long, and its event goes back', async () => {
    const { app, desk, publisher } = await start({ providers: [Notifications], options: { drainTimeoutMs: 5_000 } });
    const endings: string[] = [];
    desk.behave = (event, { signal }) =>
      new Promise((_resolve, reject) => {
        const stop = (): void => {
          endings.push(`${event.orderId} stopped at ${clock.monotonicMs()}`);
          reject(new Error('stopped'));
        };
        if (event.orderId === 'polite') signal.addEventListener('abort', stop);
      });
    await publisher.publish(new OrderPlaced('polite'));
    await publisher.publish(new OrderPlaced('deaf'));
    await until(() => desk.seen.length === 2);
    const startedMs = clock.monotonicMs();
    await clock.drive(app.close());
    expect(endings).toEqual([`polite stopped at ${startedMs + 5_000}`]);
    expect(clock.monotonicMs()).toBe(startedMs + 6_000);
    expect(depth()).toEqual({ ready: 2, unacknowledged: 0 });
    expect(lines.filter((line) => line.includes('still running after 5000 ms'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('did not stop'))).toHaveLength(1);
    expect(desk.seen.find(({ event }) => event.orderId === 'deaf')!.message.signal.aborted).toBe(true);
  });
});

describe('publish', () => {
  it('refuses what cannot travel, with a sentence that says what to do', async () => {
    const { publisher } = await start({});
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
    const { desk, publisher } = await start({ providers: [Notifications] });
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
    expect(await refusal({ providers: [Notifications, Mailer] })).toMatch(
      /^subscribed-twice: In the service 'notifications', \S+ and \S+ both subscribe to orders\.order-placed\./,
    );
    expect(await refusal({ providers: [Mailer], imports: [MailModule] })).toMatch(
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
    expect(await refusal({ providers: [Wrong] })).toMatch(/^not-an-event: Wrong\.handle subscribes to Plain, .* put @EventMessage/);
    expect(() => EventMessage('spaces are wrong')(Plain)).toThrow(/must be words of letters/);
    expect(() => EventMessage('fine', { version: 0 })(Plain)).toThrow(/version must be a whole number/);
  });

  it('when the broker cannot be', async () => {
    const withBroker = (choice: MessagingOptions['broker']): Promise<string> => refusal({ options: { broker: choice } });
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
    expect(await refusal({ options: { service: '' } })).toMatch(/^invalid-options: .* service must be the name/);
    expect(await refusal({ options: { prefetch: 0 } })).toMatch(
      /^invalid-options: .* prefetch must be a whole number of at least 1 and at most 65535; it is 0/,
    );
    expect(await refusal({ options: { publishTimeoutMs: 1.5 } })).toMatch(/publishTimeoutMs must be/);
    @Injectable()
    class Zero {
      @Subscribe(OrderPlaced, { concurrency: 0 })
      handle(): void {}
    }
    expect(await refusal({ providers: [Zero] })).toMatch(
      /^invalid-options: Zero\.handle: concurrency must be a whole number from 1, not 0/,
    );
  });
});
