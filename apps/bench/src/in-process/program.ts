/**
 * One service with its broker in the same process, publishing to itself: how many messages a second come from `publish` to the handler, and
 * what each costs the process that does both.
 *
 *   node program.js raw|nest|framework WARMUP_MS MEASURE_MS DURABILITY [DATA_FOLDER]
 *
 * `raw` goes through a session of the broker. `framework` goes through `Publisher` and a method with `@Subscribe`, with a guard and an interceptor
 * before it. `nest` is that method called by Nest's own builder: nothing is published. A program, started by the benchmark: it prints one line of JSON and ends. Nothing survives it.
 */
import 'reflect-metadata';
import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Injectable,
  Module,
  type NestInterceptor,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { ExternalContextCreator, NestFactory } from '@nestjs/core';
import { Broker, type Durability } from '@dovecote/broker';
import { DovecoteModule, EventMessage, Publisher, Subscribe } from '@dovecote/messaging';
import { type Observable, tap } from 'rxjs';

/** Published and not yet handled, at most: a confirm comes before the message is handled, and would not bound what waits. */
const underWayMax = 1000;
/** What a consumer of the raw session may hold unacknowledged; the framework has a default of its own. */
const rawPrefetch = 1000;
/** That default: as many calls of the handler are under way at once. */
const prefetch = 100;
const bodyBytes = 100;

const count = { handled: 0, guarded: 0, intercepted: 0, published: 0 };

@EventMessage('bench.measured', { version: 1, key: (event: Measured) => event.orderId })
class Measured {
  constructor(
    readonly orderId: string,
    readonly amount: number,
    readonly note: string,
  ) {}
}

@Injectable()
class Guard implements CanActivate {
  canActivate(_context: ExecutionContext): boolean {
    count.guarded++;
    return true;
  }
}

@Injectable()
class Interceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(tap(() => void count.intercepted++));
  }
}

@Injectable()
class Handlers {
  @Subscribe(Measured)
  @UseGuards(Guard)
  @UseInterceptors(Interceptor)
  take(event: Measured): void {
    if (event.amount < 0) throw new Error('nobody sent that');
    handled();
  }
}

let publishOne: (() => Promise<unknown>) | undefined;

/** Publishes what may be under way. */
function pump(): void {
  while (publishOne !== undefined && count.published - count.handled < underWayMax) {
    count.published++;
    publishOne().then(undefined, fail);
  }
}

/** A message came through to its handler. */
function handled(): void {
  // In lots, as an application that does something with a result would: one by one, it would be called from within itself.
  if (++count.handled % 16 === 0) queueMicrotask(pump);
}

function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}

async function startRaw(durability: Durability, data: string | undefined): Promise<void> {
  const broker = await Broker.open(data === undefined ? { durability } : { durability, data });
  const session = broker.session();
  await session.declareQueue('bench', { durable: true });
  await session.consume('bench', { prefetch: rawPrefetch }, (delivery) => {
    if (delivery.body.length === bodyBytes) handled();
    delivery.acknowledge();
  });
  const message = { exchange: '', routingKey: 'bench', body: Buffer.alloc(bodyBytes, 1), properties: { deliveryMode: 2 as const } };
  publishOne = () => session.publish(message);
  pump();
}

async function startFramework(durability: Durability, data: string | undefined): Promise<void> {
  const broker = { url: data === undefined ? 'embedded:' : `embedded:${data}`, durability };
  class AppModule {}
  Module({ imports: [DovecoteModule.forRoot({ service: 'bench', broker })], providers: [Handlers, Guard, Interceptor] })(AppModule);
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
  const publisher = app.get(Publisher);
  const note = '.'.repeat(bodyBytes - 50);
  publishOne = () => publisher.publish(new Measured(`order-${count.published % 1000}`, count.published % 97, note));
  pump();
}

async function startNest(): Promise<void> {
  class AppModule {}
  Module({ providers: [Handlers, Guard, Interceptor] })(AppModule);
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
  const handlers = app.get(Handlers);
  const everything = { guards: true, interceptors: true, filters: true };
  const method = Reflect.get(handlers, 'take') as (...args: unknown[]) => unknown;
  const creator = app.get(ExternalContextCreator);
  const call = creator.create(handlers, method, 'take', undefined, undefined, undefined, undefined, everything, 'rpc');
  const event = new Measured('order-1', 1, '.'.repeat(bodyBytes - 50));
  const callAll = (): void => {
    const calls = Array.from({ length: prefetch }, () => call(event, {}) as Promise<unknown>);
    Promise.all(calls).then(() => setImmediate(callAll), fail);
  };
  callAll();
}

async function measure(): Promise<void> {
  const [kind, warmup, stretch, durability, data] = process.argv.slice(2);
  const start = kind === 'raw' ? startRaw : kind === 'nest' ? startNest : startFramework;
  await start(durability as Durability, data);
  const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  await pass(Number(warmup));
  const before = { ...count, at: performance.now(), cpu: process.cpuUsage() };
  await pass(Number(stretch));
  const { user, system } = process.cpuUsage(before.cpu);
  const messages = count.handled - before.handled;
  const seconds = (performance.now() - before.at) / 1000;
  if (kind !== 'raw' && (count.guarded < count.handled || count.intercepted < count.handled - underWayMax))
    throw new Error('a guard or an interceptor was passed by');
  const result = { perSecond: messages / seconds, cpuUsPerMessage: (user + system) / messages, residentBytes: process.memoryUsage().rss };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

measure().catch(fail);
