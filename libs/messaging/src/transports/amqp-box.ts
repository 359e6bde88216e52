/** A look into a queue, one message after the other, on a channel of its own: its end puts back what is out. */
import type { ChannelModel } from 'amqplib';
import { MessagingError, reasonOf } from '../errors.js';
import type { Box, Incoming, OpenBox } from '../transport.js';
import { AmqpConsumer, AmqpIncoming } from './amqp-subscription.js';
import { boxQueue } from './topology.js';

export class AmqpBox implements OpenBox {
  /** Behind the one given last, of those that were there when the first was given. */
  left: number | undefined;

  private constructor(
    private readonly consumer: AmqpConsumer,
    private readonly box: Box,
  ) {}

  static async open(connection: ChannelModel, box: Box): Promise<AmqpBox> {
    const channel = await connection.createChannel().catch((error: unknown) => Promise.reject(connectionLost(box, error)));
    const consumer = new AmqpConsumer(channel);
    // Without a listener Node would end the process; who asks for the next message is told.
    consumer.channel.on('error', nothing);
    consumer.channel.on('close', () => (consumer.isTakenBack = true));
    return new AmqpBox(consumer, box);
  }

  async next(): Promise<Incoming | undefined> {
    if (this.left === 0) return undefined;
    try {
      const message = await this.consumer.channel.get(boxQueue(this.box, 'event'), { noAck: false });
      if (message === false) this.left = 0;
      else this.left = this.left === undefined ? message.fields.messageCount : this.left - 1;
      return message === false ? undefined : new AmqpIncoming(this.consumer, message, false);
    } catch (error) {
      const { group, box } = this.box;
      const reason = reasonOf(error);
      // What the broker refuses it says; all else is the end of the connection.
      if (!(error instanceof Error && 'code' in error)) throw connectionLost(this.box, error);
      const advice = /NOT[-_]FOUND/.test(reason) ? ' Look at the name: a service has them once it was started on this broker.' : '';
      throw new MessagingError('broker-refused', `The ${box} of '${group}' cannot be read: ${reason}.${advice}`, { cause: error });
    }
  }

  /** Where the connection ends meanwhile, the client says so with the event alone. Closed already where the broker refused something. */
  async close(): Promise<void> {
    const { channel, acknowledgements } = this.consumer;
    acknowledgements.flush();
    const isClosed = new Promise<void>((resolve) => channel.once('close', resolve));
    await Promise.race([isClosed, channel.close().catch(nothing)]);
  }
}

export function connectionLost({ group, box }: Box, cause?: unknown): MessagingError {
  const sentence = `The connection to the broker was lost before the ${box} of '${group}' was read to its end: what was not taken out is where it was. Look again.`;
  return new MessagingError('broker-unreachable', sentence, { cause });
}

function nothing(): void {}
