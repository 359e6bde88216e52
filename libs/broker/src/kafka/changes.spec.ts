/**
 * Each kind of request that the server announces, on a simulated machine that loses its power as soon as the change is acknowledged, under `fsync`: it is there afterwards. The
 * same after kill -9 of a real daemon: apps/broker/src/kill/kafka-changes.spec.ts.
 *
 * A request that is announced and not in the table below fails: whoever adds one says here what it changes.
 */
import { expect, it } from '@jest/globals';
import { encodeBatch } from '../log/records.js';
import { listOffsets } from './apis/02-list-offsets.js';
import { metadata } from './apis/03-metadata.js';
import { heartbeat } from './apis/12-heartbeat.js';
import { joinGroup } from './apis/11-join-group.js';
import { leaveGroup } from './apis/13-leave-group.js';
import { syncGroup } from './apis/14-sync-group.js';
import { describeGroups } from './apis/15-describe-groups.js';
import { createTopics } from './apis/19-create-topics.js';
import { deleteTopics } from './apis/20-delete-topics.js';
import { deleteRecords } from './apis/21-delete-records.js';
import { initProducerId } from './apis/22-init-producer-id.js';
import { describeConfigs } from './apis/32-describe-configs.js';
import { alterConfigs } from './apis/33-alter-configs.js';
import { createPartitions } from './apis/37-create-partitions.js';
import { deleteGroups } from './apis/42-delete-groups.js';
import { incrementalAlterConfigs } from './apis/44-incremental-alter-configs.js';
import { offsetDelete } from './apis/47-offset-delete.js';
import { apis } from './apis.js';
import { type CrashClient, CrashWorld } from '../simulation/crash-world.js';

/** Asked for before the power goes, and looked at afterwards. `name` is that of the topic or group that it is about. */
interface Change {
  /** What is there already. */
  readonly before?: (client: CrashClient, name: string) => Promise<unknown>;
  /** Resolves when the change is acknowledged; what it resolves with goes to `see`. */
  readonly make: (client: CrashClient, name: string) => Promise<unknown>;
  readonly see: (client: CrashClient, name: string, made: unknown) => Promise<unknown>;
  readonly seen: unknown;
}

const topicKind = 2;
const sessionMs = 600_000;
const changesNothing = 'changes nothing';

const changes: Readonly<Record<string, Change | typeof changesNothing>> = {
  Produce: {
    before: (client, name) => createTopic(client, name),
    make: async (client, name) => {
      const { producerId } = await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
      return [producerId, await client.produce(name, 0, batchOf(producerId))];
    },
    // Sent again, as after an answer that was lost, it is known.
    see: async (client, name, made) => {
      const [producerId, offset] = made as [number, number];
      return [(await client.produce(name, 0, batchOf(producerId))) === offset, await client.readAll(name, 0)];
    },
    seen: [true, ['one', 'two']],
  },
  Fetch: changesNothing,
  ListOffsets: changesNothing,
  Metadata: { make: (client, name) => client.makeTopic(name), see: (client, name) => partitionsOf(client, name), seen: 2 },
  OffsetCommit: {
    before: (client, name) => createTopic(client, name),
    make: (client, name) => client.commit(name, name, 7),
    see: (client, name) => client.committed(name, name),
    seen: 7,
  },
  OffsetFetch: changesNothing,
  FindCoordinator: changesNothing,
  JoinGroup: {
    make: (client, name) => join(client, name),
    see: async (client, name, made) => {
      const { memberId, generationId } = made as { memberId: string; generationId: number };
      const { errorCode } = await client.ask(heartbeat, 4, { groupId: name, generationId, memberId, groupInstanceId: 'ann' });
      return [errorCode, ...(await describe(client, name))];
    },
    seen: [0, 'Stable', 'ann: of ann'],
  },
  Heartbeat: changesNothing, // a session begins anew with the next life
  LeaveGroup: {
    before: (client, name) => join(client, name),
    make: async (client, name) => {
      const members = [{ memberId: '', groupInstanceId: 'ann', reason: null }];
      succeeded(await client.ask(leaveGroup, 5, { groupId: name, members, memberId: '' }));
    },
    see: (client, name) => describe(client, name),
    seen: ['Empty'],
  },
  SyncGroup: { make: (client, name) => join(client, name), see: (client, name) => describe(client, name), seen: ['Stable', 'ann: of ann'] },
  DescribeGroups: changesNothing,
  ListGroups: changesNothing,
  SaslHandshake: changesNothing,
  ApiVersions: changesNothing,
  CreateTopics: {
    make: (client, name) => createTopic(client, name, 3, '1111'),
    see: async (client, name) => [await partitionsOf(client, name), await configsOf(client, name)],
    seen: [3, ['1111', null]],
  },
  DeleteTopics: {
    before: async (client, name) => {
      for (const topic of [name, `${name}-again`]) {
        await createTopic(client, topic);
        await client.commit(name, topic, 7);
      }
    },
    make: async (client, name) => {
      for (const topic of [name, `${name}-again`]) await deleteTopic(client, topic);
      await createTopic(client, `${name}-again`);
    },
    // Another topic of the name finds nothing of what groups committed for the first.
    see: async (client, name) => [await partitionsOf(client, name), await client.committed(name, `${name}-again`)],
    seen: [0, -1],
  },
  DeleteRecords: {
    before: async (client, name) => {
      await createTopic(client, name);
      await client.produce(name, 0, batchOf());
      await client.produce(name, 0, batchOf());
    },
    make: async (client, name) => {
      const topics = [{ name, partitions: [{ partitionIndex: 0, offset: 3 }] }];
      succeeded(...(await client.ask(deleteRecords, 2, { topics, timeoutMs: 1 })).topics[0]!.partitions);
    },
    see: async (client, name) => {
      const topics = [{ name, partitions: [{ partitionIndex: 0, timestamp: -2 }] }];
      const answer = await client.ask(listOffsets, 7, { replicaId: -1, isolationLevel: 0, topics, timeoutMs: 1 });
      return answer.topics[0]!.partitions[0]!.offset;
    },
    seen: 3,
  },
  InitProducerId: {
    make: (client) => client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 }),
    // Nobody gets a number that somebody has.
    see: async (client, _name, made) => {
      const { producerId } = await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
      return producerId > (made as { producerId: number }).producerId;
    },
    seen: true,
  },
  OffsetForLeaderEpoch: changesNothing,
  DescribeConfigs: changesNothing,
  AlterConfigs: {
    before: (client, name) => createTopic(client, name, 1, '1111'),
    make: async (client, name) => {
      const resources = [{ resourceType: topicKind, resourceName: name, configs: [{ name: 'segment.ms', value: '2222' }] }];
      succeeded(...(await client.ask(alterConfigs, 2, { resources, validateOnly: false })).responses);
    },
    see: (client, name) => configsOf(client, name),
    seen: [null, '2222'], // what is not named goes back to its default
  },
  DescribeLogDirs: changesNothing,
  SaslAuthenticate: changesNothing,
  CreatePartitions: {
    before: (client, name) => createTopic(client, name),
    make: async (client, name) => {
      const topics = [{ name, count: 4, assignments: null }];
      succeeded(...(await client.ask(createPartitions, 3, { topics, timeoutMs: 1, validateOnly: false })).results);
    },
    see: (client, name) => partitionsOf(client, name),
    seen: 4,
  },
  DeleteGroups: {
    before: async (client, name) => {
      await createTopic(client, name);
      await client.commit(name, name, 7);
    },
    make: async (client, name) => succeeded(...(await client.ask(deleteGroups, 2, { groupsNames: [name] })).results),
    see: async (client, name) => [await client.committed(name, name), ...(await describe(client, name))],
    seen: [-1, 'Dead'],
  },
  IncrementalAlterConfigs: {
    before: (client, name) => createTopic(client, name, 1, '1111'),
    make: async (client, name) => {
      const configs = [{ name: 'segment.ms', configOperation: 0, value: '3333' }];
      const resources = [{ resourceType: topicKind, resourceName: name, configs }];
      succeeded(...(await client.ask(incrementalAlterConfigs, 1, { resources, validateOnly: false })).responses);
    },
    see: (client, name) => configsOf(client, name),
    seen: ['1111', '3333'],
  },
  OffsetDelete: {
    before: async (client, name) => {
      for (const topic of [`${name}-kept`, `${name}-forgotten`]) {
        await createTopic(client, topic);
        await client.commit(name, topic, 9);
      }
    },
    make: async (client, name) => {
      const topics = [{ name: `${name}-forgotten`, partitions: [{ partitionIndex: 0 }] }];
      const answer = await client.ask(offsetDelete, 0, { groupId: name, topics });
      succeeded(answer, ...answer.topics[0]!.partitions);
    },
    see: async (client, name) => [await client.committed(name, `${name}-kept`), await client.committed(name, `${name}-forgotten`)],
    seen: [9, -1],
  },
  DescribeCluster: changesNothing,
  DescribeProducers: changesNothing,
};

function succeeded(...answers: readonly { readonly errorCode: number }[]): void {
  for (const { errorCode } of answers) if (errorCode !== 0) throw new Error(`refused with ${errorCode}`);
}

function batchOf(producerId?: number): Buffer {
  const records = ['one', 'two'].map((value) => ({ key: null, value: Buffer.from(value), timestamp: 1 }));
  return encodeBatch(records, producerId === undefined ? {} : { producerId, producerEpoch: 0, baseSequence: 0 });
}

async function createTopic(client: CrashClient, name: string, numPartitions = 1, retentionMs?: string): Promise<void> {
  const configs = retentionMs === undefined ? [] : [{ name: 'retention.ms', value: retentionMs }];
  const topics = [{ name, numPartitions, replicationFactor: 1, assignments: [], configs }];
  succeeded(...(await client.ask(createTopics, 7, { topics, timeoutMs: 1, validateOnly: false })).topics);
}

async function deleteTopic(client: CrashClient, name: string): Promise<void> {
  const topics = [{ name, topicId: '' }];
  succeeded(...(await client.ask(deleteTopics, 6, { topics, topicNames: [], timeoutMs: 1 })).responses);
}

/** 0 where there is no such topic. */
async function partitionsOf(client: CrashClient, name: string): Promise<number> {
  const all = { topics: null, includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false };
  return (await client.ask(metadata, 12, all)).topics.find((topic) => topic.name === name)?.partitions.length ?? 0;
}

/** `retention.ms` and `segment.ms` where they are the topic's own. */
async function configsOf(client: CrashClient, resourceName: string): Promise<readonly (string | null)[]> {
  const names = ['retention.ms', 'segment.ms'];
  const resources = [{ resourceType: topicKind, resourceName, configurationKeys: names }];
  const { results } = await client.ask(describeConfigs, 4, { resources, includeSynonyms: false, includeDocumentation: false });
  const ofTopic = 1;
  return names.map((name) => results[0]!.configs.find((config) => config.name === name && config.configSource === ofTopic)?.value ?? null);
}

/** A group of one static member, with its assignment. */
async function join(client: CrashClient, groupId: string): Promise<{ readonly memberId: string; readonly generationId: number }> {
  const protocols = [{ name: 'range', metadata: Buffer.from('anything') }];
  const times = { sessionTimeoutMs: sessionMs, rebalanceTimeoutMs: sessionMs };
  const joined = await client.ask(joinGroup, 9, {
    groupId,
    ...times,
    memberId: '',
    groupInstanceId: 'ann',
    protocolType: 'consumer',
    protocols,
    reason: null,
  });
  const { memberId, generationId } = joined;
  const assignments = [{ memberId, assignment: Buffer.from('of ann') }];
  const named = { groupInstanceId: 'ann', protocolType: 'consumer', protocolName: 'range' };
  const synced = await client.ask(syncGroup, 5, { groupId, generationId, memberId, ...named, assignments });
  succeeded(joined, synced);
  return { memberId, generationId };
}

/** The state of a group, its members and what each of them was given. */
async function describe(client: CrashClient, groupId: string): Promise<readonly string[]> {
  const [group] = (await client.ask(describeGroups, 5, { groups: [groupId], includeAuthorizedOperations: false })).groups;
  return [group!.groupState, ...group!.members.map((member) => `${member.groupInstanceId}: ${member.memberAssignment.toString()}`)];
}

it('has every kind of request that is announced', () => {
  expect(Object.keys(changes)).toEqual([...apis.values()].map(({ name }) => name));
});

const each = Object.entries(changes).flatMap(([name, change]) => (change === changesNothing ? [] : [[name, change] as const]));

it.each(each)('%s: what it changed is there when the power goes as soon as it is answered', async (name, { before, make, see, seen }) => {
  // What was not synced may be there by chance: of which pages it is, the seed draws.
  for (let seed = 1; seed <= 8; seed++) {
    const world = new CrashWorld(seed);
    const client = await world.open();
    if (before !== undefined) await world.drive(before(client, name));
    world.slowSyncs();
    const made = await world.drive(make(client, name));
    world.crash(true);
    expect(await world.drive(see(await world.open(), name, made))).toEqual(seen);
  }
});

it('all of them are there after one loss of power, and after another one that nothing came before', async () => {
  const world = new CrashWorld(2);
  const client = await world.open();
  const made = new Map<string, unknown>();
  for (const [name, { before, make }] of each) {
    if (before !== undefined) await world.drive(before(client, name));
    made.set(name, await world.drive(make(client, name)));
  }
  for (let life = 0; life < 2; life++) {
    world.crash(true);
    const again = await world.open();
    const seen: [string, unknown][] = [];
    for (const [name, { see }] of each) seen.push([name, await world.drive(see(again, name, made.get(name)))]);
    expect(seen).toEqual(each.map(([name, change]) => [name, change.seen]));
  }
});

it('topics can be deleted while the disk is full, one after the other, whatever waits for space', async () => {
  const world = new CrashWorld(3);
  const client = await world.open();
  for (const topic of ['small', 'large']) {
    await world.drive(createTopic(client, topic));
    await world.drive(client.commit('group', topic, 7));
  }
  world.machine.faults.fillUpAfter(0);
  const produced = client.produce('small', 0, batchOf()).catch(() => undefined);
  const clients = [await world.client(), await world.client()];
  const deletions = ['small', 'large'].map((topic, index) => deleteTopic(clients[index]!, topic));
  await world.machine.clock.advance(5000);
  const other = await world.client();
  expect([await world.drive(partitionsOf(other, 'small')), await world.drive(partitionsOf(other, 'large'))]).toEqual([0, 0]);
  world.machine.faults.freeUp();
  await world.drive(Promise.all([...deletions, produced]));
  for (const topic of ['small', 'large']) {
    await world.drive(createTopic(other, topic));
    expect(await world.drive(other.committed('group', topic))).toBe(-1);
  }
});

it('a deletion that does not come to its end has taken the topic and what groups committed for it, or neither', async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 30; seed++) {
    const world = new CrashWorld(seed);
    const client = await world.open();
    await world.drive(createTopic(client, 'topic'));
    await world.drive(client.commit('group', 'topic', 7));
    world.slowSyncs();
    const deletion = deleteTopic(client, 'topic').catch(() => undefined);
    await world.machine.clock.advance(2 * seed ** 2);
    world.crash(seed % 2 === 0);
    await world.drive(deletion);
    const again = await world.open();
    const partitions = await world.drive(partitionsOf(again, 'topic'));
    if (partitions === 0) await world.drive(createTopic(again, 'topic'));
    const committed = await world.drive(again.committed('group', 'topic'));
    world.crash(true);
    expect(await world.drive((await world.open()).committed('group', 'topic'))).toBe(committed);
    seen.add(`${partitions} partitions, committed ${committed}`);
  }
  expect([...seen].sort()).toEqual(['0 partitions, committed -1', '1 partitions, committed 7']);
});
