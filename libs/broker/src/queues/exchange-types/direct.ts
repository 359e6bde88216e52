import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';

/** A message follows the bindings whose key is one of its own. */
export const direct: ExchangeType = {
  name: 'direct',
  create: () => {
    const byKey = new Map<string, Set<ExchangeBinding>>();
    return {
      readsMessage: false,
      add: (binding) => {
        const bindings = byKey.get(binding.routingKey) ?? new Set();
        byKey.set(binding.routingKey, bindings.add(binding));
      },
      remove: (binding) => {
        const bindings = byKey.get(binding.routingKey);
        bindings?.delete(binding);
        if (bindings?.size === 0) byKey.delete(binding.routingKey);
      },
      route: ({ routingKeys }, follow) => {
        for (const key of routingKeys) byKey.get(key)?.forEach(follow);
      },
    };
  },
};
