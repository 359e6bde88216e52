import { CodedError } from '../../errors.js';
import type { ExchangeBinding, ExchangeType, RoutedMessage } from '../exchange-type.js';
import { type FieldTable, fieldTypeName } from '../field-table.js';
import { hashOf, mixed } from './key-hash.js';

/**
 * Each message follows exactly one binding, and all messages of one key the same one. The binding key is its weight: one with 2
 * gets twice as many keys as one with 1. Coming and going moves only the keys that must move.
 *
 * What is hashed is the routing key, or the header `hash-header` or the property `hash-property` names. The choice is weighted
 * rendezvous hashing: each destination draws a number from the key, and the highest wins. It needs no table, does not depend on
 * the order of the bindings, and is the same after a restart. (RabbitMQ's plugin hashes differently: a key may go elsewhere there.)
 */
export const consistentHash: ExchangeType = {
  name: 'x-consistent-hash',
  checkArguments: (given) => {
    const header = given['hash-header'];
    const property = given['hash-property'];
    if (header !== undefined && property !== undefined) {
      throw new CodedError('invalid-argument', 'hash-header and hash-property are mutually exclusive');
    }
    if (header !== undefined && typeof header !== 'string') {
      throw new CodedError('invalid-argument', `invalid type '${fieldTypeName(header)}' for arg 'hash-header'; expected longstr`);
    }
    if (property !== undefined && !(typeof property === 'string' && Object.hasOwn(hashedProperties, property))) {
      throw new CodedError(
        'invalid-argument',
        `Unsupported property: ${typeof property === 'string' ? property : fieldTypeName(property)}`,
      );
    }
  },
  checkBinding: ({ routingKey }) => {
    if (!/^[+-]?\d+$/.test(routingKey)) {
      const shown = routingKey === '' ? '' : JSON.stringify(routingKey);
      throw new CodedError('invalid-argument', `The binding key must be an integer: <<${shown}>>`);
    }
    if (Number(routingKey) < 1) throw new CodedError('invalid-argument', 'The binding key must be greater than 0');
  },
  create: ({ arguments: given }) => {
    const key = hashedKey(given);
    const bindings = new Set<ExchangeBinding>();
    let targets: readonly Target[] = [];
    return {
      readsMessage: key !== undefined,
      add: (binding) => void (targets = targetsOf(bindings.add(binding))),
      remove: (binding) => {
        bindings.delete(binding);
        targets = targetsOf(bindings);
      },
      route: (message, follow) => {
        const hash = hashOf(key === undefined ? message.routingKey : key(message));
        let best: Target | undefined;
        let bestScore = -Infinity;
        for (const target of targets) {
          const drawn = (mixed(hash ^ target.hash) + 0.5) / 0x1_0000_0000;
          const score = -target.weight / Math.log(drawn);
          if (score > bestScore) [best, bestScore] = [target, score];
        }
        if (best !== undefined) follow(best.binding);
      },
    };
  },
};

interface Target {
  readonly binding: ExchangeBinding;
  readonly weight: number;
  readonly hash: number;
}

/** One for each destination: a second binding to the same one has no effect while the first stands, as in RabbitMQ. */
function targetsOf(bindings: Iterable<ExchangeBinding>): readonly Target[] {
  const targets = new Map<string, Target>();
  for (const binding of bindings) {
    const { kind, name } = binding.destination;
    const place = `${kind} ${name}`;
    if (!targets.has(place)) targets.set(place, { binding, weight: Number(binding.routingKey), hash: mixed(hashOf(place)) });
  }
  return [...targets.values()];
}

const hashedProperties: Readonly<Record<string, (message: RoutedMessage) => unknown>> = {
  message_id: ({ properties }) => properties.messageId,
  correlation_id: ({ properties }) => properties.correlationId,
  timestamp: ({ properties }) => properties.timestamp,
};

/** What is hashed in place of the routing key, if anything is. */
function hashedKey(given: FieldTable): ((message: RoutedMessage) => string) | undefined {
  const header = given['hash-header'];
  if (typeof header === 'string') return ({ headers }) => textOf(Object.hasOwn(headers, header) ? headers[header] : undefined);
  const property = given['hash-property'];
  if (typeof property !== 'string') return undefined;
  const read = hashedProperties[property];
  return (message) => textOf(read?.(message));
}

/** What is absent is hashed too, so that such messages stay together. */
function textOf(value: unknown): string {
  return typeof value === 'string'
    ? value
    : (JSON.stringify(value, (_name, inner: unknown) => (typeof inner === 'bigint' ? `${inner}` : inner)) ?? '');
}
