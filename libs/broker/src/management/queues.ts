import type { Queue } from '../queues/queue.js';
import { argumentsOf } from '../queues/encoded-arguments.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { ManagementContext } from './api.js';
import { bindingsTo } from './bindings.js';
import { ChannelDirectory, consumerJson } from './consumers.js';
import { jsonOf, tableOf } from './field-json.js';
import { fetchMessages } from './messages.js';
import { nodeName } from './overview.js';
import { created, done, flagIn, flagOf, notFound, ok, type Route, type RouteRequest } from './route.js';
import { hostsOf, visit } from './visit.js';

/** `/api/queues`: what is in them, and every change that a client could make. */
export function queueRoutes(context: ManagementContext): readonly Route[] {
  const tag = 'management';
  const path = 'api/queues/:vhost/:name';
  const list = (request: RouteRequest): readonly object[] =>
    hostsOf(context, request).flatMap((host) => [...host.queues].map((queue) => queueJson(host, queue)));
  return [
    { method: 'GET', path: 'api/queues', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path: 'api/queues/:vhost', tag, run: (request) => ok(list(request)) },
    {
      method: 'GET',
      path,
      tag,
      run: (request) => {
        const [host] = hostsOf(context, request);
        const queue = host!.queueNamed(request.names['name']!);
        return queue === undefined ? notFound : ok(wholeQueueJson(context, host!, queue));
      },
    },
    {
      method: 'PUT',
      path,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          const name = request.names['name']!;
          const isThere = host.queueNamed(name) !== undefined;
          await session.declareQueue(name, queueOptionsOf(request.body()));
          return isThere ? done : created;
        }),
    },
    {
      method: 'DELETE',
      path,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          const name = request.names['name']!;
          if (host.queueNamed(name) === undefined) return notFound;
          await session.deleteQueue(name, { ifUnused: flagIn(request, 'if-unused'), ifEmpty: flagIn(request, 'if-empty') });
          return done;
        }),
    },
    {
      method: 'DELETE',
      path: `${path}/contents`,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          if (host.queueNamed(request.names['name']!) === undefined) return notFound;
          await session.purgeQueue(request.names['name']!);
          return done;
        }),
    },
    {
      method: 'POST',
      path: `${path}/get`,
      tag,
      run: (request) => visit(context, request, (session, host) => fetchMessages(session, host, request)),
    },
    {
      method: 'GET',
      path: `${path}/bindings`,
      tag,
      run: (request) => ok(bindingsTo(hostsOf(context, request)[0]!, 'queue', request.names['name']!)),
    },
  ];
}

/** Of a request, or of a file of definitions. */
export function queueOptionsOf(given: Readonly<Record<string, unknown>>) {
  return {
    durable: flagOf(given, 'durable'),
    autoDelete: flagOf(given, 'auto_delete'),
    arguments: tableOf(given['arguments'], 'arguments'),
  };
}

/** Nothing here costs more for a long queue than for a short one. */
export function queueJson({ name: vhost }: VirtualHost, queue: Queue): object {
  const { name, settings, messageCount: ready, unacknowledgedCount: unacknowledged } = queue;
  return {
    name,
    vhost,
    durable: settings.durable,
    auto_delete: settings.autoDelete,
    exclusive: settings.exclusive,
    arguments: jsonOf(argumentsOf(settings.arguments ?? '')),
    type: queue.policy?.type ?? 'classic',
    node: nodeName,
    state: 'running',
    messages: ready + unacknowledged,
    messages_ready: ready,
    messages_unacknowledged: unacknowledged,
    consumers: queue.consumerCount,
    policy: null,
    operator_policy: null,
    effective_policy_definition: {},
  };
}

function wholeQueueJson(context: ManagementContext, host: VirtualHost, queue: Queue): object {
  const channels = new ChannelDirectory(context.connections());
  const { consumers, turns } = queue;
  return {
    ...queueJson(host, queue),
    consumer_details: consumers.map((consumer) => consumerJson(host, consumer, channels)),
    exclusive_consumer_tag: consumers.find(({ isExclusive }) => isExclusive)?.tag ?? null,
    single_active_consumer_tag: queue.isSingleActive ? (turns.active?.tag ?? null) : null,
    incoming: [],
    deliveries: [],
  };
}
