import type { Clock } from '@dovecote/ground';
import type { Deadlines, Due } from './deadlines.js';
import type { Session } from './session.js';

/** How often it is looked, as RabbitMQ does: a delivery that is over is noticed up to two of these later. */
const sweepMs = 60_000;

/**
 * Finds the sessions that keep a delivery for too long without a word: their consumers have hung, and what they hold would never come
 * back. Costs nothing for a delivery: once a minute each session is asked for its oldest one. Nothing survives.
 */
export class ConsumerTimeouts implements Due {
  dueAt = Infinity;
  duePlace = -1;
  private readonly sessions = new Set<Session>();

  constructor(
    private readonly clock: Clock,
    private readonly deadlines: Deadlines,
    /** For queues and consumers that do not say otherwise. */
    private readonly timeoutMs: number,
  ) {}

  watch(session: Session): void {
    this.sessions.add(session);
    this.deadlines.schedule(this, this.clock.now() + sweepMs);
  }

  forget(session: Session): void {
    this.sessions.delete(session);
  }

  due(): void {
    if (this.sessions.size === 0) return;
    const now = this.clock.now();
    for (const session of [...this.sessions]) session.checkTimeout(now, this.timeoutMs);
    this.deadlines.schedule(this, now + sweepMs);
  }
}

/**
 * When deliveries were made, as closely as the sweeps tell: one entry for each sweep since the oldest that is outstanding.
 */
export class DeliveryTimes {
  private readonly marks: { readonly tag: number; readonly at: number }[] = [];

  /** Deliveries up to `lastTag` were made before `now`; those before `oldestTag` are of no interest any more. */
  note(oldestTag: number, lastTag: number, now: number): void {
    while (this.marks.length > 0 && this.marks[0]!.tag < oldestTag) this.marks.shift();
    if (this.marks.length === 0 || this.marks.at(-1)!.tag < lastTag) this.marks.push({ tag: lastTag, at: now });
  }

  /** The oldest delivery is at least as old as this. */
  get oldestAt(): number {
    return this.marks[0]!.at;
  }

  clear(): void {
    this.marks.length = 0;
  }
}
