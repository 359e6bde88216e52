import { isUtf8 } from 'node:buffer';
import type { FetchedDelivery } from '../engine/in-process.js';
import type { InProcessSession } from '../engine/in-process-session.js';
import type { MessageProperties } from '../queues/properties.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { jsonOf, tableOf } from './field-json.js';
import { keysOf, notFound, ok, type Outcome, refuse, type RouteRequest, textOf } from './route.js';
import { notThere } from './visit.js';

/** Messages of one request; each is a copy. */
const fetchedMax = 10_000;
const fetchedBytesMax = 64 * 1024 * 1024;

/** What becomes of a message that was shown. */
const settlements = {
  ack_requeue_true: (message: FetchedDelivery) => message.reject({ requeue: true }),
  reject_requeue_true: (message: FetchedDelivery) => message.reject({ requeue: true }),
  ack_requeue_false: (message: FetchedDelivery) => message.acknowledge(),
  reject_requeue_false: (message: FetchedDelivery) => message.reject({ requeue: false }),
} as const;

/** The names of properties in JSON and in the process; RabbitMQ's JSON has no others. */
const texts = {
  content_type: 'contentType',
  content_encoding: 'contentEncoding',
  correlation_id: 'correlationId',
  reply_to: 'replyTo',
  expiration: 'expiration',
  message_id: 'messageId',
  type: 'type',
  user_id: 'userId',
  app_id: 'appId',
  cluster_id: 'clusterId',
} as const;
const numbers = { delivery_mode: ['deliveryMode', 255], priority: ['priority', 255], timestamp: ['timestamp', 2 ** 53 - 1] } as const;

/** `POST /api/exchanges/VHOST/NAME/publish`. */
export async function publishMessage(session: InProcessSession, exchange: string, { body, user }: RouteRequest): Promise<Outcome> {
  const given = body();
  keysOf(given, ['properties', 'routing_key', 'payload', 'payload_encoding']);
  const { payload_encoding: encoding } = given;
  if (encoding !== 'string' && encoding !== 'base64') throw refuse(['unsupported_encoding', encoding]);
  const properties = propertiesOf(given['properties']);
  if (properties.userId !== undefined && properties.userId !== user.name && !user.tags.includes('impersonator')) {
    const reason = `user_id property set to '${properties.userId}' but authenticated user was '${user.name}'`;
    throw refuse(`406 PRECONDITION_FAILED - ${reason}`);
  }
  const outcome = await session.publish({
    exchange,
    routingKey: shortTextOf(given, 'routing_key'),
    body: Buffer.from(textOf(given, 'payload'), encoding === 'string' ? 'utf8' : 'base64'),
    properties,
  });
  return ok({ routed: outcome === 'confirmed' });
}

/** `POST /api/queues/VHOST/NAME/get`: shows messages, and then does with them what `ackmode` says. */
export async function fetchMessages(session: InProcessSession, host: VirtualHost, { names, body }: RouteRequest): Promise<Outcome> {
  const queue = names['name']!;
  if (host.queueNamed(queue) === undefined) return notThere('queue_not_found');
  const given = body();
  keysOf(given, ['count', 'ackmode', 'encoding']);
  const count = numberOf('count', given['count'], fetchedMax);
  const { ackmode, encoding, truncate } = given;
  const settle = settlements[ackmode as keyof typeof settlements];
  if (settle === undefined) throw refuse(`"ackmode" must be one of ${Object.keys(settlements).join(', ')}`);
  if (encoding !== 'auto' && encoding !== 'base64') throw refuse('Unsupported encoding. Please use auto or base64.');
  const bytesMax = truncate === undefined ? Infinity : numberOf('truncate', truncate, Number.MAX_SAFE_INTEGER);
  const fetched: FetchedDelivery[] = [];
  for (let bytes = 0; fetched.length < count && bytes < fetchedBytesMax; bytes += fetched.at(-1)!.body.length) {
    const message = await session.get(queue);
    if (message === undefined) break;
    fetched.push(message);
  }
  const shown = fetched.map((message) => messageJson(message, bytesMax, encoding === 'auto'));
  for (const message of fetched) settle(message);
  return host.queueNamed(queue) === undefined && fetched.length === 0 ? notFound : ok(shown);
}

function messageJson(message: FetchedDelivery, bytesMax: number, mayBeText: boolean): object {
  const payload = message.body.subarray(0, bytesMax);
  const isText = mayBeText && isUtf8(payload);
  return {
    payload_bytes: message.body.length,
    redelivered: message.isRedelivered,
    exchange: message.exchange,
    routing_key: message.routingKey,
    message_count: message.messageCount,
    properties: propertiesJson(message.properties),
    payload: payload.toString(isText ? 'utf8' : 'base64'),
    payload_encoding: isText ? 'string' : 'base64',
  };
}

function propertiesOf(given: unknown): MessageProperties {
  if (Array.isArray(given) && given.length === 0) return {};
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw refuse('"properties" must be an object');
  const all = given as Readonly<Record<string, unknown>>;
  const properties: Record<string, unknown> = {};
  for (const [theirs, ours] of Object.entries(texts)) if (all[theirs] !== undefined) properties[ours] = shortTextOf(all, theirs);
  for (const [theirs, [ours, max]] of Object.entries(numbers)) {
    if (all[theirs] !== undefined) properties[ours] = numberOf(theirs, all[theirs], max);
  }
  const headers = tableOf(all['headers'], 'headers');
  return (Object.keys(headers).length === 0 ? properties : { ...properties, headers }) as MessageProperties;
}

/** A list for none, as RabbitMQ has it. */
function propertiesJson(properties: MessageProperties): object {
  const given: Record<string, unknown> = {};
  for (const [theirs, [ours]] of Object.entries(numbers)) if (properties[ours] !== undefined) given[theirs] = properties[ours];
  for (const [theirs, ours] of Object.entries(texts)) if (properties[ours] !== undefined) given[theirs] = properties[ours];
  if (properties.headers !== undefined) given['headers'] = jsonOf(properties.headers);
  return Object.keys(given).length === 0 ? [] : given;
}

function shortTextOf(given: Readonly<Record<string, unknown>>, name: string): string {
  const text = textOf(given, name);
  if (Buffer.byteLength(text) > 255) throw refuse(`"${name}" is longer than 255 bytes`);
  return text;
}

/** A number that came as a text counts too, as in RabbitMQ. */
function numberOf(name: string, given: unknown, max: number): number {
  const value = typeof given === 'string' && /^\d{1,16}$/.test(given) ? Number(given) : given;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw refuse(['not_int', name]);
}
