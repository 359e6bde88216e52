/** Lanes on the broker in this process: a session for each consumer, whose end gives back what it has out. */
import type { BrokerConsumer, BrokerSession } from '@dovecote/broker';
import type { ForeignProperties } from '../outside.js';
import type { LaneConsumer, LaneDriver, OnDelivery } from './lane-driver.js';

export class EmbeddedLaneDriver implements LaneDriver {
  readonly #sessions = new Set<BrokerSession>();
  #isFailed = false;

  constructor(
    private readonly openSession: () => BrokerSession,
    readonly publish: LaneDriver['publish'],
    private readonly failed: (reason: unknown) => void,
  ) {}

  async consume(
    queue: string,
    { prefetch, rank = 0 }: { readonly prefetch: number; readonly rank?: number },
    onDelivery: OnDelivery,
  ): Promise<LaneConsumer> {
    const session = this.#open();
    const consumer = await session.consume(queue, { prefetch, priority: rank }, onDelivery);
    consumer.onCancelled = () => this.fail(new Error(`somebody deleted the queue ${queue}`));
    return new EmbeddedLaneConsumer(session, consumer, () => this.#sessions.delete(session));
  }

  async listen(exchange: string, onHeard: (properties: ForeignProperties) => void): Promise<void> {
    const session = this.#open();
    const { name } = await session.declareQueue('', { exclusive: true, autoDelete: true });
    await session.bindQueue(name, exchange, '');
    await session.consume(name, { autoAck: true }, ({ properties }) => onHeard(properties));
  }

  fail(reason: unknown): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    this.failed(reason);
  }

  /** What is out goes back to its queues. */
  async close(): Promise<void> {
    this.#isFailed = true;
    for (const session of this.#sessions) await session.close();
  }

  #open(): BrokerSession {
    const session = this.openSession();
    this.#sessions.add(session);
    return session;
  }
}

class EmbeddedLaneConsumer implements LaneConsumer {
  constructor(
    private readonly session: BrokerSession,
    private readonly consumer: BrokerConsumer,
    private readonly closed: () => void,
  ) {}

  cancel(): Promise<void> {
    return this.consumer.cancel();
  }

  async close(): Promise<void> {
    this.closed();
    await this.session.close();
  }
}
