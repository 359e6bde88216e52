/**
 * What `@Subscribe` said about a method, written on the method itself (see event-definition.ts for why), and what the explorer makes of it.
 */
import type { DeliveryContract, DeliveryOptions } from './delivery-contract.js';
import type { EventClass, EventDefinition } from './event-definition.js';
import type { Message } from './message.js';

export interface SubscriptionRecord {
  readonly eventClass: EventClass;
  readonly options: DeliveryOptions;
}

/** A subscription with a method behind it that can be called: guards, pipes, interceptors and filters included. */
export interface Subscription {
  readonly eventClass: EventClass;
  readonly definition: EventDefinition;
  readonly contract: DeliveryContract;
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
