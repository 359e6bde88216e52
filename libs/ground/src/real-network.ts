/**
 * TCP through Node, and TLS over it (real-tls.ts, loaded when it is asked for). Keeps nothing between connections; what was not sent when the process ends is lost.
 *
 * The path that runs per chunk adds no object and no closure to what `node:net` makes itself: the events of a connection are
 * bound once, and the `sent` callback goes to Node as it is. Made once by `realGround`; anyone may call it.
 */
import assert from 'node:assert/strict';
import { type Server, connect, createServer } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import type { ConnectAddress, ListenAddress, Listener, Network, Socket, TlsIdentity } from './network.js';
import { certificateError, connectError, listenError } from './network-error.js';
import { HIGH_WATER_MARK_BYTES, RealSocket } from './real-socket.js';
import { secureContextOf } from './tls-settings.js';

export class RealNetwork implements Network {
  async listen(at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
    const { tls } = at;
    const server =
      tls === undefined
        ? createServer({ noDelay: true, highWaterMark: HIGH_WATER_MARK_BYTES }, (socket) => accept(new RealSocket(socket)))
        : (await import('./real-tls.js')).createTlsServer(at, tls, (socket, peerName) => accept(new RealSocket(socket, peerName)));
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void => reject(listenError(at, error));
      server.once('error', fail);
      // `exclusive`: under Node's cluster module the address belongs to this process, not to its parent.
      server.listen({ host: at.host, port: at.port, exclusive: true }, () => {
        server.removeListener('error', fail);
        // A connection that could not be accepted (too many open files) is the peer's loss and comes again; it must not end the process.
        server.on('error', ignore);
        resolve();
      });
    });
    return new RealListener(at, server);
  }

  async connect(to: ConnectAddress): Promise<Socket> {
    if (to.tls !== undefined) return new RealSocket(await (await import('./real-tls.js')).connectTls(to, to.tls));
    // @types/node knows `highWaterMark` for servers only; Node takes it for both.
    const options = { host: to.host, port: to.port, noDelay: true, highWaterMark: HIGH_WATER_MARK_BYTES };
    const socket = connect(options);
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => reject(connectError(to, error));
      socket.once('error', fail);
      socket.once('connect', () => {
        const connected = new RealSocket(socket);
        socket.removeListener('error', fail);
        resolve(connected);
      });
    });
  }
}

class RealListener implements Listener {
  readonly host: string;
  readonly port: number;

  constructor(
    private readonly at: ListenAddress,
    private readonly server: Server,
  ) {
    const address = server.address();
    assert(address !== null && typeof address === 'object', 'a TCP server that listens has an address');
    this.host = address.address;
    this.port = address.port;
  }

  renew(tls: TlsIdentity): void {
    const { server } = this;
    assert('setSecureContext' in server, 'a listener without TLS has no certificate');
    try {
      (server as TlsServer).setSecureContext(secureContextOf(tls));
    } catch (error) {
      throw certificateError(this.at, error as Error);
    }
  }

  /** Node would wait for every connection to end; the address is free as soon as `close` was called. */
  close(): Promise<void> {
    this.server.close();
    return Promise.resolve();
  }
}

function ignore(): void {}
