import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { subscribedTopics } from '../groups/subscription.js';
import { int16, int32, list, string } from '../schema.js';

const table = {
  key: 47,
  name: 'OffsetDelete',
  versions: [0, 0],
  flexibleFrom: Infinity,
  request: { groupId: string(), topics: list({ name: string(), partitions: list({ partitionIndex: int32() }) }) },
  response: {
    errorCode: int16(),
    throttleTimeMs: int32().or(0),
    topics: list({ name: string(), partitions: list({ partitionIndex: int32(), errorCode: int16() }) }),
  },
} as const;

/** 47 OffsetDelete: forgets how far a group has come in partitions that none of its members reads. */
export const offsetDelete = api(table, async ({ groupId, topics }, { node, rights }) => {
  if (!rights.may('configure', groupId)) return { errorCode: errorCodes.groupAuthorizationFailed, topics: [] };
  const group = node.groups.group(groupId);
  if (group === undefined || group.state === 'Dead') return { errorCode: errorCodes.groupIdNotFound, topics: [] };
  const subscribed = group.state === 'Empty' ? new Set<string>() : subscribedTopics(group);
  if (subscribed === undefined) return { errorCode: errorCodes.nonEmptyGroup, topics: [] };
  const check = (topic: string, partition: number): ErrorName => {
    if (!rights.may('read', topic)) return 'topicAuthorizationFailed';
    if (node.log.topic(topic)?.partitions[partition] === undefined) return 'unknownTopicOrPartition';
    return subscribed.has(topic) ? 'groupSubscribedToTopic' : 'none';
  };
  const gone = topics.flatMap(({ name, partitions }) =>
    partitions.flatMap(({ partitionIndex: partition }) => (check(name, partition) === 'none' ? [{ topic: name, partition }] : [])),
  );
  const error = await new Promise<ErrorName | undefined>((resolve) => node.groups.forgetOffsets(group, gone, resolve));
  return {
    errorCode: errorCodes[error ?? 'none'],
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: errorCodes[check(name, partitionIndex)] })),
    })),
  };
});
