import type { Topic } from '../../log/log.js';
import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { errorNameOf } from '../refusals.js';
import { int16, int32, int64, list, string } from '../schema.js';

const table = {
  key: 21,
  name: 'DeleteRecords',
  versions: [0, 2],
  flexibleFrom: 2,
  request: { topics: list({ name: string(), partitions: list({ partitionIndex: int32(), offset: int64() }) }), timeoutMs: int32() },
  response: {
    throttleTimeMs: int32().or(0),
    topics: list({ name: string(), partitions: list({ partitionIndex: int32(), lowWatermark: int64(), errorCode: int16() }) }),
  },
} as const;

/** 21 DeleteRecords: everything below an offset goes (-1: everything there is); durable when it is answered. */
export const deleteRecords = api(table, async (request, { node, rights }) => {
  const topics = await Promise.all(
    request.topics.map(async ({ name, partitions }) => {
      const topic = node.log.topic(name);
      const answers = partitions.map(({ partitionIndex, offset }) => trim(topic, partitionIndex, offset, rights.may('configure', name)));
      return { name, partitions: await Promise.all(answers) };
    }),
  );
  return { topics };
});

async function trim(
  topic: Topic | undefined,
  partitionIndex: number,
  offset: number,
  isAllowed: boolean,
): Promise<{ readonly partitionIndex: number; readonly lowWatermark: number; readonly errorCode: number }> {
  const refused = (error: ErrorName): ReturnType<typeof trim> =>
    Promise.resolve({ partitionIndex, lowWatermark: -1, errorCode: errorCodes[error] });
  const partition = topic?.partitions[partitionIndex];
  if (!isAllowed) return refused('topicAuthorizationFailed');
  if (topic === undefined || partition === undefined) return refused('unknownTopicOrPartition');
  if (topic.isInternal) return refused('invalidTopic');
  if (!topic.config.isDeleted) return refused('policyViolation');
  try {
    const start = await partition.deleteRecordsBefore(offset);
    return start === 'offset-out-of-range' ? refused('offsetOutOfRange') : { partitionIndex, lowWatermark: start, errorCode: 0 };
  } catch (error) {
    return refused(errorNameOf(error));
  }
}
