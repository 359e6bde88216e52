/** The harness as its user uses it: NestJS's testing module, and nothing of ours but what is public. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { RealClock } from '@dovecote/ground';
import { DovecoteModule, CommandMessage, EventMessage, Handle, Publisher, Subscribe } from '@dovecote/messaging';
import { Injectable, type LoggerService } from '@nestjs/common';
import { Test, type TestingModule, type TestingModuleBuilder } from '@nestjs/testing';
import { type Harness, startHarness } from './index.js';

@EventMessage('shop.order-placed')
class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly total = 42,
  ) {}

  get isLarge(): boolean {
    return this.total > 100;
  }
}

@EventMessage('shop.thanks-sent')
class ThanksSent {
  constructor(readonly orderId: string) {}
}

@CommandMessage('shop.count-orders')
class CountOrders {
  constructor(readonly atLeast: number) {}
}

class MailRefused extends Error {}

@Injectable()
class Mailer {
  send(_orderId: string): Promise<void> {
    return Promise.reject(new Error('no test should send a mail'));
  }
}

@Injectable()
class Notifications {
  count = 0;

  constructor(
    private readonly mailer: Mailer,
    private readonly publisher: Publisher,
  ) {}

  @Subscribe(OrderPlaced, { retry: { attempts: 3, backoff: 'delayed', firstMs: 60_000, fatal: [MailRefused] } })
  async notify({ orderId }: OrderPlaced): Promise<void> {
    this.count += 1;
    await this.mailer.send(orderId);
    await this.publisher.publish(new ThanksSent(orderId));
  }

  @Handle(CountOrders)
  answer({ atLeast }: CountOrders): number {
    if (this.count < atLeast) throw new TypeError(`only ${this.count} orders`);
    return this.count;
  }
}

let harness: Harness;

function shop(send: (orderId: string) => Promise<void>): TestingModuleBuilder {
  const imports = [DovecoteModule.forRoot({ service: 'notifications', broker: 'embedded:./never-made' })];
  return Test.createTestingModule({ imports, providers: [Notifications, Mailer] })
    .setLogger(silent)
    .overrideProvider(Mailer)
    .useValue({ send });
}

const silent: LoggerService = { log: nothing, warn: nothing, error: nothing };

function nothing(): void {}

async function start(send: (orderId: string) => Promise<void> = () => Promise.resolve()): Promise<TestingModule> {
  harness = await startHarness();
  return harness.start(shop(send));
}

afterEach(() => harness.stop());

function failing(times: number, error = new Error('the server of mails is away')): () => Promise<void> {
  return () => (times-- > 0 ? Promise.reject(error) : Promise.resolve());
}

describe('a harness', () => {
  it('waits for what is published and handled, and gives it as instances', async () => {
    const app = await start();
    await app.get(Publisher).publish(new OrderPlaced('o-1', 200));
    expect((await harness.handled(Notifications, 'notify')).payload).toEqual({ orderId: 'o-1', total: 200 });
    expect((await harness.published(OrderPlaced, ({ isLarge }) => isLarge)).isLarge).toBe(true);
    expect(await harness.published(ThanksSent)).toEqual(new ThanksSent('o-1'));
    expect(harness.facts.map(({ what, type }) => `${what} ${type}`)).toEqual([
      'published shop.order-placed',
      'published shop.thanks-sent',
      'handled shop.order-placed',
    ]);
  });

  it('lets retries and dead letters take no time, also those that come a minute later', async () => {
    await start(failing(2));
    await harness.publisher.publish(new OrderPlaced('o-2'));
    expect(await harness.retried(Notifications, 'notify')).toMatchObject({ failures: 1, reason: 'the server of mails is away' });
    await harness.handled(Notifications, 'notify');
    expect(harness.facts.filter(({ what }) => what === 'retried')).toHaveLength(2);
    await expect(harness.deadLettered()).rejects.toThrow('No message is among the dead letters');
  });

  it('has time stand still until it is moved', async () => {
    const app = await start(failing(3));
    await harness.publisher.publish(new OrderPlaced('o-3'));
    await harness.quiet();
    expect(app.get(Notifications).count).toBe(1);
    await harness.advance(59_999);
    expect(app.get(Notifications).count).toBe(1);
    await harness.advance(1);
    expect(app.get(Notifications).count).toBe(2);
    expect(await harness.deadLettered(OrderPlaced)).toMatchObject({ reason: 'attempts: the server of mails is away' });
    expect(app.get(Notifications).count).toBe(3);
  });

  it('says what happened instead of what should have', async () => {
    await start(failing(1, new MailRefused('nobody of that name')));
    await harness.publisher.publish(new OrderPlaced('o-4'), { id: 'e-4' });
    await expect(harness.published(ThanksSent)).rejects.toThrow(
      [
        'No ThanksSent was published. What happened:',
        '  dead letter of shop.order-placed e-4 {"orderId":"o-4","total":42}: fatal: nobody of that name',
      ].join('\n'),
    );
  });

  it('fails with an error that every runner prints as it is', async () => {
    await start();
    // Jest makes a comparison of values of an AssertionError of Node, and there are none to compare.
    await expect(harness.deadLettered()).rejects.toMatchObject({ name: 'Error', message: expect.stringMatching(/^No message/) });
  });

  it('says which handler does not end, and leaves it behind', async () => {
    harness = await startHarness({ withinMs: 1_000 });
    await harness.start(shop(() => new Promise<void>(() => undefined)));
    await expect(harness.when(new OrderPlaced('o-5'))).rejects.toThrow(
      'Notifications.notify is still at work on shop.order-placed given-1 after 1000 ms of real time',
    );
    const clock = new RealClock();
    const before = clock.monotonicMs();
    await harness.stop();
    // As long once more, and not for each thing that ends and each of the times that it waits.
    expect(clock.monotonicMs() - before).toBeLessThan(1_900);
  });

  it('refuses what it cannot start, with what to do', async () => {
    harness = await startHarness();
    await expect(harness.start(Test.createTestingModule({ providers: [Mailer] }).setLogger(silent))).rejects.toThrow(
      'The application has no DovecoteModule, so the harness has nothing to put its broker in: add DovecoteModule.forRoot to its imports',
    );
    const compiled = await Test.createTestingModule({}).compile();
    await expect(harness.start(compiled as unknown as TestingModuleBuilder)).rejects.toThrow(
      'harness.start takes what Test.createTestingModule answers, before compile()',
    );
    await expect(harness.when(new OrderPlaced('o-6'))).rejects.toThrow('No application was started: harness.start(');
  });

  it('starts its broker and an application in a moment, and leaves nothing behind', async () => {
    await start();
    await harness.stop();
    const clock = new RealClock();
    const before = clock.monotonicMs();
    await start();
    // A tenth of a second would be long; a machine at work may take three times as long as it needs.
    expect(clock.monotonicMs() - before).toBeLessThan(300);
  });
});

describe('given, when, then', () => {
  it('compares what came of a message with what should have', async () => {
    await start();
    const outcome = await harness.given(new OrderPlaced('o-1')).when(new OrderPlaced('o-2'));
    outcome.succeeded().published(new ThanksSent('o-2'));
    expect(() => outcome.published(new ThanksSent('o-1'))).toThrow(
      /^shop\.thanks-sent \{"orderId":"o-1"\} should have been published\. What happened:\n/,
    );
    expect(() => outcome.publishedNothing()).toThrow('Nothing should have been published');
    expect(() => outcome.failedWith('x')).toThrow('The handler should have failed');
  });

  it('knows what was answered', async () => {
    await start();
    const outcome = await harness.given(new OrderPlaced('o-1'), new OrderPlaced('o-2')).when(new CountOrders(2));
    outcome.replied(2).publishedNothing();
    expect(() => outcome.replied(3)).toThrow('The answer should have been 3, and was 2');
  });

  it('knows what a handler failed with, by class, text and pattern', async () => {
    await start(failing(1, new MailRefused('nobody of that name')));
    const outcome = await harness.when(new OrderPlaced('o-1'));
    expect((await harness.deadLettered()).id).toBe(outcome.facts[0]?.id);
    const refused = await harness.when(new CountOrders(9));
    refused
      .failedWith(TypeError)
      .failedWith('only 1')
      .failedWith(/orders$/)
      .publishedNothing();
    expect(() => refused.failedWith(MailRefused)).toThrow('It should have failed with MailRefused');
    expect(() => refused.replied(1)).toThrow('The handler should not have failed');
  });

  it('says so where nobody handles it, and where what was given was not handled well', async () => {
    await start(failing(1));
    await expect(harness.when(new ThanksSent('o-1'))).rejects.toThrow(/^Nobody has handled shop\.thanks-sent /);
    await expect(harness.given(new OrderPlaced('o-1')).when(new CountOrders(0))).rejects.toThrow(
      'What was given as number 1 was not handled well',
    );
  });
});
