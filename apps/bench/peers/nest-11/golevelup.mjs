/**
 * @golevelup/nestjs-rabbitmq beside ours: `AmqpConnection.publish` and `@RabbitSubscribe`, at the promises that ours gives. `optionsOf` says what travels
 * beside an order. Plain JavaScript in a folder of its own, because the library is for Nest 11 and this repository compiles against 12.
 */
import 'reflect-metadata';
import golevelup from '@golevelup/nestjs-rabbitmq';
// oxlint-disable-next-line import/default -- the Nest 11 of this folder is CommonJS; where it is not installed, the root's is found, which is not
import nestCommon from '@nestjs/common';
// oxlint-disable-next-line import/default -- the Nest 11 of this folder is CommonJS; where it is not installed, the root's is found, which is not
import nestCore from '@nestjs/core';

const { AmqpConnection, RabbitMQModule, RabbitSubscribe } = golevelup;
const { Injectable, Module } = nestCommon;
const { NestFactory } = nestCore;

export const clientWith = (optionsOf) =>
  async function open({ role, at, name, poison }, take) {
    class Orders {
      take(order) {
        return take(order);
      }
    }
    Injectable()(Orders);
    RabbitSubscribe({
      exchange: name,
      routingKey: 'placed',
      queue: name,
      queueOptions: { durable: true, arguments: { 'x-queue-type': 'quorum' } },
    })(Orders.prototype, 'take', Object.getOwnPropertyDescriptor(Orders.prototype, 'take'));

    class AppModule {}
    const rabbit = RabbitMQModule.forRoot({
      uri: at,
      exchanges: [{ name, type: 'topic', options: { durable: true } }],
      prefetchCount: 100,
      connectionInitOptions: { wait: true },
    });
    Module({ imports: [rabbit], providers: role === 'handle' ? [Orders] : [] })(AppModule);
    const app = await NestFactory.createApplicationContext(AppModule, { logger: poison === 'throws' ? false : ['error'] });
    const connection = app.get(AmqpConnection);
    return {
      publish: (order) => connection.publish(name, 'placed', order, optionsOf(order, name)),
      close: () => app.close(),
    };
  };
