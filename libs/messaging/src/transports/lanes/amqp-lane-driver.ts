/** Lanes over one connection to an AMQP broker: a channel for each consumer, whose end gives back what it has out. */
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import type { ForeignProperties } from '../outside.js';
import type { LaneConsumer, LaneDriver, OnDelivery, QueueDelivery } from './lane-driver.js';

export class AmqpLaneDriver implements LaneDriver {
  constructor(
    private readonly connection: ChannelModel,
    /** On the connection that publishes: the broker may stop reading from one that does, and must see what is acknowledged here. */
    readonly publish: LaneDriver['publish'],
    private readonly drop: (connection: ChannelModel, reason: unknown) => void,
  ) {}

  async consume(
    queue: string,
    { prefetch, rank }: { readonly prefetch: number; readonly rank?: number },
    onDelivery: OnDelivery,
  ): Promise<LaneConsumer> {
    const channel = await this.connection.createChannel();
    const consumer = new AmqpLaneConsumer(channel, (reason) => this.fail(reason));
    await channel.prefetch(prefetch);
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message !== null) onDelivery(new ChannelDelivery(channel, message));
      else this.fail(new Error(`the queue ${queue} was deleted; it is declared again, and what it held is gone`));
    };
    consumer.tag = (await channel.consume(queue, onMessage, rank === undefined ? {} : { priority: rank })).consumerTag;
    return consumer;
  }

  async listen(exchange: string, onHeard: (properties: ForeignProperties) => void): Promise<void> {
    const channel = await this.connection.createChannel();
    channel.on('error', nothing);
    channel.on('close', () => this.fail(new Error('the broker closed the channel')));
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true });
    await channel.bindQueue(queue, exchange, '');
    await channel.consume(queue, (message) => message && onHeard(message.properties), { noAck: true });
  }

  fail(reason: unknown): void {
    this.drop(this.connection, reason);
  }
}

class AmqpLaneConsumer implements LaneConsumer {
  tag = '';
  #isOver = false;

  constructor(
    private readonly channel: Channel,
    fail: (reason: unknown) => void,
  ) {
    let refusal: Error | undefined;
    channel.on('error', (error) => (refusal = error));
    channel.on('close', () => {
      if (!this.#isOver) fail(refusal ?? new Error('the broker closed the channel'));
    });
  }

  async cancel(): Promise<void> {
    try {
      await this.channel.cancel(this.tag);
    } catch {
      // The channel ended first, and with it the consumer.
    }
  }

  /** Where the connection ends meanwhile, the client says so with the event alone. */
  close(): Promise<void> {
    this.#isOver = true;
    return new Promise((resolve) => {
      this.channel.once('close', resolve);
      try {
        this.channel.close().then(resolve, () => resolve());
      } catch {
        // Closed already.
        resolve();
      }
    });
  }
}

class ChannelDelivery implements QueueDelivery {
  constructor(
    private readonly channel: Channel,
    private readonly message: ConsumeMessage,
  ) {}

  get properties(): ForeignProperties {
    return this.message.properties;
  }

  get routingKey(): string {
    return this.message.fields.routingKey;
  }

  get body(): Uint8Array {
    return this.message.content;
  }

  get isRedelivered(): boolean {
    return this.message.fields.redelivered;
  }

  acknowledge(): void {
    try {
      this.channel.ack(this.message);
    } catch {
      // The channel is ending; the broker hands the message out again.
    }
  }
}

function nothing(): void {}
