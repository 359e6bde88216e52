import type { Envelope, MessageHeaders } from './envelope.js';

/** Aborts the signal of a message. Only for whoever called the handler: a handler cannot abort itself. */
export let abortMessage: (message: Message) => void;

/** How the message came: the second argument of a handler. */
export class Message {
  /** The same in every repetition of the same message. */
  readonly id: string;
  readonly type: string;
  /** The service that published it. */
  readonly source: string;
  /** What the message is about, as its class's `key` said. */
  readonly key: string | undefined;
  /** Version of the payload's shape, as its publisher knew it. */
  readonly version: number | undefined;
  readonly headers: MessageHeaders;
  /** What all messages have in common that came of one first message: the id of that one. */
  readonly correlationId: string;
  /** The id of the message whose handler published this one. */
  readonly causationId: string | undefined;
  /** The broker handed it out before: it may have been handled already. False does not promise that it was not. */
  readonly isRedelivered: boolean;
  /** Which attempt this is: 1 is the first. Those that a crash interrupted do not count. */
  readonly attempt: number;
  readonly #time: string | undefined;
  // Made when somebody asks: an AbortController costs more than all the rest of a message.
  #abort: AbortController | undefined;
  #isAborted = false;

  constructor(envelope: Envelope, isRedelivered: boolean) {
    this.id = envelope.id;
    this.type = envelope.type;
    this.source = envelope.source;
    this.key = envelope.key;
    this.version = envelope.version;
    this.headers = envelope.headers;
    this.correlationId = envelope.correlationId ?? envelope.id;
    this.causationId = envelope.causationId;
    this.isRedelivered = isRedelivered;
    this.attempt = envelope.trail === undefined ? 1 : envelope.trail.failures + 1;
    this.#time = envelope.time;
  }

  /** When it was published; nothing when a foreign publisher did not say so in ISO 8601. */
  get time(): Date | undefined {
    const time = new Date(this.#time ?? Number.NaN);
    return Number.isNaN(time.getTime()) ? undefined : time;
  }

  /** Aborted when the service shuts down and will not wait for this handler any longer: stop, and reject, and the message goes back to its queue. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#isAborted) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  static {
    abortMessage = (message) => {
      message.#isAborted = true;
      message.#abort?.abort();
    };
  }
}
