import type { MessageLog } from './message-log.js';
import type { Queue } from './queue.js';
import type { Turn } from './turn.js';

/**
 * The settlements of one queue that are not in the journal yet: those that follow one another are one record. The commit takes them, at
 * the latest a few milliseconds after the first; what a crash takes before that is delivered again.
 */
export class SettlementRun {
  private start = 0;
  private length = 0;
  private isMarked = false;

  constructor(
    private readonly queue: Queue,
    private readonly turn: Turn,
  ) {}

  add(log: MessageLog, sequence: number): void {
    if (this.length > 0 && sequence === this.start + this.length) {
      this.length++;
      return;
    }
    if (this.length > 0) log.appendSettled(this.queue.id, this.start, this.length);
    this.start = sequence;
    this.length = 1;
    this.mark(log);
  }

  /** The queue has something for the next commit. */
  mark(log: MessageLog): void {
    if (this.isMarked) return;
    this.isMarked = true;
    log.queueHasUnrecorded(this.queue);
    this.turn.schedule(); // it may be the last thing that happens for long
  }

  /** A commit begins. */
  record(log: MessageLog, isDeleted: boolean): void {
    this.isMarked = false;
    if (isDeleted) return;
    if (this.length > 0) log.appendSettled(this.queue.id, this.start, this.length);
    this.length = 0;
  }
}
