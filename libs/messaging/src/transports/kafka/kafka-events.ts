/**
 * Envelopes as Kafka records and back: the binary form of the CloudEvents binding for Kafka. Attributes are headers `ce_id`, `ce_type` …, the payload's type
 * is `content-type`, the record's key is the envelope's. Headers of the application travel under their own names. No I/O.
 */
import { type Envelope, type MessageHeaders, type MessageKind, noHeaders } from '../../envelope.js';
import { OWN_PREFIX, trailHeaders, trailOf } from '../../trail.js';
import type { UnreadableEnvelope } from '../../transport.js';
import type { IncomingRecord, OutgoingRecord } from './kafka-client.js';

const SPEC_VERSION = '1.0';
const PREFIX = 'ce_';
const CONTENT_TYPE = 'content-type';
const REPLY_TO = 'dovecote-reply-to';
const DEFAULT_CONTENT_TYPE = 'application/json';

/** `recordKey` where the record is to be found by something else than the key of its order. */
export function toRecord(envelope: Envelope, topic: string, recordKey = envelope.key): OutgoingRecord {
  const { headers: own, trail, replyTo, body } = envelope;
  const headers = attributesOf(envelope);
  if (own !== noHeaders) Object.assign(headers, own);
  if (trail !== undefined) Object.assign(headers, trailHeaders(trail));
  if (replyTo !== undefined) headers[REPLY_TO] = replyTo;
  return {
    topic,
    key: recordKey === undefined ? undefined : Buffer.from(recordKey),
    value: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    headers,
  };
}

function attributesOf({ kind, id, type, source, time, key, version, contentType, ...rest }: Envelope): Record<string, string> {
  const { dataSchema, dataRef, correlationId, causationId, expiresAtMs } = rest;
  const headers: Record<string, string> = {
    ce_specversion: SPEC_VERSION,
    ce_id: id,
    ce_source: source,
    ce_type: type,
    [CONTENT_TYPE]: contentType,
  };
  if (time !== undefined) headers['ce_time'] = time;
  if (key !== undefined) {
    headers['ce_subject'] = key;
    headers['ce_partitionkey'] = key;
  }
  if (version !== undefined) headers['ce_dataversion'] = String(version);
  if (kind !== 'event') headers['ce_kind'] = kind;
  if (dataSchema !== undefined) headers['ce_dataschema'] = dataSchema;
  if (dataRef !== undefined) headers['ce_dataref'] = dataRef;
  if (correlationId !== undefined) headers['ce_correlationid'] = correlationId;
  if (causationId !== undefined) headers['ce_causationid'] = causationId;
  if (expiresAtMs !== undefined) headers['ce_expirytime'] = new Date(expiresAtMs).toISOString();
  return headers;
}

/** A stranger's record needs no more than a payload: its place in the log tells it from all others, and its type is the name of its topic. */
export function fromRecord(topic: string, partition: number, record: IncomingRecord): Envelope | UnreadableEnvelope {
  const { headers: given, offset, key, value, timestampMs } = record;
  const type = given.get('ce_type') ?? topic;
  const id = given.get('ce_id') ?? `${topic}/${partition}/${offset}`;
  const contentType = given.get(CONTENT_TYPE) ?? DEFAULT_CONTENT_TYPE;
  const { headers, isTrailed } = ownHeaders(given);
  const outside = { id, type, contentType, headers, body: value ?? noBytes };
  const specVersion = given.get('ce_specversion') ?? SPEC_VERSION;
  if (!specVersion.startsWith('1.'))
    return { ...outside, problem: `it is a CloudEvent of version ${specVersion}, and only 1.0 can be read` };
  if (value === null) return { ...outside, problem: 'it has no payload (a tombstone of a compacted topic)' };
  const trail = isTrailed ? trailOf((name) => given.get(name)) : undefined;
  return {
    ...outside,
    kind: kindOf(given.get('ce_kind')),
    source: given.get('ce_source') ?? 'unknown',
    time: given.get('ce_time') ?? (timestampMs >= 0 ? new Date(timestampMs).toISOString() : undefined),
    // A dead letter stands under its id; what its key was, it says itself.
    key: given.get('ce_partitionkey') ?? (trail?.death === undefined ? key?.toString() : undefined),
    version: versionOf(given.get('ce_dataversion')),
    dataSchema: given.get('ce_dataschema'),
    dataRef: given.get('ce_dataref'),
    correlationId: given.get('ce_correlationid'),
    causationId: given.get('ce_causationid'),
    replyTo: given.get(REPLY_TO),
    expiresAtMs: momentOf(given.get('ce_expirytime')),
    trail,
  };
}

/** As `fromRecord` reads them. */
export function kindAndType(topic: string, { headers }: IncomingRecord): Pick<Envelope, 'kind' | 'type'> {
  return { kind: kindOf(headers.get('ce_kind')), type: headers.get('ce_type') ?? topic };
}

const noBytes = Buffer.alloc(0);

/** Those of the application, and whether there are some of the framework. */
function ownHeaders(all: ReadonlyMap<string, string>): { readonly headers: MessageHeaders; readonly isTrailed: boolean } {
  let headers: Record<string, string> | undefined;
  let isTrailed = false;
  for (const [name, value] of all) {
    if (name.startsWith(PREFIX) || name === CONTENT_TYPE) continue;
    if (name.startsWith(OWN_PREFIX)) isTrailed = true;
    else (headers ??= Object.create(null) as Record<string, string>)[name] = value;
  }
  return { headers: headers ?? noHeaders, isTrailed };
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
