import { argumentsOf } from '../queues/encoded-arguments.js';
import type { ExchangeSettings } from '../queues/exchange.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { ManagementContext } from './api.js';
import { bindingsFrom, bindingsTo, exchangeNamed } from './bindings.js';
import { jsonOf, tableOf } from './field-json.js';
import { publishMessage } from './messages.js';
import { created, done, flagIn, flagOf, notFound, ok, refuse, type Route, type RouteRequest } from './route.js';
import { hostsOf, notThere, visit } from './visit.js';

/** The one without a name, which is made of the names of the queues. */
const defaultExchange: ExchangeSettings = { name: '', type: 'direct', durable: true, autoDelete: false, internal: false };

/** `/api/exchanges`: what there is, every change that a client could make, and publishing. */
export function exchangeRoutes(context: ManagementContext): readonly Route[] {
  const tag = 'management';
  const path = 'api/exchanges/:vhost/:name';
  const list = (request: RouteRequest): readonly object[] =>
    hostsOf(context, request).flatMap((host) =>
      [defaultExchange, ...host.exchanges.settings].map((settings) => exchangeJson(host, settings)),
    );
  const bindings = (of: typeof bindingsFrom) => (request: RouteRequest) => {
    const [host] = hostsOf(context, request);
    return find(host!, request) === undefined ? notFound : ok(of(host!, 'exchange', exchangeNamed(request.names['name']!)));
  };
  return [
    { method: 'GET', path: 'api/exchanges', tag, run: (request) => ok(list(request)) },
    { method: 'GET', path: 'api/exchanges/:vhost', tag, run: (request) => ok(list(request)) },
    {
      method: 'GET',
      path,
      tag,
      run: (request) => {
        const [host] = hostsOf(context, request);
        const found = find(host!, request);
        return found === undefined ? notFound : ok({ ...exchangeJson(host!, found), incoming: [], outgoing: [] });
      },
    },
    {
      method: 'PUT',
      path,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          const isThere = find(host, request) !== undefined;
          const { type, options } = exchangeOf(request.body());
          await session.declareExchange(exchangeNamed(request.names['name']!), type, options);
          return isThere ? done : created;
        }),
    },
    {
      method: 'DELETE',
      path,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) => {
          if (find(host, request) === undefined) return notFound;
          await session.deleteExchange(exchangeNamed(request.names['name']!), { ifUnused: flagIn(request, 'if-unused') });
          return done;
        }),
    },
    {
      method: 'POST',
      path: `${path}/publish`,
      tag,
      run: (request) =>
        visit(context, request, async (session, host) =>
          find(host, request) === undefined
            ? notThere('exchange_not_found')
            : publishMessage(session, exchangeNamed(request.names['name']!), request),
        ),
    },
    { method: 'GET', path: `${path}/bindings/source`, tag, run: bindings(bindingsFrom) },
    { method: 'GET', path: `${path}/bindings/destination`, tag, run: bindings(bindingsTo) },
  ];
}

/** Of a request, or of a file of definitions. Without a type: direct, as RabbitMQ. */
export function exchangeOf(given: Readonly<Record<string, unknown>>) {
  const { type = 'direct' } = given;
  if (typeof type !== 'string') throw refuse('"type" must be a text');
  const options = {
    durable: flagOf(given, 'durable'),
    autoDelete: flagOf(given, 'auto_delete'),
    internal: flagOf(given, 'internal'),
    arguments: tableOf(given['arguments'], 'arguments'),
  };
  return { type, options };
}

export function exchangeJson(
  { name: vhost }: VirtualHost,
  { name, type, durable, autoDelete, internal, arguments: given }: ExchangeSettings,
) {
  return { name, vhost, type, durable, auto_delete: autoDelete, internal, arguments: jsonOf(argumentsOf(given ?? '')), policy: null };
}

function find(host: VirtualHost, { names }: RouteRequest): ExchangeSettings | undefined {
  const name = exchangeNamed(names['name']!);
  return name === '' ? defaultExchange : host.exchanges.has(name) ? host.exchanges.find(name).settings : undefined;
}
