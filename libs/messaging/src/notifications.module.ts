/**
 * What the tests of the module share: a service `notifications` on a broker in memory, with time that the test moves, and a desk on which its handlers put down
 * what they saw. For tests only.
 */
import assert from 'node:assert/strict';
import { Broker } from '@dovecote/broker';
import { type Clock, RealClock, realGround } from '@dovecote/ground';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { type INestApplicationContext, Injectable, Logger, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DovecoteModule, EventMessage, Message, MessagingError, type MessagingOptions, Publisher, Subscribe } from './index.js';

@EventMessage('orders.order-placed', { version: 2, key: (event: OrderPlaced) => event.orderId })
export class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly total = 1,
  ) {}

  get isLarge(): boolean {
    return this.total > 100;
  }
}

@EventMessage('orders.order-paid')
export class OrderPaid {
  constructor(readonly orderId: string) {}
}

/** What the handlers of a test saw, and how they should behave. */
export class Desk {
  readonly seen: { event: OrderPlaced | OrderPaid; message: Message; by: object }[] = [];
  readonly notes: unknown[] = [];
  behave: (event: OrderPlaced | OrderPaid, message: Message) => unknown = () => undefined;

  take(by: object, event: OrderPlaced | OrderPaid, message: Message): unknown {
    this.seen.push({ by, event, message });
    return this.behave(event, message);
  }
}

@Injectable()
export class Notifications {
  constructor(readonly desk: Desk) {}

  @Subscribe(OrderPlaced)
  notify(event: OrderPlaced, message: Message): unknown {
    return this.desk.take(this, event, message);
  }
}

interface Parts {
  readonly providers?: readonly Provider[];
  readonly controllers?: readonly Type[];
  readonly imports?: readonly Type[];
  readonly options?: Partial<MessagingOptions>;
}

export class NotificationsWorld {
  /** What the applications said. */
  readonly lines: string[] = [];
  readonly #apps: INestApplicationContext[] = [];

  private constructor(
    readonly broker: Broker,
    readonly clock: SimulatedClock,
  ) {}

  static async open(): Promise<NotificationsWorld> {
    const clock = new SimulatedClock();
    const broker = await Broker.open({ durability: 'memory', ground: { ...realGround(), clock: aroundTheClock(clock) } });
    return new NotificationsWorld(broker, clock);
  }

  async close(): Promise<void> {
    for (const app of this.#apps.splice(0)) await this.clock.drive(app.close());
    await this.broker.close();
    Logger.overrideLogger(false);
  }

  /** Closed with the others. */
  keep(app: INestApplicationContext): void {
    this.#apps.push(app);
  }

  /** A running application. */
  async start(parts: Parts): Promise<{ app: INestApplicationContext; desk: Desk; publisher: Publisher }> {
    const app = await this.#create(parts);
    this.keep(app);
    return { app, desk: app.get(Desk), publisher: app.get(Publisher) };
  }

  /** The sentence with which the application refuses to start. */
  async refusal(parts: Parts): Promise<string> {
    const error: unknown = await this.#create(parts).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof MessagingError, `it was not refused with a MessagingError: ${String(error)}`);
    return `${error.code}: ${error.message}`;
  }

  depth(wanted = 'dovecote.notifications'): { ready: number; unacknowledged: number } {
    const queue = this.broker.inspect().queues.find(({ name }) => name === wanted);
    return { ready: queue?.messageCount ?? -1, unacknowledged: queue?.unacknowledgedCount ?? -1 };
  }

  #create({ providers = [], controllers = [], imports = [], options = {} }: Parts): Promise<INestApplicationContext> {
    const { broker, clock } = this;
    const write = (line: unknown): void => void this.lines.push(String(line));
    const ground = { clock, random: new SeededRandom(1) };
    const module = {
      module: class AppModule {},
      imports: [DovecoteModule.forRoot({ service: 'notifications', broker: { broker }, ground, ...options }), ...imports],
      controllers: [...controllers],
      providers: [Desk, ...providers],
    };
    return NestFactory.createApplicationContext(module, { abortOnError: false, logger: { log: write, warn: write, error: write } });
  }
}

/** What the broker has under way goes on by itself; what it waits for comes when the test moves the clock. */
function aroundTheClock(clock: SimulatedClock): Clock {
  const real = new RealClock();
  return {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, run) => clock.after(delayMs, run),
    defer: (run) => real.defer(run),
  };
}
