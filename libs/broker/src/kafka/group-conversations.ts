import { offsetCommit } from './apis/08-offset-commit.js';
import { offsetFetch } from './apis/09-offset-fetch.js';
import { findCoordinator } from './apis/10-find-coordinator.js';
import { joinGroup } from './apis/11-join-group.js';
import { heartbeat } from './apis/12-heartbeat.js';
import { leaveGroup } from './apis/13-leave-group.js';
import { syncGroup } from './apis/14-sync-group.js';
import { describeGroups } from './apis/15-describe-groups.js';
import { listGroups } from './apis/16-list-groups.js';
import { deleteTopics } from './apis/20-delete-topics.js';
import { deleteGroups } from './apis/42-delete-groups.js';
import { offsetDelete } from './apis/47-offset-delete.js';
import type { Conversation, Speaker } from './conversation.js';
import { make, type Talk } from './conversations.js';

/** For tests: what is said to a broker about groups and their offsets, ordinary and refused. What a real Kafka answered stands in transcripts.ts. */
const noId = 'AAAAAAAAAAAAAAAAAAAAAA';
const stranger = 'nobody-00000000-0000-0000-0000-000000000000';

const wanted = (...topics: readonly string[]): Buffer => {
  const head = Buffer.alloc(6);
  head.writeInt32BE(topics.length, 2);
  const names = topics.flatMap((name) => [Buffer.from([0, name.length]), Buffer.from(name)]);
  return Buffer.concat([head, ...names, Buffer.from([255, 255, 255, 255])]);
};

const toJoin = (
  groupId: string,
  memberId = '',
  given: {
    instance?: string;
    sessionTimeoutMs?: number;
    protocolType?: string;
    protocols?: readonly { name: string; metadata: Buffer }[];
  } = {},
) => ({
  groupId,
  memberId,
  groupInstanceId: given.instance ?? null,
  sessionTimeoutMs: given.sessionTimeoutMs ?? 30_000,
  rebalanceTimeoutMs: 30_000,
  protocolType: given.protocolType ?? 'consumer',
  protocols: [...(given.protocols ?? [{ name: 'range', metadata: wanted('t') }])],
});

const toSync = (
  groupId: string,
  memberId: string,
  generationId: number,
  given: { assignments?: readonly string[]; instance?: string; protocolType?: string | null; protocolName?: string | null } = {},
) => ({
  groupId,
  memberId,
  generationId,
  groupInstanceId: given.instance ?? null,
  protocolType: given.protocolType === undefined ? 'consumer' : given.protocolType,
  protocolName: given.protocolName === undefined ? 'range' : given.protocolName,
  assignments: (given.assignments ?? []).map((id) => ({ memberId: id, assignment: Buffer.from('mine') })),
});

const toBeat = (groupId: string, memberId: string, generationId: number, groupInstanceId: string | null = null) => ({
  groupId,
  memberId,
  generationId,
  groupInstanceId,
});

const toCommit = (
  groupId: string,
  topic: string,
  given: { memberId?: string; generation?: number; offset?: number; metadata?: string | null; partition?: number; instance?: string } = {},
) => ({
  groupId,
  generationIdOrMemberEpoch: given.generation ?? -1,
  memberId: given.memberId ?? '',
  groupInstanceId: given.instance ?? null,
  topics: [
    {
      name: topic,
      partitions: [
        {
          partitionIndex: given.partition ?? 0,
          committedOffset: given.offset ?? 5,
          committedMetadata: given.metadata === undefined ? 'm' : given.metadata,
        },
      ],
    },
  ],
});

const toFetch = (groupId: string, topic: string | null, partitionIndexes: number[] = [0]) => {
  const topics = topic === null ? null : [{ name: topic, partitionIndexes }];
  return { groupId, topics, groups: [{ groupId, topics }] };
};

const toLeave = (groupId: string, memberId: string, groupInstanceId: string | null = null) => ({
  groupId,
  memberId,
  members: [{ memberId, groupInstanceId }],
});

/** Joins without a line, by the newest version, and comes back with the name that it is given. */
async function join(
  speaker: Speaker,
  groupId: string,
  given: Parameters<typeof toJoin>[2] = {},
): Promise<{ memberId: string; generation: number }> {
  const first = await speaker.ask(joinGroup, 9, toJoin(groupId, '', given));
  const answer = first!.errorCode === 79 ? await speaker.ask(joinGroup, 9, toJoin(groupId, first!.memberId, given)) : first;
  return { memberId: answer!.memberId, generation: answer!.generationId };
}

/** A group of one, which has its assignment. */
async function stable(conversation: Conversation, name: string, given: Parameters<typeof toJoin>[2] = {}) {
  const speaker = await conversation.connect();
  const groupId = conversation.own(name);
  const member = await join(speaker, groupId, given);
  const instance = given.instance === undefined ? {} : { instance: given.instance };
  await speaker.ask(syncGroup, 5, toSync(groupId, member.memberId, member.generation, { assignments: [member.memberId], ...instance }));
  return { speaker, groupId, ...member };
}

export const groupConversations: Readonly<Record<string, Talk>> = {
  'who coordinates': async ({ own, connect }) => {
    const speaker = await connect();
    await speaker.say('a group', findCoordinator, [0, 6], { key: own('g'), coordinatorKeys: [own('g'), own('h')] });
    await speaker.say('what there is not', findCoordinator, [1, 6], { key: own('g'), keyType: 9, coordinatorKeys: [own('g')] });
    await speaker.say('a group without a name', findCoordinator, [0, 6], { key: '', coordinatorKeys: [''] });
  },

  'a group of one': async ({ own, connect }) => {
    const speaker = await connect();
    const groupId = own('g');
    for (let version = 0; version <= 3; version++) await speaker.say('joins at once', joinGroup, version, toJoin(own(`g${version}`)));
    for (let version = 4; version <= 9; version++) await speaker.say('is given a name', joinGroup, version, toJoin(own(`g${version}`)));
    const { memberId } = await speaker.say('is given a name', joinGroup, 9, toJoin(groupId));
    const joined = await speaker.say('comes back with it', joinGroup, 9, toJoin(groupId, memberId));
    const generation = joined.generationId;
    await speaker.say('is described while it is not assigned', describeGroups, 5, {
      groups: [groupId],
      includeAuthorizedOperations: false,
    });
    await speaker.say('says that it lives, too early', heartbeat, [0, 4], toBeat(groupId, memberId, generation));
    await speaker.say('commits too early', offsetCommit, 9, toCommit(groupId, own('t'), { memberId, generation }));
    for (let version = 0; version <= 5; version++) {
      await speaker.say('assigns', syncGroup, version, toSync(groupId, memberId, generation, { assignments: [memberId] }));
    }
    await speaker.say('says that it lives', heartbeat, [0, 4], toBeat(groupId, memberId, generation));
    await speaker.say('is described', describeGroups, [0, 6], { groups: [groupId], includeAuthorizedOperations: true });
    await speaker.say('says that it lives, in another generation', heartbeat, 4, toBeat(groupId, memberId, generation + 1));
    await speaker.say('assigns in another generation', syncGroup, 5, toSync(groupId, memberId, generation + 1));
    await speaker.say('assigns by another protocol', syncGroup, 5, toSync(groupId, memberId, generation, { protocolName: 'sticky' }));
    await speaker.say('assigns for another kind', syncGroup, 5, toSync(groupId, memberId, generation, { protocolType: 'connect' }));
    await speaker.say('assigns without saying how', syncGroup, 5, toSync(groupId, memberId, generation, { protocolName: null }));
    await speaker.say('is deleted while it has a member', deleteGroups, [0, 2], { groupsNames: [groupId] });
    await speaker.say('joins again with the same', joinGroup, 9, toJoin(groupId, memberId));
    await speaker.say('leaves', leaveGroup, 5, toLeave(groupId, memberId));
    await speaker.say('leaves again', leaveGroup, [0, 5], toLeave(groupId, memberId));
    await speaker.say('is described when it is empty', describeGroups, 6, { groups: [groupId], includeAuthorizedOperations: false });
    await speaker.say('is deleted', deleteGroups, 2, { groupsNames: [groupId] });
    await speaker.say('is deleted again', deleteGroups, [0, 2], { groupsNames: [groupId] });
    await speaker.say('is described when it is gone', describeGroups, [0, 6], { groups: [groupId], includeAuthorizedOperations: false });
  },

  'who may not join': async (conversation) => {
    const { own, connect } = conversation;
    const speaker = await connect();
    const groupId = own('g');
    await speaker.say('without a group', joinGroup, [0, 9], toJoin(''));
    await speaker.say('with a short session', joinGroup, [0, 9], toJoin(groupId, '', { sessionTimeoutMs: 10 }));
    await speaker.say('with a long session', joinGroup, [0, 9], toJoin(groupId, '', { sessionTimeoutMs: 100_000_000 }));
    await speaker.say('with a name that nobody gave', joinGroup, [0, 9], toJoin(groupId, stranger));
    await speaker.say('without a protocol', joinGroup, 9, toJoin(groupId, '', { protocols: [] }));
    await speaker.say('without a kind', joinGroup, 9, toJoin(groupId, '', { protocolType: '' }));
    const { groupId: other } = await stable(conversation, 'o');
    await speaker.say('with a name that nobody gave, where there are others', joinGroup, [4, 9], toJoin(other, stranger));
    await speaker.say('with another protocol', joinGroup, [4, 9], toJoin(other, '', { protocols: [{ name: 'x', metadata: wanted() }] }));
    await speaker.say('of another kind', joinGroup, [4, 9], toJoin(other, '', { protocolType: 'connect' }));
    await speaker.say('assigned without having joined', syncGroup, [0, 5], toSync(other, stranger, 1));
    await speaker.say('assigned in no group', syncGroup, [0, 5], toSync(own('none'), stranger, 1));
    await speaker.say('alive without having joined', heartbeat, [0, 4], toBeat(other, stranger, 1));
    await speaker.say('alive in no group', heartbeat, [0, 4], toBeat(own('none'), stranger, 1));
    await speaker.say('alive in a group without a name', heartbeat, [0, 4], toBeat('', stranger, 1));
    await speaker.say('assigned in a group without a name', syncGroup, [0, 5], toSync('', stranger, 1));
    await speaker.say('leaving a group without a name', leaveGroup, [0, 5], toLeave('', stranger));
    await speaker.say('leaving without having joined', leaveGroup, [0, 5], toLeave(other, stranger));
    await speaker.say('leaving no group', leaveGroup, [0, 5], toLeave(own('none'), stranger));
  },

  'a second member comes': async (conversation) => {
    const { groupId, memberId, generation, speaker } = await stable(conversation, 'g');
    const { own } = conversation;
    const second = await conversation.connect();
    const named = await second.ask(joinGroup, 9, toJoin(groupId));
    const joining = second.ask(joinGroup, 9, toJoin(groupId, named!.memberId));
    for (;;) {
      const beat = await speaker.ask(heartbeat, 4, toBeat(groupId, memberId, generation));
      if (beat!.errorCode === 27) break;
    }
    await speaker.say('the first lives', heartbeat, [0, 4], toBeat(groupId, memberId, generation));
    await speaker.say('the first asks for its assignment', syncGroup, [0, 5], toSync(groupId, memberId, generation));
    await speaker.say('the first commits', offsetCommit, 9, toCommit(groupId, own('t'), { memberId, generation }));
    await speaker.say('the group is described', describeGroups, 5, { groups: [groupId], includeAuthorizedOperations: false });
    await speaker.say('the first joins again', joinGroup, 9, toJoin(groupId, memberId));
    await joining;
    await speaker.say('the first, of the generation before', heartbeat, 4, toBeat(groupId, memberId, generation));
    await speaker.say(
      'the first assigns',
      syncGroup,
      5,
      toSync(groupId, memberId, generation + 1, { assignments: [memberId, named!.memberId] }),
    );
    await second.say('the second asks', syncGroup, 5, toSync(groupId, named!.memberId, generation + 1));
    await second.say('the second leaves', leaveGroup, 5, toLeave(groupId, named!.memberId));
    await speaker.say('the first must join again', heartbeat, 4, toBeat(groupId, memberId, generation + 1));
  },

  'a static member': async (conversation) => {
    const { own } = conversation;
    const instance = 'i-1';
    const { groupId, memberId, generation, speaker } = await stable(conversation, 'g', { instance });
    await speaker.say('lives', heartbeat, [3, 4], toBeat(groupId, memberId, generation, instance));
    await speaker.say('is described', describeGroups, 5, { groups: [groupId], includeAuthorizedOperations: false });
    const again = await speaker.say('comes back without its name', joinGroup, 9, toJoin(groupId, '', { instance }));
    await speaker.say('the old one lives', heartbeat, [3, 4], toBeat(groupId, memberId, generation, instance));
    await speaker.say('the old one joins', joinGroup, [5, 9], toJoin(groupId, memberId, { instance }));
    await speaker.say('the old one asks', syncGroup, [3, 5], toSync(groupId, memberId, generation, { instance }));
    await speaker.say('the old one commits', offsetCommit, [7, 9], toCommit(groupId, own('t'), { memberId, generation, instance }));
    await speaker.say('the old one leaves', leaveGroup, [3, 5], toLeave(groupId, memberId, instance));
    await speaker.say('the new one lives', heartbeat, 4, toBeat(groupId, again.memberId, again.generationId, instance));
    await speaker.say('another instance lives', heartbeat, 4, toBeat(groupId, again.memberId, again.generationId, 'i-2'));
    await speaker.say('comes back as of old', joinGroup, 8, toJoin(groupId, '', { instance }));
    await speaker.say('is taken out by its instance', leaveGroup, 5, toLeave(groupId, '', instance));
    await speaker.say('is taken out again', leaveGroup, 5, toLeave(groupId, '', instance));
  },

  'offsets are committed': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 't', 2);
    const { groupId, memberId, generation, speaker } = await stable(conversation, 'g');
    const topic = own('t');
    await speaker.say('by the member', offsetCommit, [2, 9], toCommit(groupId, topic, { memberId, generation }));
    await speaker.say('are read', offsetFetch, [1, 9], toFetch(groupId, topic, [0, 1, 7]));
    await speaker.say('are read, all', offsetFetch, [2, 9], toFetch(groupId, null));
    await speaker.say('are read, of no topic', offsetFetch, [1, 9], toFetch(groupId, own('none')));
    await speaker.say('are read, of no group', offsetFetch, [1, 9], toFetch(own('none'), topic));
    await speaker.say('are read, of a group without a name', offsetFetch, [1, 9], toFetch('', topic));
    await speaker.say('by another member', offsetCommit, [2, 9], toCommit(groupId, topic, { memberId: stranger, generation }));
    await speaker.say('of another generation', offsetCommit, [2, 9], toCommit(groupId, topic, { memberId, generation: generation + 7 }));
    await speaker.say('by nobody while there is a member', offsetCommit, [2, 9], toCommit(groupId, topic));
    await speaker.say('in no topic', offsetCommit, [2, 9], toCommit(groupId, own('none'), { memberId, generation }));
    await speaker.say('in no partition', offsetCommit, [2, 9], toCommit(groupId, topic, { memberId, generation, partition: 9 }));
    await speaker.say(
      'with much said about it',
      offsetCommit,
      [2, 9],
      toCommit(groupId, topic, { memberId, generation, metadata: 'x'.repeat(5000) }),
    );
    await speaker.say('with nothing said about it', offsetCommit, 9, toCommit(groupId, topic, { memberId, generation, metadata: null }));
    await speaker.say('with nothing said about it, are read', offsetFetch, 9, toFetch(groupId, topic));
    await speaker.say('below zero', offsetCommit, 9, toCommit(groupId, topic, { memberId, generation, offset: -7 }));
    await speaker.say('by a member of no group', offsetCommit, [2, 9], toCommit(own('none'), topic, { memberId: stranger, generation: 3 }));
    await speaker.say('in a group without a name', offsetCommit, [2, 9], toCommit('', topic));
    await speaker.say('none', offsetCommit, 9, { ...toCommit(groupId, topic, { memberId, generation }), topics: [] });
    await speaker.say('forgotten while they are read', offsetDelete, 0, {
      groupId,
      topics: [{ name: 't', partitions: [{ partitionIndex: 0 }] }],
    });
    await speaker.say('forgotten', offsetDelete, 0, {
      groupId,
      topics: [{ name: topic, partitions: [{ partitionIndex: 9 }, { partitionIndex: 0 }] }],
    });
    await speaker.say('forgotten in no group', offsetDelete, 0, { groupId: own('none'), topics: [] });
    const simple = await connect();
    await simple.say('by who joined no group', offsetCommit, [2, 9], toCommit(own('s'), topic));
    await simple.say('a simple group is described', describeGroups, 6, { groups: [own('s')], includeAuthorizedOperations: false });
    await simple.ask(deleteTopics, 6, { topics: [{ name: topic, topicId: noId }], topicNames: [], timeoutMs: 5000 });
    for (;;) {
      const left = await simple.ask(offsetFetch, 9, toFetch(own('s'), null));
      if (left!.groups[0]!.topics.length === 0) break;
    }
    await simple.say('are gone with their topic', offsetFetch, 9, toFetch(own('s'), null));
  },

  'groups are listed': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 't');
    await stable(conversation, 'a');
    const speaker = await connect();
    await speaker.ask(offsetCommit, 9, toCommit(own('s'), own('t')));
    const list = async (what: string, version: number, statesFilter: string[], typesFilter: string[]): Promise<void> => {
      const answer = await speaker.ask(listGroups, version, { statesFilter, typesFilter });
      const mine = answer!.groups.filter(({ groupId }) => groupId.startsWith(own('')));
      speaker.note(`${what}: ListGroups`, version, { ...answer!, groups: mine.sort((a, b) => (a.groupId < b.groupId ? -1 : 1)) });
    };
    for (let version = 0; version <= 5; version++) await list('all', version, [], []);
    for (const state of ['Stable', 'Empty', 'stable', 'Dead', 'Nonsense']) await list(`in the state ${state}`, 5, [state], []);
    for (const type of ['classic', 'Classic', 'consumer', 'nonsense']) await list(`of the type ${type}`, 5, [], [type]);
  },
};
