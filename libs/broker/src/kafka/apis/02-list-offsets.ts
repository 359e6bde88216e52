import type { Isolation, Partition } from '../../log/log.js';
import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { int16, int32, int64, int8, list, type Read, string, type Write } from '../schema.js';

const table = {
  key: 2,
  name: 'ListOffsets',
  versions: [1, 10],
  flexibleFrom: 6,
  request: {
    replicaId: int32(),
    isolationLevel: int8().since(2),
    topics: list({
      name: string(),
      partitions: list({ partitionIndex: int32(), currentLeaderEpoch: int32().since(4).or(-1), timestamp: int64() }),
    }),
    timeoutMs: int32().since(10),
  },
  response: {
    throttleTimeMs: int32().since(2).or(0),
    topics: list({
      name: string(),
      partitions: list({
        partitionIndex: int32(),
        errorCode: int16(),
        timestamp: int64().or(-1),
        offset: int64().or(-1),
        leaderEpoch: int32().since(4).or(-1),
      }),
    }),
  },
} as const;

type PartitionAsked = Read<typeof table.request>['topics'][number]['partitions'][number];
type PartitionResponse = Write<typeof table.response>['topics'][number]['partitions'][number];

const asksFor = { latest: -1, earliest: -2, maxTimestamp: -3, earliestLocal: -4, latestTiered: -5 } as const;
/** The version from which on each of them means what it says. */
const knownSince: Readonly<Record<number, number>> = { [-1]: 1, [-2]: 1, [-3]: 7, [-4]: 8, [-5]: 9 };

/**
 * 2 ListOffsets: where a partition begins and ends, and where a moment lies in it.
 *
 * There is no tiered storage: -4 is the beginning, -5 is nowhere. Version 11 (KIP-1023) is not answered.
 */
export const listOffsets = api(table, async (request, { node, rights, version }) => {
  const isolation = request.isolationLevel === 1 ? 'read-committed' : 'read-uncommitted';
  const topics = await Promise.all(
    request.topics.map(async ({ name, partitions }) => {
      const topic = node.log.topic(name);
      const isHidden = !rights.maySee(name);
      const numbers = partitions.map(({ partitionIndex }) => partitionIndex);
      const isOnce = (partitionIndex: number): boolean => numbers.indexOf(partitionIndex) === numbers.lastIndexOf(partitionIndex);
      const looks = partitions
        .filter(({ partitionIndex }, i) => numbers.indexOf(partitionIndex) === i)
        .map(async (asked) => {
          const { partitionIndex } = asked;
          if (!isHidden && !isOnce(partitionIndex)) return { partitionIndex, errorCode: errorCodes.invalidRequest };
          return look(isHidden ? 'hidden' : topic?.partitions[partitionIndex], asked, isolation, version);
        });
      return { name, partitions: await Promise.all(looks) };
    }),
  );
  return { topics };
});

async function look(
  partition: Partition | 'hidden' | undefined,
  asked: PartitionAsked,
  isolation: Isolation,
  version: number,
): Promise<PartitionResponse> {
  const { partitionIndex, timestamp, currentLeaderEpoch } = asked;
  if (partition === 'hidden') return { partitionIndex, errorCode: errorCodes.topicAuthorizationFailed };
  if (partition === undefined) return { partitionIndex, errorCode: errorCodes.unknownTopicOrPartition };
  if (currentLeaderEpoch >= 0 && currentLeaderEpoch !== partition.leaderEpoch) {
    const error = currentLeaderEpoch < partition.leaderEpoch ? 'fencedLeaderEpoch' : 'unknownLeaderEpoch';
    return { partitionIndex, errorCode: errorCodes[error] };
  }
  if (timestamp < 0 && version < (knownSince[timestamp] ?? Infinity)) return { partitionIndex, errorCode: errorCodes.unsupportedVersion };
  const found = await find(partition, timestamp, isolation);
  return { partitionIndex, errorCode: 0, ...found };
}

async function find(
  partition: Partition,
  timestamp: number,
  isolation: Isolation,
): Promise<{ readonly offset: number; readonly timestamp: number; readonly leaderEpoch: number } | undefined> {
  switch (timestamp) {
    case asksFor.latest: {
      const offset = isolation === 'read-committed' ? partition.lastStableOffset : partition.highWatermark;
      return { offset, timestamp: -1, leaderEpoch: partition.leaderEpoch };
    }
    case asksFor.earliest:
    case asksFor.earliestLocal: {
      const offset = partition.logStartOffset;
      return { offset, timestamp: -1, leaderEpoch: partition.epochOf(offset) };
    }
    case asksFor.maxTimestamp:
      return partition.maxTimestamp();
    case asksFor.latestTiered:
      return undefined;
    default:
      return timestamp < 0 ? undefined : partition.offsetForTimestamp(timestamp, isolation);
  }
}
