import type { Ground, TlsIdentity } from '@dovecote/ground';
import type { Limits } from '../limits.js';
import type { ConfiguredUser } from './access-control.js';
import type { PermissionRecord, VirtualHostSettings } from './access-records.js';
import type { ExchangeType } from '../queues/exchange-type.js';

/**
 * What a confirmed message survives.
 *
 *   memory   nothing: it is gone with the process
 *   os       the end of the process, however it ends; not the loss of power
 *   fsync    also the loss of power
 */
export type Durability = 'memory' | 'os' | 'fsync';

export interface BrokerOptions {
  /** The folder that keeps everything; made if it is not there. Needed unless the durability is `memory`. */
  readonly data?: string;
  /** Default: `fsync` with a data folder, `memory` without one. */
  readonly durability?: Durability;
  /** Listens for AMQP 0-9-1 clients, at one address or several. Default: no socket. */
  readonly amqp?: AmqpListener | readonly AmqpListener[];
  /**
   * Answers the management API (HTTP); port 0 takes a free one, the host is 127.0.0.1 unless another is given. Default: no socket. A port
   * that `mayBeTaken` and is, is said in the log, and the broker goes on without the API.
   */
  readonly management?: { readonly port: number; readonly host?: string; readonly mayBeTaken?: boolean };
  /**
   * Who may log in over a socket, beside the users that the data folder keeps; over those of the same name these rule, and nobody can
   * change them from outside. A folder that knows no user, and is given none, gets `guest` with the password `guest`, which is
   * accepted from this machine only.
   */
  readonly users?: readonly User[];
  /** Virtual hosts beside `/`; made where they are not there. */
  readonly virtualHosts?: readonly VirtualHostSettings[];
  /** What the users above may do. Those who are not named here may do everything in `/` and in the virtual hosts above. */
  readonly permissions?: readonly PermissionRecord[];
  readonly limits?: Partial<Limits>;
  /**
   * Exchange types of one's own, beside the built-in ones; their names begin with `x-`. A data folder that holds durable exchanges
   * of such a type opens only with that type given. See docs/exchange-types.md.
   */
  readonly exchangeTypes?: readonly ExchangeType[];
  /** The machine. Default: the real one. */
  readonly ground?: Ground;
  /** Takes a line for the operator now and then: recovery, alarms, refused logins. Default: says nothing. */
  readonly log?: (line: string) => void;
}

/** Port 0 takes a free one; the host is 127.0.0.1 unless another is given. */
export interface AmqpListener {
  readonly port: number;
  readonly host?: string;
  /** Speaks TLS there (amqps). With `authorities` clients may log in by the name in their certificate (EXTERNAL). */
  readonly tls?: TlsIdentity;
}

export type User = ConfiguredUser;
