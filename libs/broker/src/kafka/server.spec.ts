import { afterEach, describe, expect, it } from '@jest/globals';
import { produce } from './apis/00-produce.js';
import { fetchRecords } from './apis/01-fetch.js';
import { listOffsets } from './apis/02-list-offsets.js';
import { metadata } from './apis/03-metadata.js';
import { apiVersions } from './apis/18-api-versions.js';
import { createTopics } from './apis/19-create-topics.js';
import { deleteTopics } from './apis/20-delete-topics.js';
import { deleteRecords } from './apis/21-delete-records.js';
import { initProducerId } from './apis/22-init-producer-id.js';
import { offsetForLeaderEpoch } from './apis/23-offset-for-leader-epoch.js';
import { describeConfigs } from './apis/32-describe-configs.js';
import { alterConfigs } from './apis/33-alter-configs.js';
import { describeLogDirs } from './apis/35-describe-log-dirs.js';
import { createPartitions } from './apis/37-create-partitions.js';
import { incrementalAlterConfigs } from './apis/44-incremental-alter-configs.js';
import { describeCluster } from './apis/60-describe-cluster.js';
import { describeProducers } from './apis/61-describe-producers.js';
import { errorCodes } from './error-codes.js';
import { batchOf, frameOf, type KafkaClient, KafkaWorld } from './kafka-world.js';
import { recordsOf } from './record-batch.js';

let world: KafkaWorld;

async function open(options: Parameters<typeof KafkaWorld.open>[0] = {}): Promise<KafkaClient> {
  world = await KafkaWorld.open(options);
  return world.client();
}

afterEach(() => world.server.abort());

type Fetched = Awaited<ReturnType<typeof fetchOnce>>;
const fetchOnce = (client: KafkaClient, request: ReturnType<KafkaWorld['toFetch']>, version = 12) =>
  client.ask(fetchRecords, version, request);
const partitionsOf = (answer: Fetched) => answer.responses.flatMap(({ partitions }) => partitions);
const valuesOf = (records: Buffer | null): string[] => [...recordsOf(records ?? Buffer.alloc(0))].map(({ value }) => String(value));

describe('producing', () => {
  it('has no answer with acks 0, and ends the connection over what was refused then', async () => {
    const client = await open();
    await world.topic('t');
    client.say(produce, 3, world.toProduce('t', batchOf('a'), { acks: 0 }));
    const answer = await client.ask(produce, 3, world.toProduce('t', batchOf('b'), { acks: 1 }));
    expect(answer.responses[0]!.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: 1 });
    client.say(produce, 3, world.toProduce('missing', batchOf('b'), { acks: 0 }));
    await world.settle();
    expect(client.isClosed).toBe(true);
  });

  it.each([
    ['acks 2', 'invalidRequiredAcks', { acks: 2 }, 't'],
    ['a topic that is not there', 'unknownTopicOrPartition', {}, 'missing'],
    ['a partition that is not there', 'unknownTopicOrPartition', { index: 1 }, 't'],
    ['a transaction', 'transactionalIdAuthorizationFailed', { transactionalId: 'x' }, 't'],
    ['a topic of the broker', 'invalidTopic', {}, '__consumer_offsets'],
  ] as const)('refuses %s', async (_what, error, given, name) => {
    const client = await open();
    await world.topic('t');
    await world.log.createTopic('__consumer_offsets', { partitionCount: 1, isInternal: true });
    const answer = await client.ask(produce, 9, world.toProduce(name, batchOf('a'), given));
    expect(answer.responses[0]!.partitionResponses[0]).toMatchObject({ errorCode: errorCodes[error], baseOffset: -1 });
  });

  it('refuses what is not exactly one batch', async () => {
    const client = await open();
    await world.topic('t');
    for (const records of [Buffer.alloc(0), batchOf('a').subarray(0, 66), Buffer.concat([batchOf('a'), batchOf('b')])]) {
      const answer = await client.ask(produce, 9, world.toProduce('t', records));
      expect(answer.responses[0]!.partitionResponses[0]!.errorCode).toBe(errorCodes.invalidRecord);
    }
  });

  it('finds topics by their ids from version 13 on', async () => {
    const client = await open();
    await world.topic('t');
    const answer = await client.ask(produce, 13, world.toProduce('t', batchOf('a')));
    expect(answer.responses[0]).toMatchObject({ topicId: world.log.topic('t')!.id, partitionResponses: [{ errorCode: 0, baseOffset: 0 }] });
    expect((await client.ask(produce, 13, world.toProduce('gone', batchOf('a')))).responses[0]!.partitionResponses[0]!.errorCode).toBe(100);
  });
});

describe('fetching', () => {
  it('returns whole batches, also from an offset inside one, and marks where the partition ends', async () => {
    const client = await open();
    await world.topic('t');
    await client.ask(produce, 9, world.toProduce('t', batchOf('a', 'b', 'c')));
    await client.ask(produce, 9, world.toProduce('t', batchOf('d')));
    for (const version of [4, 5, 7, 10, 11, 12, 13, 15, 17]) {
      const [partition] = partitionsOf(await fetchOnce(client, world.toFetch([['t', 0, 1]]), version));
      expect(partition).toMatchObject({ errorCode: 0, highWatermark: 4, lastStableOffset: 4, abortedTransactions: null });
      expect(valuesOf(partition!.records)).toEqual(['a', 'b', 'c', 'd']);
    }
  });

  it('waits until enough was committed, and wakes at once then', async () => {
    const client = await open({ commitsByHand: true });
    await world.topic('t', 2);
    client.say(
      fetchRecords,
      12,
      world.toFetch(
        [
          ['t', 0, 0],
          ['t', 1, 0],
        ],
        { maxWaitMs: 10_000, minBytes: 150 },
      ),
    );
    const producer = world.client();
    producer.say(produce, 9, world.toProduce('t', batchOf('first'), { index: 1 }));
    await world.settle();
    expect(client.takeFrame()).toBeUndefined();
    world.log.commit();
    await world.settle();
    expect(client.takeFrame()).toBeUndefined();
    producer.say(produce, 9, world.toProduce('t', batchOf('second'.repeat(20))));
    await world.settle();
    world.log.commit();
    await world.settle();
    const answer = client.hear(fetchRecords, 12)!;
    expect(partitionsOf(answer).map(({ records }) => valuesOf(records).length)).toEqual([1, 1]);
  });

  it('answers with what there is when the patience ends, and forgets who went away', async () => {
    const client = await open();
    await world.topic('t');
    const gone = world.client();
    gone.say(fetchRecords, 12, world.toFetch([['t', 0, 0]], { maxWaitMs: 10_000 }));
    client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]], { maxWaitMs: 700 }));
    await world.clock.advance(699);
    expect(client.takeFrame()).toBeUndefined();
    gone.server.destroy();
    await world.clock.advance(1);
    expect(valuesOf(partitionsOf(client.hear(fetchRecords, 12)!)[0]!.records)).toEqual([]);
    expect(world.server.deadlines).toMatchObject({ heap: { length: 1 } });
  });

  it('returns a batch that is larger than asked for, but only the first', async () => {
    const client = await open();
    await world.topic('t', 2);
    for (const index of [0, 1]) await client.ask(produce, 9, world.toProduce('t', batchOf('x'.repeat(5000)), { index }));
    const answer = await fetchOnce(
      client,
      world.toFetch(
        [
          ['t', 0, 0],
          ['t', 1, 0],
        ],
        { maxBytes: 100 },
      ),
    );
    expect(partitionsOf(answer).map(({ records }) => valuesOf(records).length)).toEqual([1, 0]);
  });

  it('refuses offsets outside its ends, and other epochs', async () => {
    const client = await open();
    await world.topic('t');
    await client.ask(produce, 9, world.toProduce('t', batchOf('a')));
    const [beyond] = partitionsOf(await fetchOnce(client, world.toFetch([['t', 0, 9]], { maxWaitMs: 1000 })));
    expect(beyond).toMatchObject({ errorCode: 1, highWatermark: -1, logStartOffset: -1 });
    const request = world.toFetch([['t', 0, 0]]);
    const epoch = {
      ...request,
      topics: request.topics.map((one) => ({ ...one, partitions: [{ ...one.partitions[0]!, currentLeaderEpoch: 5 }] })),
    };
    expect(partitionsOf(await fetchOnce(client, epoch))[0]!.errorCode).toBe(errorCodes.unknownLeaderEpoch);
    const [missing] = partitionsOf(await fetchOnce(client, world.toFetch([['nowhere', 0, 0]])));
    expect(missing!.errorCode).toBe(errorCodes.unknownTopicOrPartition);
    const [noId] = partitionsOf(await fetchOnce(client, world.toFetch([['nowhere', 0, 0]]), 13));
    expect(noId!.errorCode).toBe(errorCodes.unknownTopicId);
  });

  it('wakes when the topic is deleted', async () => {
    const client = await open();
    await world.topic('t');
    client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]], { maxWaitMs: 60_000 }));
    await world.settle();
    await world.client().ask(deleteTopics, 4, { topics: [], topicNames: ['t'], timeoutMs: 1000 });
    expect(partitionsOf(client.hear(fetchRecords, 12)!)[0]!.errorCode).toBe(errorCodes.unknownTopicOrPartition);
  });

  it('keeps a session: later only what changed is asked and told', async () => {
    const client = await open();
    await world.topic('t');
    await world.topic('u');
    const opened = await fetchOnce(
      client,
      world.toFetch(
        [
          ['t', 0, 0],
          ['u', 0, 0],
        ],
        { sessionEpoch: 0 },
      ),
    );
    const { sessionId } = opened;
    expect(sessionId).toBeGreaterThan(0);
    expect(partitionsOf(opened)).toHaveLength(2);
    await client.ask(produce, 9, world.toProduce('u', batchOf('a')));
    const changed = await fetchOnce(client, world.toFetch([], { sessionId, sessionEpoch: 1 }));
    expect(changed.responses.map(({ topic: name, partitions }) => [name, valuesOf(partitions[0]!.records)])).toEqual([['u', ['a']]]);
    const moved = await fetchOnce(client, world.toFetch([['u', 0, 1]], { sessionId, sessionEpoch: 2 }));
    expect(moved.responses).toEqual([]);
    await client.ask(produce, 9, world.toProduce('t', batchOf('b')));
    expect((await fetchOnce(client, world.toFetch([], { sessionId, sessionEpoch: 3, forget: 't' }))).responses).toEqual([]);
    expect((await fetchOnce(client, world.toFetch([], { sessionId, sessionEpoch: 9 }))).errorCode).toBe(
      errorCodes.invalidFetchSessionEpoch,
    );
    expect((await fetchOnce(client, world.toFetch([], { sessionId: 12, sessionEpoch: 1 }))).errorCode).toBe(
      errorCodes.fetchSessionIdNotFound,
    );
    await fetchOnce(client, world.toFetch([], { sessionId, sessionEpoch: -1 }));
    expect((await fetchOnce(client, world.toFetch([], { sessionId, sessionEpoch: 4 }))).errorCode).toBe(errorCodes.fetchSessionIdNotFound);
  });

  it('does without a session where there are too many', async () => {
    const client = await open({ limits: { fetchSessionsMax: 1 } });
    expect((await fetchOnce(client, world.toFetch([], { sessionEpoch: 0 }))).sessionId).toBeGreaterThan(0);
    expect((await fetchOnce(world.client(), world.toFetch([], { sessionEpoch: 0 }))).sessionId).toBe(0);
    await world.clock.advance(130_000);
    expect((await fetchOnce(world.client(), world.toFetch([], { sessionEpoch: 0 }))).sessionId).toBeGreaterThan(0);
  });
});

describe('topics', () => {
  const ask = (client: KafkaClient, names: readonly string[] | null, version = 9, allowAutoTopicCreation = true) =>
    client.ask(metadata, version, {
      topics: names === null ? null : names.map((name) => ({ name, topicId: 'AAAAAAAAAAAAAAAAAAAAAA' })),
      allowAutoTopicCreation,
      includeClusterAuthorizedOperations: true,
      includeTopicAuthorizedOperations: true,
    });

  it('are made when somebody asks for them, and are whole in the first answer', async () => {
    const client = await open({ settings: { partitionCount: 3 } });
    const made = await ask(client, ['new', 'bad name']);
    expect(made.topics[0]).toMatchObject({ errorCode: 0, name: 'new', topicAuthorizedOperations: 3576 });
    expect(made.topics[0]!.partitions.map(({ leaderId, isrNodes }) => [leaderId, isrNodes])).toEqual([
      [1, [1]],
      [1, [1]],
      [1, [1]],
    ]);
    expect(made.topics[1]!.errorCode).toBe(errorCodes.invalidTopic);
    expect(made.brokers).toEqual([{ nodeId: 1, host: '127.0.0.1', port: 9092, rack: null }]);
    expect((await ask(client, ['other'], 9, false)).topics[0]!.errorCode).toBe(errorCodes.unknownTopicOrPartition);
    expect((await ask(client, [], 0)).topics.map(({ name }) => name)).toEqual(['new']);
    expect((await ask(client, [], 1)).topics).toEqual([]);
    expect((await ask(client, null, 13)).topics[0]!.topicId).toBe(world.log.topic('new')!.id);
  });

  const wanted = (name: string, given: object = {}) => ({
    name,
    numPartitions: 1,
    replicationFactor: 1,
    assignments: [],
    configs: [],
    ...given,
  });

  it.each([
    ['a name twice', [wanted('a'), wanted('a')], ['invalidRequest']],
    ['no partitions', [wanted('a', { numPartitions: 0 })], ['invalidPartitions']],
    [
      'more replicas than one',
      [wanted('a', { replicationFactor: 3 }), wanted('b', { replicationFactor: 0 })],
      ['invalidReplicationFactor', 'invalidReplicationFactor'],
    ],
    [
      'a wrong config',
      [wanted('a', { configs: [{ name: 'retention.ms', value: 'x' }] }), wanted('b', { configs: [{ name: 'none', value: '1' }] })],
      ['invalidConfig', 'invalidConfig'],
    ],
    [
      'assignments elsewhere',
      [wanted('a', { numPartitions: -1, replicationFactor: -1, assignments: [{ partitionIndex: 0, brokerIds: [7] }] })],
      ['invalidReplicaAssignment'],
    ],
    ['what is there', [wanted('there')], ['topicAlreadyExists']],
    ['a name that cannot be', [wanted('no/name')], ['invalidTopic']],
  ] as const)('are refused with %s', async (_what, topics, errors) => {
    const client = await open();
    await world.topic('there');
    const answer = await client.ask(createTopics, 7, { topics: topics as never });
    expect(answer.topics.map(({ errorCode }) => errorCode)).toEqual(errors.map((error) => errorCodes[error]));
  });

  it('take one replica for three where the settings say so, and make nothing where only asked', async () => {
    const client = await open({ settings: { replication: 'one-for-all', partitionCount: 2 } });
    const asked = { topics: [wanted('a', { replicationFactor: 3, numPartitions: -1 })] };
    expect((await client.ask(createTopics, 7, { ...asked, validateOnly: true })).topics[0]).toMatchObject({
      errorCode: 0,
      numPartitions: 2,
    });
    expect(world.log.topic('a')).toBeUndefined();
    const [made] = (await client.ask(createTopics, 7, asked)).topics;
    expect(made).toMatchObject({ errorCode: 0, replicationFactor: 1, topicId: world.log.topic('a')!.id });
    expect(made!.configs!.length).toBeGreaterThan(20);
  });

  it('grow, and never shrink', async () => {
    const client = await open();
    await world.topic('t', 2);
    const grow = async (count: number, name = 't', validateOnly = false) =>
      (await client.ask(createPartitions, 3, { topics: [{ name, count, assignments: null }], timeoutMs: 1, validateOnly })).results[0]!
        .errorCode;
    expect([await grow(2), await grow(1), await grow(3, 'none')]).toEqual([37, 37, 3]);
    expect([await grow(5, 't', true), world.log.topic('t')!.partitions.length]).toEqual([0, 2]);
    expect([await grow(5), world.log.topic('t')!.partitions.length]).toEqual([0, 5]);
  });

  it('lose records below an offset, and nothing above what there is', async () => {
    const client = await open();
    await world.topic('t');
    await client.ask(produce, 9, world.toProduce('t', batchOf('a', 'b', 'c')));
    const trim = async (offset: number) =>
      (await client.ask(deleteRecords, 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset }] }], timeoutMs: 1 }))
        .topics[0]!.partitions[0];
    expect(await trim(2)).toMatchObject({ errorCode: 0, lowWatermark: 2 });
    expect(await trim(9)).toMatchObject({ errorCode: 1, lowWatermark: -1 });
    expect(await trim(-1)).toMatchObject({ errorCode: 0, lowWatermark: 3 });
  });

  it('show all their configs, and take changes as a whole or one by one', async () => {
    const client = await open();
    await world.topic('t');
    const about = { resourceType: 2, resourceName: 't' };
    const shown = async () => {
      const request = { resources: [{ ...about, configurationKeys: null }], includeSynonyms: true };
      const { configs } = (await client.ask(describeConfigs, 4, request)).results[0]!;
      return Object.fromEntries(configs.filter(({ configSource }) => configSource === 1).map(({ name, value }) => [name, value]));
    };
    const change = async (name: string, configOperation: number, value: string | null) =>
      (
        await client.ask(incrementalAlterConfigs, 1, {
          resources: [{ ...about, configs: [{ name, configOperation, value }] }],
          validateOnly: false,
        })
      ).responses[0]!.errorCode;
    expect(await change('cleanup.policy', 2, 'compact')).toBe(0);
    expect(await change('retention.ms', 0, '5000')).toBe(0);
    expect(await shown()).toEqual({ 'cleanup.policy': 'delete,compact', 'retention.ms': '5000' });
    expect(await change('cleanup.policy', 3, 'delete')).toBe(0);
    expect(await change('retention.ms', 1, null)).toBe(0);
    expect(await shown()).toEqual({ 'cleanup.policy': 'compact' });
    expect([await change('nonsense', 0, 'x'), await change('retention.ms', 0, null), await change('retention.ms', 7, '1')]).toEqual([
      40, 42, 42,
    ]);
    await client.ask(alterConfigs, 2, {
      resources: [{ ...about, configs: [{ name: 'segment.bytes', value: '1048576' }] }],
      validateOnly: false,
    });
    expect(await shown()).toEqual({ 'segment.bytes': '1048576' });
    const broker = await client.ask(describeConfigs, 1, {
      resources: [{ resourceType: 4, resourceName: '1', configurationKeys: ['num.partitions'] }],
    });
    expect(broker.results[0]!.configs).toMatchObject([{ name: 'num.partitions', value: '1' }]);
  });

  it('have ends, and moments', async () => {
    const client = await open();
    await world.topic('t');
    await client.ask(produce, 9, world.toProduce('t', batchOf('a', 'b')));
    const at = async (timestamp: number, version = 6) =>
      (
        await client.ask(listOffsets, version, {
          replicaId: -1,
          isolationLevel: 0,
          topics: [{ name: 't', partitions: [{ partitionIndex: 0, timestamp }] }],
          timeoutMs: 0,
        })
      ).topics[0]!.partitions[0]!;
    expect((await at(-1)).offset).toBe(2);
    expect((await at(-2)).offset).toBe(0);
    expect(await at(-3, 7)).toMatchObject({ offset: 0, timestamp: 1000 });
    expect(await at(1000)).toMatchObject({ offset: 0, timestamp: 1000 });
    expect(await at(1001)).toMatchObject({ offset: -1, timestamp: -1, errorCode: 0 });
    const epochs = await client.ask(offsetForLeaderEpoch, 4, { topics: [{ topic: 't', partitions: [{ partition: 0, leaderEpoch: 0 }] }] });
    expect(epochs.topics[0]!.partitions[0]).toMatchObject({ errorCode: 0, leaderEpoch: 0, endOffset: 2 });
  });
});

describe('the broker', () => {
  it('says who it is, what it holds and who writes', async () => {
    await open({ settings: { nodeId: 4 } });
    const client = world.client({ host: 'pigeons.example', port: 19_092 });
    await world.topic('t');
    const cluster = await client.ask(describeCluster, 1, { includeClusterAuthorizedOperations: true, includeFencedBrokers: false });
    expect(cluster).toMatchObject({ clusterId: world.log.clusterId, controllerId: 4, clusterAuthorizedOperations: 8096 });
    expect(cluster.brokers).toMatchObject([{ brokerId: 4, host: 'pigeons.example', port: 19_092 }]);
    await client.ask(produce, 9, world.toProduce('t', batchOf('a')));
    const folders = await client.ask(describeLogDirs, 4, { topics: null });
    expect(folders.results[0]!.topics).toMatchObject([
      { name: 't', partitions: [{ partitionIndex: 0, partitionSize: batchOf('a').length }] },
    ]);
    const first = await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
    const second = await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
    expect([first.errorCode, first.producerEpoch, second.producerId - first.producerId]).toEqual([0, 0, 1]);
    expect((await client.ask(initProducerId, 4, { transactionalId: 'x', transactionTimeoutMs: 1 })).errorCode).toBe(53);
    const producers = await client.ask(describeProducers, 0, { topics: [{ name: 't', partitionIndexes: [0, 1] }] });
    expect(producers.topics[0]!.partitions.map(({ errorCode }) => errorCode)).toEqual([0, 3]);
  });

  it('closes while several fetches wait', async () => {
    const clients = [await open(), world.client(), world.client()];
    await world.topic('t');
    for (const client of clients) client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]], { maxWaitMs: 5000 }));
    await world.settle();
    await world.clock.drive(world.server.close({ drainMs: 100 }));
    expect(clients.every(({ isClosed }) => isClosed)).toBe(true);
    await world.clock.advance(10_000);
  });

  it('takes no more connections than it may, and ends those it has when it closes', async () => {
    const client = await open({ limits: { connectionsMax: 1 } });
    expect(world.client().isClosed).toBe(true);
    client.send(frameOf(apiVersions, 0, { clientSoftwareName: '', clientSoftwareVersion: '' }, 1).subarray(0, 6));
    await world.clock.drive(world.server.close({ drainMs: 1000 }));
    expect(client.isClosed).toBe(true);
  });
});
