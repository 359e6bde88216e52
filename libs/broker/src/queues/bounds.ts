import { bodyLength } from './content.js';
import type { Graveyard } from './graveyard.js';
import type { Queue } from './queue.js';
import type { QueuePolicy } from './queue-policy.js';
import { type Route, routeWithout } from './route.js';

/**
 * How much may wait in a queue: messages, and bytes of their bodies. What is out with a consumer does not count.
 *
 * A queue that drops does so from its head, and only after its consumers had their chance: a message that can be delivered is never
 * dropped for want of room. One that rejects is asked before a message enters it (`admit`). Kept nowhere: recovery counts anew.
 */
export class Bounds {
  /** Bytes of bodies that wait, committed or not. */
  bytes = 0;
  readonly dropsHead: boolean;

  constructor(private readonly policy: QueuePolicy) {
    this.dropsHead = policy.overflow === 'drop-head';
  }

  isExceededBy(count: number): boolean {
    return count > this.policy.maxLength || this.bytes > this.policy.maxLengthBytes;
  }

  /** Whether the queue has no room for one more message of `bodyBytes`. What its consumers could be given at once takes no room. */
  refuses(queue: Queue, bodyBytes: number): boolean {
    if (this.dropsHead) return false;
    const { maxLength, maxLengthBytes } = this.policy;
    const waiting = queue.waitingCount;
    if (waiting < maxLength && this.bytes + bodyBytes <= maxLengthBytes) return false;
    const left = Math.max(waiting - queue.appetite, 0);
    return left >= maxLength || (left === 0 ? 0 : this.bytes) + bodyBytes > maxLengthBytes;
  }

  get buriesRefused(): boolean {
    return this.policy.overflow === 'reject-publish-dlx' && this.policy.deadLetterExchange !== undefined;
  }
}

/** The part of the route that has room for the message; the route itself when all of it has. What has none may bury it. */
export function admit(route: Route, graveyard: Graveyard, bytes: Buffer, start: number): Route {
  const bodyBytes = bodyLength(bytes, start);
  const full = route.queues.filter((queue) => queue.bounds?.refuses(queue, bodyBytes));
  if (full.length === 0) return route;
  for (const queue of full) if (queue.bounds!.buriesRefused) graveyard.buryRejected(queue, bytes, start);
  return routeWithout(route, (queue) => full.includes(queue));
}
