/** Handlers as an application meets them: what they are given, how often and how much at once, and what becomes of what nobody can handle. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Delivery } from '@dovecote/broker';
import { Inject, Injectable, Scope } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Message, Subscribe } from './index.js';
import { Desk, Notifications, NotificationsWorld, OrderPlaced } from './notifications.module.js';
import { settle, turn, until } from './turn.js';

let world: NotificationsWorld;

beforeEach(async () => {
  world = await NotificationsWorld.open();
});
afterEach(() => world.close());

describe('a handler', () => {
  it('is acknowledged only after its promise fulfilled', async () => {
    const { desk, publisher } = await world.start({ providers: [Notifications] });
    let finish = (): void => undefined;
    desk.behave = () => new Promise<void>((resolve) => (finish = resolve));
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(world.depth()).toEqual({ ready: 0, unacknowledged: 1 });
    finish();
    await until(() => world.depth().unacknowledged === 0);
    expect(world.depth().ready).toBe(0);
  });

  it('that fails gets the event again after a while, with another instance too, while others go on, and in the end it is a dead letter', async () => {
    const { desk, publisher } = await world.start({
      providers: [Notifications],
      options: { retry: { attempts: 4, backoff: 'delayed', firstMs: 500 } },
    });
    const times: number[] = [];
    desk.behave = (event) => {
      if (event.orderId !== 'bad') return undefined;
      times.push(world.clock.monotonicMs());
      throw new Error('mail server down');
    };
    await publisher.publish(new OrderPlaced('bad'), { id: 'event-1' });
    await publisher.publish(new OrderPlaced('good'));
    await until(() => desk.seen.length === 2 && world.depth().unacknowledged === 0);
    for (let attempt = 2; attempt <= 4; attempt++) {
      await settle();
      await world.clock.advance(500);
      await until(() => times.length === attempt);
    }
    await until(() => world.depth('dovecote.notifications.dead').ready === 1 && world.depth().unacknowledged === 0);
    expect(times.map((time) => time - times[0]!)).toEqual([0, 500, 1_000, 1_500]);
    expect(desk.seen.map(({ event, message }) => [event.orderId, message.attempt, message.isRedelivered])).toEqual([
      ['bad', 1, false],
      ['good', 1, false],
      ['bad', 2, false],
      ['bad', 3, false],
      ['bad', 4, false],
    ]);
    expect(new Set(desk.seen.filter(({ event }) => event.orderId === 'bad').map(({ message }) => message.id))).toEqual(
      new Set(['event-1']),
    );
    expect(world.depth().ready).toBe(0);
    const said = world.lines.filter((line) => line.includes('event-1'));
    expect(said).toHaveLength(4);
    expect(said[1]).toBe('Notifications.notify failed on orders.order-placed event-1: mail server down. It comes again in 500 ms.');
    expect(said[3]).toContain("That was attempt 4, the last one. It is among the dead letters of 'notifications' now.");
  });

  it('that lost its process again and again is given such a message alone, and then no more', async () => {
    const session = world.broker.session();
    const held: Delivery[] = [];
    const first = await world.start({ providers: [Notifications] });
    await first.app.close();
    await session.consume('dovecote.notifications', { prefetch: 1 }, (delivery) => held.push(delivery));
    const publisher = (await world.start({})).publisher;
    await publisher.publish(new OrderPlaced('deadly'));
    // As if a process had taken it and ended, four times.
    for (let times = 1; times <= 4; times++) {
      await until(() => held.length === times);
      held.at(-1)!.reject({ requeue: true });
    }
    await until(() => held.length === 5);
    await session.close();
    const { desk } = await world.start({ providers: [Notifications] });
    await until(() => world.depth('dovecote.notifications.quarantine').unacknowledged === 1);
    await settle();
    expect(desk.seen).toHaveLength(0); // others might be on their way into quarantine
    await world.clock.advance(100);
    await until(() => desk.seen.length === 1 && world.depth('dovecote.notifications.quarantine').unacknowledged === 0);
    expect(world.lines.find((line) => line.includes('it may be what ends the process'))).toMatch(
      /was handed out \d times and never acknowledged/,
    );
    expect(world.depth('dovecote.notifications.dead').ready).toBe(0);
  });

  it('works on at most so many events as its concurrency says, in order where that is 1', async () => {
    let running = 0;
    let most = 0;
    const finishers: (() => void)[] = [];
    @Injectable()
    class OneByOne {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced, { concurrency: 1 })
      async notify(event: OrderPlaced, message: Message): Promise<void> {
        this.desk.take(this, event, message);
        most = Math.max(most, (running += 1));
        await new Promise<void>((resolve) => finishers.push(resolve));
        running -= 1;
      }
    }
    const { desk, publisher } = await world.start({ providers: [OneByOne] });
    for (let index = 0; index < 5; index++) await publisher.publish(new OrderPlaced(`${index}`));
    for (let index = 0; index < 5; index++) {
      await until(() => finishers.length === index + 1);
      finishers[index]!();
    }
    await until(() => world.depth().unacknowledged === 0);
    expect(most).toBe(1);
    expect(desk.seen.map(({ event }) => event.orderId)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('never holds more than the prefetch', async () => {
    const { desk, publisher } = await world.start({ providers: [Notifications], options: { prefetch: 3 } });
    desk.behave = () => new Promise(() => undefined);
    for (let index = 0; index < 8; index++) await publisher.publish(new OrderPlaced(`${index}`));
    await until(() => desk.seen.length === 3);
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(world.depth()).toEqual({ ready: 5, unacknowledged: 3 });
  });

  it('in request scope gets an instance of its own for every event, and what it was asked', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerEvent {
      constructor(
        readonly desk: Desk,
        @Inject(REQUEST) readonly request: { readonly pattern: string; readonly data: OrderPlaced; readonly context: Message },
      ) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { desk, publisher } = await world.start({ providers: [PerEvent] });
    await publisher.publish(new OrderPlaced('o-1'));
    await publisher.publish(new OrderPlaced('o-2'));
    await until(() => desk.seen.length === 2);
    const [first, second] = desk.seen.map(({ by }) => by as PerEvent);
    expect(first).toBeInstanceOf(PerEvent);
    expect(first).not.toBe(second);
    expect([first, second].map((one) => [one!.request.pattern, one!.request.data.orderId, one!.request.context.type])).toEqual([
      ['orders.order-placed', 'o-1', 'orders.order-placed'],
      ['orders.order-placed', 'o-2', 'orders.order-placed'],
    ]);
  });
});

describe('a message that nobody can handle', () => {
  async function send(body: string, properties: object, routingKey = 'orders.order-placed'): Promise<void> {
    const session = world.broker.session();
    await session.publish({ exchange: 'dovecote.events', routingKey, body: Buffer.from(body), properties });
    await session.close();
  }

  it('is among the dead letters, as it came, and never silent', async () => {
    const { desk } = await world.start({ providers: [Notifications] });
    await send('{"orderId":', { messageId: 'torn', contentType: 'application/json' });
    await send('[]', { messageId: 'list' });
    await send('<xml/>', { messageId: 'xml', contentType: 'application/xml' });
    await send('{"orderId":"x"}', { headers: { note: 'kept' } });
    await send('{"__proto__":{"isLarge":true},"orderId":"x"}', { messageId: 'proto' });
    await until(() => world.depth('dovecote.notifications.dead').ready === 5);
    const reasons = ['payload is no JSON \\(', 'its payload is no object', 'application/xml', 'it has no id', '__proto__'];
    for (const reason of reasons)
      expect(
        world.lines.filter((line) => new RegExp(`${reason}.*among the dead letters of 'notifications' now\\.$`).test(line)),
      ).toHaveLength(1);
    const dead: Delivery[] = [];
    const session = world.broker.session();
    await session.consume('dovecote.notifications.dead', {}, (delivery) => dead.push(delivery));
    await until(() => dead.length === 5);
    const stranger = dead.find(({ properties }) => properties.headers!['note'] === 'kept')!;
    expect(stranger.body.toString()).toBe('{"orderId":"x"}');
    expect(stranger.properties.headers!['dovecote-death']).toContain('"cause":"unreadable"');
    await session.close();
    expect(desk.seen).toEqual([]);
    expect(world.depth()).toEqual({ ready: 0, unacknowledged: 0 });
  });

  it('because its type has no handler here is tried again, for a newer instance may have one', async () => {
    await world.start({ providers: [Notifications] });
    await send('{"orderId":"x"}', { messageId: 'other', type: 'orders.order-lost' });
    await until(() =>
      world.lines.some((line) => /^Nobody in this service handles orders\.order-lost \(other\).* comes again in \d+ ms\.$/.test(line)),
    );
    for (let attempt = 2; attempt <= 5; attempt++) {
      await settle();
      await world.clock.advance(60_000);
      await settle();
    }
    await until(() => world.depth('dovecote.notifications.dead').ready === 1);
    expect(world.lines.filter((line) => line.startsWith('Nobody in this service handles'))).toHaveLength(5);
  });

  it('is read where a stranger sent no more than JSON and an id', async () => {
    const { desk } = await world.start({ providers: [Notifications] });
    await send('{"orderId":"o-9","total":3}', {
      messageId: 'from-python',
      timestamp: 1_700_000_000,
      appId: 'shop',
      headers: { retries: 2, 'x-death': [] },
    });
    await until(() => desk.seen.length === 1);
    const { event, message } = desk.seen[0]!;
    expect(event).toEqual(Object.assign(Object.create(OrderPlaced.prototype) as object, { orderId: 'o-9', total: 3 }));
    expect([message.id, message.source, message.time?.toISOString(), message.key, message.version]).toEqual([
      'from-python',
      'shop',
      '2023-11-14T22:13:20.000Z',
      undefined,
      undefined,
    ]);
    expect({ ...message.headers }).toEqual({ retries: '2' });
  });
});
