import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { array, bool, int16, int32, int64, list, string } from '../schema.js';

const table = {
  key: 35,
  name: 'DescribeLogDirs',
  versions: [1, 4],
  flexibleFrom: 2,
  request: { topics: list({ topic: string(), partitions: array(int32()) }).nullable() },
  response: {
    throttleTimeMs: int32().or(0),
    errorCode: int16().since(3),
    results: list({
      errorCode: int16(),
      logDir: string(),
      topics: list({
        name: string(),
        partitions: list({ partitionIndex: int32(), partitionSize: int64(), offsetLag: int64(), isFutureKey: bool() }),
      }),
      totalBytes: int64().since(4).or(-1),
      usableBytes: int64().since(4).or(-1),
    }),
  },
} as const;

/** 35 DescribeLogDirs: how many bytes each partition takes, and what is left on the volume. There is one folder. */
export const describeLogDirs = api(table, async (request, { node, rights }) => {
  if (!rights.isOperator) return { errorCode: errorCodes.clusterAuthorizationFailed, results: [] };
  const { log } = node;
  const asked = request.topics === null ? undefined : new Map(request.topics.map(({ topic, partitions }) => [topic, new Set(partitions)]));
  const topics = [...log.topics]
    .filter(({ name }) => asked === undefined || asked.has(name))
    .map(({ name, partitions }) => ({
      name,
      partitions: partitions
        .filter(({ number }) => asked === undefined || asked.get(name)!.has(number))
        .map(({ number, sizeBytes }) => ({ partitionIndex: number, partitionSize: sizeBytes, offsetLag: 0, isFutureKey: false })),
    }));
  const freeBytes = await log.freeBytes();
  const usableBytes = Number.isFinite(freeBytes) ? freeBytes : -1;
  const usedBytes = [...log.topics].reduce(
    (sum, topic) => sum + topic.partitions.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0),
    0,
  );
  const totalBytes = usableBytes < 0 ? -1 : usableBytes + usedBytes;
  return { errorCode: 0, results: [{ errorCode: 0, logDir: log.directory ?? '/memory', topics, totalBytes, usableBytes }] };
});
