import type { Clock } from '@dovecote/ground';
import type { Arena } from '../storage/arena.js';
import { admit, buryRefused, isRefused } from './bounds.js';
import { type DeadLetter, type DeathReason, isCycle, writeDeadLetter } from './dead-letter.js';
import type { Intake } from './intake.js';
import type { Queue } from './queue.js';
import { nowhere, type Route, routeWithout } from './route.js';

/** What the graveyard needs of its virtual host. */
export interface GraveyardHost {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly intake: Intake;
  /** Where a dead letter goes; nowhere when there is no such exchange. */
  routeDeadLetter(exchange: string, letter: DeadLetter): Route;
}

interface Dead {
  readonly queue: Queue;
  readonly reason: DeathReason;
  readonly bytes: Buffer;
  readonly start: number;
  /** Where the original stands, to be settled once its copies do; undefined for one that never entered its queue. */
  readonly original: { readonly sequence: number; readonly chunk: number } | undefined;
}

/**
 * Takes what died in queues to their dead-letter exchanges.
 *
 * First the copies are put into their queues, then the original is settled, so the journal never says that a message is gone before
 * it says where it went: a crash in between leaves both. The copies are not confirmed to anybody. A queue where the message
 * would go round by itself is left out, and without an exchange or a queue the message is dropped.
 *
 * One death may cause another, in a chain as long as there are queues, so they are worked off one after the other and not one
 * inside the other.
 */
export class Graveyard {
  private readonly dead: Dead[] = [];
  private isBurying = false;

  constructor(private readonly host: GraveyardHost) {}

  /** The message was taken out of `queue`, whose dead-letter exchange it goes to. It is settled here. */
  bury(queue: Queue, reason: DeathReason, sequence: number, chunk: number, offset: number): void {
    const { bytes } = this.host.arena.chunks[chunk]!;
    this.dead.push({ queue, reason, bytes, start: offset, original: { sequence, chunk } });
    this.work();
  }

  /** The same for a message that found `queue` full. Its bytes must stay as they are until the outermost call returns. */
  buryRejected(queue: Queue, bytes: Buffer, start: number): void {
    this.dead.push({ queue, reason: 'maxlen', bytes, start, original: undefined });
    this.work();
  }

  /**
   * The same, but only if the copies reach every queue they are for: false, and nothing done, where there is none or one of them is full.
   */
  burySurely(queue: Queue, reason: DeathReason, sequence: number, chunk: number, offset: number): boolean {
    const { host } = this;
    const letter = this.write(queue, reason, host.arena.chunks[chunk]!.bytes, offset);
    const route = this.route(letter, reason);
    const { image } = letter;
    if (route === nowhere || (route.hasBounds && isRefused(route, image, 0))) return false;
    host.intake.put(route, letter.isPersistent, false, image, 0, image.length);
    queue.settle(sequence, chunk);
    return true;
  }

  private work(): void {
    if (this.isBurying) return;
    this.isBurying = true;
    try {
      // The array grows meanwhile, but not for ever: a message dies by itself in no queue twice, and not more often than `deathsMax`.
      for (let next = 0; next < this.dead.length; next++) this.buryOne(this.dead[next]!);
    } finally {
      this.dead.length = 0;
      this.isBurying = false;
    }
  }

  private write(queue: Queue, reason: DeathReason, bytes: Buffer, start: number): DeadLetter {
    const { deadLetterExchange: exchange, deadLetterRoutingKey: routingKey } = queue.policy!;
    const timeS = Math.floor(this.host.clock.now() / 1000);
    return writeDeadLetter(bytes, start, { queue: queue.name, reason, timeS, exchange: exchange!, routingKey });
  }

  private route(letter: DeadLetter, reason: DeathReason): Route {
    const route = this.host.routeDeadLetter(letter.exchange, letter);
    const isLeftOut = ({ name }: Queue): boolean => isCycle(letter.deaths, name, reason);
    return route.queues.some(isLeftOut) ? routeWithout(route, isLeftOut) : route;
  }

  private buryOne({ queue, reason, bytes, start, original }: Dead): void {
    const { host } = this;
    const letter = this.write(queue, reason, bytes, start);
    const route = this.route(letter, reason);
    const { image } = letter;
    const open = route.hasBounds ? admit(route, image, 0) : route;
    host.intake.put(open, letter.isPersistent, false, image, 0, image.length);
    if (open !== route) buryRefused(route, open, this, image, 0);
    if (original !== undefined) queue.settle(original.sequence, original.chunk);
  }
}
