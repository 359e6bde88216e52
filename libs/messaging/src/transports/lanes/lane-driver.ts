/** What lanes need of a connection to a broker that speaks AMQP, built in or not. */
import type { Envelope } from '../../envelope.js';
import type { ForeignProperties } from '../outside.js';

export interface LaneDriver {
  /** A consumer on its own, so that its end gives back what it has out and nothing else. One of a higher rank comes first, where the broker can tell. */
  consume(queue: string, options: { readonly prefetch: number; readonly rank?: number }, onDelivery: OnDelivery): Promise<LaneConsumer>;
  /** Hears what is published to a fanout exchange from now on. */
  listen(exchange: string, onHeard: (properties: ForeignProperties) => void): Promise<void>;
  /** Resolves when the broker confirmed it. Rejects where it did not, and where there is no such queue. */
  publish(to: { readonly queue: string } | { readonly exchange: string }, envelope: Envelope): Promise<void>;
  /** What a consumer of it needs is gone, or the broker does not answer: begins anew, on a new connection where it has one. */
  fail(reason: unknown): void;
}

export type OnDelivery = (delivery: QueueDelivery) => void;

export interface QueueDelivery {
  readonly properties: ForeignProperties;
  readonly routingKey: string;
  readonly body: Uint8Array;
  readonly isRedelivered: boolean;
  /** Does nothing when its consumer is closed, or gone with its connection. */
  acknowledge(): void;
}

export interface LaneConsumer {
  /** Nothing is delivered after this; what is out can be acknowledged. */
  cancel(): Promise<void>;
  /** What is out goes back to its place in the queue, all at once. A message given back by itself would go to the end. */
  close(): Promise<void>;
}
