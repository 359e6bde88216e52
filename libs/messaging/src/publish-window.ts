/**
 * Lets only so many publishes be under way at once; the others wait for their turn, and none longer than its deadline.
 *
 *   publish ─▶ waiting (bounded) ─▶ in flight (bounded) ─▶ confirmed | refused
 *                     └───────── deadline ─────┴─▶ publish-timeout
 *
 * In memory only: what was not confirmed when the process ends may or may not have arrived, and its caller was never told that it did.
 * Used by the publisher; opened and closed with the service.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Envelope } from './envelope.js';
import { MessagingError } from './errors.js';
import { Fifo } from './fifo.js';
import { PUBLISHES_IN_FLIGHT_MAX, PUBLISHES_WAITING_MAX, PUBLISH_BYTES_IN_FLIGHT_MAX, PUBLISH_BYTES_WAITING_MAX } from './limits.js';
import type { PublishOutcome, Route } from './transport.js';

export interface PublishLimits {
  readonly inFlightMax: number;
  readonly inFlightBytesMax: number;
  readonly waitingMax: number;
  readonly waitingBytesMax: number;
}

const defaultLimits: PublishLimits = {
  inFlightMax: PUBLISHES_IN_FLIGHT_MAX,
  inFlightBytesMax: PUBLISH_BYTES_IN_FLIGHT_MAX,
  waitingMax: PUBLISHES_WAITING_MAX,
  waitingBytesMax: PUBLISH_BYTES_WAITING_MAX,
};

/** Answers with a promise, or tells the outcome. */
type Send = (envelope: Envelope, deadlineMs: number, route: Route | undefined, outcome: PublishOutcome) => Promise<void> | undefined;

class Publish implements PublishOutcome {
  isSettled = false;
  isInFlight = false;

  constructor(
    readonly envelope: Envelope,
    readonly route: Route | undefined,
    readonly deadlineMs: number,
    readonly resolve: () => void,
    readonly reject: (error: unknown) => void,
    private readonly settle: (publish: Publish, error?: unknown) => void,
  ) {}

  confirmed(): void {
    this.settle(this);
  }

  refused(error: unknown): void {
    this.settle(this, error);
  }
}

export class PublishWindow {
  #state: 'unopened' | 'opening' | 'open' | 'closed' = 'unopened';
  #send: Send | undefined;
  #inFlight = 0;
  #inFlightBytes = 0;
  readonly #waiting = new Fifo<Publish>();
  #waitingBytes = 0;
  #isAdmitting = false;
  /** Every publish in the order of its deadline, which is the order of arrival; settled ones are dropped when they come to the front. */
  readonly #byDeadline = new Fifo<Publish>();
  #live = 0;
  #timer: Timer | undefined;
  #idle: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
    private readonly limits: PublishLimits = defaultLimits,
  ) {}

  /** From now on publishes are kept until `open`. */
  prepare(): void {
    if (this.#state === 'unopened') this.#state = 'opening';
  }

  open(send: Send): void {
    if (this.#state === 'closed') return;
    this.#state = 'open';
    this.#send = send;
    this.#admit();
  }

  /** Takes no more; resolves when nothing is under way, or after `patienceMs` with the rest rejected. */
  async close(patienceMs: number): Promise<void> {
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    if (this.#live > 0 && wasOpen) {
      await new Promise<void>((resolve) => {
        const timer = this.clock.after(patienceMs, resolve);
        this.#idle = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#timer?.cancel();
    for (const publish of this.#byDeadline.drain()) {
      if (!publish.isSettled)
        this.#settle(publish, closedError('was not confirmed before the service closed, and may or may not have arrived'));
    }
  }

  /** Resolves when the broker confirmed it. Rejects with a `MessagingError`, at the latest when the timeout is over. */
  publish(envelope: Envelope, route?: Route): Promise<void> {
    const refusal = this.#refusal(envelope.body.byteLength);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const deadlineMs = this.clock.monotonicMs() + this.timeoutMs;
      const publish = new Publish(envelope, route, deadlineMs, resolve, reject, this.#settle);
      this.#live += 1;
      this.#watch(publish);
      if (this.#state === 'open' && this.#waiting.length === 0 && this.#fits(envelope.body.byteLength)) {
        this.#launch(publish);
      } else {
        this.#waiting.push(publish);
        this.#waitingBytes += envelope.body.byteLength;
      }
    });
  }

  #refusal(bytes: number): MessagingError | undefined {
    if (this.#state === 'closed') return closedError('was not published: the service is shutting down');
    if (this.#state === 'unopened') {
      return new MessagingError(
        'not-started',
        'Nothing can be published before the application has started: publish from onApplicationBootstrap or later, not from a constructor or onModuleInit.',
      );
    }
    if (this.#waiting.length < this.limits.waitingMax && this.#waitingBytes + bytes <= this.limits.waitingBytesMax) return undefined;
    return new MessagingError(
      'too-many-publishes',
      `${this.#waiting.length} publishes are waiting for their turn already: await the promise of publish before you publish more.`,
    );
  }

  /** One message always fits, however large. */
  #fits(bytes: number): boolean {
    return (
      this.#inFlight < this.limits.inFlightMax && (this.#inFlight === 0 || this.#inFlightBytes + bytes <= this.limits.inFlightBytesMax)
    );
  }

  #admit(): void {
    if (this.#send === undefined) return;
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (!next.isSettled && !this.#fits(next.envelope.body.byteLength)) return;
      this.#waiting.shift();
      this.#waitingBytes -= next.envelope.body.byteLength;
      if (!next.isSettled) this.#launch(next);
    }
  }

  /** Not at once: whoever tells an outcome may be in the middle of telling many. */
  #admitSoon(): void {
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    queueMicrotask(() => {
      this.#isAdmitting = false;
      this.#admit();
    });
  }

  #launch(publish: Publish): void {
    publish.isInFlight = true;
    this.#inFlight += 1;
    this.#inFlightBytes += publish.envelope.body.byteLength;
    const sent = (this.#send as Send)(publish.envelope, publish.deadlineMs, publish.route, publish);
    sent?.then(
      () => publish.confirmed(),
      (error: unknown) => publish.refused(error),
    );
  }

  readonly #settle = (publish: Publish, error?: unknown): void => {
    if (publish.isSettled) return;
    publish.isSettled = true;
    this.#live -= 1;
    if (publish.isInFlight) {
      this.#inFlight -= 1;
      this.#inFlightBytes -= publish.envelope.body.byteLength;
    }
    if (error === undefined) publish.resolve();
    else publish.reject(error);
    if (this.#waiting.length > 0) this.#admitSoon();
    if (this.#live === 0) this.#idle?.();
  };

  #watch(publish: Publish): void {
    const queue = this.#byDeadline;
    while (queue.peek()?.isSettled === true) queue.shift();
    // One that never settles must not keep all that came after it in memory until its deadline.
    if (queue.length > 1024 && queue.length > 4 * this.#live) queue.keep((one) => !one.isSettled);
    queue.push(publish);
    this.#timer ??= this.clock.after(this.timeoutMs, () => this.#expire());
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = this.clock.monotonicMs();
    for (let first = this.#byDeadline.peek(); first !== undefined; first = this.#byDeadline.peek()) {
      if (!first.isSettled && first.deadlineMs > nowMs) {
        this.#timer = this.clock.after(first.deadlineMs - nowMs, () => this.#expire());
        return;
      }
      this.#byDeadline.shift();
      if (!first.isSettled) this.#settle(first, this.#timeoutError(first));
    }
  }

  #timeoutError({ envelope, isInFlight }: Publish): MessagingError {
    const what = `${envelope.type} ${envelope.id} was not confirmed within ${this.timeoutMs} ms`;
    return new MessagingError(
      'publish-timeout',
      isInFlight
        ? `${what}: the broker is away or overloaded. It may or may not have arrived; publish it again under the same id to be sure.`
        : `${what}: it was still waiting for its turn and was not sent. The broker is away or slower than what is published; publish it again later.`,
    );
  }
}

function closedError(what: string): MessagingError {
  return new MessagingError('closed', `The event ${what}.`);
}
