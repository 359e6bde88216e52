import type { Topic } from '../../log/log.js';
import { api } from '../api.js';
import { clusterOperations, operationsNotAsked, topicOperations } from '../authorized-operations.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { offsetsTopicName } from '../groups/offsets-topic.js';
import type { Exchange } from '../exchange.js';
import type { KafkaNode } from '../kafka-node.js';
import { errorNameOf } from '../refusals.js';
import { array, bool, int16, int32, list, string, uuid, type Write, zeroId } from '../schema.js';

const table = {
  key: 3,
  name: 'Metadata',
  versions: [0, 13],
  flexibleFrom: 9,
  request: {
    topics: list({ topicId: uuid().since(10), name: string().nullable(10) }).nullable(1),
    allowAutoTopicCreation: bool().since(4).or(true),
    includeClusterAuthorizedOperations: bool().since(8).until(10),
    includeTopicAuthorizedOperations: bool().since(8),
  },
  response: {
    throttleTimeMs: int32().since(3).or(0),
    brokers: list({ nodeId: int32(), host: string(), port: int32(), rack: string().since(1).nullable().or(null) }),
    clusterId: string().since(2).nullable().or(null),
    controllerId: int32().since(1).or(-1),
    topics: list({
      errorCode: int16(),
      name: string().nullable(12),
      topicId: uuid().since(10),
      isInternal: bool().since(1).or(false),
      partitions: list({
        errorCode: int16(),
        partitionIndex: int32(),
        leaderId: int32(),
        leaderEpoch: int32().since(7).or(-1),
        replicaNodes: array(int32()),
        isrNodes: array(int32()),
        offlineReplicas: array(int32()).since(5),
      }),
      topicAuthorizedOperations: int32().since(8).or(-2147483648),
    }),
    clusterAuthorizedOperations: int32().since(8).until(10).or(-2147483648),
    errorCode: int16().since(13),
  },
} as const;

type Response = Write<typeof table.response>;
type TopicResponse = Response['topics'][number];

/**
 * 3 Metadata: which topics there are, and that everything is here.
 *
 * A topic that is made because somebody asked for it is whole before the answer: nobody has to ask twice. The address is the one the
 * client came through, unless the settings say another.
 */
export const metadata = api(table, async (request, exchange) => {
  const { node, connection, version, rights } = exchange;
  const mayCreate = request.allowAutoTopicCreation && node.settings.createsTopics;
  const isAll = request.topics === null || (version === 0 && request.topics.length === 0);
  const operations = (name: string): number =>
    request.includeTopicAuthorizedOperations ? topicOperations(rights, name) : operationsNotAsked;
  const topics: TopicResponse[] = [];
  if (isAll) {
    for (const topic of node.log.topics) if (rights.maySee(topic.name)) topics.push(describe(topic, node, operations(topic.name)));
  } else {
    for (const { name, topicId } of request.topics!) {
      const found = name === null ? node.log.topicById(topicId) : node.log.topic(name);
      const isHidden = !rights.maySee(found?.name ?? name ?? '');
      if (found !== undefined && !isHidden) topics.push(describe(found, node, operations(found.name)));
      else if (name !== null && isHidden) topics.push(missing(name, zeroId, 'topicAuthorizationFailed'));
      else if (name === null) topics.push(missing(version >= 12 ? null : '', topicId, 'unknownTopicId'));
      else topics.push(await makeOrMiss(name, mayCreate, exchange, operations(name)));
    }
  }
  return {
    brokers: [{ nodeId: node.settings.nodeId, host: connection.host, port: connection.port }],
    clusterId: node.log.clusterId,
    controllerId: node.settings.nodeId,
    topics,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? clusterOperations(rights) : operationsNotAsked,
    errorCode: 0,
  };
});

async function makeOrMiss(
  name: string,
  mayCreate: boolean,
  { node, rights }: Exchange,
  topicAuthorizedOperations: number,
): Promise<TopicResponse> {
  if (!mayCreate) {
    const invalid = node.log.checkTopic(name, { partitionCount: 1 });
    return {
      ...missing(name, zeroId, invalid?.code === 'invalid-topic' ? 'invalidTopic' : 'unknownTopicOrPartition'),
      topicAuthorizedOperations,
    };
  }
  if (!rights.may('configure', name)) return missing(name, zeroId, 'topicAuthorizationFailed');
  try {
    return describe(name === offsetsTopicName ? await node.groups.ready() : await node.autoCreate(name), node, topicAuthorizedOperations);
  } catch (error) {
    return { ...missing(name, zeroId, errorNameOf(error)), topicAuthorizedOperations };
  }
}

function describe(topic: Topic, { settings }: KafkaNode, topicAuthorizedOperations: number): TopicResponse {
  const replicas = [settings.nodeId];
  const partitions = topic.partitions.map(({ number, leaderEpoch }) => ({
    errorCode: 0,
    partitionIndex: number,
    leaderId: settings.nodeId,
    leaderEpoch,
    replicaNodes: replicas,
    isrNodes: replicas,
    offlineReplicas: [],
  }));
  return { errorCode: 0, name: topic.name, topicId: topic.id, isInternal: topic.isInternal, partitions, topicAuthorizedOperations };
}

function missing(name: string | null, topicId: string, error: ErrorName): TopicResponse {
  return { errorCode: errorCodes[error], name, topicId, partitions: [] };
}
