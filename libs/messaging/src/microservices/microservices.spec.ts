/** Controllers and clients of Nest's microservices as an application meets them: on the embedded broker, over AMQP and over Kafka. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { type CanActivate, Controller, Inject, Injectable, Logger, Scope, type Type, UseFilters, UseGuards } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import {
  type ClientProxy,
  ClientsModule,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  type RequestContext,
  RpcException,
} from '@nestjs/microservices';
import { Test, type TestingModule } from '@nestjs/testing';
import { type Observable, Subject, firstValueFrom, lastValueFrom, of, throwError } from 'rxjs';
import {
  DovecoteModule,
  EventMessage,
  Handle,
  type Message,
  MessagingError,
  type MessagingOptions,
  Publisher,
  QueryMessage,
  RequestError,
  Subscribe,
} from '../index.js';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import { turn } from '../turn.js';
import { DovecoteClient, DovecoteContext, type DovecoteRecord, DovecoteRecordBuilder, DovecoteServer, ErrorsAsThrown } from './index.js';
import { handlerError } from './handler-error.js';
import { typeOf } from './message-type.js';

class OutOfStock extends Error {
  readonly code = 'out-of-stock';
}

/** What the controllers of a test saw, and how they should behave. */
let seen: { readonly data: unknown; readonly message: Message; readonly pattern: string }[];
let behave: (data: unknown, message: Message) => unknown;

function take(data: unknown, context: DovecoteContext): unknown {
  const message = context.getMessage();
  seen.push({ data, message, pattern: context.getPattern() });
  return behave(data, message);
}

/** For a test with a handler that never ends. */
const impatient = { drainTimeoutMs: 0, abortGraceMs: 0 };

const quickly = { retry: { attempts: 3, backoff: 'immediate', fatal: [OutOfStock] } } as const;

@Controller()
@UseFilters(ErrorsAsThrown)
class Billing {
  @EventPattern<string>('orders.*', quickly)
  note(@Payload() data: unknown, @Ctx() context: DovecoteContext): unknown {
    return take(data, context);
  }

  @MessagePattern('invoices.total', quickly)
  total(@Payload() data: unknown, @Ctx() context: DovecoteContext): unknown {
    return take(data, context);
  }

  @MessagePattern({ cmd: 'sum' })
  sum(numbers: readonly number[]): number {
    return numbers.reduce((sum, number) => sum + number, 0);
  }
}

let clock: JumpingClock;
let lines: string[];
const closing: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  clock = new JumpingClock();
  lines = [];
  seen = [];
  behave = () => undefined;
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  Logger.overrideLogger(false);
});

const write = (line: unknown): void => void lines.push(String(line));
const logger = { log: write, warn: write, error: write };

async function openBroker(): Promise<Broker> {
  const kafka = { port: 0, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, kafka, ground: { ...realGround(), clock } });
  closing.push(() => broker.close());
  return broker;
}

interface Parts {
  readonly controllers?: Type[];
  readonly providers?: Type[];
  readonly options?: Partial<MessagingOptions>;
}

interface Service {
  readonly server: DovecoteServer;
  close(): Promise<unknown>;
}

/** A service whose controllers are reached through the strategy. */
async function serve(service: string, broker: MessagingOptions['broker'], parts: Parts = {}): Promise<Service> {
  const { controllers = [Billing], providers = [], options = {} } = parts;
  const module = await Test.createTestingModule({ controllers, providers }).compile();
  const server = new DovecoteServer({ service, broker, ground: { ...realGround(), clock }, ...options });
  const app = module.createNestMicroservice({ strategy: server, logger });
  await app.listen();
  closing.push(() => app.close());
  return { server, close: () => app.close() };
}

/** An application with a client, as `ClientsModule` makes it. */
async function client(broker: MessagingOptions['broker'], options: object = {}): Promise<ClientProxy> {
  const ground = { ...realGround(), clock };
  const app: TestingModule = await Test.createTestingModule({
    imports: [
      ClientsModule.register([{ name: 'BROKER', customClass: DovecoteClient, options: { service: 'shop', broker, ground, ...options } }]),
    ],
  }).compile();
  app.useLogger(logger);
  await app.init();
  closing.push(() => app.close());
  return app.get<ClientProxy>('BROKER');
}

/** Now and then the clock jumps: who subscribed to a pattern on a log looks for new topics by it. */
async function until(isTrue: () => boolean): Promise<void> {
  for (let turns = 0; !isTrue(); turns++) {
    if (turns > 20_000) throw new Error(`what the test waits for did not happen; the log says ${lines.join('\n')}`);
    if (turns % 500 === 499) clock.jump(500);
    await turn();
  }
}

async function errorOf(work: Promise<unknown>): Promise<Error & { readonly code: string }> {
  return work.then(
    () => Object.assign(new Error('it did not fail'), { code: 'none' }),
    (error: unknown) => error as Error & { readonly code: string },
  );
}

const emit = (proxy: ClientProxy, type: unknown, data: unknown): Promise<unknown> =>
  lastValueFrom(proxy.emit(type, data), { defaultValue: undefined });
const send = (proxy: ClientProxy, type: unknown, data: unknown): Promise<unknown> => lastValueFrom(proxy.send(type, data));
const query = (data: object): DovecoteRecordBuilder => new DovecoteRecordBuilder(data);

describe.each(['embedded', 'amqp', 'kafka'])('over %s', (kind) => {
  async function brokerFor(): Promise<MessagingOptions['broker']> {
    const broker = await openBroker();
    if (kind === 'kafka') return `kafka://127.0.0.1:${broker.kafkaPort}`;
    return kind === 'embedded' ? { broker } : `amqp://guest:guest@127.0.0.1:${broker.amqpPort}`;
  }

  it('an event comes to the controller, with what travelled beside it', async () => {
    const broker = await brokerFor();
    await serve('billing', broker);
    const shop = await client(broker);
    const record: DovecoteRecord = query({ orderId: 'o-1' }).setKey('o-1').setHeaders({ tenant: 'blue' }).setOptions({ id: 'e-1' }).build();
    await emit(shop, 'orders.order-placed', record);
    await until(() => seen.length === 1);
    const [{ data, message, pattern }] = seen as [(typeof seen)[number]];
    expect(data).toEqual({ orderId: 'o-1' });
    expect(pattern).toBe('orders.*');
    expect(message).toMatchObject({ id: 'e-1', type: 'orders.order-placed', key: 'o-1', source: 'shop', attempt: 1 });
    expect({ ...message.headers }).toEqual({ tenant: 'blue' });
  });

  it('a request is answered: any JSON both ways, a stream by its last value', async () => {
    const broker = await brokerFor();
    await serve('billing', broker);
    const shop = await client(broker);
    expect(await send(shop, { cmd: 'sum' }, [1, 2, 39])).toBe(42);
    behave = () => of(1, 2, { total: 3 });
    expect(await send(shop, 'invoices.total', 'o-1')).toEqual({ total: 3 });
    behave = () => null;
    expect(await send(shop, 'invoices.total', 7)).toBeNull();
    expect(seen.map(({ data }) => data)).toEqual(['o-1', 7]);
  });

  it('an error is answered as a value; a query is asked once, a command tried again', async () => {
    const broker = await brokerFor();
    await serve('billing', broker);
    const shop = await client(broker);
    behave = () => throwError(() => new OutOfStock('nothing left'));
    const asked = await errorOf(send(shop, 'invoices.total', 'o-1'));
    expect(asked).toBeInstanceOf(RequestError);
    expect([asked.code, asked.message]).toEqual(['out-of-stock', 'invoices.total was refused by billing: nothing left']);
    expect(seen.length).toBe(1);
    behave = (_data, message) => {
      if (message.attempt < 3) throw new Error('not yet');
      return 'done';
    };
    expect(await send(shop, 'invoices.total', query({}).setOptions({ kind: 'command' }).build())).toBe('done');
    expect(seen.map(({ message }) => message.attempt)).toEqual([1, 1, 2, 3]);
  });

  it('a handler that fails has its event so often and no more, then it is a dead letter with its reason', async () => {
    const broker = await brokerFor();
    const { server } = await serve('billing', broker);
    const shop = await client(broker);
    behave = (data) => {
      throw data === 'fatal' ? new OutOfStock('nothing left') : new Error('the printer is away');
    };
    await emit(shop, 'orders.order-placed', query({ n: 1 }).setKey('a').build());
    await until(() => seen.length === 3);
    await emit(shop, 'orders.order-paid', 'fatal');
    await until(() => lines.filter((line) => line.includes('dead letters')).length === 2);
    await until(() => seen.length === 4);
    const letters = await readAll(server, 2);
    expect(letters.map(({ type, death }) => [type, death?.cause, death?.reason, death?.handler])).toEqual([
      ['orders.order-paid', 'fatal', 'nothing left', "@EventPattern('orders.*')"],
      ['orders.order-placed', 'attempts', 'the printer is away', "@EventPattern('orders.*')"],
    ]);
  });

  /** A letter is said to be there a moment before the broker has it. */
  async function readAll(server: DovecoteServer, count: number): Promise<Awaited<ReturnType<DovecoteServer['deadLetters']['list']>>> {
    for (let tries = 0; tries < 200; tries++) {
      const letters = await server.deadLetters.list();
      if (letters.length === count) return letters.toSorted((one, other) => (one.type < other.type ? -1 : 1));
      await turn();
    }
    throw new Error(`there never were ${count} dead letters`);
  }

  it('what the decorators of this package send and take is the same', async () => {
    const broker = await brokerFor();
    await serve('billing', broker);
    const ground = { ...realGround(), clock };
    const app = await Test.createTestingModule({
      imports: [DovecoteModule.forRoot({ service: 'notes', broker, ground })],
      providers: [Notes],
    }).compile();
    app.useLogger(logger);
    await app.init();
    closing.push(() => app.close());
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await until(() => seen.length === 1);
    expect(seen[0]!.data).toEqual({ orderId: 'o-1' });
    behave = () => 12;
    expect(await app.get(Publisher).request(new InvoicesTotal('o-1'))).toBe(12);
    const shop = await client(broker);
    expect(await send(shop, 'notes.count', { of: 'all' })).toBe('Count all');
    await emit(shop, 'orders.order-placed', { orderId: 'o-2' });
    await until(() => app.get(Notes).seen.length === 2);
    expect(app.get(Notes).seen).toEqual(['OrderPlaced o-1', 'OrderPlaced o-2']);
  });
});

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@QueryMessage('invoices.total')
class InvoicesTotal {
  constructor(readonly orderId: string) {}
}

@QueryMessage('notes.count')
class Count {
  readonly of!: string;
}

@Injectable()
class Notes {
  readonly seen: string[] = [];

  @Subscribe(OrderPlaced)
  note(event: OrderPlaced): void {
    this.seen.push(`${event.constructor.name} ${event.orderId}`);
  }

  @Handle(Count)
  count(question: Count): string {
    return `${question.constructor.name} ${question.of}`;
  }
}

describe('an event', () => {
  it('is acknowledged when the stream of its handler has completed, and not before', async () => {
    const broker = await openBroker();
    const stream = new Subject<string>();
    behave = () => stream;
    const first = await serve('billing', { broker }, { options: impatient });
    const shop = await client({ broker });
    await emit(shop, 'orders.order-placed', { n: 1 });
    await until(() => seen.length === 1);
    stream.next('some of it is done');
    await turn();
    const queue = (): { readonly unacknowledgedCount?: number; readonly messageCount: number } =>
      broker.inspect().queues.find(({ name }) => name === 'dovecote.billing')!;
    await first.close();
    expect(queue().messageCount).toBe(1);
    behave = () => of('done');
    await serve('billing', { broker });
    await until(() => seen.length === 2);
    expect(seen[1]!.message.isRedelivered).toBe(true);
    await until(() => queue().messageCount === 0);
  });

  it('that several methods take is done when all of them are, and comes to all again when one failed', async () => {
    const calls: string[] = [];
    @Controller()
    @UseFilters(ErrorsAsThrown)
    class Two {
      @EventPattern<string>('orders.order-placed', { retry: { attempts: 2, backoff: 'immediate' } })
      first(): Observable<never> | undefined {
        calls.push('first');
        return calls.length <= 2 ? throwError(() => new Error('not yet')) : undefined;
      }

      @EventPattern<string>('orders.order-placed')
      async second(): Promise<void> {
        await turn();
        calls.push('second');
      }
    }
    const broker = await openBroker();
    const { server } = await serve('billing', { broker }, { controllers: [Two] });
    await emit(await client({ broker }), 'orders.order-placed', { n: 1 });
    await until(() => calls.length === 4);
    expect(calls).toEqual(['first', 'second', 'first', 'second']);
    expect(await server.deadLetters.list()).toEqual([]);
  });

  it('of a stranger is JSON with a message-id and no more', async () => {
    const broker = await openBroker();
    await serve('billing', { broker });
    const session = broker.session();
    closing.push(() => session.close());
    const foreign = (messageId: string, body: string): Promise<unknown> =>
      session.publish({ exchange: 'dovecote.events', routingKey: 'orders.legacy', body: Buffer.from(body), properties: { messageId } });
    await foreign('f-1', '{"pattern":"orders.other","data":1}');
    await foreign('f-2', '["a", 2]');
    await until(() => seen.length === 2);
    expect(seen.map(({ data }) => data)).toEqual([{ pattern: 'orders.other', data: 1 }, ['a', 2]]);
    expect(seen[0]!.message).toMatchObject({ id: 'f-1', type: 'orders.legacy', source: 'unknown' });
    await foreign('f-3', 'no JSON');
    await until(() => lines.some((line) => line.includes('orders.legacy f-3 cannot be read')));
    expect(seen.length).toBe(2);
  });

  it("says what Nest's own filter leaves of an error where no other is there, and what an RpcException says", async () => {
    @Controller()
    class Plain {
      @EventPattern<string>('orders.order-placed', { retry: { attempts: 1 } })
      fail(data: { readonly isMeant: boolean }): void {
        if (!data.isMeant) throw new Error('hidden by Nest');
        throw new RpcException({ message: 'never again', retryable: false });
      }
    }
    const broker = await openBroker();
    const { server } = await serve('billing', { broker }, { controllers: [Plain] });
    const shop = await client({ broker });
    for (const isMeant of [false, true]) await emit(shop, 'orders.order-placed', { isMeant });
    await until(() => lines.filter((line) => line.includes('dead letters')).length === 2);
    const letters = await server.deadLetters.list();
    expect(new Map(letters.map(({ death }) => [death?.cause, death?.reason]))).toEqual(
      new Map([
        ['attempts', 'Internal server error'],
        ['fatal', 'never again'],
      ]),
    );
  });

  it('emitted in a handler carries on what the message in hand came of', async () => {
    const broker = await openBroker();
    const shop = await client({ broker }, { service: 'billing-client' });
    behave = (_data, { type }) => (type === 'orders.order-placed' ? shop.emit('orders.order-billed', {}) : undefined);
    await serve('billing', { broker });
    await emit(shop, 'orders.order-placed', query({}).setOptions({ id: 'first' }).build());
    await until(() => seen.length === 2);
    expect(seen[1]!.message).toMatchObject({ type: 'orders.order-billed', correlationId: 'first', causationId: 'first' });
  });

  it('that cannot be published fails what emit returned, and is told where nobody looked', async () => {
    const broker = await openBroker();
    const shop = await client({ broker });
    const errors = (): string[] => lines.filter((line) => line.includes(' was not published: '));
    const error = await errorOf(emit(shop, 'orders.*', {}));
    expect([error.code, error.message]).toEqual([
      'invalid-publish',
      "'orders.*' is no type of messages: words of letters, digits, - and _ with dots between, such as 'orders.order-placed'.",
    ]);
    shop.emit('orders.order-placed', query({}).setKey('').build());
    await until(() => errors().length === 2);
    expect(errors()[1]).toContain('orders.order-placed was not published: ');
  });
});

describe('a controller', () => {
  it('has its guards, and an instance of its own for each message where it asks for that', async () => {
    const instances = new Set<object>();
    @Injectable()
    class Even implements CanActivate {
      canActivate(context: { switchToRpc(): { getData(): number; getContext(): DovecoteContext } }): boolean {
        const rpc = context.switchToRpc();
        return rpc.getContext() instanceof DovecoteContext && rpc.getData() % 2 === 0;
      }
    }
    @Controller({ scope: Scope.REQUEST })
    @UseFilters(ErrorsAsThrown)
    @UseGuards(Even)
    class Scoped {
      constructor(@Inject(REQUEST) readonly request: RequestContext<number>) {}

      @MessagePattern('numbers.halve')
      halve(number: number): string {
        instances.add(this);
        return `${number / 2} of ${this.request.data}`;
      }
    }
    const broker = await openBroker();
    await serve('numbers', { broker }, { controllers: [Scoped], providers: [Even] });
    const shop = await client({ broker });
    expect([await send(shop, 'numbers.halve', 4), await send(shop, 'numbers.halve', 6)]).toEqual(['2 of 4', '3 of 6']);
    expect(instances.size).toBe(2);
    expect((await errorOf(send(shop, 'numbers.halve', 3))).message).toContain('numbers.halve was refused by numbers: Forbidden');
  });

  it('runs between the hooks of the server, also where they return nothing', async () => {
    const broker = await openBroker();
    const spans: string[] = [];
    const { server } = await serve('billing', { broker });
    server.setOnProcessingStartHook((_id, context, done) => {
      spans.push(`starts ${(context as DovecoteContext).getMessage().type}`);
      void done();
    });
    server.setOnProcessingEndHook(() => void spans.push('ends'));
    behave = () => {
      spans.push('runs');
      throw new OutOfStock('nothing left');
    };
    const asked = await errorOf(send(await client({ broker }), 'invoices.total', 1));
    expect([asked.code, ...spans]).toEqual(['out-of-stock', 'starts invoices.total', 'runs', 'ends']);
  });
});

describe('a request', () => {
  it('that nobody handles is refused, and one that is not answered in time says so', async () => {
    const broker = await openBroker();
    const shop = await client({ broker }, { timeoutMs: 300 });
    expect((await errorOf(send(shop, 'invoices.total', 1))).code).toBe('nobody-there');
    await serve('billing', { broker }, { options: impatient });
    behave = () => new Subject();
    const late = errorOf(send(shop, 'invoices.total', 1));
    await until(() => seen.length === 1);
    await clock.pass(400);
    expect(await late).toMatchObject({ code: 'request-timeout', retryable: true });
    const delayed = errorOf(send(shop, 'invoices.total', query({}).setOptions({ delayMs: 5 }).build()));
    expect((await delayed).message).toBe('invoices.total cannot be asked later: delayMs and at are for emit.');
  });

  it('under way when the client closes is told so, and the client connects again when it is used again', async () => {
    const broker = await openBroker();
    await serve('billing', { broker }, { options: impatient });
    const shop = await client({ broker });
    behave = () => new Subject();
    const asked = errorOf(send(shop, 'invoices.total', 1));
    await until(() => seen.length === 1);
    await shop.close();
    expect((await asked).code).toBe('closed');
    behave = () => 'again';
    expect(await send(shop, 'invoices.total', 2)).toBe('again');
    expect(await firstValueFrom(shop.status)).toBe('started');
  });
});

describe('the start is refused', () => {
  async function refusal(controller: Type, broker?: MessagingOptions['broker']): Promise<string> {
    const error = await errorOf(serve('billing', broker ?? { broker: await openBroker() }, { controllers: [controller] }));
    expect(error).toBeInstanceOf(MessagingError);
    return error.message;
  }

  it('where a pattern, an option or two methods together cannot be', async () => {
    @Controller()
    class Spaced {
      @EventPattern<string>('order placed')
      take(): void {}
    }
    @Controller()
    class Expression {
      @EventPattern<RegExp>(/orders/)
      take(): void {}
    }
    @Controller()
    class Twice {
      @MessagePattern('a.b')
      one(): void {}

      @MessagePattern('a.b')
      other(): void {}
    }
    @Controller()
    class Overlapping {
      @EventPattern<string>('orders.#')
      all(): void {}

      @EventPattern<string>('orders.order-placed')
      one(): void {}
    }
    @Controller()
    class Batches {
      @EventPattern<string>('orders.#', { batch: { size: 3 } })
      all(): void {}
    }
    @Controller()
    class Ordered {
      @EventPattern<string>('orders.#', { order: 'key', delivery: 'at-most-once' })
      all(): void {}
    }
    expect(await refusal(Spaced)).toContain("@EventPattern('order placed'): 'order placed' is no pattern of types");
    expect(await refusal(Expression)).toContain("'/orders/' is no pattern of types");
    expect(await refusal(Twice)).toContain("In the service 'billing', several methods handle the requests of 'a.b'");
    expect(await refusal(Overlapping)).toContain("@EventPattern('orders.#') and @EventPattern('orders.order-placed') both subscribe to");
    expect(await refusal(Batches)).toContain('asks for batches, which only @Subscribe can take');
    expect(await refusal(Ordered)).toContain(
      "@EventPattern('orders.#'): what is handed out at most once is gone where it fails, so there is no order 'key' to keep",
    );
  });
});

describe('parts', () => {
  it("types are Nest's patterns with dots between their words, whatever the order of their names", () => {
    expect(typeOf('a.b')).toBe('a.b');
    expect(typeOf(7)).toBe('7');
    expect([typeOf({ cmd: 'sum' }), typeOf({ b: { d: 2, c: 1 }, a: 'x' }), typeOf({ a: 'x', b: { c: 1, d: 2 } })]).toEqual([
      'cmd.sum',
      'a.x.b.c.1.d.2',
      'a.x.b.c.1.d.2',
    ]);
  });

  it('what was thrown becomes an error with its message', () => {
    const error = new Error('as it is');
    expect(handlerError(error)).toBe(error);
    expect(handlerError('text').message).toBe('text');
    expect(handlerError({ status: 'error', message: 'said', code: 'c' })).toMatchObject({ message: 'said', status: 'error', code: 'c' });
    expect(handlerError({ reason: 'none' }).message).toBe('{"reason":"none"}');
  });
});
