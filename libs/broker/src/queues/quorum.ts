import type { DeathReason } from './dead-letter.js';
import type { MessageLog } from './message-log.js';

/**
 * What a quorum queue knows beside a classic one: how often each of its messages came back, and how often that may be.
 *
 * Counted are the messages that came back at least once; for all others nothing is kept. Each count goes to the journal with the next
 * group of settlements, so after a crash it may lack the last few milliseconds, and a first delivery that was out then is not counted.
 *
 * What was in the queue when the broker was killed may be what killed it. Each of these is counted in advance, in the journal, before it is given to anybody again: should
 * that kill the broker too, it is known.
 */
export class Quorum {
  private readonly counts = new Map<number, number>();
  private unrecorded = new Set<number>();
  /** Their return is counted already, and has not happened. */
  private readonly ahead = new Set<number>();
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

  /** How often it came back, without what was counted in advance. */
  returnsOf(sequence: number): number {
    return this.countOf(sequence) - (this.ahead.has(sequence) ? 1 : 0);
  }

  /** It is given to somebody soon; what the journal must say before that. */
  countAhead(sequence: number): number {
    const count = this.countOf(sequence) + 1;
    this.counts.set(sequence, count);
    this.ahead.add(sequence);
    return count;
  }

  /** It came back once more; how often now. */
  countReturn(sequence: number): number {
    if (this.ahead.delete(sequence)) return this.countOf(sequence);
    const count = this.countOf(sequence) + 1;
    this.counts.set(sequence, count);
    this.unrecorded.add(sequence);
    return count;
  }

  /** What the journal says of the message goes: it must be said once more. False when there is nothing to say. */
  recordAgain(sequence: number): boolean {
    if (!this.counts.has(sequence)) return false;
    this.unrecorded.add(sequence);
    return true;
  }

  /** The message is done with. */
  forget(sequence: number): void {
    if (this.counts.size === 0) return;
    this.counts.delete(sequence);
    this.unrecorded.delete(sequence);
    this.ahead.delete(sequence);
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
