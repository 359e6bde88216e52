/**
 * What `@Subscribe` said about a method, written on the method itself (see event-definition.ts for why), and what the explorer makes of it.
 */
import type { EventClass, EventDefinition } from './event-definition.js';
import type { Message } from './message.js';

export interface SubscribeOptions {
  /**
   * The most events this handler works on at once in one process. Not given: as many as the service may hold (`prefetch`). 1 handles them one
   * after the other, in the order in which they come.
   */
  readonly concurrency?: number;
}

export interface SubscriptionRecord {
  readonly eventClass: EventClass;
  readonly options: SubscribeOptions;
}

/** A subscription with a method behind it that can be called: guards, pipes, interceptors and filters included. */
export interface Subscription {
  readonly eventClass: EventClass;
  readonly definition: EventDefinition;
  readonly concurrency: number;
  /** Where the handler stands, for logs: `Notifications.notify`. */
  readonly place: string;
  handle(event: object, message: Message): Promise<unknown>;
}

const RECORDS = Symbol.for('dovecote.subscriptions');

export function recordSubscription(method: object, record: SubscriptionRecord): void {
  Object.defineProperty(method, RECORDS, { value: [...subscriptionRecordsOf(method), record], configurable: true });
}

export function subscriptionRecordsOf(method: object): readonly SubscriptionRecord[] {
  return (method as { readonly [RECORDS]?: readonly SubscriptionRecord[] })[RECORDS] ?? [];
}
