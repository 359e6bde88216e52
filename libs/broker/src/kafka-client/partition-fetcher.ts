import { decodeBatches, type LogBatch } from '../embedded/log-batch.js';
import { fetchRecords } from '../kafka/apis/01-fetch.js';
import { checkAnswer, type KafkaClient, type TopicDescription } from './kafka-client.js';

export interface FetchPlace {
  readonly topic: string;
  readonly partition: number;
  /** Where it goes on; moves with what was fetched. */
  offset: number;
}

export interface FetchOptions {
  /** How long the brokers wait for something to come. */
  readonly maxWaitMs: number;
  readonly isReadCommitted: boolean;
}

const bytesMax = 16 * 1024 * 1024;
const partitionBytesMax = 1024 * 1024;

/** Reads partitions from their leaders. Keeps no place but those that it is given. */
export class PartitionFetcher {
  private readonly byName: ReadonlyMap<string, TopicDescription>;
  private readonly byId: ReadonlyMap<string, string>;

  constructor(
    private readonly client: KafkaClient,
    topics: readonly TopicDescription[],
  ) {
    this.byName = new Map(topics.map((topic) => [topic.name, topic]));
    this.byId = new Map(topics.map(({ id, name }) => [id, name]));
  }

  /** What is there, from each place on, when there is something or the wait is over. The places are behind it then. Rejects with a KafkaClientError. */
  async fetch(places: readonly FetchPlace[], options: FetchOptions): Promise<readonly LogBatch[]> {
    const byLeader = new Map<number, FetchPlace[]>();
    for (const place of places) {
      const leader = this.byName.get(place.topic)?.partitions.find(({ partition }) => partition === place.partition)?.leader ?? -1;
      const share = byLeader.get(leader);
      if (share === undefined) byLeader.set(leader, [place]);
      else share.push(place);
    }
    return (await Promise.all([...byLeader].map(([leader, share]) => this.fetchFrom(leader, share, options)))).flat();
  }

  private async fetchFrom(leader: number, places: readonly FetchPlace[], options: FetchOptions): Promise<readonly LogBatch[]> {
    const names = new Set(places.map(({ topic }) => topic));
    const topics = [...names].map((topic) => ({
      topic,
      topicId: this.byName.get(topic)!.id,
      partitions: places
        .filter((place) => place.topic === topic)
        .map(({ partition, offset }) => ({ partition, fetchOffset: offset, partitionMaxBytes: partitionBytesMax })),
    }));
    const { maxWaitMs, isReadCommitted } = options;
    const request = {
      ...{ maxWaitMs, minBytes: 1, maxBytes: bytesMax, isolationLevel: isReadCommitted ? 1 : 0, sessionId: 0, sessionEpoch: -1 },
      ...{ topics, forgottenTopicsData: [], rackId: '' },
    };
    const answer = await this.client.ask(leader, fetchRecords, request);
    checkAnswer(answer.errorCode, 'a fetch');
    const batches: LogBatch[] = [];
    for (const { topic: said, topicId, partitions } of answer.responses) {
      const topic = said === '' ? this.byId.get(topicId)! : said;
      for (const { partitionIndex: partition, errorCode, records, abortedTransactions, highWatermark } of partitions) {
        checkAnswer(errorCode, `partition ${partition} of '${topic}'`);
        const place = places.find((one) => one.topic === topic && one.partition === partition);
        if (place === undefined || records === null || records.length === 0) continue;
        const read = { parts: [records], bytes: records.length, aborted: abortedTransactions ?? [] };
        const decoded = decodeBatches(read, place.offset);
        place.offset = decoded.nextOffset;
        if (decoded.records.length > 0) batches.push({ topic, partition, ...decoded, end: highWatermark });
      }
    }
    return batches;
  }
}
