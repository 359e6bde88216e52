/**
 * What `@Subscribe` or `@Handle` said about a method, written on the method itself (see message-definition.ts for why), and what the explorer makes of it.
 */
import type { DeliveryContract, DeliveryOptions } from './delivery-contract.js';
import type { MessageKind } from './envelope.js';
import type { MessageCodec } from './message-codec.js';
import type { MessageClass } from './message-definition.js';
import type { Message } from './message.js';
import type { StandardSchema } from './policies/validation.js';
import type { Source, SubscriptionRequest } from './transport.js';

export interface SubscriptionRecord {
  readonly decorator: 'Subscribe' | 'Handle';
  /** A pattern of types where a text. */
  readonly subject: MessageClass | string;
  readonly options: DeliveryOptions;
}

/** A subscription with a method behind it that can be called: guards, pipes, interceptors and filters included. */
export interface Subscription {
  readonly kind: Exclude<MessageKind, 'reply'>;
  /** A type, or a pattern of types. */
  readonly pattern: string;
  readonly topic: string | undefined;
  /** What it is given instances of; plain objects where it subscribed to a pattern. */
  readonly messageClass: MessageClass | undefined;
  /** Without a class: any JSON will do, not objects alone. */
  readonly takesAny?: boolean;
  readonly schema: StandardSchema | undefined;
  /** A format that it may come in, beside those of the module. */
  readonly codec?: MessageCodec | undefined;
  /** The format in which it is answered; JSON where not given. */
  readonly answerCodec?: MessageCodec | undefined;
  readonly contract: DeliveryContract;
  /** Where the handler stands, for logs: `Notifications.notify`. */
  readonly place: string;
  /** With lists of both where the contract has a batch. */
  handle(event: object, message: Message): Promise<unknown>;
}

const RECORDS = Symbol.for('dovecote.subscriptions');

export function recordSubscription(method: object, record: SubscriptionRecord): void {
  Object.defineProperty(method, RECORDS, { value: [...subscriptionRecordsOf(method), record], configurable: true });
}

export function subscriptionRecordsOf(method: object): readonly SubscriptionRecord[] {
  return (method as { readonly [RECORDS]?: readonly SubscriptionRecord[] })[RECORDS] ?? [];
}

/** What the transport is asked for. */
export function requestOf(service: string, subscriptions: readonly Subscription[], prefetch: number): SubscriptionRequest {
  const sources = subscriptions.map(({ kind, pattern, topic, contract, place }): Source => ({
    kind,
    pattern,
    topic,
    order: contract.order === 'none' ? 'none' : 'key',
    prefetch: contract.prefetch,
    place,
  }));
  return { group: service, sources, prefetch };
}
