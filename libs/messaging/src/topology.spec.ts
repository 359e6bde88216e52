/** What a service says of its broker when it starts, as an application meets it: over AMQP and over Kafka, where nothing is there, all is, or not as it should be. */
import * as zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { Injectable, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  CommandMessage,
  DovecoteModule,
  EventMessage,
  Handle,
  MessagingPlan,
  type MessagingOptions,
  Publisher,
  Subscribe,
} from './index.js';

@EventMessage('orders.placed')
class Placed {}

@CommandMessage('orders.place')
class Place {}

@Injectable()
class Shop {
  @Subscribe(Placed)
  hear(): void {}

  @Handle(Place)
  place(): void {}
}

let broker: Broker;
const apps: TestingModule[] = [];

beforeEach(async () => {
  broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, kafka: { port: 0 }, management: { port: 0 } });
});
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
  await broker.close();
});

/** What the application's logger was told, of this alone. */
class Told implements LoggerService {
  readonly lines: string[] = [];
  log = (line: string): void => this.#keep('info', line);
  warn = (line: string): void => this.#keep('warn', line);
  error = (line: string): void => this.#keep('error', line);

  #keep(level: string, line: string): void {
    if (/Makes on|not as it would be|Must be there|^bindings/.test(line)) this.lines.push(`${level} ${line}`);
  }
}

const urls = {
  amqp: () => `amqp://guest:guest@127.0.0.1:${broker.amqpPort}`,
  kafka: () => `kafka://127.0.0.1:${broker.kafkaPort}`,
};

async function start(options: Omit<MessagingOptions, 'service'>): Promise<readonly string[]> {
  const told = new Told();
  const imports = [DovecoteModule.forRoot({ service: 'shop', ...options })];
  const app = await Test.createTestingModule({ imports, providers: [Shop] })
    .setLogger(told)
    .compile();
  apps.push(app);
  await app.init();
  return told.lines;
}

async function stopAll(): Promise<void> {
  for (const app of apps.splice(0)) await app.close();
}

/** Levels of delay are made with the first message that needs them. */
async function makeAll(protocol: keyof typeof urls): Promise<void> {
  await start({ broker: urls[protocol]() });
  await apps[0]?.get(Publisher).publish(new Placed(), { delayMs: 1 });
  await stopAll();
}

describe.each(['amqp', 'kafka'] as const)('a service that starts, over %s', (protocol) => {
  it('says in one line what it makes, and nothing where all is there', async () => {
    const lines = await start({ broker: urls[protocol]() });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^info Makes on the broker what is not there: .*dovecote\.shop\.quarantine, .*dovecote\.shop\.dead/);
    await stopAll();
    expect(await start({ broker: urls[protocol]() })).toEqual([]);
  });

  it('makes nothing where it may only check, and ends with a list of what is missing', async () => {
    for (let round = 0; round < 2; round++) {
      const error = await start({ broker: urls[protocol](), topology: 'check' }).catch((one: unknown) => one as Error & { code?: string });
      expect(error).toMatchObject({ code: 'unfit-topology' });
      expect((error as Error).message).toMatch(
        /^'shop' does not start on this broker: .*dovecote\.shop\.quarantine is missing.*dovecote\.shop\.dead is missing.* Make what is missing/,
      );
      await stopAll();
    }
    await makeAll(protocol);
    const lines = await start({ broker: urls[protocol](), topology: 'check' });
    expect(lines.filter((line) => !line.startsWith('info Must be there') && !line.startsWith('info bindings'))).toEqual([]);
  });

  it('is planned without being started', async () => {
    const plan = async (): Promise<string> => {
      const module = DovecoteModule.forRoot({ service: 'shop', broker: urls[protocol]() });
      const app = await NestFactory.create({ module: class AppModule {}, imports: [module], providers: [Shop] }, { logger: false });
      return app.get(MessagingPlan).text();
    };
    const before = await plan();
    expect(before).toMatch(
      protocol === 'kafka' ? /^absent {2}topic orders: 8 partitions$/m : /^absent {2}topic exchange dovecote\.events$/m,
    );
    expect(before).not.toContain('present');
    expect(await plan()).toBe(before);
    await makeAll(protocol);
    expect(await plan()).not.toContain('absent');
  });
});

describe('bindings on an AMQP broker', () => {
  const compared = (): MessagingOptions['broker'] => ({ url: urls.amqp(), management: `http://127.0.0.1:${broker.managementPort}` });

  async function plan(): Promise<string> {
    const module = DovecoteModule.forRoot({ service: 'shop', broker: compared() });
    const app = await NestFactory.create({ module: class AppModule {}, imports: [module], providers: [Shop] }, { logger: false });
    return app.get(MessagingPlan).text();
  }

  it('are compared where the management API can be asked', async () => {
    expect(await plan()).toMatch(/^absent {2}binding of dovecote\.shop to dovecote\.events by orders\.placed$/m);
    await makeAll('amqp');
    const after = await plan();
    expect(after).toMatch(/^present {2}binding of dovecote\.shop to dovecote\.events by orders\.placed$/m);
    expect(after).not.toMatch(/absent|unseen|different/);
    expect(await start({ broker: compared(), topology: 'check' })).toEqual([]);
    await stopAll();
    await broker.session().unbindQueue('dovecote.shop.commands', 'dovecote.commands', 'orders.place');
    await expect(start({ broker: compared(), topology: 'check' })).rejects.toThrow(
      /: binding of dovecote\.shop\.commands to dovecote\.commands by orders\.place is missing\. Make what is missing/,
    );
  });

  it('that nobody here asks for any more are told, and those of others are not', async () => {
    await makeAll('amqp');
    const session = broker.session();
    await session.bindQueue('dovecote.shop', 'dovecote.events', 'orders.cancelled');
    await session.declareExchange('legacy', 'topic', { durable: true });
    await session.bindQueue('dovecote.shop', 'legacy', '#');
    expect(await start({ broker: compared() })).toEqual([
      'warn binding of dovecote.shop to dovecote.events by orders.cancelled is not as it would be made here: there should be none, and what comes by it nobody here asked for; remove it (in the management of the broker, or by `dovecote bindings delete`).',
    ]);
  });

  it('are not compared where nobody says where that is, or it does not answer, and then it says so', async () => {
    await makeAll('amqp');
    const advice = await start({ broker: urls.amqp(), topology: 'check' });
    expect(advice).toContain(
      "info bindings: they were not compared, for AMQP does not tell them; say where the management API answers: broker: { url, management: 'http://localhost:15672' }.",
    );
    await stopAll();
    const management = `http://ann:wrong@127.0.0.1:${broker.managementPort}`;
    expect(await start({ broker: { url: urls.amqp(), management } })).toEqual([
      `warn bindings: they were not compared, because of the management API at http://127.0.0.1:${broker.managementPort}: it answered 401 to 'ann'.`,
    ]);
    await stopAll();
    await expect(start({ broker: { url: urls.amqp(), management: 'localhost' } })).rejects.toThrow('management must be where');
    await expect(start({ broker: { url: 'embedded:', management } })).rejects.toThrow('management is for AMQP brokers');
  });
});

describe('a service that starts where something is another than it would make', () => {
  it('names each queue that it cannot use, and what to do', async () => {
    const session = broker.session();
    for (const name of ['dovecote.shop', 'dovecote.shop.dead'])
      await session.declareQueue(name, { durable: true, arguments: { 'x-queue-type': 'classic' } });
    await session.close();
    await expect(start({ broker: urls.amqp() })).rejects.toThrow(
      /quorum queue dovecote\.shop is not as it would be made here: .*x-queue-type.*; delete the queue when it is empty .*; quorum queue dovecote\.shop\.dead is not/,
    );
  });

  it('is told where queues are kept on another number of nodes than was asked for', async () => {
    await start({ broker: { url: urls.amqp(), quorumSize: 3 } });
    await stopAll();
    await start({ broker: { url: urls.amqp(), quorumSize: 3 } });
    await stopAll();
    await expect(start({ broker: urls.amqp() })).rejects.toThrow(/dovecote\.shop is not as .*x-quorum-initial-group-size/);
    for (const broker of [
      { url: urls.amqp(), quorumSize: 0 },
      { url: urls.amqp(), quorumSize: 3, queueType: 'classic' as const },
      { url: urls.kafka(), quorumSize: 3 },
      { url: 'embedded:', quorumSize: 3 },
    ])
      await expect(start({ broker })).rejects.toMatchObject({ code: 'invalid-options' });
  });

  it('is told at once where this Node cannot compress as was asked', async () => {
    const starting = start({ broker: { url: urls.kafka(), kafka: { compression: 'zstd' } } });
    if ('zstdCompress' in zlib) await starting;
    else await expect(starting).rejects.toThrow(/kafka\.compression 'zstd' needs Node 22\.15/);
  });

  it('uses a topic as it is, and says what differs', async () => {
    await start({ broker: { url: urls.kafka(), kafka: { partitions: 2, topicConfigs: { 'retention.ms': '1000000' } } } });
    await stopAll();
    const lines = await start({ broker: { url: urls.kafka(), kafka: { partitions: 3, topicConfigs: { 'retention.ms': '2000000' } } } });
    expect(lines).toContain(
      'warn topic orders is not as it would be made here: it has 2 partitions, not 3, its retention.ms is 1000000, not 2000000; it is used as it is: change it with the tools of Kafka, or ask for what it has.',
    );
  });
});
