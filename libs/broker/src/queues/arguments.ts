import { CodedError } from '../errors.js';
import type { FieldTable } from './field-table.js';

/**
 * Arguments that change what an object does and are not built yet. They are refused, because an exchange without the alternate
 * that was asked for would be a silent lesser guarantee. Arguments that nobody knows are ignored, as RabbitMQ does. What queues
 * and consumers take is in queue-policy.ts.
 */
const unbuilt = {
  exchange: new Set(['x-delayed-type']),
} as const;

/** Throws for an argument that is not built. */
export function refuseUnbuiltArguments(what: keyof typeof unbuilt, name: string, given: FieldTable): void {
  for (const argument of Object.keys(given)) {
    if (unbuilt[what].has(argument)) throw notBuilt(`the argument '${argument}' of ${what} '${name}'`);
  }
}

export function notBuilt(what: string): CodedError {
  return new CodedError('not-implemented', `${what} is not built yet: leave it out, or use RabbitMQ where you need it`);
}
