/**
 * Envelopes as AMQP messages and back. The attributes of CloudEvents travel as headers `cloudEvents_id`, `cloudEvents_type` … (the form that the
 * CloudEvents binding for AMQP prefers), and for clients that know nothing of CloudEvents also as the properties message-id, type, app-id and
 * timestamp; the payload's type is content-type. Headers of the application travel under their own names. No I/O.
 */
import type { MessageProperties } from '@dovecote/broker';
import { type Envelope, type MessageHeaders, noHeaders } from '../envelope.js';
import type { UnreadableEnvelope } from '../transport.js';

const SPEC_VERSION = '1.0';
const PERSISTENT = 2;
const DEFAULT_CONTENT_TYPE = 'application/json';

/** What a client hands over: the names are those of AMQP, the values whatever a stranger put there. */
export type ForeignProperties = { readonly [Name in 'contentType' | 'headers' | 'messageId' | 'type' | 'timestamp' | 'appId']?: unknown };

export function toProperties(envelope: Envelope): MessageProperties {
  const { id, type, source, time, key, version, contentType, headers: own } = envelope;
  const headers: Record<string, string> = {
    cloudEvents_specversion: SPEC_VERSION,
    cloudEvents_id: id,
    cloudEvents_source: source,
    cloudEvents_type: type,
  };
  if (key !== undefined) {
    headers['cloudEvents_subject'] = key;
    headers['cloudEvents_partitionkey'] = key;
  }
  if (version !== undefined) headers['cloudEvents_dataversion'] = String(version);
  if (own !== noHeaders) Object.assign(headers, own);
  if (time === undefined) return { contentType, headers, deliveryMode: PERSISTENT, messageId: id, type, appId: source };
  headers['cloudEvents_time'] = time;
  return {
    contentType,
    headers,
    deliveryMode: PERSISTENT,
    messageId: id,
    timestamp: Math.floor(Date.parse(time) / 1000),
    type,
    appId: source,
  };
}

/**
 * A stranger's message needs a JSON payload and a message-id to be read; the type defaults to the routing key. Without an id it cannot be told from
 * its repetitions, so there it says what is missing.
 */
export function fromProperties(properties: ForeignProperties, routingKey: string, body: Uint8Array): Envelope | UnreadableEnvelope {
  const table = isTable(properties.headers) ? properties.headers : {};
  const attribute = (name: string): string | undefined => text(table[`cloudEvents_${name}`]) ?? text(table[`cloudEvents:${name}`]);
  const type = attribute('type') ?? text(properties.type) ?? routingKey;
  const id = attribute('id') ?? text(properties.messageId);
  if (id === undefined || id === '') {
    return { problem: 'it has no id (its publisher must set the message-id property or the header cloudEvents_id)', id: undefined, type };
  }
  const specVersion = attribute('specversion') ?? SPEC_VERSION;
  if (!specVersion.startsWith('1.')) return { problem: `it is a CloudEvent of version ${specVersion}, and only 1.0 can be read`, id, type };
  const version = Number(attribute('dataversion'));
  return {
    id,
    type,
    source: attribute('source') ?? text(properties.appId) ?? 'unknown',
    time: attribute('time') ?? timeOf(properties.timestamp),
    key: attribute('partitionkey') ?? attribute('subject'),
    version: Number.isInteger(version) && version > 0 ? version : undefined,
    contentType: text(properties.contentType) ?? DEFAULT_CONTENT_TYPE,
    headers: ownHeaders(table),
    body,
  };
}

function ownHeaders(table: Readonly<Record<string, unknown>>): MessageHeaders {
  let headers: Record<string, string> | undefined;
  for (const name in table) {
    if (name.startsWith('cloudEvents_') || name.startsWith('cloudEvents:')) continue;
    const value = text(table[name]);
    // Tables and lists, such as a broker's x-death, have no meaning for a handler.
    if (value !== undefined) (headers ??= Object.create(null) as Record<string, string>)[name] = value;
  }
  return headers ?? noHeaders;
}

function timeOf(timestamp: unknown): string | undefined {
  if (typeof timestamp !== 'number' || !Number.isFinite(timestamp) || Math.abs(timestamp) > 8.64e12) return undefined;
  return new Date(timestamp * 1000).toISOString();
}

function text(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  return undefined;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
