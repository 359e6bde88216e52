/**
 * Each kind of request that a Kafka client may send to the daemon: what it changes and was told is done is there after kill -9. Asked in the words of @platformatic/kafka, one request at a time.
 *
 * A request that is announced and not in the table below fails the test: whoever adds one says here what it changes.
 */
import { afterEach, expect, it } from '@jest/globals';
import {
  Admin,
  alterConfigsV2,
  Connection,
  createPartitionsV3,
  createTopicsV7,
  deleteGroupsV2,
  deleteRecordsV2,
  deleteTopicsV6,
  describeConfigsV4,
  describeGroupsV5,
  fetchV17,
  heartbeatV4,
  incrementalAlterConfigsV1,
  initProducerIdV5,
  joinGroupV9,
  leaveGroupV5,
  listGroupsV5,
  listOffsetsV9,
  metadataV12,
  offsetCommitV9,
  offsetDeleteV0,
  offsetFetchV9,
  produceV11,
  syncGroupV5,
} from '@platformatic/kafka';
import { cleanUp, DaemonProcess, temporaryFolder } from '../daemon-process.js';

/** What is left of a change after the kill. Throws where it is not. */
type Check = (client: Connection) => Promise<void>;
/** Asks for the change, and resolves when it was answered. */
type Change = (client: Connection) => Promise<Check>;

const topicKind = 2;
const session = 60_000;
const changesNothing = 'changes nothing';

const changes: Readonly<Record<string, Change | typeof changesNothing>> = {
  Produce: async (client) => {
    await createTopic(client, 'produced');
    const { producerId } = await initProducerIdV5.api.async(client, null, 1000, -1n, -1);
    const send = () => produce(client, 'produced', ['one', 'two'], producerId);
    expect(await send()).toBe(0n);
    return async (again) => {
      expect(await valuesOf(again, 'produced')).toEqual(['one', 'two']);
      // Sent again, as after an answer that was lost: it is known.
      expect(await produce(again, 'produced', ['one', 'two'], producerId)).toBe(0n);
      expect(await valuesOf(again, 'produced')).toEqual(['one', 'two']);
    };
  },
  Fetch: changesNothing,
  ListOffsets: changesNothing,
  Metadata: async (client) => {
    await metadataV12.api.async(client, ['asked-for'], true);
    const made = await topicIn(client, 'asked-for');
    return async (again) => expect(await topicIn(again, 'asked-for')).toEqual(made);
  },
  OffsetCommit: async (client) => {
    await createTopic(client, 'committed');
    await commit(client, 'committers', 'committed', 7n);
    return async (again) => expect(await committedIn(again, 'committers', 'committed')).toBe(7n);
  },
  OffsetFetch: changesNothing,
  FindCoordinator: changesNothing,
  JoinGroup: async (client) => {
    const member = await join(client, 'joined', 'ann');
    await sync(client, 'joined', member, 'of ann');
    return async (again) => {
      expect(await membersOf(again, 'joined')).toEqual(['Stable', 'ann']);
      await heartbeatV4.api.async(again, 'joined', member.generation, member.id, 'ann');
    };
  },
  Heartbeat: changesNothing, // a session begins anew with the next daemon
  LeaveGroup: async (client) => {
    const member = await join(client, 'left', 'bob');
    await sync(client, 'left', member, 'of bob');
    await leaveGroupV5.api.async(client, 'left', [{ memberId: member.id, groupInstanceId: 'bob' }]);
    return async (again) => expect(await membersOf(again, 'left')).toEqual(['Empty']);
  },
  SyncGroup: async (client) => {
    const member = await join(client, 'synced', 'cleo');
    await sync(client, 'synced', member, 'of cleo');
    return async (again) => {
      const { groups } = await describeGroupsV5.api.async(again, ['synced'], false);
      expect(groups[0]!.members.map(({ memberAssignment }) => String(memberAssignment))).toEqual(['of cleo']);
    };
  },
  DescribeGroups: changesNothing,
  ListGroups: changesNothing,
  SaslHandshake: changesNothing,
  ApiVersions: changesNothing,
  CreateTopics: async (client) => {
    await createTopic(client, 'created', 3, { 'retention.ms': '12345' });
    const made = await topicIn(client, 'created');
    expect(made?.partitions).toBe(3);
    return async (again) => {
      expect(await topicIn(again, 'created')).toEqual(made);
      expect(await configOf(again, 'created', 'retention.ms')).toBe('12345');
    };
  },
  DeleteTopics: async (client) => {
    await createTopic(client, 'deleted');
    await deleteTopicsV6.api.async(client, [{ name: 'deleted' }], 1000);
    return async (again) => expect(await topicIn(again, 'deleted')).toBeUndefined();
  },
  DeleteRecords: async (client) => {
    await createTopic(client, 'shortened');
    await produce(client, 'shortened', ['one', 'two', 'three', 'four']);
    await deleteRecordsV2.api.async(client, [{ name: 'shortened', partitions: [{ partitionIndex: 0, offset: 3n }] }], 1000);
    return async (again) => {
      const asked = [{ name: 'shortened', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -2n }] }];
      expect((await listOffsetsV9.api.async(again, -1, 0, asked)).topics[0]!.partitions[0]!.offset).toBe(3n);
    };
  },
  InitProducerId: async (client) => {
    const idOf = async (by: Connection): Promise<bigint> => (await initProducerIdV5.api.async(by, null, 1000, -1n, -1)).producerId;
    const given = [await idOf(client), await idOf(client)];
    return async (again) => expect(given).not.toContain(await idOf(again)); // nobody gets one that somebody has
  },
  OffsetForLeaderEpoch: changesNothing,
  DescribeConfigs: changesNothing,
  AlterConfigs: async (client) => {
    await createTopic(client, 'altered', 1, { 'retention.ms': '1111' });
    const configs = [{ name: 'segment.ms', value: '2222' }];
    await alterConfigsV2.api.async(client, [{ resourceType: topicKind, resourceName: 'altered', configs }], false);
    return async (again) => {
      expect(await configOf(again, 'altered', 'segment.ms')).toBe('2222');
      expect(await configOf(again, 'altered', 'retention.ms')).not.toBe('1111'); // what is not named goes back to its default
    };
  },
  DescribeLogDirs: changesNothing,
  SaslAuthenticate: changesNothing,
  CreatePartitions: async (client) => {
    await createTopic(client, 'grown');
    await createPartitionsV3.api.async(client, [{ name: 'grown', count: 4, assignments: null }], 1000, false);
    return async (again) => expect((await topicIn(again, 'grown'))?.partitions).toBe(4);
  },
  DeleteGroups: async (client) => {
    await createTopic(client, 'of-deleted-group');
    await commit(client, 'deleted-group', 'of-deleted-group', 5n);
    await deleteGroupsV2.api.async(client, ['deleted-group']);
    return async (again) => {
      expect((await listGroupsV5.api.async(again, [], [])).groups.map(({ groupId }) => groupId)).not.toContain('deleted-group');
      expect(await committedIn(again, 'deleted-group', 'of-deleted-group')).toBe(-1n);
    };
  },
  IncrementalAlterConfigs: async (client) => {
    await createTopic(client, 'changed', 1, { 'retention.ms': '1111' });
    const configs = [{ name: 'segment.ms', configOperation: 0, value: '3333' }] as const;
    await incrementalAlterConfigsV1.api.async(client, [{ resourceType: topicKind, resourceName: 'changed', configs: [...configs] }], false);
    return async (again) => {
      expect(await configOf(again, 'changed', 'segment.ms')).toBe('3333');
      expect(await configOf(again, 'changed', 'retention.ms')).toBe('1111');
    };
  },
  OffsetDelete: async (client) => {
    for (const topic of ['kept', 'forgotten']) {
      await createTopic(client, topic);
      await commit(client, 'forgetters', topic, 9n);
    }
    await offsetDeleteV0.api.async(client, 'forgetters', [{ name: 'forgotten', partitions: [{ partitionIndex: 0 }] }]);
    return async (again) => {
      expect(await committedIn(again, 'forgetters', 'forgotten')).toBe(-1n);
      expect(await committedIn(again, 'forgetters', 'kept')).toBe(9n);
    };
  },
  DescribeCluster: changesNothing,
  DescribeProducers: changesNothing,
};

async function createTopic(
  client: Connection,
  name: string,
  numPartitions = 1,
  configs: Readonly<Record<string, string>> = {},
): Promise<void> {
  const given = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
  await createTopicsV7.api.async(client, [{ name, numPartitions, replicationFactor: 1, assignments: [], configs: given }], 1000, false);
}

/** Undefined where there is no such topic. */
async function topicIn(client: Connection, name: string): Promise<{ readonly id: string; readonly partitions: number } | undefined> {
  const topic = (await metadataV12.api.async(client, null, false)).topics.find((each) => each.name === name);
  return topic === undefined ? undefined : { id: topic.topicId, partitions: topic.partitions.length };
}

async function configOf(client: Connection, resourceName: string, config: string): Promise<string | null | undefined> {
  const { results } = await describeConfigsV4.api.async(client, [{ resourceType: topicKind, resourceName }], false, false);
  return results[0]!.configs.find(({ name }) => name === config)?.value;
}

/** The offset of the first. Given a producer, they are its first ones. */
async function produce(client: Connection, topic: string, values: readonly string[], producerId = -1n): Promise<bigint> {
  const messages = values.map((value) => ({ topic, partition: 0, value: Buffer.from(value) }));
  const by = producerId < 0n ? {} : { producerId, producerEpoch: 0 };
  const answer = await produceV11.api.async(client, -1, 1000, messages, { compression: 'none', ...by });
  if (typeof answer === 'boolean') throw new Error('the request was not answered');
  return answer.responses[0]!.partitionResponses[0]!.baseOffset;
}

async function valuesOf(client: Connection, topic: string): Promise<readonly string[]> {
  const { id: topicId } = (await topicIn(client, topic))!;
  const place = { partition: 0, currentLeaderEpoch: -1, fetchOffset: 0n, lastFetchedEpoch: -1, partitionMaxBytes: 1 << 20 };
  const { responses } = await fetchV17.api.async(client, 0, 0, 1 << 20, 0, 0, -1, [{ topicId, partitions: [place] }], [], '');
  return (responses[0]?.partitions[0]?.records ?? []).flatMap(({ records }) => records.map(({ value }) => String(value)));
}

async function commit(client: Connection, group: string, topic: string, committedOffset: bigint): Promise<void> {
  const partitions = [{ partitionIndex: 0, committedOffset, committedLeaderEpoch: -1, committedMetadata: '' }];
  await offsetCommitV9.api.async(client, group, -1, '', null, [{ name: topic, partitions }]);
}

async function committedIn(client: Connection, groupId: string, name: string): Promise<bigint> {
  const asked = [{ groupId, memberId: null, memberEpoch: -1, topics: [{ name, partitionIndexes: [0] }] }];
  return (await offsetFetchV9.api.async(client, asked, false)).groups[0]!.topics[0]!.partitions[0]!.committedOffset;
}

interface Membership {
  readonly id: string;
  readonly name: string;
  readonly generation: number;
}

/** A static member: it needs no second request for a name of its own. */
async function join(client: Connection, group: string, name: string): Promise<Membership> {
  const protocols = [{ name: 'range', metadata: Buffer.from('anything') }];
  const { memberId, generationId } = await joinGroupV9.api.async(client, group, session, session, '', name, 'consumer', protocols);
  return { id: memberId!, name, generation: generationId };
}

async function sync(client: Connection, group: string, { id, name, generation }: Membership, assignment: string): Promise<void> {
  const assignments = [{ memberId: id, assignment: Buffer.from(assignment) }];
  await syncGroupV5.api.async(client, group, generation, id, name, 'consumer', 'range', assignments);
}

/** The state of the group and its members' names. */
async function membersOf(client: Connection, group: string): Promise<readonly (string | null | undefined)[]> {
  const [found] = (await describeGroupsV5.api.async(client, [group], false)).groups;
  return [found!.groupState, ...found!.members.map(({ groupInstanceId }) => groupInstanceId)];
}

async function connectTo(daemon: DaemonProcess): Promise<Connection> {
  const client = new Connection('changes');
  await client.connect('127.0.0.1', daemon.kafkaPort);
  return client;
}

afterEach(cleanUp);

it('what a request changed is there after kill -9, for each kind of request that is announced', async () => {
  const data = temporaryFolder();
  const args = ['--data', data, '--durability', 'os', '--amqp-port', '0', '--kafka-port', '0'];
  const daemon = await DaemonProcess.listening(args);
  const admin = new Admin({ clientId: 'changes', bootstrapBrokers: [`127.0.0.1:${daemon.kafkaPort}`] });
  const announced = (await admin.listApis()).map(({ name }) => name);
  await admin.close();
  expect(announced.sort()).toEqual(Object.keys(changes).sort());

  const client = await connectTo(daemon);
  const checks: [string, Check][] = [];
  for (const [name, change] of Object.entries(changes)) if (change !== changesNothing) checks.push([name, await change(client)]);
  await daemon.kill();
  await client.close();

  const again = await connectTo(await DaemonProcess.listening(args));
  const gone: string[] = [];
  for (const [name, check] of checks) await check(again).catch((error: Error) => gone.push(`${name}: ${error.message}`));
  await again.close();
  expect(gone).toEqual([]);
});
