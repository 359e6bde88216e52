/**
 * The broker in this process: no socket, no frames, the same queues. What survives a crash is what the broker was opened with (a folder, and how
 * durable); the transport itself keeps nothing. Called by `Messaging` alone, through the port.
 */
import type { BrokerConsumer, BrokerSession, Delivery } from '@dovecote/broker';
import type { Envelope } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type {
  Incoming,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportSubscription,
  UnreadableEnvelope,
} from '../transport.js';
import { fromProperties, toProperties } from './cloud-events.js';
import { EVENTS_EXCHANGE, queueOf } from './topology.js';

/** What the transport needs of a `Broker`. */
export interface EmbeddedBroker {
  readonly durability: 'memory' | 'os' | 'fsync';
  /** Resolves when the broker is closed, to the error if it ended by itself. */
  readonly ended: Promise<Error | undefined>;
  session(): BrokerSession;
  close(): Promise<void>;
}

/** Where the broker comes from: opened with the transport and closed with it, or somebody else's. */
export interface BrokerSource {
  open(): Promise<EmbeddedBroker>;
  readonly isOurs: boolean;
  readonly isDurable: boolean;
}

export class EmbeddedTransport implements Transport {
  readonly capabilities: TransportCapabilities;
  #broker: EmbeddedBroker | undefined;
  #session: BrokerSession | undefined;
  #consumption: EmbeddedSubscription | undefined;
  #isClosed = false;

  constructor(
    private readonly source: BrokerSource,
    private readonly log: Log,
  ) {
    this.capabilities = { isAtLeastOnce: true, sharesWork: true, isDurable: source.isDurable };
  }

  async open(): Promise<void> {
    try {
      this.#broker = await this.source.open();
      this.#session = this.#broker.session();
      await this.#session.declareExchange(EVENTS_EXCHANGE, 'topic', { durable: true });
      void this.#broker.ended.then((error) => this.#ended(error));
    } catch (error) {
      await this.close();
      if (error instanceof MessagingError) throw error;
      throw new MessagingError('broker-unusable', `The embedded broker did not start: ${reasonOf(error)}.`, { cause: error });
    }
  }

  publish(envelope: Envelope): Promise<void> {
    if (this.#session === undefined) return Promise.reject(closedError());
    return this.#session
      .publish({ exchange: EVENTS_EXCHANGE, routingKey: envelope.type, body: envelope.body, properties: toProperties(envelope) })
      .then(nothing, refusedBecause);
  }

  async subscribe(request: SubscriptionRequest, onMessage: (incoming: Incoming) => void): Promise<TransportSubscription> {
    if (this.#session === undefined) throw closedError();
    this.#consumption = new EmbeddedSubscription(this.#session, request, onMessage, this.log);
    try {
      await this.#consumption.start();
    } catch (error) {
      throw new MessagingError('broker-refused', `The embedded broker refused the queue of '${request.group}': ${reasonOf(error)}.`, {
        cause: error,
      });
    }
    return this.#consumption;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const [session, broker] = [this.#session, this.#broker];
    this.#session = undefined;
    this.#consumption?.takeBack();
    await session?.close();
    if (this.source.isOurs) await broker?.close();
  }

  /** A broker whose disk failed ends: what it would say after that could not be trusted. */
  #ended(error: Error | undefined): void {
    this.#consumption?.takeBack();
    if (this.#isClosed || error === undefined) return;
    this.log.error(
      `The embedded broker has ended, so this service neither publishes nor receives any more: ${reasonOf(error)}. Start it again.`,
    );
  }
}

class EmbeddedSubscription implements TransportSubscription {
  #consumer: BrokerConsumer | undefined;
  #isStopped = false;
  isTakenBack = false;

  constructor(
    private readonly session: BrokerSession,
    private readonly request: SubscriptionRequest,
    private readonly onMessage: (incoming: Incoming) => void,
    private readonly log: Log,
  ) {}

  async start(): Promise<void> {
    const queue = queueOf(this.request.group);
    await this.session.declareQueue(queue, { durable: true });
    for (const type of this.request.types) await this.session.bindQueue(queue, EVENTS_EXCHANGE, type);
    const consumer = await this.session.consume(queue, { prefetch: this.request.prefetch }, (delivery) => {
      this.onMessage(new EmbeddedIncoming(delivery, this));
    });
    this.#consumer = consumer;
    consumer.onCancelled = () => this.#restart(queue);
    if (this.#isStopped) await consumer.cancel();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#consumer?.cancel();
  }

  takeBack(): void {
    this.isTakenBack = true;
  }

  /** Somebody deleted the queue under us: what was in it is gone, and what comes must not be. */
  #restart(queue: string): void {
    if (this.#isStopped || this.isTakenBack) return;
    this.log.error(`Somebody deleted the queue ${queue} while this service was reading it. It is declared again; what it held is gone.`);
    this.start().catch((error: unknown) => {
      this.log.error(
        `The queue ${queue} could not be declared again, so this service receives nothing: ${reasonOf(error)}. Start it again.`,
      );
    });
  }
}

class EmbeddedIncoming implements Incoming {
  readonly envelope: Envelope | UnreadableEnvelope;

  constructor(
    private readonly delivery: Delivery,
    private readonly subscription: EmbeddedSubscription,
  ) {
    this.envelope = fromProperties(delivery.properties, delivery.routingKey, delivery.body);
  }

  get isRedelivered(): boolean {
    return this.delivery.isRedelivered;
  }

  get isTakenBack(): boolean {
    return this.subscription.isTakenBack;
  }

  acknowledge(): void {
    this.delivery.acknowledge();
  }

  release(): void {
    this.delivery.reject({ requeue: true });
  }
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The embedded broker is closed: the service has shut down, or was never started.');
}

function refusedBecause(error: unknown): never {
  // The broker's own errors say whether the same call may succeed later.
  const retryable = error instanceof Error && 'retryable' in error && error.retryable === true;
  throw new MessagingError('publish-refused', `The embedded broker did not take the event: ${reasonOf(error)}.`, {
    cause: error,
    retryable,
  });
}

function nothing(): void {}
