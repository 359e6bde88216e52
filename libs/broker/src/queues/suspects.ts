import type { Backlog } from './backlog.js';
import type { MessageLog } from './message-log.js';
import type { Quorum } from './quorum.js';
import type { Turn } from './turn.js';

/** Messages that are counted in advance with one commit. */
const announcedMax = 1024;

/** The queue that they are in. */
export interface SuspectedQueue {
  readonly id: number;
  readonly appetite: number;
  wake(): void;
}

/**
 * What was in a quorum queue when its broker was killed: one of these messages may be what killed it. Before one of them is given to a consumer, its return is counted and committed, so that
 * the next opening knows of it should the broker be killed again. Costs a small record for each, and a commit for as many as the consumers can take at once.
 *
 * What is settled in the meantime is in the same commits, so no message is counted for what the next one did.
 */
export class Suspects {
  private announcedBelow = 0;
  private isAnnouncing = false;

  constructor(
    private readonly queue: SuspectedQueue,
    private readonly ready: Backlog,
    private readonly quorum: Quorum,
    private readonly log: MessageLog,
    private readonly turn: Turn,
    /** The first sequence that came after the kill. */
    private readonly below: number,
  ) {}

  /** Whether none is left before the first message of the backlog, which there must be. */
  get isOver(): boolean {
    return this.ready.firstSequence >= this.below;
  }

  /** Whether the first message of the backlog may be given to a consumer. If not, the queue is woken when it may. */
  mayBeGiven(): boolean {
    if (this.ready.firstSequence < this.announcedBelow) return true;
    if (!this.isAnnouncing) this.announce();
    return false;
  }

  private announce(): void {
    const { queue, ready, quorum, log, turn, below } = this;
    const first = ready.firstSequences(Math.min(queue.appetite, announcedMax)).filter((sequence) => sequence < below);
    const last = first.at(-1);
    if (last === undefined) return;
    this.isAnnouncing = true;
    for (const sequence of first) log.appendReturned(queue.id, sequence, quorum.countAhead(sequence));
    turn.definitionWasAppended();
    turn.afterCommit(() => {
      this.isAnnouncing = false;
      this.announcedBelow = last + 1;
      queue.wake();
    });
  }
}
