import type { Clock } from '@dovecote/ground';
import { type ClaimCheck, wentNowhere } from './claims/claim-check.js';
import { type Envelope, type MessageHeaders, noHeaders } from './envelope.js';
import { MessagingError } from './errors.js';
import { messageInHand } from './handling.js';
import { type EncodedPayload, type MessageCodec, encodePayload } from './message-codec.js';
import { type MessageClass, type MessageDefinition, messageDefinitionOf } from './message-definition.js';
import type { Identifiers } from './identifiers.js';
import {
  CLAIM_BYTES_MAX,
  HEADERS_BYTES_MAX,
  HEADERS_MAX,
  HEADER_NAME_BYTES_MAX,
  ID_BYTES_MAX,
  KEY_BYTES_MAX,
  LONGEST_WAIT_MS,
  PAYLOAD_BYTES_MAX,
} from './limits.js';
import type { Message } from './message.js';
import { type ClassSchemas, type StandardSchema, misfit } from './policies/validation.js';
import type { PublishWindow } from './publish-window.js';
import type { Requester } from './requester.js';
import { type Outgoing, type TelemetrySwitch, traceOf } from './telemetry/telemetry.js';
import { OWN_PREFIX } from './trail.js';
import type { Route } from './transport.js';

export interface PublishOptions {
  /** Whoever publishes the same event again gives the same id; a new UUID (version 7) when not given. At most 255 bytes. */
  readonly id?: string;
  /** Instead of what the event class's `key` says. At most 1,024 bytes. */
  readonly key?: string;
  /** Travel beside the event, for example `traceparent`. Names that begin with `cloudEvents` or `dovecote-` are taken. */
  readonly headers?: MessageHeaders;
  /** The message that it came of; the one in hand when not given. */
  readonly because?: Message;
  /** The broker keeps it for so many milliseconds before anybody gets it; where the process ends meanwhile, too. It may come some hundred later. */
  readonly delayMs?: number;
  /** The same, until this moment. */
  readonly at?: Date;
}

/** How the payloads of a service are written. */
export interface PayloadWriting {
  readonly codec: MessageCodec | undefined;
  readonly claims: ClaimCheck | undefined;
}

export interface RequestOptions extends Pick<PublishOptions, 'id' | 'key' | 'headers' | 'because'> {
  /** How long the answer may take, in milliseconds; 10,000. After it nobody handles the question any more. */
  readonly timeoutMs?: number;
}

const REQUEST_TIMEOUT_MS = 10_000;
const noOptions: PublishOptions = {};

/**
 * Publishes events, sends commands and asks queries: inject it wherever something happened or is wanted.
 *
 * At least once: while the connection is lost the message is kept and sent again, under the same id, until the broker confirms it or the publish
 * timeout is over. Beyond 10,000 messages under way the next ones wait for their turn. What is published in a handler carries on what the message in hand came
 * of: its correlation, its id as the cause, and its trace context.
 */
export class Publisher {
  #timeMs = Number.NaN;
  #time = '';

  constructor(
    private readonly service: string,
    private readonly window: Pick<PublishWindow, 'publish'>,
    private readonly requester: Requester,
    private readonly identifiers: Identifiers,
    private readonly clock: Clock,
    private readonly writing: PayloadWriting,
    private readonly validation: { readonly current: ClassSchemas | undefined },
    private readonly telemetry: TelemetrySwitch,
  ) {}

  /**
   * Resolves when the broker has confirmed the event: it is as safe as the broker promises, also when nobody subscribed to it.
   * Rejects with a `MessagingError`; where its `retryable` says so, the same call with the same id may succeed later.
   * The event is read during the call: changing it afterwards changes nothing.
   */
  publish(event: object, options: PublishOptions = noOptions): Promise<void> {
    return this.#give(event, 'publish', options);
  }

  /**
   * Resolves when the broker has confirmed the command: the service that handles it gets it at least once. Rejects with code `nobody-there` where no service
   * ever did; otherwise as `publish`.
   */
  send(command: object, options: PublishOptions = noOptions): Promise<void> {
    return this.#give(command, 'send', options);
  }

  /**
   * Resolves to what the handler of this command or query answers. Rejects with a `RequestError` where it failed, and with a `MessagingError` of code
   * `request-timeout` where no answer came in time, or `nobody-there`. An answer is at most once, what was asked for at least once.
   */
  async request<Reply>(message: object, options: RequestOptions = {}): Promise<Reply> {
    return (await this.ask(message, definitionOf(message, 'request'), options)) as Reply;
  }

  /** As `request`, of a payload that has no class to say what it is. */
  async ask(message: unknown, definition: MessageDefinition, given: RequestOptions): Promise<unknown> {
    const { timeoutMs = REQUEST_TIMEOUT_MS, ...options } = given;
    if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > LONGEST_WAIT_MS) {
      throw new MessagingError('invalid-publish', `timeoutMs must be a whole number from 1 to ${LONGEST_WAIT_MS}, not ${timeoutMs}.`);
    }
    const encoded = encodePayload(message, definition, definition.codec ?? this.writing.codec);
    const envelope = this.#wrap(message, definition, options, encoded instanceof Promise ? await encoded : encoded);
    const schema = this.#schemaOf(message, definition);
    if (schema !== undefined) await this.#check(schema, envelope, definition);
    const expiresAtMs = this.clock.now() + timeoutMs;
    const route = routeOf(definition, noOptions, this.clock);
    return this.#keepingApart(envelope, route, (light) =>
      this.#told('request', light, route, options, (told) =>
        this.requester.ask((replyTo) => ({ ...told, replyTo, expiresAtMs }), route, timeoutMs, definition.answerCodec),
      ),
    );
  }

  /** As `publish` or `send`, of a payload that has no class to say what it is. */
  give(message: unknown, definition: MessageDefinition, options: PublishOptions): Promise<void> {
    try {
      const encoded = encodePayload(message, definition, definition.codec ?? this.writing.codec);
      if (encoded instanceof Promise) return encoded.then((late) => this.#giveEncoded(message, definition, options, late));
      return this.#giveEncoded(message, definition, options, encoded);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #giveEncoded(message: unknown, definition: MessageDefinition, options: PublishOptions, encoded: EncodedPayload): Promise<void> {
    const envelope = this.#wrap(message, definition, options, encoded);
    const route = routeOf(definition, options, this.clock);
    const schema = this.#schemaOf(message, definition);
    if (schema === undefined) return this.#send(envelope, route, options);
    return this.#check(schema, envelope, definition).then(() => this.#send(envelope, route, options));
  }

  /** What is checked is what travels: the payload as whoever handles it will read it. */
  async #check(schema: StandardSchema, envelope: Envelope, { codec = this.writing.codec, type }: MessageDefinition): Promise<void> {
    const { body } = envelope;
    const payload: unknown = codec === undefined ? JSON.parse(Buffer.from(body).toString()) : await codec.decode(body, envelope);
    const result = await schema['~standard'].validate(payload);
    if (result.issues !== undefined) {
      throw new MessagingError('invalid-publish', `${type} cannot be published: ${misfit(result).message}.`);
    }
  }

  #schemaOf(message: unknown, definition: MessageDefinition): StandardSchema | undefined {
    const { schema } = definition;
    if (schema !== undefined || this.validation.current === undefined) return schema;
    const messageClass = (message as object | null | undefined)?.constructor as MessageClass | undefined;
    // A payload that came without a class of messages is whoever's: no decorator of its class was meant for this.
    if (messageClass === undefined || messageDefinitionOf(messageClass) !== definition) return undefined;
    return this.validation.current.schemaOf(messageClass);
  }

  /** Where the payload is too large to travel, it is in the store before its message goes. */
  async #keepingApart<T>(envelope: Envelope, route: Route | undefined, send: (light: Envelope) => Promise<T>): Promise<T> {
    const { claims } = this.writing;
    if (claims?.wants(envelope.body.byteLength) !== true) return send(envelope);
    const light = await claims.checkIn(envelope, this.clock.now() + (route?.delayMs ?? 0));
    try {
      return await send(light);
    } catch (error) {
      if (wentNowhere(error)) await claims.discard(light);
      throw error;
    }
  }

  #send(envelope: Envelope, route: Route | undefined, options: PublishOptions): Promise<void> {
    const { claims } = this.writing;
    if (claims?.wants(envelope.body.byteLength) === true)
      return this.#keepingApart(envelope, route, (light) => this.#sendLight(light, route, options));
    return this.#sendLight(envelope, route, options);
  }

  #sendLight(envelope: Envelope, route: Route | undefined, options: PublishOptions): Promise<void> {
    if (this.telemetry.current === undefined) return this.window.publish(envelope, route);
    const verb = envelope.kind === 'event' ? 'publish' : 'send';
    return this.#told(verb, envelope, route, options, (told) => this.window.publish(told, route));
  }

  #told<T>(
    verb: Outgoing['verb'],
    envelope: Envelope,
    route: Route | undefined,
    { headers }: PublishOptions,
    send: (envelope: Envelope) => Promise<T>,
  ): Promise<T> {
    const { current } = this.telemetry;
    if (current === undefined) return send(envelope);
    return current.publish({ verb, envelope, topic: route?.topic, given: headers }, send);
  }

  #give(message: object, verb: Verb, options: PublishOptions): Promise<void> {
    try {
      return this.give(message, definitionOf(message, verb), options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #wrap(message: unknown, definition: MessageDefinition, options: PublishOptions, encoded: EncodedPayload): Envelope {
    const { body, contentType, dataSchema } = encoded;
    const isClaimed = this.writing.claims?.wants(body.byteLength) === true;
    const bytesMax = isClaimed ? CLAIM_BYTES_MAX : PAYLOAD_BYTES_MAX;
    if (body.byteLength > bytesMax) {
      throw new MessagingError(
        'too-large',
        `${definition.type} is ${body.byteLength} bytes long; at most ${bytesMax} ${isClaimed ? 'are kept apart' : 'travel'}. ${isClaimed ? 'Store the payload elsewhere and publish a reference to it' : 'Give the module a claimCheck, which keeps large payloads in a store'}.`,
      );
    }
    const cause = options.because ?? messageInHand();
    const { kind, type, version } = definition;
    const id = options.id === undefined ? this.identifiers.next() : checkedText('id', options.id, ID_BYTES_MAX, definition);
    const headers = headersOf(options, cause, definition);
    const envelope = new Written(kind, id, type, this.service, this.#now(), keyOf(message, options, definition), version, cause);
    envelope.dataSchema = dataSchema;
    envelope.contentType = contentType;
    envelope.headers = headers;
    envelope.body = body;
    return envelope;
  }

  /** Many events share a millisecond, and writing one out costs more than looking. */
  #now(): string {
    const nowMs = this.clock.now();
    if (nowMs !== this.#timeMs) {
      this.#timeMs = nowMs;
      this.#time = new Date(nowMs).toISOString();
    }
    return this.#time;
  }
}

/**
 * What is published. A class, and not written out where it is made: V8 may come to put what an expression makes among what is old at once, and all that such a
 * message names grows old with it (on Node 20 it then cost its process half as much again, in every other run).
 */
class Written implements Envelope {
  dataSchema: string | undefined;
  readonly dataRef = undefined;
  readonly correlationId: string | undefined;
  readonly causationId: string | undefined;
  readonly replyTo = undefined;
  readonly expiresAtMs = undefined;
  contentType!: string;
  headers!: MessageHeaders;
  readonly trail = undefined;
  body!: Uint8Array;

  constructor(
    readonly kind: Envelope['kind'],
    readonly id: string,
    readonly type: string,
    readonly source: string,
    readonly time: string,
    readonly key: string | undefined,
    readonly version: number | undefined,
    cause: Message | undefined,
  ) {
    this.correlationId = cause?.correlationId;
    this.causationId = cause?.id;
  }
}

type Verb = 'publish' | 'send' | 'request';

/** What each verb takes. */
const verbs: Readonly<
  Record<Verb, { readonly kinds: readonly MessageDefinition['kind'][]; readonly decorator: string; readonly example: string }>
> = {
  publish: { kinds: ['event'], decorator: 'EventMessage', example: 'new OrderPlaced(…)' },
  send: { kinds: ['command'], decorator: 'CommandMessage', example: 'new PlaceOrder(…)' },
  request: { kinds: ['command', 'query'], decorator: 'QueryMessage', example: 'new GetOrder(…)' },
};

function definitionOf(message: object, verb: Verb): MessageDefinition {
  const messageClass: unknown = typeof message === 'object' && message !== null ? message.constructor : undefined;
  const definition = typeof messageClass === 'function' ? messageDefinitionOf(messageClass) : undefined;
  const { kinds, decorator, example } = verbs[verb];
  if (definition !== undefined) {
    if (kinds.includes(definition.kind)) return definition;
    const { kind, type } = definition;
    throw new MessagingError(
      'not-an-event',
      `${type} is ${kind === 'event' ? 'an event' : `a ${kind}`}: use Publisher.${rightVerbs[kind]}.`,
    );
  }
  const advice =
    typeof messageClass === 'function' && messageClass !== Object
      ? `${messageClass.name} cannot be published: put @${decorator}('some.type') on the class itself (a parent's does not count).`
      : `${verb} takes an instance of a class with @${decorator}('some.type') on it, such as ${verb}(${example}), not ${messageClass === Object ? 'a plain object' : typeof message}.`;
  throw new MessagingError('not-an-event', advice);
}

const rightVerbs: Readonly<Record<MessageDefinition['kind'], string>> = {
  event: 'publish',
  command: 'send, or Publisher.request for its answer',
  query: 'request',
};

function routeOf({ topic, type }: MessageDefinition, { delayMs, at }: PublishOptions, clock: Clock): Route | undefined {
  const waitMs = at === undefined ? delayMs : Math.max(0, at.getTime() - clock.now());
  if (waitMs === undefined || waitMs === 0) return topic === undefined ? undefined : { topic };
  if (Number.isInteger(waitMs) && waitMs > 0 && (at === undefined || delayMs === undefined)) {
    return topic === undefined ? { delayMs: waitMs } : { delayMs: waitMs, topic };
  }
  throw new MessagingError(
    'invalid-publish',
    `${type} cannot be published: give either delayMs, a whole number of milliseconds, or at, a time.`,
  );
}

/** The trace goes on where nobody gave another, and with it what it carries. */
function headersOf(options: PublishOptions, cause: Message | undefined, definition: MessageDefinition): MessageHeaders {
  const own = options.headers === undefined ? noHeaders : checkedHeaders(options.headers, definition);
  const carried = cause && traceOf(cause.headers);
  return carried === undefined || own['traceparent'] !== undefined ? own : { ...carried, ...own };
}

function keyOf(event: unknown, options: PublishOptions, definition: MessageDefinition): string | undefined {
  if (options.key !== undefined) return checkedText('key', options.key, KEY_BYTES_MAX, definition);
  if (definition.key === undefined) return undefined;
  return checkedText('key', definition.key(event as object), KEY_BYTES_MAX, definition);
}

function checkedText(what: 'id' | 'key', text: unknown, bytesMax: number, definition: MessageDefinition): string {
  // A string of UTF-16 units is at most three times as long in UTF-8: most need no counting.
  if (typeof text === 'string' && text !== '' && (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax)) return text;
  throw new MessagingError(
    'invalid-publish',
    `${definition.type} cannot be published: its ${what} must be a string of 1 to ${bytesMax} bytes, not ${typeof text === 'string' ? `one of ${Buffer.byteLength(text)}` : typeof text}.`,
  );
}

function checkedHeaders(headers: MessageHeaders, definition: MessageDefinition): MessageHeaders {
  const entries = Object.entries(headers);
  let bytes = 0;
  for (const [name, value] of entries) {
    const nameBytes = Buffer.byteLength(name);
    if (
      nameBytes === 0 ||
      nameBytes > HEADER_NAME_BYTES_MAX ||
      typeof value !== 'string' ||
      name.startsWith('cloudEvents') ||
      name.startsWith(OWN_PREFIX)
    ) {
      throw new MessagingError(
        'invalid-publish',
        `${definition.type} cannot be published: the header '${name}' must have a name of 1 to ${HEADER_NAME_BYTES_MAX} bytes that does not begin with cloudEvents or ${OWN_PREFIX}, and a string as its value.`,
      );
    }
    bytes += nameBytes + Buffer.byteLength(value);
  }
  if (entries.length > HEADERS_MAX || bytes > HEADERS_BYTES_MAX) {
    throw new MessagingError(
      'too-large',
      `${definition.type} has ${entries.length} headers of ${bytes} bytes; at most ${HEADERS_MAX} of ${HEADERS_BYTES_MAX} bytes travel. Put what belongs to the event into the event.`,
    );
  }
  return { ...headers };
}
