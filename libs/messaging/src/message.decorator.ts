import { type MessageClass, type MessageOptions, defineMessage } from './message-definition.js';

/**
 * Names an event as it travels: something happened. The name is the contract between services: it stays when the class is renamed or moved.
 *
 *   @EventMessage('orders.order-placed', { version: 1, key: (e: OrderPlaced) => e.orderId })
 *   export class OrderPlaced { constructor(readonly orderId: string, readonly total: number) {} }
 *
 * Throws a `MessagingError` of code `invalid-event` when the name or the version cannot travel.
 */
export function EventMessage<E extends object>(type: string, options: MessageOptions<E> = {}): (messageClass: MessageClass<E>) => void {
  return (messageClass) => defineMessage('EventMessage', 'event', messageClass, type, options);
}

/** Names a command: do this. One service handles it, with `@Handle`; whoever sends it may wait for the answer (`Publisher.request`) or not (`send`). */
export function CommandMessage<C extends object>(type: string, options: MessageOptions<C> = {}): (messageClass: MessageClass<C>) => void {
  return (messageClass) => defineMessage('CommandMessage', 'command', messageClass, type, options);
}

/** Names a query: tell me that. One service answers it, with `@Handle`; nothing changes, so it is asked once and never retried. */
export function QueryMessage<Q extends object>(type: string, options: MessageOptions<Q> = {}): (messageClass: MessageClass<Q>) => void {
  return (messageClass) => defineMessage('QueryMessage', 'query', messageClass, type, options);
}
