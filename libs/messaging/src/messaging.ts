/**
 * A service on its broker, from start to end. Knows no NestJS: the module calls `start` when the application has started, `drain` and `close` when
 * it shuts down. Keeps nothing across restarts; what was not confirmed or not acknowledged is the broker's to repeat.
 */
import { Backoff } from './backoff.js';
import { type ClassValidation, classValidation } from './class-validation.js';
import { ClaimCheck } from './claims/claim-check.js';
import { Consumption, type ConsumptionParts } from './consumption.js';
import type { Envelope } from './envelope.js';
import { MessagingError } from './errors.js';
import { Identifiers } from './identifiers.js';
import { Codecs } from './message-codec.js';
import { KeepAlive } from './keep-alive.js';
import type { Log } from './log.js';
import type { Settings } from './options.js';
import type { StandardSchema } from './policies/validation.js';
import { Payloads } from './payloads.js';
import { PublishWindow } from './publish-window.js';
import { PublishWindows } from './publish-windows.js';
import { Publisher } from './publisher.js';
import { Requester } from './requester.js';
import { Settlement } from './settlement.js';
import { type Subscription, requestOf } from './subscription.js';
import { reportTopology } from './topology-report.js';
import { DeadLetters } from './dead-letters.js';
import { type DeliveryContract, checkNeeds, needsOf } from './delivery-contract.js';
import { openTelemetry } from './telemetry/open-telemetry.js';
import { telemetryByKind } from './telemetry/telemetry-by-kind.js';
import type { Telemetry, TelemetrySwitch } from './telemetry/telemetry.js';
import { isPattern, overlap } from './type-pattern.js';
import {
  type BrokerOfKind,
  type Capability,
  type Transport,
  type TransportConsumer,
  type TransportSubscription,
  brokerOf,
} from './transport.js';

/** How long a delivery is held here that could be published nowhere else. */
const HOLD_FIRST_MS = 100;
const HOLD_MAX_MS = 30_000;

export class Messaging {
  readonly publisher: Publisher;
  readonly deadLetters: DeadLetters;
  readonly #window: PublishWindow | PublishWindows;
  readonly #identifiers: Identifiers;
  readonly #requester: Requester;
  readonly #schemas = new Map<string, StandardSchema>();
  readonly #keepAlive = new KeepAlive();
  readonly #validation: { current: ClassValidation | undefined } = { current: undefined };
  readonly #telemetry: TelemetrySwitch = { current: undefined };
  readonly #claims: ClaimCheck | undefined;
  #payloads: Payloads;
  #consumption: Consumption | undefined;
  #subscription: TransportSubscription | undefined;
  #drained: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    private readonly settings: Settings,
    private readonly transport: Transport,
    private readonly log: Log,
    /** Told in the place of OpenTelemetry. */
    private readonly telemetry?: Telemetry,
  ) {
    const { clock, random, service, publishTimeoutMs, codec, claimCheck } = settings;
    this.#claims = claimCheck && new ClaimCheck(claimCheck, clock);
    const window = (): PublishWindow => new PublishWindow(clock, publishTimeoutMs);
    this.#window = transport.byKind === undefined ? window() : new PublishWindows(window(), window());
    this.#identifiers = new Identifiers(clock, random);
    this.#requester = new Requester((onReply) => transport.openReplies(onReply), this.#window, clock);
    this.#payloads = this.#reading([]);
    this.deadLetters = new DeadLetters(
      service,
      transport,
      (type) => this.#schemas.get(type),
      clock,
      () => this.#payloads,
    );
    this.publisher = new Publisher(
      service,
      this.#window,
      this.#requester,
      this.#identifiers,
      clock,
      { codec, claims: this.#claims },
      this.#validation,
      this.#telemetry,
    );
  }

  /** `mayPublish`: handlers may, and what they publish came of the message in hand. Resolves when the service can publish and every subscription is in place. Rejects with a `MessagingError`, and nothing stays open. */
  async start(subscriptions: readonly Subscription[], mayPublish = true): Promise<void> {
    this.#refuseWhatCannotWork(subscriptions);
    this.#payloads = this.#reading(subscriptions);
    this.#keepAlive.hold();
    this.#window.prepare();
    try {
      this.#validation.current = await classValidation();
      const checked = subscriptions.map((subscription) => this.#checked(subscription));
      for (const { pattern, schema } of checked) if (schema !== undefined) this.#schemas.set(pattern, schema);
      if (this.telemetry !== undefined) this.#telemetry.current = this.telemetry;
      else if (this.settings.isTelling) this.#telemetry.current = await this.#openTelemetry();
      await this.transport.open();
      if (this.#isClosed) return;
      if (checked.length > 0) await this.#compare(checked);
      this.#window.open((envelope, deadlineMs, route, outcome) => {
        if (this.transport.hand === undefined) return this.transport.publish(envelope, deadlineMs, route);
        this.transport.hand(envelope, deadlineMs, route, outcome);
        return undefined;
      });
      if (checked.length > 0) await this.#subscribe(checked, mayPublish);
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
      this.#requester.close();
      await this.transport.close();
    } finally {
      this.#keepAlive.release();
    }
  }

  async #openTelemetry(): Promise<Telemetry | undefined> {
    const { service, clock } = this.settings;
    const open = ({ places }: BrokerOfKind): Promise<Telemetry | undefined> => openTelemetry({ service, places, clock, log: this.log });
    const { byKind } = this.transport;
    if (byKind === undefined) return open(this.transport);
    const [events, commands] = [await open(byKind.event), await open(byKind.command)];
    return events && commands && telemetryByKind(events, commands);
  }

  async #drain(): Promise<void> {
    await this.#subscription?.stop();
    await this.#consumption?.drain(this.settings.drainTimeoutMs, this.settings.abortGraceMs);
  }

  async #compare(subscriptions: readonly Subscription[]): Promise<void> {
    const { service, prefetch, topology } = this.settings;
    reportTopology(await this.transport.plan(requestOf(service, subscriptions, prefetch)), topology, service, this.log);
  }

  async #subscribe(subscriptions: readonly Subscription[], mayPublish: boolean): Promise<void> {
    const { service, prefetch, clock, random, deduplication, tracksCauses = mayPublish } = this.settings;
    const backoff = new Backoff(random, HOLD_FIRST_MS, HOLD_MAX_MS);
    const telemetry = this.#telemetry.current;
    const settlement = new Settlement(service, this.transport, clock, backoff, this.#identifiers, this.log, telemetry, (envelope) =>
      this.#checkIn(envelope),
    );
    const countsDeliveries = this.transport.capabilities.can['delivery-counts'] === true;
    const consumption = new Consumption(subscriptions, {
      settlement,
      ordering: this.#ordering(subscriptions, backoff),
      deduplication,
      payloads: this.#payloads,
      countsDeliveries,
      tracksCauses,
      telemetry,
      clock,
      random,
      log: this.log,
    });
    this.#consumption = consumption;
    const consumer: TransportConsumer = {
      onMessage: (incoming) => consumption.receive(incoming),
      assigned: (lane) => consumption.assigned(lane),
      revoked: (lane, isLost) => consumption.revoked(lane, isLost),
    };
    this.#subscription = await this.transport.subscribe(requestOf(service, subscriptions, prefetch), consumer);
    // Shut down while it was still starting.
    if (this.#isClosed) await this.#subscription.stop();
  }

  async #checkIn(envelope: Envelope): Promise<Envelope | undefined> {
    if (envelope.dataRef !== undefined || envelope.body.byteLength === 0) return undefined;
    return this.#claims?.checkIn(envelope, this.settings.clock.now());
  }

  #reading(subscriptions: readonly Subscription[]): Payloads {
    const { codec, codecs } = this.settings;
    const all = [codec, ...codecs, ...subscriptions.map((subscription) => subscription.codec)];
    return new Payloads(new Codecs(all.filter((one) => one !== undefined)), this.#claims);
  }

  /** With the decorators of its class, where that has no schema. */
  #checked(subscription: Subscription): Subscription {
    const { messageClass, schema } = subscription;
    if (schema !== undefined || messageClass === undefined) return subscription;
    const own = this.#validation.current?.schemaOf(messageClass);
    return own === undefined ? subscription : { ...subscription, schema: own };
  }

  #ordering(subscriptions: readonly Subscription[], backoff: Backoff): ConsumptionParts['ordering'] {
    const ordered = subscriptions.find(({ contract }) => contract.order !== 'none');
    const store = this.transport.parkingStore(this.settings.service);
    if (store === undefined) {
      if (ordered === undefined) return undefined;
      throw new MessagingError(
        'unsupported',
        `${ordered.place} needs order '${ordered.contract.order}', and ${this.transport.capabilities.broker} has nowhere to keep what waits for it: leave the order out, or use another broker.`,
      );
    }
    // Also where nobody asks for an order now: what an earlier version of the service parked is handled still.
    return { store, backoff, patienceMs: this.settings.drainTimeoutMs, graceMs: this.settings.abortGraceMs };
  }

  #refuseWhatCannotWork(subscriptions: readonly Subscription[]): void {
    const { capabilities } = this.transport;
    for (const subscription of subscriptions)
      checkNeeds(subscription.place, needsOfHandler(subscription), brokerOf(this.transport, subscription.kind).capabilities);
    if (capabilities.can.durable !== true)
      this.log.warn('The broker keeps messages in memory only: they are gone with its process. Use embedded:./data to keep them.');
    if (capabilities.can.delay !== true && subscriptions.length > 0) {
      this.log.warn(
        `${capabilities.broker} cannot keep a message until its next attempt: what fails waits in this process, and after a crash its attempts are counted anew.`,
      );
    }
    for (const [index, subscription] of subscriptions.entries()) {
      const { place, contract, pattern } = subscription;
      const problem = this.#problemOfLoad(contract);
      if (problem !== undefined) throw new MessagingError('invalid-options', `${place} ${problem}.`);
      const first = subscriptions.slice(0, index).find((one) => isRival(one, subscription));
      if (first !== undefined) throw subscribedTwice(this.settings.service, pattern, first, subscription);
    }
  }

  /** A clause about a handler that can never have what it takes at once. */
  #problemOfLoad({ batch, prefetch }: DeliveryContract): string | undefined {
    const held = this.settings.prefetch;
    if (prefetch !== undefined && prefetch > held)
      return `asks for a prefetch of ${prefetch}, and the service holds ${held} messages at most: raise the prefetch of the module, or ask for less`;
    const most = prefetch ?? held;
    if (batch === undefined || batch.size <= most) return undefined;
    const holder = prefetch === undefined ? 'the service holds' : 'its own prefetch is';
    return `takes batches of ${batch.size}, and ${holder} ${most}${prefetch === undefined ? ' messages at most' : ''}: raise prefetch, or make the batches smaller`;
  }
}

/** Events have names of their own, commands and queries share theirs. */
function isRival(one: Subscription, other: Subscription): boolean {
  return (one.kind === 'event') === (other.kind === 'event') && overlap(one.pattern, other.pattern);
}

function needsOfHandler({ kind, pattern, contract }: Subscription): ReadonlyMap<Capability, string> {
  const needs = new Map(needsOf(contract));
  if (kind !== 'event') needs.set('commands', `to handle the ${kind} ${pattern}`);
  if (isPattern(pattern)) needs.set('wildcards', `the pattern '${pattern}'`);
  return needs;
}

function subscribedTwice(service: string, type: string, first: Subscription, second: Subscription): MessagingError {
  const verb = first.kind === 'event' ? 'subscribe to' : 'handle';
  const also = first.pattern === second.pattern ? '' : ` (as ${first.pattern} and ${second.pattern})`;
  const where =
    first.place === second.place
      ? `${first.place} is there for ${type} more than once: its class is provided in several modules, or the method has several decorators for it. Provide it once`
      : `${first.place} and ${second.place} both ${verb} ${type}${also}. Within a service each message has one handler: call both from one method, or move one into a service of its own`;
  return new MessagingError('subscribed-twice', `In the service '${service}', ${where}.`);
}
