/**
 * Events as messages of the broker in this process: what all events of a type have in common is encoded once. Says what `toProperties` says. Keeps a form for
 * each type, as many as may be remembered; nothing survives the process.
 */
import { CommonProperties, type FieldTable, type OutgoingMessage, type OwnProperties } from '@dovecote/broker';
import type { Envelope } from '../envelope.js';
import { TYPES_REMEMBERED_MAX } from '../limits.js';
import { isPlain, timestampOf, toProperties } from './cloud-events.js';
import { SLOT_HEADER, slotOf } from './lanes/slots.js';
import type { Address } from './topology.js';

interface Form {
  readonly source: string;
  readonly version: number | undefined;
  readonly contentType: string;
  readonly common: CommonProperties;
}

/** Of each event its own. */
const ownHeaders: ReadonlySet<string> = new Set([
  'cloudEvents_id',
  'cloudEvents_time',
  'cloudEvents_subject',
  'cloudEvents_partitionkey',
  SLOT_HEADER,
]);
/** A property has 255 bytes at most; what is longer than so many characters may not fit, and is refused where each message is written by itself. */
const CHARACTERS_MAX = 85;

export class EmbeddedForms {
  readonly #byType = new Map<string, Form>();

  message(envelope: Envelope, { exchange, routingKey }: Address): OutgoingMessage {
    const { body } = envelope;
    const own = ownOf(envelope);
    const form = own && this.#formOf(envelope);
    if (own === undefined || form === undefined) return { exchange, routingKey, body, properties: toProperties(envelope) };
    return { exchange, routingKey, body, properties: own, common: form.common };
  }

  /** Where two services or two shapes have one type, the first has the form. */
  #formOf(envelope: Envelope): Form | undefined {
    const { type, source, version, contentType } = envelope;
    const form = this.#byType.get(type) ?? this.#add(envelope);
    return form?.source === source && form.version === version && form.contentType === contentType ? form : undefined;
  }

  #add(envelope: Envelope): Form | undefined {
    const { type, source, version, contentType } = envelope;
    if (type.length > CHARACTERS_MAX || source.length > CHARACTERS_MAX || contentType.length > CHARACTERS_MAX) return undefined;
    const { headers = {}, messageId: _own, timestamp: _too, ...rest } = toProperties(envelope);
    const shared: FieldTable = Object.fromEntries(Object.entries(headers).filter(([name]) => !ownHeaders.has(name)));
    const form: Form = { source, version, contentType, common: new CommonProperties({ ...rest, headers: shared }) };
    if (this.#byType.size >= TYPES_REMEMBERED_MAX) this.#byType.clear();
    this.#byType.set(type, form);
    return form;
  }
}

/** Nothing of an event about which more is told. */
function ownOf(envelope: Envelope): OwnProperties | undefined {
  const { id, time, key, replyTo } = envelope;
  if (time === undefined || replyTo !== undefined || !isPlain(envelope)) return undefined;
  const timestamp = timestampOf(time);
  if (timestamp === undefined) return undefined;
  const headers: FieldTable =
    key === undefined
      ? { cloudEvents_id: id, cloudEvents_time: time }
      : {
          cloudEvents_id: id,
          cloudEvents_subject: key,
          cloudEvents_partitionkey: key,
          [SLOT_HEADER]: slotOf(key),
          cloudEvents_time: time,
        };
  return { headers, messageId: id, timestamp };
}
