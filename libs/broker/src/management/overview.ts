import type { ManagementContext } from './api.js';
import { ok, type Route } from './route.js';

/** The RabbitMQ whose management API this is: tools read the number and choose their ways by it. */
const likeRabbit = '4.0.5';

/** Of this package; a test compares it. */
const version = '0.1.0';

/** There is one node, and it needs a name. */
export const nodeName = 'dovecote@localhost';

/** `/api/whoami`, `/api/overview` and other small things about the broker as a whole. */
export function overviewRoutes(context: ManagementContext): readonly Route[] {
  const tag = 'management';
  return [
    {
      method: 'GET',
      path: 'api/whoami',
      tag,
      run: ({ user: { name, tags } }) => ok({ name, tags, is_internal_user: true }),
    },
    { method: 'GET', path: 'api/overview', tag, run: () => ok(overview(context)) },
    { method: 'GET', path: 'api/cluster-name', tag, run: () => ok({ name: 'dovecote' }) },
    { method: 'GET', path: 'api/extensions', tag, run: () => ok([]) },
    { method: 'GET', path: 'api/version', tag, run: () => ok(likeRabbit) },
    { method: 'GET', path: 'api/auth', tag, run: () => ok({ oauth_enabled: false }) },
  ];
}

function overview({ hosts, connections, listeners }: ManagementContext): object {
  const open = connections();
  const queues = hosts.all.flatMap((host) => [...host.queues]);
  const sum = (count: (queue: (typeof queues)[number]) => number): number => queues.reduce((total, queue) => total + count(queue), 0);
  const [ready, unacknowledged] = [sum((queue) => queue.messageCount), sum((queue) => queue.unacknowledgedCount)];
  return {
    management_version: likeRabbit,
    rabbitmq_version: likeRabbit,
    product_name: 'Dovecote',
    product_version: version,
    cluster_name: 'dovecote',
    node: nodeName,
    rates_mode: 'none',
    default_queue_type: 'classic',
    exchange_types: hosts.first.exchanges.typeNames.map((name) => ({ name, description: '', enabled: true })),
    queue_totals: { messages: ready + unacknowledged, messages_ready: ready, messages_unacknowledged: unacknowledged },
    object_totals: {
      channels: open.reduce((total, { channels }) => total + channels.length, 0),
      connections: open.length,
      consumers: sum((queue) => queue.consumerCount),
      exchanges: hosts.all.reduce((total, host) => total + host.exchanges.settings.length + 1, 0),
      queues: queues.length,
    },
    message_stats: {},
    listeners: listeners().map(({ protocol, host, port }) => ({ node: nodeName, protocol, ip_address: host, port })),
    contexts: [],
  };
}
