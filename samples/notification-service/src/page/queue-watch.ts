/**
 * Looks at the queue of the notification service from outside, as any AMQP client may: a passive declare answers how many messages are ready in it and how
 * many consumers it has. Survives the broker: a look while it is away is no answer, and the next one connects again.
 */
import { connect, type Channel, type ChannelModel } from 'amqplib';
import type { BacklogWatch, QueueDepth } from './losses.js';

/** The messaging library names a queue after the service that reads from it. */
const QUEUE = 'dovecote.notifications';
const ANSWER_MS_MAX = 1_000;

export class QueueWatch implements BacklogWatch {
  private connection: ChannelModel | undefined;
  /** The channel, or the attempt to open one: looks that overlap share it. */
  private channel: Promise<Channel> | undefined;

  constructor(private readonly brokerUrl: string) {}

  async look(): Promise<QueueDepth | undefined> {
    const timeout = new Promise<undefined>((resolve) => {
      setTimeout(() => resolve(undefined), ANSWER_MS_MAX).unref();
    });
    // Broker away, queue not declared yet: both are no answer.
    return Promise.race([this.ask().catch(() => undefined), timeout]);
  }

  close(): void {
    void this.connection?.close().catch(() => undefined);
  }

  private async ask(): Promise<QueueDepth> {
    this.channel ??= this.openChannel();
    const channel = await this.channel.catch((error: unknown) => {
      this.channel = undefined;
      throw error;
    });
    const { messageCount, consumerCount } = await channel.checkQueue(QUEUE);
    return { ready: messageCount, consumers: consumerCount };
  }

  private async openChannel(): Promise<Channel> {
    this.connection ??= await this.openConnection();
    const channel = await this.connection.createChannel();
    // A queue that is not there closes the channel with an error; without a listener that would end this process.
    channel.on('error', () => undefined);
    channel.on('close', () => (this.channel = undefined));
    return channel;
  }

  private async openConnection(): Promise<ChannelModel> {
    const connection = await connect(this.brokerUrl, { timeout: ANSWER_MS_MAX, clientProperties: { connection_name: 'page' } });
    connection.on('error', () => undefined);
    connection.on('close', () => {
      this.connection = undefined;
      this.channel = undefined;
    });
    return connection;
  }
}
