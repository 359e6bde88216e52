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
   * Lets other processes of this account on this machine in, through a socket that they find by the data folder: they speak AMQP there and may do
   * everything, without a user. Not where it keeps nothing. Default: false.
   */
  readonly door?: boolean;
  /**
   * Listens for Kafka clients, and says how they are met; see kafka/SUPPORT.md. The partitioned log behind it is in the folder `log` of the data
   * folder; where there is none yet it is opened for the first client, or for `Broker.log`. Default: no socket.
   */
  readonly kafka?: KafkaOptions;
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

/** Where Kafka clients come in. Port 0 takes a free one; the host is 127.0.0.1 unless another is given. */
export interface KafkaListener {
  readonly port: number;
  readonly host?: string;
  /** Where those who came in here are told to come. Default: host and port; needed where that is all addresses, which nobody can connect to by that name. */
  readonly advertised?: { readonly host: string; readonly port: number };
  /** Clients must log in (SASL PLAIN, with the broker's users). Default: those from other machines must, so that only a listener on this machine's own address is open. */
  readonly login?: boolean;
  /** Speaks TLS there (SSL and SASL_SSL). With `authorities` a client may be who its certificate says, without a password. */
  readonly tls?: TlsIdentity;
}

/** How the broker meets Kafka clients. What is not said is Kafka's own default. */
export interface KafkaOptions extends Partial<KafkaListener> {
  /** Several, in place of the one that `port` and its like describe. Without either there is no socket. */
  readonly listeners?: readonly KafkaListener[];
  /** A port that is taken is said in the log, and the broker goes on without Kafka clients. Default: it does not open. */
  readonly mayBeTaken?: boolean;
  /** What the broker calls itself among its clients. Default: 1. */
  readonly nodeId?: number;
  /** Asking for a topic makes it. Default: true. */
  readonly createsTopics?: boolean;
  /** Of topics that are made without saying how many. Default: 1. */
  readonly partitionCount?: number;
  /** There is one copy of everything. Who asks for a topic with more is refused, or given one. Default: `refuse`. */
  readonly replication?: 'refuse' | 'one-for-all';
  /** How long the first member of a group waits for others; milliseconds. Default: 0. */
  readonly initialRebalanceDelayMs?: number;
  /** A member of a group may ask for a session timeout from here on, and up to there; milliseconds. Default: 6,000 and 1,800,000. */
  readonly sessionTimeoutMsMin?: number;
  readonly sessionTimeoutMsMax?: number;
  /** Partitions of `__consumer_offsets`, when it is made. Default: 50. */
  readonly offsetsPartitionCount?: number;
  /** Defaults of topic configs, under Kafka's names for topics: `{ 'retention.ms': '3600000' }`. */
  readonly topicConfigs?: Readonly<Record<string, string>>;
}

/** Port 0 takes a free one; the host is 127.0.0.1 unless another is given. */
export interface AmqpListener {
  readonly port: number;
  readonly host?: string;
  /** Speaks TLS there (amqps). With `authorities` clients may log in by the name in their certificate (EXTERNAL). */
  readonly tls?: TlsIdentity;
}

export type User = ConfiguredUser;
