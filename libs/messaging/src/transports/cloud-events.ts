/**
 * Envelopes as AMQP messages and back. The attributes of CloudEvents travel as headers `cloudEvents_id`, `cloudEvents_type` … (the form that the
 * CloudEvents binding for AMQP prefers), and for clients that know nothing of CloudEvents also as the properties message-id, type, app-id and
 * timestamp, correlation-id and reply-to; the payload's type is content-type. Headers of the application travel under their own names. A key's slot is
 * written for services that read in order (lanes/slots.ts). No I/O.
 */
import type { MessageProperties } from '@dovecote/broker';
import { type Envelope, type MessageHeaders, type MessageKind, type Trail, noHeaders } from '../envelope.js';
import { OWN_PREFIX, isOfTrail, trailHeaders, trailOf } from '../trail.js';
import type { UnreadableEnvelope } from '../transport.js';
import { SLOT_HEADER, slotOf } from './lanes/slots.js';

const SPEC_VERSION = '1.0';
const PERSISTENT = 2;
/** Written by brokers on the way; each writes others, and a handler should not depend on which it is. */
const OF_THE_BROKER = /^x-(?:death|first-death-|last-death-|delivery-count$|acquired-count$|stream-offset$|opt-|delay$)/;
const ATTRIBUTE_PREFIX = 'cloudEvents';
const DELIVERY_COUNT = 'x-delivery-count';
const DEFAULT_CONTENT_TYPE = 'application/json';

/** What a client hands over: the names are those of AMQP, the values whatever a stranger put there. */
export type ForeignProperties = {
  readonly [Name in 'contentType' | 'headers' | 'messageId' | 'type' | 'timestamp' | 'appId' | 'correlationId' | 'replyTo']?: unknown;
};

type Table = Readonly<Record<string, unknown>>;

export function toProperties(envelope: Envelope): MessageProperties {
  const { id, type, source, time, key, version, contentType, headers: own, correlationId, replyTo, trail } = envelope;
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
  if (own !== noHeaders) Object.assign(headers, own);
  if (isExtended(envelope)) addExtensions(headers, envelope);
  if (trail !== undefined) Object.assign(headers, trailHeaders(trail));
  const rest = correlationId === undefined && replyTo === undefined ? undefined : conversation(correlationId, replyTo);
  if (time === undefined) return { contentType, headers, deliveryMode: PERSISTENT, messageId: id, type, appId: source, ...rest };
  headers['cloudEvents_time'] = time;
  const timestamp = secondsOf(time);
  const properties = { contentType, headers, deliveryMode: PERSISTENT, messageId: id, timestamp, type, appId: source } as const;
  return rest === undefined ? properties : { ...properties, ...rest };
}

let lastTime = '';
let lastSeconds = 0;

/** Many events share a millisecond. */
function secondsOf(time: string): number {
  if (time !== lastTime) {
    lastTime = time;
    lastSeconds = Math.floor(Date.parse(time) / 1000);
  }
  return lastSeconds;
}

/** Most events are not. */
function isExtended({ kind, dataSchema, dataRef, correlationId, expiresAtMs }: Envelope): boolean {
  return kind !== 'event' || dataSchema !== undefined || dataRef !== undefined || correlationId !== undefined || expiresAtMs !== undefined;
}

function addExtensions(headers: Record<string, string>, envelope: Envelope): void {
  const { kind, dataSchema, dataRef, correlationId, causationId, expiresAtMs } = envelope;
  if (kind !== 'event') headers['cloudEvents_kind'] = kind;
  if (dataSchema !== undefined) headers['cloudEvents_dataschema'] = dataSchema;
  if (dataRef !== undefined) headers['cloudEvents_dataref'] = dataRef;
  if (correlationId !== undefined) headers['cloudEvents_correlationid'] = correlationId;
  if (causationId !== undefined) headers['cloudEvents_causationid'] = causationId;
  if (expiresAtMs !== undefined) headers['cloudEvents_expirytime'] = new Date(expiresAtMs).toISOString();
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
  const said = new Headers();
  if (isTable(properties.headers)) said.read(properties.headers);
  const type = said.type ?? text(properties.type) ?? routingKey;
  const id = said.id ?? text(properties.messageId);
  const contentType = text(properties.contentType) ?? DEFAULT_CONTENT_TYPE;
  const { headers } = said;
  if (id === undefined || id === '') {
    const problem = 'it has no id (its publisher must set the message-id property or the header cloudEvents_id)';
    return { problem, id: undefined, type, contentType, headers, body };
  }
  if (said.specVersion !== undefined && !said.specVersion.startsWith('1.')) {
    return { problem: `it is a CloudEvent of version ${said.specVersion}, and only 1.0 can be read`, id, type, contentType, headers, body };
  }
  return {
    kind: kindOf(said.kind),
    id,
    type,
    source: said.source ?? text(properties.appId) ?? 'unknown',
    time: said.time ?? timeOf(properties.timestamp),
    key: said.partitionKey ?? said.subject,
    version: versionOf(said.dataVersion),
    dataSchema: said.dataSchema,
    dataRef: said.dataRef,
    correlationId: said.correlationId ?? text(properties.correlationId),
    causationId: said.causationId,
    replyTo: text(properties.replyTo),
    expiresAtMs: momentOf(said.expiryTime),
    contentType,
    headers,
    trail: said.trail,
    body,
  };
}

/** How often the message was handed out, this time included: exact in a quorum queue; elsewhere 2 stands for "before". */
export function deliveriesOf(properties: ForeignProperties, isRedelivered: boolean): number {
  if (!isRedelivered) return 1;
  const count = isTable(properties.headers) ? properties.headers[DELIVERY_COUNT] : undefined;
  return typeof count === 'number' || typeof count === 'bigint' ? Number(count) + 1 : 2;
}

/** What a table of headers says, read in one pass. */
class Headers {
  specVersion: string | undefined;
  id: string | undefined;
  type: string | undefined;
  source: string | undefined;
  time: string | undefined;
  subject: string | undefined;
  partitionKey: string | undefined;
  dataVersion: string | undefined;
  kind: string | undefined;
  dataSchema: string | undefined;
  dataRef: string | undefined;
  correlationId: string | undefined;
  causationId: string | undefined;
  expiryTime: string | undefined;
  trail: Trail | undefined;
  /** Those of the application. */
  headers: MessageHeaders = noHeaders;

  read(table: Table): void {
    let own: Record<string, string> | undefined;
    for (const name in table) {
      const value = text(table[name]);
      // Tables and lists have no meaning for a handler.
      if (value === undefined || this.#known(name, value)) continue;
      if (name.startsWith(ATTRIBUTE_PREFIX)) this.#attribute(name.slice(ATTRIBUTE_PREFIX.length + 1), value);
      else if (name.startsWith(OWN_PREFIX)) this.#own(name, table);
      else if (!OF_THE_BROKER.test(name)) (own ??= Object.create(null) as Record<string, string>)[name] = value;
    }
    if (own !== undefined) this.headers = own;
  }

  /** What nearly every event has, by its whole name: that costs the least. */
  #known(name: string, value: string): boolean {
    switch (name) {
      case 'cloudEvents_specversion':
        this.specVersion = value;
        return true;
      case 'cloudEvents_id':
        this.id = value;
        return true;
      case 'cloudEvents_type':
        this.type = value;
        return true;
      case 'cloudEvents_source':
        this.source = value;
        return true;
      case 'cloudEvents_time':
        this.time = value;
        return true;
      case 'cloudEvents_subject':
        this.subject = value;
        return true;
      case 'cloudEvents_partitionkey':
        this.partitionKey = value;
        return true;
      case 'cloudEvents_dataversion':
        this.dataVersion = value;
        return true;
      default:
        return name === SLOT_HEADER;
    }
  }

  #own(name: string, table: Table): void {
    if (isOfTrail(name)) this.trail ??= trailOf((wanted) => text(table[wanted]));
  }

  /** Behind the prefix there is `_`, or `:`, which the binding allows as well. */
  #attribute(name: string, value: string): void {
    if (this.#known(`cloudEvents_${name}`, value)) return;
    if (name === 'kind') this.kind = value;
    else if (name === 'dataschema') this.dataSchema = value;
    else if (name === 'dataref') this.dataRef = value;
    else if (name === 'correlationid') this.correlationId = value;
    else if (name === 'causationid') this.causationId = value;
    else if (name === 'expirytime') this.expiryTime = value;
  }
}

function kindOf(kind: string | undefined): MessageKind {
  return kind === 'command' || kind === 'query' || kind === 'reply' ? kind : 'event';
}

function momentOf(time: string | undefined): number | undefined {
  const moment = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(moment) ? undefined : moment;
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
