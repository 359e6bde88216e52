import { createHash } from 'node:crypto';
import type { Binding } from '../queues/binding.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { ManagementContext } from './api.js';
import { jsonOf, tableOf } from './field-json.js';
import { created, done, notFound, ok, refuse, type Route, type RouteRequest } from './route.js';
import { hostsOf, visit } from './visit.js';

export interface BindingJson {
  readonly source: string;
  readonly vhost: string;
  readonly destination: string;
  readonly destination_type: 'queue' | 'exchange';
  readonly routing_key: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Names a binding among those between the same two. */
  readonly properties_key: string;
}

const kinds: Readonly<Record<string, 'queue' | 'exchange'>> = { q: 'queue', e: 'exchange' };

/** `/api/bindings`. */
export function bindingRoutes(context: ManagementContext): readonly Route[] {
  const tag = 'management';
  const path = 'api/bindings/:vhost/e/:source/:kind/:destination';
  const list = (request: RouteRequest): readonly BindingJson[] => hostsOf(context, request).flatMap(allBindings);
  return [
    { method: 'GET', path: 'api/bindings', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path: 'api/bindings/:vhost', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path, tag, run: (request) => ok(between(hostsOf(context, request)[0]!, endsOf(request))) },
    {
      method: 'POST',
      path,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          const { source, kind, destination } = endsOf(request);
          const { routing_key: key = '', arguments: given } = request.body();
          if (typeof key !== 'string' || Buffer.byteLength(key) > 255) throw refuse('"routing_key" must be a text of at most 255 bytes');
          const table = tableOf(given, 'arguments');
          const before = new Set(between(host, endsOf(request)).map(({ properties_key: known }) => known));
          await (kind === 'queue'
            ? session.bindQueue(destination, source, key, table)
            : session.bindExchange(destination, source, key, table));
          const all = between(host, endsOf(request));
          const made = all.find(({ properties_key: one }) => !before.has(one)) ?? all.find(({ routing_key: one }) => one === key);
          const location = `${encodeURIComponent(destination)}/${encodeURIComponent(made?.properties_key ?? '~')}`;
          return { ...created, headers: { location } };
        }),
    },
    {
      method: 'GET',
      path: `${path}/:properties`,
      tag,
      run: (request) => {
        const found = between(hostsOf(context, request)[0]!, endsOf(request)).find(isNamedIn(request));
        return found === undefined ? notFound : ok(found);
      },
    },
    {
      method: 'DELETE',
      path: `${path}/:properties`,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          const { source, kind, destination } = endsOf(request);
          const found = host.exchanges.bindings.find(
            (one) => isBetween(one, endsOf(request)) && isNamedIn(request)(bindingJson(host, one)),
          );
          if (found === undefined) return notFound;
          const { routingKey: key, arguments: given } = found;
          await (kind === 'queue'
            ? session.unbindQueue(destination, source, key, given)
            : session.unbindExchange(destination, source, key, given));
          return done;
        }),
    },
  ];
}

/** In paths the exchange without a name is called so. */
export function exchangeNamed(inPath: string): string {
  return inPath === 'amq.default' ? '' : inPath;
}

export function bindingsFrom(host: VirtualHost, _kind: 'exchange', source: string): readonly BindingJson[] {
  return allBindings(host).filter((one) => one.source === source);
}

export function bindingsTo(host: VirtualHost, kind: 'queue' | 'exchange', destination: string): readonly BindingJson[] {
  return allBindings(host).filter((one) => one.destination === destination && one.destination_type === kind);
}

/** Those that everything has which the default exchange leads to are told too. */
export function allBindings(host: VirtualHost): readonly BindingJson[] {
  const byDefault = [...host.queues].map(({ name }) => defaultBinding(host, name));
  return [...byDefault, ...host.exchanges.bindings.map((binding) => bindingJson(host, binding))];
}

interface Ends {
  readonly source: string;
  readonly kind: 'queue' | 'exchange';
  readonly destination: string;
}

function endsOf({ names }: RouteRequest): Ends {
  const kind = kinds[names['kind']!];
  if (kind === undefined) throw refuse(`a binding leads to a queue (q) or to an exchange (e), not to '${names['kind']}'`);
  return { source: exchangeNamed(names['source']!), kind, destination: names['destination']! };
}

function between(host: VirtualHost, ends: Ends): readonly BindingJson[] {
  const { source, kind, destination } = ends;
  if (source === '') return kind === 'queue' && host.queueNamed(destination) !== undefined ? [defaultBinding(host, destination)] : [];
  return host.exchanges.bindings.filter((one) => isBetween(one, ends)).map((one) => bindingJson(host, one));
}

function isBetween({ source, destination }: Binding, ends: Ends): boolean {
  return source === ends.source && destination.kind === ends.kind && destination.name === ends.destination;
}

function isNamedIn({ names }: RouteRequest): (binding: BindingJson) => boolean {
  const wanted = names['properties'];
  return ({ properties_key: key }) => key === wanted;
}

function bindingJson(
  { name: vhost }: VirtualHost,
  { source, destination, routingKey, arguments: given, argumentsText }: Binding,
): BindingJson {
  return {
    source,
    vhost,
    destination: destination.name,
    destination_type: destination.kind,
    routing_key: routingKey,
    arguments: jsonOf(given),
    properties_key: propertiesKey(routingKey, argumentsText),
  };
}

function defaultBinding({ name: vhost }: VirtualHost, queue: string): BindingJson {
  const common = { source: '', vhost, destination: queue, destination_type: 'queue', routing_key: queue } as const;
  return { ...common, arguments: {}, properties_key: propertiesKey(queue, '') };
}

/** The key, and a digest of the arguments where there are some. */
function propertiesKey(routingKey: string, argumentsText: string): string {
  if (routingKey === '' && argumentsText === '') return '~';
  const key = encodeURIComponent(routingKey).replace(/[!'()*~]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);
  const digest = argumentsText === '' ? '' : `~${createHash('sha256').update(argumentsText).digest('base64url').slice(0, 8)}`;
  return key.replaceAll('%20', '+') + digest;
}
