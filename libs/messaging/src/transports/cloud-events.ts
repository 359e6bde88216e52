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
/** Written by brokers on the way; each writes others, and a handler should not depend on which it is. */
const OF_THE_BROKER = /^x-(?:death|first-death-|last-death-|delivery-count$|acquired-count$|stream-offset$)/;
const DEFAULT_CONTENT_TYPE = 'application/json';

/** What a client hands over: the names are those of AMQP, the values whatever a stranger put there. */
export type ForeignProperties = { readonly [Name in 'contentType' | 'headers' | 'messageId' | 'type' | 'timestamp' | 'appId']?: unknown };

type Table = Readonly<Record<string, unknown>>;

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
  const type = attribute(table, 'cloudEvents_type') ?? text(properties.type) ?? routingKey;
  const id = attribute(table, 'cloudEvents_id') ?? text(properties.messageId);
  if (id === undefined || id === '') {
    return { problem: 'it has no id (its publisher must set the message-id property or the header cloudEvents_id)', id: undefined, type };
  }
  const specVersion = attribute(table, 'cloudEvents_specversion') ?? SPEC_VERSION;
  if (!specVersion.startsWith('1.')) return { problem: `it is a CloudEvent of version ${specVersion}, and only 1.0 can be read`, id, type };
  return {
    id,
    type,
    source: attribute(table, 'cloudEvents_source') ?? text(properties.appId) ?? 'unknown',
    time: attribute(table, 'cloudEvents_time') ?? timeOf(properties.timestamp),
    key: attribute(table, 'cloudEvents_partitionkey') ?? attribute(table, 'cloudEvents_subject'),
    version: versionOf(attribute(table, 'cloudEvents_dataversion')),
    contentType: text(properties.contentType) ?? DEFAULT_CONTENT_TYPE,
    headers: ownHeaders(table),
    body,
  };
}

/** `cloudEvents:` is the other form of the prefix that the binding allows. */
function attribute(table: Table, name: string): string | undefined {
  const value = table[name];
  return typeof value === 'string' ? value : (text(value) ?? text(table[name.replace('_', ':')]));
}

function ownHeaders(table: Table): MessageHeaders {
  let headers: Record<string, string> | undefined;
  for (const name in table) {
    if (name.startsWith('cloudEvents') || OF_THE_BROKER.test(name)) continue;
    const value = text(table[name]);
    // Tables and lists have no meaning for a handler.
    if (value !== undefined) (headers ??= Object.create(null) as Record<string, string>)[name] = value;
  }
  return headers ?? noHeaders;
}

function versionOf(version: string | undefined): number | undefined {
  return version !== undefined && /^[1-9]\d{0,8}$/.test(version) ? Number(version) : undefined;
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

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null;
}
