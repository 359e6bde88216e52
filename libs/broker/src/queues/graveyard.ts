import type { Clock } from '@dovecote/ground';
import type { Arena } from '../storage/arena.js';
import { admit } from './bounds.js';
import { type DeadLetter, type DeathReason, isCycle, writeDeadLetter } from './dead-letter.js';
import type { Intake } from './intake.js';
import type { Queue } from './queue.js';
import { type Route, routeWithout } from './route.js';

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

  private buryOne({ queue, reason, bytes, start, original }: Dead): void {
    const { host } = this;
    const { deadLetterExchange: exchange, deadLetterRoutingKey: routingKey } = queue.policy!;
    const timeS = Math.floor(host.clock.now() / 1000);
    const letter = writeDeadLetter(bytes, start, { queue: queue.name, reason, timeS, exchange: exchange!, routingKey });
    let route = host.routeDeadLetter(letter.exchange, letter);
    if (route.queues.some(({ name }) => isCycle(letter.deaths, name, reason))) {
      route = routeWithout(route, ({ name }) => isCycle(letter.deaths, name, reason));
    }
    const { image } = letter;
    if (route.hasBounds) route = admit(route, this, image, 0);
    host.intake.put(route, letter.isPersistent, false, image, 0, image.length);
    if (original !== undefined) queue.settle(original.sequence, original.chunk);
  }
}
