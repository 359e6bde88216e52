import type { Clock } from '@dovecote/ground';
import { type BrokerErrorCode, CodedError } from '../errors.js';
import type { Journal } from '../storage/journal.js';
import type { MessageLog } from './message-log.js';
import type { Queue } from './queue.js';
import type { Session } from './session.js';

/**
 * How long an acknowledgement may wait for a commit that somebody needs at once. A crash within it delivers the message again,
 * which at-least-once allows and which an acknowledgement on its way to the broker would meet anyhow.
 */
const settlementDelayMs = 5;

const endingCodes: ReadonlySet<BrokerErrorCode> = new Set(['storage-failed', 'data-damaged']);

/** Something that collects output during a turn and sends it at the end. */
export interface Flushable {
  isFlushQueued: boolean;
  flush(): void;
}

/**
 * What happens once per turn of the event loop, for everything that was touched in it: queues deliver, the journal begins a
 * commit, publishers are confirmed, connections send. So the cost of each is paid per turn and not per message.
 *
 * It also holds what waits for a commit. Whatever is appended while one commit is under way belongs to the next:
 *
 *   append … append | seal → write → sync → commit | …         confirms and visibility follow `commit`
 */
export class Turn {
  /** Called at the end of every turn: the place to look at what has grown. */
  watch: (() => void) | undefined;
  private isScheduled = false;
  /** A turn is under way and has not sent yet what connections have to say. */
  private isBeforeFlush = false;
  private dirtyQueues: Queue[] = [];
  private spareQueues: Queue[] = [];
  private confirmingSessions: Session[] = [];
  private flushables: Flushable[] = [];
  private spareFlushables: Flushable[] = [];

  private journal: Journal | undefined;
  private log: MessageLog | undefined;
  private uncommittedQueues: Queue[] = [];
  private sealedQueues: Queue[] = [];
  private uncommittedSessions: Session[] = [];
  private sealedSessions: Session[] = [];
  private isSettling = false;
  private hasDefinitions = false;
  private hasSealedDefinitions = false;
  private waiting: (() => void)[] = [];
  private sealedWaiting: (() => void)[] = [];

  constructor(private readonly clock: Clock) {}

  useJournal(journal: Journal, log: MessageLog): void {
    this.journal = journal;
    this.log = log;
  }

  /** Sees to it that a turn runs soon. */
  schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.clock.defer(this.run);
  }

  queueIsDirty(queue: Queue): void {
    this.dirtyQueues.push(queue);
    this.schedule();
  }

  queueHasUncommitted(queue: Queue): void {
    this.uncommittedQueues.push(queue);
    this.schedule();
  }

  /** The session has published something that waits for no commit. */
  sessionHasConfirms(session: Session): void {
    this.confirmingSessions.push(session);
    this.schedule();
  }

  sessionHasUncommitted(session: Session): void {
    this.uncommittedSessions.push(session);
    this.schedule();
  }

  flushSoon(flushable: Flushable): void {
    if (flushable.isFlushQueued) return;
    flushable.isFlushQueued = true;
    this.flushables.push(flushable);
    // What is delivered in a turn leaves with it: one more turn would find nothing to do.
    if (!this.isBeforeFlush) this.schedule();
  }

  /** A definition, or a transaction, was appended to the journal: nobody may be told of it before it is committed. */
  definitionWasAppended(): void {
    this.hasDefinitions = true;
    this.schedule();
  }

  get hasPendingDefinitions(): boolean {
    return this.hasDefinitions || this.hasSealedDefinitions;
  }

  /** Calls `run` when every definition appended so far is committed: at once when there is none under way. */
  afterCommit(run: () => void): void {
    if (this.hasDefinitions) this.waiting.push(run);
    else if (this.hasSealedDefinitions) this.sealedWaiting.push(run);
    else run();
  }

  /** Calls `run` when everything appended so far is committed, messages too: at once when there is nothing under way. */
  afterMessages(run: () => void): void {
    if (this.hasDefinitions || this.uncommittedQueues.length > 0) this.waiting.push(run);
    else if (this.hasSealedDefinitions || this.sealedQueues.length > 0) this.sealedWaiting.push(run);
    else run();
  }

  // What the journal calls.

  sealing(): void {
    this.log?.recordQueues();
  }

  sealed(): void {
    const { sealedQueues, sealedSessions } = this;
    this.sealedQueues = this.uncommittedQueues;
    this.uncommittedQueues = sealedQueues;
    for (const queue of this.sealedQueues) queue.seal();
    this.sealedSessions = this.uncommittedSessions;
    this.uncommittedSessions = sealedSessions;
    for (const session of this.sealedSessions) session.seal();
    this.hasSealedDefinitions = this.hasDefinitions;
    this.hasDefinitions = false;
    this.sealedWaiting = this.waiting;
    this.waiting = [];
  }

  committed(): void {
    for (const queue of this.sealedQueues) queue.commit();
    this.sealedQueues.length = 0;
    for (const session of this.sealedSessions) session.commit();
    this.sealedSessions.length = 0;
    this.hasSealedDefinitions = false;
    const waiting = this.sealedWaiting;
    this.sealedWaiting = [];
    for (const run of waiting) run();
    this.schedule();
  }

  private readonly run = (): void => {
    this.isScheduled = false;
    this.isBeforeFlush = true;
    try {
      this.runOnce();
    } catch (error) {
      this.isBeforeFlush = false;
      if (this.flushables.length > 0) this.schedule();
      // Messages could not be read back: the broker ends, and whoever is concerned has heard of it.
      if (!(error instanceof CodedError && endingCodes.has(error.code))) throw error;
    }
  };

  private runOnce(): void {
    const queues = this.dirtyQueues;
    this.dirtyQueues = this.spareQueues;
    for (const queue of queues) {
      queue.isDirty = false;
      if (queue.dispatch()) queue.wake();
    }
    queues.length = 0;
    this.spareQueues = queues;
    if (this.journal !== undefined && this.log !== undefined) this.commitSoon(this.journal, this.log);
    const sessions = this.confirmingSessions;
    if (sessions.length > 0) {
      this.confirmingSessions = [];
      for (const session of sessions) session.confirmUnjournaled();
    }
    this.watch?.();
    this.flush();
  }

  /** Messages and definitions commit in this turn; settlements alone wait a little for company. */
  private commitSoon(journal: Journal, log: MessageLog): void {
    if (journal.hasPending) return journal.seal();
    if (!log.hasUnrecorded || this.isSettling) return;
    this.isSettling = true;
    this.clock.after(settlementDelayMs, () => {
      this.isSettling = false;
      journal.seal();
    });
  }

  private flush(): void {
    this.isBeforeFlush = false;
    const flushables = this.flushables;
    this.flushables = this.spareFlushables;
    for (const flushable of flushables) {
      flushable.isFlushQueued = false;
      flushable.flush();
    }
    flushables.length = 0;
    this.spareFlushables = flushables;
  }
}
