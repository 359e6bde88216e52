/** Messages to bytes and back: JSON, and on the way in a real instance of the message's class. No I/O. */
import { ClassSchema } from './class-validation.js';
import type { Envelope } from './envelope.js';
import { MessagingError, reasonOf } from './errors.js';
import type { MessageClass } from './message-definition.js';
import type { StandardSchema } from './policies/validation.js';

export const JSON_CONTENT_TYPE = 'application/json';

/** Throws a `MessagingError` of code `invalid-publish` when the event has no JSON (a cycle, a bigint). */
export function encodeMessage(event: unknown, type: string): Buffer {
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
export function decodeMessage(messageClass: MessageClass | undefined, envelope: Envelope, schema?: StandardSchema): object {
  const fields = parseBody(envelope);
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new MessagingError('unreadable', `its payload is no JSON object, which ${messageClass?.name ?? 'a handler'} needs`);
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

/** Any JSON, a list or a number too. Throws a `MessagingError` of code `unreadable`. */
export function decodeAny(envelope: Envelope): unknown {
  const value = parseBody(envelope);
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
  if (contentType !== JSON_CONTENT_TYPE && !/^[^;]*[/+]json\s*(?:;|$)/i.test(contentType)) {
    throw new MessagingError('unreadable', `its payload is ${contentType}, and only JSON can be read`);
  }
  const text = (Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MessagingError('unreadable', `its payload is no JSON (${reasonOf(error)})`, { cause: error });
  }
}
