import type { Queue } from './queue.js';
import type { Session } from './session.js';

/** One subscription to a queue, within a session. */
export class Consumer {
  /** Deliveries that are neither acknowledged nor rejected. */
  unacknowledgedCount = 0;
  isCancelled = false;
  /** The tag as the wire carries it: one byte of length, then the text. */
  readonly tagBytes: Buffer;

  constructor(
    readonly tag: string,
    readonly queue: Queue,
    readonly session: Session,
    readonly noAck: boolean,
    readonly isExclusive: boolean,
    /** The most deliveries that may be outstanding; 0 for no limit. */
    readonly prefetch: number,
    /** Consumers of a higher one are given everything they can take before those of a lower one get anything. */
    readonly priority: number = 0,
    /** How long a delivery may be unacknowledged, if the consumer says so. */
    readonly timeoutMs?: number,
  ) {
    const text = Buffer.from(tag);
    this.tagBytes = Buffer.concat([Buffer.from([text.length]), text]);
  }

  /** Whether it may be given a message now. */
  get isReady(): boolean {
    const { session } = this;
    if (!session.isWritable) return false;
    // Where the channel has taken all that it may, also those wait that acknowledge nothing, as in RabbitMQ. Quorum queues know no such limit.
    const { sharedPrefetch } = session;
    if (sharedPrefetch !== 0 && session.outstandingCount >= sharedPrefetch && this.queue.quorum === undefined) return false;
    return this.noAck || this.prefetch === 0 || this.unacknowledgedCount < this.prefetch;
  }
}
