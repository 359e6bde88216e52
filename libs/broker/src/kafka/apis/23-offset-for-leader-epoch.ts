import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { int16, int32, int64, list, string } from '../schema.js';

const table = {
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: [2, 4],
  flexibleFrom: 4,
  request: {
    replicaId: int32().since(3).or(-2),
    topics: list({ topic: string(), partitions: list({ partition: int32(), currentLeaderEpoch: int32().or(-1), leaderEpoch: int32() }) }),
  },
  response: {
    throttleTimeMs: int32().or(0),
    topics: list({
      topic: string(),
      partitions: list({ errorCode: int16(), partition: int32(), leaderEpoch: int32().or(-1), endOffset: int64().or(-1) }),
    }),
  },
} as const;

/** 23 OffsetForLeaderEpoch: where the records of an epoch end, so that a consumer finds out whether a crash took back what it has read. */
export const offsetForLeaderEpoch = api(table, (request, { node, rights }) => {
  const topics = request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
      if (!rights.maySee(topic)) return { partition, errorCode: errorCodes.topicAuthorizationFailed };
      const found = node.log.topic(topic)?.partitions[partition];
      if (found === undefined) return { partition, errorCode: errorCodes.unknownTopicOrPartition };
      if (currentLeaderEpoch >= 0 && currentLeaderEpoch !== found.leaderEpoch) {
        const error = currentLeaderEpoch < found.leaderEpoch ? 'fencedLeaderEpoch' : 'unknownLeaderEpoch';
        return { partition, errorCode: errorCodes[error] };
      }
      const { epoch, endOffset } = found.endOfEpoch(leaderEpoch);
      return { partition, errorCode: 0, leaderEpoch: epoch, endOffset };
    }),
  }));
  return { topics };
});
