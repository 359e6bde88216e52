/**
 * What travels: an event's bytes and what is written on the outside. The attributes are those of CloudEvents 1.0; each transport maps them to
 * its own protocol. Nothing here knows a broker.
 */
export interface Envelope {
  /** The same in every repetition of the same event: what duplicates are known by. */
  readonly id: string;
  readonly type: string;
  /** The service that published it. */
  readonly source: string;
  /** When it was published, ISO 8601 in UTC; absent when a foreign publisher did not say. */
  readonly time: string | undefined;
  readonly key: string | undefined;
  /** Version of the payload's shape; absent when a foreign publisher did not say. */
  readonly version: number | undefined;
  readonly contentType: string;
  readonly headers: MessageHeaders;
  readonly body: Uint8Array;
}

/** What the publisher and the handler tell each other beside the event; trace context (`traceparent`, `tracestate`) travels here. */
export type MessageHeaders = Readonly<Record<string, string>>;

export const noHeaders: MessageHeaders = Object.freeze({});
