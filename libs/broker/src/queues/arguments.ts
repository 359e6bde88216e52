import { CodedError } from '../errors.js';
import type { FieldTable } from './field-table.js';

/**
 * Arguments that change what an object does and are not built yet. They are refused, because a queue without the expiry or the
 * dead letters that were asked for would be a silent lesser guarantee. Arguments that nobody knows are ignored, as RabbitMQ does.
 */
const unbuilt = {
  queue: new Set([
    'x-message-ttl',
    'x-expires',
    'x-max-length',
    'x-max-length-bytes',
    'x-overflow',
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-dead-letter-strategy',
    'x-max-priority',
    'x-single-active-consumer',
    'x-delivery-limit',
    'x-consumer-timeout',
    'x-max-age',
    'x-stream-max-segment-size-bytes',
    'x-stream-filter-size-bytes',
  ]),
  exchange: new Set(['x-delayed-type']),
  consumer: new Set(['x-priority', 'x-stream-offset', 'x-stream-filter', 'x-consumer-timeout']),
} as const;

/** Throws for an argument that is not built. */
export function refuseUnbuiltArguments(what: keyof typeof unbuilt, name: string, given: FieldTable): void {
  for (const argument of Object.keys(given)) {
    if (unbuilt[what].has(argument)) throw notBuilt(`the argument '${argument}' of ${what} '${name}'`);
  }
  const type = given['x-queue-type'];
  if (what === 'queue' && type !== undefined && type !== 'classic') {
    throw notBuilt(`x-queue-type '${typeof type === 'string' ? type : '(not a string)'}' of queue '${name}'`);
  }
}

export function notBuilt(what: string): CodedError {
  return new CodedError('not-implemented', `${what} is not built yet`);
}
