import type { VirtualHostLimits, VirtualHostSettings } from '../engine/access-records.js';
import { InProcessSession } from '../engine/in-process-session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { ManagementContext } from './api.js';
import { allBindings } from './bindings.js';
import { exchangeJson, exchangeOf } from './exchanges.js';
import { tableOf } from './field-json.js';
import { permissionJson, permissionOf, topicPermissionJson, topicPermissionOf } from './permissions.js';
import { queueJson, queueOptionsOf } from './queues.js';
import { done, notFound, ok, type Outcome, refuse, type Route, textOf } from './route.js';
import { userJson, userOf } from './users.js';
import { limitsJson, limitsOf, virtualHostJson, virtualHostOf } from './virtual-hosts.js';
import { hostsOf } from './visit.js';

type Given = Readonly<Record<string, unknown>>;

/** What is to be declared in one virtual host, found sound but for what only the declaring tells. */
interface Topology {
  readonly vhost: string;
  readonly declare: (session: InProcessSession, host: VirtualHost) => Promise<unknown>;
}

const version = { rabbit_version: '4.0.5', rabbitmq_version: '4.0.5', product_name: 'Dovecote' };

/**
 * `/api/definitions`: users, virtual hosts, permissions, queues, exchanges and bindings, out and in. Passwords travel as hashes only.
 *
 * Users, virtual hosts and permissions of an import come true together or not at all; then exchanges, queues and bindings are declared one after the
 * other, and the first that is refused ends it. What is there already stays as it is.
 */
export function definitionRoutes(context: ManagementContext): readonly Route[] {
  return [
    { method: 'GET', path: 'api/definitions', tag: 'administrator', run: () => ok(everything(context)) },
    {
      method: 'GET',
      path: 'api/definitions/:vhost',
      tag: 'policymaker',
      run: (request) => ok(ofOne(context, hostsOf(context, request)[0]!)),
    },
    { method: 'POST', path: 'api/definitions', tag: 'administrator', run: ({ body }) => take(context, body()) },
    {
      method: 'POST',
      path: 'api/definitions/:vhost',
      tag: 'policymaker',
      run: async (request): Promise<Outcome> => {
        const { vhost = '' } = request.names;
        if (context.hosts.settingsOf(vhost) === undefined) return notFound;
        hostsOf(context, request);
        const given = request.body();
        checkBuilt(given);
        await declareAll(context, topologyOf(given, vhost));
        return done;
      },
    },
  ];
}

function everything({ administration, hosts }: ManagementContext): object {
  const topologies = hosts.all.map(topologyJson);
  return {
    ...version,
    rabbitmq_definition_format: 'cluster',
    users: administration.users.map(userJson),
    vhosts: administration.virtualHosts.map(virtualHostJson),
    permissions: administration.permissions.map(permissionJson),
    topic_permissions: administration.topicPermissions.map(topicPermissionJson),
    parameters: administration.virtualHosts.flatMap(limitsParameter),
    global_parameters: [],
    policies: [],
    queues: topologies.flatMap(({ queues }) => queues),
    exchanges: topologies.flatMap(({ exchanges }) => exchanges),
    bindings: topologies.flatMap(({ bindings }) => bindings),
  };
}

/** Without the name of the virtual host in each, so that another one can take it. */
function ofOne({ hosts }: ManagementContext, host: VirtualHost): object {
  const { queues, exchanges, bindings } = topologyJson(host);
  const nameless = ({ vhost: _vhost, ...rest }: Given): Given => rest;
  const format = { rabbitmq_definition_format: 'single_virtual_host', original_vhost_name: host.name };
  const settings = virtualHostJson(hosts.settingsOf(host.name)!) as Given;
  return {
    ...version,
    ...format,
    metadata: settings['metadata'],
    parameters: [],
    policies: [],
    queues: queues.map(nameless),
    exchanges: exchanges.map(nameless),
    bindings: bindings.map(nameless),
  };
}

/** What a client could declare again: nothing exclusive, nothing that is always there. */
function topologyJson(host: VirtualHost): Readonly<Record<'queues' | 'exchanges' | 'bindings', readonly Given[]>> {
  const shared = [...host.queues].filter(({ settings }) => !settings.exclusive);
  const names = new Set(shared.map(({ name }) => name));
  const exchanges = host.exchanges.settings.filter(({ name }) => !name.startsWith('amq.'));
  return {
    queues: shared.map((queue) => pick(queueJson(host, queue) as Given, ['name', 'vhost', 'durable', 'auto_delete', 'arguments'])),
    exchanges: exchanges.map((one) =>
      pick(exchangeJson(host, one), ['name', 'vhost', 'type', 'durable', 'auto_delete', 'internal', 'arguments']),
    ),
    bindings: allBindings(host)
      .filter(({ source, destination, destination_type: type }) => source !== '' && (type === 'exchange' || names.has(destination)))
      .map(({ properties_key: _key, ...binding }) => binding),
  };
}

async function take(context: ManagementContext, given: Given): Promise<Outcome> {
  checkBuilt(given);
  const limits = limitsIn(listOf(given, 'parameters'));
  const topology = topologyOf(given, undefined);
  await context.administration.import({
    users: listOf(given, 'users').map(userOf),
    virtualHosts: withLimits(listOf(given, 'vhosts').map(virtualHostOf), limits),
    permissions: listOf(given, 'permissions').map(permissionOf),
    topicPermissions: listOf(given, 'topic_permissions').map(topicPermissionOf),
  });
  await declareAll(context, topology);
  return done;
}

/** A file that says something of what is not built is refused: it would be silently another broker. */
function checkBuilt(given: Given): void {
  if (listOf(given, 'policies').length > 0)
    throw refuse("'policies' in definitions are not built: take them out, and give queues arguments");
}

/** Exchanges first, because queues and bindings name them. */
function topologyOf(given: Given, vhost: string | undefined): readonly Topology[] {
  const placeOf = (one: Given): string => vhost ?? textOf(one, 'vhost');
  const exchanges = listOf(given, 'exchanges').map((one): Topology => {
    const [name, { type, options }] = [textOf(one, 'name'), exchangeOf(one)];
    return {
      vhost: placeOf(one),
      declare: async (session, host) => host.exchanges.has(name) || session.declareExchange(name, type, options),
    };
  });
  const queues = listOf(given, 'queues').map((one): Topology => {
    const [name, options] = [textOf(one, 'name'), queueOptionsOf(one)];
    return { vhost: placeOf(one), declare: async (session, host) => host.queueNamed(name) ?? session.declareQueue(name, options) };
  });
  const bindings = listOf(given, 'bindings').map((one): Topology => {
    const [source, destination, key] = [textOf(one, 'source'), textOf(one, 'destination'), textOf(one, 'routing_key')];
    const [type, table] = [textOf(one, 'destination_type'), tableOf(one['arguments'], 'arguments')];
    if (type !== 'queue' && type !== 'exchange') throw refuse(`a binding leads to a queue or an exchange, not to '${type}'`);
    const bind = type === 'queue' ? 'bindQueue' : 'bindExchange';
    return { vhost: placeOf(one), declare: (session) => session[bind](destination, source, key, table) };
  });
  return [...exchanges, ...queues, ...bindings];
}

/** As the broker itself: who may import may do that. */
async function declareAll({ hosts, log }: ManagementContext, topology: readonly Topology[]): Promise<void> {
  for (const vhost of new Set(topology.map((one) => one.vhost))) {
    const host = hosts.find(vhost);
    const session = new InProcessSession(host, log, () => undefined);
    try {
      // They wait for one commit together; each is decided before the next.
      await Promise.all(topology.filter((one) => one.vhost === vhost).map((one) => one.declare(session, host)));
    } finally {
      await session.close();
    }
  }
}

function pick(given: Given, names: readonly string[]): Given {
  return Object.fromEntries(names.map((name) => [name, given[name]]));
}

/** RabbitMQ keeps the limits of virtual hosts among its parameters. */
function limitsParameter(settings: VirtualHostSettings): readonly object[] {
  return limitsJson(settings).map(({ vhost, value }) => ({ value, vhost, component: 'vhost-limits', name: 'limits' }));
}

function limitsIn(parameters: readonly Given[]): ReadonlyMap<string, VirtualHostLimits> {
  return new Map(
    parameters.map(({ component, vhost, value }) => {
      if (component !== 'vhost-limits' || typeof vhost !== 'string') {
        throw refuse(`'parameters' of '${String(component)}' in definitions are not built: take them out`);
      }
      return [vhost, limitsOf(value)] as const;
    }),
  );
}

/** Limits of a virtual host that the file does not name otherwise are for one that is there. */
function withLimits(named: readonly VirtualHostSettings[], limits: ReadonlyMap<string, VirtualHostLimits>): readonly VirtualHostSettings[] {
  const others = [...limits.keys()].filter((name) => !named.some((host) => host.name === name)).map((name) => ({ name }));
  return [...named, ...others].map((host) => {
    const own = limits.get(host.name);
    return own === undefined ? host : { ...host, limits: own };
  });
}

function listOf(given: Given, name: string): readonly Given[] {
  const list = given[name] ?? [];
  if (!Array.isArray(list) || list.some((item) => typeof item !== 'object' || item === null))
    throw refuse(`"${name}" must be a list of objects`);
  return list as readonly Given[];
}
