/**
 * The bounds of the broker. Each is tested; crossing one answers the caller. Bytes unless the name says otherwise. Names, routing
 * keys and consumer tags are short strings: their bound is the protocol's 255 bytes.
 */
export interface Limits {
  /** A message body; larger ones are refused. */
  readonly messageBytesMax: number;
  /** Memory for messages that could also be read from the journal: above it the longest backlogs wait on the disk alone. */
  readonly residentBytesMax: number;
  /** Memory for messages in all: above it publishers are held back until consumers have caught up. */
  readonly memoryBytesMax: number;
  /** Appended to the journal and not committed: above it the sockets of publishers are not read for a moment. */
  readonly uncommittedBytesMax: number;
  /** A journal file is closed and the next begun when it is longer. */
  readonly journalFileBytesMax: number;
  readonly connectionsMax: number;
  /** Channels of one connection. */
  readonly channelsMax: number;
  /** The largest AMQP frame, head and end octet included. */
  readonly frameBytesMax: number;
  readonly queuesMax: number;
  readonly usersMax: number;
  readonly virtualHostsMax: number;
  /**
   * Milliseconds that a client may leave a delivery unacknowledged before its channel is closed, where neither the queue nor the consumer
   * has `x-consumer-timeout`; Infinity for ever.
   */
  readonly consumerTimeoutMs: number;
  /** Published in transactions of one connection, or one session in the process, and not committed; more ends the channel. */
  readonly transactionBytesMax: number;
}

export const defaultLimits: Limits = {
  messageBytesMax: 16 * 1024 * 1024,
  residentBytesMax: 64 * 1024 * 1024,
  memoryBytesMax: 1024 * 1024 * 1024,
  uncommittedBytesMax: 32 * 1024 * 1024,
  journalFileBytesMax: 64 * 1024 * 1024,
  connectionsMax: 10_000,
  channelsMax: 2047,
  frameBytesMax: 131_072,
  queuesMax: 100_000,
  usersMax: 10_000,
  virtualHostsMax: 1_000,
  consumerTimeoutMs: 1_800_000,
  transactionBytesMax: 64 * 1024 * 1024,
};
