/**
 * Looks at the queue of the notification service from outside, as any AMQP client may: a passive declare answers how many messages are ready in it and how
 * many consumers it has. Survives the broker: a look while it is away is no answer, and the connection comes back by itself.
 */
import { Connection } from 'rabbitmq-client';
import type { QueueDepth } from './losses.js';

/** The messaging library names a queue after the service that reads from it. */
const QUEUE = 'dovecote.notifications';
const ANSWER_MS_MAX = 1_000;

export class QueueWatch {
  private readonly connection: Connection;

  constructor(brokerUrl: string) {
    this.connection = new Connection({
      url: brokerUrl,
      connectionName: 'page',
      retryLow: 100,
      retryHigh: 500,
      acquireTimeout: ANSWER_MS_MAX,
    });
    // That the broker is away is known: looks fail. Without a listener it would end this process.
    this.connection.on('error', () => undefined);
  }

  async look(): Promise<QueueDepth | undefined> {
    if (!this.connection.ready) return undefined;
    const timeout = new Promise<undefined>((resolve) => {
      setTimeout(() => resolve(undefined), ANSWER_MS_MAX).unref();
    });
    const answer = this.connection.queueDeclare({ queue: QUEUE, passive: true }).then(
      ({ messageCount, consumerCount }) => ({ ready: messageCount, consumers: consumerCount }),
      () => undefined,
    );
    return Promise.race([answer, timeout]);
  }

  close(): void {
    this.connection.unsafeDestroy();
  }
}
