import {
  type Clock,
  type Door,
  type Doors,
  type ListenAddress,
  type Listener,
  type Network,
  NetworkError,
  type Random,
  type Socket,
  type TlsIdentity,
} from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type { AccessChange } from '../engine/access-control.js';
import type { ClientConnection } from '../engine/clients.js';
import type { UserAccess } from '../engine/user-access.js';
import type { VirtualHosts } from '../engine/virtual-hosts.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { Connection } from './connection.js';
import { describeConnection } from './connection-description.js';
import type { ConnectionParts } from './connection-parts.js';
import { type AmqpLimits, amqpLimitsWith } from './limits.js';
import { BlockPool } from './output.js';
import { RouteCache } from './route-cache.js';

export interface AmqpServerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly hosts: VirtualHosts;
  /** One or several; whoever comes over TLS may log in with a certificate. */
  readonly at: readonly ListenAddress[];
  /** One more way in, through a folder whose lock the caller has. */
  readonly door?: { readonly doors: Doors; readonly folder: string; readonly about: Readonly<Record<string, string>> } | undefined;
  readonly limits: Limits | AmqpLimits;
  /** Takes a line for the operator: refused logins, broken clients. */
  readonly log: (line: string) => void;
}

/** Where clients may connect. */
export interface AmqpAddress {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** What a connection gets when it opens a virtual host. */
export interface Entrance {
  readonly host: VirtualHost;
  readonly access: UserAccess;
  readonly routes: RouteCache;
}

/**
 * Listens for AMQP 0-9-1 clients and keeps their connections. SUPPORT.md says what is answered to what.
 *
 * Nothing of it survives a crash: what its clients confirmed and defined is in the virtual host.
 */
export class AmqpServer {
  private readonly open = new Set<Connection>();
  private readonly pool = new BlockPool();
  /** As much as Node reads at once. With a buffer for each read, a connection that says little costs a fifth more. */
  private readonly readBlock = Buffer.allocUnsafeSlow(64 * 1024);
  /** One for each virtual host, for all who may publish everything in it. */
  private readonly routes = new WeakMap<VirtualHost, RouteCache>();
  /** Those of users who may not. */
  private readonly ownRoutes = new WeakMap<UserAccess, RouteCache>();
  private readonly limits: AmqpLimits;
  private readonly stopWatchingGate: () => void;
  private readonly stopWatchingAccess: () => void;
  private readonly listeners: Listener[] = [];
  private door: Door | undefined;
  private allGone: (() => void) | undefined;

  private constructor(private readonly options: AmqpServerOptions) {
    this.limits = 'heartbeatS' in options.limits ? options.limits : amqpLimitsWith(options.limits);
    this.stopWatchingGate = options.hosts.first.onGateChange(() => {
      for (const connection of this.open) connection.gateChanged();
    });
    this.stopWatchingAccess = options.hosts.access.onChange((change) => this.accessChanged(change));
  }

  /** Port 0 takes a free one. Rejects with a CodedError `port-unusable` whose sentence says what to do. */
  static async listen(options: AmqpServerOptions): Promise<AmqpServer> {
    const server = new AmqpServer(options);
    try {
      for (const at of options.at)
        server.listeners.push(await options.network.listen(at, (socket) => server.accept(socket, at.tls !== undefined, false)));
      if (options.door !== undefined) await server.openDoor(options.door);
    } catch (error) {
      server.stopWatching();
      for (const listener of server.listeners) await listener.close();
      if (error instanceof NetworkError) throw new CodedError('port-unusable', error.message, { cause: error });
      throw error;
    }
    return server;
  }

  /** Of the first listener; undefined where only the door is open. */
  get port(): number | undefined {
    return this.listeners[0]?.port;
  }

  get addresses(): readonly AmqpAddress[] {
    return this.listeners.map(({ host, port }, index) => ({ host, port, isTls: this.options.at[index]!.tls !== undefined }));
  }

  /** For those who come from now on. Throws a NetworkError. */
  renewCertificates(tls: TlsIdentity): void {
    for (const [index, listener] of this.listeners.entries()) if (this.options.at[index]!.tls !== undefined) listener.renew(tls);
  }

  get connectionCount(): number {
    return this.open.size;
  }

  /** As they are now, for inspection. */
  get connections(): readonly ClientConnection[] {
    return [...this.open].map(describeConnection);
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
    this.stopWatching();
    for (const listener of this.listeners) await listener.close();
    await this.door?.close();
    if (this.open.size === 0) return;
    const gone = new Promise<void>((resolve) => (this.allGone = resolve));
    for (const connection of this.open) connection.close(reply, explanation);
    const cut = this.options.clock.after(drainMs, () => {
      for (const connection of this.open) connection.destroy();
    });
    await gone;
    cut.cancel();
  }

  /** Whoever owns the folder serves it, also where nobody can be let in. */
  private async openDoor({ doors, folder, about }: NonNullable<AmqpServerOptions['door']>): Promise<void> {
    try {
      this.door = await doors.open(folder, about, (socket) => this.accept(socket, false, true));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.options.log(`No other process can join this one on ${folder}: ${reason}`);
    }
  }

  private accept(socket: Socket, isTls: boolean, isLocal: boolean): void {
    if (this.open.size >= this.limits.connectionsMax) {
      this.options.log(
        `a connection from ${socket.remoteAddress} was closed: the limit of ${this.limits.connectionsMax} connections is reached`,
      );
      socket.destroy();
      return;
    }
    const { clock, random, hosts, log } = this.options;
    const { limits, pool, readBlock } = this;
    const enter: ConnectionParts['enter'] = (user, virtualHost, mayDoAll) => this.enter(user, virtualHost, mayDoAll);
    const gone = (connection: Connection): void => {
      this.open.delete(connection);
      if (this.open.size === 0) this.allGone?.();
    };
    this.open.add(new Connection(socket, { clock, random, hosts, enter, limits, pool, readBlock, isTls, isLocal, log, gone }));
  }

  private stopWatching(): void {
    this.stopWatchingGate();
    this.stopWatchingAccess();
  }

  /** Opens a virtual host for a user, in the order in which RabbitMQ refuses. */
  private enter(user: string, name: string, mayDoAll: boolean): Entrance {
    const { hosts } = this.options;
    const host = hosts.find(name);
    const max = hosts.settingsOf(name)?.limits?.maxConnections ?? -1;
    const count = [...this.open].filter((connection) => connection.virtualHost === name).length;
    if (max >= 0 && count >= max) {
      throw new CodedError('host-refused', `access to vhost '${name}' refused for user '${user}': connection limit (${max}) is reached`);
    }
    const access = mayDoAll ? hosts.access.enterFreely(user, name) : hosts.access.enter(user, name);
    return { host, access, routes: this.routesOf(host, access) };
  }

  /** What was found for one user must not lead another one where that one may not go. */
  private routesOf(host: VirtualHost, access: UserAccess): RouteCache {
    const cached = access.publishesFreely ? this.routes.get(host) : this.ownRoutes.get(access);
    if (cached !== undefined) return cached;
    const routes = access.publishesFreely ? new RouteCache(host) : new RouteCache(host, 256);
    if (access.publishesFreely) this.routes.set(host, routes);
    else this.ownRoutes.set(access, routes);
    return routes;
  }

  private accessChanged(change: AccessChange): void {
    for (const connection of [...this.open]) {
      if (connection.parts.isLocal && change.what !== 'virtual-host-deleted') continue;
      if (change.what === 'user-deleted' && connection.user === change.user) {
        connection.close('connection-forced', `user '${change.user}' is deleted`);
      } else if (change.what === 'virtual-host-deleted' && connection.virtualHost === change.virtualHost) {
        connection.close('connection-forced', `vhost '${change.virtualHost}' is deleted`);
      } else if (change.what === 'permissions-changed' && connection.user === change.user) {
        connection.permissionsChanged((host, access) => this.routesOf(host, access));
      }
    }
  }
}
