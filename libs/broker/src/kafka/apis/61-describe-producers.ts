import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { array, int16, int32, int64, list, string } from '../schema.js';

const table = {
  key: 61,
  name: 'DescribeProducers',
  versions: [0, 0],
  flexibleFrom: 0,
  request: { topics: list({ name: string(), partitionIndexes: array(int32()) }) },
  response: {
    throttleTimeMs: int32().or(0),
    topics: list({
      name: string(),
      partitions: list({
        partitionIndex: int32(),
        errorCode: int16(),
        errorMessage: string().nullable().or(null),
        activeProducers: list({
          producerId: int64(),
          producerEpoch: int32(),
          lastSequence: int32().or(-1),
          lastTimestamp: int64().or(-1),
          coordinatorEpoch: int32(),
          currentTxnStartOffset: int64().or(-1),
        }),
      }),
    }),
  },
} as const;

/** 61 DescribeProducers: who wrote to a partition lately, and whether a transaction hangs there. */
export const describeProducers = api(table, (request, { node, rights }) => {
  const topics = request.topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => {
      if (!rights.may('read', name)) return { partitionIndex, errorCode: errorCodes.topicAuthorizationFailed, activeProducers: [] };
      const partition = node.log.topic(name)?.partitions[partitionIndex];
      if (partition === undefined) return { partitionIndex, errorCode: errorCodes.unknownTopicOrPartition, activeProducers: [] };
      const activeProducers = partition.producers().map(({ openTransactionFirstOffset, ...producer }) => ({
        ...producer,
        currentTxnStartOffset: openTransactionFirstOffset,
      }));
      return { partitionIndex, errorCode: 0, activeProducers };
    }),
  }));
  return { topics };
});
