/**
 * Kafka, or our broker over Kafka's protocol. Where things live there is told in kafka-topics.ts; a service reads as the consumer group of its name.
 *
 * Unconfirmed messages are kept in memory across reconnects and sent again, in order and under the same id, until the cluster confirms them or their
 * deadline is over. What a crash of this process repeats is what was handed out and not committed; the group's offsets are all that is kept of it.
 */
import type { Clock, Random } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import type { Envelope } from '../../envelope.js';
import { MessagingError, reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import type { ParkingStore } from '../../parking-store.js';
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
import { DelayForwarder, delayTopics } from './delay-tiers.js';
import { openDeadLetters } from './kafka-box.js';
import { type KafkaClient, KafkaFailure, kafkaCodes } from './kafka-client.js';
import { KafkaParking } from './kafka-parking.js';
import { KafkaPublishing, closedError } from './kafka-publishing.js';
import { KafkaSubscription } from './kafka-subscription.js';
import { KafkaReplies } from './kafka-replies.js';
import { boxTopic, boxTopics, kafkaPlaces, literalTopics, parkedTopic, repliesTopic } from './kafka-topics.js';
import { TopicMaker } from './topic-maker.js';
import type { TopicSettings } from './topic-shape.js';

export interface KafkaTransportSettings {
  readonly service: string;
  readonly shown: string;
  readonly connectTimeoutMs: number | undefined;
  /** Finds the client library, or says which package to install. */
  loadClient(): Promise<KafkaClient>;
  readonly topics: TopicSettings;
  readonly lingerMs?: number;
  readonly batchBytesMax?: number;
  /** What is missing stays missing. */
  readonly makesNothing?: boolean;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly commitEveryMs: number;
  readonly discoverEveryMs: number;
  /** How often a member says that it is alive; several times in a session. */
  readonly heartbeatEveryMs: number;
  readonly clock: Clock;
  readonly random: Random;
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
      delay: true,
      'dead-letters': true,
      'delivery-counts': true,
      wildcards: true,
      'exclusive-boxes': true,
      'refused-strays': { waysOut: ['request an answer, which times out'] },
      requests: true,
      replay: { waysOut: ["read the topic with a consumer group of one's own"] },
    },
  };
  readonly places = kafkaPlaces;
  #client: KafkaClient | undefined;
  #topicMaker: TopicMaker | undefined;
  #publishing: KafkaPublishing | undefined;
  #subscription: KafkaSubscription | undefined;
  #forwarder: DelayForwarder | undefined;
  #forwarding: Promise<void> | undefined;
  #replies: KafkaReplies | undefined;
  readonly #parkings = new Map<string, KafkaParking>();
  #isClosed = false;

  constructor(private readonly settings: KafkaTransportSettings) {}

  async open(): Promise<void> {
    const client = await this.settings.loadClient();
    this.#client = client;
    await this.#reach(client);
    const { clock, backoff, log, shown, topics, makesNothing, lingerMs, batchBytesMax } = this.settings;
    this.#topicMaker = new TopicMaker(client, topics, clock, shown, makesNothing);
    this.#publishing = new KafkaPublishing(client, this.#topicMaker, { clock, backoff, log, shown, lingerMs, batchBytesMax });
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    if (this.#publishing === undefined || this.#isClosed) return Promise.reject(closedError());
    if (route?.delayMs !== undefined) this.#forward().catch((error: unknown) => this.#cannotForward(error));
    return this.#publishing.publish(envelope, deadlineMs, route);
  }

  plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    const parked = request.sources.some(({ order }) => order === 'key') ? [parkedTopic(request.group)] : [];
    return this.#opened(this.#topicMaker).plan([...literalTopics(request), ...boxTopics(request.group), ...delayTopics, ...parked]);
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    const client = this.#opened(this.#client);
    const subscription = new KafkaSubscription(client, this.settings, this.#opened(this.#topicMaker), request, consumer);
    this.#subscription = subscription;
    await Promise.all([subscription.start(), this.#forward()]);
    return subscription;
  }

  async openReplies(onReply: (reply: Envelope) => void): Promise<string> {
    const client = this.#opened(this.#client);
    const { service, clock, backoff, log, random } = this.settings;
    const topic = repliesTopic(service);
    await this.#opened(this.#topicMaker).ensure([topic]);
    this.#replies = new KafkaReplies(client, { topic, clock, backoff, log }, (count) => random.below(count), onReply);
    return this.#replies.open();
  }

  async openBox(box: Box): Promise<OpenBox> {
    if (box.box !== 'dead-letters') {
      throw new MessagingError(
        'unsupported',
        `On Kafka only dead letters can be looked through: read the topic ${boxTopic(box)} with a client of Kafka.`,
      );
    }
    const client = this.#opened(this.#client);
    await this.#opened(this.#topicMaker).mustHave(boxTopic(box), `The ${box.box} of '${box.group}' cannot be read`);
    return openDeadLetters(client, this.settings, this.#opened(this.#publishing), boxTopic(box));
  }

  parkingStore(group: string): ParkingStore {
    const [client, topicMaker, publishing] = [this.#opened(this.#client), this.#opened(this.#topicMaker), this.#opened(this.#publishing)];
    let parking = this.#parkings.get(group);
    if (parking === undefined) {
      parking = new KafkaParking(client, topicMaker, publishing, parkedTopic(group), this.settings);
      this.#parkings.set(group, parking);
    }
    return parking;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#replies?.close();
    for (const parking of this.#parkings.values()) parking.close();
    await Promise.all([this.#subscription?.close(), this.#forwarder?.close()]);
    this.#publishing?.close();
    await this.#client?.close();
  }

  /** As if the process had ended. For tests. */
  async abandon(): Promise<void> {
    this.#isClosed = true;
    this.#replies?.close();
    for (const parking of this.#parkings.values()) parking.close();
    this.#subscription?.abandon();
    this.#forwarder?.abandon();
    this.#publishing?.close();
    await this.#client?.close();
  }

  /** Carries on what is delayed, from the first moment at which it may be needed. */
  #forward(): Promise<void> {
    if (this.#forwarding === undefined) {
      const [client, topicMaker, publishing] = [this.#opened(this.#client), this.#opened(this.#topicMaker), this.#opened(this.#publishing)];
      this.#forwarder = new DelayForwarder(client, this.settings, topicMaker, publishing);
      this.#forwarding = this.#forwarder.start();
    }
    return this.#forwarding;
  }

  #cannotForward(error: unknown): void {
    this.#forwarding = undefined;
    if (!this.#isClosed)
      this.settings.log.error(`What is published with a delay waits until a service carries it on: this one cannot (${reasonOf(error)}).`);
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
