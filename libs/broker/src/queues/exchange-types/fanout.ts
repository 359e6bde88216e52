import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';

/** A message follows every binding. */
export const fanout: ExchangeType = {
  name: 'fanout',
  create: () => {
    const all = new Set<ExchangeBinding>();
    return {
      readsMessage: false,
      add: (binding) => void all.add(binding),
      remove: (binding) => void all.delete(binding),
      route: (_message, follow) => all.forEach((binding) => follow(binding)),
    };
  },
};
