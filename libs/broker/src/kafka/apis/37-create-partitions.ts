import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { refusal } from '../refusals.js';
import { array, bool, int16, int32, list, string } from '../schema.js';

const table = {
  key: 37,
  name: 'CreatePartitions',
  versions: [0, 3],
  flexibleFrom: 2,
  request: {
    topics: list({ name: string(), count: int32(), assignments: list({ brokerIds: array(int32()) }).nullable() }),
    timeoutMs: int32(),
    validateOnly: bool(),
  },
  response: {
    throttleTimeMs: int32().or(0),
    results: list({ name: string(), errorCode: int16(), errorMessage: string().nullable().or(null) }),
  },
} as const;

/** 37 CreatePartitions: more partitions for a topic, never fewer. Keys move to other partitions by it. */
export const createPartitions = api(table, async ({ topics, validateOnly }, { node, rights }) => {
  const counts = new Map<string, number>();
  for (const { name } of topics) counts.set(name, (counts.get(name) ?? 0) + 1);
  const once = topics.filter(({ name }, i) => counts.get(name) === 1 || topics.findIndex((other) => other.name === name) === i);
  const results = await Promise.all(
    once.map(async ({ name, count, assignments }) => {
      if (counts.get(name)! > 1) return { name, errorCode: errorCodes.invalidRequest, errorMessage: 'Duplicate topic name.' };
      if (!rights.may('configure', name))
        return { name, errorCode: errorCodes.topicAuthorizationFailed, errorMessage: 'Authorization failed.' };
      const topic = node.log.topic(name);
      if (topic === undefined)
        return { name, errorCode: errorCodes.unknownTopicOrPartition, errorMessage: 'This server does not host this topic-partition.' };
      const now = topic.partitions.length;
      if (count <= now) return { name, errorCode: errorCodes.invalidPartitions, errorMessage: tooFew(name, now, count) };
      if (assignments !== null && assignments.length !== count - now) {
        const errorMessage = `Increasing the number of partitions by ${count - now} but ${assignments.length} assignments provided.`;
        return { name, errorCode: errorCodes.invalidReplicaAssignment, errorMessage };
      }
      if (assignments?.some(({ brokerIds }) => brokerIds.length !== 1 || brokerIds[0] !== node.settings.nodeId) === true) {
        const errorMessage = `The assignment names brokers other than ${node.settings.nodeId}, the only one`;
        return { name, errorCode: errorCodes.invalidReplicaAssignment, errorMessage };
      }
      if (count > node.limits.partitionsMax) {
        const errorMessage = `A topic has at most ${node.limits.partitionsMax} partitions here`;
        return { name, errorCode: errorCodes.invalidPartitions, errorMessage };
      }
      if (topic.isInternal) {
        const errorMessage = `The topic ${name} belongs to the broker: its partitions say where groups are, and stay`;
        return { name, errorCode: errorCodes.invalidRequest, errorMessage };
      }
      try {
        if (!validateOnly) await node.log.addPartitions(name, count);
        return { name, errorCode: 0 };
      } catch (error) {
        return { name, ...refusal(error) };
      }
    }),
  );
  return { results };
});

function tooFew(name: string, now: number, count: number): string {
  if (count === now) return `Topic already has ${now} partition(s).`;
  return `The topic ${name} currently has ${now} partition(s); ${count} would not be an increase.`;
}
