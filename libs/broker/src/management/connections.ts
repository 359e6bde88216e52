import type { ClientChannel, ClientConnection } from '../engine/clients.js';
import type { ManagementContext } from './api.js';
import { ChannelDirectory, channelName, consumerJson } from './consumers.js';
import { jsonOf } from './field-json.js';
import { nodeName } from './overview.js';
import { done, notAuthorised, notFound, ok, type Outcome, Refusal, type Route, type RouteRequest } from './route.js';
import { hostsOf } from './visit.js';

const tag = 'management';

/** `/api/connections`, `/api/channels` and `/api/consumers`: who is there, and how to send somebody away. */
export function connectionRoutes(context: ManagementContext): readonly Route[] {
  const seen = (request: RouteRequest): readonly ClientConnection[] => seenConnections(context, request);
  /** Of that name, for whoever may see it, or send it away. */
  const named = (request: RouteRequest, mayUse = isSeen): ClientConnection | undefined => {
    const found = context.connections().find(({ name }) => name === request.names['name']);
    if (found !== undefined && !mayUse(request, found)) throw new Refusal(notAuthorised('User not authorised to access object'));
    return found;
  };
  const ofUser = (request: RouteRequest): readonly ClientConnection[] =>
    context.connections().filter((one) => isOwn(request, one) && one.user === request.names['user']);
  const close = (connections: readonly ClientConnection[], { header }: RouteRequest): Outcome => {
    for (const connection of connections) connection.close(header('x-reason') ?? 'Closed via management plugin');
    return done;
  };
  return [
    { method: 'GET', path: 'api/connections', tag, run: (request) => ok(seen(request).map(connectionJson)) },
    { method: 'GET', path: 'api/vhosts/:vhost/connections', tag, run: (request) => ok(seen(request).map(connectionJson)) },
    { method: 'GET', path: 'api/connections/username/:user', tag, run: (request) => ok(ofUser(request).map(connectionJson)) },
    { method: 'DELETE', path: 'api/connections/username/:user', tag, run: (request) => close(ofUser(request), request) },
    {
      method: 'GET',
      path: 'api/connections/:name',
      tag,
      run: (request) => {
        const found = named(request);
        return found === undefined ? notFound : ok(connectionJson(found));
      },
    },
    {
      method: 'DELETE',
      path: 'api/connections/:name',
      tag,
      run: (request) => {
        const found = named(request, isOwn);
        return found === undefined ? notFound : close([found], request);
      },
    },
    {
      method: 'GET',
      path: 'api/connections/:name/channels',
      tag,
      run: (request) => {
        const found = named(request);
        return found === undefined ? notFound : ok(found.channels.map((channel) => channelJson(found, channel)));
      },
    },
    ...channelRoutes(context),
    ...consumerRoutes(context),
  ];
}

function channelRoutes(context: ManagementContext): readonly Route[] {
  const list = (request: RouteRequest): readonly object[] =>
    seenConnections(context, request).flatMap((one) => one.channels.map((channel) => channelJson(one, channel)));
  return [
    { method: 'GET', path: 'api/channels', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path: 'api/vhosts/:vhost/channels', tag, run: (request) => ok(list(request)) },
    {
      method: 'GET',
      path: 'api/channels/:name',
      tag,
      run: (request) => {
        for (const connection of seenConnections(context, request)) {
          const channel = connection.channels.find(({ number }) => channelName(connection.name, number) === request.names['name']);
          if (channel !== undefined) return ok(wholeChannelJson(context, connection, channel));
        }
        return notFound;
      },
    },
  ];
}

function consumerRoutes(context: ManagementContext): readonly Route[] {
  const list = (request: RouteRequest): readonly object[] => {
    const channels = new ChannelDirectory(context.connections());
    return hostsOf(context, request).flatMap((host) =>
      [...host.queues].flatMap(({ consumers }) => consumers.map((consumer) => consumerJson(host, consumer, channels))),
    );
  };
  return [
    { method: 'GET', path: 'api/consumers', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path: 'api/consumers/:vhost', tag, run: (request) => ok(list(request)) },
  ];
}

/** Who watches the broker sees all connections; others their own. */
function seenConnections(context: ManagementContext, request: RouteRequest): readonly ClientConnection[] {
  const { vhost } = request.names;
  if (vhost !== undefined) hostsOf(context, request);
  return context.connections().filter((one) => isSeen(request, one) && (vhost === undefined || one.virtualHost === vhost));
}

function isSeen({ user }: RouteRequest, connection: ClientConnection): boolean {
  return user.tags.some((given) => given === 'administrator' || given === 'monitoring') || connection.user === user.name;
}

/** Whether the user may send it away: its own, or everybody's. */
function isOwn({ user }: RouteRequest, connection: ClientConnection): boolean {
  return user.tags.includes('administrator') || connection.user === user.name;
}

function connectionJson(connection: ClientConnection): object {
  const { name, state, user, virtualHost: vhost = '', client, server, channels } = connection;
  const clientName = connection.clientProperties['connection_name'];
  return {
    ...{ name, node: nodeName, type: 'network', state, user, user_who_performed_action: user, vhost },
    ...(typeof clientName === 'string' ? { user_provided_name: clientName } : {}),
    protocol: connection.protocol,
    auth_mechanism: connection.mechanism,
    client_properties: jsonOf(connection.clientProperties),
    channels: channels.length,
    channel_max: connection.channelsMax,
    frame_max: connection.frameBytesMax,
    timeout: connection.heartbeatS,
    connected_at: connection.connectedAt,
    ssl: connection.isTls,
    ...{ peer_host: client.address, peer_port: client.port, host: server.address, port: server.port },
    ...{ recv_oct: connection.receivedBytes, send_oct: connection.sentBytes },
  };
}

function channelJson(connection: ClientConnection, { number, session, prefetch }: ClientChannel): object {
  const { name, user, virtualHost: vhost = '', client } = connection;
  return {
    ...{ name: channelName(name, number), number, node: nodeName, user, user_who_performed_action: user, vhost, state: 'running' },
    connection_details: { name, peer_host: client.address, peer_port: client.port },
    consumer_count: session.consumers.size,
    confirm: session.isConfirming,
    transactional: session.isTransactional,
    prefetch_count: prefetch,
    global_prefetch_count: session.sharedPrefetch,
    messages_unacknowledged: session.unacknowledged.count,
    messages_unconfirmed: session.unconfirmedCount,
    messages_uncommitted: session.uncommitted.publishes,
    acks_uncommitted: session.uncommitted.settlements,
  };
}

function wholeChannelJson(context: ManagementContext, connection: ClientConnection, channel: ClientChannel): object {
  const channels = new ChannelDirectory([connection]);
  const host = context.hosts.find(connection.virtualHost!);
  const consumers = [...channel.session.consumers.values()];
  return { ...channelJson(connection, channel), consumer_details: consumers.map((consumer) => consumerJson(host, consumer, channels)) };
}
