import type { DelayedMessages } from './delayed-messages.js';
import type { MessageLog } from './message-log.js';
import type { Queue } from './queue.js';

/** What has a place of its own in the journal. */
export interface Recorded {
  readonly id: number;
  readonly log: MessageLog | undefined;
  /** The sequence that the next message will get: what its record must say. */
  readonly upcomingSequence: number;
}

/** Where a message of one exchange and routing key goes. Good as long as the virtual host's `epoch` stands still. */
export interface Route {
  /** Each queue once, however many bindings lead to it. */
  readonly queues: readonly Queue[];
  /** Exchanges that hold the message for a while. */
  readonly holds: readonly DelayedMessages[];
  /** Those of both that are kept. */
  readonly kept: readonly Recorded[];
  /** How many of the queues keep transient messages too. */
  readonly keepingCount: number;
  /** One of the queues may refuse a message: ask `admit`. */
  readonly hasBounds: boolean;
  /** One of them must know when a message came. */
  readonly isTimed: boolean;
}

export const nowhere: Route = { queues: [], holds: [], kept: [], keepingCount: 0, hasBounds: false, isTimed: false };

/**
 * Stands for routes that the key alone does not decide: an exchange on the way looks at headers, or chooses by chance. It leads
 * nowhere by itself; whoever meets it asks `VirtualHost.routeMessage` for each message.
 */
export const perMessage: Route = { ...nowhere };

export function routeTo(queues: Iterable<Queue>, holds: readonly DelayedMessages[] = nowhere.holds): Route {
  const unique = [...new Set(queues)];
  if (unique.length === 0 && holds.length === 0) return nowhere;
  return {
    queues: unique,
    keepingCount: unique.filter(({ keepsAll }) => keepsAll).length,
    holds,
    kept: [...unique, ...holds].filter(({ log }) => log !== undefined),
    hasBounds: unique.some(({ bounds }) => bounds !== undefined && !bounds.dropsHead),
    isTimed: holds.length > 0 || unique.some(({ policy }) => policy !== undefined && policy.messageTtlMs !== Infinity),
  };
}

/** The same without some of its queues. */
export function routeWithout(route: Route, isLeftOut: (queue: Queue) => boolean): Route {
  return routeTo(
    route.queues.filter((queue) => !isLeftOut(queue)),
    route.holds.filter(({ isDeleted }) => !isDeleted),
  );
}

/**
 * Whether the message goes to nobody now, but later, so that it must keep what only its routing needs. Where it goes both ways at
 * once it does not: the header BCC is taken out, and whoever holds it cannot follow those keys any more.
 */
export function isHeldOnly({ queues, holds }: Route): boolean {
  return holds.length > 0 && queues.length === 0;
}
