import { crc32c } from '@dovecote/ground';
import { codecNames, codecOf, compress, decompress, UnreadablePayload } from './compression.js';
import type { AppendOptions, AppendRefusal } from './log.js';
import { refusal } from './producer-state.js';
import { type BatchHead, batchHeadBytes, codecMask, logAppendTimeBit, writeInt64 } from './record-batch.js';
import { BrokenRecord, headFields, RecordCursor, sealRecords } from './records.js';
import type { TopicConfig } from './topic-config.js';

/**
 * Whether a batch that a client sent may be appended, in the order in which Kafka asks. The head and the sum are looked at always, the records only where the
 * topic demands it: keys for compaction, a limit on old timestamps, another compression. Pure; the partition calls it.
 */
export function checkBatch(
  batch: Buffer,
  head: BatchHead,
  config: TopicConfig,
  nowMs: number,
  options: AppendOptions,
): Buffer | AppendRefusal {
  if (batch.length < batchHeadBytes)
    return refusal('corrupt-message', `A record batch has at least ${batchHeadBytes} bytes, these are ${batch.length}`);
  head.read(batch, 0);
  if (head.magic !== 2) return refusal('invalid-record', `Record batches of version ${head.magic} are not taken: only version 2 is`);
  if (head.bytes < batch.length && head.bytes >= batchHeadBytes) {
    return refusal(
      'invalid-record',
      'A produce request has exactly one record batch for a partition: send the others in requests of their own',
    );
  }
  if (head.bytes !== batch.length) return refusal('corrupt-message', `The batch says it has ${head.bytes} bytes, it has ${batch.length}`);
  if (head.codec === codecOf.zstd && options.mayBeZstd === false)
    return refusal('unsupported-compression', 'zstd takes version 7 or later of the produce request');
  if (head.baseOffset !== 0)
    return refusal('invalid-record', `The base offset of a batch is given by the broker: send 0 instead of ${head.baseOffset}`);
  if (batch.length > config.messageBytesMax) {
    return refusal(
      'message-too-large',
      `The batch has ${batch.length} bytes, max.message.bytes of the topic allows ${config.messageBytesMax}`,
    );
  }
  if (crc32c(batch, 0, 21) !== head.sum)
    return refusal('corrupt-message', 'The sum of the batch does not fit to its bytes: it was damaged on its way');
  return (
    checkHead(head) ??
    checkWhoseTime(head, config) ??
    (needsRecords(head, config, nowMs) ? lookInto(batch, head, config, nowMs) : stamp(batch, head, config, nowMs))
  );
}

function checkHead(head: BatchHead): AppendRefusal | undefined {
  if (head.lastOffsetDelta < 0 || head.count <= 0 || head.count !== head.lastOffsetDelta + 1) {
    return refusal(
      'invalid-record',
      `The batch says it has ${head.count} records and a last offset delta of ${head.lastOffsetDelta}: one of them is wrong`,
    );
  }
  if (head.isControl) return refusal('invalid-record', 'Clients may not write control batches');
  if (head.producerId >= 0 && (head.baseSequence < 0 || head.producerEpoch < 0))
    return refusal('invalid-record', 'A batch with a producer id has an epoch and a sequence, this one lacks one of them');
  if (head.producerId < 0 && head.isTransactional)
    return refusal('invalid-record', 'A batch of a transaction has a producer id, this one has none');
  if (head.codec > codecOf.zstd) return refusal('unsupported-compression', `Compression ${head.codec} is not known`);
  return undefined;
}

function checkWhoseTime(head: BatchHead, config: TopicConfig): AppendRefusal | undefined {
  if (config.hasLogAppendTime || !head.hasLogAppendTime) return undefined;
  return refusal('invalid-timestamp', 'The batch says that the broker gave its time, and the topic keeps the time of the producer');
}

function isTooLate(timestamp: number, nowMs: number, config: TopicConfig): boolean {
  return !config.hasLogAppendTime && timestamp - nowMs > config.timestampAfterMaxMs;
}

function tooLate(timestamp: number, nowMs: number, config: TopicConfig): string {
  return `Timestamp ${timestamp} lies ${timestamp - nowMs} ms in the future, message.timestamp.after.max.ms allows ${config.timestampAfterMaxMs}: look at the producer's clock`;
}

function tooEarly(timestamp: number, nowMs: number, config: TopicConfig): string {
  return `Timestamp ${timestamp} lies ${nowMs - timestamp} ms in the past, message.timestamp.before.max.ms allows ${config.timestampBeforeMaxMs}`;
}

function needsRecords(head: BatchHead, config: TopicConfig, nowMs: number): boolean {
  if (isTooLate(head.maxTimestamp, nowMs, config)) return true;
  if (config.isCompacted) return true;
  if (config.compressionType !== 'producer' && config.compressionType !== codecNames[head.codec]) return true;
  return config.timestampBeforeMaxMs !== Infinity && !config.hasLogAppendTime;
}

function lookInto(batch: Buffer, head: BatchHead, config: TopicConfig, nowMs: number): Buffer | AppendRefusal {
  let payload: Buffer;
  try {
    payload = decompress(head.codec, batch.subarray(batchHeadBytes));
    const refused = checkRecords(payload, head, config, nowMs);
    if (refused !== undefined) return refused;
    if (isTooLate(head.maxTimestamp, nowMs, config)) return refusal('invalid-timestamp', tooLate(head.maxTimestamp, nowMs, config));
  } catch (error) {
    if (error instanceof BrokenRecord) return refusal('invalid-record', `The batch holds ${error.message}`);
    if (error instanceof UnreadablePayload)
      return refusal(error.isUnsupported ? 'unsupported-compression' : 'invalid-record', error.message);
    throw error;
  }
  const { compressionType } = config;
  if (compressionType === 'producer' || compressionType === codecNames[head.codec]) return stamp(batch, head, config, nowMs);
  const codec = codecOf[compressionType];
  const level = compressionType === 'gzip' ? config.gzipLevel : compressionType === 'zstd' ? config.zstdLevel : config.lz4Level;
  const again = sealRecords(compress(codec, payload, level), { ...headFields(head), attributes: (head.attributes & ~codecMask) | codec });
  head.read(again, 0);
  return stamp(again, head, config, nowMs);
}

function checkRecords(payload: Buffer, head: BatchHead, config: TopicConfig, nowMs: number): AppendRefusal | undefined {
  const cursor = new RecordCursor(payload, 0, payload.length);
  const faults: { readonly index: number; readonly message: string }[] = [];
  let reason: 'invalid-record' | 'invalid-timestamp' = 'invalid-record';
  const keepsTime = !config.hasLogAppendTime;
  let count = 0;
  for (; cursor.next(); count++) {
    const timestamp = head.baseTimestamp + cursor.timestampDelta;
    if (cursor.offsetDelta !== count) throw new BrokenRecord(`offset delta ${cursor.offsetDelta} where ${count} was to come`);
    if (config.isCompacted && !cursor.hasKey) {
      faults.push({ index: count, message: 'A compacted topic keeps the last record of each key: this one has no key' });
    } else if (keepsTime && timestamp !== -1 && nowMs - timestamp > config.timestampBeforeMaxMs) {
      reason = 'invalid-timestamp';
      faults.push({ index: count, message: tooEarly(timestamp, nowMs, config) });
    } else if (isTooLate(timestamp, nowMs, config)) {
      reason = 'invalid-timestamp';
      faults.push({ index: count, message: tooLate(timestamp, nowMs, config) });
    }
  }
  if (count !== head.count) throw new BrokenRecord(`${count} records and says ${head.count}`);
  return faults.length === 0 ? undefined : { ...refusal(reason, faults[0]!.message), records: faults };
}

/** Where the broker gives the time, it does so in place; the sum is made anew. */
function stamp(batch: Buffer, head: BatchHead, config: TopicConfig, nowMs: number): Buffer {
  if (!config.hasLogAppendTime) return batch;
  head.attributes |= logAppendTimeBit;
  head.maxTimestamp = nowMs;
  batch.writeUInt16BE(head.attributes, 21);
  writeInt64(batch, nowMs, 35);
  head.sum = crc32c(batch, 0, 21);
  batch.writeUInt32BE(head.sum, 17);
  return batch;
}
