import type { AbortedTransaction, Isolation, Partition, PartitionWatcher, ReadBatches, ReadOutcome } from '../log/log.js';
import type { Due } from './deadlines.js';
import { errorCodes, type ErrorName } from './error-codes.js';
import type { Exchange } from './exchange.js';
import type { FetchSession, WantedPartition } from './fetch-sessions.js';
import { copiedRecordsBytesMax } from './writer.js';

/** A fetch, after its session was looked up. */
export interface Asked {
  readonly session: FetchSession | undefined;
  /** Only what changed is answered. */
  readonly isIncremental: boolean;
  readonly wanted: readonly WantedPartition[];
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly isolation: Isolation;
  /** Topics are named by their ids. */
  readonly usesIds: boolean;
}

/** What is said of one partition. */
export interface FetchedPartition {
  readonly wanted: WantedPartition;
  readonly response: {
    readonly partitionIndex: number;
    readonly errorCode: number;
    readonly highWatermark: number;
    readonly lastStableOffset: number;
    readonly logStartOffset: number;
    readonly divergingEpoch?: { readonly epoch: number; readonly endOffset: number };
    readonly abortedTransactions: readonly AbortedTransaction[] | null;
    readonly records: readonly Buffer[];
  };
  readonly bytes: number;
  readonly isWorthTelling: boolean;
}

type Answer = (partitions: readonly FetchedPartition[], release: (() => void) | undefined) => void;

/**
 * One fetch from its first look at the log to its answer: it reads, and if that is less than the client wants to be woken for, it watches
 * its partitions until more was committed, or until the client's patience ends, and reads again.
 *
 * Nothing is polled, and there is no timer of its own. Gone with its connection; nothing survives a crash.
 */
export class WaitingFetch implements Due, PartitionWatcher {
  dueAt = Infinity;
  duePlace = -1;
  private state: 'reading' | 'waiting' | 'over' = 'reading';
  private fetched: FetchedPartition[] = [];
  private releases: (() => void)[] = [];
  private watched: { readonly partition: Partition; readonly bytesBefore: number }[] = [];
  private bytesRead = 0;
  /** What is counted as ours in the memory that all fetches share. */
  private heldBytes = 0;
  private mustAnswer = false;

  constructor(
    private readonly exchange: Exchange,
    private readonly asked: Asked,
    private readonly answer: Answer,
  ) {}

  start(): void {
    const { asked } = this;
    this.mustAnswer = asked.maxWaitMs <= 0 || asked.wanted.length === 0;
    this.exchange.abandoned = () => this.abandon();
    this.readAll();
  }

  /** More of a partition may be read. */
  advanced(): void {
    if (this.state !== 'waiting') return;
    let bytes = this.bytesRead;
    for (const { partition, bytesBefore } of this.watched) bytes += this.visibleBytes(partition) - bytesBefore;
    if (bytes >= this.asked.minBytes) this.readAgain();
  }

  removed(): void {
    if (this.state === 'waiting') this.readAgain();
  }

  /** The client has waited long enough: it gets what there is. */
  due(): void {
    if (this.state === 'waiting') this.readAgain();
  }

  private visibleBytes(partition: Partition): number {
    return this.asked.isolation === 'read-committed' ? partition.stableBytes : partition.committedBytes;
  }

  private readAgain(): void {
    this.stopWatching();
    this.giveBack();
    this.mustAnswer = true;
    this.readAll();
  }

  private readAll(): void {
    this.state = 'reading';
    this.fetched = [];
    this.bytesRead = 0;
    this.readFrom(0);
  }

  /** Reads partition by partition; it goes on later where one is not in memory. */
  private readFrom(first: number): void {
    const { wanted } = this.asked;
    for (let i = first; i < wanted.length; i++) {
      const pending = this.readOne(wanted[i]!);
      if (pending === undefined) continue;
      pending.then(
        () => this.readFrom(i + 1),
        (error: unknown) => this.exchange.fail(error),
      );
      return;
    }
    this.finish();
  }

  private readOne(wanted: WantedPartition): Promise<void> | undefined {
    const { log } = this.exchange.node;
    const { asked } = this;
    const topic = asked.usesIds ? log.topicById(wanted.topicId) : log.topic(wanted.topic);
    const partition = topic?.partitions[wanted.partition];
    const isUnknownId = topic === undefined && asked.usesIds;
    if (!isUnknownId && !this.exchange.rights.may('read', topic?.name ?? wanted.topic)) {
      this.refuse(wanted, 'topicAuthorizationFailed');
      return undefined;
    }
    if (partition === undefined) {
      this.refuse(wanted, isUnknownId ? 'unknownTopicId' : 'unknownTopicOrPartition', []);
      return undefined;
    }
    this.watched.push({ partition, bytesBefore: this.visibleBytes(partition) });
    const epoch = wanted.currentLeaderEpoch;
    if (epoch >= 0 && epoch !== partition.leaderEpoch) {
      this.refuse(wanted, epoch < partition.leaderEpoch ? 'fencedLeaderEpoch' : 'unknownLeaderEpoch');
      return undefined;
    }
    if (wanted.lastFetchedEpoch >= 0 && this.diverges(wanted, partition)) return undefined;
    const end = asked.isolation === 'read-committed' ? partition.lastStableOffset : partition.highWatermark;
    const bytesMax = Math.min(wanted.partitionMaxBytes, asked.maxBytes - this.bytesRead, this.exchange.node.fetchMemory.room);
    const isBeyond = wanted.fetchOffset > partition.logEndOffset || wanted.fetchOffset < partition.logStartOffset;
    if (isBeyond) {
      this.refuse(wanted, 'offsetOutOfRange');
      return undefined;
    }
    if (wanted.fetchOffset >= end || (bytesMax <= 0 && this.bytesRead > 0)) {
      this.take(wanted, partition, undefined);
      return undefined;
    }
    const options = { isolation: asked.isolation, bytesMax: Math.max(bytesMax, 0), atLeastOne: this.bytesRead === 0 };
    const outcome = partition.read(wanted.fetchOffset, options);
    if (!(outcome instanceof Promise)) {
      this.takeOutcome(wanted, partition, outcome);
      return undefined;
    }
    // Until it is known how much came, it may be all that was asked for.
    this.hold(options.bytesMax);
    return outcome.then((later) => {
      this.hold(-options.bytesMax);
      this.takeOutcome(wanted, partition, later);
    });
  }

  private takeOutcome(wanted: WantedPartition, partition: Partition, outcome: ReadOutcome): void {
    if (outcome === 'offset-out-of-range') this.refuse(wanted, 'offsetOutOfRange');
    else if (outcome === 'removed') this.refuse(wanted, this.asked.usesIds ? 'unknownTopicId' : 'unknownTopicOrPartition');
    else this.take(wanted, partition, outcome);
  }

  /** The client's last record is not ours: a crash took it back. It is told where the two histories part. */
  private diverges(wanted: WantedPartition, partition: Partition): boolean {
    const { epoch, endOffset } = partition.endOfEpoch(wanted.lastFetchedEpoch);
    if (epoch < 0) {
      this.refuse(wanted, 'offsetOutOfRange');
      return true;
    }
    if (epoch === wanted.lastFetchedEpoch && endOffset >= wanted.fetchOffset) return false;
    this.mustAnswer = true;
    this.fetched.push({
      wanted,
      response: {
        ...this.marks(wanted, partition),
        errorCode: 0,
        divergingEpoch: { epoch, endOffset },
        abortedTransactions: null,
        records: [],
      },
      bytes: 0,
      isWorthTelling: true,
    });
    return true;
  }

  private take(wanted: WantedPartition, partition: Partition, batches: ReadBatches | undefined): void {
    if (batches?.release !== undefined) this.releases.push(batches.release);
    const bytes = batches?.bytes ?? 0;
    this.bytesRead += bytes;
    this.hold(bytes);
    const marks = this.marks(wanted, partition);
    const { told } = wanted;
    const isChanged =
      told === undefined ||
      told.highWatermark !== marks.highWatermark ||
      told.logStartOffset !== marks.logStartOffset ||
      told.lastStableOffset !== marks.lastStableOffset;
    const isCommittedOnly = this.asked.isolation === 'read-committed';
    this.fetched.push({
      wanted,
      response: {
        ...marks,
        errorCode: 0,
        abortedTransactions: isCommittedOnly ? (batches?.aborted ?? []) : null,
        records: batches?.parts ?? [],
      },
      bytes,
      isWorthTelling: bytes > 0 || isChanged,
    });
  }

  /** As in Kafka a refusal says nothing of the partition: clients that want to know its ends ask for them. */
  private refuse(wanted: WantedPartition, error: ErrorName, abortedTransactions: [] | null = null): void {
    this.mustAnswer = true;
    const unknown = { partitionIndex: wanted.partition, highWatermark: -1, lastStableOffset: -1, logStartOffset: -1 };
    this.fetched.push({
      wanted,
      response: { ...unknown, errorCode: errorCodes[error], abortedTransactions, records: [] },
      bytes: 0,
      isWorthTelling: true,
    });
  }

  private marks(
    wanted: WantedPartition,
    partition: Partition,
  ): Pick<FetchedPartition['response'], 'partitionIndex' | 'highWatermark' | 'lastStableOffset' | 'logStartOffset'> {
    const { highWatermark, lastStableOffset, logStartOffset } = partition;
    return { partitionIndex: wanted.partition, highWatermark, lastStableOffset, logStartOffset };
  }

  private finish(): void {
    if (this.exchange.isAbandoned) {
      this.abandon();
      return;
    }
    if (this.mustAnswer || this.bytesRead >= this.asked.minBytes) {
      this.reply();
      return;
    }
    this.state = 'waiting';
    for (const { partition } of this.watched) partition.watch(this);
    this.exchange.node.deadlines.set(this, this.asked.maxWaitMs);
    // What came while other partitions were read has told nobody.
    this.advanced();
  }

  private reply(): void {
    this.state = 'over';
    this.exchange.abandoned = undefined;
    const { session, isIncremental } = this.asked;
    const answered = isIncremental ? this.fetched.filter(({ isWorthTelling }) => isWorthTelling) : this.fetched;
    if (session !== undefined) {
      for (const { wanted, response, bytes } of answered) {
        const { errorCode, highWatermark, lastStableOffset, logStartOffset } = response;
        wanted.told = errorCode === 0 ? { highWatermark, lastStableOffset, logStartOffset } : undefined;
        if (bytes > 0) session.moveToEnd(wanted);
      }
    }
    if (this.bytesRead > copiedRecordsBytesMax) this.answer(answered, () => this.giveBack());
    else {
      // So little is copied into the answer.
      this.answer(answered, undefined);
      this.giveBack();
    }
  }

  private abandon(): void {
    this.state = 'over';
    this.stopWatching();
    this.giveBack();
  }

  private stopWatching(): void {
    this.exchange.node.deadlines.cancel(this);
    for (const { partition } of this.watched) partition.unwatch(this);
    this.watched = [];
  }

  private giveBack(): void {
    for (const release of this.releases) release();
    this.releases = [];
    this.hold(-this.heldBytes);
  }

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.exchange.node.fetchMemory.hold(bytes);
  }
}
