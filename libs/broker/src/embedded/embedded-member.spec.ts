/** Members of groups in this process, among themselves and beside members over sockets. The clock stands still unless a test moves it. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { joinGroup } from '../kafka/apis/11-join-group.js';
import { heartbeat } from '../kafka/apis/12-heartbeat.js';
import { leaveGroup } from '../kafka/apis/13-leave-group.js';
import { syncGroup } from '../kafka/apis/14-sync-group.js';
import { describeGroups } from '../kafka/apis/15-describe-groups.js';
import { KafkaWorld } from '../kafka/kafka-world.js';
import type { GroupMember, GroupOptions, TopicPartition } from './broker-log.js';
import { assign, decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from './consumer-protocol.js';
import { EmbeddedLog } from './embedded-log.js';
import type { LogBatch } from './log-batch.js';

let world: KafkaWorld;
let log: EmbeddedLog;

async function open(partitionCount = 2, options: Parameters<typeof KafkaWorld.open>[0] = {}): Promise<void> {
  world = await KafkaWorld.open(options);
  log = new EmbeddedLog(world.server);
  await drive(log.createTopic('t', { partitionCount }));
}

afterEach(async () => {
  await drive(log.close({ drainMs: 0 }));
  await world.server.abort();
});

const drive = <T>(promise: Promise<T>): Promise<T> => world.clock.drive(promise);
const t = (partition: number): TopicPartition => ({ topic: 't', partition });
const upwards = (one: number, other: number): number => one - other;
const numbers = (partitions: readonly TopicPartition[]): number[] => partitions.map(({ partition }) => partition);

/** What a member heard, in order. */
class Diary {
  readonly lines: string[] = [];
  readonly received: string[] = [];
  member!: GroupMember;
  /** What `receive` waits for. */
  hold: Promise<void> | undefined;

  constructor(readonly name: string) {}

  options(more: Partial<GroupOptions> = {}): GroupOptions {
    return {
      topics: ['t'],
      receive: async ({ records }: LogBatch) => {
        await this.hold;
        this.received.push(...records.map(({ value }) => String(value)));
      },
      assigned: (partitions) => void this.lines.push(`+${numbers(partitions).join(',')}`),
      revoked: (partitions, { isLost }) => void this.lines.push(`${isLost ? 'lost ' : '-'}${numbers(partitions).join(',')}`),
      failed: (error, partition) => void this.lines.push(`${partition?.partition}: ${(error as Error).message}`),
      ...more,
    };
  }

  async join(more: Partial<GroupOptions> = {}): Promise<this> {
    this.member = await drive(log.join('g', this.options(more)));
    await world.settle();
    return this;
  }
}

async function say(value: string, partition = 0): Promise<void> {
  await drive(log.append('t', [{ value, partition }]));
  await world.settle();
}

describe('a member in the process', () => {
  it('gets everything of a group of its own, from the beginning, and goes on where it committed', async () => {
    await open(2, { settings: { initialRebalanceDelayMs: 3000 } });
    await say('a');
    await say('b', 1);
    const one = await new Diary('one').join();
    expect([one.lines, one.received.sort(), world.clock.now()]).toEqual([['+0,1'], ['a', 'b'], expect.any(Number)]);
    await drive(one.member.commit([{ ...t(0), offset: 1, metadata: 'done' }]));
    expect(one.member.committed(t(0))).toMatchObject({ offset: 1, metadata: 'done' });
    expect([one.member.position(t(0)), one.member.position(t(7))]).toEqual([1, undefined]);
    await drive(one.member.leave());
    expect(one.lines).toEqual(['+0,1', '-0,1']);
    await say('c');
    const two = await new Diary('two').join();
    expect(two.received.sort()).toEqual(['b', 'c']);
    const fresh = new Diary('fresh');
    fresh.member = await drive(log.join('other', fresh.options({ from: 'latest' })));
    await say('d');
    expect(fresh.received).toEqual(['d']);
  });

  it('shares with others, and takes over from who leaves, without waiting for a heartbeat', async () => {
    await open(3);
    const before = world.clock.now();
    const one = await new Diary('one').join();
    const two = await new Diary('two').join();
    expect([one.lines, two.lines]).toEqual([['+0,1,2', '-0,1,2', expect.stringMatching(/^\+/)], [expect.stringMatching(/^\+/)]]);
    expect(numbers([...one.member.assignment, ...two.member.assignment]).sort(upwards)).toEqual([0, 1, 2]);
    await drive(two.member.leave());
    await world.settle();
    expect(numbers(one.member.assignment)).toEqual([0, 1, 2]);
    expect(one.member.generation).toBeGreaterThan(2);
    expect(world.clock.now()).toBe(before);
  });

  it('is given one batch of a partition at a time, and others meanwhile', async () => {
    await open();
    const one = new Diary('one');
    let release = (): void => undefined;
    one.hold = new Promise<void>((resolve) => (release = resolve));
    await one.join();
    await say('a');
    one.hold = undefined;
    await say('b');
    await say('other', 1);
    expect(one.received).toEqual(['other']);
    release();
    await world.settle();
    expect(one.received).toEqual(['other', 'a', 'b']);
  });

  it('pauses, resumes and seeks', async () => {
    await open(1);
    const one = await new Diary('one').join();
    one.member.pause([t(0)]);
    await say('a');
    await say('b');
    expect(one.received).toEqual([]);
    one.member.resume([t(0)]);
    await world.settle();
    one.member.seek(t(0), 1);
    await world.settle();
    expect(one.received).toEqual(['a', 'b', 'b']);
  });

  it('may be told where to begin, before anything comes', async () => {
    await open(1);
    await say('a');
    await say('b');
    const one = new Diary('one');
    await one.join({ assigned: (partitions, member) => member.seek(partitions[0]!, 1) });
    expect(one.received).toEqual(['b']);
  });

  it('stops a partition whose records were not taken, and gives the same again when it goes on', async () => {
    await open();
    const one = new Diary('one');
    let isBroken = true;
    await one.join({
      receive: ({ records }) => {
        if (isBroken && String(records[0]!.value) === 'bad') throw new Error('I cannot');
        one.received.push(...records.map(({ value }) => String(value)));
      },
    });
    await say('bad');
    await say('later');
    await say('other', 1);
    expect([one.lines, one.received]).toEqual([['+0,1', '0: I cannot'], ['other']]);
    isBroken = false;
    one.member.resume([t(0)]);
    await world.settle();
    expect(one.received).toEqual(['other', 'bad', 'later']);
  });

  it('is told when what it committed is not there any more, and begins anew', async () => {
    await open(1);
    await say('a');
    await drive(log.commitOffsets('g', [{ ...t(0), offset: 9 }]));
    const one = await new Diary('one').join();
    expect([one.lines, one.received]).toEqual([['+0', "0: Partition 0 of 't' has the offsets from 0 to 1, and not 9"], ['a']]);
  });

  it('finishes what it is about before others get the partition, and may commit it then', async () => {
    await open(1);
    const one = new Diary('one');
    let release = (): void => undefined;
    one.hold = new Promise<void>((resolve) => (release = resolve));
    await one.join({
      revoked: async (partitions, how) => {
        one.lines.push(`-${how.isLost}`);
        await one.member.commit([{ ...partitions[0]!, offset: 1 }]);
      },
    });
    await say('a');
    const two = new Diary('two');
    const joining = log.join('g', two.options());
    await world.settle();
    expect([one.lines, one.received]).toEqual([['+0'], []]);
    release();
    two.member = await drive(joining);
    await world.settle();
    await say('b');
    expect(one.lines.slice(0, 2)).toEqual(['+0', '-false']);
    expect([...one.received, ...two.received]).toEqual(['a', 'b']);
  });

  it('loses the partition when it is not done in time, and hears of it', async () => {
    await open(1);
    const one = new Diary('one');
    let isAborted = false;
    await one.join({
      rebalanceTimeoutMs: 10_000,
      receive: (_, signal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            isAborted = true;
            resolve();
          }),
        ),
    });
    await say('a');
    const two = new Diary('two');
    two.member = await drive(log.join('g', two.options()));
    expect([isAborted, one.lines.slice(0, 2)]).toEqual([true, ['+0', '-0']]);
    expect(world.clock.now()).toBeGreaterThan(7000);
  });

  it('notices new partitions and topics at its next sign of life', async () => {
    await open(1);
    const one = new Diary('one');
    await one.join({ topics: ['t', 'later'] });
    await drive(log.addPartitions('t', 2));
    await drive(log.createTopic('later'));
    await world.clock.advance(11_000);
    expect(one.member.assignment).toEqual([{ topic: 'later', partition: 0 }, t(0), t(1)]);
  });

  it('is told that it is no member any more, and comes back', async () => {
    await open(1);
    const one = await new Diary('one').join({ sessionTimeoutMs: 10_000 });
    const { id } = one.member;
    const admin = world.client();
    await admin.ask(leaveGroup, 3, { groupId: 'g', memberId: '', members: [{ memberId: id, groupInstanceId: null }] });
    await expect(one.member.commit([{ ...t(0), offset: 0 }])).rejects.toMatchObject({ code: 'not-a-member' });
    await world.clock.advance(4000);
    expect([one.lines, one.member.id === id]).toEqual([['+0', 'lost 0', '+0'], false]);
  });

  it('shares a group with a client over a socket, whoever leads', async () => {
    await open(2);
    const one = await new Diary('one').join();
    const client = world.client();
    const protocols = [{ name: 'range', metadata: encodeSubscription(['t']) }];
    const join = { groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '', protocolType: 'consumer', protocols };
    const { memberId } = await client.ask(joinGroup, 5, join);
    const joined = await client.ask(joinGroup, 5, { ...join, memberId });
    expect([joined.errorCode, joined.leader]).toEqual([0, one.member.id]);
    const { generationId } = joined;
    const synced = await client.ask(syncGroup, 3, { groupId: 'g', generationId, memberId, assignments: [] });
    const share = decodeAssignment(synced.assignment);
    expect(share).toHaveLength(1);
    expect(numbers([...share, ...one.member.assignment]).sort(upwards)).toEqual([0, 1]);
    // The one that led goes: the client is told, leads, and gives a new member its share.
    await drive(one.member.leave());
    expect((await client.ask(heartbeat, 3, { groupId: 'g', generationId, memberId })).errorCode).toBe(27);
    const two = new Diary('two');
    const joining = log.join('g', two.options());
    await world.settle();
    const leads = await client.ask(joinGroup, 5, { ...join, memberId });
    expect([leads.leader, leads.members.length]).toEqual([memberId, 2]);
    const assignments = leads.members.map((member) => ({
      memberId: member.memberId,
      assignment: encodeAssignment(member.memberId === memberId ? [] : [t(0), t(1)]),
    }));
    await client.ask(syncGroup, 3, { groupId: 'g', generationId: leads.generationId, memberId, assignments });
    two.member = await drive(joining);
    expect(numbers(two.member.assignment)).toEqual([0, 1]);
    const described = await client.ask(describeGroups, 5, { groups: ['g'], includeAuthorizedOperations: false });
    expect(described.groups[0]!.members.map(({ clientHost }) => clientHost).sort()).toEqual(['/127.0.0.1', '/in-process']);
  });

  it('says why it cannot take part', async () => {
    await open();
    await expect(log.join('', new Diary('x').options())).rejects.toMatchObject({ code: 'invalid-argument' });
    const client = world.client();
    const protocols = [{ name: 'sticky', metadata: encodeSubscription(['t']) }];
    client.say(joinGroup, 3, {
      groupId: 'g',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: '',
      protocolType: 'consumer',
      protocols,
    });
    await world.settle();
    await expect(drive(log.join('g', new Diary('x').options()))).rejects.toThrow(
      'share out in other ways than this one knows (range, roundrobin',
    );
  });

  it('is not waited for when the broker opens again, but what it committed holds', async () => {
    await open(1);
    const one = await new Diary('one').join();
    await drive(one.member.commit([{ ...t(0), offset: 0, metadata: 'kept' }]));
    const before = world;
    world = await KafkaWorld.open({ log: before.log });
    log = new EmbeddedLog(world.server);
    const two = new Diary('two');
    const joining = log.join('g', two.options());
    // The log in memory commits by the clock that it began with.
    for (let turn = 0; turn < 5; turn++) await Promise.all([world.settle(), before.settle()]);
    two.member = await drive(joining);
    expect([two.lines, world.clock.now() - before.clock.now()]).toEqual([['+0'], 0]);
    expect(log.committedOffsets('g')).toMatchObject([{ offset: 0, metadata: 'kept' }]);
    await before.server.abort();
  });
});

describe('the assignors', () => {
  const members = ['b', 'a', 'c'].map((memberId) => ({ memberId, topics: memberId === 'c' ? ['u'] : ['t', 'u'] }));
  const counts = new Map([
    ['t', 3],
    ['u', 2],
  ]);

  it.each(['range', 'roundrobin'])('%s gives every partition to one who wants it', (name) => {
    const shares = assign(name, members, counts);
    const all = [...shares].flatMap(([memberId, partitions]) => partitions.map((partition) => ({ memberId, ...partition })));
    expect(all.map(({ topic, partition }) => `${topic}${partition}`).sort()).toEqual(['t0', 't1', 't2', 'u0', 'u1']);
    for (const { memberId, topic } of all) expect(members.find((member) => member.memberId === memberId)!.topics).toContain(topic);
  });

  it('range gives runs, the first ones longer', () => {
    expect(numbers(assign('range', members, new Map([['t', 3]])).get('a')!)).toEqual([0, 1]);
  });

  it('nobody who wants it: nobody gets it', () => {
    for (const name of ['range', 'roundrobin']) expect([...assign(name, members, new Map([['x', 2]])).values()].flat()).toEqual([]);
  });

  it('write what they read, and make nothing of what makes no sense', () => {
    expect(decodeSubscription(encodeSubscription(['t', 'ü']))).toEqual(['t', 'ü']);
    expect(decodeAssignment(encodeAssignment([t(1), t(0)]))).toEqual([t(1), t(0)]);
    const bytes = encodeAssignment([t(1), t(0)]);
    for (let end = 0; end < bytes.length - 4; end++) expect(decodeAssignment(bytes.subarray(0, end))).toEqual([]);
  });
});
