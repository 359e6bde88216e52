/** Our side of the comparison, over either protocol: a Nest application with `Publisher`, or with `@Subscribe`. Everything as it comes, but for the retries, which are short. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type BrokerOptions, DovecoteModule, EventMessage, Publisher, Subscribe } from '@dovecote/messaging';
import { type Client, type ClientSettings, type Order, fail, runClient } from './client-program.js';

async function open({ role, at, name, poison }: ClientSettings, take: (order: Order) => Promise<void> | void): Promise<Client> {
  // A type of this run alone, so that it meets nothing of the last one's.
  @EventMessage(`${name}.placed`, { version: 1, key: (event: Placed) => event.orderId })
  class Placed implements Order {
    constructor(
      readonly orderId: string,
      readonly amount: number,
      readonly note: string,
      readonly isPoison: boolean,
    ) {}
  }

  @Injectable()
  class Handlers {
    @Subscribe(Placed, { retry: { attempts: 3, backoff: 'delayed', firstMs: 500 } })
    take(event: Placed): Promise<void> | void {
      return take(event);
    }
  }

  class AppModule {}
  const sessionMs = 6_000;
  const broker: BrokerOptions = at.startsWith('kafka')
    ? { url: at, kafka: { partitions: 8, sessionTimeoutMs: sessionMs, rebalanceTimeoutMs: sessionMs } }
    : { url: at };
  const providers = role === 'handle' ? [Handlers] : [];
  Module({ imports: [DovecoteModule.forRoot({ service: role === 'handle' ? name : `${name}-publisher`, broker })], providers })(AppModule);
  const app = await NestFactory.createApplicationContext(AppModule, { logger: poison === 'throws' ? false : ['error'] });
  const publisher = app.get(Publisher);
  return {
    publish: ({ orderId, amount, note, isPoison }) => publisher.publish(new Placed(orderId, amount, note, isPoison)),
    close: () => app.close(),
  };
}

runClient(open).catch(fail);
