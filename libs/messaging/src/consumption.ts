/**
 * What becomes of a delivery, from its arrival to its end:
 *
 *   arrives ─▶ waits for a free place ─▶ handler runs ─▶ fulfilled: acknowledged
 *                                                     └▶ rejected: held for a backoff ─▶ back to its queue
 *   nobody here can read or handle it: held for a backoff ─▶ back to its queue
 *
 * A delivery is acknowledged in one place only, after its handler's promise fulfilled. Nothing is ever dropped: as long as there are no dead
 * letters, a message that cannot be handled comes again and again, ever more rarely and never silently, and holds one place of the prefetch while
 * it waits. Everything here is in memory; whatever the process forgets when it ends, the broker hands out again.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from './backoff.js';
import type { Envelope } from './envelope.js';
import { reasonOf } from './errors.js';
import { decodeEvent } from './event-codec.js';
import { FailureCounts } from './failure-counts.js';
import { Fifo } from './fifo.js';
import type { Log } from './log.js';
import { Message, abortMessage } from './message.js';
import type { Subscription } from './subscription.js';
import type { Incoming } from './transport.js';

/** How many handlers of one event run at once. */
interface Handler extends Subscription {
  running: number;
  readonly waiting: Fifo<Incoming>;
}

export class Consumption {
  readonly #handlers = new Map<string, Handler>();
  readonly #running = new Map<Message, string>();
  readonly #held = new Map<Incoming, Timer>();
  readonly #failures = new FailureCounts();
  #isStopping = false;
  #idle: (() => void) | undefined;

  constructor(
    private readonly group: string,
    subscriptions: readonly Subscription[],
    private readonly clock: Clock,
    private readonly backoff: Backoff,
    private readonly log: Log,
  ) {
    for (const subscription of subscriptions) {
      const { eventClass, definition, contract, place } = subscription;
      const handle = subscription.handle.bind(subscription);
      this.#handlers.set(definition.type, { eventClass, definition, contract, place, handle, running: 0, waiting: new Fifo() });
    }
  }

  /** Takes a delivery from the transport. Never throws. */
  receive(incoming: Incoming): void {
    if (this.#isStopping) {
      incoming.release();
      return;
    }
    const { envelope } = incoming;
    if ('problem' in envelope) {
      this.#hold(incoming, `A message of type ${envelope.type} (id ${envelope.id ?? 'none'}) cannot be read: ${envelope.problem}`);
      return;
    }
    const handler = this.#handlers.get(envelope.type);
    if (handler === undefined) {
      this.#hold(
        incoming,
        `Nobody in this service handles ${envelope.type} (${envelope.id}), though the queue of '${this.group}' receives it: subscribe to it, or remove its binding from the queue`,
      );
    } else if (handler.running < handler.contract.concurrency) {
      this.#start(handler, incoming, envelope);
    } else {
      handler.waiting.push(incoming);
    }
  }

  /**
   * Starts no more handlers and gives back what waits; resolves when the running ones are done. After `patienceMs` their signals are aborted, after
   * `graceMs` more it resolves anyway: what is still unacknowledged then goes back to its queue when the transport closes.
   */
  async drain(patienceMs: number, graceMs: number): Promise<void> {
    this.#isStopping = true;
    for (const handler of this.#handlers.values()) for (const incoming of handler.waiting.drain()) incoming.release();
    for (const [incoming, timer] of this.#held) {
      timer.cancel();
      incoming.release();
    }
    this.#held.clear();
    if (await this.#isIdleWithin(patienceMs)) return;
    this.log.warn(
      `${this.#running.size} handlers are still running after ${patienceMs} ms: their signals are aborted. ${this.#describeRunning()}`,
    );
    for (const message of this.#running.keys()) abortMessage(message);
    if (await this.#isIdleWithin(graceMs)) return;
    this.log.error(
      `${this.#running.size} handlers did not stop; their events go back to the queue and will be handled again. ${this.#describeRunning()}`,
    );
  }

  #start(handler: Handler, incoming: Incoming, envelope: Envelope): void {
    let event: object;
    try {
      event = decodeEvent(handler.eventClass, envelope);
    } catch (error) {
      this.#hold(incoming, `${envelope.type} ${envelope.id} cannot be read by ${handler.place}: ${reasonOf(error)}`);
      return;
    }
    const message = new Message(envelope, incoming.isRedelivered);
    handler.running += 1;
    this.#running.set(message, handler.place);
    handler.handle(event, message).then(
      () => this.#succeeded(handler, incoming, message),
      (error: unknown) => this.#failed(handler, incoming, message, error),
    );
  }

  #succeeded(handler: Handler, incoming: Incoming, message: Message): void {
    incoming.acknowledge();
    this.#failures.forget(message.id);
    this.#finish(handler, message);
  }

  #failed(handler: Handler, incoming: Incoming, message: Message, error: unknown): void {
    this.#hold(incoming, `${handler.place} failed on ${message.type} ${message.id}: ${reasonOf(error)}`);
    this.#finish(handler, message);
  }

  #finish(handler: Handler, message: Message): void {
    handler.running -= 1;
    this.#running.delete(message);
    while (handler.waiting.length > 0 && handler.running < handler.contract.concurrency) {
      const next = handler.waiting.shift() as Incoming;
      // Only readable messages wait.
      if (!next.isTakenBack) this.#start(handler, next, next.envelope as Envelope);
    }
    if (this.#running.size === 0) this.#idle?.();
  }

  /** Keeps the delivery unacknowledged for a while, then gives it back: whoever takes it next may do better. */
  #hold(incoming: Incoming, sentence: string): void {
    if (this.#isStopping) {
      this.log.error(`${sentence}. It goes back to the queue.`);
      incoming.release();
      return;
    }
    const { id, type } = incoming.envelope;
    const failures = this.#failures.add(id ?? `no id, ${type}`);
    const delayMs = this.backoff.delayMs(failures);
    this.log.error(`${sentence}. Failure ${failures} here; it is kept and comes again in ${delayMs} ms.`);
    const timer = this.clock.after(delayMs, () => {
      this.#held.delete(incoming);
      incoming.release();
    });
    this.#held.set(incoming, timer);
  }

  async #isIdleWithin(limitMs: number): Promise<boolean> {
    if (this.#running.size === 0) return true;
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(limitMs, resolve);
      this.#idle = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#idle = undefined;
    return this.#running.size === 0;
  }

  #describeRunning(): string {
    const few = [...this.#running].slice(0, 5).map(([message, place]) => `${place} on ${message.id}`);
    return `Running: ${few.join(', ')}${this.#running.size > few.length ? ' and others' : ''}.`;
  }
}
