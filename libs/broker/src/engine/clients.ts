import type { FieldTable } from '../queues/field-table.js';
import type { Session } from '../queues/session.js';

/**
 * Who is connected, as a protocol server tells it: the management API shows it, and ends a connection through it. Made anew at each question, and
 * true only at that moment. Nothing of it is kept.
 */
export interface ClientConnection {
  /** As RabbitMQ names connections: `127.0.0.1:40000 -> 127.0.0.1:5672`. */
  readonly name: string;
  /** `blocked` while it is held back because memory or disk are used up. */
  readonly state: 'starting' | 'running' | 'blocked' | 'closing';
  readonly user: string;
  /** Undefined before one was opened. */
  readonly virtualHost: string | undefined;
  readonly protocol: string;
  /** Of its login. */
  readonly mechanism: string;
  readonly clientProperties: FieldTable;
  /** Milliseconds since 1970. */
  readonly connectedAt: number;
  readonly isTls: boolean;
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
  readonly frameBytesMax: number;
  readonly channelsMax: number;
  readonly heartbeatS: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly channels: readonly ClientChannel[];
  /** The client is told the reason; what it has not acknowledged goes back to its queues. */
  close(reason: string): void;
}

export interface ClientChannel {
  readonly number: number;
  /** What it does, and its consumers. */
  readonly session: Session;
  /** For consumers that begin from now on; 0 for no limit. */
  readonly prefetch: number;
}
