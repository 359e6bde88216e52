import type { Limits } from '../limits.js';

/**
 * The bounds that only the Kafka server knows. Crossing one answers the client as Kafka would, or closes the connection where
 * Kafka does; memory never grows with what a stranger sends. The limits of the whole broker are in ../limits.ts.
 */
export interface KafkaLimits extends Pick<Limits, 'connectionsMax' | 'uncommittedBytesMax'> {
  /** A produce request; a larger one closes the connection (Kafka's socket.request.max.bytes). */
  readonly requestBytesMax: number;
  /** Every other request: its parts become objects, so that it may not be as large. A larger one closes the connection. */
  readonly controlRequestBytesMax: number;
  /** Any request before the client is known, where it must log in. */
  readonly strangerRequestBytesMax: number;
  /** Produce requests of one connection that wait for their commit; the socket is not read above it. */
  readonly pipelinedRequestsMax: number;
  readonly pipelinedBytesMax: number;
  /** Answers that a client does not read: above this its socket is not read either. */
  readonly unsentBytesMax: number;
  /** Records in one answer to a fetch, whatever the client asks for (Kafka's fetch.max.bytes). */
  readonly fetchBytesMax: number;
  /** Records in all answers that are not sent yet; above it answers become small. */
  readonly unsentFetchesBytesMax: number;
  /** Partitions remembered for incremental fetches; the session used longest ago goes first (max.incremental.fetch.session.cache.slots). */
  readonly fetchSessionsMax: number;
  /** A connection on which nothing came for this long is closed (connections.max.idle.ms). */
  readonly idleTimeoutMs: number;
  /** A request that has begun to come must be whole within this time. */
  readonly slowRequestTimeoutMs: number;
  /** A client whose system takes nothing of what waits for it for so long is given up. */
  readonly sendTimeoutMs: number;
  /** From the connection to the login, where one is asked for. */
  readonly loginTimeoutMs: number;
  readonly refusedLoginDelayMs: number;
  readonly groupsMax: number;
  readonly groupMembersMax: number;
  /** group.min.session.timeout.ms and group.max.session.timeout.ms: another session timeout is refused. */
  readonly sessionTimeoutMsMin: number;
  readonly sessionTimeoutMsMax: number;
  readonly offsetMetadataBytesMax: number;
  readonly partitionsMax: number;
}

const kafkaLimits = {
  requestBytesMax: 104_857_600,
  controlRequestBytesMax: 16 * 1024 * 1024,
  strangerRequestBytesMax: 524_288,
  pipelinedRequestsMax: 256,
  pipelinedBytesMax: 16 * 1024 * 1024,
  unsentBytesMax: 1024 * 1024,
  fetchBytesMax: 57_671_680,
  unsentFetchesBytesMax: 128 * 1024 * 1024,
  fetchSessionsMax: 1000,
  idleTimeoutMs: 600_000,
  slowRequestTimeoutMs: 60_000,
  sendTimeoutMs: 60_000,
  loginTimeoutMs: 30_000,
  refusedLoginDelayMs: 100,
  groupsMax: 10_000,
  groupMembersMax: 10_000,
  sessionTimeoutMsMin: 6000,
  sessionTimeoutMsMax: 1_800_000,
  offsetMetadataBytesMax: 4096,
  partitionsMax: 10_000,
};

export function kafkaLimitsWith(limits: Limits, own: Partial<typeof kafkaLimits> = {}): KafkaLimits {
  return { ...limits, ...kafkaLimits, ...own };
}
