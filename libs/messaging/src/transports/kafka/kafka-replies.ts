/**
 * Where answers come to an instance of a service: one partition of `dovecote.<service>.replies`, read from its end without a group. Instances may share one,
 * so that each sees answers for others too, which whoever waits does not know. Keeps nothing: an answer that comes while nobody reads is gone.
 */
import type { Clock } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import type { Envelope } from '../../envelope.js';
import { reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import { type KafkaClient, KafkaFailure, type KafkaFetcher, kafkaCodes } from './kafka-client.js';
import { fromRecord } from './kafka-events.js';

export interface KafkaRepliesSettings {
  readonly topic: string;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

const FETCH_WAIT_MS = 500;
const NEXT = -1;
/** Tries at a topic that settles; the pauses between them grow. */
const OPENINGS_MAX = 8;

export class KafkaReplies {
  readonly #fetcher: KafkaFetcher;
  #isClosed = false;

  constructor(
    private readonly client: Pick<KafkaClient, 'topics' | 'offsets' | 'fetcher'>,
    private readonly settings: KafkaRepliesSettings,
    /** Of all partitions there are, counted from 0. */
    private readonly choose: (count: number) => number,
    private readonly onReply: (reply: Envelope) => void,
  ) {
    this.#fetcher = client.fetcher();
  }

  /** Resolves to the address when answers to it are seen. */
  async open(): Promise<string> {
    const { topic } = this.settings;
    for (let failures = 1; ; failures += 1) {
      try {
        const shape = (await this.client.topics([topic])).get(topic);
        const partition = this.choose(shape?.partitions.length ?? 1);
        const offset = (await this.client.offsets(topic, [partition], NEXT)).get(partition) ?? 0;
        void this.#read(partition, offset);
        return `${topic}/${partition}`;
      } catch (error) {
        if (this.#isClosed || failures === OPENINGS_MAX || !isSettling(error)) throw error;
        await this.#pause(this.settings.backoff.delayMs(failures));
      }
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  async #read(partition: number, from: number): Promise<void> {
    const { topic, backoff, log } = this.settings;
    let offset = from;
    for (let failures = 0; !this.#isClosed;) {
      try {
        const shape = (await this.client.topics([topic])).get(topic);
        while (!this.#isClosed) {
          const positions = [{ topic, partition, topicId: shape?.id ?? '', offset }];
          const [part] = await this.#fetcher.fetch(shape?.partitions[partition]?.leader ?? -1, positions, FETCH_WAIT_MS);
          if (part === undefined || part.code !== 0) throw new Error(`Kafka answered with ${part?.code}`);
          failures = 0;
          offset = part.nextOffset;
          for (const record of part.records) {
            const envelope = fromRecord(topic, partition, record);
            if (!('problem' in envelope) && !this.#isClosed) this.onReply(envelope);
          }
        }
      } catch (error) {
        if (this.#isClosed) return;
        failures += 1;
        const delayMs = backoff.delayMs(failures);
        log.warn(
          `Answers cannot be read from ${topic} (${reasonOf(error)}). Trying again in ${delayMs} ms; those that come by then are read.`,
        );
        await this.#pause(delayMs);
      }
    }
  }

  async #pause(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => this.settings.clock.after(delayMs, resolve));
  }
}

/** A topic that was made a moment ago: not every node knows yet who leads its partitions. */
function isSettling(error: unknown): boolean {
  const { unknownTopicOrPartition, leaderNotAvailable, notLeader } = kafkaCodes;
  const settling: readonly (number | undefined)[] = [unknownTopicOrPartition, leaderNotAvailable, notLeader];
  return error instanceof KafkaFailure && settling.includes(error.code);
}
