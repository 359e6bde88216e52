/**
 * What travels: a message's bytes and what is written on the outside. The attributes are those of CloudEvents 1.0 and its extensions; each transport
 * maps them to its own protocol. Nothing here knows a broker.
 */
export interface Envelope {
  readonly kind: MessageKind;
  /** The same in every repetition of the same message: what duplicates are known by. */
  readonly id: string;
  readonly type: string;
  /** The service that published it. */
  readonly source: string;
  /** When it was published, ISO 8601 in UTC; absent when a foreign publisher did not say. */
  readonly time: string | undefined;
  readonly key: string | undefined;
  /** Version of the payload's shape; absent when a foreign publisher did not say. */
  readonly version: number | undefined;
  /** Where the payload's schema stands, a URI. */
  readonly dataSchema: string | undefined;
  /** Where the payload is kept, a URI, where that is too large to travel: then there is no body. */
  readonly dataRef: string | undefined;
  /** What all messages have in common that came of one first message: its id. Absent on the first one itself. */
  readonly correlationId: string | undefined;
  /** The id of the message whose handler published this one. */
  readonly causationId: string | undefined;
  /** Where the answer to a command or a query goes, in the words of the transport. */
  readonly replyTo: string | undefined;
  /** Nobody wants it any more after this: milliseconds since 1970-01-01 UTC. */
  readonly expiresAtMs: number | undefined;
  readonly contentType: string;
  readonly headers: MessageHeaders;
  /** What became of it so far; absent on a message that is on its way for the first time. */
  readonly trail: Trail | undefined;
  readonly body: Uint8Array;
}

/** Something happened; do this; tell me that; and what is answered to the latter two. */
export type MessageKind = 'event' | 'command' | 'query' | 'reply';

/** What the publisher and the handler tell each other beside the message; trace context (`traceparent`, `tracestate`) travels here. */
export type MessageHeaders = Readonly<Record<string, string>>;

export const noHeaders: MessageHeaders = Object.freeze({});

/** The attributes of an event about which nobody said more than it needs. */
export const plainEvent = Object.freeze({
  kind: 'event',
  dataSchema: undefined,
  dataRef: undefined,
  correlationId: undefined,
  causationId: undefined,
  replyTo: undefined,
  expiresAtMs: undefined,
  headers: noHeaders,
  trail: undefined,
} as const);

/**
 * What became of a message so far. It travels with the message, so that whoever takes it next knows, whatever crashed in between. Bounded: of many
 * failures the last `HISTORY_MAX` are told.
 */
export interface Trail {
  /** How often a handler failed on it. */
  readonly failures: number;
  /** How often its process ended while it was handled in quarantine, on a broker that does not count that by itself. */
  readonly starts: number;
  /** Oldest first. */
  readonly history: readonly Failure[];
  /** Why it is among the dead letters. */
  readonly death: Death | undefined;
}

export interface Failure {
  readonly atMs: number;
  readonly reason: string;
}

export interface Death extends Failure {
  readonly cause: DeathCause;
  /** The service in which it died. */
  readonly group: string;
  /** Where the handler stands: `Notifications.notify`. Absent where none was found. */
  readonly handler: string | undefined;
  /** What waits for it to be resolved, in a service that keeps the order strictly: its place among what is parked. */
  readonly parked?: ParkedPlace | undefined;
}

export interface ParkedPlace {
  readonly lane: string;
  readonly sequence: number;
}

/**
 * Its attempts are used up; its handler's error can never pass; it cannot be read, or does not fit its schema; nobody here handles it; it ended the
 * process again and again; it came after it expired; it had to be kept for later, and is too large for that.
 */
export type DeathCause = 'attempts' | 'fatal' | 'unreadable' | 'unhandled' | 'poisoned' | 'expired' | 'too-large';

export const noTrail: Trail = Object.freeze({ failures: 0, starts: 0, history: Object.freeze([]), death: undefined });
