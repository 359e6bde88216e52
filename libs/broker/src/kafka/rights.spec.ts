/** What a user's permissions mean to Kafka's requests, each of them, and that what is taken away is refused from then on. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { AccessControl } from '../engine/access-control.js';
import { encodeBatch } from '../log/records.js';
import { produce } from './apis/00-produce.js';
import { fetchRecords } from './apis/01-fetch.js';
import { listOffsets } from './apis/02-list-offsets.js';
import { metadata } from './apis/03-metadata.js';
import { offsetCommit } from './apis/08-offset-commit.js';
import { offsetFetch } from './apis/09-offset-fetch.js';
import { findCoordinator } from './apis/10-find-coordinator.js';
import { joinGroup } from './apis/11-join-group.js';
import { heartbeat } from './apis/12-heartbeat.js';
import { leaveGroup } from './apis/13-leave-group.js';
import { syncGroup } from './apis/14-sync-group.js';
import { describeGroups } from './apis/15-describe-groups.js';
import { listGroups } from './apis/16-list-groups.js';
import { saslHandshake } from './apis/17-sasl-handshake.js';
import { createTopics } from './apis/19-create-topics.js';
import { deleteTopics } from './apis/20-delete-topics.js';
import { deleteRecords } from './apis/21-delete-records.js';
import { initProducerId } from './apis/22-init-producer-id.js';
import { offsetForLeaderEpoch } from './apis/23-offset-for-leader-epoch.js';
import { describeConfigs } from './apis/32-describe-configs.js';
import { alterConfigs } from './apis/33-alter-configs.js';
import { describeLogDirs } from './apis/35-describe-log-dirs.js';
import { saslAuthenticate } from './apis/36-sasl-authenticate.js';
import { createPartitions } from './apis/37-create-partitions.js';
import { deleteGroups } from './apis/42-delete-groups.js';
import { incrementalAlterConfigs } from './apis/44-incremental-alter-configs.js';
import { offsetDelete } from './apis/47-offset-delete.js';
import { describeProducers } from './apis/61-describe-producers.js';
import { type KafkaClient, KafkaWorld } from './kafka-world.js';
import { UserRights } from './rights.js';

let world: KafkaWorld;
let control: AccessControl;

afterEach(() => world.server.abort());

/** ann may make what begins with `mine`, write to `in` as well, and read `out` and the group `readers` as well. */
const permission = { user: 'ann', virtualHost: '/', configure: '^mine', write: '^(mine|in$)', read: '^(mine|out$|readers$)' };

async function open(): Promise<KafkaClient> {
  control = new AccessControl(new SeededRandom(1));
  const users = ['ann', 'bob', 'root'].map((name) => ({ name, password: 'x', tags: name === 'root' ? ['administrator'] : [] }));
  control.configure(users, []);
  control.evolve({ do: 'put-permission', permission });
  const rights = Object.fromEntries(users.map(({ name }) => [name, new UserRights(control, name)]));
  world = await KafkaWorld.open({ users: { ann: 'x', bob: 'x', root: 'x' }, rights });
  for (const name of ['mine', 'in', 'out', 'secret']) await world.log.createTopic(name, { partitionCount: 1 });
  return enter('ann');
}

async function enter(user: string): Promise<KafkaClient> {
  const client = world.client();
  await client.ask(saslHandshake, 1, { mechanism: 'PLAIN' });
  await client.ask(saslAuthenticate, 2, { authBytes: Buffer.from(`\0${user}\0x`) });
  return client;
}

const names = ['mine', 'in', 'out', 'secret'];
const asked = { includeClusterAuthorizedOperations: true, includeTopicAuthorizedOperations: true };
const wantAll = { topics: null, ...asked };
const batch = (): Buffer => encodeBatch([{ key: null, value: Buffer.from('x'), timestamp: 1 }]);

/** The error codes, topic by topic; 0 where it is allowed. */
const ofTopics: readonly (readonly [
  name: string,
  ask: (client: KafkaClient) => Promise<readonly number[]>,
  expected: readonly number[],
])[] = [
  [
    'Produce',
    async (client) => {
      const topicData = names.map((name) => ({ name, topicId: '', partitionData: [{ index: 0, records: batch() }] }));
      const { responses } = await client.ask(produce, 9, { transactionalId: null, acks: -1, timeoutMs: 1, topicData });
      return responses.map(({ partitionResponses }) => partitionResponses[0]!.errorCode);
    },
    [0, 0, 29, 29],
  ],
  [
    'Fetch',
    async (client) => {
      const topics = names.map((topic) => ({ topic, topicId: '', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 }] }));
      const { responses } = await client.ask(fetchRecords, 12, { maxWaitMs: 0, minBytes: 0, topics, forgottenTopicsData: [], rackId: '' });
      return responses.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 29, 0, 29],
  ],
  [
    'ListOffsets',
    async (client) => {
      const topics = names.map((name) => ({ name, partitions: [{ partitionIndex: 0, timestamp: -1 }] }));
      const answer = await client.ask(listOffsets, 7, { replicaId: -1, isolationLevel: 0, topics, timeoutMs: 0 });
      return answer.topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 0, 0, 29],
  ],
  [
    'OffsetForLeaderEpoch',
    async (client) => {
      const topics = names.map((topic) => ({ topic, partitions: [{ partition: 0, leaderEpoch: 0 }] }));
      const answer = await client.ask(offsetForLeaderEpoch, 4, { topics });
      return answer.topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 0, 0, 29],
  ],
  [
    'Metadata',
    async (client) => {
      const topics = names.map((name) => ({ topicId: '', name }));
      return (await client.ask(metadata, 9, { topics, ...asked })).topics.map(({ errorCode }) => errorCode);
    },
    [0, 0, 0, 29],
  ],
  [
    'OffsetCommit',
    async (client) => {
      const topics = names.map((name) => ({ name, partitions: [{ partitionIndex: 0, committedOffset: 0, committedMetadata: '' }] }));
      const answer = await client.ask(offsetCommit, 8, { groupId: 'readers', memberId: '', topics });
      return answer.topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 29, 0, 29],
  ],
  [
    'OffsetFetch',
    async (client) => {
      const topics = names.map((name) => ({ name, partitionIndexes: [0] }));
      const answer = await client.ask(offsetFetch, 7, { groupId: 'readers', topics, groups: [] });
      return answer.topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 0, 0, 29],
  ],
  [
    'CreatePartitions',
    async (client) => {
      const topics = names.map((name) => ({ name, count: 2, assignments: null }));
      return (await client.ask(createPartitions, 2, { topics, timeoutMs: 1, validateOnly: true })).results.map(
        ({ errorCode }) => errorCode,
      );
    },
    [0, 29, 29, 29],
  ],
  [
    'DescribeConfigs',
    async (client) => {
      const resources = names.map((resourceName) => ({ resourceType: 2, resourceName, configurationKeys: null }));
      return (await client.ask(describeConfigs, 4, { resources })).results.map(({ errorCode }) => errorCode);
    },
    [0, 0, 0, 29],
  ],
  [
    'AlterConfigs',
    async (client) => {
      const resources = names.map((resourceName) => ({ resourceType: 2, resourceName, configs: [] }));
      return (await client.ask(alterConfigs, 2, { resources, validateOnly: false })).responses.map(({ errorCode }) => errorCode);
    },
    [0, 29, 29, 29],
  ],
  [
    'IncrementalAlterConfigs',
    async (client) => {
      const resources = names.map((resourceName) => ({ resourceType: 2, resourceName, configs: [] }));
      return (await client.ask(incrementalAlterConfigs, 1, { resources, validateOnly: false })).responses.map(({ errorCode }) => errorCode);
    },
    [0, 29, 29, 29],
  ],
  [
    'DeleteRecords',
    async (client) => {
      const topics = names.map((name) => ({ name, partitions: [{ partitionIndex: 0, offset: 0 }] }));
      return (await client.ask(deleteRecords, 2, { topics, timeoutMs: 1 })).topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 29, 29, 29],
  ],
  [
    'DescribeProducers',
    async (client) => {
      const topics = names.map((name) => ({ name, partitionIndexes: [0] }));
      return (await client.ask(describeProducers, 0, { topics })).topics.map(({ partitions }) => partitions[0]!.errorCode);
    },
    [0, 29, 0, 29],
  ],
  [
    'CreateTopics',
    async (client) => {
      const topics = names.map((name) => ({ name: `${name}-2`, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }));
      return (await client.ask(createTopics, 5, { topics, timeoutMs: 1, validateOnly: true })).topics.map(({ errorCode }) => errorCode);
    },
    [0, 29, 29, 29],
  ],
  [
    'DeleteTopics',
    async (client) => {
      const request = { topics: [], topicNames: names, timeoutMs: 1 };
      return (await client.ask(deleteTopics, 5, request)).responses.map(({ errorCode }) => errorCode);
    },
    [0, 29, 29, 29],
  ],
];

/** Of a group that ann may not read. */
const ofGroups: readonly (readonly [name: string, ask: (client: KafkaClient, group: string) => Promise<number>])[] = [
  ['FindCoordinator', async (client, key) => (await client.ask(findCoordinator, 3, { key, coordinatorKeys: [] })).errorCode],
  [
    'FindCoordinator of several',
    async (client, key) => (await client.ask(findCoordinator, 4, { key: '', coordinatorKeys: [key] })).coordinators[0]!.errorCode,
  ],
  [
    'JoinGroup',
    async (client, groupId) => {
      const request = { groupId, sessionTimeoutMs: 10_000, memberId: '', protocolType: 'consumer', protocols: [] };
      return (await client.ask(joinGroup, 5, request)).errorCode;
    },
  ],
  [
    'SyncGroup',
    async (client, groupId) => (await client.ask(syncGroup, 3, { groupId, generationId: 1, memberId: 'm', assignments: [] })).errorCode,
  ],
  ['Heartbeat', async (client, groupId) => (await client.ask(heartbeat, 3, { groupId, generationId: 1, memberId: 'm' })).errorCode],
  ['LeaveGroup', async (client, groupId) => (await client.ask(leaveGroup, 3, { groupId, memberId: '', members: [] })).errorCode],
  [
    'OffsetCommit',
    async (client, groupId) => {
      const topics = [{ name: 'mine', partitions: [{ partitionIndex: 0, committedOffset: 0, committedMetadata: '' }] }];
      return (await client.ask(offsetCommit, 8, { groupId, memberId: '', topics })).topics[0]!.partitions[0]!.errorCode;
    },
  ],
  [
    'OffsetFetch',
    async (client, groupId) =>
      (await client.ask(offsetFetch, 8, { groupId: '', topics: [], groups: [{ groupId, topics: null }] })).groups[0]!.errorCode,
  ],
  [
    'DescribeGroups',
    async (client, group) =>
      (await client.ask(describeGroups, 5, { groups: [group], includeAuthorizedOperations: true })).groups[0]!.errorCode,
  ],
  ['DeleteGroups', async (client, group) => (await client.ask(deleteGroups, 2, { groupsNames: [group] })).results[0]!.errorCode],
  ['OffsetDelete', async (client, groupId) => (await client.ask(offsetDelete, 0, { groupId, topics: [] })).errorCode],
];

describe('a user with permissions', () => {
  it.each(ofTopics)('%s: mine, in, out, secret', async (_, ask, expected) => {
    expect(await ask(await open())).toEqual(expected);
  });

  it.each(ofGroups)('%s of a group that is not to be read', async (_, ask) => {
    expect(await ask(await open(), 'others')).toBe(30);
  });

  it('sees the topics and groups that are its business, with what it may do, and no others', async () => {
    const client = await open();
    control.evolve({ do: 'put-permission', permission: { ...permission, user: 'root', configure: '', write: '', read: '.*' } });
    for (const group of ['readers', 'others']) {
      const topics = [{ name: 'mine', partitions: [{ partitionIndex: 0, committedOffset: 0, committedMetadata: '' }] }];
      await (await enter('root')).ask(offsetCommit, 8, { groupId: group, memberId: '', topics });
    }
    const all = await client.ask(metadata, 9, wantAll);
    const bits = (...numbers: number[]): number => numbers.reduce((sum, bit) => sum + 2 ** bit, 0);
    expect(all.topics.map(({ name, topicAuthorizedOperations }) => [name, topicAuthorizedOperations])).toEqual([
      ['mine', bits(3, 4, 5, 6, 7, 8, 10, 11)],
      ['in', bits(4, 8, 10)],
      ['out', bits(3, 8, 10)],
    ]);
    expect(all.clusterAuthorizedOperations).toBe(bits(8, 12));
    const groupsOf = async (one: KafkaClient): Promise<readonly string[]> =>
      (await one.ask(listGroups, 4, { statesFilter: [], typesFilter: [] })).groups.map(({ groupId }) => groupId);
    expect([await groupsOf(client), await groupsOf(await enter('root'))]).toEqual([['readers'], ['readers', 'others']]);
  });

  it('makes no topic by asking for it where it may not', async () => {
    const client = await open();
    const topics = ['mine-too', 'in', 'unknown'].map((name) => ({ topicId: '', name }));
    const answer = await client.ask(metadata, 9, { topics, ...asked });
    expect(answer.topics.map(({ errorCode }) => errorCode)).toEqual([0, 0, 29]);
    control.evolve({ do: 'put-permission', permission: { ...permission, write: '.*' } });
    expect((await client.ask(metadata, 9, { topics, ...asked })).topics.map(({ errorCode }) => errorCode)).toEqual([0, 0, 29]);
    expect(world.log.topic('unknown')).toBeUndefined();
  });

  it('sees what belongs to the broker only as an operator', async () => {
    const resources = [{ resourceType: 4, resourceName: '1', configurationKeys: null }];
    const codes = async (client: KafkaClient): Promise<readonly number[]> => [
      (await client.ask(describeConfigs, 4, { resources })).results[0]!.errorCode,
      (await client.ask(describeLogDirs, 4, { topics: null })).errorCode,
      (await client.ask(alterConfigs, 2, { resources: [{ resourceType: 4, resourceName: '', configs: [] }], validateOnly: true }))
        .responses[0]!.errorCode,
    ];
    expect(await codes(await open())).toEqual([31, 31, 31]);
    expect(await codes(await enter('root'))).toEqual([0, 0, 40]);
  });

  it('is refused what was taken away, allowed what was given, and cut off when it is deleted', async () => {
    const ann = await open();
    const bob = await enter('bob');
    const id = async (client: KafkaClient): Promise<number> =>
      (await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 })).errorCode;
    expect([await id(ann), await id(bob)]).toEqual([0, 31]);
    expect((await bob.ask(metadata, 9, wantAll)).topics).toEqual([]);
    control.evolve({ do: 'put-permission', permission: { ...permission, user: 'bob' } });
    control.evolve({ do: 'delete-permission', user: 'ann', virtualHost: '/' });
    expect([await id(ann), await id(bob)]).toEqual([31, 0]);
    world.server.disconnect('bob');
    expect([ann.isClosed, bob.isClosed]).toEqual([false, true]);
  });
});

describe('a client that nobody asks who it is', () => {
  it('may do everything, and is refused when it wants to log in, as in Kafka', async () => {
    await open();
    const client = world.client({ needsLogin: false });
    expect((await client.ask(metadata, 9, wantAll)).topics).toHaveLength(4);
    expect((await client.ask(saslHandshake, 1, { mechanism: 'PLAIN' })).errorCode).toBe(34);
  });
});
