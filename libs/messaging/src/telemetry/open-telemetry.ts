/**
 * Spans and metrics of what is published and handled, by the semantic conventions for messaging (semantic-conventions.ts):
 *
 *   publish …    PRODUCER  in the trace of whoever publishes; its context travels in the headers of the message
 *   process …    CONSUMER  child of the former and linked to it; of a batch linked to each and child of none; ends when it is known what becomes of the message
 *   dead_letter  CLIENT    child of the first
 *
 * An attempt is a span of its own. Keeps the open spans in memory; those of handlers that never end are never told.
 */
import type { Attributes, Context, Link, Span } from '@opentelemetry/api';
import type { Clock } from '@dovecote/ground';
import type { Death, Envelope, MessageHeaders } from '../envelope.js';
import { reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Message } from '../message.js';
import type { Step } from '../policies/step.js';
import type { Subscription } from '../subscription.js';
import type { BrokerPlaces } from '../transport.js';
import { DURATION_BOUNDARIES, SCHEMA_URL, SCOPE, attributes, events, metrics, operationTypes } from './semantic-conventions.js';
import { type Fate, type HandlerTelemetry, type Outgoing, type Telemetry, traceHeaders } from './telemetry.js';

export interface TelemetryParts {
  readonly service: string;
  readonly places: BrokerPlaces | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

type Api = typeof import('@opentelemetry/api');

/** Where all copies of the API find each other. It is there when something was registered; to load the package for nothing would cost each start 30 ms. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1');

/** Nothing where no provider of traces or of metrics is registered: then nothing costs anything. */
export async function openTelemetry(parts: TelemetryParts): Promise<Telemetry | undefined> {
  if (!(REGISTERED in globalThis)) return undefined;
  try {
    const api = await import('@opentelemetry/api');
    return isHeard(api) ? new OpenTelemetry(api, parts) : undefined;
  } catch (error) {
    parts.log.warn(
      `OpenTelemetry is registered in this process, but @opentelemetry/api cannot be loaded here, so nothing is told of messages (${reasonOf(error)}): npm install @opentelemetry/api, or set telemetry to false.`,
    );
    return undefined;
  }
}

/** Without a provider the API answers with one that does nothing. */
function isHeard({ ProxyTracerProvider, createNoopMeter, metrics: meters, trace }: Api): boolean {
  const provider = trace.getTracerProvider();
  const deaf = new ProxyTracerProvider().getDelegate();
  const isTraced = provider instanceof ProxyTracerProvider ? provider.getDelegate() !== deaf : true;
  return isTraced || meters.getMeter(SCOPE) !== createNoopMeter();
}

class OpenTelemetry implements Telemetry {
  readonly #tracer;
  readonly #sent;
  readonly #consumed;
  readonly #operationDuration;
  readonly #processDuration;
  readonly #broker: Attributes;

  constructor(
    private readonly api: Api,
    private readonly parts: TelemetryParts,
  ) {
    this.#tracer = api.trace.getTracerProvider().getTracer(SCOPE, undefined, { schemaUrl: SCHEMA_URL });
    const meter = api.metrics.getMeter(SCOPE, undefined, { schemaUrl: SCHEMA_URL });
    const advice = { explicitBucketBoundaries: [...DURATION_BOUNDARIES] };
    this.#sent = meter.createCounter(metrics.sent.name, metrics.sent);
    this.#consumed = meter.createCounter(metrics.consumed.name, metrics.consumed);
    this.#operationDuration = meter.createHistogram(metrics.operationDuration.name, { ...metrics.operationDuration, advice });
    this.#processDuration = meter.createHistogram(metrics.processDuration.name, { ...metrics.processDuration, advice });
    const { system = 'dovecote', server } = parts.places ?? {};
    this.#broker = { [attributes.system]: system, ...(server && serverAttributes(server)) };
  }

  publish<T>({ verb, envelope, topic, given }: Outgoing, send: (envelope: Envelope) => Promise<T>): Promise<T> {
    const { context, trace, propagation, SpanKind } = this.api;
    const destination = this.parts.places?.published(envelope, topic) ?? envelope.type;
    const common = this.#common(verb, operationTypes.send, destination);
    const isCarried = given !== undefined && propagation.fields().some((name) => given[name] !== undefined);
    const active = context.active();
    // Where nothing follows the handler's calls, the message in hand still told its trace.
    const parent = isCarried || trace.getSpan(active) !== undefined ? active : propagation.extract(active, envelope.headers);
    const span = this.#tracer.startSpan(
      `${verb} ${destination}`,
      {
        kind: isCarried ? SpanKind.CLIENT : SpanKind.PRODUCER,
        attributes: { ...common, ...this.#told(envelope), [attributes.bodySize]: envelope.body.byteLength },
        links: isCarried ? this.#links([envelope.headers]) : [],
      },
      parent,
    );
    const inside = trace.setSpan(parent, span);
    const traced = isCarried ? envelope : { ...envelope, headers: this.#injected(inside, envelope.headers, given) };
    const beganMs = this.parts.clock.monotonicMs();
    const end = (error?: { readonly thrown: unknown }): void => {
      const failure = error && { [attributes.errorType]: errorTypeOf(error.thrown) };
      this.#sent.add(1, { ...common, ...failure });
      this.#operationDuration.record((this.parts.clock.monotonicMs() - beganMs) / 1_000, { ...common, ...failure });
      if (error !== undefined) this.#fail(span, error.thrown);
      span.end();
    };
    return context.with(inside, send, undefined, traced).then(
      (value) => {
        end();
        return value;
      },
      (error: unknown) => {
        end({ thrown: error });
        throw error;
      },
    );
  }

  handler(subscription: Subscription): HandlerTelemetry {
    const open = new Map<Message, OpenSpan>();
    const isBatch = subscription.contract.batch !== undefined;
    const step: Step = (next) => (event, message) => {
      const messages = isBatch ? (message as unknown as readonly Message[]) : [message];
      const started = this.#start(subscription, messages, isBatch);
      for (const one of messages) open.set(one, started);
      return this.api.context.with(started.context, next, undefined, event, message);
    };
    const ended = (message: Message, fate: Fate): void => {
      const span = open.get(message);
      if (span === undefined) return;
      open.delete(message);
      this.#settle(span, message, fate);
    };
    return { step, ended };
  }

  buried(envelope: Envelope, { cause, reason }: Death): void {
    const { ROOT_CONTEXT, SpanKind, SpanStatusCode } = this.api;
    const destination = this.#consumedFrom(envelope, undefined);
    const told = { ...this.#common('dead_letter', operationTypes.settle, destination), ...this.#told(envelope) };
    const parent = this.api.propagation.extract(ROOT_CONTEXT, envelope.headers);
    const span = this.#tracer.startSpan(
      `dead_letter ${destination}`,
      {
        kind: SpanKind.CLIENT,
        attributes: { ...told, ...this.#group, [attributes.deathCause]: cause },
        links: this.#links([envelope.headers]),
      },
      parent,
    );
    span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
    span.end();
  }

  #start({ kind, place, topic }: Subscription, messages: readonly Message[], isBatch: boolean): OpenSpan {
    const { ROOT_CONTEXT, SpanKind, propagation, trace } = this.api;
    const first = messages[0]!;
    const destination = this.#consumedFrom({ kind, type: first.type }, topic);
    const common = { ...this.#common('process', operationTypes.process, destination), ...this.#group };
    const parent = isBatch ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, first.headers);
    const own = isBatch ? { [attributes.batchCount]: messages.length } : { ...this.#told(first), [attributes.attempt]: first.attempt };
    const span = this.#tracer.startSpan(
      `process ${destination}`,
      {
        kind: SpanKind.CONSUMER,
        attributes: { ...common, ...own, [attributes.functionName]: place },
        links: this.#links(messages.map(({ headers }) => headers)),
      },
      parent,
    );
    this.#consumed.add(messages.length, common);
    const beganMs = this.parts.clock.monotonicMs();
    return { span, context: trace.setSpan(parent, span), common, beganMs, isBatch, left: messages.length, errorType: undefined };
  }

  #settle(open: OpenSpan, message: Message, fate: Fate): void {
    const { span, common, isBatch } = open;
    const which: Attributes = isBatch ? { [attributes.messageId]: message.id } : {};
    if (!isBatch) span.setAttribute(attributes.outcome, fate.kind);
    // Of a batch the first error stands for all.
    if (fate.kind !== 'acknowledged' && open.errorType === undefined) {
      open.errorType = errorTypeOf(fate.error);
      this.#fail(span, fate.error);
    }
    if (fate.kind === 'retry')
      span.addEvent(events.retry, { ...which, [attributes.failures]: fate.failures, [attributes.delayMs]: fate.delayMs });
    else if (fate.kind === 'dead-letter')
      span.addEvent(events.deadLetter, { ...which, [attributes.failures]: fate.failures, [attributes.deathCause]: fate.cause });
    else if (fate.kind === 'given-back') span.addEvent(events.givenBack, which);
    open.left -= 1;
    if (open.left > 0) return;
    const failure = open.errorType === undefined ? {} : { [attributes.errorType]: open.errorType };
    this.#processDuration.record((this.parts.clock.monotonicMs() - open.beganMs) / 1_000, { ...common, ...failure });
    span.end();
  }

  /** What the trace says of whoever published before is not left beside what is said now. */
  #injected(from: Context, headers: MessageHeaders, given: MessageHeaders | undefined): MessageHeaders {
    const carrier: Record<string, string> = { ...headers };
    for (const name of traceHeaders) if (given?.[name] === undefined) delete carrier[name];
    this.api.propagation.inject(from, carrier);
    return given === undefined ? carrier : { ...carrier, ...given };
  }

  #links(all: readonly MessageHeaders[]): Link[] {
    const { ROOT_CONTEXT, propagation, trace } = this.api;
    const links: Link[] = [];
    for (const headers of all) {
      const context = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, headers));
      if (context !== undefined) links.push({ context });
    }
    return links;
  }

  #fail(span: Span, error: unknown): void {
    span.recordException(error instanceof Error ? error : reasonOf(error));
    span.setAttribute(attributes.errorType, errorTypeOf(error));
    span.setStatus({ code: this.api.SpanStatusCode.ERROR, message: reasonOf(error) });
  }

  #common(name: string, type: string, destination: string): Attributes {
    return {
      ...this.#broker,
      [attributes.operationName]: name,
      [attributes.operationType]: type,
      [attributes.destination]: destination,
    };
  }

  /** Of the message itself: on spans, and too many values for a metric. */
  #told({ id, type, key, correlationId }: Pick<Envelope, 'id' | 'type' | 'key' | 'correlationId'>): Attributes {
    const told: Attributes = { [attributes.messageId]: id, [attributes.conversationId]: correlationId ?? id };
    const system = this.parts.places?.system;
    if (system === 'rabbitmq') told[attributes.routingKey] = type;
    if (system === 'kafka' && key !== undefined) told[attributes.kafkaKey] = key;
    return told;
  }

  get #group(): Attributes {
    return { [attributes.consumerGroup]: this.parts.service };
  }

  #consumedFrom(message: Pick<Envelope, 'kind' | 'type'>, topic: string | undefined): string {
    return this.parts.places?.consumed(message, topic, this.parts.service) ?? message.type;
  }
}

/** One span of a handler at work, for one message or for those of a batch. */
interface OpenSpan {
  readonly span: Span;
  readonly context: Context;
  readonly common: Attributes;
  readonly beganMs: number;
  readonly isBatch: boolean;
  /** Messages of which it is not known yet what becomes of them. */
  left: number;
  errorType: string | undefined;
}

function serverAttributes({ host, port }: { readonly host: string; readonly port: number }): Attributes {
  return { [attributes.serverAddress]: host, [attributes.serverPort]: port };
}

/** Of few values: the code of an error, or the name of its class. */
function errorTypeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.name : '_OTHER';
}
