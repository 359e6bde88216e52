import { bodyLength } from './content.js';
import type { Graveyard } from './graveyard.js';
import type { Queue } from './queue.js';
import type { QueuePolicy } from './queue-policy.js';
import { type Route, routeWithout } from './route.js';

/**
 * How much may wait in a queue: messages, and bytes of their bodies. What is out with a consumer does not count.
 *
 * A queue that drops does so from its head, and only after its consumers had their chance: a message that comes and can be delivered is
 * never dropped for want of room. Where one comes back, there is no such chance, as in RabbitMQ. One that rejects is asked before a
 * message enters it (`admit`). Kept nowhere: recovery counts anew.
 */
export class Bounds {
  /** Bytes of bodies that wait, committed or not. */
  bytes = 0;
  /** A quorum queue has been too long, and has not become short enough since. */
  private isBlocked = false;
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
    if (this.policy.type === 'quorum') return this.blocks(queue);
    const { maxLength, maxLengthBytes } = this.policy;
    const waiting = queue.waitingCount;
    if (waiting < maxLength && this.bytes + bodyBytes <= maxLengthBytes) return false;
    const left = Math.max(waiting - queue.appetite, 0);
    return left >= maxLength || (left === 0 ? 0 : this.bytes) + bodyBytes > maxLengthBytes;
  }

  /** The consumers of a quorum queue had their chance: whether it is too long is seen now, though a publish may come much later. */
  watch(queue: Queue): void {
    if (this.policy.type === 'quorum' && !this.dropsHead) this.blocks(queue);
  }

  /** Refuses from when the queue is longer than it should be until a fifth of that is free again, as RabbitMQ's quorum queues do. */
  private blocks(queue: Queue): boolean {
    const { maxLength, maxLengthBytes } = this.policy;
    const dead = queue.discards;
    const count = Math.max(queue.waitingCount - queue.appetite, 0) + (dead?.count ?? 0);
    const bytes = (count === 0 ? 0 : this.bytes) + (dead?.bytes ?? 0);
    if (count > maxLength || bytes > maxLengthBytes) this.isBlocked = true;
    else if (count <= Math.trunc(maxLength * 0.8) && bytes <= Math.trunc(maxLengthBytes * 0.8)) this.isBlocked = false;
    return this.isBlocked;
  }

  get buriesRefused(): boolean {
    return this.policy.overflow === 'reject-publish-dlx' && this.policy.deadLetterExchange !== undefined;
  }
}

/** Whether one of the queues has no room for the message. */
export function isRefused(route: Route, bytes: Buffer, start: number): boolean {
  const bodyBytes = bodyLength(bytes, start);
  return route.queues.some((queue) => queue.bounds?.refuses(queue, bodyBytes));
}

/** The part of the route that has room for the message; the route itself when all of it has. */
export function admit(route: Route, bytes: Buffer, start: number): Route {
  if (!isRefused(route, bytes, start)) return route;
  const bodyBytes = bodyLength(bytes, start);
  return routeWithout(route, (queue) => queue.bounds?.refuses(queue, bodyBytes) === true);
}

/** Where the message had no room, to the dead letters of that queue; once the others have it, so that it does not come behind them. */
export function buryRefused(route: Route, open: Route, graveyard: Graveyard, bytes: Buffer, start: number): void {
  for (const queue of route.queues) {
    if (!open.queues.includes(queue) && queue.bounds?.buriesRefused === true) graveyard.buryRejected(queue, bytes, start);
  }
}
