/**
 * Nest's own transports beside ours: `ClientProxy.emit` and `@EventPattern` over RabbitMQ (amqplib) or Kafka (kafkajs), as its documentation writes them, at the
 * promises that ours gives: durable, persistent, confirmed; acknowledged or committed behind the handler.
 */
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  type KafkaOptions,
  type MicroserviceOptions,
  Payload,
  type RmqContext,
  type RmqOptions,
  Transport,
} from '@nestjs/microservices';
import { Kafka, logLevel } from 'kafkajs';
import { lastValueFrom } from 'rxjs';
import { type Client, type ClientSettings, type Order, fail, runClient } from './client-program.js';

type Take = (order: Order) => Promise<void> | void;

const PARTITIONS = 8;
const SESSION_MS = 6_000;

async function open(settings: ClientSettings, take: Take): Promise<Client> {
  const isKafka = !settings.at.startsWith('amqp');
  const options = isKafka ? kafka(settings) : rabbit(settings);
  if (settings.role === 'publish') {
    const proxy = ClientProxyFactory.create(options);
    await proxy.connect();
    return {
      publish: (order) => lastValueFrom(proxy.emit(settings.name, order), { defaultValue: undefined }),
      close: async () => void (await proxy.close()),
    };
  }
  if (isKafka) await makeTopic(settings);
  return serve(settings, options, take, !isKafka);
}

async function serve({ name, poison }: ClientSettings, options: MicroserviceOptions, take: Take, acknowledges: boolean): Promise<Client> {
  @Controller()
  class Orders {
    @EventPattern(name)
    async take(@Payload() order: object, @Ctx() context: unknown): Promise<void> {
      await take(order as Order);
      if (!acknowledges) return;
      const delivery = context as RmqContext;
      delivery.getChannelRef().ack(delivery.getMessage());
    }
  }

  class AppModule {}
  Module({ controllers: [Orders] })(AppModule);
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
    ...options,
    logger: poison === 'throws' ? false : ['error'],
  });
  await app.listen();
  return { close: () => app.close() };
}

/** `prefetchCount` is ours: without it the whole queue would be in the memory of the one handler. */
function rabbit({ at, name, role }: ClientSettings): RmqOptions {
  return {
    transport: Transport.RMQ,
    options: {
      urls: [at],
      queue: name,
      // A client has answers to read as well, which are never acknowledged.
      noAck: role === 'publish',
      persistent: true,
      prefetchCount: 100,
      queueOptions: { durable: true, arguments: { 'x-queue-type': 'quorum' } },
    },
  };
}

function kafka({ at, name, role }: ClientSettings): KafkaOptions {
  return {
    transport: Transport.KAFKA,
    options: {
      postfixId: '',
      producerOnlyMode: role === 'publish',
      client: { clientId: name, brokers: [at], logLevel: logLevel.ERROR },
      consumer: { groupId: name, sessionTimeout: SESSION_MS, rebalanceTimeout: SESSION_MS, heartbeatInterval: SESSION_MS / 10 },
      send: { acks: -1 },
      // What is published before the group has its partitions is not to be missed.
      subscribe: { fromBeginning: true },
    },
  };
}

async function makeTopic({ at, name }: ClientSettings): Promise<void> {
  const admin = new Kafka({ clientId: name, brokers: [at], logLevel: logLevel.ERROR }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: name, numPartitions: PARTITIONS }], waitForLeaders: true });
  await admin.disconnect();
}

runClient(open).catch(fail);
