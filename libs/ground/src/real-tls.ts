/**
 * TLS through Node, for the real network: its servers and its clients are Node's own, from TLS 1.2 on. Keys are in memory as long as a listener
 * lives; nothing is written. Only `real-network.ts` calls this, and loads it when somebody asks for TLS.
 */
import { isIP, type Server, type Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import type { ConnectAddress, ListenAddress, TlsIdentity, TlsTrust } from './network.js';
import { certificateError, connectError } from './network-error.js';
import { secureContextOf } from './tls-settings.js';

/** A stranger that connects and says nothing. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Throws a `NetworkError` where certificate and key are no good. A client that is not believed never comes out of it. */
export function createTlsServer(
  at: ListenAddress,
  tls: TlsIdentity,
  accept: (socket: Socket, peerName: string | undefined) => void,
): Server {
  const { requiresClient = false, authorities } = tls;
  const options = {
    ...secureContextOf(tls),
    noDelay: true,
    requestCert: authorities !== undefined,
    // Without a certificate a client may come where none is required; with a bad one it may not, which is seen to below.
    rejectUnauthorized: requiresClient,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  };
  try {
    const server = createServer(options, (socket) => {
      if (socket.authorized) return accept(socket, nameOf(socket));
      if (authorities !== undefined && hasCertificate(socket)) return void socket.destroy();
      return accept(socket, undefined);
    });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  } catch (error) {
    throw certificateError(at, error as Error);
  }
}

/** Rejects with a `NetworkError`: `untrusted` where the server cannot prove its name. */
export function connectTls(to: ConnectAddress, { authorities, serverName, certificate, key }: TlsTrust): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const name = serverName ?? to.host;
    const socket = connect({
      host: to.host,
      port: to.port,
      minVersion: 'TLSv1.2',
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(authorities === undefined ? {} : { ca: authorities }),
      ...(certificate === undefined || key === undefined ? {} : { cert: certificate, key }),
    });
    const fail = (error: Error): void => reject(connectError(to, error));
    socket.setNoDelay(true);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.removeListener('error', fail);
      resolve(socket);
    });
  });
}

function hasCertificate(socket: TLSSocket): boolean {
  return Object.keys(socket.getPeerCertificate()).length > 0;
}

function nameOf(socket: TLSSocket): string | undefined {
  const { CN: name } = socket.getPeerCertificate().subject ?? {};
  return Array.isArray(name) ? name[0] : name;
}
