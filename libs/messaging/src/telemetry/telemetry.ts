/**
 * What is told to OpenTelemetry of messages that go and come. A port, so that what publishes and handles knows none of its types: the package is there only
 * where the application has it. Keeps nothing.
 */
import type { Death, Envelope, MessageHeaders } from '../envelope.js';
import type { Message } from '../message.js';
import type { Step } from '../policies/step.js';
import type { Subscription } from '../subscription.js';

/** Headers in which a trace goes on, whoever reads them: those of W3C's trace context and of its baggage. */
export const traceHeaders: readonly string[] = ['traceparent', 'tracestate', 'baggage'];

/** Those of them that are there; nothing where no trace is. */
export function traceOf(headers: MessageHeaders): MessageHeaders | undefined {
  if (headers['traceparent'] === undefined) return undefined;
  const carried: Record<string, string> = {};
  for (const name of traceHeaders) {
    const value = headers[name];
    if (value !== undefined) carried[name] = value;
  }
  return carried;
}

export interface Telemetry {
  /**
   * Sends a message with the trace in its headers. `given` are the headers that whoever publishes gave: a trace in them is theirs and stays. Ends with what
   * `send` promises, and changes nothing of that.
   */
  publish<T>(outgoing: Outgoing, send: (envelope: Envelope) => Promise<T>): Promise<T>;
  /** Of the messages of one handler. */
  handler(subscription: Subscription): HandlerTelemetry;
  buried(envelope: Envelope, death: Death): void;
}

export interface Outgoing {
  readonly verb: 'publish' | 'send' | 'request';
  readonly envelope: Envelope;
  readonly topic: string | undefined;
  readonly given: MessageHeaders | undefined;
}

export interface HandlerTelemetry {
  /** The outermost step: what the handler does belongs to the trace of its message. */
  readonly step: Step;
  /** Once for each message that the step was given, when it is known what becomes of it. */
  ended(message: Message, fate: Fate): void;
}

/** What becomes of a message after its handler: the last four with what the handler threw. */
export type Fate =
  | { readonly kind: 'acknowledged' }
  | { readonly kind: 'retry'; readonly error: unknown; readonly failures: number; readonly delayMs: number }
  | { readonly kind: 'dead-letter'; readonly error: unknown; readonly failures: number; readonly cause: Death['cause'] }
  | { readonly kind: 'given-back'; readonly error: unknown }
  | { readonly kind: 'failed'; readonly error: unknown };

export const acknowledged: Fate = Object.freeze({ kind: 'acknowledged' });

/** Nothing until the service starts, and nothing after it where nobody listens. */
export interface TelemetrySwitch {
  current: Telemetry | undefined;
}
