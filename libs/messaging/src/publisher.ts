import type { Clock } from '@dovecote/ground';
import { type Envelope, type MessageHeaders, noHeaders } from './envelope.js';
import { MessagingError } from './errors.js';
import { JSON_CONTENT_TYPE, encodeEvent } from './event-codec.js';
import { type EventDefinition, eventDefinitionOf } from './event-definition.js';
import type { Identifiers } from './identifiers.js';
import { HEADERS_BYTES_MAX, HEADERS_MAX, HEADER_NAME_BYTES_MAX, ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX } from './limits.js';
import { type StandardSchema, misfit } from './policies/validation.js';
import type { PublishWindow } from './publish-window.js';
import { OWN_PREFIX } from './trail.js';
import type { Route } from './transport.js';

export interface PublishOptions {
  /** Whoever publishes the same event again gives the same id; a new UUID (version 7) when not given. At most 255 bytes. */
  readonly id?: string;
  /** Instead of what the event class's `key` says. At most 1,024 bytes. */
  readonly key?: string;
  /** Travel beside the event, for example `traceparent`. Names that begin with `cloudEvents` or `dovecote-` are taken. */
  readonly headers?: MessageHeaders;
  /** The broker keeps it for so many milliseconds before anybody gets it; where the process ends meanwhile, too. It may come some hundred later. */
  readonly delayMs?: number;
  /** The same, until this moment. */
  readonly at?: Date;
}

const noOptions: PublishOptions = {};

/**
 * Publishes events: inject it wherever something happened.
 *
 * At least once: while the connection is lost the event is kept and sent again, under the same id, until the broker confirms it or the publish
 * timeout is over. Beyond 10,000 events under way `publish` waits for its turn.
 */
export class Publisher {
  #timeMs = Number.NaN;
  #time = '';

  constructor(
    private readonly service: string,
    private readonly window: PublishWindow,
    private readonly identifiers: Identifiers,
    private readonly clock: Clock,
  ) {}

  /**
   * Resolves when the broker has confirmed the event: it is as safe as the broker promises, also when nobody subscribed to it.
   * Rejects with a `MessagingError`; where its `retryable` says so, the same call with the same id may succeed later.
   * The event is read during the call: changing it afterwards changes nothing.
   */
  publish(event: object, options: PublishOptions = noOptions): Promise<void> {
    try {
      const definition = definitionOf(event);
      const envelope = this.#wrap(event, definition, options);
      const route = this.#route(definition, options);
      if (definition.schema === undefined) return this.window.publish(envelope, route);
      return this.#publishChecked(definition.schema, envelope, route);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** What is checked is what travels: the payload as JSON. */
  async #publishChecked(schema: StandardSchema, envelope: Envelope, route: Route | undefined): Promise<void> {
    const result = await schema['~standard'].validate(JSON.parse(Buffer.from(envelope.body).toString()));
    if (result.issues !== undefined) {
      throw new MessagingError('invalid-publish', `${envelope.type} cannot be published: ${misfit(result).message}.`);
    }
    await this.window.publish(envelope, route);
  }

  #route({ topic, type }: EventDefinition, { delayMs, at }: PublishOptions): Route | undefined {
    const waitMs = at === undefined ? delayMs : Math.max(0, at.getTime() - this.clock.now());
    if (waitMs === undefined || waitMs === 0) return topic === undefined ? undefined : { topic };
    if (Number.isInteger(waitMs) && waitMs > 0 && (at === undefined || delayMs === undefined)) {
      return topic === undefined ? { delayMs: waitMs } : { delayMs: waitMs, topic };
    }
    throw new MessagingError(
      'invalid-publish',
      `${type} cannot be published: give either delayMs, a whole number of milliseconds, or at, a time.`,
    );
  }

  #wrap(event: object, definition: EventDefinition, options: PublishOptions): Envelope {
    const body = encodeEvent(event, definition.type);
    if (body.byteLength > PAYLOAD_BYTES_MAX) {
      throw new MessagingError(
        'too-large',
        `${definition.type} is ${body.byteLength} bytes long; at most ${PAYLOAD_BYTES_MAX} travel. Store the payload elsewhere and publish a reference to it.`,
      );
    }
    return {
      kind: 'event',
      id: options.id === undefined ? this.identifiers.next() : checkedText('id', options.id, ID_BYTES_MAX, definition),
      type: definition.type,
      source: this.service,
      time: this.#now(),
      key: keyOf(event, options, definition),
      version: definition.version,
      dataSchema: undefined,
      correlationId: undefined,
      causationId: undefined,
      replyTo: undefined,
      expiresAtMs: undefined,
      contentType: JSON_CONTENT_TYPE,
      headers: options.headers === undefined ? noHeaders : checkedHeaders(options.headers, definition),
      trail: undefined,
      body,
    };
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

function definitionOf(event: object): EventDefinition {
  const eventClass: unknown = typeof event === 'object' && event !== null ? event.constructor : undefined;
  const definition = typeof eventClass === 'function' ? eventDefinitionOf(eventClass) : undefined;
  if (definition !== undefined) return definition;
  const advice =
    typeof eventClass === 'function' && eventClass !== Object
      ? `${eventClass.name} cannot be published: put @EventMessage('some.type') on the class itself (a parent's does not count).`
      : `publish takes an instance of a class with @EventMessage('some.type') on it, such as publish(new OrderPlaced(…)), not ${eventClass === Object ? 'a plain object' : typeof event}.`;
  throw new MessagingError('not-an-event', advice);
}

function keyOf(event: object, options: PublishOptions, definition: EventDefinition): string | undefined {
  if (options.key !== undefined) return checkedText('key', options.key, KEY_BYTES_MAX, definition);
  if (definition.key === undefined) return undefined;
  return checkedText('key', definition.key(event), KEY_BYTES_MAX, definition);
}

function checkedText(what: 'id' | 'key', text: unknown, bytesMax: number, definition: EventDefinition): string {
  // A string of UTF-16 units is at most three times as long in UTF-8: most need no counting.
  if (typeof text === 'string' && text !== '' && (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax)) return text;
  throw new MessagingError(
    'invalid-publish',
    `${definition.type} cannot be published: its ${what} must be a string of 1 to ${bytesMax} bytes, not ${typeof text === 'string' ? `one of ${Buffer.byteLength(text)}` : typeof text}.`,
  );
}

function checkedHeaders(headers: MessageHeaders, definition: EventDefinition): MessageHeaders {
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
