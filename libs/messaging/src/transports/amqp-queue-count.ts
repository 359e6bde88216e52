/** How many messages a queue of an AMQP broker has that nobody has out. A refusal ends its channel, so each question has one of its own. */
import type { ChannelModel } from 'amqplib';
import { reasonOf } from '../errors.js';

/** Nothing where there is no such queue. */
export async function messagesIn(connection: ChannelModel, queue: string): Promise<number | undefined> {
  const channel = await connection.createChannel();
  // The answer comes with the promise.
  channel.on('error', nothing);
  try {
    const { messageCount } = await channel.checkQueue(queue);
    await channel.close();
    return messageCount;
  } catch (error) {
    if (/NOT[-_]FOUND/.test(reasonOf(error))) return undefined;
    throw error;
  }
}

function nothing(): void {}
