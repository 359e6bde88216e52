/**
 * A group's consumer on an AMQP broker: declares the queue and its bindings on every new connection, so that it comes back after a restart of the
 * broker and after somebody deleted the queue. Tenant of the consuming link; keeps nothing across connections.
 */
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import type { Envelope } from '../envelope.js';
import type { Incoming, SubscriptionRequest, TransportSubscription, UnreadableEnvelope } from '../transport.js';
import type { LinkTenant } from './amqp-link.js';
import { fromProperties } from './cloud-events.js';
import { EVENTS_EXCHANGE, queueOf } from './topology.js';

/** A quorum queue of RabbitMQ 4 drops a message after twenty returns unless told otherwise; -1 tells it. Every backoff ends in a return. */
const UNLIMITED_RETURNS = { 'x-delivery-limit': -1 };

export class AmqpSubscription implements LinkTenant, TransportSubscription {
  #channel: AmqpConsumer | undefined;
  #isStopped = false;

  constructor(
    private readonly request: SubscriptionRequest,
    private readonly queueType: 'classic' | 'quorum' | undefined,
    private readonly onMessage: (incoming: Incoming) => void,
    private readonly drop: (connection: ChannelModel, reason: unknown) => void,
  ) {}

  async moveIn(connection: ChannelModel): Promise<void> {
    if (this.#isStopped) return;
    const { group, types, prefetch } = this.request;
    const queue = queueOf(group);
    const channel = await connection.createChannel();
    const consumer = new AmqpConsumer(channel);
    let refusal: Error | undefined;
    channel.on('error', (error) => (refusal = error));
    channel.on('close', () => {
      consumer.isTakenBack = true;
      this.drop(connection, refusal ?? new Error('the broker closed the channel'));
    });
    await channel.assertExchange(EVENTS_EXCHANGE, 'topic', { durable: true });
    await channel.assertQueue(queue, { durable: true, arguments: this.#queueArguments() });
    for (const type of types) await channel.bindQueue(queue, EVENTS_EXCHANGE, type);
    await channel.prefetch(prefetch);
    const onDelivery = (message: ConsumeMessage | null): void => {
      if (message === null)
        this.drop(connection, new Error(`the queue ${queue} was deleted; it is declared again, and what it held is gone`));
      else this.onMessage(new AmqpIncoming(consumer, message));
    };
    const { consumerTag } = await channel.consume(queue, onDelivery);
    consumer.tag = consumerTag;
    this.#channel = consumer;
    if (this.#isStopped) await consumer.cancel();
  }

  lost(): void {
    if (this.#channel !== undefined) this.#channel.isTakenBack = true;
    this.#channel = undefined;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#channel?.cancel();
  }

  #queueArguments(): Record<string, unknown> {
    if (this.queueType === undefined) return {};
    return { 'x-queue-type': this.queueType, ...(this.queueType === 'quorum' ? UNLIMITED_RETURNS : {}) };
  }
}

class AmqpConsumer {
  tag = '';
  isTakenBack = false;

  constructor(readonly channel: Channel) {}

  async cancel(): Promise<void> {
    try {
      await this.channel.cancel(this.tag);
    } catch {
      // The channel ended first, and with it the consumer.
    }
  }
}

class AmqpIncoming implements Incoming {
  readonly envelope: Envelope | UnreadableEnvelope;
  readonly isRedelivered: boolean;
  #isSettled = false;

  constructor(
    private readonly consumer: AmqpConsumer,
    private readonly message: ConsumeMessage,
  ) {
    this.isRedelivered = message.fields.redelivered;
    this.envelope = fromProperties(message.properties, message.fields.routingKey, message.content);
  }

  get isTakenBack(): boolean {
    return this.consumer.isTakenBack;
  }

  acknowledge(): void {
    this.#settle(() => this.consumer.channel.ack(this.message));
  }

  release(): void {
    this.#settle(() => this.consumer.channel.nack(this.message, false, true));
  }

  #settle(tell: () => void): void {
    if (this.#isSettled || this.isTakenBack) return;
    this.#isSettled = true;
    try {
      tell();
    } catch {
      // The channel is ending; the broker hands the message out again.
    }
  }
}
