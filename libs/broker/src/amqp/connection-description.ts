import type { ClientConnection } from '../engine/clients.js';
import type { Connection } from './connection.js';

/** What can be told of a connection, in the words of the engine. Keeps nothing. */
export function describeConnection(connection: Connection): ClientConnection {
  const { socket, handshake, user, virtualHost, connectedAt, receivedBytes, sentBytes } = connection;
  const client = { address: plainAddress(socket.remoteAddress), port: socket.remotePort };
  const server = { address: plainAddress(socket.localAddress), port: socket.localPort };
  const { mechanism, clientProperties, frameBytesMax, channelsMax, heartbeatS } = handshake;
  return {
    name: `${placeOf(client)} -> ${placeOf(server)}`,
    ...{ user, virtualHost, mechanism, clientProperties, connectedAt, client, server },
    state: stateOf(connection),
    protocol: 'AMQP 0-9-1',
    isTls: connection.parts.isTls,
    ...{ frameBytesMax, channelsMax, heartbeatS, receivedBytes, sentBytes },
    channels: [...connection.channels.values()].map(({ id: number, session, prefetch }) => ({ number, session, prefetch })),
    close: (reason) => connection.close('connection-forced', reason),
  };
}

function stateOf({ state, isBlocked }: Connection): ClientConnection['state'] {
  if (state === 'greeting' || state === 'handshake') return 'starting';
  if (state !== 'running') return 'closing';
  return isBlocked ? 'blocked' : 'running';
}

/** An IPv4 address that came through a listener for both kinds is written as one. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}

function placeOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
