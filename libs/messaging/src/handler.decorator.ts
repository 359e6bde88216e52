import type { BatchOptions, DeliveryOptions } from './delivery-contract.js';
import type { MessageClass } from './message-definition.js';
import type { Message } from './message.js';
import { type SubscriptionRecord, recordSubscription } from './subscription.js';

/** Fits a method that can be called so. */
type Decorates<Arguments extends readonly unknown[]> = <M extends (...args: [...Arguments, ...never[]]) => unknown>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<M>,
) => void;

type OneByOne = Omit<DeliveryOptions, 'batch'> & { readonly batch?: undefined };
type Batched = DeliveryOptions & { readonly batch: BatchOptions };

/**
 * Calls the method for every event of this class that reaches the service, wherever it was published. The method belongs to a provider or a
 * controller; guards, pipes, interceptors and filters work on it.
 *
 *   @Subscribe(OrderPlaced)
 *   async notify(event: OrderPlaced, message: Message): Promise<void> { … }
 *
 * Instead of a class a pattern of types, as in AMQP's topic exchanges (`orders.*`, `#.failed`): then the events are plain objects. With a `batch` the method
 * takes lists.
 *
 * At least once: the event is acknowledged when the returned promise fulfils. When it rejects, the event comes again after a while, and after five
 * attempts it is among the dead letters of the service; the options say it otherwise.
 */
export function Subscribe<E extends object>(event: MessageClass<E>, options: Batched): Decorates<[E[], Message[]]>;
export function Subscribe<E extends object>(event: MessageClass<E>, options?: OneByOne): Decorates<[E, Message]>;
export function Subscribe(pattern: string, options?: OneByOne): Decorates<[Readonly<Record<string, unknown>>, Message]>;
export function Subscribe(subject: MessageClass | string, options: DeliveryOptions = {}): Decorates<never> {
  return recording({ decorator: 'Subscribe', subject, options });
}

/**
 * Calls the method for every command or query of this class: in the whole system one service handles it. What the method answers goes to whoever asked
 * (`Publisher.request`). A command is retried like an event, and answered when it is done or dead; a query that fails is answered at once.
 *
 *   @Handle(GetOrder)
 *   async order(query: GetOrder): Promise<Order> { … }
 */
export function Handle<C extends object>(message: MessageClass<C>, options: OneByOne = {}): Decorates<[C, Message]> {
  return recording({ decorator: 'Handle', subject: message, options });
}

function recording(record: SubscriptionRecord): Decorates<never> {
  return (_target, _name, descriptor) => {
    // A method decorator with a descriptor always has the method in it.
    recordSubscription(descriptor.value as object, record);
  };
}
