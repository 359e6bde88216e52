import type { Clock } from '@dovecote/ground';
import type { Arena, Chunk } from '../storage/arena.js';
import { enqueuedAtBytes } from './expiry.js';
import type { MessageLog } from './message-log.js';
import type { Queue } from './queue.js';
import { type Route, routeTo, routeWithout } from './route.js';

/**
 * Puts a message into the queues of a route: once into memory, once into the journal if it is to be kept, and a place in each queue.
 * What comes from publishers and what comes from dead letters goes through here. Nothing is kept here.
 */
export class Intake {
  constructor(
    private readonly arena: Arena,
    private readonly clock: Clock,
    private readonly log: MessageLog | undefined,
  ) {}

  /**
   * The content image `bytes[start .. start + length)` is copied before this returns. `isExpiring` says that it has the property
   * `expiration`. True when it went to the journal, so that it is safe only after the next commit.
   */
  put(route: Route, isPersistent: boolean, isExpiring: boolean, bytes: Buffer, start: number, length: number): boolean {
    const { queues } = route;
    if (queues.length === 0 && route.holds.length === 0) return false;
    const { log, arena } = this;
    if (!isPersistent && route.keepingCount > 0) return this.putTransient(route, isExpiring, bytes, start, length);
    if (isExpiring || route.isTimed) return this.putTimed(route, isPersistent, isExpiring, bytes, start, length);
    if (isPersistent && log !== undefined && route.kept.length > 0) {
      log.appendMessage(route, bytes, start, length);
      const { id } = log.chunk!;
      const { offset } = log;
      for (let i = 0; i < queues.length; i++) queues[i]!.enqueue(id, offset, length);
      return true;
    }
    const chunk = arena.reserveVolatile(length);
    const { id } = chunk;
    const offset = arena.volatileOffset;
    arena.copy(bytes, start, chunk, offset, length);
    for (let i = 0; i < queues.length; i++) queues[i]!.enqueue(id, offset, length);
    return false;
  }

  /** A transient message is written for the queues that keep those too, and for no other. */
  private putTransient(route: Route, isExpiring: boolean, bytes: Buffer, start: number, length: number): boolean {
    const { queues, holds, keepingCount } = route;
    if (keepingCount === queues.length && holds.length === 0) return this.put(route, true, isExpiring, bytes, start, length);
    const isKeeping = ({ keepsAll }: Queue): boolean => keepsAll;
    this.put(routeWithout(route, isKeeping), false, isExpiring, bytes, start, length);
    return this.put(routeTo(queues.filter(isKeeping)), true, isExpiring, bytes, start, length);
  }

  /** The same for a message that may expire or is held for a while: the moment at which it came is put in front of its image. */
  private putTimed(route: Route, isPersistent: boolean, isExpiring: boolean, bytes: Buffer, start: number, length: number): boolean {
    const { log, arena } = this;
    const { queues } = route;
    const now = this.clock.now();
    const isJournaled = isPersistent && log !== undefined && route.kept.length > 0;
    let chunk: Chunk;
    let offset: number;
    if (isJournaled) {
      log.appendTimedMessage(route, now, bytes, start, length);
      chunk = log.chunk!;
      offset = log.offset;
    } else {
      chunk = arena.reserveVolatile(enqueuedAtBytes + length);
      offset = arena.volatileOffset + enqueuedAtBytes;
      chunk.bytes.writeUIntBE(now, arena.volatileOffset, enqueuedAtBytes);
      arena.copy(bytes, start, chunk, offset, length);
    }
    for (const queue of queues) {
      if (isExpiring) queue.beginToExpire();
      queue.enqueue(chunk.id, offset, length);
    }
    for (const held of route.holds) held.enqueue(chunk.id, offset, length);
    return isJournaled;
  }
}
