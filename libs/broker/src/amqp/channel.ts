import type { Consumer } from '../queues/consumer.js';
import type { Session, SessionSink } from '../queues/session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { Random } from '@dovecote/ground';
import type { DeliveryWriter } from './delivery.js';
import type { Arguments } from './method-codec.js';
import type { MethodName } from './methods.js';
import { Publisher, type PublisherLine } from './publisher.js';
import { AmqpError } from './replies.js';

/** What a channel needs of its connection. */
export interface ChannelLine extends PublisherLine {
  readonly host: VirtualHost;
  readonly random: Random;
  readonly deliveries: DeliveryWriter;
  /** Whether the client asked to be told when a queue goes away under its consumer. */
  readonly isToldOfCancels: boolean;
  send<N extends MethodName>(name: N, values: Arguments<N>, channel: number): void;
  /** The same, once everything that was decided so far is durable, and in the order of the calls. */
  sendAfterCommit<N extends MethodName>(name: N, values: Arguments<N>, channel: number): void;
  /** Closes a channel that did nothing wrong just now. */
  closeChannel(channel: Channel, reason: AmqpError): void;
}

/**
 * One channel of a connection: a session, the publish under way, and what the channel remembers for its client.
 *
 * After a refusal it is `closing`: it has told the client so, its messages are back in their queues, and everything that comes is
 * swallowed until the client agrees. Nothing of it survives the connection.
 */
export class Channel implements SessionSink {
  state: 'open' | 'closing' = 'open';
  readonly session: Session;
  readonly publisher: Publisher;
  /** The queue that an empty name means. */
  lastQueue: string | undefined;
  /** For consumers that begin from now on. */
  prefetch = 0;
  /** A close by the client crossed ours. */
  isClosedByClient = false;
  private confirmedUpTo = 0;

  constructor(
    readonly id: number,
    readonly line: ChannelLine,
    createSession: (sink: SessionSink) => Session,
  ) {
    this.session = createSession(this);
    this.publisher = new Publisher(id, line, line.host, this.session);
  }

  deliver(consumer: Consumer, deliveryTag: number, isRedelivered: boolean, bytes: Buffer, start: number, length: number): void {
    this.line.deliveries.deliver(this.id, consumer.tagBytes, deliveryTag, isRedelivered, bytes, start, length);
  }

  got(deliveryTag: number, isRedelivered: boolean, messageCount: number, bytes: Buffer, start: number, length: number): void {
    this.line.deliveries.got(this.id, deliveryTag, isRedelivered, messageCount, bytes, start, length);
  }

  confirmed(upTo: number): void {
    this.line.deliveries.confirm(this.id, upTo, upTo - this.confirmedUpTo > 1);
    this.confirmedUpTo = upTo;
  }

  rejected(publish: number): void {
    this.line.send('basic.nack', { deliveryTag: publish, multiple: false, requeue: false }, this.id);
    this.confirmedUpTo = publish;
  }

  /** With the commit that takes the queue away: a client may close at once when it hears of it, and forget that it waits for delete-ok. */
  cancelled(consumer: Consumer): void {
    if (this.line.isToldOfCancels) this.line.sendAfterCommit('basic.cancel', { consumerTag: consumer.tag, noWait: true }, this.id);
  }

  timedOut(timeoutMs: number): void {
    const advice = 'This timeout value can be configured, see consumers doc guide to learn more';
    const what = `delivery acknowledgement on channel ${this.id} timed out. Timeout value used: ${timeoutMs} ms. ${advice}`;
    this.line.closeChannel(this, new AmqpError('precondition-failed', what));
  }

  /** Gives back what is unacknowledged, and forgets what was begun. */
  close(): void {
    this.state = 'closing';
    this.publisher.reset();
    this.session.close();
  }
}
