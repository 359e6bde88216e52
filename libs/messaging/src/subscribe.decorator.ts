import type { DeliveryOptions } from './delivery-contract.js';
import type { EventClass } from './event-definition.js';
import type { Message } from './message.js';
import { recordSubscription } from './subscription.js';

/**
 * Calls the method for every event of this class that reaches the service, wherever it was published. The method belongs to a provider or a
 * controller; guards, pipes, interceptors and filters work on it.
 *
 *   @Subscribe(OrderPlaced)
 *   async notify(event: OrderPlaced, message: Message): Promise<void> { … }
 *
 * At least once: the event is acknowledged when the returned promise fulfils. When it rejects, the event comes again after a while, and after five
 * attempts it is among the dead letters of the service; the options say it otherwise.
 */
export function Subscribe<E extends object>(eventClass: EventClass<E>, options: DeliveryOptions = {}) {
  return <M extends (...args: [E, Message, ...never[]]) => unknown>(
    _target: object,
    _name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): void => {
    // A method decorator with a descriptor always has the method in it.
    recordSubscription(descriptor.value as object, { eventClass, options });
  };
}
