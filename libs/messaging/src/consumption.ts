/**
 * Brings each delivery to the line of its handler, and ends all of them together.
 *
 *   arrives ─▶ readable? ─▶ not suspected? ─▶ not expired? ─▶ has a handler? ─▶ its line (handler-line.ts)
 *                 │no           │no               │no             │no
 *              dead letter   quarantine       dead letter      again later, then a dead letter
 *
 * Nothing is dropped: what cannot be handled is among the dead letters, with the reason. In memory only.
 */
import type { Clock, Random } from '@dovecote/ground';
import { type DeliveryContract, contractOf } from './delivery-contract.js';
import type { Envelope } from './envelope.js';
import { HandlerLine } from './handler-line.js';
import { handling } from './handling.js';
import { DELIVERIES_UNSUSPECTED_MAX, TYPES_REMEMBERED_MAX } from './limits.js';
import type { Log } from './log.js';
import { OrderedSettlement } from './ordering/ordered-settlement.js';
import type { OrderedIncoming } from './ordering/ordered-message.js';
import type { OrderingParts } from './ordering/lane-order.js';
import { Ordering } from './ordering/ordering.js';
import { type Message, abortMessage } from './message.js';
import { type Payloads, opening } from './payloads.js';
import { CircuitBreaker } from './policies/circuit-breaker.js';
import { Concurrency } from './policies/concurrency.js';
import { type Deduplication, deduplicate } from './policies/deduplication.js';
import type { Gate } from './policies/gate.js';
import { RateLimit } from './policies/rate-limit.js';
import { Retry } from './policies/retry.js';
import { type Step, around } from './policies/step.js';
import { timeout } from './policies/timeout.js';
import { validate } from './policies/validation.js';
import type { Outcomes, Settlement } from './settlement.js';
import type { Subscription } from './subscription.js';
import { failed } from './trail.js';
import type { Telemetry } from './telemetry/telemetry.js';
import { isPattern, typeMatcher } from './type-pattern.js';
import type { Incoming, Lane } from './transport.js';

export interface ConsumptionParts {
  readonly settlement: Settlement;
  /** Where a handler asks for an order. */
  readonly ordering?: Pick<OrderingParts, 'store' | 'backoff' | 'patienceMs' | 'graceMs'> | undefined;
  readonly deduplication: Deduplication;
  readonly payloads: Payloads;
  /** Whether the broker counts deliveries exactly; where it does not, all that comes again is suspected. */
  readonly countsDeliveries: boolean;
  /** Whether what a handler publishes finds the message in hand by itself. */
  readonly tracksCauses: boolean;
  readonly telemetry?: Telemetry | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Finds the handler of a type: by its name, or by the pattern that it matches. */
class HandlerDirectory {
  readonly #byType = new Map<string, HandlerLine>();
  readonly #patterns: readonly { readonly line: HandlerLine; readonly matches: (type: string) => boolean }[];
  /** Types that were found by a pattern, or not at all. Foreign types could be any number. */
  readonly #found = new Map<string, HandlerLine | undefined>();

  constructor(lines: readonly HandlerLine[]) {
    for (const line of lines) this.#byType.set(line.subscription.pattern, line);
    const patterns = lines.filter(({ subscription }) => isPattern(subscription.pattern));
    this.#patterns = patterns.map((line) => ({ line, matches: typeMatcher(line.subscription.pattern) }));
  }

  find(type: string): HandlerLine | undefined {
    return this.#byType.get(type) ?? (this.#patterns.length === 0 ? undefined : this.#match(type));
  }

  #match(type: string): HandlerLine | undefined {
    if (this.#found.has(type)) return this.#found.get(type);
    const line = this.#patterns.find(({ matches }) => matches(type))?.line;
    if (this.#found.size >= TYPES_REMEMBERED_MAX) this.#found.clear();
    this.#found.set(type, line);
    return line;
  }
}

/** A batch comes as a list in the place of the message. */
function abortAll(messages: Message): void {
  for (const message of messages as unknown as readonly Message[]) abortMessage(message);
}

const inHand: Step = (next) => (event, message) => handling(message, () => next(event, message));

export class Consumption {
  readonly #lines: HandlerLine[];
  readonly #events: HandlerDirectory;
  readonly #requests: HandlerDirectory;
  readonly #suspectedAfter: number;
  readonly #strangers: Retry;
  readonly #settlement: Outcomes;
  readonly #ordering: Ordering | undefined;
  #isStopping = false;
  #idle: (() => void) | undefined;

  constructor(
    subscriptions: readonly Subscription[],
    private readonly parts: ConsumptionParts,
  ) {
    this.#suspectedAfter = parts.countsDeliveries ? DELIVERIES_UNSUSPECTED_MAX : 1;
    this.#strangers = new Retry(contractOf({}, 'nobody').retry, true, parts.random);
    this.#ordering = this.#order();
    this.#settlement = this.#ordering === undefined ? parts.settlement : new OrderedSettlement(parts.settlement, parts.log);
    this.#lines = subscriptions.map((subscription) => this.#line(subscription));
    const isOfEvents = ({ subscription }: HandlerLine): boolean => subscription.kind === 'event';
    this.#events = new HandlerDirectory(this.#lines.filter(isOfEvents));
    this.#requests = new HandlerDirectory(this.#lines.filter((line) => !isOfEvents(line)));
    parts.settlement.onIdle = () => this.#noticeIdle();
    parts.settlement.onDue = (incoming, envelope) => this.#bring(incoming, envelope);
  }

  /** Takes a delivery from the transport. Never throws. */
  receive(incoming: Incoming): void {
    if (this.#isStopping) {
      incoming.release();
      return;
    }
    const { envelope } = incoming;
    if ('problem' in envelope) {
      const sentence = `A message of type ${envelope.type} (id ${envelope.id ?? 'none'}) cannot be read: ${envelope.problem}`;
      this.#settlement.bury(incoming, envelope, { cause: 'unreadable', reason: envelope.problem, handler: undefined }, sentence);
      return;
    }
    if (incoming.lane !== undefined && envelope.key !== undefined && this.#ordering !== undefined) {
      this.#ordering.receive(incoming.lane, incoming, envelope, envelope.key);
      return;
    }
    if (incoming.isRedelivered && !incoming.isQuarantined && incoming.deliveries > this.#suspectedAfter) {
      this.#settlement.suspect(incoming, envelope);
      return;
    }
    if (incoming.isQuarantined && this.parts.settlement.holdsBack(incoming, () => this.receive(incoming))) return;
    this.#bringInTime(incoming, envelope);
  }

  /** The lane is this process's: what is parked in it is known when the promise is fulfilled. */
  async assigned(lane: Lane): Promise<void> {
    if (!this.#isStopping) await this.#ordering?.assigned(lane);
  }

  async revoked(lane: Lane, isLost: boolean): Promise<void> {
    await this.#ordering?.revoked(lane, isLost);
  }

  #bringInTime(incoming: Incoming, envelope: Envelope): void {
    if (envelope.expiresAtMs !== undefined && envelope.expiresAtMs <= this.parts.clock.now()) {
      this.#expire(incoming, envelope, envelope.expiresAtMs);
      return;
    }
    this.#bring(incoming, envelope);
  }

  #bring(incoming: Incoming, envelope: Envelope): void {
    const line = this.#lineOf(envelope);
    if (line === undefined) this.#refuse(incoming, envelope);
    else line.receive(incoming, envelope);
  }

  #lineOf({ kind, type }: Envelope): HandlerLine | undefined {
    return (kind === 'event' ? this.#events : this.#requests).find(type);
  }

  /**
   * Starts no more handlers and gives back what waits; resolves when the running ones are done. After `patienceMs` their signals are aborted, after
   * `graceMs` more it resolves although some still run: what they hold goes back with the connection.
   */
  async drain(patienceMs: number, graceMs: number): Promise<void> {
    await this.#drain(patienceMs, graceMs);
    this.#ordering?.close();
  }

  async #drain(patienceMs: number, graceMs: number): Promise<void> {
    const { log, settlement } = this.parts;
    this.#isStopping = true;
    for (const line of this.#lines) line.stop();
    settlement.stop();
    this.#ordering?.stop();
    if (await this.#isIdleWithin(patienceMs)) return;
    log.warn(`${this.#count} handlers are still running after ${patienceMs} ms: their signals are aborted. ${this.#describeRunning()}`);
    for (const line of this.#lines) line.abort();
    if (await this.#isIdleWithin(graceMs)) return;
    log.error(
      `${this.#count} handlers did not stop; their messages go back to the queue and will be handled again. ${this.#describeRunning()}`,
    );
  }

  #order(): Ordering | undefined {
    const { ordering, settlement, clock, log } = this.parts;
    if (ordering === undefined) return undefined;
    const begun = (incoming: OrderedIncoming, envelope: Envelope): void => {
      incoming.isStrict = this.#lineOf(envelope)?.subscription.contract.order === 'strict';
    };
    return new Ordering({
      ...ordering,
      clock,
      log,
      suspectedAfter: this.#suspectedAfter,
      begin: (incoming, envelope) => {
        begun(incoming, envelope);
        this.#bringInTime(incoming, envelope);
      },
      poisoned: (incoming, envelope, ends) => {
        begun(incoming, envelope);
        this.#buryPoison(incoming, envelope, ends);
      },
      abort: (lane) => {
        for (const line of this.#lines) line.abort(lane);
      },
      tooLarge: (incoming, envelope, reason) => {
        begun(incoming, envelope);
        this.#buryTooLarge(incoming, envelope, reason);
      },
      deadLetter: (letter, origin) => settlement.deadLetter(letter, origin),
      checkIn: settlement.checkIn,
      idle: () => this.#noticeIdle(),
    });
  }

  #buryPoison(incoming: Incoming, envelope: Envelope, ends: number): void {
    const handler = this.#lineOf(envelope)?.place;
    const reason = `its process ended ${ends} times while it was being handled`;
    const sentence = `${envelope.type} ${envelope.id} is poison for ${handler}: ${reason}`;
    this.#settlement.bury(incoming, envelope, { cause: 'poisoned', reason, handler }, sentence);
  }

  #buryTooLarge(incoming: Incoming, envelope: Envelope, reason: string): void {
    const handler = this.#lineOf(envelope)?.place;
    const sentence = `${envelope.type} ${envelope.id} has to wait in the order of its key, and is too large to be kept: ${reason}`;
    this.#settlement.bury(incoming, envelope, { cause: 'too-large', reason, handler }, sentence);
  }

  #line(subscription: Subscription): HandlerLine {
    const { payloads, countsDeliveries, clock, random, log } = this.parts;
    const { contract } = subscription;
    const telemetry = this.parts.telemetry?.handler(subscription);
    const steps = telemetry === undefined ? this.#steps(subscription) : [telemetry.step, ...this.#steps(subscription)];
    return new HandlerLine({
      subscription,
      handle: around(subscription.handle.bind(subscription), steps),
      telemetry,
      gates: this.#gates(subscription.place, contract),
      retry: new Retry(contract.retry, contract.hasDeadLetters, random),
      settlement: this.#settlement,
      payloads,
      countsDeliveries,
      clock,
      log,
      idle: () => this.#noticeIdle(),
    });
  }

  #steps({ schema, contract, place }: Subscription): readonly Step[] {
    const { payloads } = this.parts;
    const steps: Step[] = this.parts.tracksCauses && contract.batch === undefined ? [inHand] : [];
    if (contract.isDeduplicated) steps.push(deduplicate(this.parts.deduplication, place));
    if (contract.timeoutMs !== undefined)
      steps.push(timeout(this.parts.clock, contract.timeoutMs, contract.batch === undefined ? abortMessage : abortAll));
    if (payloads.mayBeLate && contract.batch === undefined) steps.push(opening);
    if (schema !== undefined && contract.batch === undefined) steps.push(validate(schema));
    return steps;
  }

  #gates(place: string, { concurrency, rate, circuitBreaker }: DeliveryContract): readonly Gate[] {
    const gates: Gate[] = [];
    if (Number.isFinite(concurrency)) gates.push(new Concurrency(concurrency));
    if (rate !== undefined) gates.push(new RateLimit(rate.count, rate.perMs));
    if (circuitBreaker !== undefined) {
      const opened = (failures: number, restMs: number): void =>
        this.parts.log.error(`${place} failed ${failures} times in a row: it rests for ${restMs} ms, and its messages wait.`);
      gates.push(new CircuitBreaker(circuitBreaker.failures, circuitBreaker.restMs, opened));
    }
    return gates;
  }

  /** Another instance may be newer, and have the handler: so not at once. */
  #refuse(incoming: Incoming, envelope: Envelope): void {
    const settlement = this.#settlement;
    const reason = `nobody in this service handles ${envelope.type}`;
    const trail = failed(envelope.trail, settlement.nowMs, reason);
    const verdict = this.#strangers.verdict(undefined, trail.failures);
    const sentence = `Nobody in this service handles ${envelope.type} (${envelope.id}), though the queue of '${settlement.group}' receives it: subscribe to it, or remove its binding from the queue`;
    if (verdict.kind === 'again') settlement.again(incoming, { ...envelope, trail }, verdict.delayMs, sentence);
    else settlement.bury(incoming, { ...envelope, trail }, { cause: 'unhandled', reason, handler: undefined }, sentence);
  }

  #expire(incoming: Incoming, envelope: Envelope, expiresAtMs: number): void {
    const reason = `it expired at ${new Date(expiresAtMs).toISOString()}`;
    const sentence = `${envelope.type} ${envelope.id} came too late: ${reason}`;
    // Whoever asked has gone, and nothing was to be changed.
    if (envelope.kind === 'query') {
      this.parts.log.warn(`${sentence}. Nobody waits for the answer any more.`);
      incoming.acknowledge();
    } else this.#settlement.bury(incoming, envelope, { cause: 'expired', reason, handler: undefined }, sentence);
  }

  get #count(): number {
    let count = 0;
    for (const line of this.#lines) count += line.running.size;
    return count;
  }

  get #isBusy(): boolean {
    return this.#count > 0 || this.parts.settlement.underWay > 0 || (this.#ordering?.busy ?? 0) > 0;
  }

  #noticeIdle(): void {
    if (!this.#isBusy) this.#idle?.();
  }

  async #isIdleWithin(limitMs: number): Promise<boolean> {
    if (!this.#isBusy) return true;
    await new Promise<void>((resolve) => {
      const timer = this.parts.clock.after(limitMs, resolve);
      this.#idle = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#idle = undefined;
    return !this.#isBusy;
  }

  #describeRunning(): string {
    const all = this.#lines.flatMap(({ place, running }) => [...running].map(({ message }) => `${place} on ${message.id}`));
    const few = all.slice(0, 5);
    return `Running: ${few.join(', ')}${all.length > few.length ? ' and others' : ''}.`;
  }
}
