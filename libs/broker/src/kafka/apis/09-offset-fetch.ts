import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { Group } from '../groups/group.js';
import type { CommittedOffset } from '../groups/offsets-topic.js';
import type { Rights } from '../rights.js';
import { array, bool, int16, int32, int64, list, string, type Write } from '../schema.js';

const table = {
  key: 9,
  name: 'OffsetFetch',
  versions: [1, 9],
  flexibleFrom: 6,
  request: {
    groupId: string().until(7),
    topics: list({ name: string(), partitionIndexes: array(int32()) })
      .until(7)
      .nullable(2),
    groups: list({
      groupId: string(),
      memberId: string().since(9).nullable().or(null),
      memberEpoch: int32().since(9).or(-1),
      topics: list({ name: string(), partitionIndexes: array(int32()) }).nullable(),
    }).since(8),
    requireStable: bool().since(7).or(false),
  },
  response: {
    throttleTimeMs: int32().since(3).or(0),
    topics: list({
      name: string(),
      partitions: list({
        partitionIndex: int32(),
        committedOffset: int64(),
        committedLeaderEpoch: int32().since(5).or(-1),
        metadata: string().nullable(),
        errorCode: int16(),
      }),
    }).until(7),
    errorCode: int16().since(2).until(7).or(0),
    groups: list({
      groupId: string(),
      topics: list({
        name: string(),
        partitions: list({
          partitionIndex: int32(),
          committedOffset: int64(),
          committedLeaderEpoch: int32().or(-1),
          metadata: string().nullable(),
          errorCode: int16(),
        }),
      }),
      errorCode: int16().or(0),
    }).since(8),
  },
} as const;

type Response = Write<typeof table.response>;
type TopicsAsked = readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[] | null;
type TopicsFound = NonNullable<Response['groups']>[number]['topics'];

/**
 * 9 OffsetFetch: how far a group has come; -1 where it never said. From version 8 on several groups at once.
 *
 * Version 10 (topics by id) is not answered. The member's epoch of version 9 belongs to the new group protocol and has no effect.
 */
export const offsetFetch = api(table, (request, { node, rights, version }) => {
  const look = (groupId: string, topics: TopicsAsked): { topics: TopicsFound; errorCode: number } =>
    rights.may('read', groupId)
      ? { topics: find(node.groups.group(groupId), topics, rights), errorCode: 0 }
      : { topics: refuse(topics, 'groupAuthorizationFailed'), errorCode: errorCodes.groupAuthorizationFailed };
  if (version < 8) return { ...look(request.groupId, request.topics), groups: [] };
  return { topics: [], groups: request.groups.map(({ groupId, topics }) => ({ groupId, ...look(groupId, topics) })) };
});

function find(group: Group | undefined, asked: TopicsAsked, rights: Rights): TopicsFound {
  if (asked === null) {
    if (group === undefined) return [];
    return [...group.offsets]
      .filter(([name]) => rights.maySee(name))
      .map(([name, partitions]) => ({
        name,
        partitions: [...partitions].map(([partition, committed]) => describe(partition, committed)),
      }));
  }
  return asked.flatMap(({ name, partitionIndexes }) => {
    if (!rights.maySee(name)) return refuse([{ name, partitionIndexes }], 'topicAuthorizationFailed');
    const partitions = partitionIndexes.map((partition) => describe(partition, group?.offsets.get(name)?.get(partition)));
    return [{ name, partitions }];
  });
}

function refuse(asked: TopicsAsked, error: ErrorName): TopicsFound {
  return (asked ?? []).map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => ({
      partitionIndex,
      committedOffset: -1,
      metadata: '',
      errorCode: errorCodes[error],
    })),
  }));
}

function describe(partitionIndex: number, committed: CommittedOffset | undefined): TopicsFound[number]['partitions'][number] {
  if (committed === undefined) return { partitionIndex, committedOffset: -1, metadata: '', errorCode: 0 };
  const { offset, leaderEpoch, metadata } = committed;
  return { partitionIndex, committedOffset: offset, committedLeaderEpoch: leaderEpoch, metadata, errorCode: 0 };
}
