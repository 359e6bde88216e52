import { CodedError } from '../../errors.js';
import type { ExchangeType } from '../exchange-type.js';
import type { FieldTable } from '../field-table.js';

/**
 * x-delayed-message, as RabbitMQ's plugin of that name: an exchange of the type that its argument `x-delayed-type` names, which holds
 * messages with the header `x-delay` before it routes them (../delayed-messages.ts).
 */
export const delayedTypeName = 'x-delayed-message';

/** The type by which such an exchange routes. Throws where the arguments name none. */
export function delayedType(types: ReadonlyMap<string, ExchangeType>, given: FieldTable): ExchangeType {
  const wanted = given['x-delayed-type'];
  if (wanted === delayedTypeName) {
    throw new CodedError('invalid-argument', `Invalid argument, '${delayedTypeName}' can't be used for 'x-delayed-type'`);
  }
  if (typeof wanted !== 'string') {
    throw new CodedError('invalid-argument', "Invalid argument, 'x-delayed-type' must be an existing exchange type");
  }
  const type = types.get(wanted);
  if (type === undefined) throw new CodedError('unknown-exchange-type', `unknown exchange type '${wanted}'`);
  return type;
}
