import { type Clock, type ListenAddress, type Listener, type Network, NetworkError, type Random, type Socket } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { Connection } from './connection.js';
import { type AmqpLimits, amqpLimitsWith } from './limits.js';
import type { Authenticator } from './login.js';
import { BlockPool } from './output.js';
import { RouteCache } from './route-cache.js';

export interface AmqpServerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly host: VirtualHost;
  readonly authenticator: Authenticator;
  readonly at: ListenAddress;
  readonly limits: Limits | AmqpLimits;
  /** Takes a line for the operator: refused logins, broken clients. */
  readonly log: (line: string) => void;
}

/** One connection, for inspection. */
export interface ConnectionSnapshot {
  /** Address and port of the client. */
  readonly name: string;
  /** What the client calls itself; empty when it has no name. */
  readonly clientName: string;
  readonly user: string;
  readonly channelCount: number;
}

/**
 * Listens for AMQP 0-9-1 clients and keeps their connections. SUPPORT.md says what is answered to what.
 *
 * Nothing of it survives a crash: what its clients confirmed and defined is in the virtual host.
 */
export class AmqpServer {
  private readonly open = new Set<Connection>();
  private readonly pool = new BlockPool();
  private readonly routes: RouteCache;
  private readonly limits: AmqpLimits;
  private readonly stopWatchingGate: () => void;
  private listener: Listener | undefined;
  private allGone: (() => void) | undefined;

  private constructor(private readonly options: AmqpServerOptions) {
    this.limits = 'heartbeatS' in options.limits ? options.limits : amqpLimitsWith(options.limits);
    this.routes = new RouteCache(options.host);
    this.stopWatchingGate = options.host.onGateChange(() => {
      for (const connection of this.open) connection.gateChanged();
    });
  }

  /** Port 0 takes a free one. Rejects with a CodedError `port-unusable` whose sentence says what to do. */
  static async listen(options: AmqpServerOptions): Promise<AmqpServer> {
    const server = new AmqpServer(options);
    try {
      server.listener = await options.network.listen(options.at, (socket) => server.accept(socket));
    } catch (error) {
      server.stopWatchingGate();
      if (error instanceof NetworkError) throw new CodedError('port-unusable', error.message, { cause: error });
      throw error;
    }
    return server;
  }

  get port(): number {
    return this.listener?.port ?? 0;
  }

  get connections(): readonly ConnectionSnapshot[] {
    return [...this.open].map(({ name, clientName, user, channelCount }) => ({ name, clientName, user, channelCount }));
  }

  /** Takes no more connections and asks the ones there are to go; after `drainMs` they are cut. */
  close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    return this.end('connection-forced', "broker forced connection closure with reason 'shutdown'", drainMs);
  }

  /** The broker cannot go on: tells the clients so, and cuts them as soon as they could have heard it. */
  abort(reason: string): Promise<void> {
    return this.end('internal-error', reason, 100);
  }

  private async end(reply: 'connection-forced' | 'internal-error', explanation: string, drainMs: number): Promise<void> {
    this.stopWatchingGate();
    await this.listener?.close();
    if (this.open.size === 0) return;
    const gone = new Promise<void>((resolve) => (this.allGone = resolve));
    for (const connection of this.open) connection.close(reply, explanation);
    const cut = this.options.clock.after(drainMs, () => {
      for (const connection of this.open) connection.destroy();
    });
    await gone;
    cut.cancel();
  }

  private accept(socket: Socket): void {
    if (this.open.size >= this.limits.connectionsMax) {
      this.options.log(
        `a connection from ${socket.remoteAddress} was closed: the limit of ${this.limits.connectionsMax} connections is reached`,
      );
      socket.destroy();
      return;
    }
    const { clock, random, host, authenticator, log } = this.options;
    const { limits, pool, routes } = this;
    const gone = (connection: Connection): void => {
      this.open.delete(connection);
      if (this.open.size === 0) this.allGone?.();
    };
    this.open.add(new Connection(socket, { clock, random, host, authenticator, limits, pool, routes, log, gone }));
  }
}
