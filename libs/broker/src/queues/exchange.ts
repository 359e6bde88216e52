import type { Queue } from './queue.js';
import { TopicTrie } from './topic-trie.js';

export const exchangeTypes = ['direct', 'fanout', 'topic'] as const;
export type ExchangeType = (typeof exchangeTypes)[number];

export interface ExchangeSettings {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
}

/** Leads messages of one exchange to a queue. Two bindings with the same fields are one. */
export interface Binding {
  readonly exchange: string;
  readonly queue: Queue;
  readonly key: string;
  /** The arguments as they came, encoded: part of the identity of a binding, without effect on these exchange types. */
  readonly arguments: string;
}

export function bindingId(binding: Binding): string {
  return JSON.stringify([binding.exchange, binding.queue.id, binding.key, binding.arguments]);
}

/** An exchange decides which of its bindings a routing key follows. */
export class Exchange {
  readonly bindings = new Map<string, Binding>();
  /** An auto-delete exchange goes with its last binding, not before its first. */
  hadBinding = false;
  private readonly matcher: Matcher;

  constructor(readonly settings: ExchangeSettings) {
    this.matcher = matchers[settings.type]();
  }

  /** False when it was bound like this already. */
  bind(binding: Binding): boolean {
    const id = bindingId(binding);
    if (this.bindings.has(id)) return false;
    this.bindings.set(id, binding);
    this.hadBinding = true;
    this.matcher.add(binding);
    return true;
  }

  /** The binding that was taken away, if there was one. */
  unbind(id: string): Binding | undefined {
    const binding = this.bindings.get(id);
    if (binding === undefined) return undefined;
    this.bindings.delete(id);
    this.matcher.remove(binding);
    return binding;
  }

  match(key: string, found: (queue: Queue) => void): void {
    this.matcher.match(key, found);
  }
}

interface Matcher {
  add(binding: Binding): void;
  remove(binding: Binding): void;
  match(key: string, found: (queue: Queue) => void): void;
}

const matchers: Record<ExchangeType, () => Matcher> = {
  direct: () => {
    const byKey = new Map<string, Set<Binding>>();
    return {
      add: (binding) => {
        const bindings = byKey.get(binding.key) ?? new Set();
        byKey.set(binding.key, bindings.add(binding));
      },
      remove: (binding) => {
        const bindings = byKey.get(binding.key);
        bindings?.delete(binding);
        if (bindings?.size === 0) byKey.delete(binding.key);
      },
      match: (key, found) => byKey.get(key)?.forEach(({ queue }) => found(queue)),
    };
  },
  fanout: () => {
    const all = new Set<Binding>();
    return {
      add: (binding) => all.add(binding),
      remove: (binding) => all.delete(binding),
      match: (_key, found) => all.forEach(({ queue }) => found(queue)),
    };
  },
  topic: () => {
    const trie = new TopicTrie<Binding>();
    return {
      add: (binding) => trie.add(binding.key, binding),
      remove: (binding) => trie.remove(binding.key, binding),
      match: (key, found) => trie.match(key, ({ queue }) => found(queue)),
    };
  },
};
