import type { ClientChannel, ClientConnection } from '../engine/clients.js';
import type { Consumer } from '../queues/consumer.js';
import type { Session } from '../queues/session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { nodeName } from './overview.js';

interface Place {
  readonly connection: ClientConnection;
  readonly channel: ClientChannel;
}

/** Which channel a consumer came over: sessions know no protocol. Made for one request. */
export class ChannelDirectory {
  private readonly places = new Map<Session, Place>();

  constructor(connections: readonly ClientConnection[]) {
    for (const connection of connections) {
      for (const channel of connection.channels) this.places.set(channel.session, { connection, channel });
    }
  }

  find(session: Session): Place | undefined {
    return this.places.get(session);
  }
}

/** One consumer, wherever it is told of. Those of the broker's own process have no connection. */
export function consumerJson({ name: vhost }: VirtualHost, consumer: Consumer, channels: ChannelDirectory): object {
  const { queue, tag, noAck, isExclusive, prefetch, priority, timeoutMs } = consumer;
  const place = channels.find(consumer.session);
  const isActive = !queue.isSingleActive || queue.turns.active === consumer;
  return {
    queue: { name: queue.name, vhost },
    consumer_tag: tag,
    ack_required: !noAck,
    active: isActive,
    activity_status: queue.isSingleActive ? (isActive ? 'single_active' : 'waiting') : 'up',
    exclusive: isExclusive,
    prefetch_count: prefetch,
    ...(timeoutMs === undefined ? {} : { consumer_timeout: timeoutMs }),
    arguments: {
      ...(priority === 0 ? {} : { 'x-priority': priority }),
      ...(timeoutMs === undefined ? {} : { 'x-consumer-timeout': timeoutMs }),
    },
    channel_details: place === undefined ? {} : channelDetails(place),
  };
}

function channelDetails({ connection, channel: { number } }: Place): object {
  const { name, user, client } = connection;
  const common = { connection_name: name, name: channelName(name, number), node: nodeName, number };
  return { ...common, peer_host: client.address, peer_port: client.port, user };
}

export function channelName(connection: string, number: number): string {
  return `${connection} (${number})`;
}
