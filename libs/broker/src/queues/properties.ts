import type { FieldTable } from './field-table.js';

/** The properties that travel with a message, as AMQP 0-9-1 names them. All optional. */
export interface MessageProperties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly headers?: FieldTable;
  /** 2 is kept on disk in durable queues, 1 (or absent) is not. */
  readonly deliveryMode?: 1 | 2;
  readonly priority?: number;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** Milliseconds, as a decimal string: that is how it travels. */
  readonly expiration?: string;
  readonly messageId?: string;
  /** Seconds since 1970-01-01 UTC. */
  readonly timestamp?: number;
  readonly type?: string;
  readonly userId?: string;
  readonly appId?: string;
  readonly clusterId?: string;
}
