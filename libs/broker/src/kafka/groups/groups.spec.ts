import { afterEach, describe, expect, it } from '@jest/globals';
import { metadata } from '../apis/03-metadata.js';
import { offsetCommit } from '../apis/08-offset-commit.js';
import { offsetFetch } from '../apis/09-offset-fetch.js';
import { findCoordinator } from '../apis/10-find-coordinator.js';
import { joinGroup } from '../apis/11-join-group.js';
import { heartbeat } from '../apis/12-heartbeat.js';
import { leaveGroup } from '../apis/13-leave-group.js';
import { syncGroup } from '../apis/14-sync-group.js';
import { describeGroups } from '../apis/15-describe-groups.js';
import { listGroups } from '../apis/16-list-groups.js';
import { deleteGroups } from '../apis/42-delete-groups.js';
import { offsetDelete } from '../apis/47-offset-delete.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { type KafkaClient, KafkaWorld } from '../kafka-world.js';
import type { ReadBatches } from '../../log/log.js';
import { recordsOf } from '../record-batch.js';
import { decodeOffsetsRecord, offsetsTopicName, partitionOf } from './offsets-topic.js';

/**
 * The groups of the classic protocol, seen by their members, by a clock that the test moves. Long, because one cast of members plays every state of a group.
 */
let world: KafkaWorld;

async function open(options: Parameters<typeof KafkaWorld.open>[0] = {}): Promise<void> {
  world = await KafkaWorld.open(options);
  for (const name of ['t', 'u']) if (world.log.topic(name) === undefined) await world.log.createTopic(name, { partitionCount: 2 });
}

afterEach(() => world.server.abort());

const codeOf = (error: ErrorName): number => errorCodes[error];

/** A consumer: one connection, what it knows of its group. */
class TestMember {
  memberId = '';
  generation = -1;
  leader = '';
  members: readonly { readonly memberId: string }[] = [];
  assignment = '';
  skipAssignment = false;
  readonly client: KafkaClient;

  constructor(
    readonly group = 'g',
    readonly given: {
      instanceId?: string;
      version?: number;
      metadata?: string;
      protocols?: readonly string[];
      type?: string;
      sessionMs?: number;
      rebalanceMs?: number;
    } = {},
  ) {
    this.client = world.client();
  }

  get version(): number {
    return this.given.version ?? 7;
  }

  /** Asks to join; the answer is taken by `joined`. */
  async askToJoin(): Promise<void> {
    this.sayJoin();
    await world.settle();
  }

  sayJoin(said = this.given.metadata ?? ''): void {
    const { instanceId = null, protocols = ['range'], type = 'consumer', sessionMs = 10_000, rebalanceMs = 30_000 } = this.given;
    this.client.say(joinGroup, this.version, {
      groupId: this.group,
      sessionTimeoutMs: sessionMs,
      rebalanceTimeoutMs: rebalanceMs,
      memberId: this.memberId,
      groupInstanceId: instanceId,
      protocolType: type,
      protocols: protocols.map((name) => ({ name, metadata: Buffer.from(said) })),
    });
  }

  /** What JoinGroup answered; undefined while it waits. A name that is handed out is used at once. */
  async joined(): Promise<ErrorName | undefined> {
    await world.settle();
    let answer = this.client.hear(joinGroup, this.version);
    if (answer?.errorCode === errorCodes.memberIdRequired) {
      this.memberId = answer.memberId;
      this.sayJoin();
      await world.settle();
      answer = this.client.hear(joinGroup, this.version);
    }
    if (answer === undefined) return undefined;
    if (answer.errorCode === 0) {
      this.memberId = answer.memberId;
      this.generation = answer.generationId;
      this.leader = answer.leader;
      this.members = answer.members;
      this.skipAssignment = answer.skipAssignment;
    }
    return nameOf(answer.errorCode);
  }

  async join(): Promise<ErrorName | undefined> {
    await this.askToJoin();
    return this.joined();
  }

  async askToSync(assignments: Readonly<Record<string, string>> = {}): Promise<void> {
    this.client.say(syncGroup, 3, {
      groupId: this.group,
      generationId: this.generation,
      memberId: this.memberId,
      groupInstanceId: this.given.instanceId ?? null,
      assignments: Object.entries(assignments).map(([memberId, assignment]) => ({ memberId, assignment: Buffer.from(assignment) })),
    });
    await world.settle();
  }

  async synced(): Promise<ErrorName | undefined> {
    await world.settle();
    const answer = this.client.hear(syncGroup, 3);
    if (answer === undefined) return undefined;
    this.assignment = answer.assignment.toString();
    return nameOf(answer.errorCode);
  }

  async sync(assignments?: Readonly<Record<string, string>>): Promise<ErrorName | undefined> {
    await this.askToSync(assignments);
    return this.synced();
  }

  async beat(generation = this.generation): Promise<ErrorName> {
    const answer = await this.client.ask(heartbeat, 3, {
      groupId: this.group,
      generationId: generation,
      memberId: this.memberId,
      groupInstanceId: this.given.instanceId ?? null,
    });
    return nameOf(answer.errorCode);
  }

  async leave(): Promise<ErrorName> {
    const answer = await this.client.ask(leaveGroup, 1, { groupId: this.group, memberId: this.memberId, members: [] });
    return nameOf(answer.errorCode);
  }

  async commit(
    offset: number,
    given: { generation?: number; memberId?: string; topic?: string; metadata?: string; partition?: number } = {},
  ): Promise<ErrorName> {
    const { generation = this.generation, memberId = this.memberId, topic = 't', metadata = 'm', partition = 0 } = given;
    const answer = await this.client.ask(offsetCommit, 7, {
      groupId: this.group,
      generationIdOrMemberEpoch: generation,
      memberId,
      groupInstanceId: this.given.instanceId ?? null,
      topics: [
        {
          name: topic,
          partitions: [{ partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: 0, committedMetadata: metadata }],
        },
      ],
    });
    return nameOf(answer.topics[0]!.partitions[0]!.errorCode);
  }

  async committed(topic = 't', partition = 0): Promise<number> {
    const answer = await this.client.ask(offsetFetch, 5, {
      groupId: this.group,
      topics: [{ name: topic, partitionIndexes: [partition] }],
      groups: [],
    });
    return answer.topics[0]!.partitions[0]!.committedOffset;
  }
}

function nameOf(code: number): ErrorName {
  return (Object.keys(errorCodes) as ErrorName[]).find((name) => errorCodes[name] === code)!;
}

async function stateOf(group = 'g'): Promise<string> {
  const answer = await world.client().ask(describeGroups, 5, { groups: [group], includeAuthorizedOperations: false });
  return answer.groups[0]!.groupState;
}

/** Two members of one group, the first of them the leader, in a stable generation. */
async function pair(given: ConstructorParameters<typeof TestMember>[1] = {}): Promise<[TestMember, TestMember]> {
  const one = new TestMember('g', { ...given, ...(given.instanceId === undefined ? {} : { instanceId: `${given.instanceId}1` }) });
  const two = new TestMember('g', { ...given, ...(given.instanceId === undefined ? {} : { instanceId: `${given.instanceId}2` }) });
  await one.join();
  await two.askToJoin();
  expect(await two.joined()).toBeUndefined();
  await one.askToJoin();
  expect([await one.joined(), await two.joined()]).toEqual(['none', 'none']);
  await two.askToSync();
  expect(await one.sync({ [one.memberId]: 'first', [two.memberId]: 'second' })).toBe('none');
  expect(await two.synced()).toBe('none');
  return [one, two];
}

describe('joining', () => {
  it('gives a new member a name to come back with, then a generation, then its assignment', async () => {
    await open();
    const member = new TestMember();
    await member.askToJoin();
    const first = member.client.hear(joinGroup, 7)!;
    member.memberId = first.memberId;
    expect(first).toMatchObject({ errorCode: 79, memberId: expect.stringMatching(/^client-[0-9a-f-]{36}$/) });
    expect(await stateOf()).toBe('Empty');
    expect(await member.join()).toBe('none');
    expect([member.generation, member.leader, member.members.length]).toEqual([1, member.memberId, 1]);
    expect(await stateOf()).toBe('CompletingRebalance');
    expect(await member.sync({ [member.memberId]: 'all' })).toBe('none');
    expect([member.assignment, await stateOf()]).toEqual(['all', 'Stable']);
  });

  it('lets old clients in at once', async () => {
    await open();
    for (const version of [0, 1, 2, 3]) {
      const member = new TestMember(`g${version}`, { version });
      await member.askToJoin();
      expect(member.client.hear(joinGroup, version)).toMatchObject({ errorCode: 0, generationId: 1, protocolName: 'range' });
    }
  });

  it('makes two members one generation, with everybody told by the leader', async () => {
    await open();
    const [one, two] = await pair();
    expect([one.generation, two.generation, one.members.length, two.members.length]).toEqual([2, 2, 2, 0]);
    expect([one.assignment, two.assignment, two.leader]).toEqual(['first', 'second', one.memberId]);
    const answer = await one.client.ask(describeGroups, 5, { groups: ['g'], includeAuthorizedOperations: true });
    expect(answer.groups[0]).toMatchObject({
      groupState: 'Stable',
      protocolType: 'consumer',
      protocolData: 'range',
      authorizedOperations: 3400,
    });
    expect(answer.groups[0]!.members.map(({ clientHost, memberAssignment }) => [clientHost, String(memberAssignment)])).toEqual([
      ['/127.0.0.1', 'first'],
      ['/127.0.0.1', 'second'],
    ]);
  });

  it('waits for more members when the group is new, as long as new ones come', async () => {
    await open({ settings: { initialRebalanceDelayMs: 3000 } });
    const one = new TestMember('g', { rebalanceMs: 5000 });
    expect(await one.join()).toBeUndefined();
    await world.clock.advance(2900);
    const two = new TestMember('g', { rebalanceMs: 5000 });
    expect(await two.join()).toBeUndefined();
    await world.clock.advance(200);
    expect(await one.joined()).toBeUndefined();
    await world.clock.advance(1900);
    expect([await one.joined(), await two.joined()]).toEqual(['none', 'none']);
    expect([one.generation, two.generation]).toEqual([1, 1]);
  });

  it('drops who does not come back in time, and goes on without', async () => {
    await open();
    const [one, two] = await pair({ rebalanceMs: 8000 });
    const three = new TestMember('g', { rebalanceMs: 8000 });
    await three.join();
    expect(await one.beat()).toBe('rebalanceInProgress');
    await one.askToJoin();
    await world.clock.advance(7000);
    expect(await one.joined()).toBeUndefined();
    await world.clock.advance(1100);
    expect([await one.joined(), await three.joined()]).toEqual(['none', 'none']);
    expect(one.members).toHaveLength(2);
    expect(await two.beat()).toBe('unknownMemberId');
  });

  it('ends a member whose session is over, but none that waits for the group', async () => {
    await open();
    const [one, two] = await pair({ rebalanceMs: 60_000 });
    await world.clock.advance(9000);
    expect(await one.beat()).toBe('none');
    await world.clock.advance(1100);
    expect(await one.beat()).toBe('rebalanceInProgress');
    await one.askToJoin();
    expect(await one.joined()).toBe('none');
    expect(one.members).toHaveLength(1);
    expect(await two.beat()).toBe('unknownMemberId');
    await one.sync({});
    const three = new TestMember('g', { rebalanceMs: 60_000 });
    await three.join();
    await world.clock.advance(5000);
    await one.beat();
    await world.clock.advance(9000);
    await one.askToJoin();
    expect([await one.joined(), await three.joined()]).toEqual(['none', 'none']);
  });

  it('drops who joined and never asked for its assignment', async () => {
    await open();
    const one = new TestMember('g', { rebalanceMs: 7000, sessionMs: 100_000 });
    await one.join();
    await world.clock.advance(7100);
    expect(await one.sync({})).toBe('unknownMemberId');
    expect(await stateOf()).toBe('Empty');
  });

  it('forgets a name that nobody came back with', async () => {
    await open();
    const [one] = await pair();
    const lazy = new TestMember();
    await lazy.askToJoin();
    const three = new TestMember();
    await three.join();
    await one.askToJoin();
    expect(await one.joined()).toBeUndefined();
    await world.clock.advance(10_100);
    expect(await one.joined()).toBe('none');
  });

  it('chooses a protocol that all know, and refuses who knows none of them', async () => {
    await open();
    const one = new TestMember('g', { protocols: ['sticky', 'range'] });
    await one.join();
    const stranger = new TestMember('g', { protocols: ['roundrobin'] });
    expect(await stranger.join()).toBe('inconsistentGroupProtocol');
    const otherKind = new TestMember('g', { type: 'connect', protocols: ['range'] });
    expect(await otherKind.join()).toBe('inconsistentGroupProtocol');
    const two = new TestMember('g', { protocols: ['range', 'sticky'] });
    await two.join();
    const three = new TestMember('g', { protocols: ['range'] });
    await three.join();
    await one.askToJoin();
    await one.joined();
    await two.joined();
    await three.joined();
    const answer = await one.client.ask(describeGroups, 5, { groups: ['g'], includeAuthorizedOperations: false });
    expect(answer.groups[0]!.members).toHaveLength(3);
    await one.sync({});
    expect((await one.client.ask(describeGroups, 5, { groups: ['g'], includeAuthorizedOperations: false })).groups[0]!.protocolData).toBe(
      'range',
    );
  });

  it('starts anew when the leader joins again or a member says something new of itself, and not when it says the same', async () => {
    await open();
    const [one, two] = await pair();
    await two.askToJoin();
    expect(await two.joined()).toBe('none');
    expect([two.generation, await stateOf()]).toEqual([2, 'Stable']);
    two.sayJoin('new topics');
    expect(await two.joined()).toBeUndefined();
    expect(await one.beat()).toBe('rebalanceInProgress');
    await one.askToJoin();
    expect([await one.joined(), await two.joined()]).toEqual(['none', 'none']);
    await two.askToSync();
    await one.sync({ [two.memberId]: 'x' });
    await two.synced();
    await one.askToJoin();
    expect([await one.joined(), await stateOf()]).toEqual([undefined, 'PreparingRebalance']);
  });

  it.each<[string, ConstructorParameters<typeof TestMember>[1] & { group?: string; memberId?: string }, ErrorName]>([
    ['no group', { group: '' }, 'invalidGroupId'],
    ['a session that is too short', { sessionMs: 5999 }, 'invalidSessionTimeout'],
    ['a session that is too long', { sessionMs: 1_800_001 }, 'invalidSessionTimeout'],
    ['no protocols', { protocols: [] }, 'inconsistentGroupProtocol'],
    ['a name that nobody gave out', { memberId: 'somebody' }, 'unknownMemberId'],
  ] as const)(
    'is refused with %s',
    async (_what, { group = 'g', memberId = '', ...given }: { group?: string; memberId?: string }, error) => {
      await open();
      const member = new TestMember(group, given);
      member.memberId = memberId;
      expect(await member.join()).toBe(error);
    },
  );

  it('is refused where the group is full', async () => {
    await open({ limits: { groupMembersMax: 2 } });
    await pair();
    expect(await new TestMember().join()).toBe('groupMaxSizeReached');
  });
});

describe('members', () => {
  it('hear what is wrong with their generation and their name', async () => {
    await open();
    const [one, two] = await pair();
    expect(await one.beat(1)).toBe('illegalGeneration');
    one.generation = 1;
    expect(await one.sync({})).toBe('illegalGeneration');
    expect(await one.commit(1)).toBe('illegalGeneration');
    const nobody = new TestMember();
    expect([await nobody.beat(), await nobody.sync(), await nobody.leave()]).toEqual([
      'unknownMemberId',
      'unknownMemberId',
      'unknownMemberId',
    ]);
    expect(await nobody.commit(1, { generation: -1 })).toBe('unknownMemberId');
    expect(await two.sync()).toBe('none');
    const elsewhere = new TestMember('other');
    expect([await elsewhere.beat(1), await elsewhere.leave(), await elsewhere.commit(1, { generation: 3 })]).toEqual([
      'unknownMemberId',
      'unknownMemberId',
      'illegalGeneration',
    ]);
  });

  it('leave, and the others share anew; the last one leaves an empty group with its offsets', async () => {
    await open();
    const [one, two] = await pair();
    expect(await one.commit(5)).toBe('none');
    expect(await two.leave()).toBe('none');
    expect(await one.beat()).toBe('rebalanceInProgress');
    await one.join();
    expect(one.members).toHaveLength(1);
    expect(await one.leave()).toBe('none');
    expect([await stateOf(), await one.committed()]).toEqual(['Empty', 5]);
  });

  it('leave together, each with its own answer', async () => {
    await open();
    const [one, two] = await pair({ instanceId: 'i' });
    const answer = await one.client.ask(leaveGroup, 5, {
      groupId: 'g',
      memberId: '',
      members: [
        { memberId: '', groupInstanceId: 'i1' },
        { memberId: 'wrong', groupInstanceId: 'i2' },
        { memberId: 'nobody', groupInstanceId: null },
      ],
    });
    expect(answer.members.map(({ errorCode }) => nameOf(errorCode))).toEqual(['none', 'fencedInstanceId', 'unknownMemberId']);
    expect(await two.beat()).toBe('rebalanceInProgress');
  });

  it('are told when the group changes while they wait for their assignment', async () => {
    await open();
    const one = new TestMember();
    await one.join();
    const two = new TestMember();
    await two.join();
    await one.join();
    await two.joined();
    await two.askToSync();
    await one.leave();
    expect(await two.synced()).toBe('rebalanceInProgress');
  });

  it('commit while the group gathers, and not while it assigns', async () => {
    await open();
    const [one, two] = await pair();
    const three = new TestMember();
    await three.join();
    expect(await one.commit(7)).toBe('none');
    await one.askToJoin();
    await two.askToJoin();
    await one.joined();
    await two.joined();
    expect(await one.commit(8)).toBe('rebalanceInProgress');
    expect(await one.committed()).toBe(7);
  });
});

describe('static members', () => {
  it('come back under a new name without a new generation, and fence who uses the old one', async () => {
    await open();
    const [one, two] = await pair({ instanceId: 'i' });
    const again = new TestMember('g', { instanceId: 'i2' });
    expect(await again.join()).toBe('none');
    expect([again.generation, again.members.length, await stateOf()]).toEqual([2, 0, 'Stable']);
    expect(again.memberId).not.toBe(two.memberId);
    expect(await again.sync()).toBe('none');
    expect(again.assignment).toBe('second');
    expect([await two.beat(), await two.sync(), await two.commit(1)]).toEqual(['fencedInstanceId', 'fencedInstanceId', 'fencedInstanceId']);
    expect(await one.beat()).toBe('none');
  });

  it('that lead come back without assigning anew: they are told so, or who led before', async () => {
    await open();
    const [one] = await pair({ instanceId: 'i' });
    const old = new TestMember('g', { instanceId: 'i1', version: 8 });
    expect(await old.join()).toBe('none');
    expect([old.leader, old.skipAssignment]).toEqual([one.memberId, false]);
    const modern = new TestMember('g', { instanceId: 'i1', version: 9 });
    expect(await modern.join()).toBe('none');
    expect([modern.leader, modern.skipAssignment, modern.members.length]).toEqual([modern.memberId, true, 2]);
  });

  it('stay for their session when they do not come back to a rebalance', async () => {
    await open();
    const [one] = await pair({ instanceId: 'i', sessionMs: 60_000, rebalanceMs: 6000 });
    const three = new TestMember('g', { rebalanceMs: 6000, sessionMs: 60_000 });
    await three.join();
    await one.askToJoin();
    await world.clock.advance(6100);
    expect([await one.joined(), await three.joined()]).toEqual(['none', 'none']);
    expect(one.members).toHaveLength(3);
  });
});

describe('offsets', () => {
  it('of a simple consumer need no group, and keep their metadata', async () => {
    await open();
    const simple = new TestMember('simple');
    expect(await simple.commit(3, { generation: -1, metadata: 'mine' })).toBe('none');
    expect(await simple.commit(4, { generation: -1, metadata: 'x'.repeat(4097) })).toBe('offsetMetadataTooLarge');
    expect(await simple.commit(4, { generation: -1, topic: 'nowhere' })).toBe('unknownTopicOrPartition');
    const groups = [
      { groupId: 'simple', topics: null },
      { groupId: 'none', topics: [{ name: 't', partitionIndexes: [1] }] },
    ];
    const answer = await simple.client.ask(offsetFetch, 8, { groupId: '', topics: [], groups });
    expect(answer.groups[0]!.topics).toMatchObject([
      { name: 't', partitions: [{ partitionIndex: 0, committedOffset: 3, metadata: 'mine', committedLeaderEpoch: 0 }] },
    ]);
    expect(answer.groups[1]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: -1, metadata: '', errorCode: 0 });
    expect((await simple.client.ask(listGroups, 4, { statesFilter: ['empty'], typesFilter: [] })).groups).toMatchObject([
      { groupId: 'simple', groupState: 'Empty' },
    ]);
    expect((await simple.client.ask(listGroups, 4, { statesFilter: ['Stable'], typesFilter: [] })).groups).toEqual([]);
  });

  it('are seen when they are durable, and not before', async () => {
    await open({ commitsByHand: true });
    const one = new TestMember();
    one.client.say(offsetCommit, 2, {
      groupId: 'g',
      memberId: '',
      topics: [{ name: 't', partitions: [{ partitionIndex: 0, committedOffset: 9, committedMetadata: null }] }],
    });
    await world.settle();
    expect(await new TestMember().committed()).toBe(-1);
    world.log.commit();
    await world.settle();
    expect(one.client.hear(offsetCommit, 2)!.topics[0]!.partitions[0]!.errorCode).toBe(0);
    expect(await new TestMember().committed()).toBe(9);
  });

  it('and members are there again when the broker is', async () => {
    await open();
    const [one, two] = await pair({ instanceId: 'i' });
    await one.commit(11);
    await two.commit(12, { topic: 'u', partition: 1 });
    await world.server.abort();
    await open({ log: world.log });
    const again = new TestMember('g', { instanceId: 'i1' });
    expect([await again.committed(), await again.committed('u', 1), await stateOf()]).toEqual([11, 12, 'Stable']);
    again.memberId = one.memberId;
    again.generation = one.generation;
    expect([await again.beat(), await again.sync()]).toEqual(['none', 'none']);
    expect(again.assignment).toBe('first');
    await world.clock.advance(10_100);
    expect(await again.beat()).toBe('unknownMemberId');
  });

  it('go with their topic, by request, and with their group', async () => {
    await open();
    const [one] = await pair({ metadata: '\0\0\0\0\0\x01\0\x01t' });
    await one.commit(1);
    await one.commit(2, { topic: 'u' });
    const forget = async (name: string): Promise<ErrorName> => {
      const answer = await one.client.ask(offsetDelete, 0, { groupId: 'g', topics: [{ name, partitions: [{ partitionIndex: 0 }] }] });
      return nameOf(answer.errorCode === 0 ? answer.topics[0]!.partitions[0]!.errorCode : answer.errorCode);
    };
    expect([await forget('t'), await forget('nowhere'), await forget('u')]).toEqual([
      'groupSubscribedToTopic',
      'unknownTopicOrPartition',
      'none',
    ]);
    expect([await one.committed(), await one.committed('u')]).toEqual([1, -1]);
    const remove = async (group: string): Promise<ErrorName> =>
      nameOf((await one.client.ask(deleteGroups, 2, { groupsNames: [group] })).results[0]!.errorCode);
    expect([await remove('g'), await remove('none'), await remove('')]).toEqual(['nonEmptyGroup', 'groupIdNotFound', 'invalidGroupId']);
    await world.clock.advance(10_100);
    await world.clock.advance(30_000);
    expect([await stateOf(), await remove('g'), await stateOf(), await one.committed()]).toEqual(['Empty', 'none', 'Dead', -1]);
    await world.server.abort();
    await open({ log: world.log });
    expect([await stateOf(), await new TestMember().committed()]).toEqual(['Dead', -1]);
    const missing = await world.client().ask(describeGroups, 6, { groups: ['g'], includeAuthorizedOperations: false });
    expect(missing.groups[0]).toMatchObject({ errorCode: codeOf('groupIdNotFound'), groupState: 'Dead' });
  });

  it('expire a week after the group became empty', async () => {
    await open({ settings: { offsetsRetentionMs: 3_600_000 } });
    const [one, two] = await pair();
    await one.commit(1);
    const simple = new TestMember('simple');
    await simple.commit(2, { generation: -1 });
    await world.clock.advance(9000);
    expect([await one.leave(), await two.leave()]).toEqual(['none', 'none']);
    await world.clock.advance(3_000_000);
    const committed = async (): Promise<number[]> => [await new TestMember().committed(), await new TestMember('simple').committed()];
    expect(await committed()).toEqual([1, 2]);
    await world.clock.advance(1_300_000);
    expect([await committed(), await stateOf()]).toEqual([[-1, -1], 'Dead']);
  });

  it("are kept in Kafka's own records, in the partition where its tools look for them", async () => {
    await open({ settings: { offsetsPartitionCount: 50 } });
    const one = new TestMember('group-1');
    await one.join();
    await one.sync({ [one.memberId]: 'all' });
    await one.commit(5);
    const found = await one.client.ask(findCoordinator, 4, { key: '', keyType: 0, coordinatorKeys: ['group-1'] });
    expect(found.coordinators).toMatchObject([{ key: 'group-1', nodeId: 1, host: '127.0.0.1', port: 9092, errorCode: 0 }]);
    const place = partitionOf('group-1', 50);
    expect([partitionOf('console-consumer-1234', 50), partitionOf('', 50)]).toEqual([javaHash('console-consumer-1234') % 50, 0]);
    const partition = world.log.topic(offsetsTopicName)!.partitions[place]!;
    const { parts } = (await partition.read(0, { isolation: 'read-uncommitted', bytesMax: 1e6, atLeastOne: true })) as ReadBatches;
    const records = [...recordsOf(Buffer.concat(parts))];
    expect(records.map(({ key }) => key!.toString('hex'))).toEqual([
      '0002' + '0007' + Buffer.from('group-1').toString('hex'),
      '0001' + '0007' + Buffer.from('group-1').toString('hex') + '0001' + '74' + '00000000',
    ]);
    expect(records[1]!.value!.toString('hex').slice(0, 34)).toBe('0003' + '0000000000000005' + '00000000' + '0001' + '6d');
    expect(decodeOffsetsRecord(records[0]!.key!, records[0]!.value)).toMatchObject({
      kind: 'group',
      value: { generation: 1, protocol: 'range' },
    });
    const internal = await one.client.ask(metadata, 1, {
      topics: [{ name: offsetsTopicName, topicId: '' }],
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    expect(internal.topics[0]).toMatchObject({ isInternal: true, errorCode: 0 });
  });
});

/** `String.hashCode` of Java, without its sign, written down another way. */
function javaHash(text: string): number {
  const hash = Array.from(text).reduce((sum, letter) => BigInt.asIntN(32, sum * 31n + BigInt(letter.charCodeAt(0))), 0n);
  return Number(BigInt.asUintN(31, hash));
}
