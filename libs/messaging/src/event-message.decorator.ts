import { MessagingError } from './errors.js';
import { type EventClass, defineEvent, eventDefinitionOf } from './event-definition.js';
import { TYPE_BYTES_MAX } from './limits.js';
import type { StandardSchema } from './policies/validation.js';

export interface EventMessageOptions<E extends object> {
  /** Version of the payload's shape, a whole number from 1; 1 when not given. */
  readonly version?: number;
  /** What the event is about (an order, a person). It travels as `subject` and `partitionkey`, and later decides the order of handling. */
  readonly key?: (event: E) => string;
  /**
   * A Standard Schema (zod, valibot, arktype …) that the payload, as JSON, must fit: an event that does not is refused by `publish`, and one that comes in
   * goes to the dead letters.
   */
  readonly schema?: StandardSchema;
  /** The topic that the event goes to on a broker with logs; the words of the type but the last one when not given. */
  readonly topic?: string;
}

/** Words of letters, digits, `-` and `_`, with dots between: every broker can route by that. */
const TYPE = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

/**
 * Names an event as it travels. The name is the contract between services: it stays when the class is renamed or moved.
 *
 *   @EventMessage('orders.order-placed', { version: 1, key: (e: OrderPlaced) => e.orderId })
 *   export class OrderPlaced { constructor(readonly orderId: string, readonly total: number) {} }
 *
 * Throws a `MessagingError` of code `invalid-event` when the name or the version cannot travel.
 */
export function EventMessage<E extends object>(type: string, options: EventMessageOptions<E> = {}): (eventClass: EventClass<E>) => void {
  return (eventClass) => {
    if (!TYPE.test(type) || Buffer.byteLength(type) > TYPE_BYTES_MAX) {
      throw new MessagingError(
        'invalid-event',
        `@EventMessage('${type}') on ${eventClass.name}: the type must be words of letters, digits, - and _ with dots between, at most ${TYPE_BYTES_MAX} bytes, such as 'orders.order-placed'.`,
      );
    }
    const known = eventDefinitionOf(eventClass);
    if (known !== undefined) {
      throw new MessagingError(
        'invalid-event',
        `${eventClass.name} is '${known.type}' already: an event class has one @EventMessage, not also '${type}'.`,
      );
    }
    const version = options.version ?? 1;
    if (!Number.isInteger(version) || version < 1) {
      throw new MessagingError(
        'invalid-event',
        `@EventMessage('${type}') on ${eventClass.name}: version must be a whole number from 1, not ${version}.`,
      );
    }
    // The key function is only ever called with an instance of the class it was declared on.
    const key = options.key as ((event: object) => string) | undefined;
    defineEvent(eventClass, { type, version, key, schema: options.schema, topic: options.topic });
  };
}
