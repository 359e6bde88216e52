/**
 * Where answers come to one process: a queue of its own that outlives a lost connection by a minute, so that an answer that comes meanwhile is there
 * afterwards. Not exclusive: the broker would keep it locked until it has noticed that the old connection is dead.
 */
import type { ChannelModel, ConsumeMessage } from 'amqplib';
import type { Envelope } from '../envelope.js';
import { fromProperties } from './cloud-events.js';

const EXPIRES_MS = 60_000;

export class AmqpReplies {
  constructor(
    readonly queue: string,
    private readonly onReply: (reply: Envelope) => void,
  ) {}

  async consume(connection: ChannelModel): Promise<void> {
    const channel = await connection.createChannel();
    // Whatever ends it ends the connection's other channel too, or the queue expires and the next request says so.
    channel.on('error', nothing);
    await channel.assertQueue(this.queue, { durable: true, arguments: { 'x-queue-type': 'classic', 'x-expires': EXPIRES_MS } });
    const onDelivery = (message: ConsumeMessage | null): void => {
      if (message === null) return;
      const reply = fromProperties(message.properties, message.fields.routingKey, message.content);
      if (!('problem' in reply)) this.onReply(reply);
    };
    await channel.consume(this.queue, onDelivery, { noAck: true });
  }
}

function nothing(): void {}
