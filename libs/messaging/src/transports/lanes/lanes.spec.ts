import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { type Envelope, plainEvent } from '../../envelope.js';
import type { Parked, ParkingStore, Released } from '../../parking-store.js';
import type { Incoming, Lane, Transport, TransportSubscription } from '../../transport.js';
import { turn } from '../../turn.js';
import { AmqpSubject } from '../amqp-subject.js';
import { EmbeddedSubject } from '../embedded-subject.js';
import type { LaneDriver } from './lane-driver.js';
import { noted } from './lane-notes.js';
import { parkedQueueOf } from './lane-topology.js';
import { SLOTS, rankOf, slotOf } from './slots.js';

const never = Number.POSITIVE_INFINITY;
const group = 'readers';

interface Subject {
  transport(): Transport;
  crash(transport: Transport): Promise<void>;
  close(): Promise<void>;
}

/** A member with its lanes, what came, and what was released in them. */
interface Member {
  readonly transport: Transport;
  readonly store: ParkingStore;
  readonly subscription: TransportSubscription;
  readonly lanes: Map<string, Lane>;
  readonly restored: Map<string, readonly Parked[]>;
  readonly released: Released[];
  readonly got: Incoming[];
  readonly lost: string[];
}

const open: { subject: Subject | undefined } = { subject: undefined };

afterEach(async () => {
  await open.subject?.close();
  open.subject = undefined;
});

async function openAmqp(): Promise<Subject> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  return AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close()) as Promise<Subject>;
}

function envelope(id: string, key = 'o-1', changes: Partial<Envelope> = {}): Envelope {
  return {
    ...plainEvent,
    id,
    type: 'placed',
    source: 'test',
    time: undefined,
    key,
    version: 1,
    contentType: 'application/json',
    body: Buffer.from(`"${id}"`),
    ...changes,
  };
}

function parked(sequence: number, state: Parked['state'], changes: Partial<Parked> = {}): Parked {
  return { sequence, key: 'o-1', state, dueAtMs: undefined, envelope: envelope(`m-${sequence}`), ...changes };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

async function settled(): Promise<void> {
  for (let count = 0; count < 50; count++) await turn();
}

describe.each([
  ['the embedded broker', () => EmbeddedSubject.open() as Promise<Subject>],
  ['our broker over AMQP', openAmqp],
])('on %s, what is parked', (_name, openSubject) => {
  async function join(): Promise<Member> {
    const subject = (open.subject ??= await openSubject());
    const transport = subject.transport();
    await transport.open();
    const store = transport.parkingStore(group)!;
    const [lanes, restored] = [new Map<string, Lane>(), new Map<string, readonly Parked[]>()];
    const [released, got, lost]: [Released[], Incoming[], string[]] = [[], [], []];
    const subscription = await transport.subscribe(
      { group, sources: [{ kind: 'event', pattern: 'placed', topic: undefined, order: 'key' }], prefetch: 10 },
      {
        onMessage: (incoming) => got.push(incoming),
        async assigned(lane) {
          restored.set(lane.id, await store.restore(lane, (one) => released.push(one)));
          lanes.set(lane.id, lane);
        },
        async revoked(lane, isLost) {
          lanes.delete(lane.id);
          if (isLost) lost.push(lane.id);
        },
      },
    );
    return { transport, store, subscription, lanes, restored, released, got, lost };
  }

  /** The only member, with all three lanes. */
  async function alone(): Promise<Member & { readonly lane: Lane }> {
    const member = await join();
    await until(() => member.lanes.size === 3);
    return { ...member, lane: [...member.lanes.values()][0]! };
  }

  async function restoredAfter(member: Member & { readonly lane: Lane }): Promise<readonly Parked[]> {
    await open.subject!.crash(member.transport);
    const next = await alone();
    return next.restored.get(member.lane.id)!;
  }

  it('counts for nothing where it was written by who had the lane before, however late', async () => {
    const first = await alone();
    const { lane } = first;
    await first.store.park(lane, parked(1, 'behind'));
    await open.subject!.crash(first.transport);
    const second = await alone();
    const laneOfSecond = second.lanes.get(lane.id)!;
    await second.store.park(laneOfSecond, parked(2, 'behind'));
    await open.subject!.crash(second.transport);
    // The first one stood still, with this on its way; and an earlier version wrote without an epoch.
    const beside = open.subject!.transport();
    await beside.open();
    const { publish } = beside.parkingStore(group) as unknown as { readonly publish: LaneDriver['publish'] };
    const write = (sequence: number, epoch: number | undefined): Promise<void> => {
      const note = { what: 'parked', sequence, key: 'o-1', state: 'retry', dueAtMs: undefined, revision: 9, term: 'of-the-first' } as const;
      return publish({ queue: parkedQueueOf(lane.id) }, noted(envelope(`m-${sequence}`), epoch === undefined ? note : { ...note, epoch }));
    };
    await write(1, 1);
    await write(3, 1);
    await write(4, undefined);
    const third = await alone();
    const wanted = [
      [1, 'behind'],
      [2, 'behind'],
      [4, 'retry'],
    ];
    expect(third.restored.get(lane.id)!.map(({ sequence, state }) => [sequence, state])).toEqual(wanted);
    // And it is gone: whoever comes next does not find it.
    const found = await restoredAfter({ ...third, lane });
    expect(found.map(({ sequence, state }) => [sequence, state])).toEqual(wanted);
  });

  it('comes to the next member of the lane in the order of the sequence numbers, with its trail', async () => {
    const first = await alone();
    const { store, lane } = first;
    const trail = { failures: 2, starts: 1, history: [{ atMs: 1, reason: 'ünïcode' }], death: undefined };
    await store.park(lane, parked(10, 'behind'));
    await store.park(lane, parked(9, 'retry', { dueAtMs: 123, envelope: envelope('m-9', 'o-1', { trail }) }));
    await store.park([...first.lanes.values()][1]!, parked(1, 'retry'));
    const found = await restoredAfter(first);
    expect(found.map(({ sequence, state, dueAtMs, key }) => [sequence, state, dueAtMs, key])).toEqual([
      [9, 'retry', 123, 'o-1'],
      [10, 'behind', undefined, 'o-1'],
    ]);
    expect(found[0]!.envelope).toMatchObject({ id: 'm-9', key: 'o-1', trail, headers: {} });
    expect(Buffer.from(found[0]!.envelope.body).toString()).toBe('"m-9"');
  });

  it('is there once after an update, and gone after it is resolved, whatever was updated before', async () => {
    const first = await alone();
    const { store, lane } = first;
    await store.park(lane, parked(1, 'retry', { dueAtMs: 1 }));
    await store.update(lane, parked(1, 'retry', { dueAtMs: 2 }));
    await store.update(lane, parked(1, 'dead', { envelope: envelope('m-1-dead') }));
    await store.park(lane, parked(2, 'retry'));
    await store.update(lane, parked(2, 'retry'));
    await settled();
    await store.resolve(lane, 2);
    await store.park(lane, parked(3, 'retry'));
    // At once: the broker has not handed it to its owner by then, perhaps.
    await store.resolve(lane, 3);
    await settled();
    const found = await restoredAfter(first);
    expect(found.map(({ sequence, state, envelope: told }) => [sequence, state, told.id])).toEqual([[1, 'dead', 'm-1-dead']]);
  });

  it('goes with its lane where that is handed over, and the former member can change it no more', async () => {
    const first = await alone();
    const lanes = [...first.lanes.values()];
    for (const lane of lanes) await first.store.park(lane, parked(1, 'retry'));
    const others: Member[] = [];
    // Chance says which lanes are whose.
    while (first.lanes.size === 3) {
      others.push(await join());
      await settled();
    }
    const moved = lanes.find(({ id }) => !first.lanes.has(id))!;
    await until(() => others.some((member) => member.lanes.has(moved.id)));
    const owner = others.find((member) => member.lanes.has(moved.id))!;
    expect(owner.restored.get(moved.id)!.map(({ sequence }) => sequence)).toEqual([1]);
    await expect(first.store.park(moved, parked(2, 'retry'))).rejects.toThrow(/another member's/);
    await expect(first.store.resolve(moved, 1)).rejects.toThrow(/another member's/);
  });

  it('is released by anybody while the lane is with a member, who hears it once', async () => {
    const first = await alone();
    const { store, lane } = first;
    await store.park(lane, parked(1, 'dead'));
    await store.park(lane, parked(2, 'behind', { key: 'o-1' }));
    await store.park(lane, parked(3, 'dead', { key: 'o-2' }));
    const stranger = open.subject!.transport();
    await stranger.open();
    const release = stranger.parkingStore(group)!;
    await release.release(lane.id, { sequence: 1, key: 'o-1', envelope: envelope('edited') });
    await release.release(lane.id, { sequence: 1, key: 'o-1', envelope: envelope('edited') });
    await release.release(lane.id, { sequence: 3, key: 'o-2', envelope: undefined });
    // Nobody waits for these: one is not dead, one is not there, and one is another's.
    await release.release(lane.id, { sequence: 2, key: 'o-1', envelope: undefined });
    await release.release(lane.id, { sequence: 7, key: 'o-1', envelope: undefined });
    await release.release(lane.id, { sequence: 1, key: 'o-9', envelope: undefined });
    await until(() => first.released.length >= 2);
    await settled();
    expect(first.released.map(({ sequence, key, envelope: told }) => [sequence, key, told?.id])).toEqual([
      [1, 'o-1', 'edited'],
      [3, 'o-2', undefined],
    ]);
    // Released and not handled yet: the next member finds that out.
    const found = await restoredAfter(first);
    expect(found.map(({ sequence, state, dueAtMs, envelope: { id } }) => [sequence, state, dueAtMs, id])).toEqual([
      [1, 'retry', 0, 'edited'],
      [2, 'behind', undefined, 'm-2'],
    ]);
  });

  it('is released while nobody is there, and found released by the next member', async () => {
    const first = await alone();
    const { store, lane } = first;
    await store.park(lane, parked(1, 'dead'));
    await store.park(lane, parked(2, 'dead', { key: 'o-2' }));
    await open.subject!.crash(first.transport);
    const stranger = open.subject!.transport();
    await stranger.open();
    await stranger.parkingStore(group)!.release(lane.id, { sequence: 1, key: 'o-1', envelope: envelope('edited') });
    await stranger.parkingStore(group)!.release(lane.id, { sequence: 2, key: 'o-2', envelope: undefined });
    const second = await alone();
    expect(second.restored.get(lane.id)!.map(({ sequence, envelope: { id } }) => [sequence, id])).toEqual([[1, 'edited']]);
    // Dead once more, after it was handled: what released it before does so no more.
    const same = second.lanes.get(lane.id)!;
    await second.store.update(same, parked(1, 'dead'));
    await settled();
    const found = await restoredAfter({ ...second, lane: same });
    expect(found.map(({ sequence, state }) => [sequence, state])).toEqual([[1, 'dead']]);
  });

  it('cannot be released in a lane that never was', async () => {
    const { store } = await alone();
    const released = store.release('dovecote.nobody.lane.0', { sequence: 1, key: 'o-1', envelope: undefined });
    await expect(released).rejects.toThrow('There is no queue dovecote.nobody.lane.0.parked');
  });

  it('leaves the lanes to nobody when the member stops, so that what is out can still be settled and parked', async () => {
    const first = await alone();
    const stranger = open.subject!.transport();
    await stranger.open();
    await stranger.publish(envelope('one'), never);
    await until(() => first.got.length === 1);
    await first.subscription.stop();
    await stranger.publish(envelope('two'), never);
    const { lane } = first.got[0]!;
    await first.store.park(lane!, parked(1, 'retry'));
    first.got[0]!.acknowledge();
    await first.transport.close();
    expect(first.lost).toHaveLength(3);
    const second = await alone();
    await until(() => second.got.length === 1);
    expect((second.got[0]!.envelope as Envelope).id).toBe('two');
    expect(second.restored.get(lane!.id)!.map(({ sequence }) => sequence)).toEqual([1]);
  });
});

describe('slots', () => {
  it('are those of FNV-1a over the bytes of the key, as anybody computes them', () => {
    expect(['', 'a', 'foobar', 'order-7 ü'].map(slotOf)).toEqual(['5', '12', '8', slotOf('order-7 ü')]);
    expect(slotOf('ü')).toBe(String(fnv1a(Buffer.from('ü')) % SLOTS));
  });

  it('share out many keys evenly, and ranks the lanes among members', () => {
    const counts = new Map<string, number>();
    for (let index = 0; index < 8_000; index++) {
      const slot = slotOf(`order-${index}`);
      counts.set(slot, (counts.get(slot) ?? 0) + 1);
    }
    expect(counts.size).toBe(SLOTS);
    expect(Math.max(...counts.values())).toBeLessThan(350);
    expect(Math.min(...counts.values())).toBeGreaterThan(150);
    const wins = [0, 0, 0];
    for (let lane = 0; lane < 3_000; lane++) {
      const ranks = ['member-a', 'member-b', 'member-c'].map((member) => rankOf(member, lane));
      expect(Math.min(...ranks)).toBeGreaterThanOrEqual(0);
      wins[ranks.indexOf(Math.max(...ranks))]! += 1;
    }
    for (const count of wins) expect(Math.abs(count - 1_000)).toBeLessThan(100);
  });
});

/** As the standard writes it down. */
function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  return Number(hash);
}
