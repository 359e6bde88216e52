import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { OffsetToCommit } from '../groups/coordinator.js';
import { int16, int32, int64, list, string, type Write } from '../schema.js';

const table = {
  key: 8,
  name: 'OffsetCommit',
  versions: [2, 9],
  flexibleFrom: 8,
  request: {
    groupId: string(),
    generationIdOrMemberEpoch: int32().or(-1),
    memberId: string(),
    groupInstanceId: string().since(7).nullable().or(null),
    retentionTimeMs: int64().until(4).or(-1),
    topics: list({
      name: string(),
      partitions: list({
        partitionIndex: int32(),
        committedOffset: int64(),
        committedLeaderEpoch: int32().since(6).or(-1),
        committedMetadata: string().nullable(),
      }),
    }),
  },
  response: {
    throttleTimeMs: int32().since(3).or(0),
    topics: list({ name: string(), partitions: list({ partitionIndex: int32(), errorCode: int16() }) }),
  },
} as const;

/**
 * 8 OffsetCommit: how far a group has come. Answered when that is durable; seen by others then, too.
 *
 * Version 10 (topics by id) is not answered. The retention time of versions 2 to 4 has no effect: the broker's holds for all.
 */
export const offsetCommit = api(table, async (request, { node, rights, version }) => {
  const { groupId, topics, memberId, groupInstanceId, generationIdOrMemberEpoch: generation } = request;
  const answer = (errorOf: (topic: string, partition: number, metadata: string | null) => ErrorName): Write<typeof table.response> => ({
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, committedMetadata }) => ({
        partitionIndex,
        errorCode: errorCodes[errorOf(name, partitionIndex, committedMetadata)],
      })),
    })),
  });
  const isThere = (topic: string, partition: number): boolean => node.log.topic(topic)?.partitions[partition] !== undefined;
  const refuse = (error: ErrorName): ReturnType<typeof answer> =>
    answer((topic, partition) => (isThere(topic, partition) ? error : 'unknownTopicOrPartition'));
  if (!rights.may('read', groupId)) return answer(() => 'groupAuthorizationFailed');
  if (groupId === '' && generation >= 0) return refuse('invalidGroupId');
  const group = generation < 0 ? node.groups.groupOrNew(groupId) : node.groups.group(groupId);
  if (group === undefined)
    return refuse(generation < 0 ? 'coordinatorNotAvailable' : version >= 9 ? 'groupIdNotFound' : 'illegalGeneration');
  const refused = group.checkCommit(memberId, groupInstanceId, generation);
  if (refused !== undefined) return refuse(refused);
  const check = (topic: string, partition: number, metadata: string | null): ErrorName => {
    if (!rights.may('read', topic)) return 'topicAuthorizationFailed';
    if (!isThere(topic, partition)) return 'unknownTopicOrPartition';
    return Buffer.byteLength(metadata ?? '') > node.limits.offsetMetadataBytesMax ? 'offsetMetadataTooLarge' : 'none';
  };
  const offsets: OffsetToCommit[] = [];
  for (const { name, partitions } of topics)
    for (const { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: leaderEpoch, committedMetadata } of partitions)
      if (check(name, partition, committedMetadata) === 'none') {
        offsets.push({ topic: name, partition, offset, leaderEpoch, metadata: committedMetadata ?? '' });
      }
  return new Promise((resolve) => {
    node.groups.commit(group, offsets, (error) =>
      resolve(answer((...place) => (check(...place) === 'none' ? (error ?? 'none') : check(...place)))),
    );
  });
});
