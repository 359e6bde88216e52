import type { Broker } from '../broker.js';
import type { BrokerConsumer, Delivery, OutgoingMessage } from '../engine/in-process.js';
import type { MessageProperties } from '../queues/properties.js';

/**
 * Somebody who publishes and consumes in a simulated world: from within the broker's process, or over a socket (amqp-client.ts).
 * Every promise here is the broker's own: it settles when the broker answers, and never where the broker is gone.
 */
export interface Client {
  /** A durable queue, bound to a durable direct exchange by its own name. */
  declareQueue(queue: string, exchange: string): Promise<void>;
  deleteQueue(queue: string): Promise<void>;
  purgeQueue(queue: string): Promise<void>;
  /** Resolves when the message is confirmed. */
  publish(message: Publication): Promise<void>;
  /** Publishes and acknowledges as one; resolves when that is committed. Only in the process. */
  transact?(messages: readonly Publication[], acknowledge: readonly Received[]): Promise<void>;
  consume(
    queue: string,
    options: { readonly prefetch: number; readonly autoAck: boolean },
    take: (delivery: Received) => void,
  ): Promise<void>;
  cancelAll(): void;
  /** Goes away without a word. */
  leave(): void;
}

export interface Publication {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  readonly isPersistent: boolean;
  /** 0 for none. */
  readonly delayMs: number;
}

/** The properties of a publication. */
export function propertiesOf({ isPersistent, delayMs }: Publication): MessageProperties {
  return { deliveryMode: isPersistent ? 2 : 1, ...(delayMs === 0 ? {} : { headers: { 'x-delay': delayMs } }) };
}

export interface Received {
  /** What the broker calls it, for `transact`. */
  readonly delivery?: Delivery;
  readonly body: Buffer;
  readonly isRedelivered: boolean;
  acknowledge(): void;
  reject(options: { readonly requeue: boolean }): void;
}

export function inProcessClient(broker: Broker): Client {
  const session = broker.session();
  const consumers: BrokerConsumer[] = [];
  return {
    declareQueue: async (queue, exchange) => {
      await session.declareQueue(queue, { durable: true });
      await session.declareExchange(exchange, 'direct', { durable: true });
      await session.bindQueue(queue, exchange, queue);
    },
    deleteQueue: async (queue) => void (await session.deleteQueue(queue)),
    purgeQueue: async (queue) => void (await session.purgeQueue(queue)),
    publish: async (publication) => {
      const { exchange, routingKey, body } = publication;
      await session.publish({ exchange, routingKey, body, properties: propertiesOf(publication) });
    },
    transact: async (messages, acknowledge) => {
      const publish = messages.map((publication): OutgoingMessage => {
        const { exchange, routingKey, body } = publication;
        return { exchange, routingKey, body, properties: propertiesOf(publication) };
      });
      await session.transact({ publish, acknowledge: acknowledge.map(({ delivery }) => delivery!) });
    },
    consume: async (queue, options, take) => {
      const received = (delivery: Delivery): Received => ({
        delivery,
        body: delivery.body,
        isRedelivered: delivery.isRedelivered,
        acknowledge: () => delivery.acknowledge(),
        reject: (how) => delivery.reject(how),
      });
      consumers.push(await session.consume(queue, options, (delivery) => take(received(delivery))));
    },
    cancelAll: () => {
      for (const consumer of consumers.splice(0)) void consumer.cancel();
    },
    leave: () => void session.close(),
  };
}
