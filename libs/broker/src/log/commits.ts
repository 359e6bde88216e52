import type { Clock, DiskError } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { JournalMember } from '../storage/journal.js';
import type { JournaledBatches } from './journaled-batches.js';
import type { CommitWaiter } from './log.js';

/**
 * The commits of the log: everything that was appended while the last commit was under way goes into the next, for all partitions together.
 *
 * Under `fsync` a commit is a part of one of the journal: one write and one sync for all partitions, and for what queues have at the same time. Who has so much
 * that writing it twice would cost more than a sync goes straight to its own file. Under `os` everybody does, and nothing is synced. Nobody sees any of a commit
 * before all of it is there. So it costs the same for one record and for ten thousand, and grows by itself as the disk gets slower. No timer is involved but for a full
 * disk.
 *
 * A failed write or sync ends the log (`failed`). A full disk does not: the write is repeated every second.
 */
export interface CommitMember {
  /** Begins to write what was appended up to now; calls back once, in a later turn. After an error of a full disk it is called again. */
  writeSealed(done: (error: DiskError | undefined) => void): void;
  /** What is appended from now on belongs to the next commit. Answers the bytes sealed. */
  seal(): number;
  readonly sealedBytes: number;
  /** Appends what was sealed to the journal, instead of `writeSealed`. */
  writeToJournal(batches: JournaledBatches): void;
  /** What was sealed is durable: makes it visible. */
  commit(): void;
  /** Tells who watches. */
  announce(): void;
}

export interface CommitEvents {
  committed(): void;
  /** The journal has committed something, of the log or not. */
  journaled(): void;
  full(reason: string | undefined): void;
  failed(error: CodedError): void;
}

const fullDiskRetryMs = 1000;
/** Files that one commit has under way at the same time: the system works on a few of them at once in any case. */
const writesAtOnce = 64;
/** Whoever has so much goes straight to its own file: writing it twice would cost more than a sync. And where they are few, whose syncs run beside each other, sooner. */
const defaultAloneBytesMin = 256 * 1024;
const shareOfFew = 1 / 8;
const fewMembers = 4;

export class Commits implements JournalMember {
  uncommittedBytes = 0;
  fullReason: string | undefined;
  failure: CodedError | undefined;
  private dirty: CommitMember[] = [];
  private waiting: CommitWaiter[] = [];
  private isScheduled = false;
  private round: Round | undefined;
  /** The journal is telling of a commit, and begins the next by itself. */
  private isTold = false;

  constructor(
    private readonly clock: Clock,
    private readonly events: CommitEvents,
    /** Where small ones are written together; undefined where nothing is synced. */
    private readonly batches?: JournaledBatches,
    private readonly aloneBytesMin = defaultAloneBytesMin,
  ) {}

  /** `member` has something to commit, for the first time since its last `seal`. */
  add(member: CommitMember): void {
    this.dirty.push(member);
    this.schedule();
  }

  afterCommit(done: CommitWaiter | ((error: CodedError | undefined) => void)): void {
    this.waiting.push(typeof done === 'function' ? { committed: done } : done);
    this.schedule();
  }

  /** Nothing is written any more; who waits is told why. */
  fail(what: string, error: unknown): void {
    if (this.failure !== undefined) return;
    const reason = error instanceof Error ? error.message : String(error);
    const advice = 'What was not answered by then may be lost. Check the disk, then start the broker again';
    this.failed(error instanceof CodedError ? error : new CodedError('storage-failed', `${what}: ${reason}. ${advice}`, { cause: error }));
  }

  /** The same without blame: the log is closed. */
  end(error: CodedError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    const waiting = [...(this.round?.waiting ?? []), ...this.waiting];
    this.round = undefined;
    this.waiting = [];
    this.dirty = [];
    for (const waiter of waiting) waiter.committed(error);
  }

  // What the journal calls.

  get isWaiting(): boolean {
    return this.round === undefined && this.dirty.length > 0;
  }

  sealing(): void {
    if (this.isWaiting) this.begin();
  }

  sealed(): void {
    if (this.round?.inJournal === 'appended') this.round.inJournal = 'sealed';
  }

  committed(): void {
    const { round } = this;
    this.events.journaled();
    if (round?.inJournal !== 'sealed') return;
    round.inJournal = undefined;
    this.isTold = true;
    this.endPart(round);
    this.isTold = false;
  }

  full(reason: string | undefined): void {
    if (this.fullReason === undefined || reason === undefined) this.events.full(reason);
    this.fullReason = reason;
  }

  failed(error: CodedError): void {
    if (this.failure !== undefined) return;
    this.end(error);
    this.events.failed(error);
  }

  private schedule(): void {
    if (this.isScheduled || this.round !== undefined) return;
    this.isScheduled = true;
    this.clock.defer(() => {
      this.isScheduled = false;
      if (this.round === undefined) this.next();
    });
  }

  /** Begins the next commit, at once or with the next one of the journal. */
  private next(): void {
    if (this.batches === undefined || this.dirty.length === 0) this.begin();
    else if (!this.isTold) this.batches.journal.seal();
  }

  private begin(): void {
    if (this.failure !== undefined) {
      const { waiting } = this;
      this.waiting = [];
      for (const waiter of waiting) waiter.committed(this.failure);
      return;
    }
    const round = new Round(this.dirty, this.waiting);
    this.dirty = [];
    this.waiting = [];
    this.round = round;
    for (const member of round.members) round.bytes += member.seal();
    if (this.batches !== undefined && round.members.length > 0) this.writeToJournal(round, this.batches);
    if (round.left === 0) return this.finish(round);
    while (round.next < Math.min(round.alone.length, writesAtOnce)) this.write(round, round.alone[round.next++]!);
  }

  private writeToJournal(round: Round, batches: JournaledBatches): void {
    const alone: CommitMember[] = [];
    const bytesMin = this.aloneBytesMin * (round.members.length <= fewMembers ? shareOfFew : 1);
    for (const member of round.members) {
      if (member.sealedBytes >= bytesMin) alone.push(member);
      else member.writeToJournal(batches);
    }
    round.alone = alone;
    // Of topics that were deleted meanwhile nothing is written.
    if (batches.journal.hasPending) round.inJournal = 'appended';
    round.left = alone.length + (round.inJournal === undefined ? 0 : 1);
  }

  private write(round: Round, member: CommitMember): void {
    member.writeSealed((error) => {
      if (this.round !== round) return;
      if (error === undefined) {
        if (round.next < round.alone.length) this.write(round, round.alone[round.next++]!);
        this.endPart(round);
      } else if (error.code === 'full') this.waitForSpace(round, error, () => this.write(round, member));
      else this.fail('Writing to the log failed', error);
    });
  }

  private waitForSpace(round: Round, error: DiskError, again: () => void): void {
    this.full(error.message);
    this.clock.after(fullDiskRetryMs, () => {
      if (this.round === round) again();
    });
  }

  private endPart(round: Round): void {
    if (--round.left === 0) this.finish(round);
  }

  private finish(round: Round): void {
    if (this.fullReason !== undefined) this.full(undefined);
    this.uncommittedBytes -= round.bytes;
    this.round = undefined;
    for (const member of round.members) member.commit();
    for (const member of round.members) member.announce();
    this.events.committed();
    for (const waiter of round.waiting) waiter.committed(undefined);
    if ((this.dirty.length > 0 || this.waiting.length > 0) && this.round === undefined && !this.isScheduled) this.next();
  }
}

class Round {
  /** Parts that are not written: each of `alone`, and what is in the journal. */
  left: number;
  /** The first of `alone` that is not being written. */
  next = 0;
  bytes = 0;
  /** Who writes to its own file. */
  alone: readonly CommitMember[];
  /** Where what the others have stands: in its open batch, or in a commit that is under way. */
  inJournal: 'appended' | 'sealed' | undefined;
  constructor(
    readonly members: readonly CommitMember[],
    readonly waiting: readonly CommitWaiter[],
  ) {
    this.left = members.length;
    this.alone = members;
  }
}
