import type { Clock } from '@dovecote/ground';
import { bodyLength } from './content.js';
import type { DeathReason } from './dead-letter.js';
import type { Deadlines, Due } from './deadlines.js';
import type { Graveyard } from './graveyard.js';
import type { Queue } from './queue.js';

/** How long before a dead letter that could not go is tried again. */
const retryMs = 1000;
/** So many of them are tried; the others wait until one of these is gone. */
const triedMax = 32;

interface Discarded {
  readonly reason: DeathReason;
  readonly sequence: number;
  readonly chunk: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * The dead letters of a quorum queue with `x-dead-letter-strategy: at-least-once`: each leaves the queue only when it is in every queue
 * behind the dead-letter exchange. Where there is none, or one of them is full, it is tried again every second, and until then it counts
 * as one that waits.
 *
 * That a message is dead is in the journal from the first try that failed on, so that no consumer is given it again after a crash.
 */
export class Discards implements Due {
  dueAt = Infinity;
  duePlace = -1;
  /** Of their bodies. */
  bytes = 0;
  private waiting: Discarded[] = [];

  constructor(
    private readonly queue: Queue,
    private readonly graveyard: Graveyard,
    private readonly clock: Clock,
    private readonly deadlines: Deadlines,
  ) {}

  get count(): number {
    return this.waiting.length;
  }

  /** The message was taken out of the queue. */
  add(reason: DeathReason, sequence: number, chunk: number, offset: number, length: number): void {
    const discarded = { reason, sequence, chunk, offset, length };
    if (this.waiting.length < triedMax && this.tryToBury(discarded)) return;
    this.keep(discarded);
    this.queue.recordDead(sequence, reason);
  }

  due(): void {
    const tried = this.waiting.slice(0, triedMax);
    const left = tried.filter((discarded) => !this.tryToBury(discarded));
    if (left.length < tried.length) this.waiting = [...left, ...this.waiting.slice(triedMax)];
    this.bytes = this.waiting.reduce((total, discarded) => total + this.bodyBytes(discarded), 0);
    if (this.waiting.length === 0) return;
    const now = this.clock.now();
    this.deadlines.schedule(this, left.length === 0 ? now : now + retryMs);
  }

  /** It was dead before the broker was opened. */
  recover(reason: DeathReason, sequence: number, chunk: number, offset: number, length: number): void {
    this.keep({ reason, sequence, chunk, offset, length });
  }

  /** The queue is deleted. */
  clear(): void {
    this.deadlines.cancel(this);
    for (const { sequence, chunk } of this.waiting.splice(0)) this.queue.settle(sequence, chunk);
    this.bytes = 0;
  }

  private keep(discarded: Discarded): void {
    this.waiting.push(discarded);
    this.bytes += this.bodyBytes(discarded);
    this.deadlines.schedule(this, this.clock.now() + retryMs);
  }

  private tryToBury({ reason, sequence, chunk, offset }: Discarded): boolean {
    return this.graveyard.burySurely(this.queue, reason, sequence, chunk, offset);
  }

  private bodyBytes({ chunk, offset }: Discarded): number {
    return bodyLength(this.queue.bytesOf(chunk), offset);
  }
}
