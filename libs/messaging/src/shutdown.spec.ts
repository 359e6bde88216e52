/** The end of an application: handlers that run, messages that wait, and what is published meanwhile. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Notifications, NotificationsWorld, OrderPaid, OrderPlaced } from './notifications.module.js';
import { settle, until } from './turn.js';

let world: NotificationsWorld;

beforeEach(async () => {
  world = await NotificationsWorld.open();
});
afterEach(() => world.close());

describe('the shutdown', () => {
  it('takes no more, lets running handlers finish and publish, and gives back what waits', async () => {
    const { app, desk, publisher } = await world.start({ providers: [Notifications], options: { prefetch: 2 } });
    let finish = (): void => undefined;
    desk.behave = async () => {
      await new Promise<void>((resolve) => (finish = resolve));
      await publisher.publish(new OrderPaid('o-1'));
    };
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    desk.behave = () => {
      throw new Error('down');
    };
    await publisher.publish(new OrderPlaced('o-2'));
    await until(() => desk.seen.length === 2 && world.depth().unacknowledged === 1);
    let isClosed = false;
    const closed = app.close().then(() => (isClosed = true));
    await settle();
    await publisher.publish(new OrderPlaced('o-3'));
    await settle();
    expect([isClosed, world.depth().unacknowledged, world.depth().ready]).toEqual([false, 1, 1]);
    finish();
    await world.clock.drive(closed);
    expect(desk.seen).toHaveLength(2);
    await world.clock.advance(1_000);
    await until(() => world.depth().ready === 2);
    expect(world.depth().unacknowledged).toBe(0);
    await expect(publisher.publish(new OrderPlaced('late'))).rejects.toMatchObject({ code: 'closed' });
  });

  it('aborts the signal of a handler that takes too long, and its event goes back', async () => {
    const { app, desk, publisher } = await world.start({ providers: [Notifications], options: { drainTimeoutMs: 5_000 } });
    const endings: string[] = [];
    desk.behave = (event, { signal }) =>
      new Promise((_resolve, reject) => {
        const stop = (): void => {
          endings.push(`${event.orderId} stopped at ${world.clock.monotonicMs()}`);
          reject(new Error('stopped'));
        };
        if (event.orderId === 'polite') signal.addEventListener('abort', stop);
      });
    await publisher.publish(new OrderPlaced('polite'));
    await publisher.publish(new OrderPlaced('deaf'));
    await until(() => desk.seen.length === 2);
    const startedMs = world.clock.monotonicMs();
    await world.clock.drive(app.close());
    expect(endings).toEqual([`polite stopped at ${startedMs + 5_000}`]);
    expect(world.clock.monotonicMs()).toBe(startedMs + 6_000);
    expect(world.depth()).toEqual({ ready: 2, unacknowledged: 0 });
    expect(world.lines.filter((line) => line.includes('still running after 5000 ms'))).toHaveLength(1);
    expect(world.lines.filter((line) => line.includes('did not stop'))).toHaveLength(1);
    expect(desk.seen.find(({ event }) => event.orderId === 'deaf')!.message.signal.aborted).toBe(true);
  });
});
