import type { Clock } from '@dovecote/ground';
import type { Arena, ChunkWaiter } from '../storage/arena.js';
import { Backlog, type BacklogOwner } from './backlog.js';
import { Bounds } from './bounds.js';
import type { Consumer } from './consumer.js';
import { ConsumerTurns } from './consumer-turns.js';
import { bodyLength } from './content.js';
import type { DeathReason } from './dead-letter.js';
import type { Deadlines } from './deadlines.js';
import { Discards } from './discards.js';
import { Expiry } from './expiry.js';
import { Fifo } from './fifo.js';
import type { Graveyard } from './graveyard.js';
import type { Lease } from './lease.js';
import type { MessageLog } from './message-log.js';
import type { Owner } from './owner.js';
import type { QueuePolicy } from './queue-policy.js';
import { type Lanes, PriorityLanes } from './priority-lanes.js';
import { Quorum } from './quorum.js';
import { isHigh, QuorumLanes, turnBefore } from './quorum-lanes.js';
import { Returned, type ReturnedMessage } from './returned.js';
import { SettlementRun } from './settlement-run.js';
import { Suspects } from './suspects.js';
import type { VisitHolding } from './trimmer.js';
import type { Turn } from './turn.js';

export interface QueueSettings {
  readonly id: number;
  readonly name: string;
  /** As it was asked for. An exclusive queue is never kept, because its owner cannot come back. */
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  /** The arguments it was declared with, if it had any: see queue-policy.ts. */
  readonly arguments?: string;
}

/** What a queue needs for its policy, and for messages that expire. */
export interface QueueWorld {
  readonly clock: Clock;
  readonly graveyard: Graveyard;
  readonly deadlines: Deadlines;
}

/** Deliveries by one queue before the other queues and the sockets have their turn. */
const quantum = 1024;

/**
 * One queue: messages in, in order, and out to its consumers in turn.
 *
 * A message becomes visible when the commit that holds it is durable; until then nobody is given it and nobody counts it.
 * What comes back unacknowledged is delivered again first, in its old order.
 *
 * After a crash a durable queue holds every persistent message that was committed and whose settlement was not, in order. The
 * ones that may have been delivered are flagged redelivered.
 */
export class Queue implements BacklogOwner, ChunkWaiter {
  /** It had a consumer once: an auto-delete queue goes with the last one, not before the first. */
  hadConsumer = false;
  isDeleted = false;
  /** It is in the list of queues that look for a consumer in this turn. */
  isDirty = false;
  unacknowledgedCount = 0;
  /** undefined for a plain queue, as are the parts that follow where nothing was asked for. */
  readonly policy: QueuePolicy | undefined;
  readonly bounds: Bounds | undefined;
  /** Of a quorum queue. */
  readonly quorum: Quorum | undefined;
  /** Where what dies here goes; undefined drops it. */
  private readonly graveyard: Graveyard | undefined;
  /** Dead letters that must not be lost on their way. */
  readonly discards: Discards | undefined;
  /** There is something to do in a turn although nobody consumes. */
  private hasChores: boolean;
  /** Only one consumer is given messages; the next one follows when it leaves. */
  readonly isSingleActive: boolean;
  readonly turns: ConsumerTurns;
  /** If there is one, messages here have the moment at which they came in front of them. */
  expiry: Expiry | undefined;
  /** Ends the queue when it is not used. */
  lease: Lease | undefined;

  private readonly ready: Backlog;
  private returned: Returned | Fifo | Lanes;
  /** The same as `returned` in a queue with priorities. */
  private lanes: Lanes | undefined;
  /** The backlog's positions: before `visible` everything is committed; before `sealed` it is in the commit under way or visible. */
  visible = 0;
  private sealed = 0;
  private isUncommitted = false;
  private journaledEnd = 0;
  private nextSequence = 1;
  /** Below this sequence a message may have been delivered before the broker was opened. */
  private redeliveredBelow = 0;
  private deliveredBelow = 0;
  /** In a quorum queue whose broker was killed, while there are any. */
  private suspects: Suspects | undefined;
  private readonly settlements: SettlementRun;
  /** The bytes of the first message are not in memory, and it waits for them. */
  private isWaitingForBytes = false;
  /** What is due must be done before the call returns, whoever has to wait for it. */
  private isImpatient = false;

  /** What `take` took. */
  takenSequence = 0;
  takenChunk = 0;
  takenOffset = 0;
  takenLength = 0;
  takenWasDelivered = false;
  /** How often it came back, in a quorum queue. */
  takenCount = 0;

  constructor(
    readonly settings: QueueSettings,
    /** The connection it belongs to, if it is exclusive. */
    readonly owner: Owner | undefined,
    private readonly arena: Arena,
    private readonly turn: Turn,
    /** Where the messages of a durable queue are recorded; undefined for all others. */
    readonly log: MessageLog | undefined,
    private readonly world: QueueWorld,
    policy: QueuePolicy | undefined,
  ) {
    this.policy = policy;
    this.ready = new Backlog(arena, this);
    this.settlements = new SettlementRun(this, turn);
    const isBounded = policy !== undefined && (policy.maxLength !== Infinity || policy.maxLengthBytes !== Infinity);
    this.bounds = isBounded ? new Bounds(policy) : undefined;
    this.graveyard = policy?.deadLetterExchange === undefined ? undefined : world.graveyard;
    this.lanes = policy === undefined || policy.maxPriority === 0 ? undefined : new PriorityLanes(arena, policy.maxPriority);
    this.quorum = policy?.type === 'quorum' ? new Quorum(policy.deliveryLimit) : undefined;
    this.returned = this.lanes ?? (this.quorum === undefined ? new Returned() : new Fifo());
    const isSure = this.graveyard !== undefined && policy?.deadLettersSurely === true;
    this.discards = isSure ? new Discards(this, this.graveyard, world.clock, world.deadlines) : undefined;
    this.isSingleActive = policy?.isSingleActive ?? false;
    this.turns = new ConsumerTurns(this.isSingleActive, policy?.type === 'quorum');
    this.hasChores = this.bounds !== undefined;
    if (policy !== undefined && policy.messageTtlMs !== Infinity) this.beginToExpire();
  }

  get id(): number {
    return this.settings.id;
  }

  get name(): string {
    return this.settings.name;
  }

  /** Messages that wait for a consumer, without the unacknowledged. */
  get messageCount(): number {
    return this.visible - this.ready.head + this.returned.length;
  }

  /** The same with those that no commit has made visible yet. */
  get waitingCount(): number {
    return this.ready.length + this.returned.length;
  }

  /** It keeps transient messages too. */
  get keepsAll(): boolean {
    return this.quorum !== undefined && this.log !== undefined;
  }

  /** How many messages the consumers could take now. */
  get appetite(): number {
    return this.turns.appetite;
  }

  get consumers(): readonly Consumer[] {
    return this.turns.all;
  }

  get consumerCount(): number {
    return this.turns.all.length;
  }

  /** The sequence that the next message will get: what its record must say. */
  get upcomingSequence(): number {
    return this.nextSequence;
  }

  /** Puts a message at the end. The queue becomes a holder of its chunk. */
  enqueue(chunk: number, offset: number, length: number): void {
    const holder = this.arena.chunks[chunk]!;
    holder.live++;
    holder.born++;
    this.ready.push(this.nextSequence++, chunk, offset, length);
    if (this.bounds !== undefined) this.bounds.bytes += bodyLength(holder.bytes, offset);
    if (this.quorum !== undefined && this.lanes === undefined && isHigh(holder.bytes, offset)) this.useQuorumLanes();
    if (holder.isJournaled && this.log !== undefined) this.journaledEnd = this.ready.tail;
    else if (this.visible === this.ready.tail - 1) {
      this.visible++;
      if (this.lanes !== undefined) this.fillLanes(this.lanes);
      this.wake();
      return;
    }
    if (!this.isUncommitted) {
      this.isUncommitted = true;
      this.turn.queueHasUncommitted(this);
    }
  }

  /** From now on there are messages here that expire. Must be called before the first of them comes. */
  beginToExpire(): void {
    const { clock, deadlines } = this.world;
    this.expiry ??= new Expiry(this.policy?.messageTtlMs ?? Infinity, clock, deadlines, () => this.wake());
    this.hasChores = true;
  }

  /** A commit begins with everything that is in the queue now. */
  seal(): void {
    this.isUncommitted = false;
    this.sealed = this.ready.tail;
  }

  /** The commit is durable: its messages, and the volatile ones that only waited behind them, can be delivered. */
  commit(): void {
    this.visible = Math.max(this.journaledEnd <= this.sealed ? this.ready.tail : this.sealed, this.visible);
    if (this.lanes !== undefined) this.fillLanes(this.lanes);
    this.wake();
  }

  /** Looks for consumers in this turn, if there is something to deliver. */
  wake(): void {
    if (this.isDirty || (this.turns.all.length === 0 && !this.hasChores) || this.messageCount === 0) return;
    this.isDirty = true;
    this.turn.queueIsDirty(this);
  }

  /** Whether messages wait for the commit that makes them visible. */
  get hasInvisible(): boolean {
    return this.visible !== this.ready.tail;
  }

  /** Gives messages to consumers that can take them. True when it stopped although both are left. */
  dispatch(): boolean {
    this.isWaitingForBytes = false;
    const isUnfinished = this.deliverAndDrop();
    (this.lanes ?? this.ready).askAhead();
    return isUnfinished;
  }

  private deliverAndDrop(): boolean {
    if (this.expiry !== undefined) {
      if (this.deliverUnexpired(this.expiry)) return true;
    } else if (this.deliverReady()) return true;
    if (this.bounds !== undefined && !this.isWaitingForBytes) {
      this.dropExcess(this.bounds);
      this.bounds.watch(this);
    }
    if (this.expiry !== undefined && !this.isWaitingForBytes) this.watchFirst(this.expiry);
    return false;
  }

  private deliverReady(): boolean {
    for (let left = quantum; left > 0; left--) {
      if (this.messageCount === 0 || !this.isFirstHere() || (this.suspects !== undefined && !this.mayBeGiven(this.suspects))) return false;
      const consumer = this.turns.next();
      if (consumer === undefined) return false;
      this.take();
      consumer.session.deliver(consumer);
    }
    return true;
  }

  /** Does at once what is due anyway, so that what is counted or fetched next is what should be there. */
  tidy(): void {
    if (!this.hasChores) {
      if (this.isDirty) this.dispatch();
      return;
    }
    this.isImpatient = true;
    while (this.dispatch());
    this.isImpatient = false;
  }

  /** Takes the first visible message out, into the `taken` fields; there must be one. The caller holds its chunk from now on. */
  take(): void {
    this.takeFirst();
    if (this.bounds !== undefined) this.bounds.bytes -= this.bodyBytes(this.takenChunk, this.takenOffset);
  }

  private takeFirst(): void {
    this.takeNext();
    if (this.quorum === undefined) return;
    this.takenCount = this.quorum.returnsOf(this.takenSequence);
    if (this.takenCount > 0) this.takenWasDelivered = true;
  }

  private takeNext(): void {
    if (this.returned.length > 0) {
      const message = this.returned.shift();
      this.takenSequence = message.sequence;
      this.takenChunk = message.chunk;
      this.takenOffset = message.offset;
      this.takenLength = message.length;
      this.takenWasDelivered = message.isFresh !== true || message.sequence < this.redeliveredBelow;
      if (message.sequence >= this.deliveredBelow) this.deliveredBelow = message.sequence + 1;
      return;
    }
    const slot = this.ready.shift();
    const { front } = this.ready;
    const sequence = front.sequences[slot]!;
    this.takenSequence = sequence;
    this.takenChunk = front.chunks[slot]!;
    this.takenOffset = front.offsets[slot]!;
    this.takenLength = front.lengths[slot]!;
    this.takenWasDelivered = sequence < this.redeliveredBelow;
    this.deliveredBelow = sequence + 1;
  }

  /** What came back since the broker was opened was counted when it did, and where there are lanes nobody knows which message is next. */
  private mayBeGiven(suspects: Suspects): boolean {
    if (this.lanes === undefined && this.returned.length > 0) return true;
    if (this.lanes === undefined && !suspects.isOver) return suspects.mayBeGiven();
    this.suspects = undefined;
    return true;
  }

  /** A message that was taken is out with a consumer. */
  noteOutstanding(): void {
    this.unacknowledgedCount++;
  }

  /** A message that was taken is done with. */
  settle(sequence: number, chunk: number): void {
    const holder = this.arena.chunks[chunk]!;
    this.quorum?.forget(sequence);
    if (holder.isJournaled && this.log !== undefined && !this.isDeleted) this.settlements.add(this.log, sequence);
    this.arena.drop(holder);
  }

  /** A message that was taken is refused by its consumer, or has no right to stay: it goes where dead letters go. */
  bury(reason: DeathReason, sequence: number, chunk: number, offset: number, length: number): void {
    if (this.graveyard === undefined || this.isDeleted) this.settle(sequence, chunk);
    else if (this.discards !== undefined) this.discards.add(reason, sequence, chunk, offset, length);
    else this.graveyard.bury(this, reason, sequence, chunk, offset);
  }

  /**
   * A message that was taken comes back to its place; in a quorum queue that is behind what came back before, or where messages may
   * come back for ever behind all others, unless its consumer is gone.
   */
  putBack(sequence: number, chunk: number, offset: number, length: number, isAbandoned: boolean): void {
    if (this.isDeleted) return this.arena.drop(this.arena.chunks[chunk]!);
    this.expiry?.hadItsChance(sequence);
    const { quorum } = this;
    if (quorum !== undefined) {
      if (quorum.countReturn(sequence) > quorum.deliveryLimit) return this.bury('delivery_limit', sequence, chunk, offset, length);
      if (this.log !== undefined) this.settlements.mark(this.log);
    }
    const message = { sequence, chunk, offset, length };
    if (quorum !== undefined && quorum.deliveryLimit === Infinity && !isAbandoned) this.useQuorumLanes().requeue(message);
    else this.returned.push(message);
    if (this.bounds !== undefined) {
      this.bounds.bytes += this.bodyBytes(chunk, offset);
      // Before a consumer has its chance, and before anybody looks at its time, as RabbitMQ does with what comes back.
      if (quorum === undefined) this.dropExcess(this.bounds, true);
    }
    this.wake();
  }

  /** Drops what waits for a consumer and is visible; returns how many. */
  purge(): number {
    const count = this.messageCount;
    const { bounds } = this;
    const isAll = this.waitingCount === count;
    for (let i = 0; i < count; i++) {
      this.takeFirst();
      if (bounds !== undefined && !isAll) bounds.bytes -= this.bodyBytes(this.takenChunk, this.takenOffset);
      this.settle(this.takenSequence, this.takenChunk);
    }
    if (bounds !== undefined && isAll) bounds.bytes = 0; // without a look at what is not in memory
    return count;
  }

  /** Lets everything go when the queue is deleted; the deletion itself is recorded by the caller. */
  clear(): void {
    this.isDeleted = true;
    if (this.expiry !== undefined) this.world.deadlines.cancel(this.expiry);
    if (this.lease !== undefined) this.world.deadlines.cancel(this.lease);
    this.discards?.clear();
    this.ready.compact(); // during recovery the settled ones are still in there
    this.visible = this.ready.tail;
    this.purge();
    this.ready.release();
    this.lanes?.release();
  }

  addConsumer(consumer: Consumer): void {
    this.turns.add(consumer);
    this.hadConsumer = true;
    this.wake();
  }

  removeConsumer(consumer: Consumer): void {
    if (!this.turns.remove(consumer)) return;
    if (this.consumerCount === 0) this.lease?.renew();
    if (this.isSingleActive) this.wake();
  }

  /** Appends the settlements since the last commit. */
  record(log: MessageLog): void {
    this.settlements.record(log, this.isDeleted);
    if (!this.isDeleted) this.quorum?.record(log, this.id);
  }

  /** A message that was taken is dead and stays until its dead letter has gone. */
  recordDead(sequence: number, reason: DeathReason): void {
    this.log?.appendDead(this.id, sequence, reason);
    this.turn.schedule();
  }

  bytesOf(chunk: number): Buffer {
    return this.arena.chunks[chunk]!.bytes;
  }

  /** Appends how far deliveries went, when the broker is closed. */
  recordDelivered(log: MessageLog): void {
    // What came back from an earlier life and was not given to anybody in this one keeps its flag.
    if (this.messageCount > 0) log.appendDelivered(this.id, Math.max(this.deliveredBelow, this.redeliveredBelow));
  }

  // What recovery does, in the order of the journal.

  recoverMessage(sequence: number, chunk: number, offset: number, length: number): void {
    this.recoverSequence(sequence + 1);
    this.ready.recover(sequence, chunk, offset, length);
    this.visible = this.ready.tail; // nobody can be given it, and it can be packed
    if (this.quorum !== undefined && isHigh(this.bytesOf(chunk), offset)) this.quorum.hasHigh = true;
  }

  recoverSettled(start: number, count: number): void {
    this.ready.settle(start, start + count);
    this.quorum?.recoverSettled(start, count);
    this.recoverSequence(start + count);
  }

  recoverReturned(sequence: number, count: number): void {
    this.quorum?.recover(sequence, count);
  }

  recoverDead(sequence: number, reason: DeathReason): void {
    this.quorum?.dead.set(sequence, reason);
  }

  recoverDelivered(below: number): void {
    this.deliveredBelow = below;
  }

  recoverSequence(next: number): void {
    if (next > this.nextSequence) this.nextSequence = next;
  }

  /**
   * Everything was replayed: what is left is visible. Unless the broker was closed in order, all of it is flagged: a delivery
   * leaves before a record of it could be safe, so none can tell which messages a consumer had when the broker was killed.
   */
  finishRecovery(wasClosed: boolean): void {
    const { ready, bounds } = this;
    ready.compact();
    if (this.quorum !== undefined) this.discards?.recoverAll(this.quorum.dead, ready, this.arena);
    if (!wasClosed) this.deliveredBelow = this.nextSequence;
    // Transient messages had sequences too, which are given again.
    this.redeliveredBelow = this.deliveredBelow = Math.min(this.deliveredBelow, this.nextSequence);
    if (!wasClosed && this.quorum !== undefined && this.log !== undefined)
      this.suspects = new Suspects(this, ready, this.quorum, this.log, this.turn, this.redeliveredBelow);
    this.visible = this.sealed = this.journaledEnd = ready.tail;
    if (bounds !== undefined) bounds.bytes = ready.countBodies();
    if (this.quorum?.hasHigh === true) this.useQuorumLanes();
    if (this.lanes !== undefined) this.fillLanes(this.lanes);
    this.wake();
  }

  /** Under which the journal knows its messages; 0 where nothing of it is kept. */
  get keptId(): number {
    return this.log === undefined || this.isDeleted ? 0 : this.id;
  }

  /** The message was written to the journal again, and what the journal says about it must be, too. */
  messageMoved(sequence: number): void {
    if (this.quorum?.recordAgain(sequence) === true && this.log !== undefined) this.settlements.mark(this.log);
    this.discards?.recordAgain(sequence);
  }

  /** What waits here, in these chunks at least. */
  forEachHolding(isWanted: readonly boolean[], visit: VisitHolding): void {
    if (this.waitingCount + (this.discards?.count ?? 0) === 0) return;
    const { keptId } = this;
    const isTimed = this.expiry !== undefined;
    this.ready.forEachIn(isWanted, (sequence, chunk, offset, length) => visit(chunk, offset, length, keptId, sequence, isTimed));
    this.returned.forEach(({ sequence, chunk, offset, length }) => visit(chunk, offset, length, keptId, sequence, isTimed));
    this.discards?.forEachHolding(keptId, isTimed, visit);
  }

  /** Whether the bytes of the first message are in memory. If not they are asked for, and the queue goes on when they came. */
  private isFirstHere(): boolean {
    const { arena } = this;
    if (arena.evictedCount === 0 || this.isImpatient) return true;
    const chunk = arena.chunks[this.returned.first?.chunk ?? this.ready.firstChunk]!;
    if (chunk.isResident) return true;
    this.isWaitingForBytes = true;
    arena.reader!.fetch(chunk, this);
    return false;
  }

  bytesCame(): void {
    this.wake();
  }

  /** The same for a queue in which messages may expire. */
  private deliverUnexpired(expiry: Expiry): boolean {
    for (let left = quantum; left > 0; left--) {
      if (this.messageCount === 0 || !this.isFirstHere()) return false;
      if (this.isFirstOver(expiry)) {
        this.take();
        this.bury('expired', this.takenSequence, this.takenChunk, this.takenOffset, this.takenLength);
        continue;
      }
      if (this.suspects !== undefined && !this.mayBeGiven(this.suspects)) return false;
      const consumer = this.turns.next();
      if (consumer !== undefined) {
        this.take();
        consumer.session.deliver(consumer);
        continue;
      }
      const below = this.visibleBelow();
      if (below <= expiry.offeredBelow) return false;
      expiry.offeredBelow = below; // everything had its chance: look once more at the first
    }
    return true;
  }

  private isFirstOver(expiry: Expiry): boolean {
    const first = this.returned.first;
    if (first !== undefined) return this.isReturnedOver(expiry, first);
    const slot = this.ready.firstSlot();
    const { chunks, offsets, sequences } = this.ready.front;
    return expiry.isOver(this.arena.chunks[chunks[slot]!]!.bytes, offsets[slot]!, sequences[slot]!);
  }

  /** What was out with a consumer had its chance. */
  private isReturnedOver(expiry: Expiry, { sequence, chunk, offset, isFresh }: ReturnedMessage): boolean {
    return expiry.isOver(this.arena.chunks[chunk]!.bytes, offset, isFresh === true || this.quorum !== undefined ? sequence : -1);
  }

  private watchFirst(expiry: Expiry): void {
    if (this.messageCount === 0) return;
    const first = this.returned.first;
    const slot = first === undefined ? this.ready.firstSlot() : 0;
    const { bytes } = this.arena.chunks[first?.chunk ?? this.ready.firstChunk]!;
    expiry.watch(bytes, first === undefined ? this.ready.front.offsets[slot]! : first.offset);
  }

  /** The first sequence that no commit has made visible. */
  private visibleBelow(): number {
    const { ready } = this;
    return this.visible === ready.tail ? this.nextSequence : ready.sequenceAt(this.visible);
  }

  private dropExcess(bounds: Bounds, isReturn = false): void {
    while (bounds.dropsHead && this.messageCount > 0 && bounds.isExceededBy(this.messageCount) && this.isFirstHere()) {
      // What is over behind the one that had to go was over before it had to go.
      const reason = !isReturn && this.expiry !== undefined && this.isFirstOver(this.expiry) ? 'expired' : 'maxlen';
      this.take();
      this.bury(reason, this.takenSequence, this.takenChunk, this.takenOffset, this.takenLength);
    }
  }

  private bodyBytes(chunk: number, offset: number): number {
    return bodyLength(this.arena.chunks[chunk]!.bytes, offset);
  }

  /** What has become visible goes to the place of its priority. */
  private fillLanes(lanes: Lanes): void {
    const { ready } = this;
    while (ready.head < this.visible) {
      const slot = ready.shift();
      const { sequences, chunks, offsets, lengths } = ready.front;
      lanes.push({ sequence: sequences[slot]!, chunk: chunks[slot]!, offset: offsets[slot]!, length: lengths[slot]!, isFresh: true });
    }
  }

  /** From now on messages go to their lanes; what came back goes along. */
  private useQuorumLanes(): QuorumLanes {
    if (this.lanes instanceof QuorumLanes) return this.lanes;
    const { ready } = this;
    const next = ready.length === 0 ? this.nextSequence : ready.front.sequences[ready.firstSlot()]!;
    const lanes = new QuorumLanes(this.arena, this.returned as Fifo, turnBefore(next));
    this.returned = this.lanes = lanes;
    this.fillLanes(lanes);
    return lanes;
  }
}
