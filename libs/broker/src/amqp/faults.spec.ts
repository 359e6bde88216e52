/** Clients that go away in the middle of a word, never acknowledge, or never read. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { AmqpWorld } from './amqp-world.js';
import { handshake, method, openChannel, publish, type ScriptedClient } from './scripted-client.js';

const memoryBytesMax = 4 << 20;
let world: AmqpWorld;

beforeEach(async () => {
  world = await AmqpWorld.open({ limits: { memoryBytesMax } });
});

afterEach(() => world.close());

const counts = (): Record<string, number> =>
  Object.fromEntries([...world.storage.host.queues].map(({ name, messageCount }) => [name, messageCount]));

/** Puts what comes back into numbers: the tags of deliveries, and the bodies' lengths. */
function tagsIn(client: ScriptedClient): number[] {
  const lines = client.take().filter((line) => line.startsWith('basic.deliver '));
  return lines.map((line) => (JSON.parse(line.slice('basic.deliver 1 '.length)) as { deliveryTag: number }).deliveryTag);
}

describe('a connection that breaks', () => {
  it('behind any of its bytes leaves whole messages, and nothing of its own', async () => {
    const owner = await world.connected(Buffer.concat([handshake, openChannel, method('queue.declare', { queue: 'kept' })]));
    const said = [
      handshake,
      openChannel,
      method('queue.declare', { queue: 'mine', exclusive: true }),
      method('basic.consume', { queue: 'mine', consumerTag: 'c' }),
      publish({ routingKey: 'kept' }, 'one'),
      method('confirm.select'),
      publish({ routingKey: 'kept', mandatory: true }, 'two', { messageId: 'm', headers: { a: 1 } }, { bodyFrameBytes: 2 }),
      publish({ routingKey: 'mine' }, 'three'),
      method('channel.open', {}, 2),
      method('tx.select', {}, 2),
      publish({ routingKey: 'kept' }, 'four', {}, { channel: 2 }),
      publish({ routingKey: 'mine' }, 'five', {}, { channel: 2 }),
      method('tx.commit', {}, 2),
      method('connection.close', { replyCode: 200 }, 0),
    ];
    const all = Buffer.concat(said);
    const before = world.storage.arena.bytesInUse;
    // Where each of the three that go to the queue that stays is complete: publishes at once, the third with its commit.
    const completeAt = [5, 7, 13].map((parts) => Buffer.concat(said.slice(0, parts)).length);
    let expected = 0;
    for (let cut = 0; cut <= all.length; cut++) {
      const client = world.client();
      client.send(all.subarray(0, cut));
      if (cut % 3 === 0) await world.settle();
      client.cut();
      expected += completeAt.filter((at) => at <= cut).length;
    }
    await world.settle();
    expect(counts()).toEqual({ kept: expected });
    expect(world.server.connections).toHaveLength(1);
    owner.send(method('queue.purge', { queue: 'kept' }));
    await world.settle();
    const { arena } = world.storage;
    expect(arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
    // The chunk that is filled next, and the places that the queue had for its messages at most, of 20 bytes each.
    expect(arena.chunkBytesInUse - before).toBeLessThanOrEqual(1 << 20);
    expect(arena.entryBytes).toBeLessThanOrEqual(20 * 2 * expected);
  });
});

describe('a consumer that never acknowledges', () => {
  it('makes publishers wait before memory is used up, and is given the rest when it does', async () => {
    const consumer = await world.connected(Buffer.concat([handshake, openChannel, method('queue.declare', { queue: 'q' })]));
    consumer.send(method('basic.consume', { queue: 'q', consumerTag: 'c' }));
    const publisher = await world.connected(Buffer.concat([handshake, openChannel, method('confirm.select')]));
    const total = 200;
    const given: number[] = [];
    let sent = 0;
    let waits = 0;
    while (given.length < total) {
      if (publisher.server.waitingBytes === 0 && sent < total) {
        publisher.send(publish({ routingKey: 'q' }, Buffer.alloc(100_000)));
        sent++;
      } else {
        // Only now that nobody may publish any more, or nobody has anything left, does it say a word.
        waits++;
        given.push(...tagsIn(consumer));
        consumer.send(method('basic.ack', { deliveryTag: given.at(-1)!, multiple: true }));
      }
      await world.settle();
      expect(world.storage.arena.bytesInUse).toBeLessThanOrEqual(memoryBytesMax + 2 * (1 << 20));
    }
    expect(waits).toBeGreaterThan(3);
    expect(given).toEqual(Array.from({ length: total }, (_, index) => index + 1));
  });

  it('costs the same where each message is one that it had before', async () => {
    const client = await world.connected(Buffer.concat([handshake, openChannel, method('queue.declare', { queue: 'q' })]));
    client.send(method('basic.consume', { queue: 'q', consumerTag: 'c' }));
    for (let number = 0; number < 50; number++) client.send(publish({ routingKey: 'q' }, Buffer.alloc(1000)));
    await world.settle();
    const before = world.storage.arena.bytesInUse;
    for (let round = 0; round < 200; round++) {
      client.send(method('basic.recover', { requeue: true }));
      await world.settle();
      client.take();
    }
    expect(world.storage.arena.bytesInUse).toBe(before);
  });
});

describe('a publisher that never reads', () => {
  it('is not read either once its returned messages fill the socket, whoever else goes on, and loses nothing when it reads', async () => {
    const other = await world.connected(Buffer.concat([handshake, openChannel, method('queue.declare', { queue: 'q' })]));
    const publisher = await world.connected(Buffer.concat([handshake, openChannel, method('confirm.select')]));
    publisher.isStalled = true;
    const total = 400;
    for (let number = 0; number < total; number++) {
      publisher.send(publish({ routingKey: 'none', mandatory: true }, Buffer.alloc(50_000)));
      if (number % 20 === 0) await world.settle();
    }
    await world.settle();
    expect(publisher.server.unsentBytes).toBeLessThan(6 << 20);
    expect(publisher.server.waitingBytes).toBeGreaterThan(10 << 20);
    other.send(publish({ routingKey: 'q' }, 'hello'), method('basic.get', { queue: 'q', noAck: true }));
    await world.settle();
    expect(other.take()).toHaveLength(3);
    publisher.isStalled = false;
    for (let rounds = 0; publisher.server.waitingBytes > 0 && rounds < total; rounds++) {
      publisher.unstall();
      await world.settle();
    }
    const heads = publisher.take().map((line) => line.split(' ')[0]);
    expect(heads.filter((head) => head === 'basic.return')).toHaveLength(total);
  });
});
