/**
 * Payloads to bytes and back: JSON, or what a `MessageCodec` makes of them, and on the way in a real instance of the message's class. No I/O of its own; a codec
 * may ask a registry for a schema.
 */
import { ClassSchema } from './class-validation.js';
import type { Envelope } from './envelope.js';
import { MessagingError, reasonOf } from './errors.js';
import type { MessageClass } from './message-definition.js';
import type { StandardSchema } from './policies/validation.js';

/**
 * A format of payloads. What it encodes carries its content type, and what comes in with that content type it decodes, whoever published it. Where its schemas
 * have ids, they travel in the bytes, or as the `dataSchema` of the envelope.
 *
 * A promise where a schema must be fetched first: the payload is read when `encode` is called, so read it before you wait.
 */
export interface MessageCodec {
  /** A media type without parameters, such as `application/avro`. */
  readonly contentType: string;
  /** Throws, or rejects, where the payload does not fit: the message is not published, and the caller is told. */
  encode(payload: unknown, outside: PayloadOutside): Encoded | Promise<Encoded>;
  /**
   * What it throws makes a dead letter of the message at once, unless its `retryable` is true: then it is an attempt that failed (the registry is away).
   */
  decode(body: Uint8Array, outside: PayloadOutside): unknown;
}

export type Encoded = Uint8Array | { readonly body: Uint8Array; readonly dataSchema: string };

/** What stands on the outside of a message, as far as a format may need it. */
export interface PayloadOutside {
  readonly type: string;
  readonly version: number | undefined;
  /** Where the payload's schema stands, a URI. */
  readonly dataSchema: string | undefined;
  /** With its parameters. */
  readonly contentType: string;
}

export const JSON_CONTENT_TYPE = 'application/json';

/** A payload whose bytes or whose schema must be fetched first: an attempt of the handler begins with that. */
export class LatePayload {
  constructor(readonly open: () => Promise<object>) {}
}

/** The formats that a service reads, JSON always among them. */
export class Codecs {
  readonly #byType = new Map<string, MessageCodec>();

  /** Throws a `MessagingError` of code `invalid-options` where two of them claim one content type, or one claims none, or JSON. */
  constructor(codecs: Iterable<MessageCodec>) {
    for (const codec of codecs) {
      const { contentType } = codec;
      if (typeof contentType !== 'string' || !MEDIA_TYPE.test(contentType) || isJson(contentType)) {
        throw new MessagingError(
          'invalid-options',
          `A codec has the content type ${JSON.stringify(contentType)}: it must be a media type in lower case without parameters, such as 'application/avro', and not JSON, which is always read.`,
        );
      }
      const known = this.#byType.get(contentType);
      if (known !== undefined && known !== codec) {
        throw new MessagingError(
          'invalid-options',
          `Two codecs have the content type ${contentType}: a service reads it with one of them.`,
        );
      }
      this.#byType.set(contentType, codec);
    }
  }

  /** Whether any but JSON is among them. */
  get isPlain(): boolean {
    return this.#byType.size === 0;
  }

  /** The payload, or a promise of it. Throws a `MessagingError` of code `unreadable`. */
  decode(envelope: EncodedOutside): unknown {
    const { contentType, body } = envelope;
    if (contentType === JSON_CONTENT_TYPE || this.#byType.size === 0) return parseBody(envelope);
    const codec = this.#byType.get(essenceOf(contentType));
    if (codec === undefined) return isJson(contentType) ? parseBody(envelope) : this.#unknown(contentType);
    try {
      const payload = codec.decode(body, envelope);
      return payload instanceof Promise ? payload.catch((error: unknown) => undecodable(contentType, error)) : payload;
    } catch (error) {
      return undecodable(contentType, error);
    }
  }

  #unknown(contentType: string): never {
    const read = [JSON_CONTENT_TYPE, ...this.#byType.keys()].join(', ');
    throw new MessagingError('unreadable', `its payload is ${contentType}, and this service reads ${read}: give the module a codec for it`);
  }
}

type EncodedOutside = Pick<Envelope, 'type' | 'version' | 'dataSchema' | 'contentType' | 'body'>;

export interface EncodedPayload {
  readonly contentType: string;
  readonly dataSchema: string | undefined;
  readonly body: Uint8Array;
}

/** Throws a `MessagingError` of code `invalid-publish`, or rejects with one, when the payload cannot be written so. */
export function encodePayload(
  payload: unknown,
  { type, version }: { readonly type: string; readonly version: number },
  codec: MessageCodec | undefined,
): EncodedPayload | Promise<EncodedPayload> {
  if (codec === undefined) return { contentType: JSON_CONTENT_TYPE, dataSchema: undefined, body: encodeJson(payload, type) };
  const { contentType } = codec;
  try {
    const encoded = codec.encode(payload, { type, version, dataSchema: undefined, contentType });
    if (!(encoded instanceof Promise)) return encodedAs(contentType, encoded);
    return encoded.then(
      (late) => encodedAs(contentType, late),
      (error: unknown) => unencodable(type, contentType, error),
    );
  } catch (error) {
    return unencodable(type, contentType, error);
  }
}

function encodedAs(contentType: string, encoded: Encoded): EncodedPayload {
  if (encoded instanceof Uint8Array) return { contentType, dataSchema: undefined, body: encoded };
  return { contentType, dataSchema: encoded.dataSchema, body: encoded.body };
}

function unencodable(type: string, contentType: string, error: unknown): never {
  throw new MessagingError('invalid-publish', `${type} cannot be published as ${contentType}: ${reasonOf(error)}.`, {
    cause: error,
    retryable: isRetryable(error),
  });
}

function undecodable(contentType: string, error: unknown): never {
  const retryable = isRetryable(error);
  throw new MessagingError('unreadable', `its payload cannot be read as ${contentType}: ${reasonOf(error)}`, { cause: error, retryable });
}

function isRetryable(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'retryable' in error && error.retryable === true;
}

/** Throws a `MessagingError` of code `invalid-publish` when the event has no JSON (a cycle, a bigint). */
function encodeJson(event: unknown, type: string): Buffer {
  try {
    return Buffer.from(JSON.stringify(event));
  } catch (error) {
    throw new MessagingError(
      'invalid-publish',
      `${type} cannot be published: it has no JSON (${reasonOf(error)}). Keep to plain values, or give the class a toJSON method.`,
      { cause: error },
    );
  }
}

/**
 * An instance of the class with the fields of the payload; its constructor is not called, for a payload is no list of arguments. Without a class a plain
 * object.
 * Throws a `MessagingError` of code `unreadable`.
 */
export function instanceOf(messageClass: MessageClass | undefined, fields: unknown, schema?: StandardSchema): object {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new MessagingError('unreadable', `its payload is no object, which ${messageClass?.name ?? 'a handler'} needs`);
  }
  refuseProto(fields);
  if (messageClass === undefined) return fields;
  try {
    if (schema instanceof ClassSchema) return schema.instance(fields);
    return Object.assign(Object.create(messageClass.prototype as object) as object, fields);
  } catch (error) {
    throw new MessagingError('unreadable', `its payload does not fit ${messageClass.name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Any payload, a list or a number too. Throws a `MessagingError` of code `unreadable`. */
export function anyOf(value: unknown): unknown {
  if (typeof value === 'object' && value !== null) refuseProto(value);
  return value;
}

/** JSON may carry a field of this name, and assigning it would change the instance's class. */
function refuseProto(fields: object): void {
  if (Object.hasOwn(fields, '__proto__'))
    throw new MessagingError('unreadable', 'its payload has a field named __proto__, which no event may have');
}

/** Throws a `MessagingError` of code `unreadable`. */
export function parseBody(envelope: Pick<Envelope, 'contentType' | 'body'>): unknown {
  const { contentType, body } = envelope;
  if (contentType !== JSON_CONTENT_TYPE && !isJson(contentType)) {
    throw new MessagingError('unreadable', `its payload is ${contentType}, and only JSON can be read: give the module a codec for it`);
  }
  const text = (Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MessagingError('unreadable', `its payload is no JSON (${reasonOf(error)})`, { cause: error });
  }
}

const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+$/;

export function isJson(contentType: string): boolean {
  return /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType);
}

function essenceOf(contentType: string): string {
  return contentType.split(';', 1)[0]!.trim().toLowerCase();
}
