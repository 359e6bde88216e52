/**
 * A group's consumers on the broker in this process: one on each of its inboxes, one on its quarantine that takes one message at a time, and its lanes.
 * Comes back by itself when somebody deletes a queue. Keeps nothing.
 */
import type { BrokerConsumer, BrokerSession, Delivery } from '@dovecote/broker';
import type { Envelope } from '../envelope.js';
import { reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Incoming, SubscriptionRequest, TransportConsumer, TransportSubscription, UnreadableEnvelope } from '../transport.js';
import { deliveriesOf, fromDelivery } from './cloud-events.js';
import { EmbeddedLaneDriver } from './lanes/embedded-lane-driver.js';
import { hasLanes } from './lanes/lane-topology.js';
import { type LaneSettings, Lanes } from './lanes/lanes.js';
import { countLanes, leftLanesSentence } from './lanes/left-lanes.js';
import { formerInboxes, formerInboxSentence, inboxesOf, topologyOf } from './subscription-topology.js';
import { type Declared, quarantineOf } from './topology.js';

export class EmbeddedSubscription implements TransportSubscription {
  readonly #consumers = new Map<string, BrokerConsumer>();
  #lanes: Lanes | undefined;
  #laneDriver: EmbeddedLaneDriver | undefined;
  #isStopped = false;
  isTakenBack = false;

  constructor(
    private readonly session: BrokerSession,
    private readonly openSession: () => BrokerSession,
    private readonly request: SubscriptionRequest,
    private readonly laneSettings: LaneSettings,
    private readonly consumer: TransportConsumer,
    private readonly log: Log,
  ) {}

  async start(): Promise<void> {
    await this.#declare();
    for (const { queue, prefetch } of inboxesOf(this.request)) await this.#consume(queue, prefetch, false);
    await this.#consume(quarantineOf(this.request.group), 1, true);
    await this.#consumeFormer();
    await this.#openLanes();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const consumer of this.#consumers.values()) await consumer.cancel();
    await this.#lanes?.stop();
  }

  /** What is out goes back to its queues; nothing of it can be settled any more. */
  async takeBack(): Promise<void> {
    this.isTakenBack = true;
    this.#lanes?.lost();
    await this.#laneDriver?.close();
  }

  async #declare(): Promise<void> {
    for (const declared of topologyOf(this.request, 'quorum', this.laneSettings.count)) await declare(this.session, declared);
  }

  async #openLanes(): Promise<void> {
    const { count: wanted, publish, ...shared } = this.laneSettings;
    const { request, consumer } = this;
    const count = hasLanes(request) ? wanted : await countLanes(request.group, (queue) => messagesIn(this.session, queue));
    if (count === 0) return;
    if (!hasLanes(request)) shared.log.info(leftLanesSentence(request.group, count));
    const driver = new EmbeddedLaneDriver(this.openSession, publish, (reason) => this.#restartLanes(reason));
    this.#laneDriver = driver;
    this.#lanes = new Lanes({ ...shared, group: request.group, prefetch: request.prefetch, driver, consumer }, count);
    await this.#lanes.open();
  }

  #restartLanes(reason: unknown): void {
    if (this.#isStopped || this.isTakenBack) return;
    this.log.error(`The lanes of '${this.request.group}' begin anew: ${reasonOf(reason)}.`);
    this.#lanes?.lost();
    Promise.resolve(this.#laneDriver?.close())
      .then(() => this.#declare())
      .then(() => this.#openLanes())
      .catch((error: unknown) => {
        this.log.error(`The lanes of '${this.request.group}' could not begin anew: ${reasonOf(error)}. Start the service again.`);
      });
  }

  async #consumeFormer(): Promise<void> {
    for (const { queue, prefetch } of await formerInboxes(this.request, (name) => messagesIn(this.session, name))) {
      this.log.info(formerInboxSentence(queue));
      const handle = await this.session.consume(queue, { prefetch }, (delivery) => {
        this.consumer.onMessage(new EmbeddedIncoming(delivery, this, false));
      });
      this.#consumers.set(queue, handle);
    }
  }

  async #consume(queue: string, prefetch: number, isQuarantine: boolean): Promise<void> {
    const { consumer } = this;
    const handle = await this.session.consume(queue, { prefetch }, (delivery) => {
      consumer.onMessage(new EmbeddedIncoming(delivery, this, isQuarantine));
    });
    this.#consumers.set(queue, handle);
    handle.onCancelled = () => this.#restart(queue, prefetch, isQuarantine);
    if (this.#isStopped) await handle.cancel();
  }

  /** Somebody deleted the queue under us: what was in it is gone, and what comes must not be. */
  #restart(queue: string, prefetch: number, isQuarantine: boolean): void {
    if (this.#isStopped || this.isTakenBack) return;
    this.log.error(`Somebody deleted the queue ${queue} while this service was reading it. It is declared again; what it held is gone.`);
    this.#declare()
      .then(() => this.#consume(queue, prefetch, isQuarantine))
      .catch((error: unknown) => {
        this.log.error(
          `The queue ${queue} could not be declared again, so this service receives nothing from it: ${reasonOf(error)}. Start it again.`,
        );
      });
  }
}

export async function declare(session: BrokerSession, declared: Declared): Promise<void> {
  if (declared.thing === 'exchange') {
    await session.declareExchange(declared.name, declared.type, { durable: true, arguments: declared.arguments ?? {} });
  } else if (declared.thing === 'queue') await session.declareQueue(declared.name, { durable: true, arguments: declared.arguments });
  else if (declared.thing === 'link') await session.bindExchange(declared.to, declared.from, declared.routingKey);
  else if (declared.thing === 'no-link') await session.unbindExchange(declared.to, declared.from, declared.routingKey);
  else if (declared.thing === 'no-binding') await session.unbindQueue(declared.queue, declared.exchange, declared.routingKey);
  else await session.bindQueue(declared.queue, declared.exchange, declared.routingKey, declared.arguments);
}

/** How many a queue has that nobody has out; nothing where there is no such queue. */
export async function messagesIn(session: BrokerSession, queue: string): Promise<number | undefined> {
  try {
    return (await session.checkQueue(queue)).messageCount;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'no-queue') return undefined;
    throw error;
  }
}

/** `owner` knows whether the broker has taken back what was out. */
export class EmbeddedIncoming implements Incoming {
  readonly envelope: Envelope | UnreadableEnvelope;
  readonly isRedelivered: boolean;
  readonly lane = undefined;

  constructor(
    private readonly delivery: Delivery,
    private readonly owner: { readonly isTakenBack: boolean },
    readonly isQuarantined: boolean,
  ) {
    this.isRedelivered = delivery.isRedelivered;
    this.envelope = fromDelivery(delivery);
  }

  get deliveries(): number {
    return deliveriesOf(this.delivery.properties, this.isRedelivered);
  }

  get isTakenBack(): boolean {
    return this.owner.isTakenBack;
  }

  acknowledge(): void {
    this.delivery.acknowledge();
  }

  release(): void {
    this.delivery.reject({ requeue: true });
  }
}
