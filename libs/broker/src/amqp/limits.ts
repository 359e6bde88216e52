/**
 * Every bound of the AMQP server, in one place. Crossing one answers the client with the protocol's own error, named beside it;
 * memory never grows with what a stranger sends.
 */
export interface AmqpLimits {
  /** The whole frame, offered in tune. A larger one: 501. At least 4096. */
  readonly frameBytesMax: number;
  /** Frames before tune-ok, where client-properties and tokens travel. A larger one: 501. */
  readonly handshakeFrameBytesMax: number;
  /** Open channels of one connection, offered in tune. One more: 530. */
  readonly channelsMax: number;
  /** Connections at a time. One more is closed before it is greeted. */
  readonly connectionsMax: number;
  /** Bytes of one message's body. A larger one: 406, and the body is thrown away as it comes. */
  readonly messageBytesMax: number;
  /** Bodies that one connection has begun and not finished, on all its channels together. More: 506. */
  readonly unfinishedBytesMax: number;
  /** Offered in tune; seconds. */
  readonly heartbeatS: number;
  /** From the first byte to connection.open; then the socket is closed. */
  readonly handshakeTimeoutMs: number;
  /** How long a close waits for its close-ok, and a closed connection for the other side to hang up. */
  readonly closeTimeoutMs: number;
}

export const defaultAmqpLimits: AmqpLimits = {
  frameBytesMax: 131_072,
  handshakeFrameBytesMax: 65_536,
  channelsMax: 2_047,
  connectionsMax: 20_000,
  messageBytesMax: 16 * 1024 * 1024,
  unfinishedBytesMax: 64 * 1024 * 1024,
  heartbeatS: 60,
  handshakeTimeoutMs: 10_000,
  closeTimeoutMs: 3_000,
};
