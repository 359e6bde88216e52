/**
 * Where a delivery goes on which no handler succeeded: back after a delay, into quarantine, or among the dead letters. Each is a publish and then an
 * acknowledgement, in this order: after a crash between the two the message is there twice, never not at all.
 *
 * Where the publish fails, the delivery is held for a pause and given back: whoever takes it next decides anew. Held in memory; what the process forgets
 * when it ends, the broker hands out again.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from './backoff.js';
import type { Death, Envelope } from './envelope.js';
import { isTooLarge, reasonOf } from './errors.js';
import { FailureCounts } from './failure-counts.js';
import type { Identifiers } from './identifiers.js';
import { MOVE_TIMEOUT_MS } from './limits.js';
import type { Log } from './log.js';
import type { MessageCodec } from './message-codec.js';
import { type Answer, replyTo, writtenAnswer } from './reply.js';
import { type CheckIn, keepSlim } from './slimming.js';
import type { Telemetry } from './telemetry/telemetry.js';
import { died } from './trail.js';
import type { Box, Incoming, Route, Transport, UnreadableEnvelope } from './transport.js';

/** What a handler's line knows of it. */
export interface Outcomes {
  readonly group: string;
  readonly nowMs: number;
  answer(question: Envelope, answer: Answer, codec?: MessageCodec): void;
  again(incoming: Incoming, envelope: Envelope, delayMs: number, sentence: string): void;
  suspect(incoming: Incoming, envelope: Envelope): void;
  noteEnd(incoming: Incoming, envelope: Envelope): void;
  bury(incoming: Incoming, envelope: Envelope | UnreadableEnvelope, death: Omit<Death, 'group' | 'atMs'>, sentence: string): void;
  hold(incoming: Incoming, sentence: string): void;
}

/**
 * After the last suspect went into quarantine, so long until a message out of it begins: the acknowledgement is on its way, and must not be lost with the process.
 */
const QUARANTINE_CALM_MS = 100;

export class Settlement implements Outcomes {
  readonly #held = new Map<Incoming, Timer>();
  readonly #failures = new FailureCounts();
  #isStopping = false;
  /** On their way into quarantine, and when the last of them was there. */
  #suspects = 0;
  #suspectedAtMs = Number.NEGATIVE_INFINITY;
  /** Moves under way. */
  underWay = 0;
  /** Told when the last of them has ended. */
  onIdle: (() => void) | undefined;
  /** Takes what was kept here for its next attempt, because the broker cannot: after a crash its count begins anew. */
  onDue: ((incoming: Incoming, envelope: Envelope) => void) | undefined;

  constructor(
    readonly group: string,
    private readonly transport: Pick<Transport, 'publish' | 'capabilities'>,
    private readonly clock: Clock,
    private readonly backoff: Backoff,
    private readonly identifiers: Identifiers,
    private readonly log: Log,
    private readonly telemetry?: Telemetry,
    /** What has too many bytes for the broker, with its trail, stays there. */
    readonly checkIn: CheckIn = () => Promise.resolve(undefined),
  ) {}

  get nowMs(): number {
    return this.clock.now();
  }

  /** What the handler answered, to whoever asked, its value in the format of `codec`. At most once: where it is lost, whoever asked gives up after its time. */
  answer(question: Envelope, answer: Answer, codec?: MessageCodec): void {
    if (question.replyTo === undefined) return;
    this.underWay += 1;
    writtenAnswer(question, answer, codec)
      .then((written) => {
        const reply = replyTo(question, written, this.identifiers.next(), this.group);
        return this.transport.publish(reply, this.clock.monotonicMs() + MOVE_TIMEOUT_MS);
      })
      .catch((error: unknown) => this.log.warn(`The answer to ${question.type} ${question.id} could not be sent: ${reasonOf(error)}.`))
      .finally(() => this.#moved());
  }

  /** To be handled again, with what its trail says by now. `sentence` says what happened, without its end. */
  again(incoming: Incoming, envelope: Envelope, delayMs: number, sentence: string): void {
    this.log.warn(`${sentence}. It comes again in ${delayMs} ms.`);
    if (this.transport.capabilities.can.delay !== true) this.#keep(incoming, delayMs, () => this.onDue?.(incoming, envelope));
    else this.#move(incoming, envelope, { to: this.#box('inbox'), delayMs }, sentence);
  }

  /** Handed out so often without an end that it may be what ends the process: from now on one of these is handled at a time. */
  suspect(incoming: Incoming, envelope: Envelope): void {
    const sentence = `${envelope.type} ${envelope.id} was handed out ${incoming.deliveries} times and never acknowledged`;
    this.log.warn(`${sentence}: it may be what ends the process, so it goes into quarantine, where one message is handled at a time.`);
    this.#suspects += 1;
    this.#move(incoming, envelope, { to: this.#box('quarantine') }, sentence, () => {
      this.#suspects -= 1;
      this.#suspectedAtMs = this.clock.monotonicMs();
    });
  }

  /**
   * Whether one out of quarantine is to begin later, with `begin`: while others are on their way there, the end of the process would leave them where they
   * were as well, and each would be there twice.
   */
  holdsBack(incoming: Incoming, begin: () => void): boolean {
    if (this.#suspects === 0 && this.clock.monotonicMs() - this.#suspectedAtMs >= QUARANTINE_CALM_MS) return false;
    this.#keep(incoming, QUARANTINE_CALM_MS, begin);
    return true;
  }

  /** Writes into a quarantined message that its process ended, where the broker does not count; it comes again behind the others. */
  noteEnd(incoming: Incoming, envelope: Envelope): void {
    this.#move(
      incoming,
      envelope,
      { to: this.#box('quarantine') },
      `The end of a process by ${envelope.type} ${envelope.id} could not be noted`,
    );
  }

  bury(incoming: Incoming, envelope: Envelope | UnreadableEnvelope, death: Omit<Death, 'group' | 'atMs'>, sentence: string): void {
    if (this.transport.capabilities.can['dead-letters'] !== true) {
      this.hold(incoming, sentence);
      return;
    }
    this.log.error(`${sentence}. It is among the dead letters of '${this.group}' now.`);
    const readable = 'problem' in envelope ? this.#readable(envelope) : envelope;
    this.answer(readable, { error: { code: death.cause, message: death.reason } });
    const full: Death = { ...death, group: this.group, atMs: this.nowMs };
    const trail = died(readable.trail, full);
    this.telemetry?.buried(readable, full);
    this.#move(incoming, { ...readable, trail }, { to: this.#box('dead-letters') }, sentence);
  }

  /** Resolves when it is among the dead letters, with its death in its trail. `origin`: where the message stands still. */
  async deadLetter(letter: Envelope, origin?: string): Promise<void> {
    await this.#publish(letter, { to: this.#box('dead-letters') }, origin);
  }

  /** Keeps the delivery unacknowledged for a while, then gives it back: whoever takes it next may do better. */
  hold(incoming: Incoming, sentence: string): void {
    if (this.#isStopping) {
      this.log.error(`${sentence}. It goes back to the queue.`);
      incoming.release();
      return;
    }
    const { id, type } = incoming.envelope;
    const failures = this.#failures.add(id ?? `no id, ${type}`);
    const delayMs = this.backoff.delayMs(failures);
    if (isWorthSaying(failures)) this.log.error(`${sentence}. Failure ${failures} here; it is kept and comes again in ${delayMs} ms.`);
    this.#keep(incoming, delayMs, () => incoming.release());
  }

  /** Gives back what is held; from now on nothing is held any more. */
  stop(): void {
    this.#isStopping = true;
    for (const [incoming, timer] of this.#held) {
      timer.cancel();
      incoming.release();
    }
    this.#held.clear();
  }

  #keep(incoming: Incoming, delayMs: number, due: () => void): void {
    const timer = this.clock.after(delayMs, () => {
      this.#held.delete(incoming);
      due();
    });
    this.#held.set(incoming, timer);
  }

  #move(incoming: Incoming, envelope: Envelope, route: Route, sentence: string, ended?: () => void): void {
    this.underWay += 1;
    const refused = (error: unknown): void => {
      const reason = reasonOf(error);
      if (!isTooLarge(error) || route.to?.box === 'dead-letters')
        return this.hold(incoming, `${sentence}, and the broker did not take it elsewhere: ${reason}`);
      this.bury(incoming, envelope, { cause: 'too-large', reason, handler: undefined }, `${sentence}, and it cannot be kept: ${reason}`);
    };
    this.#publish(envelope, route, incoming.origin)
      .then(() => incoming.acknowledge(), refused)
      .finally(() => {
        ended?.();
        this.#moved();
      });
  }

  async #publish(envelope: Envelope, route: Route, origin: string | undefined): Promise<void> {
    const send = (form: Envelope): Promise<void> => this.transport.publish(form, this.clock.monotonicMs() + MOVE_TIMEOUT_MS, route);
    await keepSlim(envelope, send, this.checkIn, origin);
  }

  #moved(): void {
    this.underWay -= 1;
    if (this.underWay === 0) this.onIdle?.();
  }

  #box(box: Box['box']): Box {
    return { group: this.group, box };
  }

  /** As it came, and with an id where it had none: a dead letter is found by its id. */
  #readable({ id, type, contentType, headers, body }: UnreadableEnvelope): Envelope {
    return {
      kind: 'event',
      id: id ?? this.identifiers.next(),
      type,
      source: 'unknown',
      time: undefined,
      key: undefined,
      version: undefined,
      dataSchema: undefined,
      dataRef: undefined,
      correlationId: undefined,
      causationId: undefined,
      replyTo: undefined,
      expiresAtMs: undefined,
      contentType,
      headers,
      trail: undefined,
      body,
    };
  }
}

/** The first, and then ever fewer: what cannot pass by itself is not worth a line every half a minute. */
function isWorthSaying(failures: number): boolean {
  return (failures & (failures - 1)) === 0;
}
