/** What a service makes of what goes wrong around it, the same over AMQP and over Kafka: brokers and connections that go, handlers that throw, hang, come late or end the process. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, type BrokerOptions } from '@dovecote/broker';
import { RealRandom, realGround } from '@dovecote/ground';
import type { DeadLetter } from './dead-letters.js';
import { type DeliveryOptions, contractOf } from './delivery-contract.js';
import type { Log } from './log.js';
import { EventMessage } from './message.decorator.js';
import { messageDefinitionOf } from './message-definition.js';
import type { Message } from './message.js';
import { Messaging } from './messaging.js';
import { checkOptions } from './options.js';
import type { StandardSchema } from './policies/validation.js';
import type { Subscription } from './subscription.js';
import type { Transport } from './transport.js';
import { Relay } from './transports/amqp-subject.js';
import { chooseTransport } from './transports/choose-transport.js';
import { KafkaTransport } from './transports/kafka/kafka-transport.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { turn } from './turn.js';

@EventMessage('faults.counted', { key: ({ number }: Counted) => `${number}` })
class Counted {
  constructor(readonly number: number) {}
}

type Handle = (event: Counted, message: Message) => Promise<unknown>;

const SESSION_MS = 6_000;
/** Slow, so that what must not end the process before it is committed would. */
const COMMIT_MS = 5_000;
const retry = { attempts: 4, backoff: 'delayed', firstMs: 100 } as const;
const silent: Log = { info: ignore, warn: ignore, error: ignore };

function ignore(): void {}

/** Our broker on a folder, reached through a relay that can cut what goes through it; and services on it, whose processes can end. */
class Rig {
  readonly clock = new JumpingClock();
  readonly #folder = mkdtempSync(join(tmpdir(), 'dovecote-faults-'));
  readonly #target = { host: '127.0.0.1', port: 0 };
  readonly #services: Messaging[] = [];
  readonly #transports: Transport[] = [];
  #death: Promise<void> | undefined;
  readonly #relays: Relay[] = [];
  #broker!: Broker;

  private constructor(private readonly protocol: 'amqp' | 'kafka') {}

  static async open(protocol: 'amqp' | 'kafka'): Promise<Rig> {
    const rig = new Rig(protocol);
    rig.#relays.push(await Relay.open(rig.#target));
    await rig.#openBroker();
    return rig;
  }

  async #openBroker(): Promise<void> {
    const { clock } = this;
    const [{ port }] = this.#relays as [Relay];
    const door: Partial<BrokerOptions> =
      this.protocol === 'amqp' ? { amqp: { port: 0 } } : { kafka: { port: 0, advertised: { host: '127.0.0.1', port } } };
    this.#broker = await Broker.open({ data: this.#folder, durability: 'os', ground: { ...realGround(), clock }, ...door });
    this.#target.port = (this.protocol === 'amqp' ? this.#broker.amqpPort : this.#broker.kafkaPort)!;
  }

  /** Every connection ends, and the broker comes back with what was on the disk. */
  async restartBroker(): Promise<void> {
    const [relay] = this.#relays as [Relay];
    relay.refuse();
    await this.#broker.close();
    await this.#openBroker();
    relay.accept();
  }

  cut(): void {
    for (const relay of this.#relays) relay.cut();
  }

  /** The process of the last service ends here: nothing of it gets out any more. */
  die(): void {
    const [relay] = this.#relays as [Relay];
    relay.refuse();
    const transport = this.#transports.at(-1)!;
    this.#death = transport instanceof KafkaTransport ? transport.abandon() : transport.close();
  }

  /** Its group has missed it by then. */
  async bury(): Promise<void> {
    const [relay] = this.#relays as [Relay];
    await this.while(this.#death ?? Promise.resolve());
    this.#death = undefined;
    relay.accept();
    if (this.protocol === 'kafka') await this.pass(SESSION_MS + 1_000);
  }

  async serve(handle?: Handle, options: DeliveryOptions = {}, schema?: StandardSchema): Promise<Messaging> {
    const { clock } = this;
    const [{ port }] = this.#relays as [Relay];
    const broker =
      this.protocol === 'amqp'
        ? `amqp://guest:guest@127.0.0.1:${port}`
        : {
            url: `kafka://127.0.0.1:${port}`,
            kafka: { partitions: 4, sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: SESSION_MS, commitEveryMs: COMMIT_MS },
          };
    const settings = checkOptions({
      service: 'faults',
      broker,
      drainTimeoutMs: 0,
      abortGraceMs: 0,
      ground: { clock, random: new RealRandom() },
    });
    const transport = chooseTransport(settings, silent);
    this.#transports.push(transport);
    const messaging = new Messaging(settings, transport, silent);
    this.#services.push(messaging);
    const started = messaging.start(handle === undefined ? [] : [subscriptionOf(handle, options, schema)]);
    // One that dies while it starts has nobody left to tell.
    await this.while(started.catch((error: unknown) => (this.#death === undefined ? Promise.reject(error as Error) : undefined)));
    return messaging;
  }

  /** Lets time pass until this is true. */
  async until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await isTrue())) {
      this.clock.jump(20);
      for (let count = 0; count < 10; count++) await turn();
    }
  }

  async pass(ms: number): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= 20) {
      this.clock.jump(20);
      for (let count = 0; count < 10; count++) await turn();
    }
  }

  /** Lets time pass while this is under way. */
  async while<Result>(work: Promise<Result>): Promise<Result> {
    let isOver = false;
    const over = (): void => void (isOver = true);
    work.then(over, over);
    await this.until(() => isOver);
    return work;
  }

  deadLetters(): Promise<readonly DeadLetter[]> {
    return this.while(this.#services.at(-1)!.deadLetters.list());
  }

  async close(): Promise<void> {
    for (const service of this.#services) await this.while(service.close());
    for (const relay of this.#relays) await relay.close();
    await this.#broker.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function subscriptionOf(handle: Handle, options: DeliveryOptions, schema: StandardSchema | undefined): Subscription {
  const { type } = messageDefinitionOf(Counted)!;
  return {
    kind: 'event',
    pattern: type,
    topic: undefined,
    messageClass: Counted,
    schema,
    contract: contractOf({ retry, ...options }, 'Faults.take'),
    place: 'Faults.take',
    handle: (event, message) => handle(event as Counted, message),
  };
}

const inOrder = (numbers: readonly number[]): number[] => numbers.toSorted((one, other) => one - other);

describe.each(['amqp', 'kafka'] as const)('over %s', (protocol) => {
  let rig: Rig;
  const opened = async (): Promise<Rig> => (rig = await Rig.open(protocol));

  afterEach(() => rig.close());

  it('a broker that restarts under load loses nothing that it confirmed, and each is handled', async () => {
    await opened();
    const handled = new Set<number>();
    const service = await rig.serve(async ({ number }) => void handled.add(number));
    const confirmed: number[] = [];
    const publishes: Promise<void>[] = [];
    const publish = async (number: number): Promise<void> => {
      await service.publisher.publish(new Counted(number));
      confirmed.push(number);
    };
    for (let number = 0; number < 300; number++) {
      publishes.push(publish(number));
      if (number % 100 === 50) await rig.restartBroker();
      if (number % 10 === 0) await turn();
    }
    await rig.while(Promise.all(publishes));
    expect(confirmed).toHaveLength(300);
    await rig.until(() => confirmed.every((number) => handled.has(number)));
    expect(await rig.deadLetters()).toEqual([]);
  });

  it('a connection cut in the middle of a batch brings the batch again, and loses none of it', async () => {
    await opened();
    const times = new Map<number, number>();
    let batches = 0;
    const takeBatch = async (events: readonly Counted[]): Promise<void> => {
      batches += 1;
      if (batches === 1) rig.cut();
      for (const { number } of events) times.set(number, (times.get(number) ?? 0) + 1);
    };
    const service = await rig.serve((events) => takeBatch(events as unknown as Counted[]), { batch: { size: 10, lingerMs: 20 } });
    const published = Array.from({ length: 40 }, (_, number) => service.publisher.publish(new Counted(number)));
    await rig.while(Promise.all(published));
    await rig.until(() => times.size === 40);
    await rig.pass(400);
    expect(Math.max(...times.values())).toBeLessThanOrEqual(2);
    expect(await rig.deadLetters()).toEqual([]);
  });

  it('a handler that throws is called as often as it has attempts, and those behind it once', async () => {
    await opened();
    const calls: number[] = [];
    const service = await rig.serve(async ({ number }) => {
      calls.push(number);
      if (number === 0) throw new Error('not this one');
    });
    for (let number = 0; number < 5; number++) await rig.while(service.publisher.publish(new Counted(number)));
    await rig.until(async () => (await rig.deadLetters()).length > 0);
    expect(inOrder(calls)).toEqual([0, 0, 0, 0, 1, 2, 3, 4]);
    expect(await rig.deadLetters()).toMatchObject([{ death: { cause: 'attempts' }, history: { length: 4 } }]);
  });

  it('a handler that hangs is given up after its time, and one that returns late after that changes nothing', async () => {
    await opened();
    const late: (() => void)[] = [];
    let calls = 0;
    let done = 0;
    const service = await rig.serve(
      async () => {
        calls += 1;
        if (calls < 3) await new Promise<void>((resolve) => late.push(resolve));
        done += 1;
      },
      { timeoutMs: 500 },
    );
    await rig.while(service.publisher.publish(new Counted(0)));
    await rig.until(() => calls === 2);
    // The first returns while the second hangs: its message is the second one's by now.
    late[0]!();
    await rig.until(() => calls === 3 && done === 2);
    late[1]!();
    await rig.pass(1_500);
    expect([calls, done]).toEqual([3, 3]);
    expect(await rig.deadLetters()).toEqual([]);
  });

  it('a message that does not fit its schema is a dead letter at once, and its handler never sees it', async () => {
    await opened();
    const calls: number[] = [];
    const even: StandardSchema = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => ((value as Counted).number % 2 === 0 ? { value } : { issues: [{ message: 'an even number is needed' }] }),
      },
    };
    const service = await rig.serve(async ({ number }) => void calls.push(number), {}, even);
    for (const number of [1, 2]) await rig.while(service.publisher.publish(new Counted(number)));
    await rig.until(async () => calls.length > 0 && (await rig.deadLetters()).length > 0);
    expect(calls).toEqual([2]);
    expect(await rig.deadLetters()).toMatchObject([
      { death: { cause: 'unreadable', reason: expect.stringContaining('an even number is needed') } },
    ]);
  });

  it('a redrive that is started twice sends each dead letter once', async () => {
    await opened();
    let isBroken = true;
    const calls: number[] = [];
    const service = await rig.serve(
      async ({ number }) => {
        if (isBroken) throw new Error('down');
        calls.push(number);
      },
      { retry: { attempts: 1 } },
    );
    for (let number = 0; number < 6; number++) await rig.while(service.publisher.publish(new Counted(number)));
    await rig.until(async () => (await rig.deadLetters()).length === 6);
    isBroken = false;
    await rig.while(Promise.all([service.deadLetters.redrive(), service.deadLetters.redrive()]));
    await rig.until(() => calls.length >= 6);
    await rig.pass(500);
    expect(inOrder(calls)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await rig.deadLetters()).toEqual([]);
  });

  it('a message that ends the process is found, buried once, and takes none of those beside it along', async () => {
    await opened();
    const times = new Map<number, number>();
    let begun = 0;
    let hasDied = false;
    const take = async ({ number }: Counted): Promise<void> => {
      if (number === 0) {
        begun += 1;
        hasDied = true;
        rig.die();
        await new Promise<never>(ignore);
      }
      times.set(number, (times.get(number) ?? 0) + 1);
    };
    await rig.while((await rig.serve(take)).close());
    const sender = await rig.serve();
    await rig.while(Promise.all(Array.from({ length: 12 }, (_, number) => sender.publisher.publish(new Counted(number)))));
    await rig.while(sender.close());
    let lives = 0;
    do {
      lives += 1;
      expect(lives).toBeLessThan(12);
      if (hasDied) await rig.bury();
      hasDied = false;
      await rig.serve(take);
      let steps = 0;
      await rig.until(() => hasDied || (steps += 1) > 2_500);
    } while (hasDied);
    await rig.until(() => times.size === 11);
    await rig.pass(2 * COMMIT_MS);
    const before = new Map(times);
    rig.die();
    await rig.bury();
    await rig.serve(take);
    await rig.pass(2_000);
    expect(begun).toBe(lives - 1);
    expect(times).toEqual(before);
    expect(Math.max(...times.values())).toBeLessThanOrEqual(lives);
    expect(await rig.deadLetters()).toMatchObject([{ death: { cause: 'poisoned' } }]);
  });
});
