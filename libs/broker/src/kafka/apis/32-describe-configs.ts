import type { ConfigEntry } from '../../log/topic-config.js';
import { api } from '../api.js';
import { configSources, configTypes, resourceTypes } from '../config-entries.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { KafkaNode } from '../kafka-node.js';
import { accepted } from '../refusals.js';
import { array, bool, int16, int32, int8, list, string, type Write } from '../schema.js';

const table = {
  key: 32,
  name: 'DescribeConfigs',
  versions: [1, 4],
  flexibleFrom: 4,
  request: {
    resources: list({ resourceType: int8(), resourceName: string(), configurationKeys: array(string()).nullable() }),
    includeSynonyms: bool().or(false),
    includeDocumentation: bool().since(3).or(false),
  },
  response: {
    throttleTimeMs: int32().or(0),
    results: list({
      errorCode: int16(),
      errorMessage: string().nullable(),
      resourceType: int8(),
      resourceName: string(),
      configs: list({
        name: string(),
        value: string().nullable(),
        readOnly: bool(),
        configSource: int8().or(-1),
        isSensitive: bool(),
        synonyms: list({ name: string(), value: string().nullable(), source: int8() }),
        configType: int8().since(3).or(0),
        documentation: string().since(3).nullable(),
      }),
    }),
  },
} as const;

type ConfigResponse = Write<typeof table.response>['results'][number]['configs'][number];

/** 32 DescribeConfigs: every config of a topic, set or not, and where its value comes from; of the broker, what it is set to and cannot be changed. */
export const describeConfigs = api(table, (request, { node, rights, connection }) => {
  const results = request.resources.map(({ resourceType, resourceName, configurationKeys }) => {
    const about = { resourceType, resourceName };
    const isAsked = (name: string): boolean =>
      configurationKeys === null || configurationKeys.length === 0 || configurationKeys.includes(name);
    const refused = (error: ErrorName, errorMessage: string): Write<typeof table.response>['results'][number] => ({
      ...about,
      errorCode: errorCodes[error],
      errorMessage,
      configs: [],
    });
    if (resourceType === resourceTypes.topic) {
      if (!rights.maySee(resourceName)) return refused('topicAuthorizationFailed', 'Topic authorization failed.');
      const topic = node.log.topic(resourceName);
      if (topic === undefined) {
        const invalid = node.log.checkTopic(resourceName, { partitionCount: 1 });
        if (invalid?.code === 'invalid-topic') return refused('invalidTopic', invalid.message);
        return refused('unknownTopicOrPartition', '');
      }
      const configs = topic.describeConfigs().filter(({ name }) => isAsked(name));
      return {
        ...about,
        ...accepted,
        configs: configs.map((entry) => describe(entry, request.includeSynonyms, request.includeDocumentation)),
      };
    }
    if (resourceType === resourceTypes.broker) {
      if (!rights.isOperator) return refused('clusterAuthorizationFailed', 'Cluster authorization failed.');
      if (resourceName !== '' && resourceName !== String(node.settings.nodeId)) {
        return refused(
          'invalidRequest',
          `Unexpected broker id, expected ${node.settings.nodeId} or empty string, but received ${resourceName}`,
        );
      }
      const configs =
        resourceName === '' ? [] : brokerConfigs(node, `${connection.host}:${connection.port}`).filter(({ name }) => isAsked(name));
      return { ...about, ...accepted, configs };
    }
    return refused('invalidRequest', `Unsupported resource type: ${resourceType}`);
  });
  return { results };
});

function describe(entry: ConfigEntry, withSynonyms: boolean, withDocumentation: boolean): ConfigResponse {
  const { name, value, source, type, synonyms, documentation } = entry;
  return {
    name,
    value,
    readOnly: false,
    configSource: configSources[source],
    isSensitive: false,
    synonyms: withSynonyms ? synonyms.map((synonym) => ({ ...synonym, source: configSources[synonym.source] })) : [],
    configType: configTypes[type],
    documentation: withDocumentation ? documentation : null,
  };
}

const staticBrokerSource = 4;

/** What of the broker's own settings has a name in Kafka. */
function brokerConfigs({ settings, limits }: KafkaNode, address: string): ConfigResponse[] {
  const int = configTypes.int;
  const entries: readonly (readonly [string, string, number])[] = [
    ['node.id', String(settings.nodeId), int],
    ['broker.id', String(settings.nodeId), int],
    ['advertised.listeners', `PLAINTEXT://${address}`, configTypes.list],
    ['auto.create.topics.enable', String(settings.createsTopics), configTypes.boolean],
    ['num.partitions', String(settings.partitionCount), int],
    ['default.replication.factor', '1', int],
    ['min.insync.replicas', '1', int],
    ['group.initial.rebalance.delay.ms', String(settings.initialRebalanceDelayMs), int],
    ['group.min.session.timeout.ms', String(limits.sessionTimeoutMsMin), int],
    ['group.max.session.timeout.ms', String(limits.sessionTimeoutMsMax), int],
    ['group.max.size', String(limits.groupMembersMax), int],
    ['offsets.topic.num.partitions', String(settings.offsetsPartitionCount), int],
    ['offsets.topic.replication.factor', '1', int],
    ['offsets.retention.minutes', String(Math.round(settings.offsetsRetentionMs / 60_000)), int],
    ['offset.metadata.max.bytes', String(limits.offsetMetadataBytesMax), int],
    ['socket.request.max.bytes', String(limits.requestBytesMax), int],
    ['connections.max.idle.ms', String(limits.idleTimeoutMs), configTypes.long],
    ['fetch.max.bytes', String(limits.fetchBytesMax), int],
    ['delete.topic.enable', 'true', configTypes.boolean],
  ];
  return entries.map(([name, value, configType]) => ({
    name,
    value,
    readOnly: true,
    configSource: staticBrokerSource,
    isSensitive: false,
    synonyms: [],
    configType,
    documentation: null,
  }));
}
