import { BatchBuilder } from '../embedded/batch-builder.js';
import type { OutgoingRecord } from '../embedded/broker-log.js';
import { partitionOfKey } from '../embedded/partitioner.js';
import { produce } from '../kafka/apis/00-produce.js';
import { codecOf } from '../log/compression.js';
import { checkAnswer, type KafkaClient, type TopicDescription } from './kafka-client.js';

export interface SendOptions {
  readonly compression?: keyof typeof codecOf;
  /** 0 waits for nothing, 1 for the leader, -1 for all replicas in sync. Default: -1. */
  readonly acks?: 0 | 1 | -1;
  /** Milliseconds since 1970, for records that say no time. */
  readonly nowMs: number;
}

const batchBytesMax = 900_000;

/** Sends records to the leaders of their partitions, in the order in which they come; a key goes where Kafka's own clients would send it. */
export class RecordSender {
  private turn = 0;

  constructor(
    private readonly client: KafkaClient,
    private readonly topic: TopicDescription,
  ) {}

  /** Resolves when all were acknowledged, as `acks` says. Rejects with a KafkaClientError: what came before may be there. */
  async send(records: readonly OutgoingRecord[], options: SendOptions): Promise<void> {
    const count = this.topic.partitions.length;
    const keyless = this.turn++ % count;
    const shares = new Map<number, OutgoingRecord[]>();
    for (const record of records) {
      const { key = null, partition = key === null ? keyless : partitionOfKey(typeof key === 'string' ? Buffer.from(key) : key, count) } =
        record;
      const share = shares.get(partition);
      if (share === undefined) shares.set(partition, [record]);
      else share.push(record);
    }
    await Promise.all([...shares].map(([partition, share]) => this.sendTo(partition, share, options)));
  }

  private async sendTo(partition: number, records: readonly OutgoingRecord[], options: SendOptions): Promise<void> {
    let builder = new BatchBuilder(batchBytesMax, options.nowMs);
    for (const record of records) {
      if (builder.add(record)) continue;
      await this.sendBatch(partition, builder, options);
      builder = new BatchBuilder(batchBytesMax, options.nowMs);
      builder.add(record);
    }
    if (builder.recordCount > 0) await this.sendBatch(partition, builder, options);
  }

  private async sendBatch(index: number, builder: BatchBuilder, { compression = 'uncompressed', acks = -1 }: SendOptions): Promise<void> {
    const { name, id, partitions } = this.topic;
    const leader = partitions.find(({ partition }) => partition === index)?.leader ?? -1;
    const partitionData = [{ index, records: builder.finish(codecOf[compression]) }];
    const request = { transactionalId: null, acks, timeoutMs: 30_000, topicData: [{ name, topicId: id, partitionData }] };
    if (acks === 0) {
      await this.client.tell(leader, produce, request);
      return;
    }
    const { responses } = await this.client.ask(leader, produce, request);
    const { errorCode, errorMessage } = responses[0]!.partitionResponses[0]!;
    checkAnswer(errorCode, `partition ${index} of '${name}'`, errorMessage);
  }
}
