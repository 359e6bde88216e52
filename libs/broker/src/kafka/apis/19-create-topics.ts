import { api } from '../api.js';
import { configSources } from '../config-entries.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { offsetsTopicName } from '../groups/offsets-topic.js';
import type { KafkaNode } from '../kafka-node.js';
import { refusal } from '../refusals.js';
import { array, bool, int16, int32, int8, list, type Read, string, uuid, type Write, zeroId } from '../schema.js';

const table = {
  key: 19,
  name: 'CreateTopics',
  versions: [2, 7],
  flexibleFrom: 5,
  request: {
    topics: list({
      name: string(),
      numPartitions: int32(),
      replicationFactor: int16(),
      assignments: list({ partitionIndex: int32(), brokerIds: array(int32()) }),
      configs: list({ name: string(), value: string().nullable() }),
    }),
    timeoutMs: int32().or(60000),
    validateOnly: bool().or(false),
  },
  response: {
    throttleTimeMs: int32().or(0),
    topics: list({
      name: string(),
      topicId: uuid().since(7),
      errorCode: int16(),
      errorMessage: string().nullable(),
      topicConfigErrorCode: int16().since(5).tag(0),
      numPartitions: int32().since(5).or(-1),
      replicationFactor: int16().since(5).or(-1),
      configs: list({ name: string(), value: string().nullable(), readOnly: bool(), configSource: int8().or(-1), isSensitive: bool() })
        .since(5)
        .nullable(),
    }),
  },
} as const;

type TopicAsked = Read<typeof table.request>['topics'][number];
type TopicResponse = Write<typeof table.response>['topics'][number];

/**
 * 19 CreateTopics: each is durable and usable when it is answered. The numbers of partitions and replicas may be -1: the broker's own.
 *
 * There is one replica: a replication factor above 1 is refused, or taken as 1 where the broker's settings say so.
 */
export const createTopics = api(table, async ({ topics, validateOnly }, { node, rights }) => {
  const counts = new Map<string, number>();
  for (const { name } of topics) counts.set(name, (counts.get(name) ?? 0) + 1);
  const isTwice = (name: string): boolean => counts.get(name)! > 1;
  const once = topics.filter(({ name }, i) => !isTwice(name) || topics.findIndex((other) => other.name === name) === i);
  const answers = once.map((asked) =>
    isTwice(asked.name)
      ? Promise.resolve(refused(asked, 'invalidRequest', 'Duplicate topic name.'))
      : !rights.may('configure', asked.name)
        ? Promise.resolve(refused(asked, 'topicAuthorizationFailed', 'Authorization failed.'))
        : create(asked, node, validateOnly).catch((error: unknown) => ({ ...refused(asked, 'none', ''), ...refusal(error) })),
  );
  return { topics: await Promise.all(answers) };
});

async function create(asked: TopicAsked, node: KafkaNode, validateOnly: boolean): Promise<TopicResponse> {
  const wrong = checkReplicas(asked, node);
  if (wrong !== undefined) return refused(asked, ...wrong);
  const nullConfig = asked.configs.find(({ value }) => value === null);
  if (nullConfig !== undefined) return refused(asked, 'invalidConfig', `Null value not supported for topic configs: ${nullConfig.name}`);
  const assigned = asked.assignments.length;
  const partitionCount = assigned > 0 ? assigned : asked.numPartitions === -1 ? node.settings.partitionCount : asked.numPartitions;
  const configs = Object.fromEntries(asked.configs.map(({ name, value }) => [name, value!]));
  const settings = { partitionCount, configs };
  if (asked.name === offsetsTopicName)
    return refused(asked, 'invalidTopic', `The topic ${asked.name} belongs to the broker, which makes it itself`);
  const invalid = node.log.checkTopic(asked.name, settings);
  if (invalid !== undefined) throw invalid;
  if (!validateOnly) await node.log.createTopic(asked.name, settings);
  const topic = node.log.topic(asked.name);
  return {
    name: asked.name,
    topicId: topic?.id ?? zeroId,
    errorCode: 0,
    errorMessage: null,
    numPartitions: partitionCount,
    replicationFactor: 1,
    configs: (topic?.describeConfigs() ?? node.log.describeConfigs(configs)).map(({ name, value, source }) => ({
      name,
      value,
      readOnly: false,
      configSource: configSources[source],
      isSensitive: false,
    })),
  };
}

/** What is wrong with the replicas that are asked for, or with the partitions where they are assigned by hand. */
function checkReplicas(asked: TopicAsked, { settings }: KafkaNode): readonly [ErrorName, string] | undefined {
  const { assignments, replicationFactor, numPartitions } = asked;
  if (assignments.length === 0) {
    if (numPartitions !== -1 && numPartitions <= 0)
      return ['invalidPartitions', 'Number of partitions was set to an invalid non-positive value.'];
    if (replicationFactor === -1 || replicationFactor === 1 || (replicationFactor > 1 && settings.replication === 'one-for-all'))
      return undefined;
    if (replicationFactor <= 0)
      return ['invalidReplicationFactor', 'Replication factor must be larger than 0, or -1 to use the default value.'];
    const only = `there is one broker`;
    return [
      'invalidReplicationFactor',
      `Unable to replicate the partition ${replicationFactor} time(s): ${only}. Ask for 1, or let the broker take it as 1`,
    ];
  }
  if (replicationFactor !== -1)
    return ['invalidRequest', 'A manual partition assignment was specified, but replication factor was not set to -1.'];
  if (numPartitions !== -1) return ['invalidRequest', 'A manual partition assignment was specified, but numPartitions was not set to -1.'];
  const numbers = new Set(assignments.map(({ partitionIndex }) => partitionIndex));
  for (let i = 0; i < assignments.length; i++) {
    if (!numbers.has(i)) return ['invalidReplicaAssignment', 'partitions should be a consecutive 0-based integer sequence'];
  }
  const isHere = assignments.every(({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === settings.nodeId);
  return isHere
    ? undefined
    : ['invalidReplicaAssignment', `The manual partition assignment includes brokers other than ${settings.nodeId}, the only one`];
}

function refused({ name }: TopicAsked, error: ErrorName, errorMessage: string): TopicResponse {
  return { name, topicId: zeroId, errorCode: errorCodes[error], errorMessage, configs: [] };
}
