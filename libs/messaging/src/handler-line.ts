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
import type { Envelope } from './envelope.js';
import { reasonOf } from './errors.js';
import { decodeEvent } from './event-codec.js';
import { Fifo } from './fifo.js';
import { SUSPECTED_STARTS_MAX } from './limits.js';
import type { Log } from './log.js';
import { Message, abortMessage } from './message.js';
import { type Gate, waitAt } from './policies/gate.js';
import type { Retry } from './policies/retry.js';
import type { Handle } from './policies/step.js';
import type { Settlement } from './settlement.js';
import type { Subscription } from './subscription.js';
import { failed, started } from './trail.js';
import type { Incoming } from './transport.js';

/** What a line is built of, once, from the contract of its handler. */
export interface LineParts {
  readonly subscription: Subscription;
  /** The handler with its steps around it. */
  readonly handle: Handle;
  readonly gates: readonly Gate[];
  readonly retry: Retry;
  readonly settlement: Settlement;
  readonly clock: Clock;
  readonly log: Log;
  /** Told when nothing runs any more. */
  readonly idle: () => void;
}

interface Waiting {
  readonly incoming: Incoming;
  readonly envelope: Envelope;
}

export class HandlerLine {
  readonly #waiting = new Fifo<Waiting>();
  readonly #running = new Set<Message>();
  /** Messages in quarantine whose start is written down, and which come again for it. */
  readonly #marked = new Set<string>();
  #timer: Timer | undefined;
  #isStopping = false;

  constructor(private readonly parts: LineParts) {}

  get place(): string {
    return this.parts.subscription.place;
  }

  get running(): ReadonlySet<Message> {
    return this.#running;
  }

  /** Takes a readable delivery. Never throws. */
  receive(incoming: Incoming, envelope: Envelope): void {
    const { gates } = this.parts;
    if (gates.length === 0) this.#start(incoming, envelope);
    else {
      this.#waiting.push({ incoming, envelope });
      this.#admit();
    }
  }

  /** Starts no more, and gives back what waits. */
  stop(): void {
    this.#isStopping = true;
    this.#timer?.cancel();
    for (const { incoming } of this.#waiting.drain()) incoming.release();
  }

  abort(): void {
    for (const message of this.#running) abortMessage(message);
  }

  #admit(): void {
    const { gates, clock } = this.parts;
    while (this.#waiting.length > 0) {
      const waitMs = waitAt(gates, clock.monotonicMs());
      if (waitMs > 0) {
        if (waitMs < Number.POSITIVE_INFINITY) this.#admitLater(waitMs);
        return;
      }
      const { incoming, envelope } = this.#waiting.shift() as Waiting;
      if (!incoming.isTakenBack) this.#start(incoming, envelope);
    }
  }

  #admitLater(waitMs: number): void {
    this.#timer ??= this.parts.clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#admit();
    });
  }

  #start(incoming: Incoming, envelope: Envelope): void {
    if (incoming.isQuarantined && !this.#isCleared(incoming, envelope)) return;
    const { subscription, settlement, clock, gates } = this.parts;
    let event: object;
    try {
      event = decodeEvent(subscription.eventClass, envelope);
    } catch (error) {
      const reason = reasonOf(error);
      const sentence = `${envelope.type} ${envelope.id} cannot be read by ${this.place}: ${reason}`;
      settlement.bury(incoming, envelope, { cause: 'unreadable', reason, handler: this.place }, sentence);
      return;
    }
    const message = new Message(envelope, incoming.isRedelivered);
    this.#running.add(message);
    if (gates.length > 0) for (const gate of gates) gate.started(clock.monotonicMs());
    const isAtMostOnce = subscription.contract.delivery === 'at-most-once';
    if (isAtMostOnce) incoming.acknowledge();
    this.parts.handle(event, message).then(
      () => {
        if (!isAtMostOnce) incoming.acknowledge();
        this.#end(message, true);
      },
      (error: unknown) => {
        if (isAtMostOnce) this.parts.log.error(`${this.#failureOf(message, error)}. It was handed out at most once, so it is gone.`);
        else this.#fail(incoming, envelope, message, error);
        this.#end(message, false);
      },
    );
  }

  #end(message: Message, isSuccess: boolean): void {
    const { gates, clock, idle } = this.parts;
    this.#running.delete(message);
    if (gates.length > 0) {
      for (const gate of gates) gate.ended(isSuccess, clock.monotonicMs());
      if (!this.#isStopping) this.#admit();
    }
    if (this.#isStopping && this.#running.size === 0) idle();
  }

  #fail(incoming: Incoming, envelope: Envelope, message: Message, error: unknown): void {
    const { settlement, retry } = this.parts;
    const reason = reasonOf(error);
    const sentence = this.#failureOf(message, error);
    // Told to stop, it did: that is no failure of its own.
    if (this.#isStopping && message.signal.aborted) {
      settlement.hold(incoming, sentence);
      return;
    }
    const trail = failed(envelope.trail, settlement.nowMs, reason);
    const verdict = retry.verdict(error, trail.failures);
    const next = { ...envelope, trail };
    if (verdict.kind === 'dead') {
      settlement.bury(
        incoming,
        next,
        { cause: verdict.cause, reason, handler: this.place },
        this.#ending(sentence, trail.failures, verdict.cause),
      );
    } else if (verdict.delayMs > 0 || this.#isStopping) settlement.again(incoming, next, Math.max(1, verdict.delayMs), sentence);
    else {
      this.parts.log.warn(`${sentence}. It is tried again at once.`);
      this.receive(incoming, next);
    }
  }

  #failureOf(message: Message, error: unknown): string {
    return `${this.place} failed on ${message.type} ${message.id}: ${reasonOf(error)}`;
  }

  #ending(sentence: string, failures: number, cause: string): string {
    return cause === 'attempts' ? `${sentence}. That was attempt ${failures}, the last one` : `${sentence}. No repetition can mend that`;
  }

  /** False where it goes elsewhere: it ended the process too often, or its start must be written down first. */
  #isCleared(incoming: Incoming, envelope: Envelope): boolean {
    const { settlement } = this.parts;
    if (this.#marked.delete(envelope.id)) return true;
    const starts = envelope.trail?.starts ?? 0;
    if (starts < SUSPECTED_STARTS_MAX) {
      this.#marked.add(envelope.id);
      settlement.markStart(incoming, { ...envelope, trail: started(envelope.trail) });
      return false;
    }
    const reason = `its handling was begun ${starts} times and never ended: it seems to end the process`;
    const sentence = `${envelope.type} ${envelope.id} is poison for ${this.place}: ${reason}`;
    settlement.bury(incoming, envelope, { cause: 'poisoned', reason, handler: this.place }, sentence);
    return false;
  }
}
