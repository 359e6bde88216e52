import type { DeathReason } from './dead-letter.js';
import type { MessageLog } from './message-log.js';

/**
 * What a quorum queue knows beside a classic one: how often each of its messages came back, and how often that may be.
 *
 * Counted are the messages that came back at least once; for all others nothing is kept. Each count goes to the journal with the next
 * group of settlements, so after a crash it may lack the last few milliseconds, and a delivery that was out then is not counted.
 */
export class Quorum {
  private readonly counts = new Map<number, number>();
  private unrecorded = new Set<number>();
  /** One of the messages that were recovered has a high priority. */
  hasHigh = false;
  /** What the journal says to be dead, while it is recovered. */
  readonly dead = new Map<number, DeathReason>();

  constructor(
    /** The message that came back more often is dead; Infinity where none is. */
    readonly deliveryLimit: number,
  ) {}

  /** How often the message came back. */
  countOf(sequence: number): number {
    return this.counts.size === 0 ? 0 : (this.counts.get(sequence) ?? 0);
  }

  /** It came back once more; how often now. */
  countReturn(sequence: number): number {
    const count = this.countOf(sequence) + 1;
    this.counts.set(sequence, count);
    this.unrecorded.add(sequence);
    return count;
  }

  /** The message is done with. */
  forget(sequence: number): void {
    if (this.counts.size === 0) return;
    this.counts.delete(sequence);
    this.unrecorded.delete(sequence);
  }

  record(log: MessageLog, queueId: number): void {
    for (const sequence of this.unrecorded) log.appendReturned(queueId, sequence, this.counts.get(sequence)!);
    this.unrecorded = new Set();
  }

  recover(sequence: number, count: number): void {
    this.counts.set(sequence, count);
  }

  /** Messages from `first` on were settled while they were recovered. */
  recoverSettled(first: number, count: number): void {
    if (count === 1) this.counts.delete(first);
    else for (const sequence of this.counts.keys()) if (sequence >= first && sequence < first + count) this.counts.delete(sequence);
  }
}
