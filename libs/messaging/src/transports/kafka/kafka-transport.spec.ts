/** What the Kafka transport keeps in topics of its own: delays, dead letters, answers, what is parked. On our own broker, over its socket. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { type Envelope, noTrail, plainEvent } from '../../envelope.js';
import type { Parked, ParkingStore } from '../../parking-store.js';
import type { Incoming, Lane, Source } from '../../transport.js';
import { turn } from '../../turn.js';
import { JumpingClock } from './jumping-clock.js';
import { KafkaSubject } from './kafka-subject.js';
import type { KafkaTransport, KafkaTransportSettings } from './kafka-transport.js';

let subject: KafkaSubject;

beforeEach(async () => {
  const clock = new JumpingClock();
  const kafka = { port: 0, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
  subject = new KafkaSubject(`kafka://127.0.0.1:${broker.kafkaPort}`, clock, () => broker.close());
});

afterEach(() => subject.close());

async function opened(overrides: Partial<KafkaTransportSettings> = {}): Promise<KafkaTransport> {
  const transport = subject.transport(overrides);
  await transport.open();
  return transport;
}

function envelope(id: string, changes: Partial<Envelope> = {}): Envelope {
  return {
    ...plainEvent,
    id,
    type: 'orders.placed',
    source: 'shop',
    time: '2026-01-02T03:04:05.678Z',
    key: 'o-1',
    version: 1,
    contentType: 'application/json',
    body: Buffer.from(id),
    ...changes,
  };
}

const nothing = (): void => undefined;
const never = Number.POSITIVE_INFINITY;

async function subscribed(transport: KafkaTransport, order: Source['order'] = 'none') {
  const got: Incoming[] = [];
  const lanes = new Map<string, Lane>();
  const sources = [{ kind: 'event', pattern: order === 'key' ? 'orders.placed' : 'orders.*', topic: undefined, order }] as const;
  const subscription = await transport.subscribe(
    { group: 'readers', sources, prefetch: 100 },
    {
      onMessage: (incoming) => void got.push(incoming),
      assigned: async (lane) => void lanes.set(lane.id, lane),
      revoked: async (lane) => void lanes.delete(lane.id),
    },
  );
  return { got, lanes, subscription };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

const idsOf = (got: readonly Incoming[]): (string | undefined)[] => got.map(({ envelope: { id } }) => id);

describe('a delay', () => {
  it('holds a message through several topics, whoever crashes, and leaves nothing of it behind', async () => {
    const [sender, reader] = [await opened(), await opened()];
    const { got } = await subscribed(reader);
    const sent = envelope('later', { trail: { ...noTrail, failures: 1 }, headers: { note: 'kept' } });
    await sender.publish(sent, never, { delayMs: 2_150 });
    await subject.crash(sender);
    await until(() => got.length === 1);
    expect(got[0]!.envelope).toEqual({ ...sent, headers: { note: 'kept' } });
  });

  it('never ends early', async () => {
    const [sender, reader] = [await opened(), await opened()];
    const { got } = await subscribed(reader);
    const arrivals: number[] = [];
    const beganAtMs = subject.clock.now();
    await sender.publish(envelope('later'), never, { delayMs: 5_000 });
    for (let passedMs = 0; got.length === 0; passedMs += 100) {
      await subject.pass(100);
      if (got.length > 0) arrivals.push(subject.clock.now() - beganAtMs);
    }
    expect(arrivals[0]).toBeGreaterThanOrEqual(5_000);
  });

  it.each([0, -1, Number.NaN, 1e15])('of %s ms is refused', async (delayMs) => {
    await expect((await opened()).publish(envelope('x'), never, { delayMs })).rejects.toMatchObject({ code: 'invalid-publish' });
  });
});

describe('the dead letters of a service', () => {
  const box = { group: 'readers', box: 'dead-letters' } as const;

  it('are looked through in the order in which they died, and are gone once they are acknowledged', async () => {
    const transport = await opened();
    for (const id of ['a', 'b', 'c']) await transport.publish(envelope(id), never, { to: box });
    const first = await transport.openBox(box);
    const [one, two] = [await first.next(), await first.next()];
    expect(idsOf([one!, two!])).toEqual(['a', 'b']);
    two!.acknowledge();
    one!.release();
    await first.close();
    const second = await transport.openBox(box);
    expect(idsOf([(await second.next())!, (await second.next())!])).toEqual(['a', 'c']);
    expect(await second.next()).toBeUndefined();
    await second.close();
  });

  it('are given to one who looks at a time', async () => {
    const [one, two] = [await opened(), await opened()];
    await one.publish(envelope('a'), never, { to: box });
    const first = await one.openBox(box);
    const second = await two.openBox(box);
    expect([await first.next(), await second.next()].filter((incoming) => incoming !== undefined)).toHaveLength(1);
    await Promise.all([first.close(), second.close()]);
  });
});

describe('answers', () => {
  it('come to the address that was given', async () => {
    const [asker, answerer] = [await opened(), await opened()];
    const replies: Envelope[] = [];
    const replyTo = await asker.openReplies((reply) => void replies.push(reply));
    await answerer.publish(envelope('r-1', { kind: 'reply', replyTo, causationId: 'q-1' }), never);
    await until(() => replies.length === 1);
    expect(replies[0]).toMatchObject({ id: 'r-1', kind: 'reply', causationId: 'q-1' });
    await expect(answerer.publish(envelope('r-2', { kind: 'reply', replyTo: 'amq.reply' }), never)).rejects.toMatchObject({
      code: 'invalid-publish',
    });
  });
});

describe('what is parked', () => {
  it('has a topic where a handler asks for an order, which a plan tells', async () => {
    const transport = await opened();
    const things = async (order: Source['order']): Promise<readonly string[]> => {
      const sources = [{ kind: 'event', pattern: 'orders.placed', topic: undefined, order }] as const;
      return (await transport.plan({ group: 'readers', sources, prefetch: 1 })).map(({ thing }) => thing);
    };
    expect(await things('none')).not.toContain('topic dovecote.readers.parked');
    expect(await things('key')).toContain('topic dovecote.readers.parked');
  });

  it('is there again for whoever has its lane next, with what became of it, and not for another lane', async () => {
    const first = await opened();
    const { lanes } = await subscribed(first, 'key');
    await until(() => lanes.size === 4);
    const [lane, other] = [...lanes.values()] as [Lane, Lane];
    const store = first.parkingStore('readers');
    expect(await store.restore(lane, nothing)).toEqual([]);
    const parked = (sequence: number, state: Parked['state'], dueAtMs?: number): Parked => {
      return { sequence, key: 'o-1', envelope: envelope(`m-${sequence}`), state, dueAtMs };
    };
    await store.park(lane, parked(3, 'retry', 5_000));
    for (const sequence of [4, 10, 5]) await store.park(lane, parked(sequence, 'behind'));
    await store.update(lane, parked(3, 'dead'));
    await store.resolve(lane, 4);
    await store.park(other, parked(1, 'behind'));
    await subject.crash(first);

    const second = (await opened()).parkingStore('readers');
    // Theirs are gone with the one that crashed.
    const anew = ({ id }: Lane): Lane => ({ id, pause: nothing, resume: nothing });
    const found = await second.restore(anew(lane), nothing);
    expect(found.map(({ sequence, state, dueAtMs }) => [sequence, state, dueAtMs])).toEqual([
      [3, 'dead', undefined],
      [5, 'behind', undefined],
      [10, 'behind', undefined],
    ]);
    expect(found[0]!.envelope).toMatchObject({ id: 'm-3', key: 'o-1' });
    expect((await second.restore(anew(other), nothing)).map(({ sequence }) => sequence)).toEqual([1]);
  });
});

describe('a lane in order', () => {
  it('counts for nothing where it was written by who had the lane before, however late, and over nobody else', async () => {
    const stores = [];
    for (let count = 0; count < 4; count++) stores.push((await opened()).parkingStore('readers'));
    const [first, second, third, fourth] = stores as [ParkingStore, ParkingStore, ParkingStore, ParkingStore];
    const lane = { id: 'orders/1', pause: nothing, resume: nothing };
    const parkedAs = (sequence: number, state: Parked['state'], failures = 0): Parked => {
      const trail = { ...noTrail, failures };
      return { sequence, key: 'o-1', envelope: envelope(`m-${sequence}`, { trail }), state, dueAtMs: undefined };
    };
    const shortly = async (store: ParkingStore): Promise<unknown[]> =>
      (await store.restore(lane, nothing)).map(({ sequence, state, envelope: { trail } }) => [sequence, state, trail?.failures ?? 0]);
    expect(await shortly(first)).toEqual([]);
    await first.park(lane, parkedAs(1, 'retry'));
    await first.park(lane, parkedAs(2, 'behind'));
    expect(await shortly(second)).toHaveLength(2);
    await second.update(lane, parkedAs(1, 'dead', 3));
    await second.resolve(lane, 2);
    await second.park(lane, parkedAs(4, 'behind'));
    // It stood still, and does not know.
    await first.update(lane, parkedAs(1, 'retry', 1));
    await first.update(lane, parkedAs(2, 'retry', 1));
    await first.park(lane, parkedAs(3, 'retry'));
    const wanted = [
      [1, 'dead', 3],
      [4, 'behind', 0],
    ];
    expect(await shortly(third)).toEqual(wanted);
    await second.park(lane, parkedAs(5, 'behind'));
    await first.park(lane, parkedAs(6, 'behind'));
    expect(await shortly(fourth)).toEqual(wanted);
  });

  it('is paused and goes on, and its messages name it', async () => {
    const transport = await opened();
    const { got, lanes } = await subscribed(transport, 'key');
    await until(() => lanes.size === 4);
    await transport.publish(envelope('a'), never);
    await until(() => got.length === 1);
    const lane = got[0]!.lane!;
    expect(lanes.get(lane.id)).toBe(lane);
    lane.pause();
    await transport.publish(envelope('b'), never);
    for (let count = 0; count < 50; count++) await turn();
    expect(idsOf(got)).not.toContain('b');
    lane.resume();
    await until(() => idsOf(got).includes('b'));
  });

  it('goes to another member only when its messages are done, and comes without them', async () => {
    const [first, second] = [await opened(), await opened()];
    const one = await subscribed(first, 'key');
    await until(() => one.lanes.size === 4);
    const ids = Array.from({ length: 20 }, (_, index) => `m-${index}`);
    for (const id of ids) await first.publish(envelope(id, { key: id }), never);
    await until(() => one.got.length === 20);
    const joining = subscribed(second, 'key');
    for (let count = 0; count < 100; count++) await turn();
    for (const incoming of one.got) incoming.acknowledge();
    const two = await joining;
    await until(() => two.lanes.size === 2 && one.lanes.size === 2);
    for (let count = 0; count < 50; count++) await turn();
    expect(two.got).toEqual([]);
  });
});

describe('a member that ends in order', () => {
  const uncommitted = { commitEveryMs: 600_000 };

  it('has committed all that was done, in whatever moment of its leaving the end comes', async () => {
    const publisher = await opened();
    for (let round = 0; round < 16; round++) {
      const transport = await opened(uncommitted);
      const { got, subscription } = await subscribed(transport, 'key');
      const ids = Array.from({ length: 20 }, (_, index) => `m-${round}-${index}`);
      for (const id of ids) await publisher.publish(envelope(id, { key: id }), never);
      await until(() => got.length >= 20);
      expect(new Set(idsOf(got))).toEqual(new Set(ids));
      expect(got).toHaveLength(20);
      for (const incoming of got) incoming.acknowledge();
      await subscription.stop();
      for (let count = 0; count < round; count++) await turn();
      await transport.close();
    }
  });

  it('repeats nothing where others share out its partitions at that moment', async () => {
    const [publisher, stayer] = [await opened(), await opened()];
    const stays = await subscribed(stayer, 'key');
    const all: (string | undefined)[] = [];
    for (let round = 0; round < 12; round++) {
      const transport = await opened(uncommitted);
      const { got, lanes, subscription } = await subscribed(transport, 'key');
      await until(() => lanes.size === 2 && stays.lanes.size === 2);
      const ids = Array.from({ length: 20 }, (_, index) => `m-${round}-${index}`);
      for (const id of ids) await publisher.publish(envelope(id, { key: id }), never);
      await until(() => got.length + stays.got.length >= 20);
      for (const incoming of [...got, ...stays.got.splice(0)]) {
        all.push(...idsOf([incoming]));
        incoming.acknowledge();
      }
      await subscription.stop();
      for (let count = 0; count < round; count++) await turn();
      const comes = round % 2 === 0 ? subscribed(await opened(), 'key') : undefined;
      await transport.close();
      await (await comes)?.subscription.stop();
      await until(() => stays.lanes.size === 4);
    }
    expect([all.length, new Set(all).size]).toEqual([240, 240]);
  });
});
