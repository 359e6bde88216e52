import type { CodedError } from '../../errors.js';
import type { CommitWaiter, RefusalReason, Topic } from '../../log/log.js';
import { api, type Api, type ApiCodec } from '../api.js';
import { MalformedError } from '../cursor.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import type { Exchange } from '../exchange.js';
import {
  type ProducedPartition,
  type ProducedTopic,
  type ProducePartitionResponse,
  type ProduceRequest,
  type ProduceTopicResponse,
  readProduceRequest,
  writeProduceResponse,
} from '../produce-wire.js';
import { int16, int32, int64, list, one, records, string, uuid } from '../schema.js';

const table = {
  key: 0,
  name: 'Produce',
  versions: [3, 13],
  flexibleFrom: 9,
  request: {
    transactionalId: string().nullable().or(null),
    acks: int16(),
    timeoutMs: int32(),
    topicData: list({
      name: string().until(12),
      topicId: uuid().since(13),
      partitionData: list({ index: int32(), records: records().nullable() }),
    }),
  },
  response: {
    responses: list({
      name: string().until(12),
      topicId: uuid().since(13),
      partitionResponses: list({
        index: int32(),
        errorCode: int16(),
        baseOffset: int64(),
        logAppendTimeMs: int64().or(-1),
        logStartOffset: int64().since(5).or(-1),
        recordErrors: list({ batchIndex: int32(), batchIndexErrorMessage: string().nullable().or(null) }).since(8),
        errorMessage: string().since(8).nullable().or(null),
        currentLeader: one({ leaderId: int32().or(-1), leaderEpoch: int32().or(-1) })
          .since(10)
          .tag(0),
      }),
    }),
    throttleTimeMs: int32().or(0),
    nodeEndpoints: list({ nodeId: int32(), host: string(), port: int32(), rack: string().nullable().or(null) })
      .since(10)
      .tag(0),
  },
} as const;

const batchHeadBytes = 61;
const noRecordErrors: ProducePartitionResponse['recordErrors'] = [];

const errorByReason = {
  'corrupt-message': 'corruptMessage',
  'message-too-large': 'messageTooLarge',
  'batch-larger-than-segment': 'recordListTooLarge',
  'invalid-record': 'invalidRecord',
  'invalid-timestamp': 'invalidTimestamp',
  'unsupported-compression': 'unsupportedCompressionType',
  'stale-producer-epoch': 'invalidProducerEpoch',
  'out-of-order-sequence': 'outOfOrderSequenceNumber',
  'invalid-transaction-state': 'invalidTxnState',
  'stale-coordinator': 'transactionCoordinatorFenced',
  storage: 'kafkaStorageError',
  removed: 'unknownTopicOrPartition',
} as const satisfies Record<RefusalReason, ErrorName>;

/**
 * 0 Produce: appends one batch to each partition named, and answers when all of them are as durable as the broker promises.
 *
 * Versions 0 to 2 are listed and refused: old clients look for version 0 to see whether they may compress, and none of them sends it.
 * With acks 0 there is no answer; what was refused then ends the connection, which is all a client can be told.
 */
export const produce: Api & { readonly codec: ApiCodec<typeof table.request, typeof table.response> } = {
  ...api(table, () => undefined, { listedMinVersion: 0 }),
  begin(exchange, cursor) {
    const { node, version } = exchange;
    const request = readProduceRequest(cursor, version, exchange.connection.texts);
    const waiting = new WaitingProduce(exchange, request);
    if (request.acks === 0) waiting.pass();
    else if (!waiting.isAnyAppended) waiting.committed(undefined);
    else node.log.afterCommit(waiting);
  },
};

/** A request whose records are in the log and may not be durable yet: an object and neither promise nor closure, because every batch has one. */
class WaitingProduce implements CommitWaiter {
  isAnyAppended = false;
  isAnyRefused = false;
  private readonly responses: readonly ProduceTopicResponse[];

  constructor(
    private readonly exchange: Exchange,
    request: ProduceRequest,
  ) {
    const { topicData } = request;
    // As they are read: lists of one are made without room to grow in.
    const responses = topicData.length === 0 ? [] : [this.appendTo(topicData[0]!, request)];
    while (responses.length < topicData.length) responses.push(this.appendTo(topicData[responses.length]!, request));
    this.responses = responses;
  }

  private appendTo({ name, topicId, partitionData }: ProducedTopic, request: ProduceRequest): ProduceTopicResponse {
    const { log } = this.exchange.node;
    const topic = this.exchange.version >= 13 ? log.topicById(topicId) : log.topic(name);
    const partitionResponses = partitionData.length === 0 ? [] : [this.append(topic, name, partitionData[0]!, request)];
    while (partitionResponses.length < partitionData.length)
      partitionResponses.push(this.append(topic, name, partitionData[partitionResponses.length]!, request));
    return { name, topicId, partitionResponses };
  }

  private append(
    topic: Topic | undefined,
    name: string,
    { index, records }: ProducedPartition,
    { acks, transactionalId }: ProduceRequest,
  ): ProducePartitionResponse {
    const response = append(topic, index, records, acks, transactionalId, this.exchange, name);
    if (response.errorCode === 0) this.isAnyAppended = true;
    else this.isAnyRefused = true;
    return response;
  }

  committed(error: CodedError | undefined): void {
    const { exchange } = this;
    const writer = exchange.beginAnswer();
    if (writer === undefined) return;
    writeProduceResponse(writer, error === undefined ? this.responses : this.responses.map(failed), exchange.version);
    exchange.endAnswer();
  }

  /** The client wants no answer. */
  pass(): void {
    this.exchange.pass();
    if (this.isAnyRefused) throw new MalformedError('sent records with acks 0 that were refused: closed, since there is no other answer');
  }
}

/** What was appended and could not be made durable: the broker is about to end. */
function failed(response: ProduceTopicResponse): ProduceTopicResponse {
  const partitionResponses = response.partitionResponses.map((partition) =>
    partition.errorCode === 0 ? refused(partition.index, 'kafkaStorageError', 'The disk failed: the broker ends') : partition,
  );
  return { ...response, partitionResponses };
}

function append(
  topic: Topic | undefined,
  index: number,
  records: Buffer | null,
  acks: number,
  transactionalId: string | null,
  { version, clientId, rights }: Exchange,
  name: string,
): ProducePartitionResponse {
  const partition = topic?.partitions[index];
  if (acks < -1 || acks > 1) return refused(index, 'invalidRequiredAcks', `acks is -1, 0 or 1, not ${acks}`);
  if (topic === undefined && version >= 13) return refused(index, 'unknownTopicId', null);
  if (!rights.may('write', topic?.name ?? name)) return refused(index, 'topicAuthorizationFailed', null);
  if (topic === undefined || partition === undefined) return refused(index, 'unknownTopicOrPartition', null);
  if (topic.isInternal && clientId !== '__admin_client') {
    return refused(index, 'invalidTopic', `The topic ${topic.name} belongs to the broker: nobody else writes to it`);
  }
  if (transactionalId !== null) {
    return refused(index, 'transactionalIdAuthorizationFailed', 'Transactions are not built yet: produce without a transactional id');
  }
  if (records === null || records.length < batchHeadBytes || records.readInt32BE(8) !== records.length - 12) {
    return refused(index, 'invalidRecord', 'A produce request carries exactly one whole record batch for each partition');
  }
  if (records[16] !== 2)
    return refused(index, 'invalidRecord', `Record batches of version ${records[16]} are not taken: only version 2 is`);
  if ((records[22]! & 0x10) !== 0) {
    return refused(index, 'transactionalIdAuthorizationFailed', 'The batch belongs to a transaction, and the request to none');
  }
  const { logStartOffset } = partition;
  const outcome = partition.append(records, { mayBeZstd: version >= 7 });
  if (!outcome.isAppended) {
    const recordErrors = (outcome.records ?? []).map(({ index: batchIndex, message }) => ({ batchIndex, batchIndexErrorMessage: message }));
    const { reason, message } = outcome;
    return { ...refused(index, errorByReason[reason], message), recordErrors, ...(isJudged(reason) ? { logStartOffset } : {}) };
  }
  const { baseOffset, logAppendTimeMs } = outcome;
  return { index, errorCode: 0, baseOffset, logAppendTimeMs, logStartOffset, recordErrors: noRecordErrors, errorMessage: null };
}

/** As in Kafka, only what the log refused for what is in it comes with where the log begins. */
function isJudged(reason: RefusalReason): boolean {
  return !['corrupt-message', 'message-too-large', 'batch-larger-than-segment', 'unsupported-compression', 'storage', 'removed'].includes(
    reason,
  );
}

function refused(index: number, error: ErrorName, errorMessage: string | null): ProducePartitionResponse {
  const errorCode = errorCodes[error];
  return { index, errorCode, baseOffset: -1, logAppendTimeMs: -1, logStartOffset: -1, recordErrors: noRecordErrors, errorMessage };
}
