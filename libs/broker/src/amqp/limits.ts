import type { Limits } from '../limits.js';

/**
 * The bounds that only the AMQP server knows. Crossing one answers the client with the protocol's own error, named beside it;
 * memory never grows with what a stranger sends. The limits of the whole broker are in ../limits.ts.
 */
export interface AmqpLimits extends Pick<Limits, 'messageBytesMax' | 'connectionsMax' | 'channelsMax' | 'frameBytesMax'> {
  /** Frames before tune-ok, where client-properties and tokens travel. A larger one: 501. */
  readonly handshakeFrameBytesMax: number;
  /** Bodies that one connection has begun and not finished, on all its channels together. More: 506. */
  readonly unfinishedBytesMax: number;
  /** Offered in tune; seconds. */
  readonly heartbeatS: number;
  /** From the connection to connection.open; then the socket is closed. */
  readonly handshakeTimeoutMs: number;
  /** How long a client may read nothing while something waits for it; then the socket is closed, and what it holds goes back to its queues. */
  readonly sendTimeoutMs: number;
  /** How long a close waits for its close-ok. */
  readonly closeTimeoutMs: number;
  /** How long a refused login waits for its answer, where the client did not ask to be told: guessing must be slow. */
  readonly refusedLoginDelayMs: number;
}

/** The least that a frame must be able to hold: the protocol's own figure. */
export const frameBytesMin = 4096;

const amqpLimits = {
  handshakeFrameBytesMax: 8192,
  unfinishedBytesMax: 64 * 1024 * 1024,
  heartbeatS: 60,
  handshakeTimeoutMs: 10_000,
  sendTimeoutMs: 30_000,
  closeTimeoutMs: 3_000,
  refusedLoginDelayMs: 1_000,
};

export function amqpLimitsWith(limits: Limits, own: Partial<typeof amqpLimits> = {}): AmqpLimits {
  return { ...limits, ...amqpLimits, ...own };
}
