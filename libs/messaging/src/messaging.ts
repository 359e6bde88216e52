/**
 * A service on its broker, from start to end. Knows no NestJS: the module calls `start` when the application has started, `drain` and `close` when
 * it shuts down. Keeps nothing across restarts; what was not confirmed or not acknowledged is the broker's to repeat.
 */
import { Backoff } from './backoff.js';
import { Consumption } from './consumption.js';
import { MessagingError } from './errors.js';
import { Identifiers } from './identifiers.js';
import { KeepAlive } from './keep-alive.js';
import type { Log } from './log.js';
import type { Settings } from './options.js';
import { PublishWindow } from './publish-window.js';
import { Publisher } from './publisher.js';
import { Settlement } from './settlement.js';
import type { Subscription } from './subscription.js';
import { checkNeeds, needsOf } from './delivery-contract.js';
import type { Source, Transport, TransportConsumer, TransportSubscription } from './transport.js';

/** How long a delivery is held here that could be published nowhere else. */
const HOLD_FIRST_MS = 100;
const HOLD_MAX_MS = 30_000;

export class Messaging {
  readonly publisher: Publisher;
  readonly #window: PublishWindow;
  readonly #identifiers: Identifiers;
  readonly #keepAlive = new KeepAlive();
  #consumption: Consumption | undefined;
  #subscription: TransportSubscription | undefined;
  #drained: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    private readonly settings: Settings,
    private readonly transport: Transport,
    private readonly log: Log,
  ) {
    const { clock, random, service, publishTimeoutMs } = settings;
    this.#window = new PublishWindow(clock, publishTimeoutMs);
    this.#identifiers = new Identifiers(clock, random);
    this.publisher = new Publisher(service, this.#window, this.#identifiers, clock);
  }

  /** Resolves when the service can publish and every subscription is in place. Rejects with a `MessagingError`, and nothing stays open. */
  async start(subscriptions: readonly Subscription[]): Promise<void> {
    this.#refuseWhatCannotWork(subscriptions);
    this.#keepAlive.hold();
    this.#window.prepare();
    try {
      await this.transport.open();
      if (this.#isClosed) return;
      this.#window.open((envelope, deadlineMs, route) => this.transport.publish(envelope, deadlineMs, route));
      if (subscriptions.length > 0) await this.#subscribe(subscriptions);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Takes no more messages and waits for the running handlers (see `Consumption.drain`). They can still publish. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Waits for what is being published, then leaves the broker. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.drain();
      await this.#window.close(this.settings.drainTimeoutMs);
      await this.transport.close();
    } finally {
      this.#keepAlive.release();
    }
  }

  async #drain(): Promise<void> {
    await this.#subscription?.stop();
    await this.#consumption?.drain(this.settings.drainTimeoutMs, this.settings.abortGraceMs);
  }

  async #subscribe(subscriptions: readonly Subscription[]): Promise<void> {
    const { service, prefetch, clock, random, deduplication } = this.settings;
    const backoff = new Backoff(random, HOLD_FIRST_MS, HOLD_MAX_MS);
    const settlement = new Settlement(service, this.transport, clock, backoff, this.#identifiers, this.log);
    const countsDeliveries = this.transport.capabilities.can['delivery-counts'] === true;
    const consumption = new Consumption(subscriptions, { settlement, deduplication, countsDeliveries, clock, random, log: this.log });
    this.#consumption = consumption;
    const consumer: TransportConsumer = {
      onMessage: (incoming) => consumption.receive(incoming),
      assigned: nothing,
      revoked: nothing,
    };
    this.#subscription = await this.transport.subscribe({ group: service, sources: subscriptions.map(sourceOf), prefetch }, consumer);
    // Shut down while it was still starting.
    if (this.#isClosed) await this.#subscription.stop();
  }

  #refuseWhatCannotWork(subscriptions: readonly Subscription[]): void {
    const { capabilities } = this.transport;
    for (const { place, contract } of subscriptions) checkNeeds(place, needsOf(contract), capabilities);
    if (capabilities.can.durable !== true)
      this.log.warn('The broker keeps messages in memory only: they are gone with its process. Use embedded:./data to keep them.');
    if (capabilities.can.delay !== true && subscriptions.length > 0) {
      this.log.warn(
        `${capabilities.broker} cannot keep a message until its next attempt: what fails waits in this process, and after a crash its attempts are counted anew.`,
      );
    }
    const seen = new Map<string, Subscription>();
    for (const subscription of subscriptions) {
      const { type } = subscription.definition;
      const first = seen.get(type);
      if (first !== undefined) throw subscribedTwice(this.settings.service, type, first, subscription);
      seen.set(type, subscription);
    }
  }
}

function sourceOf({ definition, contract }: Subscription): Source {
  return { kind: 'event', pattern: definition.type, topic: definition.topic, order: contract.order === 'none' ? 'none' : 'key' };
}

function nothing(): Promise<void> {
  return Promise.resolve();
}

function subscribedTwice(service: string, type: string, first: Subscription, second: Subscription): MessagingError {
  const where =
    first.place === second.place
      ? `${first.place} subscribes to ${type} more than once: its class is provided in several modules, or the method has several @Subscribe for it. Provide it once`
      : `${first.place} and ${second.place} both subscribe to ${type}. Within a service each event has one handler: call both from one method, or move one into a service of its own`;
  return new MessagingError('subscribed-twice', `In the service '${service}', ${where}.`);
}
