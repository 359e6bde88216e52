import type { Queue } from './queue.js';

/** Where a message of one exchange and routing key goes. Good as long as the virtual host's `epoch` stands still. */
export interface Route {
  /** Each queue once, however many bindings lead to it. */
  readonly queues: readonly Queue[];
  readonly durableQueues: readonly Queue[];
  /** One of the queues may refuse a message: ask `admit`. */
  readonly hasBounds: boolean;
  /** One of the queues must know when a message came. */
  readonly isTimed: boolean;
}

export const nowhere: Route = { queues: [], durableQueues: [], hasBounds: false, isTimed: false };

/**
 * Stands for routes that the key alone does not decide: an exchange on the way looks at headers, or chooses by chance. It leads
 * nowhere by itself; whoever meets it asks `VirtualHost.routeMessage` for each message.
 */
export const perMessage: Route = { ...nowhere };

export function routeTo(queues: Iterable<Queue>): Route {
  const unique = [...new Set(queues)];
  if (unique.length === 0) return nowhere;
  return {
    queues: unique,
    durableQueues: unique.filter((queue) => queue.log !== undefined),
    hasBounds: unique.some(({ bounds }) => bounds !== undefined && !bounds.dropsHead),
    isTimed: unique.some(({ policy }) => policy !== undefined && policy.messageTtlMs !== Infinity),
  };
}
