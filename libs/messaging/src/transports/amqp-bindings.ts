/**
 * Bindings as they are on an AMQP broker beside those that a service needs. An AMQP client cannot list them; the management API can, RabbitMQ's and ours. A
 * binding that is missing gets no messages where nothing is made; one too many brings what nobody here handles. Asks, and changes nothing.
 */
import { type HttpAnswer, type HttpGetOptions, httpGet } from '@dovecote/ground';
import { MessagingError, reasonOf } from '../errors.js';
import type { PlannedThing } from '../transport.js';
import { isWorthALine } from './amqp-plan.js';
import { BOXES_EXCHANGE, COMMANDS_EXCHANGE, type Declared, EVENTS_EXCHANGE, describe } from './topology.js';

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const OURS: readonly string[] = [EVENTS_EXCHANGE, COMMANDS_EXCHANGE, BOXES_EXCHANGE];

export type Bindings = (things: readonly Declared[], makesNothing: boolean) => Promise<readonly PlannedThing[]>;

/** Where nobody said where the management API answers. */
export const notCompared: PlannedThing = {
  thing: 'bindings',
  state: 'unseen',
  detail: 'they were not compared, for AMQP does not tell them',
  wayOut: "say where the management API answers: broker: { url, management: 'http://localhost:15672' }",
};

/** As the management API tells of it. */
interface Found {
  readonly source: string;
  readonly destination: string;
  readonly destination_type: string;
  readonly routing_key: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

type Way = Extract<Declared, { thing: 'binding' | 'link' | 'no-binding' | 'no-link' }>;
type Ask = (url: URL, options: HttpGetOptions) => Promise<HttpAnswer>;

/** Of the virtual host of `broker`, whose login holds where the URL of the management API has none. Throws a `MessagingError` of code `invalid-options`. */
export function bindingsBy(management: string, broker: string, ask: Ask = httpGet): Bindings {
  if (!/^https?:/.test(management) || !URL.canParse(management)) {
    // The text itself may hold the password, so it is not repeated.
    throw new MessagingError('invalid-options', 'management must be where the management API answers, such as http://localhost:15672.');
  }
  const [url, own] = [new URL(management), new URL(broker)];
  const from = url.username === '' ? own : url;
  const login = { user: decodeURIComponent(from.username) || 'guest', password: decodeURIComponent(from.password) || 'guest' };
  const virtualHost = decodeURIComponent(own.pathname.slice(1)) || '/';
  const base = `${url.origin}${url.pathname.replace(/\/$/, '')}`;

  /** What leads to a queue or an exchange; nothing where that is not there. */
  const leadingTo = async (kind: 'queues' | 'exchanges', name: string): Promise<readonly Found[]> => {
    const end = kind === 'queues' ? 'bindings' : 'bindings/destination';
    const place = new URL(`${base}/api/${kind}/${encodeURIComponent(virtualHost)}/${encodeURIComponent(name)}/${end}`);
    const { status, text } = await ask(place, { ...login, timeoutMs: TIMEOUT_MS, bytesMax: ANSWER_BYTES_MAX });
    if (status === 404) return [];
    if (status !== 200) throw new Error(`it answered ${status} to '${login.user}'`);
    return JSON.parse(text) as readonly Found[];
  };

  return async (things, makesNothing) => {
    try {
      const ends = [...new Set(things.flatMap(endsOf))].map((end) => end.split(' ', 2) as ['queues' | 'exchanges', string]);
      const found = (await Promise.all(ends.map(([kind, name]) => leadingTo(kind, name)))).flat();
      return compared(things.filter(isWay), found, makesNothing);
    } catch (error) {
      return [
        {
          thing: 'bindings',
          state: 'unseen',
          detail: `they were not compared, because of the management API at ${url.origin}: ${reasonOf(error)}`,
        },
      ];
    }
  };
}

/** The queues, and what exchanges are bound to. */
function endsOf(declared: Declared): readonly string[] {
  if (declared.thing === 'queue') return [`queues ${declared.name}`];
  return declared.thing === 'link' ? [`exchanges ${declared.to}`] : [];
}

function isWay(declared: Declared): declared is Way {
  return declared.thing !== 'exchange' && declared.thing !== 'queue';
}

function compared(ways: readonly Way[], found: readonly Found[], makesNothing: boolean): readonly PlannedThing[] {
  const there = new Map(found.map((one) => [keyOf(one), one]));
  const stateOf = (way: Way): 'present' | 'absent' => (there.has(keyOf(foundAs(way))) ? 'present' : 'absent');
  // Those that come with their exchange are worth a line where some of them are there, and others not.
  const areInPart = ways.some((way) => !isWorthALine(way) && isWanted(way) && stateOf(way) === 'present');
  const planned: PlannedThing[] = [];
  for (const way of ways) {
    const state = stateOf(way);
    there.delete(keyOf(foundAs(way)));
    if (isWanted(way)) {
      if (isWorthALine(way) || (state === 'absent' && areInPart)) planned.push({ thing: describe(way), state, detail: undefined });
      // Taken down where things are made.
    } else if (state === 'present' && makesNothing) planned.push(tooMany(foundAs(way)));
  }
  for (const one of there.values()) if (OURS.includes(one.source)) planned.push(tooMany(one));
  return planned;
}

function isWanted({ thing }: Way): boolean {
  return thing === 'binding' || thing === 'link';
}

function tooMany({ source, destination, routing_key: key }: Found): PlannedThing {
  return {
    thing: `binding of ${destination} to ${source} by ${key}`,
    state: 'different',
    isUsable: true,
    detail: 'there should be none, and what comes by it nobody here asked for',
    wayOut: 'remove it (in the management of the broker, or by `dovecote bindings delete`)',
  };
}

function foundAs(way: Way): Found {
  const isLink = 'to' in way;
  return {
    source: isLink ? way.from : way.exchange,
    destination: isLink ? way.to : way.queue,
    destination_type: isLink ? 'exchange' : 'queue',
    routing_key: way.routingKey,
    arguments: way.thing === 'binding' ? (way.arguments ?? {}) : {},
  };
}

function keyOf({ source, destination, destination_type: kind, routing_key: key, arguments: given }: Found): string {
  return JSON.stringify([source, kind, destination, key, Object.entries(given).toSorted(([one], [other]) => (one < other ? -1 : 1))]);
}
