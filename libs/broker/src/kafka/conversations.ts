import { encodeBatch, type BatchSettings } from '../log/records.js';
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
import { findCoordinator } from './apis/10-find-coordinator.js';
import { saslHandshake } from './apis/17-sasl-handshake.js';
import { saslAuthenticate } from './apis/36-sasl-authenticate.js';
import { type Conversation, type Speaker } from './conversation.js';

/**
 * For tests: what is said to a broker about topics and records, ordinary and refused, in every version that is answered. What a real Kafka
 * answered stands in transcripts.ts. Groups are in group-conversations.ts.
 */
export type Talk = (conversation: Conversation) => Promise<void>;

const noId = 'AAAAAAAAAAAAAAAAAAAAAA';
const otherId = 'AAAAAAAAAAAAAAAAAAABAA';

type Configs = Readonly<Record<string, string | null>>;

const asConfigs = (configs: Configs) => Object.entries(configs).map(([name, value]) => ({ name, value }));

const toCreate = (
  name: string,
  numPartitions = 1,
  {
    configs = {},
    replicationFactor = 1,
    assignments = [],
  }: { configs?: Configs; replicationFactor?: number; assignments?: { partitionIndex: number; brokerIds: number[] }[] } = {},
) => ({ name, numPartitions, replicationFactor, assignments, configs: asConfigs(configs) });

/** Makes a topic without a line, and waits until it can be used, which on a real Kafka may take a moment. Its id is the answer. */
export async function make(
  { connect, own }: Conversation,
  name: string,
  ...more: [numPartitions?: number, options?: Parameters<typeof toCreate>[2]]
): Promise<string> {
  const speaker = await connect();
  const made = await speaker.ask(createTopics, 7, { topics: [toCreate(own(name), ...more)], timeoutMs: 5000 });
  if (made?.topics[0]?.errorCode !== 0) throw new Error(`the topic ${name} was not made: ${made?.topics[0]?.errorMessage}`);
  const partitions = (more[0] ?? 1) - 1;
  for (;;) {
    const asked = [{ partitionIndex: partitions, timestamp: -1 }];
    const answer = await speaker.ask(listOffsets, 5, {
      replicaId: -1,
      isolationLevel: 0,
      timeoutMs: 0,
      topics: [{ name: own(name), partitions: asked }],
    });
    if (answer?.topics[0]?.partitions[0]?.errorCode === 0) return made.topics[0].topicId;
  }
}

export const batch = (nowMs: number, values: readonly (string | null)[], settings: BatchSettings = {}, key: string | null = null): Buffer =>
  encodeBatch(
    values.map((value) => ({
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
      timestamp: nowMs,
    })),
    settings,
  );

const toProduce = (
  { name, id = noId, index = 0 }: { name: string; id?: string; index?: number },
  records: Buffer | null,
  acks = -1,
  transactionalId: string | null = null,
) => ({ transactionalId, acks, timeoutMs: 5000, topicData: [{ name, topicId: id, partitionData: [{ index, records }] }] });

const toFetch = (
  { name, id = noId }: { name: string; id?: string },
  fetchOffset: number,
  given: Readonly<
    Partial<
      Record<
        | 'partition'
        | 'maxBytes'
        | 'partitionMaxBytes'
        | 'sessionId'
        | 'sessionEpoch'
        | 'currentLeaderEpoch'
        | 'lastFetchedEpoch'
        | 'isolationLevel',
        number
      >
    >
  > = {},
) => {
  const { partition = 0, partitionMaxBytes = 1_000_000, currentLeaderEpoch = -1, lastFetchedEpoch = -1, ...rest } = given;
  const partitions = [{ partition, fetchOffset, partitionMaxBytes, currentLeaderEpoch, lastFetchedEpoch }];
  const topics = [{ topic: name, topicId: id, partitions }];
  return { maxWaitMs: 0, minBytes: 0, ...rest, topics, forgottenTopicsData: [], rackId: '' };
};

const toList = (name: string, timestamp: number, { partition = 0, isolationLevel = 0, currentLeaderEpoch = -1 } = {}) => ({
  replicaId: -1,
  isolationLevel,
  topics: [{ name, partitions: [{ partitionIndex: partition, currentLeaderEpoch, timestamp }] }],
  timeoutMs: 5000,
});

const create = (speaker: Speaker, what: string, topic: ReturnType<typeof toCreate>, versions: number | readonly [number, number] = 7) =>
  speaker.say(what, createTopics, versions, { topics: [topic], timeoutMs: 5000 });

const configsOf = (name: string, configurationKeys: string[] | null, resourceType = 2) => ({
  resources: [{ resourceType, resourceName: name, configurationKeys }],
  includeSynonyms: true,
});

const change = (
  name: string,
  configs: readonly (readonly [name: string, operation: number, value: string | null])[],
  resourceType = 2,
) => ({
  resources: [
    { resourceType, resourceName: name, configs: configs.map(([key, configOperation, value]) => ({ name: key, configOperation, value })) },
  ],
  validateOnly: false,
});

export const conversations: Readonly<Record<string, Talk>> = {
  'what is announced': async ({ connect }) => {
    const speaker = await connect();
    const named = { clientSoftwareName: 'a-client', clientSoftwareVersion: '1.0' };
    for (let version = 0; version <= 4; version++) {
      const { errorCode } = (await speaker.ask(apiVersions, version, named))!;
      speaker.note('a client: ApiVersions', version, { errorCode });
    }
    for (const bad of ['', '-client', 'client-', 'a client', 'ä']) {
      await speaker.say(`a client called '${bad}'`, apiVersions, 3, { ...named, clientSoftwareName: bad });
    }
  },

  'topics are asked for': async (conversation) => {
    const { own } = conversation;
    const id = await make(conversation, 'm', 2);
    const speaker = await conversation.connect();
    const ask = (topics: readonly { topicId: string; name: string | null }[]) => ({
      topics: [...topics],
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: true,
      includeTopicAuthorizedOperations: true,
    });
    await speaker.say('by name', metadata, [0, 13], ask([{ topicId: noId, name: own('m') }]));
    await speaker.say('not there', metadata, [4, 13], ask([{ topicId: noId, name: own('none') }]));
    await speaker.say('by id', metadata, [12, 13], ask([{ topicId: id, name: null }]));
    await speaker.say('by an id that is not there', metadata, [12, 13], ask([{ topicId: otherId, name: null }]));
    await speaker.say('none', metadata, [1, 13], ask([]));
    for (const name of ['a b', '.', '..', 'x'.repeat(250), '']) {
      await speaker.say(`a name that cannot be: ${name.slice(0, 10)}`, metadata, 12, {
        ...ask([{ topicId: noId, name }]),
        allowAutoTopicCreation: true,
      });
    }
  },

  'topics are made': async (conversation) => {
    const { own, connect } = conversation;
    const speaker = await connect();
    for (let version = 2; version <= 7; version++) await create(speaker, 'new', toCreate(own(`v${version}`), 2), version);
    await make(conversation, 'there');
    await create(speaker, 'there already', toCreate(own('there')), [2, 7]);
    for (const name of ['', '.', '..', 'a b', 'x'.repeat(250)])
      await create(speaker, `called '${name.slice(0, 10)}'`, toCreate(name), [4, 7]);
    for (const count of [0, -2, -7]) await create(speaker, `${count} partitions`, toCreate(own('p'), count));
    for (const replicationFactor of [0, -2, 3]) {
      await create(speaker, `${replicationFactor} replicas`, toCreate(own('r'), 1, { replicationFactor }));
    }
    const wrong: Configs[] = [
      { 'no.such.config': '1' },
      { 'retention.ms': 'long' },
      { 'retention.ms': '-2' },
      { 'cleanup.policy': 'keep' },
      { 'cleanup.policy': '' },
      { 'compression.type': 'rar' },
      { 'max.message.bytes': '-7' },
      { 'segment.bytes': '1' },
      { 'min.insync.replicas': '0' },
      { 'retention.ms': null },
      { 'message.timestamp.type': 'Never' },
      { 'min.cleanable.dirty.ratio': '2' },
      { preallocate: 'maybe' },
      { 'remote.storage.enable': 'true' },
    ];
    for (const [i, configs] of wrong.entries()) {
      await create(speaker, `with ${JSON.stringify(configs)}`, toCreate(own(`c${i}`), 1, { configs }));
    }
    await create(
      speaker,
      'with a config',
      toCreate(own('ok'), 1, { configs: { 'retention.ms': '5000', 'cleanup.policy': 'compact,delete' } }),
    );
    const assigned = (assignments: { partitionIndex: number; brokerIds: number[] }[], numPartitions = -1, replicationFactor = -1) =>
      toCreate(own('a'), numPartitions, { assignments, replicationFactor });
    const one = { partitionIndex: 0, brokerIds: [1] };
    await create(speaker, 'assigned, and counted', assigned([one], 1));
    await create(speaker, 'assigned, and replicated', assigned([one], -1, 1));
    await create(speaker, 'assigned to a stranger', assigned([{ partitionIndex: 0, brokerIds: [77] }]));
    await create(speaker, 'assigned with a gap', assigned([one, { partitionIndex: 2, brokerIds: [1] }]));
    await create(speaker, 'assigned twice', assigned([one, one]));
    await create(speaker, 'assigned to nobody', assigned([{ partitionIndex: 0, brokerIds: [] }]));
    await create(speaker, 'assigned to one twice', assigned([{ partitionIndex: 0, brokerIds: [1, 1] }]));
    await create(speaker, 'assigned', assigned([one]));
    await speaker.say('twice in one request', createTopics, 7, { topics: [toCreate(own('d')), toCreate(own('d'))], timeoutMs: 5000 });
    await speaker.say('only asked', createTopics, [2, 6], { topics: [toCreate(own('v'))], timeoutMs: 5000, validateOnly: true });
    await speaker.say('none', createTopics, 7, { topics: [], timeoutMs: 5000 });
  },

  'topics go': async (conversation) => {
    const { own, connect } = conversation;
    const speaker = await connect();
    const named = (name: string) => ({ topics: [{ name, topicId: noId }], topicNames: [name], timeoutMs: 5000 });
    for (let version = 1; version <= 6; version++) {
      await make(conversation, `d${version}`);
      await speaker.say('there', deleteTopics, version, named(own(`d${version}`)));
    }
    await speaker.say('not there', deleteTopics, [1, 6], named(own('none')));
    const id = await make(conversation, 'by-id');
    const byId = (topicId: string, name: string | null = null) => ({ topics: [{ name, topicId }], topicNames: [], timeoutMs: 5000 });
    await speaker.say('by id', deleteTopics, 6, byId(id));
    await speaker.say('by an id that is not there', deleteTopics, 6, byId(otherId));
    await speaker.say('by both', deleteTopics, 6, byId(otherId, own('none')));
    await speaker.say('by neither', deleteTopics, 6, byId(noId));
    await make(conversation, 'twice');
    const twice = { name: own('twice'), topicId: noId };
    await speaker.say('twice in one request', deleteTopics, 6, { topics: [twice, twice], topicNames: [], timeoutMs: 5000 });
  },

  'partitions are added': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 'p', 2);
    const speaker = await connect();
    const grow = (count: number, { name = 'p', validateOnly = false, assignments = null as { brokerIds: number[] }[] | null } = {}) => ({
      topics: [{ name: own(name), count, assignments }],
      timeoutMs: 5000,
      validateOnly,
    });
    await speaker.say('as many', createPartitions, [0, 3], grow(2));
    await speaker.say('fewer', createPartitions, 3, grow(1));
    await speaker.say('none', createPartitions, 3, grow(0));
    await speaker.say('less than none', createPartitions, 3, grow(-1));
    await speaker.say('not there', createPartitions, [0, 3], grow(3, { name: 'none' }));
    await speaker.say('assigned, too few', createPartitions, 3, grow(4, { assignments: [{ brokerIds: [1] }] }));
    await speaker.say('assigned to a stranger', createPartitions, 3, grow(3, { assignments: [{ brokerIds: [9] }] }));
    await speaker.say('only asked', createPartitions, 3, grow(3, { validateOnly: true }));
    for (let version = 0; version <= 3; version++) await speaker.say('more', createPartitions, version, grow(3 + version));
    const both = { name: own('p'), count: 8, assignments: null };
    await speaker.say('twice in one request', createPartitions, 3, { topics: [both, both], timeoutMs: 5000, validateOnly: false });
  },

  'configs are read': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 'c', 1, { configs: { 'retention.ms': '5000' } });
    const speaker = await connect();
    await speaker.say('two', describeConfigs, [1, 4], configsOf(own('c'), ['retention.ms', 'cleanup.policy']));
    await speaker.say('all', describeConfigs, 4, { ...configsOf(own('c'), null), includeSynonyms: false });
    await speaker.say('unknown', describeConfigs, 4, configsOf(own('c'), ['no.such.config']));
    await speaker.say('no topic', describeConfigs, [1, 4], configsOf(own('none'), null));
    await speaker.say('no name', describeConfigs, 4, configsOf('a b', null));
    await speaker.say('another broker', describeConfigs, 4, configsOf('77', null, 4));
    await speaker.say('a broker without a number', describeConfigs, 4, configsOf('x', null, 4));
    await speaker.say('what there is not', describeConfigs, 4, configsOf('x', null, 77));
  },

  'configs are changed': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 'c');
    const speaker = await connect();
    const [set, unset, append, subtract] = [0, 1, 2, 3];
    const name = own('c');
    await speaker.say('one', incrementalAlterConfigs, [0, 1], change(name, [['retention.ms', set, '6000']]));
    await speaker.say('taken back', incrementalAlterConfigs, 1, change(name, [['retention.ms', unset, null]]));
    await speaker.say('added to a list', incrementalAlterConfigs, 1, change(name, [['cleanup.policy', append, 'compact']]));
    await speaker.say('taken from a list', incrementalAlterConfigs, 1, change(name, [['cleanup.policy', subtract, 'delete']]));
    await speaker.say('what it is now', describeConfigs, 4, configsOf(name, ['retention.ms', 'cleanup.policy']));
    const wrong: readonly (readonly [string, number, string | null])[] = [
      ['no.such.config', set, '1'],
      ['retention.ms', set, 'long'],
      ['retention.ms', set, null],
      ['retention.ms', append, '1'],
      ['no.such.config', unset, null],
    ];
    for (const one of wrong) await speaker.say(`${one.join(' ')}`, incrementalAlterConfigs, 1, change(name, [one]));
    await speaker.say(
      'twice',
      incrementalAlterConfigs,
      1,
      change(name, [
        ['retention.ms', set, '1'],
        ['retention.ms', set, '2'],
      ]),
    );
    await speaker.say('no topic', incrementalAlterConfigs, [0, 1], change(own('none'), [['retention.ms', set, '1']]));
    await speaker.say('what there is not', incrementalAlterConfigs, 1, change('x', [['a', set, '1']], 77));
    const alter = (configs: Configs, resourceName = name) => ({
      resources: [{ resourceType: 2, resourceName, configs: asConfigs(configs) }],
      validateOnly: false,
    });
    await speaker.say('all', alterConfigs, [0, 2], alter({ 'retention.ms': '7000' }));
    await speaker.say('what it is now', describeConfigs, 4, configsOf(name, ['retention.ms', 'cleanup.policy']));
    await speaker.say('unknown', alterConfigs, [0, 2], alter({ 'no.such.config': '1' }));
    await speaker.say('without a value', alterConfigs, 2, alter({ 'retention.ms': null }));
    await speaker.say('no topic', alterConfigs, [0, 2], alter({}, own('none')));
  },

  'records are appended': async (conversation) => {
    const { own, connect, nowMs } = conversation;
    const id = await make(conversation, 'p', 2);
    const speaker = await connect();
    const there = { name: own('p'), id };
    await speaker.say('one', produce, [3, 13], () => toProduce(there, batch(nowMs, ['a'])));
    await speaker.say('with acks 1', produce, 13, toProduce(there, batch(nowMs, ['a', 'b'])));
    await speaker.say('to no topic', produce, [3, 12], () => toProduce({ name: own('none') }, batch(nowMs, ['a'])));
    await speaker.say('to no topic', produce, 13, toProduce({ name: '', id: otherId }, batch(nowMs, ['a'])));
    await speaker.say('to no partition', produce, [3, 13], () => toProduce({ ...there, index: 7 }, batch(nowMs, ['a'])));
    await speaker.say('with acks 2', produce, [7, 9], () => toProduce(there, batch(nowMs, ['a']), 2));
    await speaker.say('a day ahead', produce, 9, toProduce(there, batch(nowMs + 86_400_000, ['a'])));
    await speaker.say('without a time', produce, 9, toProduce(there, batch(-1, ['a'])));
    await speaker.say('2 MB', produce, [7, 9], () => toProduce(there, batch(nowMs, ['x'.repeat(2_000_000)])));
    const broken = batch(nowMs, ['abc']);
    broken[broken.length - 2]! ^= 1;
    await speaker.say('of which a bit fell over', produce, 9, toProduce(there, broken));
    await speaker.say('that end a transaction', produce, 9, toProduce(there, batch(nowMs, ['a'], { attributes: 0x20 })));
    await speaker.say('of zstd', produce, 6, toProduce(there, batch(nowMs, ['a'], { attributes: 4 })));
    await speaker.say('two batches', produce, 9, toProduce(there, Buffer.concat([batch(nowMs, ['a']), batch(nowMs, ['b'])])));
    await speaker.say('half a batch', produce, 9, toProduce(there, batch(nowMs, ['abcdefgh']).subarray(0, 66)));
    const old = batch(nowMs, ['a']);
    old[16] = 1;
    await speaker.say('of an old format', produce, 9, toProduce(there, old));
    await speaker.say(
      'a batch with a number but no sequence',
      produce,
      9,
      toProduce(there, batch(nowMs, ['a'], { producerId: 5, producerEpoch: 0 })),
    );
    await speaker.say(
      'of a transaction in a request without',
      produce,
      9,
      toProduce(there, batch(nowMs, ['a'], { attributes: 0x10, producerId: 5, producerEpoch: 0, baseSequence: 0 })),
    );
    const compacted = { name: own('k'), id: await make(conversation, 'k', 1, { configs: { 'cleanup.policy': 'compact' } }) };
    await speaker.say('without a key to a compacted topic', produce, [7, 9], () => toProduce(compacted, batch(nowMs, ['a', 'b'])));
    await speaker.say('with a key to a compacted topic', produce, 9, toProduce(compacted, batch(nowMs, ['a'], {}, 'k')));
    const strict = { name: own('s'), id: await make(conversation, 's', 1, { configs: { 'min.insync.replicas': '2' } }) };
    await speaker.say('that two must keep', produce, 9, toProduce(strict, batch(nowMs, ['a'])));
    await speaker.say('that two should keep', produce, 9, toProduce(strict, batch(nowMs, ['a']), 1));
    const stamped = { name: own('l'), id: await make(conversation, 'l', 1, { configs: { 'message.timestamp.type': 'LogAppendTime' } }) };
    await speaker.say('stamped by the broker', produce, [3, 9], () => toProduce(stamped, batch(5, ['a'])));
    const small = { name: own('t'), id: await make(conversation, 't', 1, { configs: { 'max.message.bytes': '100' } }) };
    await speaker.say('larger than the topic takes', produce, 9, toProduce(small, batch(nowMs, ['x'.repeat(100)])));
    await speaker.ask(findCoordinator, 3, { key: 'g', coordinatorKeys: [] });
    await speaker.say('to the broker itself', produce, 9, toProduce({ name: '__consumer_offsets' }, batch(nowMs, ['a'])));
  },

  'an idempotent producer': async (conversation) => {
    const { own, connect, nowMs } = conversation;
    const id = await make(conversation, 'i');
    const speaker = await connect();
    const there = { name: own('i'), id };
    const { producerId } = await speaker.say('begins', initProducerId, [0, 5], { transactionalId: null, transactionTimeoutMs: 60_000 });
    await speaker.say('with an empty transactional id', initProducerId, [0, 5], { transactionalId: '', transactionTimeoutMs: 60_000 });
    const say = (what: string, baseSequence: number, producerEpoch = 0, values = ['a']) =>
      speaker.say(what, produce, 9, toProduce(there, batch(nowMs, values, { producerId, producerEpoch, baseSequence })));
    await say('the first', 0);
    await say('the second', 1, 0, ['b', 'c']);
    await say('the second again', 1, 0, ['b', 'c']);
    await say('the first again', 0);
    await say('a part of the second again', 1, 0, ['b']);
    await say('with a gap', 7);
    for (let sequence = 3; sequence < 8; sequence++) await say('the next', sequence);
    await say('the first again, five later', 0);
    await say('of the next epoch, not from the beginning', 4, 1);
    await say('of the next epoch', 0, 1);
    await say('of the epoch before', 8);
    await speaker.say('are listed', describeProducers, 0, {
      topics: [
        { name: own('i'), partitionIndexes: [0, 3] },
        { name: own('none'), partitionIndexes: [0] },
      ],
    });
    const stranger = await speaker.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
    const { producerId: other } = stranger!;
    await speaker.say(
      'who is new, in the middle',
      produce,
      9,
      toProduce(there, batch(nowMs, ['z'], { producerId: other, producerEpoch: 3, baseSequence: 42 })),
    );
  },

  'records are fetched': async (conversation) => {
    const { own, connect, nowMs } = conversation;
    const id = await make(conversation, 'f', 2);
    const speaker = await connect();
    const there = { name: own('f'), id };
    for (const values of [['a', 'b'], ['c'], ['d', 'e', 'f']]) await speaker.ask(produce, 9, toProduce(there, batch(nowMs, values)));
    await speaker.say('from the beginning', fetchRecords, [4, 17], toFetch(there, 0));
    await speaker.say('what is committed', fetchRecords, [4, 17], toFetch(there, 0, { isolationLevel: 1 }));
    await speaker.say('from inside a batch', fetchRecords, 12, toFetch(there, 4));
    await speaker.say('from the end', fetchRecords, [11, 13], toFetch(there, 6));
    await speaker.say('from behind the end', fetchRecords, [4, 17], toFetch(there, 7));
    await speaker.say('from before the beginning', fetchRecords, 12, toFetch(there, -1));
    await speaker.say('no more than a byte', fetchRecords, 12, toFetch(there, 0, { partitionMaxBytes: 1 }));
    await speaker.say('no more than a byte in all', fetchRecords, 12, toFetch(there, 0, { maxBytes: 1 }));
    await speaker.say('nothing', fetchRecords, 12, toFetch(there, 0, { maxBytes: 0, partitionMaxBytes: 0 }));
    await speaker.say('from no topic', fetchRecords, [4, 12], toFetch({ name: own('none') }, 0));
    await speaker.say('from no topic', fetchRecords, [13, 17], toFetch({ name: '', id: otherId }, 0));
    await speaker.say('from no partition', fetchRecords, [4, 17], toFetch(there, 0, { partition: 9 }));
    await speaker.say('of an epoch that is not yet', fetchRecords, [9, 17], toFetch(there, 0, { currentLeaderEpoch: 1000 }));
    await speaker.say('after an epoch that never was', fetchRecords, [12, 17], toFetch(there, 6, { lastFetchedEpoch: 1000 }));
    await speaker.say('in a session that is not there', fetchRecords, [7, 17], toFetch(there, 0, { sessionId: 77, sessionEpoch: 5 }));
    await speaker.say('in a session that is over', fetchRecords, 12, toFetch(there, 0, { sessionId: 77, sessionEpoch: -1 }));
    const opened = await speaker.ask(fetchRecords, 12, toFetch(there, 0, { sessionEpoch: 0 }));
    const session = { ...toFetch(there, 6), sessionId: opened!.sessionId, topics: [] };
    await speaker.say('in a session, in turn', fetchRecords, 12, { ...session, sessionEpoch: 1 });
    await speaker.say('in a session, out of turn', fetchRecords, 12, { ...session, sessionEpoch: 7 });
  },

  'offsets are asked for': async (conversation) => {
    const { own, connect } = conversation;
    await make(conversation, 'o', 2);
    const speaker = await connect();
    const there = { name: own('o') };
    for (const [at, value] of [
      [1000, 'a'],
      [3000, 'b'],
      [2000, 'c'],
    ] as const)
      await speaker.ask(produce, 9, toProduce(there, batch(at, [value])));
    for (const [what, timestamp] of [
      ['the beginning', -2],
      ['the end', -1],
      ['a time', 1500],
      ['the time of one', 3000],
      ['a time behind all', 4000],
    ] as const) {
      await speaker.say(what, listOffsets, [1, 10], toList(own('o'), timestamp));
    }
    await speaker.say('the largest time', listOffsets, [7, 10], toList(own('o'), -3));
    await speaker.say('the largest time of none', listOffsets, [7, 10], toList(own('o'), -3, { partition: 1 }));
    await speaker.say('the local beginning', listOffsets, [8, 10], toList(own('o'), -4));
    await speaker.say('the end of what is elsewhere', listOffsets, [9, 10], toList(own('o'), -5));
    await speaker.say('what is committed', listOffsets, [2, 10], toList(own('o'), -1, { isolationLevel: 1 }));
    await speaker.say('the largest time, before it could be', listOffsets, 5, toList(own('o'), -3));
    await speaker.say('what there is not', listOffsets, 10, toList(own('o'), -9));
    await speaker.say('of no topic', listOffsets, [1, 10], toList(own('none'), -1));
    await speaker.say('of no partition', listOffsets, [1, 10], toList(own('o'), -1, { partition: 9 }));
    await speaker.say('of an epoch that is not yet', listOffsets, [4, 10], toList(own('o'), -1, { currentLeaderEpoch: 1000 }));
    const twice = { partitionIndex: 0, timestamp: -1 };
    await speaker.say('twice', listOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      timeoutMs: 0,
      topics: [{ name: own('o'), partitions: [twice, twice] }],
    });
    const ends = (leaderEpoch: number, currentLeaderEpoch = -1, partition = 0) => ({
      topics: [{ topic: own('o'), partitions: [{ partition, currentLeaderEpoch, leaderEpoch }] }],
    });
    await speaker.say('the end of an epoch', offsetForLeaderEpoch, [2, 4], ends(0));
    await speaker.say('the end of an epoch that is not yet', offsetForLeaderEpoch, [2, 4], ends(9));
    await speaker.say('the end of an epoch before all', offsetForLeaderEpoch, 4, ends(-1));
    await speaker.say('the end, of an epoch that is not yet', offsetForLeaderEpoch, [2, 4], ends(0, 9));
    await speaker.say('the end of an epoch, of no partition', offsetForLeaderEpoch, [2, 4], ends(0, -1, 9));
  },

  'records go': async (conversation) => {
    const { own, connect, nowMs } = conversation;
    const speaker = await connect();
    await make(conversation, 'd', 1);
    const there = { name: own('d') };
    await speaker.ask(produce, 9, toProduce(there, batch(nowMs, ['a', 'b', 'c', 'd', 'e'])));
    const before = (offset: number, { name = 'd', partitionIndex = 0 } = {}) => ({
      topics: [{ name: own(name), partitions: [{ partitionIndex, offset }] }],
      timeoutMs: 5000,
    });
    for (let version = 0; version <= 2; version++) await speaker.say('below an offset', deleteRecords, version, before(version + 1));
    await speaker.say('below one that was passed', deleteRecords, 2, before(1));
    await speaker.say('below more than there is', deleteRecords, [0, 2], before(9));
    await speaker.say('below a negative one', deleteRecords, 2, before(-5));
    await speaker.say('of no topic', deleteRecords, 2, before(1, { name: 'none' }));
    await speaker.say('of no partition', deleteRecords, 2, before(1, { partitionIndex: 4 }));
    await speaker.say('then below the beginning', fetchRecords, 12, toFetch(there, 1));
    await speaker.say('all', deleteRecords, 2, before(-1));
    await make(conversation, 'k', 1, { configs: { 'cleanup.policy': 'compact' } });
    await speaker.say('of a compacted topic', deleteRecords, 2, before(0, { name: 'k' }));
  },

  'the broker itself': async (conversation) => {
    const { own, connect, nowMs } = conversation;
    const speaker = await connect();
    await make(conversation, 'b', 1);
    await speaker.ask(produce, 9, toProduce({ name: own('b') }, batch(nowMs, ['a'])));
    await speaker.say('its brokers', describeCluster, [0, 2], { includeClusterAuthorizedOperations: true, includeFencedBrokers: false });
    await speaker.say('its controllers', describeCluster, [1, 2], {
      includeClusterAuthorizedOperations: false,
      endpointType: 2,
      includeFencedBrokers: false,
    });
    await speaker.say('what it has not', describeCluster, 1, {
      includeClusterAuthorizedOperations: false,
      endpointType: 3,
      includeFencedBrokers: false,
    });
    await speaker.say('its folders', describeLogDirs, [1, 4], { topics: [{ topic: own('b'), partitions: [0, 1] }] });
    await speaker.say('its folders, for no topic', describeLogDirs, [1, 4], { topics: [{ topic: own('none'), partitions: [0] }] });
    await speaker.say('a login that nobody asked for', saslHandshake, [0, 1], { mechanism: 'PLAIN' });
  },

  'a login without a beginning': async ({ connect }) => {
    const speaker = await connect();
    await speaker.say('a token', saslAuthenticate, [0, 2], { authBytes: Buffer.from('\0a\0b') });
  },
};
