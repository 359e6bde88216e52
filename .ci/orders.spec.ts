/** What a user writes: a service of orders, and its tests with the harness. The same file runs in a CommonJS project on NestJS 11 and in one of ES modules on 12. */
import 'reflect-metadata';
import { CommandMessage, DovecoteModule, EventMessage, Handle, Message, Publisher, Subscribe } from '@dovecote/messaging';
import { type Harness, startHarness } from '@dovecote/testing/harness';
import { Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';

@EventMessage('orders.order-placed', { key: (event: OrderPlaced) => event.orderId })
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@EventMessage('orders.thanks-sent')
class ThanksSent {
  constructor(readonly orderId: string) {}
}

@CommandMessage('orders.count-thanks')
class CountThanks {}

@Injectable()
class Mailer {
  async send(orderId: string): Promise<void> {
    throw new Error(`no test should send a mail for ${orderId}`);
  }
}

@Injectable()
class Notifications {
  readonly attempts: number[] = [];
  thanked = 0;

  constructor(
    private readonly mailer: Mailer,
    private readonly publisher: Publisher,
  ) {}

  @Subscribe(OrderPlaced, { retry: { attempts: 3, backoff: 'delayed', firstMs: 60_000 } })
  async notify({ orderId }: OrderPlaced, message: Message): Promise<void> {
    this.attempts.push(message.attempt);
    await this.mailer.send(orderId);
    this.thanked += 1;
    await this.publisher.publish(new ThanksSent(orderId));
  }

  @Handle(CountThanks)
  count(): number {
    return this.thanked;
  }
}

@Module({
  imports: [DovecoteModule.forRoot({ service: 'notifications', broker: 'embedded:./data' })],
  providers: [Mailer, Notifications],
})
class AppModule {}

let harness: Harness;
let failures = 0;

async function start(): Promise<Notifications> {
  const send = async (): Promise<void> => {
    if (failures-- > 0) throw new Error('the mail server is away');
  };
  const builder = Test.createTestingModule({ imports: [AppModule] })
    .overrideProvider(Mailer)
    .useValue({ send });
  const app = await harness.start(builder);
  return app.get(Notifications);
}

beforeEach(async () => {
  failures = 0;
  harness = await startHarness();
});

afterEach(() => harness.stop());

describe('notifications', () => {
  it('are sent at the third attempt where the mail server was away for two, minutes later', async () => {
    failures = 2;
    const notifications = await start();
    await harness.publisher.publish(new OrderPlaced('o-1'));
    const { failures: once, delayMs } = await harness.retried(Notifications, 'notify');
    expect({ once, delayMs }).toEqual({ once: 1, delayMs: 60_000 });
    const handled = await harness.handled(Notifications, 'notify');
    expect(handled.payload).toEqual({ orderId: 'o-1' });
    expect(notifications.attempts).toEqual([1, 2, 3]);
    expect(await harness.published(ThanksSent)).toEqual(new ThanksSent('o-1'));
  });

  it('wait for their time', async () => {
    failures = 2;
    const notifications = await start();
    await harness.publisher.publish(new OrderPlaced('o-2'));
    await harness.advance(59_999);
    expect(notifications.attempts).toEqual([1]);
    await harness.advance(1);
    expect(notifications.attempts).toEqual([1, 2]);
  });

  it('are dead letters where the mail server stays away', async () => {
    failures = Infinity;
    await start();
    await harness.publisher.publish(new OrderPlaced('o-3'));
    expect((await harness.deadLettered(OrderPlaced)).reason).toBe('attempts: the mail server is away');
  });

  it('are counted, given what was sent before', async () => {
    await start();
    const counted = await harness.given(new OrderPlaced('o-4'), new OrderPlaced('o-5')).when(new CountThanks());
    counted.replied(2).publishedNothing();
    const sent = await harness.when(new OrderPlaced('o-6'));
    sent.succeeded().published(new ThanksSent('o-6'));
    expect(sent.facts.map(({ what }) => what)).toEqual(['published', 'handled']);
  });
});
