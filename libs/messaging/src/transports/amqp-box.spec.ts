import { expect, it } from '@jest/globals';
import type { Channel, ChannelModel } from 'amqplib';
import { SimulatedClock } from '@dovecote/ground/testing';
import { EventEmitter } from 'node:events';
import { AmqpBox } from './amqp-box.js';

const box = { group: 'shop', box: 'dead-letters' } as const;

/** A broker that has one message, and says of each later question how many are there. */
function brokerThatSays(...counts: readonly number[]): { readonly connection: ChannelModel; readonly asked: () => number } {
  const left = [...counts];
  let gets = 0;
  const channel = (): Channel =>
    Object.assign(new EventEmitter(), {
      get: () =>
        Promise.resolve((gets += 1) === 1 && { fields: { deliveryTag: 1, messageCount: 0 }, properties: {}, content: Buffer.alloc(0) }),
      checkQueue: () => Promise.resolve({ messageCount: left.shift() }),
      close: () => Promise.resolve(),
      ack: () => undefined,
    }) as unknown as Channel;
  const connection = { createChannel: () => Promise.resolve(channel()) } as unknown as ChannelModel;
  return { connection, asked: () => counts.length - left.length };
}

it('is closed when the broker has put back what was looked at, for whoever looks next', async () => {
  const clock = new SimulatedClock();
  const { connection, asked } = brokerThatSays(0, 0, 1);
  const look = await AmqpBox.open(connection, box, clock);
  await look.next();
  let isClosed = false;
  const closed = look.close().then(() => (isClosed = true));
  await clock.advance(30);
  expect([isClosed, asked()]).toEqual([false, 2]);
  await clock.drive(closed);
  expect(asked()).toBe(3);
});

it('does not wait for what somebody else took, nor where nothing was out', async () => {
  const clock = new SimulatedClock();
  const taken = brokerThatSays(...new Array<number>(100).fill(0));
  const look = await AmqpBox.open(taken.connection, box, clock);
  await look.next();
  const beganMs = clock.monotonicMs();
  await clock.drive(look.close());
  expect(clock.monotonicMs() - beganMs).toBe(1_000);
  const sent = brokerThatSays(0);
  const redrive = await AmqpBox.open(sent.connection, box, clock);
  (await redrive.next())!.acknowledge();
  await redrive.close();
  expect(sent.asked()).toBe(0);
});
