import { api, type Api, type ApiCodec } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { Exchange } from '../exchange.js';
import type { WantedPartition } from '../fetch-sessions.js';
import {
  type FetchPartitionResponse,
  type FetchRequest,
  type FetchTopicResponse,
  readFetchRequest,
  writeFetchResponse,
} from '../fetch-wire.js';
import { array, int16, int32, int64, int8, list, one, records, string, uuid } from '../schema.js';
import { type Asked, type FetchedPartition, WaitingFetch } from '../waiting-fetch.js';

const table = {
  key: 1,
  name: 'Fetch',
  versions: [4, 17],
  flexibleFrom: 12,
  request: {
    clusterId: string().since(12).nullable().or(null).tag(0),
    replicaId: int32().until(14).or(-1),
    replicaState: one({ replicaId: int32().or(-1), replicaEpoch: int64().or(-1) })
      .since(15)
      .tag(1),
    maxWaitMs: int32(),
    minBytes: int32(),
    maxBytes: int32().or(0x7fffffff),
    isolationLevel: int8().or(0),
    sessionId: int32().since(7).or(0),
    sessionEpoch: int32().since(7).or(-1),
    topics: list({
      topic: string().until(12),
      topicId: uuid().since(13),
      partitions: list({
        partition: int32(),
        currentLeaderEpoch: int32().since(9).or(-1),
        fetchOffset: int64(),
        lastFetchedEpoch: int32().since(12).or(-1),
        logStartOffset: int64().since(5).or(-1),
        partitionMaxBytes: int32(),
        replicaDirectoryId: uuid().since(17).tag(0),
      }),
    }),
    forgottenTopicsData: list({ topic: string().until(12), topicId: uuid().since(13), partitions: array(int32()) }).since(7),
    rackId: string().since(11),
  },
  response: {
    throttleTimeMs: int32().or(0),
    errorCode: int16().since(7),
    sessionId: int32().since(7).or(0),
    responses: list({
      topic: string().until(12),
      topicId: uuid().since(13),
      partitions: list({
        partitionIndex: int32(),
        errorCode: int16(),
        highWatermark: int64(),
        lastStableOffset: int64().or(-1),
        logStartOffset: int64().since(5).or(-1),
        divergingEpoch: one({ epoch: int32().or(-1), endOffset: int64().or(-1) })
          .since(12)
          .tag(0),
        currentLeader: one({ leaderId: int32().or(-1), leaderEpoch: int32().or(-1) })
          .since(12)
          .tag(1),
        snapshotId: one({ endOffset: int64().or(-1), epoch: int32().or(-1) })
          .since(12)
          .tag(2),
        abortedTransactions: list({ producerId: int64(), firstOffset: int64() }).nullable(),
        preferredReadReplica: int32().since(11).or(-1),
        records: records().nullable(),
      }),
    }),
    nodeEndpoints: list({ nodeId: int32(), host: string(), port: int32(), rack: string().nullable().or(null) })
      .since(16)
      .tag(0),
  },
} as const;

/**
 * 1 Fetch: whole record batches from an offset on, at once where enough is there, else when it is or when the client's patience ends.
 *
 * Version 18 (KIP-1166) is for followers and not answered. Sessions (KIP-227) are kept per connection.
 */
export const fetchRecords: Api & { readonly codec: ApiCodec<typeof table.request, typeof table.response> } = {
  ...fetchApi(),
  begin(exchange, cursor) {
    const { version } = exchange;
    const request = readFetchRequest(cursor, version);
    const asked = readAsked(request, exchange);
    if (typeof asked === 'string') {
      const refused = { errorCode: errorCodes[asked], sessionId: 0, responses: [] };
      exchange.respond((writer) => writeFetchResponse(writer, refused, version));
      return;
    }
    new WaitingFetch(exchange, asked, (partitions, release) => {
      const response = { errorCode: 0, sessionId: asked.session?.id ?? 0, responses: groupByTopic(partitions) };
      const isPlain = partitions.every(({ response: { divergingEpoch } }) => divergingEpoch === undefined);
      const write = isPlain ? writeFetchResponse : this.codec.writeResponse(version);
      exchange.respond((writer) => write(writer, response, version), release);
    }).start();
  },
};

function fetchApi(): Api & { readonly codec: ApiCodec<typeof table.request, typeof table.response> } {
  return api(table, () => undefined);
}

/** What is asked for after the session has said its part, or what is wrong with the session. */
function readAsked(request: FetchRequest, exchange: Exchange): Asked | ErrorName {
  const { node, version, connection } = exchange;
  const { fetchSessions } = node;
  const { sessionId, sessionEpoch } = request;
  const usesIds = version >= 13;
  const nowMs = node.deadlines.nowMs;
  const fresh = function* (): Generator<WantedPartition> {
    for (const { topic, topicId, partitions } of request.topics)
      for (const partition of partitions) yield { ...partition, topic, topicId: usesIds ? topicId : '', told: undefined };
  };
  const bounds = {
    maxWaitMs: request.maxWaitMs,
    minBytes: request.minBytes,
    maxBytes: Math.min(request.maxBytes, node.limits.fetchBytesMax),
    isolation: request.isolationLevel === 1 ? ('read-committed' as const) : ('read-uncommitted' as const),
    usesIds,
  };
  if (sessionEpoch <= 0) {
    if (sessionId !== 0) fetchSessions.close(sessionId);
    const session = sessionEpoch === 0 ? fetchSessions.open(usesIds, connection, nowMs) : undefined;
    const wanted = [...fresh()];
    for (const partition of wanted) session?.want(partition);
    return { ...bounds, session, isIncremental: false, wanted };
  }
  const session = fetchSessions.use(sessionId, sessionEpoch, usesIds, nowMs);
  if (typeof session === 'string') return session;
  for (const partition of fresh()) session.want(partition);
  for (const { topic, topicId, partitions } of request.forgottenTopicsData)
    for (const partition of partitions) session.forget(topic, usesIds ? topicId : '', partition);
  if (session.wanted.size > node.limits.partitionsMax) return 'invalidRequest';
  return { ...bounds, session, isIncremental: true, wanted: [...session.wanted.values()] };
}

/** Partitions of one topic that follow each other stand together. */
function groupByTopic(partitions: readonly FetchedPartition[]): FetchTopicResponse[] {
  const topics: { topic: string; topicId: string; partitions: FetchPartitionResponse[] }[] = [];
  for (const { wanted, response } of partitions) {
    const { topic, topicId } = wanted;
    const last = topics[topics.length - 1];
    if (last !== undefined && last.topic === topic && last.topicId === topicId) last.partitions.push(response);
    else topics.push({ topic, topicId, partitions: [response] });
  }
  return topics;
}
