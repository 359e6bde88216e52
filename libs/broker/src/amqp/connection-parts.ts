import type { Clock, Random } from '@dovecote/ground';
import type { VirtualHosts } from '../engine/virtual-hosts.js';
import type { Connection } from './connection.js';
import type { AmqpLimits } from './limits.js';
import type { BlockPool } from './output.js';
import type { Entrance } from './server.js';

/** What a connection is given by its server. */
export interface ConnectionParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly hosts: VirtualHosts;
  /** Opens a virtual host for a user; throws a CodedError where that is refused. */
  readonly enter: (user: string, virtualHost: string, isLocal: boolean) => Entrance;
  readonly limits: AmqpLimits;
  readonly pool: BlockPool;
  /** What the sockets of all connections are read into, one after the other: whoever keeps something of it copies it. */
  readonly readBlock: Buffer;
  readonly isTls: boolean;
  /** It came through the door of the data folder: whoever can do that may do everything, under whatever name. */
  readonly isLocal: boolean;
  readonly log: (line: string) => void;
  /** Called once, when the socket is gone. */
  readonly gone: (connection: Connection) => void;
}
