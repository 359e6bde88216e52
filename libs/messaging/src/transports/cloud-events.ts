/**
 * Envelopes as AMQP messages and back. The attributes of CloudEvents travel as headers `cloudEvents_id`, `cloudEvents_type` … (the form that the
 * CloudEvents binding for AMQP prefers), and for clients that know nothing of CloudEvents also as the properties message-id, type, app-id and
 * timestamp, correlation-id and reply-to; the payload's type is content-type. Headers of the application travel under their own names. A key's slot is
 * written for services that read in order (lanes/slots.ts). No I/O.
 */
import type { Delivery, MessageProperties } from '@dovecote/broker';
import { type Envelope, noHeaders } from '../envelope.js';
import { trailHeaders } from '../trail.js';
import type { UnreadableEnvelope } from '../transport.js';
import { SLOT_HEADER, slotOf } from './lanes/slots.js';
import { type ForeignProperties, Outside, isTable } from './outside.js';

export const SPEC_VERSION = '1.0';
export const PERSISTENT = 2;
const DELIVERY_COUNT = 'x-delivery-count';

export function toProperties(envelope: Envelope): MessageProperties {
  const { id, type, source, time, key, version, contentType, correlationId, replyTo } = envelope;
  const headers: Record<string, string> = {
    cloudEvents_specversion: SPEC_VERSION,
    cloudEvents_id: id,
    cloudEvents_source: source,
    cloudEvents_type: type,
  };
  if (key !== undefined) {
    headers['cloudEvents_subject'] = key;
    headers['cloudEvents_partitionkey'] = key;
    headers[SLOT_HEADER] = slotOf(key);
  }
  if (version !== undefined) headers['cloudEvents_dataversion'] = String(version);
  if (!isPlain(envelope)) addExtraHeaders(headers, envelope);
  const rest = correlationId === undefined && replyTo === undefined ? undefined : conversation(correlationId, replyTo);
  if (time !== undefined) headers['cloudEvents_time'] = time;
  const timestamp = time === undefined ? undefined : timestampOf(time);
  if (timestamp === undefined) return { contentType, headers, deliveryMode: PERSISTENT, messageId: id, type, appId: source, ...rest };
  const properties = { contentType, headers, deliveryMode: PERSISTENT, messageId: id, timestamp, type, appId: source } as const;
  return rest === undefined ? properties : { ...properties, ...rest };
}

let lastTime = '';
let lastTimestamp: number | undefined;

/** In whole seconds since 1970, as AMQP counts; many messages share a millisecond. Nothing for a time that a stranger wrote in another way. */
export function timestampOf(time: string): number | undefined {
  if (time !== lastTime) {
    const seconds = Math.floor(Date.parse(time) / 1000);
    lastTime = time;
    lastTimestamp = seconds >= 0 ? seconds : undefined;
  }
  return lastTimestamp;
}

/** Most events are: nothing about them is told but who published what, when and under which key. */
export function isPlain({ kind, dataSchema, dataRef, correlationId, causationId, expiresAtMs, headers, trail }: Envelope): boolean {
  return (
    kind === 'event' &&
    headers === noHeaders &&
    trail === undefined &&
    dataSchema === undefined &&
    dataRef === undefined &&
    correlationId === undefined &&
    causationId === undefined &&
    expiresAtMs === undefined
  );
}

/** What travels in headers beside what every message has. */
export function addExtraHeaders(headers: Record<string, string>, envelope: Envelope): void {
  const { kind, dataSchema, dataRef, correlationId, causationId, expiresAtMs, headers: own, trail } = envelope;
  Object.assign(headers, own);
  if (kind !== 'event') headers['cloudEvents_kind'] = kind;
  if (dataSchema !== undefined) headers['cloudEvents_dataschema'] = dataSchema;
  if (dataRef !== undefined) headers['cloudEvents_dataref'] = dataRef;
  if (correlationId !== undefined) headers['cloudEvents_correlationid'] = correlationId;
  if (causationId !== undefined) headers['cloudEvents_causationid'] = causationId;
  if (expiresAtMs !== undefined) headers['cloudEvents_expirytime'] = new Date(expiresAtMs).toISOString();
  if (trail !== undefined) Object.assign(headers, trailHeaders(trail));
}

/** As properties they are short strings, which a client of ours or another may need to answer. */
function conversation(
  correlationId: string | undefined,
  replyTo: string | undefined,
): Pick<MessageProperties, 'correlationId' | 'replyTo'> {
  return { ...(correlationId === undefined ? {} : { correlationId }), ...(replyTo === undefined ? {} : { replyTo }) };
}

/**
 * A stranger's message needs a JSON payload and a message-id to be read; the type defaults to the routing key. Without an id it cannot be told from
 * its repetitions, so there it says what is missing.
 */
export function fromProperties(properties: ForeignProperties, routingKey: string, body: Uint8Array): Envelope | UnreadableEnvelope {
  const outside = new Outside();
  outside.read(properties);
  return outside.envelope({ properties, routingKey, body });
}

/** The same of a message from the broker in this process. */
export function fromDelivery(delivery: Delivery): Envelope | UnreadableEnvelope {
  const outside = new Outside();
  delivery.visitProperties(outside);
  return outside.envelope(delivery);
}

/** How often the message was handed out, this time included: exact in a quorum queue; elsewhere 2 stands for "before". */
export function deliveriesOf(properties: ForeignProperties, isRedelivered: boolean): number {
  if (!isRedelivered) return 1;
  const count = isTable(properties.headers) ? properties.headers[DELIVERY_COUNT] : undefined;
  return typeof count === 'number' || typeof count === 'bigint' ? Number(count) + 1 : 2;
}
