/** The broker from within its process, on a simulated machine: opening, closing, failing, and what a session promises. */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { type SimulatedGround, simulatedGround, type SimulatedProcess } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import { CodedError } from '../errors.js';
import { CommonProperties, type OwnProperties } from '../queues/common-properties.js';
import type { ExchangeBinding, ExchangeType } from '../queues/exchange-type.js';
import type { BrokerSession, Delivery, OutgoingMessage } from './in-process.js';
import type { BrokerOptions } from './options.js';

class World {
  readonly machine: SimulatedGround = simulatedGround(1);
  process: SimulatedProcess = this.machine.startProcess();

  drive<Answer>(work: Promise<Answer>): Promise<Answer> {
    return this.machine.clock.drive(work);
  }

  settle(): Promise<void> {
    return this.machine.clock.runUntilIdle();
  }

  open(options: BrokerOptions = {}): Promise<Broker> {
    return this.drive(Broker.open({ data: '/data', ground: this.process.ground, ...options }));
  }

  restart(how: { readonly power: boolean }): void {
    this.machine.crash(how);
    this.process = this.machine.startProcess();
  }
}

const message = (body: string, deliveryMode: 1 | 2 = 2): OutgoingMessage => ({
  exchange: '',
  routingKey: 'q',
  body: Buffer.from(body),
  properties: { deliveryMode },
});

async function refusal(work: Promise<unknown>): Promise<CodedError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof CodedError, `expected a refusal, not ${String(error)}`);
  return error;
}

/** Settles later what was asked now. */
function outcome<Answer>(work: Promise<Answer>): { value: Answer | undefined; error: CodedError | undefined } {
  const result: { value: Answer | undefined; error: CodedError | undefined } = { value: undefined, error: undefined };
  work.then(
    (value) => (result.value = value),
    (error: unknown) => (result.error = error as CodedError),
  );
  return result;
}

describe('opening', () => {
  it('refuses a folder that another broker owns, and takes it when that one is closed', async () => {
    const world = new World();
    const first = await world.open();
    const error = await refusal(world.drive(Broker.open({ data: '/data', ground: world.machine.startProcess().ground })));
    expect(error.code).toBe('data-folder-locked');
    expect(error.message).toContain('process 1');
    await world.drive(first.close());
    await expect(first.ended).resolves.toBeUndefined();
    await world.open();
  });

  it('refuses durability without a folder', async () => {
    expect((await refusal(Broker.open({ durability: 'os' }))).message).toContain('needs a data folder');
  });

  it.each(['makeDirectory', 'list', 'open', 'write', 'sync', 'syncDirectory', 'read', 'rename'] as const)(
    'ends with a sentence and claims nothing when %s fails',
    async (operation) => {
      const world = new World();
      const broker = await world.open();
      const session = broker.session();
      await world.drive(session.declareQueue('q', { durable: true }));
      await world.drive(session.publish(message('1')));
      world.restart({ power: false });
      world.machine.faults.fail(operation);
      const error = await refusal(world.open());
      expect(['data-folder-unusable', 'storage-failed']).toContain(error.code);
      expect(error.message).toContain('/data');
      world.machine.faults.clear();
      const again = await world.open();
      expect(again.inspect().queues).toMatchObject([{ name: 'q', messageCount: 1 }]);
    },
  );

  it('refuses a full disk at every number of bytes, and opens when there is space', async () => {
    const world = new World();
    for (let bytes = 0; bytes < 1600; bytes += 40) {
      world.machine.faults.fillUpAfter(bytes);
      const opened = await world.open().catch((error: unknown) => error);
      world.machine.faults.freeUp();
      if (opened instanceof Broker) await world.drive(opened.close());
      else expect((opened as CodedError).code).toBe('disk-full');
    }
    expect((await world.open()).durability).toBe('fsync');
  });

  it('keeps nothing where nothing is to be kept', async () => {
    const world = new World();
    const broker = await world.open({ durability: 'memory' });
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await expect(world.drive(session.publish(message('1')))).resolves.toBe('confirmed');
    expect(await world.drive(world.machine.disk.exists('/data'))).toBe(false);
  });
});

describe('definitions and messages', () => {
  it('are there after the loss of power, as far as they were answered and durable', async () => {
    const world = new World();
    const session = (await world.open()).session();
    await world.drive(session.declareExchange('topics', 'topic', { durable: true }));
    await world.drive(session.declareExchange('passing', 'fanout'));
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.drive(session.declareQueue('other', { durable: true }));
    await world.drive(session.declareQueue('mine', { durable: true, exclusive: true }));
    await world.drive(session.declareQueue('passing'));
    await world.drive(session.bindQueue('q', 'topics', 'a.*'));
    await world.drive(session.bindQueue('other', 'topics', '#'));
    await world.drive(session.unbindQueue('other', 'topics', '#'));
    await world.drive(session.deleteQueue('other'));
    await world.drive(session.publish({ ...message('kept'), exchange: 'topics', routingKey: 'a.b' }));
    await world.drive(session.publish(message('gone', 1)));
    world.restart({ power: true });
    const broker = await world.open();
    expect(broker.inspect().queues).toEqual([{ name: 'q', isDurable: true, messageCount: 1, unacknowledgedCount: 0, consumerCount: 0 }]);
    expect(
      broker
        .inspect()
        .exchanges.map(({ name }) => name)
        .sort(),
    ).toEqual(['amq.direct', 'amq.fanout', 'amq.headers', 'amq.match', 'amq.rabbitmq.trace', 'amq.topic', 'topics']);
    const next = broker.session();
    await expect(world.drive(next.publish({ ...message('x'), exchange: 'topics', routingKey: 'a.c' }))).resolves.toBe('confirmed');
    await expect(world.drive(next.publish({ ...message('x'), exchange: 'topics', routingKey: 'b' }))).resolves.toBe('unroutable');
  });

  it('come out as they went in, and are gone when they were acknowledged', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    const deliveries: Delivery[] = [];
    const consumer = await world.drive(session.consume('q', { prefetch: 2 }, (delivery) => deliveries.push(delivery)));
    const properties = { deliveryMode: 2, messageId: 'm', headers: { a: 1 } } as const;
    await world.drive(session.publish({ exchange: '', routingKey: 'q', body: Buffer.from('body'), properties }));
    await world.drive(session.publish(message('')));
    await world.drive(session.publish(message('third')));
    await world.settle();
    expect(deliveries.length).toBe(2);
    const [first, second] = deliveries as [Delivery, Delivery];
    expect([first.exchange, first.routingKey, first.body.toString(), first.isRedelivered]).toEqual(['', 'q', 'body', false]);
    expect(first.properties).toEqual(properties);
    expect(second.body.length).toBe(0);
    first.acknowledge();
    first.acknowledge();
    second.reject({ requeue: true });
    await consumer.cancel();
    await world.settle();
    await world.drive(broker.close());
    const again = await world.open();
    expect(again.inspect().queues).toMatchObject([{ messageCount: 2 }]);
    const bodies: string[] = [];
    await world.drive(again.session().consume('q', { autoAck: true }, (delivery) => bodies.push(delivery.body.toString())));
    await world.settle();
    expect(bodies).toEqual(['', 'third']);
  });

  it.each([true, false])(
    'are whole where an exchange of their own publishes while it is asked (reads the message: %s)',
    async (readsMessage) => {
      const published: Promise<unknown>[] = [];
      const chatty: ExchangeType = {
        name: 'x-chatty',
        create: () => {
          const bindings: ExchangeBinding[] = [];
          return {
            readsMessage,
            add: (binding) => void bindings.push(binding),
            remove: () => undefined,
            route: (_message, follow) => {
              published.push(session.publish(message('from within')));
              bindings.forEach(follow);
            },
          };
        },
      };
      const world = new World();
      const session = (await world.open({ exchangeTypes: [chatty] })).session();
      await world.drive(session.declareQueue('q', { durable: true }));
      await world.drive(session.declareExchange('chatty', 'x-chatty'));
      await world.drive(session.bindQueue('q', 'chatty', ''));
      await world.drive(session.publish({ ...message('from without'), exchange: 'chatty', properties: { messageId: 'm' } }));
      await world.drive(Promise.all(published));
      const bodies: string[] = [];
      await world.drive(session.consume('q', {}, ({ body, properties }) => bodies.push(`${properties.messageId}: ${body.toString()}`)));
      await world.settle();
      expect(bodies.sort()).toEqual(['m: from without', 'undefined: from within']);
    },
  );

  it('have in common what is given once, however it can be written, and are kept as it says', async () => {
    const world = new World();
    const session = (await world.open()).session();
    await world.drive(session.declareQueue('q', { durable: true }));
    const common = new CommonProperties({ deliveryMode: 2, type: 'told', headers: { shared: 'yes' } });
    const [exchange, routingKey, body] = ['', 'q', Buffer.from('x')];
    const given: OwnProperties[] = [{ messageId: 'plain' }, { messageId: 'größer' }, { messageId: 'number', headers: { number: 1 } }];
    for (const properties of given) await world.drive(session.publish({ exchange, routingKey, body, properties, common }));
    const last: OwnProperties = { messageId: 'transacted' };
    await world.drive(session.transact({ publish: [{ exchange, routingKey, body, properties: last, common }] }));
    world.restart({ power: true });
    const got: unknown[] = [];
    const reader = (await world.open()).session();
    await world.drive(reader.consume('q', {}, ({ properties }) => got.push(properties)));
    await world.settle();
    expect(got).toEqual([...given, last].map((own) => common.with(own)));
  });

  it('are told of without a promise, never before the call has returned', async () => {
    const world = new World();
    const session = (await world.open({ limits: { messageBytesMax: 10 } })).session();
    await world.drive(session.declareQueue('q', { durable: true }));
    const told: string[] = [];
    const publish = (name: string, what: Partial<OutgoingMessage>): void =>
      session.publishTelling(
        { ...message('x'), ...what },
        {
          confirmed: (outcome) => told.push(`${name}: ${outcome}`),
          refused: (error) => told.push(`${name}: ${(error as CodedError).code}`),
        },
      );
    publish('kept', {});
    publish('lost', { routingKey: 'nowhere' });
    publish('too large', { body: Buffer.alloc(11) });
    publish('astray', { exchange: 'none' });
    publish('nonsense', { properties: { expiration: 'soon' } });
    expect(told).toEqual([]);
    await world.settle();
    expect(told.sort()).toEqual([
      'astray: no-exchange',
      'kept: confirmed',
      'lost: unroutable',
      'nonsense: invalid-argument',
      'too large: message-too-large',
    ]);
    told.length = 0;
    publish('cut off', {});
    await session.close();
    publish('too late', {});
    await world.settle();
    expect(told).toEqual(['cut off: closed', 'too late: closed']);
  });

  it('gives to the consumer of the highest priority first', async () => {
    const world = new World();
    const session = (await world.open()).session();
    await world.drive(session.declareQueue('q'));
    const got: string[] = [];
    const consume = (name: string, options: { readonly priority?: number }): Promise<unknown> =>
      world.drive(session.consume('q', { prefetch: 1, ...options }, () => void got.push(name)));
    await consume('plain', {});
    await consume('high', { priority: 5 });
    await consume('low', { priority: -1 });
    for (const body of ['1', '2', '3']) await world.drive(session.publish(message(body)));
    await world.settle();
    expect(got).toEqual(['high', 'plain', 'low']);
  });

  it('are refused when they are too large', async () => {
    const world = new World();
    const session = (await world.open({ limits: { messageBytesMax: 10 } })).session();
    await world.drive(session.declareQueue('q', { durable: true }));
    expect((await refusal(session.publish(message('12345678901')))).code).toBe('message-too-large');
    await expect(world.drive(session.publish(message('1234567890')))).resolves.toBe('confirmed');
    expect((await refusal(session.publish({ ...message('x'), exchange: 'none' }))).code).toBe('no-exchange');
    expect((await refusal(session.consume('none', {}, () => undefined))).code).toBe('no-queue');
  });

  it('are refused by a queue that is full, one by one, and live as long as they were given', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    const given = { 'x-max-length': 2, 'x-overflow': 'reject-publish', 'x-message-ttl': 60_000 };
    await world.drive(session.declareQueue('q', { durable: true, arguments: given }));
    expect(await refusal(world.drive(session.declareQueue('q', { durable: true })))).toMatchObject({ code: 'inequivalent-arguments' });
    const outcomes = ['1', '2', '3'].map((body) => outcome(session.publish(message(body))));
    const wrong = outcome(session.publish({ ...message('4'), properties: { expiration: 'soon' } }));
    await world.machine.clock.advance(100);
    expect(outcomes.map(({ value, error }) => value ?? error?.code)).toEqual(['confirmed', 'confirmed', 'queue-full']);
    expect(outcomes[2]!.error!.retryable).toBe(true);
    expect(wrong.error).toMatchObject({ code: 'invalid-argument', message: "invalid expiration 'soon': no_integer" });
    expect(broker.inspect().queues).toMatchObject([{ name: 'q', messageCount: 2 }]);
    await world.machine.clock.advance(60_000);
    expect(broker.inspect().queues).toMatchObject([{ name: 'q', messageCount: 0 }]);
    await world.drive(broker.close());
  });

  it('tell a consumer when its queue goes away', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    const consumer = await world.drive(session.consume('q', {}, () => undefined));
    let isCancelled = false;
    consumer.onCancelled = () => (isCancelled = true);
    await world.drive(broker.session().deleteQueue('q'));
    expect(isCancelled).toBe(true);
  });
});

describe('an acknowledgement', () => {
  it('is committed soon although nothing else happens', async () => {
    const world = new World();
    const session = (await world.open()).session();
    await world.drive(session.declareQueue('q', { durable: true }));
    const deliveries: Delivery[] = [];
    await world.drive(session.consume('q', {}, (delivery) => deliveries.push(delivery)));
    await world.drive(session.publish(message('1')));
    await world.settle();
    deliveries[0]!.acknowledge();
    await world.machine.clock.advance(200);
    world.restart({ power: true });
    expect((await world.open()).inspect().queues[0]?.messageCount).toBe(0);
  });
});

describe('the flag of a redelivery', () => {
  /** Publishes three messages, holds the first without an answer, ends the broker and reads all with their flags. */
  async function flagsAfter(end: (world: World, broker: Broker) => Promise<void>): Promise<readonly string[]> {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    for (const body of ['one', 'two', 'three']) await world.drive(session.publish(message(body)));
    await world.drive(session.consume('q', { prefetch: 1 }, () => undefined));
    await world.settle();
    await end(world, broker);
    const flags: string[] = [];
    const again = (await world.open()).session();
    await world.drive(again.consume('q', {}, (delivery) => flags.push(`${delivery.body.toString()} ${String(delivery.isRedelivered)}`)));
    await world.settle();
    return flags;
  }

  it('is set after an orderly close for what a consumer had, and for nothing else', async () => {
    expect(await flagsAfter((world, broker) => world.drive(broker.close()))).toEqual(['one true', 'two false', 'three false']);
  });

  it('is set after a kill for everything, because nobody knows who had what', async () => {
    const killed = await flagsAfter(async (world) => world.restart({ power: false }));
    expect(killed).toEqual(['one true', 'two true', 'three true']);
  });

  it('is set for everything when a kill follows an orderly close and nothing was written in between', async () => {
    const flags = await flagsAfter(async (world, broker) => {
      await world.drive(broker.close());
      await world.open();
      world.restart({ power: false });
    });
    expect(flags).toEqual(['one true', 'two true', 'three true']);
  });
});

describe('a handler that throws', () => {
  it('keeps its message unacknowledged, and nobody else waits for it', async () => {
    const world = new World();
    const lines: string[] = [];
    const broker = await world.open({ log: (line) => lines.push(line) });
    const session = broker.session();
    for (const name of ['bad', 'good']) await world.drive(session.declareQueue(name, { durable: true }));
    const bodies: string[] = [];
    const fail = (): never => {
      throw new Error('a mistake');
    };
    await world.drive(session.consume('bad', {}, fail));
    await world.drive(session.consume('good', {}, (delivery) => bodies.push(delivery.body.toString())));
    for (const routingKey of ['bad', 'good']) void session.publish({ ...message(routingKey), routingKey });
    await world.settle();
    expect(bodies).toEqual(['good']);
    expect(lines).toEqual(["The handler of a consumer of queue 'bad' threw 'a mistake': its message stays unacknowledged"]);
    expect(broker.inspect().queues.map((queue) => queue.unacknowledgedCount)).toEqual([1, 1]);
  });
});

describe('closing', () => {
  it('a session fails what waits in it, and gives back what it held', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    const other = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.drive(other.publish(message('1')));
    await world.drive(session.consume('q', {}, () => undefined));
    await world.settle();
    const waiting = outcome(session.publish(message('2')));
    const defining = outcome(session.declareQueue('r', { durable: true }));
    await session.close();
    await world.settle();
    expect([waiting.error?.code, defining.error?.code]).toEqual(['closed', 'closed']);
    expect(broker.inspect().queues[0]).toMatchObject({ unacknowledgedCount: 0, messageCount: 2 });
    expect((await refusal(session.publish(message('3')))).code).toBe('closed');
    expect((await refusal(session.declareQueue('s'))).code).toBe('closed');
  });

  it('the broker when the last commit cannot be written is a refusal, and the reason is known', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.settle();
    world.machine.faults.fail('write');
    outcome(session.publish(message('1')));
    const error = await refusal(world.drive(broker.close()));
    expect(error.code).toBe('storage-failed');
    await expect(broker.ended).resolves.toBe(error);
    expect((await refusal(Promise.resolve().then(() => broker.session()))).code).toBe('closed');
    await world.open(); // the folder is free
  });
});

describe('a disk that fails', () => {
  it('ends the broker: what waits is failed, and the reason is given', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.settle();
    world.machine.faults.fail('sync');
    const waiting = outcome(session.publish(message('1')));
    const ended = await world.drive(broker.ended);
    expect(ended?.code).toBe('storage-failed');
    expect(ended?.message).toContain('Check the disk, then start the broker again');
    expect(waiting.error).toBe(ended);
    await world.drive(broker.close());
    await world.open();
  });
});

describe('the gate', () => {
  const bytes = (size: number): OutgoingMessage => ({
    exchange: '',
    routingKey: 'q',
    body: Buffer.alloc(size),
    properties: { deliveryMode: 2 },
  });

  async function blocked(): Promise<{ world: World; broker: Broker; session: BrokerSession }> {
    const world = new World();
    const broker = await world.open({ durability: 'memory', limits: { memoryBytesMax: 3 << 20 } }); // so nothing can be paged out
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    for (let i = 0; i < 4; i++) await world.drive(Promise.race([session.publish(bytes(900_000)), world.machine.clock.pause(500)]));
    return { world, broker, session };
  }

  it('holds publishers back while memory is used up, and lets them go on in their order', async () => {
    const { world, broker, session } = await blocked();
    const bodies: string[] = [];
    const sent = ['a', 'b', 'c'].map((body) => outcome(session.publish(message(body))));
    await world.settle();
    expect(sent.map(({ value }) => value)).toEqual([undefined, undefined, undefined]);
    const reader = broker.session();
    await world.drive(
      reader.consume('q', { autoAck: true }, ({ body }) => {
        if (body.length > 1) return;
        bodies.push(body.toString());
      }),
    );
    await world.settle();
    await expect(world.drive(session.publish(message('d')))).resolves.toBe('confirmed');
    await world.settle();
    expect(sent.map(({ value }) => value)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    expect(bodies).toEqual(['a', 'b', 'c', 'd']);
  });

  it('lets go of a publisher whose session is closed', async () => {
    const { world, session } = await blocked();
    const sent = outcome(session.publish(message('a')));
    await world.settle();
    await session.close();
    await world.settle();
    expect(sent.error?.code).toBe('closed');
  });

  it('tells a publisher of a full disk, and confirms what was accepted before when there is space', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.settle();
    world.machine.faults.fillUpAfter(50);
    const accepted = outcome(session.publish(message('a')));
    await world.machine.clock.advance(3000);
    expect(accepted.value).toBeUndefined();
    const refused = await refusal(session.publish(message('b')));
    expect([refused.code, refused.retryable]).toEqual(['disk-full', true]);
    world.machine.faults.freeUp();
    await world.machine.clock.advance(1100);
    await world.settle();
    expect(accepted.value).toBe('confirmed');
    await expect(world.drive(session.publish(message('b')))).resolves.toBe('confirmed');
    world.restart({ power: true });
    expect((await world.open()).inspect().queues).toMatchObject([{ messageCount: 2 }]);
  });
});

describe('a session whose broker has nothing else to do', () => {
  it('has its acknowledgement committed a few milliseconds later', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.drive(session.publish(message('a')));
    const held: Delivery[] = [];
    await world.drive(session.consume('q', { prefetch: 1 }, (delivery) => void held.push(delivery)));
    await world.machine.clock.advance(200);
    held[0]!.acknowledge();
    await world.machine.clock.advance(100);
    world.restart({ power: true });
    expect((await world.open()).inspect().queues).toMatchObject([{ name: 'q', messageCount: 0 }]);
  });

  it('is not told that a new message was delivered before because transient ones had been', async () => {
    const world = new World();
    const broker = await world.open();
    const session = broker.session();
    await world.drive(session.declareQueue('q', { durable: true }));
    await world.drive(session.consume('q', { prefetch: 1 }, () => undefined));
    for (const body of ['a', 'b', 'c']) await world.drive(session.publish(message(body, 1)));
    await world.settle();
    await world.drive(broker.close());
    const after = (await world.open()).session();
    await world.drive(after.publish(message('d')));
    const held: Delivery[] = [];
    await world.drive(after.consume('q', {}, (delivery) => void held.push(delivery)));
    await world.settle();
    expect(held.map(({ isRedelivered }) => isRedelivered)).toEqual([false]);
  });
});
