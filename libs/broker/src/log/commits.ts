import type { Clock, DiskError } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { CommitEntry, CommitFiles } from './commit-file.js';

/**
 * The commits of the log: everything that was appended while the last commit was under way goes into the next, for all partitions together.
 *
 * A commit is one write per partition that has something, and under `fsync` one sync; nobody sees any of it before all of it is there. So it costs the same
 * for one record and for ten thousand, and grows by itself as the disk gets slower. No timer is involved but for a full disk.
 *
 * A failed write or sync ends the log (`failed`). A full disk does not: the write is repeated every second.
 */
export interface CommitMember {
  /** Begins to write what was appended up to now; calls back once, in a later turn. After an error of a full disk it is called again. */
  writeSealed(done: (error: DiskError | undefined) => void): void;
  /** What is appended from now on belongs to the next commit. Answers the bytes sealed. */
  seal(): number;
  readonly sealedBytes: number;
  /** The same as part of a commit of many: what goes into their file, instead of `writeSealed`. */
  entry(): CommitEntry;
  /** What was sealed is durable: makes it visible. */
  commit(): void;
  /** Tells who watches. */
  announce(): void;
}

export interface CommitEvents {
  committed(): void;
  full(reason: string | undefined): void;
  failed(error: CodedError): void;
}

const fullDiskRetryMs = 1000;
/** Files that one commit has under way at the same time: the system works on a few of them at once in any case. */
const writesAtOnce = 64;
/** Whoever has so much goes straight to its own file: writing it twice would cost more than a sync. */
const aloneBytesMin = 256 * 1024;

export class Commits {
  uncommittedBytes = 0;
  fullReason: string | undefined;
  failure: CodedError | undefined;
  private dirty: CommitMember[] = [];
  private waiting: ((error: CodedError | undefined) => void)[] = [];
  private isScheduled = false;
  private round: Round | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly events: CommitEvents,
    /** Where small ones of many are written together; undefined where nothing is synced. */
    private readonly together?: CommitFiles,
  ) {}

  /** `member` has something to commit, for the first time since its last `seal`. */
  add(member: CommitMember): void {
    this.dirty.push(member);
    this.schedule();
  }

  afterCommit(done: (error: CodedError | undefined) => void): void {
    this.waiting.push(done);
    this.schedule();
  }

  /** Nothing is written any more; who waits is told why. */
  fail(what: string, error: unknown): void {
    if (this.failure !== undefined) return;
    const reason = error instanceof Error ? error.message : String(error);
    const advice = 'What was not answered by then may be lost. Check the disk, then start the broker again';
    this.end(error instanceof CodedError ? error : new CodedError('storage-failed', `${what}: ${reason}. ${advice}`, { cause: error }));
    this.events.failed(this.failure!);
  }

  /** The same without blame: the log is closed. */
  end(error: CodedError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    const waiting = [...(this.round?.waiting ?? []), ...this.waiting];
    this.round = undefined;
    this.waiting = [];
    this.dirty = [];
    for (const done of waiting) done(error);
  }

  private schedule(): void {
    if (this.isScheduled || this.round !== undefined) return;
    this.isScheduled = true;
    this.clock.defer(() => {
      this.isScheduled = false;
      if (this.round === undefined) this.begin();
    });
  }

  private begin(): void {
    if (this.failure !== undefined) {
      const { waiting } = this;
      this.waiting = [];
      for (const done of waiting) done(this.failure);
      return;
    }
    const round = new Round(this.dirty, this.waiting);
    this.dirty = [];
    this.waiting = [];
    this.round = round;
    for (const member of round.members) round.bytes += member.seal();
    if (this.together?.isReady === true) this.takeTogether(round);
    if (round.left === 0) return this.finish(round);
    if (round.entries.length > 0) this.writeTogether(round);
    while (round.next < Math.min(round.alone.length, writesAtOnce)) this.write(round, round.alone[round.next++]!);
  }

  private write(round: Round, member: CommitMember): void {
    member.writeSealed((error) => {
      if (this.round !== round) return;
      if (error === undefined) {
        if (round.next < round.alone.length) this.write(round, round.alone[round.next++]!);
        if (--round.left === 0) this.finish(round);
      } else if (error.code === 'full') this.waitForSpace(round, error, () => this.write(round, member));
      else this.fail('Writing to the log failed', error);
    });
  }

  /** Two or more with little to write cost one sync together. */
  private takeTogether(round: Round): void {
    const small = round.members.filter(({ sealedBytes }) => sealedBytes < aloneBytesMin);
    if (small.length < 2) return;
    round.entries = small.map((member) => member.entry());
    round.alone = round.members.filter(({ sealedBytes }) => sealedBytes >= aloneBytesMin);
    round.left = round.alone.length + 1;
  }

  private writeTogether(round: Round): void {
    this.together!.write(round.entries, (error) => {
      if (this.round !== round) return;
      if (error === undefined) {
        if (--round.left === 0) this.finish(round);
      } else if (error.code === 'full') this.waitForSpace(round, error, () => this.writeTogether(round));
      else this.fail('Writing to the log failed', error);
    });
  }

  private waitForSpace(round: Round, error: DiskError, again: () => void): void {
    if (this.fullReason === undefined) this.events.full(error.message);
    this.fullReason = error.message;
    this.clock.after(fullDiskRetryMs, () => {
      if (this.round === round) again();
    });
  }

  private finish(round: Round): void {
    if (this.fullReason !== undefined) {
      this.fullReason = undefined;
      this.events.full(undefined);
    }
    this.uncommittedBytes -= round.bytes;
    this.round = undefined;
    for (const member of round.members) member.commit();
    for (const member of round.members) member.announce();
    this.events.committed();
    for (const done of round.waiting) done(undefined);
    if ((this.dirty.length > 0 || this.waiting.length > 0) && this.round === undefined && !this.isScheduled) this.begin();
  }
}

class Round {
  left: number;
  /** The first member that is not being written. */
  next = 0;
  bytes = 0;
  /** Who writes to its own file, and what the others write together. */
  alone: readonly CommitMember[];
  entries: readonly CommitEntry[] = [];
  constructor(
    readonly members: readonly CommitMember[],
    readonly waiting: ((error: CodedError | undefined) => void)[],
  ) {
    this.left = members.length;
    this.alone = members;
  }
}
