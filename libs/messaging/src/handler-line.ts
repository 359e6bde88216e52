/**
 * The messages of one handler: those that wait for a free place, and those that it works on.
 *
 *   arrives ─▶ waits until every gate is open ─▶ handler, inside its steps ─▶ fulfilled: acknowledged
 *                                                                        └▶ rejected: again later, or a dead letter
 *
 * A delivery is acknowledged in one place only, after its handler's promise fulfilled. Everything here is in memory; whatever the process forgets when it
 * ends, the broker hands out again.
 */
import type { Clock, Timer } from '@dovecote/ground';
import { BatchFailure } from './batch-failure.js';
import type { DeliveryContract } from './delivery-contract.js';
import type { Envelope } from './envelope.js';
import { MessagingError, reasonOf } from './errors.js';
import { LatePayload } from './message-codec.js';
import { Fifo } from './fifo.js';
import { SUSPECTED_STARTS_MAX } from './limits.js';
import type { Log } from './log.js';
import { Message, abortMessage } from './message.js';
import type { Payloads } from './payloads.js';
import { type Gate, waitAt } from './policies/gate.js';
import type { Retry } from './policies/retry.js';
import type { Handle } from './policies/step.js';
import { errorAnswer } from './reply.js';
import { misfitOf } from './policies/validation.js';
import { type InHand, Running } from './running.js';
import type { Outcomes } from './settlement.js';
import type { Subscription } from './subscription.js';
import { type Fate, type HandlerTelemetry, acknowledged } from './telemetry/telemetry.js';
import { failed, started } from './trail.js';
import type { Incoming, Lane } from './transport.js';

/** What a line is built of, once, from the contract of its handler. */
export interface LineParts {
  readonly subscription: Subscription;
  /** The handler with its steps around it. */
  readonly handle: Handle;
  readonly telemetry: HandlerTelemetry | undefined;
  readonly gates: readonly Gate[];
  readonly retry: Retry;
  readonly settlement: Outcomes;
  readonly payloads: Payloads;
  /** Whether the broker counts deliveries. */
  readonly countsDeliveries: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Told when nothing runs any more. */
  readonly idle: () => void;
}

interface Waiting {
  readonly incoming: Incoming;
  readonly envelope: Envelope;
  /** Where batches are made of them; 0 elsewhere. */
  readonly arrivedMs: number;
}

interface BatchPart {
  readonly incoming: Incoming;
  readonly envelope: Envelope;
  readonly event: object;
  readonly message: Message;
}

export class HandlerLine {
  readonly #waiting = new Fifo<Waiting>();
  readonly #running = new Running();
  readonly #batch: DeliveryContract['batch'];
  #timer: Timer | undefined;
  #isStopping = false;

  constructor(private readonly parts: LineParts) {
    this.#batch = parts.subscription.contract.batch;
  }

  get subscription(): Subscription {
    return this.parts.subscription;
  }

  get place(): string {
    return this.parts.subscription.place;
  }

  get running(): Iterable<InHand> & { readonly size: number } {
    return this.#running;
  }

  /** Takes a readable delivery. Never throws. */
  receive(incoming: Incoming, envelope: Envelope): void {
    const { gates } = this.parts;
    if (gates.length === 0 && this.#batch === undefined) this.#start(incoming, envelope);
    else {
      this.#waiting.push({ incoming, envelope, arrivedMs: this.#batch === undefined ? 0 : this.parts.clock.monotonicMs() });
      this.#admit();
    }
  }

  /** Starts no more, and gives back what waits. */
  stop(): void {
    this.#isStopping = true;
    this.#timer?.cancel();
    for (const { incoming } of this.#waiting.drain()) incoming.release();
  }

  /** Of the messages of one lane alone, where one is given. */
  abort(lane?: Lane): void {
    for (const { message, incoming } of this.#running) if (lane === undefined || incoming.lane === lane) abortMessage(message);
  }

  #admit(): void {
    const { gates, clock } = this.parts;
    while (this.#waiting.length > 0) {
      const nowMs = clock.monotonicMs();
      const waitMs = Math.max(waitAt(gates, nowMs), this.#lingerMs(nowMs));
      if (waitMs > 0) {
        if (waitMs < Number.POSITIVE_INFINITY) this.#admitLater(waitMs);
        return;
      }
      if (this.#batch === undefined) {
        const { incoming, envelope } = this.#waiting.shift() as Waiting;
        if (incoming.isTakenBack) incoming.release();
        else this.#start(incoming, envelope);
      } else void this.#startBatch(this.#takeBatch(this.#batch.size));
    }
  }

  /** How long a batch may still wait for more: not at all for one that is full, or that has a message out of quarantine first. */
  #lingerMs(nowMs: number): number {
    const first = this.#waiting.peek();
    if (this.#batch === undefined || first === undefined || this.#waiting.length >= this.#batch.size || first.incoming.isQuarantined)
      return 0;
    return Math.max(0, first.arrivedMs + this.#batch.lingerMs - nowMs);
  }

  /** One out of quarantine is alone. */
  #takeBatch(size: number): Waiting[] {
    const batch: Waiting[] = [];
    for (let next = this.#waiting.peek(); next !== undefined && batch.length < size; next = this.#waiting.peek()) {
      if (next.incoming.isQuarantined && batch.length > 0) break;
      this.#waiting.shift();
      if (!next.incoming.isTakenBack) batch.push(next);
      if (next.incoming.isQuarantined) break;
    }
    return batch;
  }

  #admitLater(waitMs: number): void {
    this.#timer ??= this.parts.clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#admit();
    });
  }

  #start(incoming: Incoming, envelope: Envelope): void {
    if (incoming.isQuarantined && !this.#isCleared(incoming, envelope)) return;
    const event = this.#decode(incoming, envelope);
    if (event === undefined) return;
    const { subscription, settlement, gates } = this.parts;
    const message = new Message(envelope, incoming.isRedelivered);
    const inHand = this.#running.begin(message, incoming);
    if (gates.length > 0) this.#passGates();
    const isAtMostOnce = subscription.contract.delivery === 'at-most-once';
    if (isAtMostOnce) incoming.acknowledge();
    this.parts.handle(event, message).then(
      (value) => {
        if (envelope.replyTo !== undefined) settlement.answer(envelope, { value }, subscription.answerCodec);
        if (!isAtMostOnce) incoming.acknowledge();
        this.parts.telemetry?.ended(message, acknowledged);
        this.#end(inHand, true);
      },
      (error: unknown) => {
        const fate = this.#fail(incoming, envelope, message, error);
        this.parts.telemetry?.ended(message, fate);
        this.#end(inHand, false);
      },
    );
  }

  /** Nothing for one that goes to the dead letters instead. */
  #decode(incoming: Incoming, envelope: Envelope): object | undefined {
    const { payloads, subscription } = this.parts;
    try {
      return payloads.open(envelope, subscription);
    } catch (error) {
      // What may be readable later fails as an attempt does.
      if (error instanceof MessagingError && error.retryable) return new LatePayload(() => Promise.reject(error));
      this.#refuse(incoming, envelope, reasonOf(error));
      return undefined;
    }
  }

  #refuse(incoming: Incoming, envelope: Envelope, reason: string): void {
    const sentence = `${envelope.type} ${envelope.id} cannot be read by ${this.place}: ${reason}`;
    this.parts.settlement.bury(incoming, envelope, { cause: 'unreadable', reason, handler: this.place }, sentence);
  }

  /** One call for all of them; what it throws counts against each, or against those that a `BatchFailure` names. */
  async #startBatch(batch: readonly Waiting[]): Promise<void> {
    const { subscription, clock, gates } = this.parts;
    this.#passGates();
    const parts: BatchPart[] = [];
    for (const { incoming, envelope } of batch) {
      if (incoming.isQuarantined && !this.#isCleared(incoming, envelope)) continue;
      const part = await this.#batchPart(incoming, envelope);
      if (part !== undefined) parts.push(part);
    }
    const messages = parts.map(({ message }) => message);
    const inHand = parts.map(({ message, incoming }) => this.#running.begin(message, incoming));
    if (subscription.contract.delivery === 'at-most-once') for (const { incoming } of parts) incoming.acknowledge();
    let failure: unknown;
    try {
      if (parts.length > 0)
        await this.parts.handle(
          parts.map(({ event }) => event),
          messages as unknown as Message,
        );
    } catch (error) {
      failure = error ?? new Error('the handler rejected without a reason');
    }
    for (const { incoming, envelope, message } of parts) {
      const error: unknown = failure instanceof BatchFailure ? failure.failures.get(message) : failure;
      if (error === undefined) incoming.acknowledge();
      const fate = error === undefined ? acknowledged : this.#fail(incoming, envelope, message, error);
      this.parts.telemetry?.ended(message, fate);
    }
    for (const one of inHand) this.#running.end(one);
    for (const gate of gates) gate.ended(failure === undefined, clock.monotonicMs());
    this.#afterwards();
  }

  /** Nothing for one that goes elsewhere instead. */
  async #batchPart(incoming: Incoming, envelope: Envelope): Promise<BatchPart | undefined> {
    const decoded = this.#decode(incoming, envelope);
    if (decoded === undefined) return undefined;
    const { schema } = this.parts.subscription;
    const message = new Message(envelope, incoming.isRedelivered);
    try {
      const event = decoded instanceof LatePayload ? await decoded.open() : decoded;
      const problem = schema && (await misfitOf(schema, event));
      if (problem === undefined) return { incoming, envelope, event, message };
      this.#refuse(incoming, envelope, reasonOf(problem));
    } catch (error) {
      this.#fail(incoming, envelope, message, error);
    }
    return undefined;
  }

  #passGates(): void {
    const { gates, clock } = this.parts;
    for (const gate of gates) gate.started(clock.monotonicMs());
  }

  #end(inHand: InHand, isSuccess: boolean): void {
    const { gates, clock } = this.parts;
    this.#running.end(inHand);
    if (gates.length > 0) for (const gate of gates) gate.ended(isSuccess, clock.monotonicMs());
    this.#afterwards();
  }

  #afterwards(): void {
    if (!this.#isStopping) {
      if (this.#waiting.length > 0) this.#admit();
    } else if (this.#running.size === 0) this.parts.idle();
  }

  #fail(incoming: Incoming, envelope: Envelope, message: Message, error: unknown): Fate {
    const { settlement, retry } = this.parts;
    const reason = reasonOf(error);
    const sentence = `${this.place} failed on ${message.type} ${message.id}: ${reason}`;
    if (this.subscription.contract.delivery === 'at-most-once') {
      this.parts.log.error(`${sentence}. It was handed out at most once, so it is gone.`);
      return { kind: 'failed', error };
    }
    // Told to stop, it did: that is no failure of its own.
    if ((this.#isStopping || incoming.isTakenBack) && message.signal.aborted) {
      settlement.hold(incoming, sentence);
      return { kind: 'given-back', error };
    }
    // Whoever asked waits for no second attempt, and nothing was to be changed.
    if (envelope.kind === 'query') {
      this.parts.log.warn(`${sentence}. Whoever asked is told.`);
      settlement.answer(envelope, errorAnswer(error));
      incoming.acknowledge();
      return { kind: 'failed', error };
    }
    const trail = failed(envelope.trail, settlement.nowMs, reason);
    const verdict = retry.verdict(error, trail.failures);
    const next = { ...envelope, trail };
    const { failures } = trail;
    if (verdict.kind === 'dead') {
      settlement.bury(
        incoming,
        next,
        { cause: verdict.cause, reason, handler: this.place },
        this.#ending(sentence, failures, verdict.cause),
      );
      return { kind: 'dead-letter', error, failures, cause: verdict.cause };
    }
    if (verdict.delayMs > 0 || this.#isStopping) settlement.again(incoming, next, Math.max(1, verdict.delayMs), sentence);
    else {
      this.parts.log.warn(`${sentence}. It is tried again at once.`);
      this.receive(incoming, next);
    }
    return { kind: 'retry', error, failures, delayMs: verdict.delayMs };
  }

  #ending(sentence: string, failures: number, cause: string): string {
    return cause === 'attempts' ? `${sentence}. That was attempt ${failures}, the last one` : `${sentence}. No repetition can mend that`;
  }

  /**
   * In quarantine one message is out at a time, so one that comes again was out when its process ended. False where it goes elsewhere: that happened too
   * often, or the broker does not count and it must be written down.
   */
  #isCleared(incoming: Incoming, envelope: Envelope): boolean {
    const { settlement, countsDeliveries } = this.parts;
    const written = envelope.trail?.starts ?? 0;
    const ends = countsDeliveries ? incoming.deliveries - 1 : written + (incoming.isRedelivered ? 1 : 0);
    if (ends >= SUSPECTED_STARTS_MAX) {
      const reason = `its process ended ${ends} times while it alone was being handled`;
      const sentence = `${envelope.type} ${envelope.id} is poison for ${this.place}: ${reason}`;
      settlement.bury(incoming, envelope, { cause: 'poisoned', reason, handler: this.place }, sentence);
      return false;
    }
    if (countsDeliveries || ends === written) return true;
    settlement.noteEnd(incoming, { ...envelope, trail: started(envelope.trail) });
    return false;
  }
}
