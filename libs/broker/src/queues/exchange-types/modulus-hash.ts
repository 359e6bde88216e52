import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';
import { hashOf } from './key-hash.js';

/** Each message follows one binding, chosen by its routing key. Unlike x-consistent-hash, a change of the bindings moves most keys. */
export const modulusHash: ExchangeType = {
  name: 'x-modulus-hash',
  create: () => {
    let bindings: readonly ExchangeBinding[] = [];
    return {
      readsMessage: false,
      add: (binding) => void (bindings = [...bindings, binding].sort(byDestination)),
      remove: (binding) => void (bindings = bindings.filter((other) => other !== binding)),
      route: ({ routingKey }, follow) => {
        if (bindings.length > 0) follow(bindings[hashOf(routingKey) % bindings.length]!);
      },
    };
  },
};

/** The same order after a restart, whatever order they came in. */
function byDestination(a: ExchangeBinding, b: ExchangeBinding): number {
  const [left, right] = [a, b].map(({ destination, routingKey }) => JSON.stringify([destination.kind, destination.name, routingKey]));
  return left! < right! ? -1 : left! > right! ? 1 : 0;
}
