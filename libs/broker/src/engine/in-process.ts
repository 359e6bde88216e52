import type { CommonProperties } from '../queues/common-properties.js';
import type { FieldTable } from '../queues/field-table.js';
import type { MessageProperties, PropertyVisitor } from '../queues/properties.js';

/**
 * The broker from inside the same process: what an AMQP channel offers, without a socket and without frames.
 *
 * The same queues, the same acknowledgements, the same durability. Definitions resolve and publishes are confirmed only when
 * they are as durable as the broker was told to make them.
 */
export interface BrokerSession {
  /** `type` is a built-in one (direct, fanout, topic, headers, x-consistent-hash …) or one of `BrokerOptions.exchangeTypes`. */
  declareExchange(name: string, type: string, options?: ExchangeOptions): Promise<void>;
  /** Refused with `in-use` where it is asked to be unused and has bindings. */
  deleteExchange(name: string, conditions?: { readonly ifUnused?: boolean }): Promise<void>;
  /** What `source` routes by the key goes on to `destination`. */
  bindExchange(destination: string, source: string, routingKey: string, bindingArguments?: FieldTable): Promise<void>;
  unbindExchange(destination: string, source: string, routingKey: string, bindingArguments?: FieldTable): Promise<void>;
  /** An empty name lets the broker choose one. */
  declareQueue(
    name: string,
    options?: QueueOptions,
  ): Promise<{ readonly name: string; readonly messageCount: number; readonly consumerCount: number }>;
  /** Makes nothing: refused with `no-queue` where there is none. */
  checkQueue(name: string): Promise<{ readonly messageCount: number; readonly consumerCount: number }>;
  /** Refused with `in-use` or `not-empty` where a condition is not met. */
  deleteQueue(
    name: string,
    conditions?: { readonly ifUnused?: boolean; readonly ifEmpty?: boolean },
  ): Promise<{ readonly messageCount: number }>;
  purgeQueue(name: string): Promise<{ readonly messageCount: number }>;
  bindQueue(queue: string, exchange: string, routingKey: string, bindingArguments?: FieldTable): Promise<void>;
  unbindQueue(queue: string, exchange: string, routingKey: string, bindingArguments?: FieldTable): Promise<void>;
  /**
   * Resolves once the message is as safe as the broker promises; `unroutable` when no queue wanted it (it is then gone).
   * Rejects with a CodedError: unknown exchange, disk full (retryable), broker closed.
   */
  publish(message: OutgoingMessage): Promise<'confirmed' | 'unroutable'>;
  /** As `publish`, without a promise: `answer` is told once, and never before this returned. What it does must neither throw nor publish. */
  publishTelling(message: OutgoingMessage, answer: PublishAnswer): void;
  /**
   * Publishes and acknowledges as one: after a crash all of it is there or nothing, over any number of queues. Resolves, once it is as
   * safe as the broker promises, to what became of each message.
   *
   * An unknown exchange, and bodies of more than `transactionBytesMax` together, reject before anything is done; the disk is full: the
   * same, and retryable. A queue that is full rejects with `queue-full` after everything else was done.
   */
  transact(work: TransactionWork): Promise<readonly ('confirmed' | 'unroutable')[]>;
  /** `prefetch` is the most deliveries that may be unacknowledged at once; 0 means no limit. If `onDelivery` throws, the message
   * stays unacknowledged and the broker's `log` is told (without one, a warning of the process). */
  consume(queue: string, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void): Promise<BrokerConsumer>;
  /** One message that waits; undefined where none does. It is outstanding until it is settled, unless `autoAck`. */
  get(queue: string, options?: { readonly autoAck?: boolean }): Promise<FetchedDelivery | undefined>;
  /** What was delivered and not acknowledged goes back to its queues. */
  close(): Promise<void>;
}

export interface ExchangeOptions {
  readonly durable?: boolean;
  readonly autoDelete?: boolean;
  readonly internal?: boolean;
  /** For example `alternate-exchange`, which names the exchange that gets what no binding takes. */
  readonly arguments?: FieldTable;
}

export interface QueueOptions {
  readonly durable?: boolean;
  readonly exclusive?: boolean;
  readonly autoDelete?: boolean;
  /** What the queue does with messages that nobody takes, as AMQP clients say it: `{ 'x-message-ttl': 60_000 }`. */
  readonly arguments?: FieldTable;
}

export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Uint8Array;
  readonly properties?: MessageProperties;
  /**
   * What it has in common with others, encoded once (`new CommonProperties({…})`): `properties` are what it has beside them, of headers with other names, and
   * of the rest what stands from `priority` to `timestamp`.
   */
  readonly common?: CommonProperties;
}

/** Told what became of a message: what `publish` resolves to, or rejects with. */
export interface PublishAnswer {
  confirmed(outcome: 'confirmed' | 'unroutable'): void;
  refused(error: unknown): void;
}

export interface TransactionWork {
  readonly publish?: readonly OutgoingMessage[];
  /** Deliveries of this broker, of whatever session. One that was settled before is passed over. */
  readonly acknowledge?: readonly Delivery[];
}

export interface ConsumeOptions {
  readonly prefetch?: number;
  readonly autoAck?: boolean;
  readonly exclusive?: boolean;
  /** One of a higher priority is given messages first; 0 when not given. What `x-priority` is to AMQP clients. */
  readonly priority?: number;
}

export interface Delivery {
  readonly exchange: string;
  readonly routingKey: string;
  readonly isRedelivered: boolean;
  readonly properties: MessageProperties;
  /** Tells of each property and header that the message has, which costs half of what `properties` does. */
  visitProperties(visitor: PropertyVisitor): void;
  readonly body: Buffer;
  /** The handler is done with it. A second call, or one after the session closed, does nothing. */
  acknowledge(): void;
  /** Back to its place in the queue, or dropped. */
  reject(options: { readonly requeue: boolean }): void;
}

export interface FetchedDelivery extends Delivery {
  /** What waits in the queue without it. */
  readonly messageCount: number;
}

export interface BrokerConsumer {
  /** Nothing is delivered after this resolves; what is unacknowledged stays so until it is settled or the session closes. */
  cancel(): Promise<void>;
  /** Called when the queue went away under the consumer. */
  onCancelled: (() => void) | undefined;
}
