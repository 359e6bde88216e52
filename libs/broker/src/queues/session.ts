import { CodedError } from '../errors.js';
import type { Arena } from '../storage/arena.js';
import { admit, buryRefused } from './bounds.js';
import { Consumer } from './consumer.js';
import { type ConsumerTimeouts, DeliveryTimes } from './consumer-timeouts.js';
import { withInteger } from './content-edit.js';
import { isMandatory } from './content.js';
import type { FieldTable } from './field-table.js';
import type { Graveyard } from './graveyard.js';
import type { Intake } from './intake.js';
import type { Owner } from './owner.js';
import type { Queue } from './queue.js';
import { checkConsumerArguments } from './queue-policy.js';
import { replyToName } from './reply-queues.js';
import { nowhere, type Route, routeWithout } from './route.js';
import type { VisitHolding } from './trimmer.js';
import type { Turn } from './turn.js';
import { type Outcome, Transaction } from './transaction.js';
import { Unacknowledged } from './unacknowledged.js';

/** Where a session's deliveries and confirmations go: an AMQP channel, or a handler in this process. */
export interface SessionSink {
  /** One message. The bytes are a content image and valid only during the call. */
  deliver(consumer: Consumer, deliveryTag: number, isRedelivered: boolean, bytes: Buffer, start: number, length: number): void;
  /** The message that `get` was asked for; called before `get` returns. */
  got(deliveryTag: number, isRedelivered: boolean, messageCount: number, bytes: Buffer, start: number, length: number): void;
  /** Every publish from the first to the `upTo`th is settled. */
  confirmed(upTo: number): void;
  /** This one publish was refused by a queue that is full; called in its order between calls of `confirmed`. */
  rejected(publish: number): void;
  /** The queue went away under the consumer. */
  cancelled(consumer: Consumer): void;
  /** A delivery has been outstanding for longer than so many milliseconds: the session must be closed. Without this it may last for ever. */
  timedOut?(timeoutMs: number): void;
}

/** How often a message came back to its quorum queue. */
const deliveryCountHeader = 'x-delivery-count';

/** What a session needs of its virtual host. */
export interface SessionHost {
  readonly name: string;
  readonly arena: Arena;
  readonly turn: Turn;
  readonly intake: Intake;
  readonly graveyard: Graveyard;
  readonly timeouts: ConsumerTimeouts;
  readonly transactionBytesMax: number;
  atomically(isKept: boolean, work: () => void): void;
  /** Called when a consumer is gone: an auto-delete queue may go with it. */
  consumerLeft(queue: Queue): void;
  /** All that are open. */
  readonly sessions: Set<Session>;
}

export interface ConsumeSettings {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  /** 0 for no limit. */
  readonly prefetch: number;
  readonly arguments: FieldTable;
}

/**
 * The unit that publishes, consumes and settles: what AMQP calls a channel, without its frames.
 *
 * Delivery tags count from 1 through all its consumers. Publishes count from 1 once it confirms, and are confirmed in their
 * order: a publish that needed no disk waits for the ones before it. When it closes, what was delivered and not acknowledged
 * goes back to its queues.
 *
 * With a transaction, publishes and settlements wait for `commit` and then happen in one go, which a crash leaves whole or not at all.
 */
export class Session {
  isConfirming = false;
  publishedCount = 0;
  isWritable = true;
  /** The most deliveries that may be outstanding over all consumers; 0 for no limit. */
  sharedPrefetch = 0;
  readonly consumers = new Map<string, Consumer>();
  readonly unacknowledged = new Unacknowledged();
  private firstWoken = 0;
  /** Unacknowledged messages that no consumer got. */
  private fetchedCount = 0;
  private transaction: Transaction | undefined;
  private deliveryTag = 0;
  private readonly deliveryTimes = new DeliveryTimes();
  private isClosed = false;
  /** The last publish that went to the journal, and the last one before the commit under way. */
  private journaledUpTo = 0;
  private sealedUpTo = 0;
  private confirmedUpTo = 0;
  private isUncommitted = false;
  private isConfirmQueued = false;
  /** Publishes that a full queue refused and that were not answered yet, oldest first. */
  private rejections: number[] = [];

  constructor(
    private readonly host: SessionHost,
    readonly owner: Owner,
    private readonly sink: SessionSink,
  ) {
    host.sessions.add(this);
    if (sink.timedOut !== undefined) host.timeouts.watch(this);
  }

  /**
   * Publishes the content image `bytes[start .. start + length)`, which is copied before this returns. A persistent message is
   * written to the journal once for all durable queues of the route. `isExpiring` says that it has the property `expiration`.
   */
  publish(route: Route, isPersistent: boolean, bytes: Buffer, start: number, length: number, isExpiring = false): void {
    if (this.transaction !== undefined) return this.transaction.publish(route, isPersistent, bytes, start, length, isExpiring);
    this.publishNow(route, isPersistent, bytes, start, length, isExpiring);
  }

  /** False when a queue was full and refused it. */
  private publishNow(route: Route, isPersistent: boolean, bytes: Buffer, start: number, length: number, isExpiring: boolean): boolean {
    const { host } = this;
    const open = route.hasBounds ? admit(route, bytes, start) : route;
    const isJournaled = host.intake.put(open, isPersistent, isExpiring, bytes, start, length);
    const isWhole = open === route;
    if (!isWhole) buryRefused(route, open, host.graveyard, bytes, start);
    if (!this.isConfirming) return isWhole;
    this.countPublish(isJournaled);
    if (!isWhole) this.rejections.push(this.publishedCount);
    return isWhole;
  }

  /** From now on publishes and settlements wait for `commitTransaction`; once more changes nothing. */
  beginTransactions(): void {
    this.transaction ??= new Transaction(this.host.arena, this.owner, this.host.transactionBytesMax);
  }

  get isTransactional(): boolean {
    return this.transaction !== undefined;
  }

  /** Published and not confirmed, where it confirms. */
  get unconfirmedCount(): number {
    return this.isConfirming ? this.publishedCount - this.confirmedUpTo : 0;
  }

  /** What its transaction has gathered. */
  get uncommitted(): { readonly publishes: number; readonly settlements: number } {
    const { publishes, settlements } = this.transaction ?? { publishes: [], settlements: [] };
    return { publishes: publishes.length, settlements: settlements.length };
  }

  /** Deliveries that take room in the prefetch: what a transaction settles does so until the commit, and what was fetched never does. */
  get outstandingCount(): number {
    return this.unacknowledged.count + (this.transaction?.settlements.length ?? 0) - this.fetchedCount;
  }

  /**
   * First what was published, in its order, then what was settled. Nobody may be told before `turn.afterCommit`. False when queues
   * that were full, or are gone since, did not take all of it: everything else has happened. `giveBack` takes the mandatory messages
   * that lead nowhere; their bytes are valid only during the call.
   */
  commitTransaction(giveBack: (bytes: Buffer, start: number, length: number) => void): boolean {
    const transaction = this.transaction!;
    if (transaction.isEmpty) return true;
    let isWhole = true;
    this.host.atomically(transaction.isKept, () => {
      for (const { route, isPersistent, chunk, offset, length, isExpiring } of transaction.publishes) {
        const { bytes } = chunk;
        if (route === nowhere && isMandatory(bytes, offset)) giveBack(bytes, offset, length);
        const gone = [...route.queues, ...route.holds].filter(({ isDeleted }) => isDeleted);
        const living = gone.length === 0 ? route : routeWithout(route, ({ isDeleted }) => isDeleted);
        if (!this.publishNow(living, isPersistent, bytes, offset, length, isExpiring)) isWhole = false;
        // Who waits for a reply may go at any time, and nobody is blamed for it.
        if (gone.some(({ name }) => !name.startsWith(replyToName))) isWhole = false;
      }
      for (const { outstanding, outcome } of transaction.ordered()) {
        const { queue, consumer, sequence, chunk, offset, length: bytes } = outstanding;
        this.finish(queue, consumer, sequence, chunk, offset, bytes, outcome);
      }
    });
    transaction.clear();
    return isWhole;
  }

  /** Nothing was published, and what was settled is outstanding again. */
  rollBackTransaction(): void {
    const transaction = this.transaction!;
    this.unacknowledged.restore(transaction.settlements.map(({ outstanding }) => outstanding));
    transaction.clear();
  }

  /** Throws when the queue is in exclusive use. Deliveries begin in a later turn. */
  consume(queue: Queue, settings: ConsumeSettings): Consumer {
    const { tag, noAck, exclusive, prefetch } = settings;
    const asked = checkConsumerArguments(queue.name, this.host.name, queue.policy?.type ?? 'classic', settings.arguments);
    if (queue.quorum !== undefined && this.sharedPrefetch !== 0) {
      throw new CodedError('not-implemented', `queue '${queue.name}' in vhost '${this.host.name}' does not support global qos`);
    }
    this.checkNewTag(tag);
    // Quorum queues take the flag and do nothing about it.
    const isExclusive = exclusive && queue.quorum === undefined;
    if (queue.consumers.some((other) => other.isExclusive) || (isExclusive && (queue.consumers.length > 0 || queue.isSingleActive))) {
      throw new CodedError('exclusive-consumer', `queue '${queue.name}' in vhost '${this.host.name}' in exclusive use`);
    }
    const consumer = new Consumer(tag, queue, this, noAck, isExclusive, prefetch, asked.priority, asked.timeoutMs);
    this.consumers.set(tag, consumer);
    queue.addConsumer(consumer);
    return consumer;
  }

  /** Throws when a consumer of this tag is there. */
  checkNewTag(tag: string): void {
    if (this.consumers.has(tag)) throw new CodedError('consumer-tag-taken', `attempt to reuse consumer tag '${tag}'`);
  }

  /** Nothing is delivered to the consumer after this. False when there is none of that tag. */
  cancel(tag: string): boolean {
    const consumer = this.consumers.get(tag);
    if (consumer === undefined) return false;
    this.forget(consumer);
    this.host.consumerLeft(consumer.queue);
    return true;
  }

  /** Fetches one message into `sink.got`; false when the queue is empty. */
  get(queue: Queue, noAck: boolean): boolean {
    if (queue.quorum !== undefined && queue.isSingleActive) throw this.notFetched(queue);
    queue.lease?.renew();
    queue.tidy();
    if (queue.messageCount === 0) return false;
    queue.take();
    const { takenSequence, takenChunk, takenOffset, takenLength, takenWasDelivered, takenCount } = queue;
    const { bytes } = this.host.arena.chunks[takenChunk]!;
    const tag = ++this.deliveryTag;
    if (!noAck) {
      this.fetchedCount++;
      this.unacknowledged.push(tag, queue, undefined, takenSequence, takenChunk, takenOffset, takenLength);
      queue.noteOutstanding();
    }
    queue.tidy(); // what is over behind it is not counted any more
    if (takenCount === 0) this.sink.got(tag, takenWasDelivered, queue.messageCount, bytes, takenOffset, takenLength);
    else {
      const counted = withInteger(bytes, takenOffset, takenLength, deliveryCountHeader, takenCount);
      this.sink.got(tag, takenWasDelivered, queue.messageCount, counted, 0, counted.length);
    }
    if (noAck) queue.settle(takenSequence, takenChunk);
    return true;
  }

  /** Hands the message that `consumer.queue` has just taken to the sink, which may settle it at once. */
  deliver(consumer: Consumer): void {
    const { queue } = consumer;
    const { takenSequence, takenChunk, takenOffset, takenLength } = queue;
    const { bytes } = this.host.arena.chunks[takenChunk]!;
    const tag = ++this.deliveryTag;
    if (queue.takenCount > 0) return this.deliverCounted(consumer, tag, bytes);
    if (consumer.noAck) {
      this.sink.deliver(consumer, tag, queue.takenWasDelivered, bytes, takenOffset, takenLength);
      queue.settle(takenSequence, takenChunk);
      return;
    }
    this.unacknowledged.push(tag, queue, consumer, takenSequence, takenChunk, takenOffset, takenLength);
    consumer.unacknowledgedCount++;
    queue.noteOutstanding();
    this.sink.deliver(consumer, tag, queue.takenWasDelivered, bytes, takenOffset, takenLength);
  }

  /** What came back to a quorum queue says how often. */
  private deliverCounted(consumer: Consumer, tag: number, bytes: Buffer): void {
    const { queue } = consumer;
    const { takenSequence, takenChunk, takenOffset, takenLength } = queue;
    const counted = withInteger(bytes, takenOffset, takenLength, deliveryCountHeader, queue.takenCount);
    if (!consumer.noAck) {
      this.unacknowledged.push(tag, queue, consumer, takenSequence, takenChunk, takenOffset, takenLength);
      consumer.unacknowledgedCount++;
      queue.noteOutstanding();
    }
    this.sink.deliver(consumer, tag, true, counted, 0, counted.length);
    if (consumer.noAck) queue.settle(takenSequence, takenChunk);
  }

  private notFetched({ name }: Queue): CodedError {
    const advice = 'basic.get operations are not supported by quorum queues with single active consumer';
    return new CodedError('exclusive-owner', `cannot obtain access to locked queue '${name}' in vhost '${this.host.name}'. ${advice}`);
  }

  /** The messages are done with. Tag 0 with `multiple` means all outstanding. False, and nothing done, when the tag is unknown. */
  acknowledge(tag: number, multiple: boolean): boolean {
    return this.settle(tag, multiple, 'done');
  }

  /** The messages go back to their places, or where the dead letters of their queues go. */
  reject(tag: number, multiple: boolean, requeue: boolean): boolean {
    return this.settle(tag, multiple, requeue ? 'put-back' : 'dead');
  }

  /** Everything outstanding goes back to its place, at once also in a transaction. */
  recover(): void {
    const { unacknowledged } = this;
    for (let slot = unacknowledged.oldestUpTo(Infinity); slot >= 0; slot = unacknowledged.oldestUpTo(Infinity)) {
      this.settleSlot(slot, 'put-back');
    }
  }

  /** False holds deliveries back, while whoever takes them cannot keep up. */
  setWritable(isWritable: boolean): void {
    if (this.isWritable === isWritable) return;
    this.isWritable = isWritable;
    if (isWritable) this.wakeQueues();
  }

  /** Each time another one is woken first: where one limit is for all, the first takes what there is. */
  wakeQueues(): void {
    const consumers = [...this.consumers.values()];
    for (let i = 0; i < consumers.length; i++) consumers[(this.firstWoken + i) % consumers.length]!.queue.wake();
    this.firstWoken++;
  }

  /** The queue is deleted: its consumers here are told. */
  queueDeleted(consumer: Consumer): void {
    this.forget(consumer);
    this.sink.cancelled(consumer);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.host.timeouts.forget(this);
    const consumers = [...this.consumers.values()];
    for (const consumer of consumers) this.forget(consumer);
    // A queue that goes with its last consumer goes before anything comes back to it, as in RabbitMQ: nothing of it becomes a dead letter.
    for (const { queue } of consumers) this.host.consumerLeft(queue);
    if (this.transaction !== undefined) this.rollBackTransaction();
    this.recover();
    this.host.sessions.delete(this);
  }

  /** What is out with its consumers. */
  forEachHolding(visit: VisitHolding): void {
    this.unacknowledged.forEach((queue, sequence, chunk, offset, length) =>
      visit(chunk, offset, length, queue.keptId, sequence, queue.expiry !== undefined),
    );
  }

  /** A minute has passed: whether the oldest delivery has been outstanding for too long. */
  checkTimeout(now: number, otherwiseMs: number): void {
    const { unacknowledged, deliveryTimes } = this;
    const slot = unacknowledged.oldestUpTo(Infinity);
    if (slot < 0) return deliveryTimes.clear();
    deliveryTimes.note(unacknowledged.tagAt(slot), this.deliveryTag, now);
    const timeoutMs = unacknowledged.consumers[slot]?.timeoutMs ?? unacknowledged.queues[slot]!.policy?.consumerTimeoutMs ?? otherwiseMs;
    if (deliveryTimes.oldestAt < now - timeoutMs) this.sink.timedOut!(timeoutMs);
  }

  /** A commit begins. */
  seal(): void {
    this.isUncommitted = false;
    this.sealedUpTo = this.publishedCount;
  }

  /** The commit is durable. */
  commit(): void {
    this.confirm(this.journaledUpTo <= this.sealedUpTo ? this.publishedCount : this.sealedUpTo);
  }

  /** Confirms what needed no journal, if nothing before it still waits for one. */
  confirmUnjournaled(): void {
    this.isConfirmQueued = false;
    if (this.journaledUpTo <= this.confirmedUpTo) this.confirm(this.publishedCount);
  }

  private countPublish(isJournaled: boolean): void {
    this.publishedCount++;
    if (isJournaled) {
      this.journaledUpTo = this.publishedCount;
      if (this.isUncommitted) return;
      this.isUncommitted = true;
      this.host.turn.sessionHasUncommitted(this);
    } else if (!this.isConfirmQueued) {
      this.isConfirmQueued = true;
      this.host.turn.sessionHasConfirms(this);
    }
  }

  private confirm(upTo: number): void {
    if (upTo <= this.confirmedUpTo || this.isClosed) return;
    if (this.rejections.length > 0) this.reportRejections(upTo);
    if (upTo <= this.confirmedUpTo) return;
    this.confirmedUpTo = upTo;
    this.sink.confirmed(upTo);
  }

  /** Answers what was refused up to `upTo`, and what was confirmed before it: no confirmation passes over a refusal. */
  private reportRejections(upTo: number): void {
    const answered = this.rejections.filter((publish) => publish <= upTo);
    this.rejections = this.rejections.slice(answered.length);
    for (const publish of answered) {
      if (publish - 1 > this.confirmedUpTo) this.sink.confirmed(publish - 1);
      this.confirmedUpTo = publish;
      this.sink.rejected(publish);
    }
  }

  private settle(tag: number, multiple: boolean, outcome: Outcome): boolean {
    const { unacknowledged } = this;
    if (!multiple || tag !== 0) {
      const slot = unacknowledged.find(tag);
      if (slot < 0) return false;
      if (!multiple) {
        if (this.transaction === undefined) this.settleSlot(slot, outcome);
        else this.transaction.settle(unacknowledged.take(slot), outcome);
        return true;
      }
    }
    const upTo = tag === 0 ? Infinity : tag;
    for (let slot = unacknowledged.oldestUpTo(upTo); slot >= 0; slot = unacknowledged.oldestUpTo(upTo)) {
      if (this.transaction === undefined) this.settleSlot(slot, outcome);
      else this.transaction.settle(unacknowledged.take(slot), outcome);
    }
    return true;
  }

  private settleSlot(slot: number, outcome: Outcome): void {
    const { unacknowledged } = this;
    const queue = unacknowledged.queues[slot]!;
    const consumer = unacknowledged.consumers[slot];
    const sequence = unacknowledged.sequences[slot]!;
    const chunk = unacknowledged.chunks[slot]!;
    const offset = unacknowledged.offsets[slot]!;
    const length = unacknowledged.lengths[slot]!;
    unacknowledged.remove(slot);
    this.finish(queue, consumer, sequence, chunk, offset, length, outcome);
  }

  private finish(
    queue: Queue,
    consumer: Consumer | undefined,
    sequence: number,
    chunk: number,
    offset: number,
    length: number,
    outcome: Outcome,
  ): void {
    queue.unacknowledgedCount--;
    if (outcome === 'done') queue.settle(sequence, chunk);
    else if (outcome === 'put-back') queue.putBack(sequence, chunk, offset, length, this.isClosed);
    else queue.bury('rejected', sequence, chunk, offset, length);
    if (consumer === undefined) this.fetchedCount--;
    else consumer.unacknowledgedCount--;
    if (this.sharedPrefetch !== 0) this.wakeQueues();
    else if (consumer !== undefined) queue.wake();
  }

  private forget(consumer: Consumer): void {
    consumer.isCancelled = true;
    this.consumers.delete(consumer.tag);
    consumer.queue.removeConsumer(consumer);
  }
}
