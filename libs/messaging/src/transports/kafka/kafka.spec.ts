/** The parts of the Kafka transport that need no cluster: sharing partitions out, lanes, batches, addresses, and what goes into a record and a commit. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from '../../backoff.js';
import { type Envelope, plainEvent } from '../../envelope.js';
import { MessagingError } from '../../errors.js';
import { CommitNotes } from './commit-notes.js';
import { recordsOf } from './fetched-records.js';
import {
  type GroupMemberSubscription,
  assignPartitions,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  nameOf,
} from './group-assignment.js';
import { parseKafkaAddress } from './kafka-address.js';
import {
  type IncomingRecord,
  type KafkaClient,
  KafkaFailure,
  type OutgoingRecord,
  type TopicPartition,
  kafkaCodes,
} from './kafka-client.js';
import { fromRecord, toRecord } from './kafka-events.js';
import { KafkaPublishing } from './kafka-publishing.js';
import { KafkaReplies } from './kafka-replies.js';
import { PartitionLane } from './partition-lane.js';
import { TopicMaker } from './topic-maker.js';

describe('sharing partitions out', () => {
  const counts = new Map([
    ['orders', 8],
    ['payments', 3],
  ]);
  const member = (memberId: string, owned: readonly TopicPartition[] = [], generation = 1): GroupMemberSubscription => {
    return { memberId, topics: ['orders', 'payments'], owned, generation };
  };

  it('is even in each topic, gives every partition to one member, and settles in one more round than hands change', () => {
    const random = new SeededRandom(3);
    let members = [member('a')];
    for (let round = 0; round < 200; round++) {
      if (random.chance(0.5) && members.length < 6) members = [...members, member(`m${round}`)];
      else if (members.length > 1) members = members.toSpliced(random.below(members.length), 1);
      for (let settling = 0; settling < 2; settling++) {
        const loads = assignPartitions(members, counts);
        for (const one of members) {
          const others = members.filter((other) => other !== one).flatMap(({ owned }) => owned.map(nameOf));
          // What another still has is never given before it has let go.
          for (const part of loads.get(one.memberId)!) expect(others).not.toContain(nameOf(part));
        }
        members = members.map((one) => member(one.memberId, loads.get(one.memberId)!, round * 2 + settling));
      }
      const names = members.flatMap(({ owned }) => owned.map(nameOf));
      expect([new Set(names).size, names.length]).toEqual([11, 11]);
      for (const [topic, count] of counts) {
        const sizes = members.map(({ owned }) => owned.filter((part) => part.topic === topic).length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(count);
      }
    }
  });

  it('moves nothing while nobody comes or goes', () => {
    const first = assignPartitions([member('a'), member('b'), member('c')], counts);
    const members = ['a', 'b', 'c'].map((id) => member(id, first.get(id)!));
    expect(assignPartitions(members, counts)).toEqual(first);
  });

  it('believes the later of two who say they have the same partition', () => {
    const part = { topic: 'payments', partition: 0 };
    const loads = assignPartitions([member('a', [part], 4), member('b', [part], 5)], new Map([['payments', 1]]));
    expect([loads.get('a'), loads.get('b')]).toEqual([[], [part]]);
  });

  it('is told in bytes that come back as they were, and refuses those that are cut', () => {
    const owned = [
      { topic: 'orders', partition: 3 },
      { topic: 'orders', partition: 5 },
      { topic: 'zahlungen-ü', partition: 0 },
    ];
    const bytes = encodeSubscription({ topics: ['orders', 'zahlungen-ü'], owned, generation: 7 });
    expect(decodeSubscription(bytes)).toEqual({ topics: ['orders', 'zahlungen-ü'], owned, generation: 7 });
    for (let length = 0; length < bytes.length; length++)
      expect(() => decodeSubscription(bytes.subarray(0, length))).toThrow(/bounds|range|fit/);
    expect(decodeAssignment(encodeAssignment(owned))).toEqual(owned);
    expect(decodeAssignment(Buffer.alloc(0))).toEqual([]);
  });
});

describe('a lane', () => {
  const start = { topicId: 'id', leader: 1, offset: 10, knownUpTo: 13, starts: 2, inHandMax: 10 };
  const record = (offset: number): IncomingRecord => ({ offset, timestampMs: 0, key: null, value: null, headers: new Map() });
  const lane = (): PartitionLane => {
    const made = new PartitionLane({ topic: 'orders', partition: 0 }, start);
    made.receive({ records: [10, 12, 13].map(record), nextOffset: 20 });
    return made;
  };

  it('can commit up to the first that is not done, whatever order the others end in', () => {
    const made = lane();
    const [one, two, three] = [made.take()!.place, made.take()!.place, made.take()!.place];
    made.leave(two);
    expect(made.committable).toBe(10);
    made.leave(one);
    expect(made.committable).toBe(13);
    made.leave(three);
    // Past the gap of a compaction.
    expect(made.committable).toBe(20);
  });

  it('hands out nothing more once it drains, and stands where what is left begins', async () => {
    const made = lane();
    const { place } = made.take()!;
    let isDrained = false;
    const drained = made.drain().then(() => (isDrained = true));
    await Promise.resolve();
    expect([made.canHandOut, made.take(), isDrained]).toEqual([false, undefined, false]);
    made.leave(place);
    await drained;
    expect(made.committable).toBe(12);
  });

  it('counts how often its first record was handed out, and says of those behind it that they may have been', () => {
    const made = lane();
    expect([10, 12, 13].map((offset) => made.deliveries(offset))).toEqual([3, 2, 1]);
  });

  it('is suspect until that first record is committed as done', () => {
    const made = lane();
    const { place } = made.take()!;
    expect([made.isSuspect, made.isUncommitted]).toEqual([true, false]);
    made.leave(place);
    expect([made.isSuspect, made.isUncommitted]).toEqual([true, true]);
    made.committed = made.committable;
    expect([made.isSuspect, made.isUncommitted]).toEqual([false, false]);
  });

  it('is handed out one by one where members ended again and again with what they had in hand, and only that', () => {
    const twice = new PartitionLane({ topic: 'orders', partition: 0 }, { ...start, inHandMax: 2 });
    twice.receive({ records: [10, 11, 12, 13].map(record), nextOffset: 20 });
    expect([twice.isOneByOne, twice.take() && twice.isOneByOne, twice.take() && twice.isOneByOne]).toEqual([true, true, false]);
    const known = lane();
    expect([known.isOneByOne, known.take() && known.isOneByOne, known.take() && known.isOneByOne]).toEqual([true, true, false]);
    expect(new PartitionLane({ topic: 'orders', partition: 0 }, { ...start, starts: 1 }).isOneByOne).toBe(false);
  });

  it('leaves its starts with a commit that makes no progress, and none with another or as a farewell', () => {
    const notes = new CommitNotes({ topic: 'orders', text: '["event orders.#"]' });
    const made = lane();
    expect(notes.read(notes.offsetOf(made).metadata)).toEqual({ starts: 3, note: '["event orders.#"]' });
    expect(notes.read(notes.offsetOf(made, 12).metadata).starts).toBe(0);
    expect(notes.read(notes.offsetOf(made, 10, true).metadata).starts).toBe(0);
    expect(notes.find([notes.offsetOf(made)])).toBe('["event orders.#"]');
    expect(['', 'of another client', '{"starts":-1}', '{'].map((text) => notes.read(text).starts)).toEqual([0, 0, 0, 0]);
  });
});

describe('fetched batches', () => {
  const batch = (firstOffset: number, attributes: number, producerId: number, keys: readonly (Buffer | null)[]) => ({
    firstOffset: BigInt(firstOffset),
    lastOffsetDelta: keys.length - 1,
    firstTimestamp: 5n,
    attributes,
    producerId: BigInt(producerId),
    records: keys.map((key, offsetDelta) => ({ offsetDelta, timestampDelta: 1n, key, value: null, headers: [] })),
  });

  it('lose what stands before the offset asked for, markers, and aborted transactions', () => {
    const [abort, commit] = [Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 1])];
    const batches = [
      batch(8, 0, -1, [null, null, null]),
      batch(11, 0x10, 7, [null]),
      batch(12, 0x10, 9, [null]),
      batch(13, 0x30, 7, [abort]),
      batch(14, 0x10, 7, [null]),
      batch(15, 0x30, 7, [commit]),
    ];
    const { records, nextOffset } = recordsOf(batches, 9, [{ producerId: 7n, firstOffset: 11n }]);
    expect(records.map(({ offset }) => offset)).toEqual([9, 10, 12, 14]);
    expect(nextOffset).toBe(16);
  });
});

describe('an address', () => {
  it('names several hosts, a login and a mechanism, and is shown without the password', () => {
    expect(parseKafkaAddress('kafkas://me:p%40ss@k1:9093,[::1]:9094,k3?mechanism=SCRAM-SHA-512')).toEqual({
      brokers: [
        { host: 'k1', port: 9093 },
        { host: '::1', port: 9094 },
        { host: 'k3', port: 9092 },
      ],
      isTls: true,
      user: { name: 'me', password: 'p@ss' },
      mechanism: 'SCRAM-SHA-512',
      shown: 'kafkas://k1:9093,[::1]:9094,k3',
    });
  });

  it.each(['kafka://', 'kafka://a b:1:2', 'kafka://k1:99999', 'kafka://k1?mechanism=GSSAPI', 'kafka://me:%@k1'])(
    '%s is refused',
    (text) => {
      expect(() => parseKafkaAddress(text)).toThrow(MessagingError);
    },
  );
});

const envelope: Envelope = {
  ...plainEvent,
  id: 'e-1',
  type: 'orders.placed',
  source: 'shop',
  time: undefined,
  key: 'o-1',
  version: 1,
  contentType: 'application/json',
  body: Buffer.from('{}'),
};

describe('a record', () => {
  it('of a stranger is an event of its topic, known by its place', () => {
    const record = {
      offset: 42,
      timestampMs: 1_700_000_000_000,
      key: Buffer.from('k'),
      value: Buffer.from('{}'),
      headers: new Map([['x', 'y']]),
    };
    expect(fromRecord('their-topic', 3, record)).toMatchObject({
      kind: 'event',
      id: 'their-topic/3/42',
      type: 'their-topic',
      key: 'k',
      time: '2023-11-14T22:13:20.000Z',
      headers: { x: 'y' },
    });
    expect(fromRecord('their-topic', 3, { ...record, value: null })).toMatchObject({ problem: expect.stringContaining('tombstone') });
  });

  it('carries an envelope there and back', () => {
    const { headers, key, value } = toRecord(envelope, 'orders');
    const record = { offset: 0, timestampMs: -1, key: key ?? null, value: value ?? null, headers: new Map(Object.entries(headers)) };
    expect(fromRecord('orders', 0, record)).toEqual(envelope);
  });
});

describe('publishing', () => {
  interface Wire {
    readonly sent: OutgoingRecord[][];
    answer: (records: readonly OutgoingRecord[]) => Error | undefined;
  }

  function publishing(more: { readonly lingerMs?: number; readonly batchBytesMax?: number } = {}): {
    readonly publishing: KafkaPublishing;
    readonly wire: Wire;
    readonly clock: SimulatedClock;
  } {
    const clock = new SimulatedClock();
    const wire: Wire = { sent: [], answer: () => undefined };
    const client = {
      produce: async (records: OutgoingRecord[]) => {
        wire.sent.push(records);
        const error = wire.answer(records);
        if (error !== undefined) throw error;
      },
      topics: async (names: string[]) => new Map(names.map((name) => [name, { id: '', partitions: [{ leader: 1, leaderEpoch: 0 }] }])),
    } as unknown as KafkaClient;
    const log = { info: ignore, warn: ignore, error: ignore };
    const topicMaker = new TopicMaker(client, { partitions: 1, replicationFactor: 1, configs: {} }, clock, 'kafka://here');
    const backoff = new Backoff(new SeededRandom(1), 100, 100);
    return { publishing: new KafkaPublishing(client, topicMaker, { clock, backoff, log, shown: 'kafka://here', ...more }), wire, clock };
  }

  const textsOf = (sent: readonly OutgoingRecord[][]): string[][] => sent.map((records) => records.map(({ value }) => value!.toString()));
  const publish = (to: KafkaPublishing, text: string, deadlineMs = Number.POSITIVE_INFINITY): Promise<string> =>
    to.publish({ ...envelope, body: Buffer.from(text) }, deadlineMs, undefined).then(
      () => 'confirmed',
      (error: { code: string }) => error.code,
    );

  it('sends together what is published together, and what comes meanwhile after it', async () => {
    const { publishing: to, wire } = publishing();
    const outcomes = ['a', 'b'].map((text) => publish(to, text));
    await Promise.resolve();
    outcomes.push(publish(to, 'c'));
    expect(await Promise.all(outcomes)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    expect(textsOf(wire.sent)).toEqual([['a', 'b'], ['c']]);
  });

  it('waits for others as long as it was told to, and no longer than until the batch is full', async () => {
    const { publishing: to, wire, clock } = publishing({ lingerMs: 20, batchBytesMax: 2_000 });
    const outcomes = [publish(to, 'a')];
    await clock.advance(15);
    outcomes.push(publish(to, 'b'));
    expect(wire.sent).toEqual([]);
    await clock.advance(5);
    expect(await Promise.all(outcomes)).toEqual(['confirmed', 'confirmed']);
    const [full, rest] = ['c'.repeat(500), 'd'.repeat(500)];
    expect(await Promise.all([publish(to, full), publish(to, rest)])).toEqual(['confirmed', 'confirmed']);
    expect(textsOf(wire.sent)).toEqual([['a', 'b'], [full], [rest]]);
  });

  it('sends again, in the same order, what was not confirmed, and gives up on what is too old', async () => {
    const { publishing: to, wire, clock } = publishing();
    wire.answer = () => (wire.sent.length === 1 ? new KafkaFailure('gone', undefined) : undefined);
    const outcomes = [publish(to, 'old', 50), publish(to, 'a'), publish(to, 'b')];
    await clock.advance(200);
    expect(await Promise.all(outcomes)).toEqual(['publish-timeout', 'confirmed', 'confirmed']);
    expect(textsOf(wire.sent)).toEqual([
      ['old', 'a', 'b'],
      ['a', 'b'],
    ]);
  });

  it('finds out which one of a batch is refused, and loses none of the others', async () => {
    const { publishing: to, wire } = publishing();
    wire.answer = (records) =>
      records.some(({ value }) => value!.toString() === 'large') ? new KafkaFailure('too large', kafkaCodes.messageTooLarge) : undefined;
    const outcomes = ['a', 'large', 'b'].map((text) => publish(to, text));
    expect(await Promise.all(outcomes)).toEqual(['confirmed', 'too-large', 'confirmed']);
    expect(textsOf(wire.sent)).toEqual([['a', 'large', 'b'], ['a'], ['large'], ['b']]);
  });
});

describe('replies', () => {
  async function opening(failures: readonly KafkaFailure[]): Promise<{ readonly outcome: unknown; readonly asked: number }> {
    const clock = new SimulatedClock();
    const left = [...failures];
    let asked = 0;
    const offsets = async (): Promise<Map<number, number>> => {
      asked += 1;
      const failure = left.shift();
      if (failure !== undefined) throw failure;
      return new Map([[0, 7]]);
    };
    const never = new Promise<never>(ignore);
    const client = { topics: async () => new Map(), offsets, fetcher: () => ({ fetch: () => never, close: async () => undefined }) };
    const log = { info: ignore, warn: ignore, error: ignore };
    const backoff = new Backoff(new SeededRandom(1), 100, 5_000);
    const replies = new KafkaReplies(client, { topic: 'dovecote.shop.replies', clock, backoff, log }, () => 0, ignore);
    const outcome = replies.open().catch((error: unknown) => error);
    return { outcome: await clock.drive(outcome), asked };
  }
  const notLeader = new KafkaFailure('not the leader', kafkaCodes.notLeader);

  it('of a topic that was made a moment ago are waited for, and not without end', async () => {
    expect(await opening([notLeader, notLeader])).toEqual({ outcome: 'dovecote.shop.replies/0', asked: 3 });
    expect(await opening(Array.from({ length: 50 }, () => notLeader))).toEqual({ outcome: notLeader, asked: 8 });
    const denied = new KafkaFailure('denied', kafkaCodes.topicAuthorizationFailed);
    expect(await opening([denied])).toEqual({ outcome: denied, asked: 1 });
  });
});

function ignore(): void {}
