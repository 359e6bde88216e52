/** A look into a queue, one message after the other, on a channel of its own: its end puts back what is out. */
import type { ChannelModel } from 'amqplib';
import { MessagingError, reasonOf } from '../errors.js';
import type { Box, Incoming, OpenBox } from '../transport.js';
import { AmqpConsumer, AmqpIncoming } from './amqp-subscription.js';
import { boxQueue } from './topology.js';

export class AmqpBox implements OpenBox {
  left: number | undefined;

  private constructor(
    private readonly consumer: AmqpConsumer,
    private readonly box: Box,
  ) {}

  static async open(connection: ChannelModel, box: Box): Promise<AmqpBox> {
    const consumer = new AmqpConsumer(await connection.createChannel());
    // Without a listener Node would end the process; who asks for the next message is told.
    consumer.channel.on('error', nothing);
    consumer.channel.on('close', () => (consumer.isTakenBack = true));
    return new AmqpBox(consumer, box);
  }

  async next(): Promise<Incoming | undefined> {
    try {
      const message = await this.consumer.channel.get(boxQueue(this.box, 'event'), { noAck: false });
      this.left = message === false ? 0 : message.fields.messageCount;
      return message === false ? undefined : new AmqpIncoming(this.consumer, message, false);
    } catch (error) {
      const { group, box } = this.box;
      const reason = reasonOf(error);
      const advice = /NOT[-_]FOUND/.test(reason) ? ' Look at the name: a service has them once it was started on this broker.' : '';
      throw new MessagingError('broker-refused', `The ${box} of '${group}' cannot be read: ${reason}.${advice}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.consumer.acknowledgements.flush();
    // Closed already where the broker refused something.
    await this.consumer.channel.close().catch(nothing);
  }
}

function nothing(): void {}
