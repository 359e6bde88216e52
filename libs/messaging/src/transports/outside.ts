/**
 * What stands on the outside of an AMQP message, read in one pass over its properties and headers, and the envelope that it makes. No I/O.
 */
import type { PropertyVisitor } from '@dovecote/broker';
import { type Envelope, type MessageHeaders, type MessageKind, noHeaders } from '../envelope.js';
import { OWN_PREFIX, isOfTrail, trailOf } from '../trail.js';
import type { UnreadableEnvelope } from '../transport.js';
import { SLOT_HEADER } from './lanes/slots.js';

/** Written by brokers on the way; each writes others, and a handler should not depend on which it is. */
const OF_THE_BROKER = /^x-(?:death|first-death-|last-death-|delivery-count$|acquired-count$|stream-offset$|opt-|delay$)/;
const ATTRIBUTE_PREFIX = 'cloudEvents';
const DEFAULT_CONTENT_TYPE = 'application/json';

/** What a client hands over: the names are those of AMQP, the values whatever a stranger put there. */
export type ForeignProperties = {
  readonly [Name in 'contentType' | 'headers' | 'messageId' | 'type' | 'timestamp' | 'appId' | 'correlationId' | 'replyTo']?: unknown;
};

type Table = Readonly<Record<string, unknown>>;

/** The message that it is the outside of. */
export interface Inside {
  readonly properties: ForeignProperties;
  readonly routingKey: string;
  readonly body: Uint8Array;
}

export class Outside implements PropertyVisitor {
  #specVersion: string | undefined;
  #id: string | undefined;
  #type: string | undefined;
  #source: string | undefined;
  #time: string | undefined;
  #subject: string | undefined;
  #partitionKey: string | undefined;
  #dataVersion: string | undefined;
  #kind: string | undefined;
  #dataSchema: string | undefined;
  #dataRef: string | undefined;
  #correlationId: string | undefined;
  #causationId: string | undefined;
  #expiryTime: string | undefined;
  #hasTrail = false;
  /** Those of the application. */
  #own: Record<string, string> | undefined;

  // For clients that know nothing of CloudEvents.
  #contentType: string | undefined;
  #messageId: string | undefined;
  #typeProperty: string | undefined;
  #appId: string | undefined;
  #timestamp: unknown;
  #correlationProperty: string | undefined;
  #replyTo: string | undefined;

  /** Where they come as an object. */
  read(properties: ForeignProperties): void {
    const { headers, contentType, messageId, type, timestamp, appId, correlationId, replyTo } = properties;
    if (isTable(headers)) for (const name in headers) this.header(name, headers[name]);
    this.#contentType = text(contentType);
    this.#messageId = text(messageId);
    this.#typeProperty = text(type);
    this.#timestamp = timestamp;
    this.#appId = text(appId);
    this.#correlationProperty = text(correlationId);
    this.#replyTo = text(replyTo);
  }

  /** Properties come behind the headers that say the same. */
  wants(name: string): boolean {
    if (name === 'contentType' || name === 'replyTo') return true;
    if (name === 'messageId') return this.#id === undefined;
    if (name === 'type') return this.#type === undefined;
    if (name === 'appId') return this.#source === undefined;
    if (name === 'timestamp') return this.#time === undefined;
    return name === 'correlationId' && this.#correlationId === undefined;
  }

  property(name: string, value: string | number): void {
    if (name === 'timestamp') this.#timestamp = value;
    else if (typeof value === 'string') this.#text(name, value);
  }

  header(name: string, given: unknown): void {
    const value = text(given);
    // Tables and lists have no meaning for a handler.
    if (value === undefined || this.#attribute(name, value)) return;
    if (name.startsWith(ATTRIBUTE_PREFIX)) this.#extension(name.slice(ATTRIBUTE_PREFIX.length + 1), value);
    else if (name.startsWith(OWN_PREFIX)) this.#hasTrail ||= isOfTrail(name);
    else if (!OF_THE_BROKER.test(name)) (this.#own ??= Object.create(null) as Record<string, string>)[name] = value;
  }

  /** Nothing but `body` is asked of what is inside unless something is missing here. */
  envelope(inside: Inside): Envelope | UnreadableEnvelope {
    const id = this.#id ?? this.#messageId;
    const type = this.#type ?? this.#typeProperty ?? inside.routingKey;
    const contentType = this.#contentType ?? DEFAULT_CONTENT_TYPE;
    const headers: MessageHeaders = this.#own ?? noHeaders;
    const { body } = inside;
    if (id === undefined || id === '') {
      const problem = 'it has no id (its publisher must set the message-id property or the header cloudEvents_id)';
      return { problem, id: undefined, type, contentType, headers, body };
    }
    const version = this.#specVersion;
    if (version !== undefined && !version.startsWith('1.')) {
      return { problem: `it is a CloudEvent of version ${version}, and only 1.0 can be read`, id, type, contentType, headers, body };
    }
    return {
      kind: kindOf(this.#kind),
      id,
      type,
      source: this.#source ?? this.#appId ?? 'unknown',
      time: this.#time ?? timeOf(this.#timestamp),
      key: this.#partitionKey ?? this.#subject,
      version: versionOf(this.#dataVersion),
      dataSchema: this.#dataSchema,
      dataRef: this.#dataRef,
      correlationId: this.#correlationId ?? this.#correlationProperty,
      causationId: this.#causationId,
      replyTo: this.#replyTo,
      expiresAtMs: momentOf(this.#expiryTime),
      contentType,
      headers,
      trail: this.#hasTrail ? trailIn(inside.properties) : undefined,
      body,
    };
  }

  #text(name: string, value: string): void {
    if (name === 'contentType') this.#contentType = value;
    else if (name === 'messageId') this.#messageId = value;
    else if (name === 'type') this.#typeProperty = value;
    else if (name === 'appId') this.#appId = value;
    else if (name === 'correlationId') this.#correlationProperty = value;
    else if (name === 'replyTo') this.#replyTo = value;
  }

  /** What nearly every event has, by its whole name: that costs the least. False for any other. */
  #attribute(name: string, value: string): boolean {
    switch (name) {
      case 'cloudEvents_specversion':
        this.#specVersion = value;
        return true;
      case 'cloudEvents_id':
        this.#id = value;
        return true;
      case 'cloudEvents_source':
        this.#source = value;
        return true;
      case 'cloudEvents_type':
        this.#type = value;
        return true;
      case 'cloudEvents_time':
        this.#time = value;
        return true;
      case 'cloudEvents_subject':
        this.#subject = value;
        return true;
      case 'cloudEvents_partitionkey':
        this.#partitionKey = value;
        return true;
      case 'cloudEvents_dataversion':
        this.#dataVersion = value;
        return true;
      default:
        return name === SLOT_HEADER;
    }
  }

  /** Behind the prefix there is `_`, or `:`, which the binding allows as well. */
  #extension(name: string, value: string): void {
    if (this.#attribute(`cloudEvents_${name}`, value)) return;
    if (name === 'kind') this.#kind = value;
    else if (name === 'dataschema') this.#dataSchema = value;
    else if (name === 'dataref') this.#dataRef = value;
    else if (name === 'correlationid') this.#correlationId = value;
    else if (name === 'causationid') this.#causationId = value;
    else if (name === 'expirytime') this.#expiryTime = value;
  }
}

function trailIn({ headers }: ForeignProperties): Envelope['trail'] {
  return isTable(headers) ? trailOf((name) => text(headers[name])) : undefined;
}

function kindOf(kind: string | undefined): MessageKind {
  return kind === 'command' || kind === 'query' || kind === 'reply' ? kind : 'event';
}

function momentOf(time: string | undefined): number | undefined {
  const moment = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(moment) ? undefined : moment;
}

function versionOf(version: string | undefined): number | undefined {
  // Most never had a second one.
  if (version === '1') return 1;
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

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null;
}
