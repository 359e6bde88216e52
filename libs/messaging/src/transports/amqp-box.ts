/** A look into a queue, one message after the other, on a channel of its own: its end puts back what is out. */
import type { ChannelModel } from 'amqplib';
import type { Clock } from '@dovecote/ground';
import { MessagingError, reasonOf } from '../errors.js';
import type { Box, Incoming, OpenBox } from '../transport.js';
import { AmqpConsumer, incomingOf } from './amqp-subscription.js';
import { boxQueue } from './topology.js';

/** RabbitMQ puts back what was out behind the answer that the channel is closed, and who looks at once would miss it. */
const RETURN_MS_MAX = 1_000;
const RETURN_ASKED_EVERY_MS = 20;

export class AmqpBox implements OpenBox {
  /** Behind the one given last, of those that were there when the first was given. */
  left: number | undefined;
  /** Behind the one given last, whenever they came. */
  #ready = 0;

  private constructor(
    private readonly connection: ChannelModel,
    private readonly consumer: AmqpConsumer,
    private readonly box: Box,
    private readonly clock: Clock,
  ) {}

  static async open(connection: ChannelModel, box: Box, clock: Clock): Promise<AmqpBox> {
    const channel = await connection.createChannel().catch((error: unknown) => Promise.reject(connectionLost(box, error)));
    const consumer = new AmqpConsumer(channel);
    // Without a listener Node would end the process; who asks for the next message is told.
    consumer.channel.on('error', nothing);
    consumer.channel.on('close', () => (consumer.isTakenBack = true));
    return new AmqpBox(connection, consumer, box, clock);
  }

  async next(): Promise<Incoming | undefined> {
    if (this.left === 0) return undefined;
    try {
      const message = await this.consumer.channel.get(boxQueue(this.box, 'event'), { noAck: false });
      this.#ready = message === false ? 0 : message.fields.messageCount;
      if (message === false) this.left = 0;
      else this.left = this.left === undefined ? message.fields.messageCount : this.left - 1;
      return message === false ? undefined : incomingOf(this.consumer, message, false);
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
    if (acknowledgements.outCount > 0) await this.#untilBack(this.#ready + acknowledgements.outCount).catch(nothing);
  }

  /** Not for ever: somebody else may have taken some of them. */
  async #untilBack(count: number): Promise<void> {
    const channel = await this.connection.createChannel();
    channel.on('error', nothing);
    const deadlineMs = this.clock.monotonicMs() + RETURN_MS_MAX;
    while ((await channel.checkQueue(boxQueue(this.box, 'event'))).messageCount < count && this.clock.monotonicMs() < deadlineMs) {
      await new Promise<void>((resolve) => this.clock.after(RETURN_ASKED_EVERY_MS, resolve));
    }
    await channel.close();
  }
}

export function connectionLost({ group, box }: Box, cause?: unknown): MessagingError {
  const sentence = `The connection to the broker was lost before the ${box} of '${group}' was read to its end: what was not taken out is where it was. Look again.`;
  return new MessagingError('broker-unreachable', sentence, { cause });
}

function nothing(): void {}
