/**
 * What `@EventMessage`, `@CommandMessage` or `@QueryMessage` said about a class. It is written on the class itself under a registered symbol, so that the
 * ESM and the CommonJS build of this package, loaded into one process, see the same messages.
 */
import type { MessageKind } from './envelope.js';
import { MessagingError } from './errors.js';
import { TYPE_BYTES_MAX } from './limits.js';
import type { MessageCodec } from './message-codec.js';
import type { StandardSchema } from './policies/validation.js';

export interface MessageDefinition {
  readonly kind: Exclude<MessageKind, 'reply'>;
  readonly type: string;
  readonly version: number;
  readonly key: ((message: object) => string) | undefined;
  /** What the payload must fit, before it is published and before it is handled. */
  readonly schema: StandardSchema | undefined;
  /** The format it is published in; the module's where not given. */
  readonly codec: MessageCodec | undefined;
  /** The format of what is answered to it; JSON where not given. */
  readonly answerCodec?: MessageCodec | undefined;
  /** Where it lives on a log; what the type says where not given. */
  readonly topic: string | undefined;
}

/** A class whose instances travel as messages. */
export interface MessageClass<M extends object = object> {
  new (...args: never[]): M;
  readonly name: string;
}

export interface MessageOptions<M extends object> {
  /** Version of the payload's shape, a whole number from 1; 1 when not given. */
  readonly version?: number;
  /** What the message is about (an order, a person). It travels as `subject` and `partitionkey`, and decides the order of handling where one is asked for. */
  readonly key?: (message: M) => string;
  /**
   * A Standard Schema (zod, valibot, arktype …) that the payload, as JSON, must fit: a message that does not is refused by the publisher, and one that comes
   * in goes to the dead letters. When not given, what decorators of class-validator say on the class.
   */
  readonly schema?: StandardSchema;
  /** The format in which it is published; the module's when not given, JSON when that says nothing either. Handlers read it by its content type. */
  readonly codec?: MessageCodec;
  /**
   * The format in which a command or query is answered; JSON when not given. Whoever asks needs it as well as whoever handles. Errors are answered in JSON always.
   */
  readonly answerCodec?: MessageCodec;
  /** The topic that the message goes to on a broker with logs; the words of the type but the last one when not given. */
  readonly topic?: string;
}

const DEFINITION = Symbol.for('dovecote.event-message');

/** Words of letters, digits, `-` and `_`, with dots between: every broker can route by that. */
const TYPE = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

/** Throws a `MessagingError` of code `invalid-event` when the name or the version cannot travel. */
export function defineMessage<M extends object>(
  decorator: string,
  kind: MessageDefinition['kind'],
  messageClass: MessageClass<M>,
  type: string,
  options: MessageOptions<M>,
): void {
  const refused = (what: string): MessagingError =>
    new MessagingError('invalid-event', `@${decorator}('${type}') on ${messageClass.name}: ${what}.`);
  if (!TYPE.test(type) || Buffer.byteLength(type) > TYPE_BYTES_MAX) {
    throw refused(
      `the type must be words of letters, digits, - and _ with dots between, at most ${TYPE_BYTES_MAX} bytes, such as 'orders.order-placed'`,
    );
  }
  const known = messageDefinitionOf(messageClass);
  if (known !== undefined) {
    throw new MessagingError('invalid-event', `${messageClass.name} is '${known.type}' already: a class has one name, not also '${type}'.`);
  }
  const version = options.version ?? 1;
  if (!Number.isInteger(version) || version < 1) throw refused(`version must be a whole number from 1, not ${version}`);
  // The key function is only ever called with an instance of the class it was declared on.
  const key = options.key as ((message: object) => string) | undefined;
  const { schema, codec, answerCodec, topic } = options;
  if (answerCodec !== undefined && kind === 'event') throw refused('nobody answers an event: leave answerCodec out');
  const definition: MessageDefinition = { kind, type, version, key, schema, codec, answerCodec, topic };
  Object.defineProperty(messageClass, DEFINITION, { value: definition });
}

/** Nothing where the class itself was not decorated: what its parent was called is not its own name. */
export function messageDefinitionOf(messageClass: object): MessageDefinition | undefined {
  if (!Object.hasOwn(messageClass, DEFINITION)) return undefined;
  return (messageClass as { readonly [DEFINITION]: MessageDefinition })[DEFINITION];
}
