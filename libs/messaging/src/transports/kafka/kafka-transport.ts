/**
 * Kafka, or our broker over Kafka's protocol. Where things live there is told in kafka-topics.ts; a service reads as the consumer group of its name.
 *
 * Unconfirmed messages are kept in memory across reconnects and sent again, in order and under the same id, until the cluster confirms them or their
 * deadline is over. What a crash of this process repeats is what was handed out and not committed; the group's offsets are all that is kept of it.
 */
import type { Clock } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import type { Envelope } from '../../envelope.js';
import { MessagingError, reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import type {
  Box,
  OpenBox,
  PlannedThing,
  Route,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportConsumer,
  TransportSubscription,
} from '../../transport.js';
import { type KafkaClient, KafkaFailure, kafkaCodes } from './kafka-client.js';
import { KafkaPublishing, closedError } from './kafka-publishing.js';
import { KafkaSubscription } from './kafka-subscription.js';
import { literalTopics } from './kafka-topics.js';
import { TopicMaker, type TopicSettings } from './topic-maker.js';

export interface KafkaTransportSettings {
  readonly shown: string;
  readonly connectTimeoutMs: number | undefined;
  /** Finds the client library, or says which package to install. */
  loadClient(): Promise<KafkaClient>;
  readonly topics: TopicSettings;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly commitEveryMs: number;
  readonly discoverEveryMs: number;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

export class KafkaTransport implements Transport {
  readonly capabilities: TransportCapabilities = {
    broker: 'Kafka',
    can: {
      'at-least-once': true,
      groups: true,
      durable: true,
      commands: true,
      'order-by-key': true,
      delay: { waysOut: ['publish without a delay'] },
      'dead-letters': true,
      'delivery-counts': true,
      wildcards: true,
      requests: { waysOut: ['send a command instead'] },
      replay: { waysOut: ["read the topic with a consumer group of one's own"] },
    },
  };
  #client: KafkaClient | undefined;
  #topicMaker: TopicMaker | undefined;
  #publishing: KafkaPublishing | undefined;
  #subscription: KafkaSubscription | undefined;
  #isClosed = false;

  constructor(private readonly settings: KafkaTransportSettings) {}

  async open(): Promise<void> {
    const client = await this.settings.loadClient();
    this.#client = client;
    await this.#reach(client);
    const { clock, backoff, log, shown, topics } = this.settings;
    this.#topicMaker = new TopicMaker(client, topics, clock, shown);
    this.#publishing = new KafkaPublishing(client, this.#topicMaker, { clock, backoff, log, shown });
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    if (this.#publishing === undefined || this.#isClosed) return Promise.reject(closedError());
    return this.#publishing.publish(envelope, deadlineMs, route);
  }

  plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    return this.#opened(this.#topicMaker).plan(literalTopics(request), request.group);
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    const client = this.#opened(this.#client);
    const subscription = new KafkaSubscription(client, this.settings, this.#opened(this.#topicMaker), request, consumer);
    this.#subscription = subscription;
    await subscription.start();
    return subscription;
  }

  openReplies(): Promise<string> {
    return Promise.reject(new MessagingError('unsupported', 'Requests over Kafka are not there yet.'));
  }

  openBox(_box: Box): Promise<OpenBox> {
    return Promise.reject(new MessagingError('unsupported', 'Dead letters on Kafka cannot be read yet.'));
  }

  parkingStore(): undefined {
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#subscription?.close();
    this.#publishing?.close();
    await this.#client?.close();
  }

  /** As if the process had ended. For tests. */
  async abandon(): Promise<void> {
    this.#isClosed = true;
    this.#subscription?.abandon();
    this.#publishing?.close();
    await this.#client?.close();
  }

  #opened<Part>(part: Part | undefined): Part {
    if (part === undefined || this.#isClosed) throw closedError();
    return part;
  }

  async #reach(client: KafkaClient): Promise<void> {
    const { clock, backoff, log, shown, connectTimeoutMs } = this.settings;
    const deadlineMs = connectTimeoutMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + connectTimeoutMs;
    for (let failures = 1; ; failures += 1) {
      try {
        await client.connect();
        return;
      } catch (error) {
        if (this.#isClosed) throw new MessagingError('closed', 'The service was shut down before it had reached the broker.');
        if (error instanceof KafkaFailure && error.code === kafkaCodes.saslFailed) {
          throw new MessagingError(
            'broker-refused',
            `The Kafka cluster at ${shown} refused the login (${reasonOf(error)}). Check the user, the password and the mechanism in the broker URL.`,
            { cause: error },
          );
        }
        const leftMs = deadlineMs - clock.monotonicMs();
        if (leftMs <= 0) {
          throw new MessagingError(
            'broker-unreachable',
            `No connection to the Kafka cluster at ${shown} within ${connectTimeoutMs} ms (${reasonOf(error)}). Start it, or correct the URL.`,
            { cause: error },
          );
        }
        const delayMs = Math.ceil(Math.min(leftMs, backoff.delayMs(failures)));
        log.warn(`Cannot reach the Kafka cluster at ${shown} (${reasonOf(error)}). Is it running? Trying again in ${delayMs} ms.`);
        await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      }
    }
  }
}
