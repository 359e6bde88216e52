import type { VirtualHostLimits, VirtualHostSettings } from '../engine/access-records.js';
import type { ManagementContext } from './api.js';
import { permissionJson, permissionOf, topicPermissionJson, topicPermissionOf } from './permissions.js';
import { done, notFound, ok, type Outcome, refuse, type Route } from './route.js';
import { userJson, userOf } from './users.js';
import { limitsJson, limitsOf, virtualHostJson, virtualHostOf } from './virtual-hosts.js';

/** What is not built, so that a file that says something of it is refused: it would be silently another broker. */
const unbuilt = ['policies', 'queues', 'exchanges', 'bindings'];

/**
 * `/api/definitions`: users, virtual hosts, permissions and topic permissions, out and in. What is imported comes true together or not
 * at all. Passwords travel as hashes only.
 */
export function definitionRoutes({ administration }: ManagementContext): readonly Route[] {
  const everything = (): object => ({
    rabbit_version: '4.0.5',
    rabbitmq_version: '4.0.5',
    product_name: 'Dovecote',
    rabbitmq_definition_format: 'cluster',
    explanation: 'Users, virtual hosts and permissions of a Dovecote broker; queues and exchanges are not among them yet',
    users: administration.users.map(userJson),
    vhosts: administration.virtualHosts.map(virtualHostJson),
    permissions: administration.permissions.map(permissionJson),
    topic_permissions: administration.topicPermissions.map(topicPermissionJson),
    parameters: administration.virtualHosts.flatMap(limitsParameter),
    global_parameters: [],
    policies: [],
    queues: [],
    exchanges: [],
    bindings: [],
  });
  return [
    { method: 'GET', path: 'api/definitions', tag: 'administrator', run: () => ok(everything()) },
    { method: 'GET', path: 'api/definitions/:vhost', tag: 'policymaker', run: () => notFound },
    {
      method: 'POST',
      path: 'api/definitions',
      tag: 'administrator',
      run: async ({ body }): Promise<Outcome> => {
        const given = body();
        for (const name of unbuilt) {
          if (listOf(given, name).length > 0)
            throw refuse(`'${name}' in definitions are not built: take them out, or declare them over AMQP`);
        }
        const limits = limitsIn(listOf(given, 'parameters'));
        await administration.import({
          users: listOf(given, 'users').map(userOf),
          virtualHosts: withLimits(listOf(given, 'vhosts').map(virtualHostOf), limits),
          permissions: listOf(given, 'permissions').map(permissionOf),
          topicPermissions: listOf(given, 'topic_permissions').map(topicPermissionOf),
        });
        return done;
      },
    },
  ];
}

/** RabbitMQ keeps the limits of virtual hosts among its parameters. */
function limitsParameter(settings: VirtualHostSettings): readonly object[] {
  return limitsJson(settings).map(({ vhost, value }) => ({ value, vhost, component: 'vhost-limits', name: 'limits' }));
}

function limitsIn(parameters: readonly Readonly<Record<string, unknown>>[]): ReadonlyMap<string, VirtualHostLimits> {
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

function listOf(given: Readonly<Record<string, unknown>>, name: string): readonly Readonly<Record<string, unknown>>[] {
  const list = given[name] ?? [];
  if (!Array.isArray(list) || list.some((item) => typeof item !== 'object' || item === null))
    throw refuse(`"${name}" must be a list of objects`);
  return list as readonly Readonly<Record<string, unknown>>[];
}
