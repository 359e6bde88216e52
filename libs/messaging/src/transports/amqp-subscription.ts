/**
 * A group's consumers on an AMQP broker: one on each of its inboxes, one on its quarantine that takes one message at a time, and its lanes. Declares its queues and
 * their bindings on every new connection, so that it comes back after a restart of the broker and after somebody deleted a queue. Tenant of the
 * consuming link; keeps nothing across connections.
 */
import type { Channel, ChannelModel, ConsumeMessage, GetMessage } from 'amqplib';
import type { Envelope } from '../envelope.js';
import type { Incoming, SubscriptionRequest, TransportConsumer, TransportSubscription, UnreadableEnvelope } from '../transport.js';
import { Acknowledgements } from './amqp-acknowledgements.js';
import type { LinkTenant } from './amqp-link.js';
import { messagesIn } from './amqp-queue-count.js';
import { type Receiving, receivingOn } from './amqp-receiving.js';
import { deliveriesOf, fromProperties } from './cloud-events.js';
import { AmqpLaneDriver } from './lanes/amqp-lane-driver.js';
import { hasLanes } from './lanes/lane-topology.js';
import { type LaneSettings, Lanes } from './lanes/lanes.js';
import { countLanes, leftLanesSentence } from './lanes/left-lanes.js';
import { formerInboxes, formerInboxSentence, inboxesOf } from './subscription-topology.js';
import { type Declared, quarantineOf } from './topology.js';

export class AmqpSubscription implements LinkTenant, TransportSubscription {
  #consumer: AmqpConsumer | undefined;
  #lanes: Lanes | undefined;
  #isStopped = false;

  constructor(
    private readonly request: SubscriptionRequest,
    /** Declared on every connection. */
    private readonly things: readonly Declared[],
    private readonly laneSettings: LaneSettings,
    private readonly consumer: TransportConsumer,
    private readonly drop: (connection: ChannelModel, reason: unknown) => void,
  ) {}

  async moveIn(connection: ChannelModel): Promise<void> {
    if (this.#isStopped) return;
    const channel = await connection.createChannel();
    const consumer = new AmqpConsumer(channel, receivingOn(connection));
    let refusal: Error | undefined;
    channel.on('error', (error) => (refusal = error));
    channel.on('close', () => {
      consumer.isTakenBack = true;
      this.drop(connection, refusal ?? new Error('the broker closed the channel'));
    });
    for (const declared of this.things) await declare(channel, declared);
    // What is asked for holds for the consumers that come after it.
    for (const { queue, prefetch } of inboxesOf(this.request)) {
      await channel.prefetch(prefetch);
      await this.#consume(connection, consumer, queue, false);
    }
    await channel.prefetch(1);
    await this.#consume(connection, consumer, quarantineOf(this.request.group), true);
    await this.#consumeFormer(connection, consumer);
    this.#consumer = consumer;
    await this.#openLanes(connection);
    if (this.#isStopped) await this.stop();
  }

  lost(): void {
    if (this.#consumer !== undefined) this.#consumer.isTakenBack = true;
    this.#consumer = undefined;
    this.#lanes?.lost();
    this.#lanes = undefined;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([this.#consumer?.cancel(), this.#lanes?.stop()]);
  }

  async #openLanes(connection: ChannelModel): Promise<void> {
    const { count: wanted, publish, ...shared } = this.laneSettings;
    const { request, consumer } = this;
    const count = hasLanes(request) ? wanted : await countLanes(request.group, (queue) => messagesIn(connection, queue));
    if (count === 0) return;
    if (!hasLanes(request)) shared.log.info(leftLanesSentence(request.group, count));
    const driver = new AmqpLaneDriver(connection, publish, this.drop);
    this.#lanes = new Lanes({ ...shared, group: request.group, prefetch: request.prefetch, driver, consumer }, count);
    await this.#lanes.open();
  }

  async #consumeFormer(connection: ChannelModel, consumer: AmqpConsumer): Promise<void> {
    for (const { queue, prefetch } of await formerInboxes(this.request, (name) => messagesIn(connection, name))) {
      this.laneSettings.log.info(formerInboxSentence(queue));
      await consumer.channel.prefetch(prefetch);
      const { consumerTag } = await consumer.channel.consume(queue, (message) => {
        // Nothing comes any more where it was deleted.
        if (message !== null) this.consumer.onMessage(incomingOf(consumer, message, false));
      });
      consumer.tags.push(consumerTag);
    }
  }

  async #consume(connection: ChannelModel, consumer: AmqpConsumer, queue: string, isQuarantine: boolean): Promise<void> {
    const onDelivery = (message: ConsumeMessage | null): void => {
      if (message === null)
        this.drop(connection, new Error(`the queue ${queue} was deleted; it is declared again, and what it held is gone`));
      else this.consumer.onMessage(incomingOf(consumer, message, isQuarantine));
    };
    const { channel, receiving, tags } = consumer;
    const { consumerTag } = await channel.consume(queue, onDelivery);
    tags.push(consumerTag);
    receiving?.consume(channel, consumerTag, (envelope, tag) => {
      // While the connection says goodbye nothing is begun any more.
      if (!consumer.isTakenBack) this.consumer.onMessage(new AmqpIncoming(consumer, tag, isQuarantine, envelope, false, 1));
    });
  }
}

export async function declare(channel: Channel, declared: Declared): Promise<void> {
  if (declared.thing === 'exchange') {
    await channel.assertExchange(declared.name, declared.type, { durable: true, arguments: declared.arguments });
  } else if (declared.thing === 'queue') await channel.assertQueue(declared.name, { durable: true, arguments: declared.arguments });
  else if (declared.thing === 'link') await channel.bindExchange(declared.to, declared.from, declared.routingKey);
  else if (declared.thing === 'no-link') await channel.unbindExchange(declared.to, declared.from, declared.routingKey);
  else if (declared.thing === 'no-binding') await channel.unbindQueue(declared.queue, declared.exchange, declared.routingKey);
  else await channel.bindQueue(declared.queue, declared.exchange, declared.routingKey, declared.arguments);
}

export class AmqpConsumer {
  readonly tags: string[] = [];
  readonly acknowledgements: Acknowledgements;
  isTakenBack = false;

  constructor(
    readonly channel: Channel,
    readonly receiving?: Receiving,
  ) {
    this.acknowledgements = new Acknowledgements(receiving?.settling(channel) ?? channel);
  }

  async cancel(): Promise<void> {
    try {
      for (const tag of this.tags) await this.channel.cancel(tag);
    } catch {
      // The channel ended first, and with it the consumers.
    }
  }
}

export function incomingOf(consumer: AmqpConsumer, message: ConsumeMessage | GetMessage, isQuarantined: boolean): AmqpIncoming {
  const { fields, properties, content } = message;
  const deliveries = deliveriesOf(properties, fields.redelivered);
  const envelope = fromProperties(properties, fields.routingKey, content);
  return new AmqpIncoming(consumer, fields.deliveryTag, isQuarantined, envelope, fields.redelivered, deliveries);
}

class AmqpIncoming implements Incoming {
  readonly lane = undefined;
  #isSettled = false;

  constructor(
    private readonly consumer: AmqpConsumer,
    private readonly tag: number,
    readonly isQuarantined: boolean,
    readonly envelope: Envelope | UnreadableEnvelope,
    readonly isRedelivered: boolean,
    readonly deliveries: number,
  ) {
    consumer.acknowledgements.delivered(tag);
  }

  get isTakenBack(): boolean {
    return this.consumer.isTakenBack;
  }

  acknowledge(): void {
    if (this.#isSettled || this.isTakenBack) return;
    this.#isSettled = true;
    this.consumer.acknowledgements.acknowledge(this.tag);
  }

  release(): void {
    if (this.#isSettled || this.isTakenBack) return;
    this.#isSettled = true;
    this.consumer.acknowledgements.release(this.tag);
  }
}
