import type { ManagementContext } from './api.js';
import { nodeName } from './overview.js';
import { notFound, ok, type Outcome, Refusal, refuse, type Route, type Tag } from './route.js';
import { visit } from './visit.js';

const tag = 'management';
const aliveness = 'aliveness-test';

/** `/api/nodes` and the questions of whoever watches over the broker: 200 where it is well, 503 with a reason where it is not. */
export function healthRoutes(context: ManagementContext): readonly Route[] {
  const fine = (): Outcome => ok({ status: 'ok' });
  const alarms = (): Outcome => alarmsNow(context);
  const get = (path: string, run: Route['run'], least: Tag = tag): Route => ({ method: 'GET', path: `api/${path}`, tag: least, run });
  return [
    get('nodes', () => ok([nodeJson(context)]), 'monitoring'),
    get('nodes/:name', ({ names }) => (names['name'] === nodeName ? ok(nodeJson(context)) : notFound), 'monitoring'),
    get('health/checks/alarms', alarms),
    get('health/checks/local-alarms', alarms),
    get('health/checks/virtual-hosts', fine),
    get('health/checks/node-is-quorum-critical', () => ok({ status: 'ok', reason: 'single node cluster' })),
    get('health/checks/port-listener/:port', ({ names }) => {
      if (!/^\d{1,5}$/.test(names['port']!)) throw refuse('Invalid port');
      const port = Number(names['port']);
      const ports = context.listeners().map((listener) => listener.port);
      return ports.includes(port) ? ok({ status: 'ok', port }) : ill('No active listener', { missing: port, ports });
    }),
    get('health/checks/protocol-listener/:protocol', ({ names }) => {
      const protocol = names['protocol']!;
      const protocols = context.listeners().map((listener) => listener.protocol);
      return protocols.includes(protocol) ? ok({ status: 'ok', protocol }) : ill('No active listener', { missing: protocol, protocols });
    }),
    get('healthchecks/node', alarms),
    get('healthchecks/node/:name', ({ names }) => (names['name'] === nodeName ? alarms() : notFound)),
    get('aliveness-test/:vhost', (request) => {
      if (context.hosts.settingsOf(request.names['vhost']!) === undefined) return notFound;
      return visit(context, request, async (session) => {
        await session.declareQueue(aliveness);
        await session.publish({ exchange: '', routingKey: aliveness, body: Buffer.from('test_message') });
        const message = await session.get(aliveness);
        message?.acknowledge();
        return message === undefined ? ill('the message did not come back', {}) : fine();
      });
    }),
  ];
}

/** Things of RabbitMQ that are not built: there are none of them, and making one is refused. */
export function unbuiltRoutes(): readonly Route[] {
  const none = (path: string): Route => ({ method: 'GET', path: `api/${path}`, tag, run: () => ok([]) });
  const gone = (path: string): Route => ({ method: 'DELETE', path: `api/${path}`, tag: 'policymaker', run: () => notFound });
  const refused = (what: string, path: string): Route => ({
    method: 'PUT',
    path: `api/${path}`,
    tag: 'policymaker',
    run: () => {
      throw new Refusal({
        status: 400,
        body: { error: 'bad_request', reason: `${what} are not built: give queues and exchanges arguments` },
      });
    },
  });
  return [
    ...['policies', 'policies/:vhost', 'operator-policies', 'operator-policies/:vhost', 'parameters', 'global-parameters'].map(none),
    ...['feature-flags', 'deprecated-features', 'deprecated-features/used'].map(none),
    gone('policies/:vhost/:name'),
    gone('operator-policies/:vhost/:name'),
    refused('policies', 'policies/:vhost/:name'),
    refused('operator policies', 'operator-policies/:vhost/:name'),
    refused('parameters', 'parameters/:component/:vhost/:name'),
    refused('global parameters', 'global-parameters/:name'),
  ];
}

function alarmsNow({ hosts }: ManagementContext): Outcome {
  const { gate, isDiskFull } = hosts.first;
  if (gate !== 'blocked') return ok({ status: 'ok' });
  const alarms = [{ node: nodeName, resource: isDiskFull ? 'disk' : 'memory' }];
  return ill('There are alarms in effect in the cluster', { alarms });
}

function ill(reason: string, details: Readonly<Record<string, unknown>>): Outcome {
  return { status: 503, body: { status: 'failed', reason, ...details } };
}

function nodeJson({ hosts, limits, uptimeMs }: ManagementContext): object {
  const { gate, isDiskFull, arena, exchanges } = hosts.first;
  return {
    name: nodeName,
    type: 'disc',
    running: true,
    uptime: Math.round(uptimeMs()),
    rates_mode: 'none',
    // Of messages alone: that is what the limit is about.
    mem_used: arena.bytesInUse,
    mem_limit: limits.memoryBytesMax,
    mem_alarm: gate === 'blocked' && !isDiskFull,
    disk_free_alarm: isDiskFull,
    partitions: [],
    being_drained: false,
    exchange_types: exchanges.typeNames.map((name) => ({ name, description: '', enabled: true })),
    auth_mechanisms: ['PLAIN', 'AMQPLAIN', 'ANONYMOUS'].map((name) => ({ name, description: '', enabled: true })),
    applications: [],
    contexts: [],
    enabled_plugins: [],
  };
}
