import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';
import { TopicTrie } from '../topic-trie.js';

/** A message follows the bindings whose pattern fits one of its keys. */
export const topic: ExchangeType = {
  name: 'topic',
  create: () => {
    const trie = new TopicTrie<ExchangeBinding>();
    return {
      readsMessage: false,
      add: (binding) => trie.add(binding.routingKey, binding),
      remove: (binding) => trie.remove(binding.routingKey, binding),
      route: ({ routingKeys }, follow) => {
        for (const key of routingKeys) trie.match(key, follow);
      },
    };
  },
};
