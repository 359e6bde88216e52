import type { Queue } from './queue.js';

/** Where a message of one exchange and routing key goes. Good as long as the virtual host's `epoch` stands still. */
export interface Route {
  /** Each queue once, however many bindings lead to it. */
  readonly queues: readonly Queue[];
  readonly durableQueues: readonly Queue[];
}

export const nowhere: Route = { queues: [], durableQueues: [] };

/**
 * Stands for routes that the key alone does not decide: an exchange on the way looks at headers, or chooses by chance. It leads
 * nowhere by itself; whoever meets it asks `VirtualHost.routeMessage` for each message.
 */
export const perMessage: Route = { queues: [], durableQueues: [] };

export function routeTo(queues: Iterable<Queue>): Route {
  const unique = [...new Set(queues)];
  return unique.length === 0 ? nowhere : { queues: unique, durableQueues: unique.filter((queue) => queue.log !== undefined) };
}
