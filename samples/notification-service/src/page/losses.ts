/**
 * Says how many confirmed events are lost: not late, not on their way, but gone.
 *
 * The broker is looked at several times a second: how many messages are ready in the queue, how many consumers it has. Two things prove a loss, and
 * neither can be mistaken for an event that is only waiting:
 *
 *   - The queue was seen empty, with a consumer, after the event was confirmed. So it had been handed to a notification service; that one had
 *     `GRACE_MS` to say that it handled it, and was not killed meanwhile (which would put what it held back into the queue).
 *   - More confirmed events are neither handled nor in the queue than the consumers can be holding. Seen for `GRACE_MS` without a break, the
 *     difference is lost. This one needs no empty queue, so a load that never ends hides nothing for long.
 *
 * An event that turns up after all is no longer lost.
 */
import type { Tally } from './tally.js';

/** Far longer than a notification takes at its slowest pace, the broker's own round trip and a stall of this machine together. */
const GRACE_MS = 4_000;

export interface QueueDepth {
  readonly ready: number;
  readonly consumers: number;
}

/** Looks at what waits for the notification service, from outside. */
export interface BacklogWatch {
  /** Nothing while the broker does not answer. */
  look(): Promise<QueueDepth | undefined>;
  close(): void;
}

interface Look {
  readonly number: number;
  readonly atMs: number;
}

export class Losses {
  /** How many looks have begun. */
  private looks = 0;
  /** Looks that saw an empty queue and a consumer, since the last disturbance; the newest that is older than the grace settles what came before it. */
  private empty: Look[] = [];
  private settled = 0;
  private missing: { readonly sinceMs: number; readonly least: number } | undefined;
  private consumers = 0;

  constructor(
    private readonly tally: Tally,
    /** The most messages that one consumer may hold at a time. */
    private readonly heldMax: number,
    private readonly graceMs = GRACE_MS,
  ) {}

  get lookNumber(): number {
    return this.looks;
  }

  /** Call before the broker is asked: what is confirmed from here on may be younger than the answer. */
  beginLook(): void {
    this.looks += 1;
  }

  /** The answer, with every fact written before it came already counted; undefined when the broker did not answer. */
  endLook(depth: QueueDepth | undefined, nowMs: number): void {
    if (depth === undefined || depth.consumers < this.consumers) this.disturbed();
    this.consumers = depth?.consumers ?? 0;
    if (depth === undefined) return;
    if (depth.ready === 0 && depth.consumers > 0) this.empty.push({ number: this.looks, atMs: nowMs });
    while (this.empty[0] !== undefined && this.empty[0].atMs <= nowMs - this.graceMs) this.settled = this.empty.shift()?.number ?? 0;
    const missing = this.unhandledBefore(this.looks) - depth.ready - depth.consumers * this.heldMax;
    if (missing <= 0 || depth.consumers === 0) this.missing = undefined;
    else this.missing = { sinceMs: this.missing?.sinceMs ?? nowMs, least: Math.min(missing, this.missing?.least ?? missing) };
  }

  /** A process that held messages is gone: they are back in the queue, or will be. What an empty queue has proved until now stays proved. */
  disturbed(): void {
    this.empty = [];
    this.missing = undefined;
  }

  lost(nowMs: number): number {
    const byBalance = this.missing !== undefined && nowMs - this.missing.sinceMs >= this.graceMs ? this.missing.least : 0;
    return Math.max(this.unhandledBefore(this.settled), byBalance);
  }

  private unhandledBefore(look: number): number {
    let count = 0;
    for (const confirmedAfter of this.tally.outstanding.values()) {
      if (confirmedAfter >= look) break;
      count += 1;
    }
    return count;
  }
}
