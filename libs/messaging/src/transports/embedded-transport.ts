/**
 * The broker in this process: no socket, no frames, the same queues. What survives a crash is what the broker was opened with (a folder, and how
 * durable); the transport itself keeps nothing. Called by `Messaging` alone, through the port.
 */
import type { BrokerSession, OutgoingMessage, PublishAnswer } from '@dovecote/broker';
import type { Clock, Random } from '@dovecote/ground';
import type { Envelope } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { ParkingStore } from '../parking-store.js';
import type {
  Box,
  Incoming,
  OpenBox,
  PlannedThing,
  PublishOutcome,
  Route,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportConsumer,
  TransportSubscription,
} from '../transport.js';
import { fromDelivery, toProperties } from './cloud-events.js';
import { EmbeddedForms } from './embedded-forms.js';
import { EmbeddedIncoming, EmbeddedSubscription, declare, messagesIn } from './embedded-subscription.js';
import type { LaneDriver } from './lanes/lane-driver.js';
import { waysOutOfOtherLanes } from './lanes/left-lanes.js';
import { QueueParking } from './lanes/queue-parking.js';
import {
  type Address,
  BOXES_EXCHANGE,
  COMMANDS_EXCHANGE,
  DEFAULT_EXCHANGE,
  type Declared,
  EVENTS_EXCHANGE,
  addressOf,
  amqpPlaces,
  boxQueue,
  exchanges,
  mustArrive,
  nobodyThere,
} from './topology.js';

/** What the transport needs of a `Broker`. */
export interface EmbeddedBroker {
  readonly durability: 'memory' | 'os' | 'fsync';
  /** Resolves when the broker is closed, to the error if it ended by itself. */
  readonly ended: Promise<Error | undefined>;
  session(): BrokerSession;
  close(): Promise<void>;
}

/** Where the broker comes from: opened with the transport and closed with it, or somebody else's. */
export interface BrokerSource {
  open(): Promise<EmbeddedBroker>;
  readonly isOurs: boolean;
  readonly isDurable: boolean;
}

/** The broker's own delayed exchanges, one before each exchange that a message may be meant for. */
const waitingRooms: ReadonlyMap<string, string> = new Map(
  [EVENTS_EXCHANGE, COMMANDS_EXCHANGE, BOXES_EXCHANGE].map((exchange) => [exchange, `${exchange}.later`]),
);

const delays: readonly Declared[] = [...waitingRooms].flatMap(([exchange, room]): readonly Declared[] => [
  { thing: 'exchange', name: room, type: 'x-delayed-message', arguments: { 'x-delayed-type': 'fanout' } },
  { thing: 'link', from: room, to: exchange, routingKey: '' },
]);

export interface EmbeddedSettings {
  /** How many lanes the service's queues in order have. */
  readonly lanes: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class EmbeddedTransport implements Transport {
  readonly capabilities: TransportCapabilities;
  readonly places = amqpPlaces('dovecote');
  #broker: EmbeddedBroker | undefined;
  #session: BrokerSession | undefined;
  #consumption: EmbeddedSubscription | undefined;
  readonly #forms = new EmbeddedForms();
  #isClosed = false;

  constructor(
    private readonly source: BrokerSource,
    private readonly settings: EmbeddedSettings,
  ) {
    this.capabilities = capabilitiesOf(source.isDurable);
  }

  async open(): Promise<void> {
    try {
      this.#broker = await this.source.open();
      this.#session = this.#broker.session();
      for (const declared of [...exchanges, ...delays]) await declare(this.#session, declared);
      void this.#broker.ended.then((error) => this.#ended(error));
    } catch (error) {
      await this.close();
      if (error instanceof MessagingError) throw error;
      throw new MessagingError('broker-unusable', `The embedded broker did not start: ${reasonOf(error)}.`, { cause: error });
    }
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    return new Promise((confirmed, refused) => this.hand(envelope, deadlineMs, route, { confirmed, refused }));
  }

  hand(envelope: Envelope, _deadlineMs: number, route: Route | undefined, outcome: PublishOutcome): void {
    if (this.#session === undefined) {
      queueMicrotask(() => outcome.refused(closedError()));
      return;
    }
    const address = addressOf(envelope, route);
    const message = route?.delayMs === undefined ? this.#forms.message(envelope, address) : heldBack(address, envelope, route.delayMs);
    this.#session.publishTelling(message, new EmbeddedAnswer(envelope, route, outcome));
  }

  /** The broker is this service's own and is as it made it: there is nothing to be told. */
  plan(_request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    return Promise.resolve([]);
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    const [session, broker] = [this.#session, this.#broker];
    if (session === undefined || broker === undefined) throw closedError();
    const { lanes, clock, random, log } = this.settings;
    const laneSettings = { count: lanes, member: random.bytes(8).toString('hex'), publish: this.#tell, clock, log };
    const subscription = new EmbeddedSubscription(session, () => broker.session(), request, laneSettings, consumer, log);
    this.#consumption = subscription;
    try {
      await subscription.start();
    } catch (error) {
      const reason = reasonOf(error);
      const wayOut = await waysOutOfOtherLanes(reason, request, (queue) => messagesIn(session, queue));
      const advice = wayOut === undefined ? '' : ` It has another number of lanes there: ${wayOut}.`;
      throw new MessagingError('broker-refused', `The embedded broker refused the queues of '${request.group}': ${reason}.${advice}`, {
        cause: error,
      });
    }
    return subscription;
  }

  async openReplies(onReply: (reply: Envelope) => void): Promise<string> {
    if (this.#session === undefined) throw closedError();
    const { name } = await this.#session.declareQueue('', { exclusive: true, autoDelete: true });
    await this.#session.consume(name, { autoAck: true }, (delivery) => {
      const reply = fromDelivery(delivery);
      if (!('problem' in reply)) onReply(reply);
    });
    return name;
  }

  async openBox(box: Box): Promise<OpenBox> {
    if (this.#broker === undefined || this.#isClosed) throw closedError();
    return new EmbeddedBox(this.#broker.session(), box);
  }

  parkingStore(group: string): ParkingStore {
    return new QueueParking(group, this.#tell);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const [session, broker] = [this.#session, this.#broker];
    this.#session = undefined;
    await this.#consumption?.takeBack();
    await session?.close();
    if (this.source.isOurs) await broker?.close();
  }

  /** What members of a group tell each other, and what they park. */
  readonly #tell: LaneDriver['publish'] = async (to, envelope) => {
    if (this.#session === undefined) throw closedError();
    const address = 'queue' in to ? { exchange: DEFAULT_EXCHANGE, routingKey: to.queue } : { exchange: to.exchange, routingKey: '' };
    const message = { ...address, body: envelope.body, properties: toProperties(envelope) };
    const outcome = await this.#session.publish(message).catch(refusedBecause);
    if (outcome !== 'unroutable' || !('queue' in to)) return;
    throw new MessagingError(
      'publish-refused',
      `There is no queue ${to.queue} on the embedded broker: a service with such a lane never started here.`,
    );
  };

  /** A broker whose disk failed ends: what it would say after that could not be trusted. */
  #ended(error: Error | undefined): void {
    void this.#consumption?.takeBack();
    if (this.#isClosed || error === undefined) return;
    this.settings.log.error(
      `The embedded broker has ended, so this service neither publishes nor receives any more: ${reasonOf(error)}. Start it again.`,
    );
  }
}

class EmbeddedAnswer implements PublishAnswer {
  constructor(
    private readonly envelope: Envelope,
    private readonly route: Route | undefined,
    private readonly outcome: PublishOutcome,
  ) {}

  confirmed(outcome: 'confirmed' | 'unroutable'): void {
    const { envelope, route } = this;
    if (outcome === 'unroutable' && mustArrive(envelope, route)) this.outcome.refused(nobodyThere(envelope, route));
    else this.outcome.confirmed();
  }

  refused(error: unknown): void {
    this.outcome.refused(refusal(error));
  }
}

/** A session of its own, whose end puts back what is out. */
class EmbeddedBox implements OpenBox {
  readonly isTakenBack = false;
  /** Behind the one given last, of those that were there when the first was given. */
  left: number | undefined;

  constructor(
    private readonly session: BrokerSession,
    private readonly box: Box,
  ) {}

  async next(): Promise<Incoming | undefined> {
    if (this.left === 0) return undefined;
    try {
      const delivery = await this.session.get(boxQueue(this.box, 'event'));
      if (delivery === undefined) this.left = 0;
      else this.left = this.left === undefined ? delivery.messageCount : this.left - 1;
      return delivery && new EmbeddedIncoming(delivery, this, false);
    } catch (error) {
      throw new MessagingError('broker-refused', `The ${this.box.box} of '${this.box.group}' cannot be read: ${reasonOf(error)}.`, {
        cause: error,
      });
    }
  }

  close(): Promise<void> {
    return this.session.close();
  }
}

export function capabilitiesOf(isDurable: boolean): TransportCapabilities {
  return {
    broker: 'the embedded broker',
    can: {
      'at-least-once': true,
      groups: true,
      durable: isDurable || { waysOut: ["give it a folder, as in 'embedded:./data'"] },
      commands: true,
      'order-by-key': true,
      delay: true,
      'dead-letters': true,
      'delivery-counts': true,
      wildcards: true,
      'exclusive-boxes': true,
      'refused-strays': true,
      requests: true,
      replay: { waysOut: ['keep what must be read again in a log'] },
    },
  };
}

function heldBack({ exchange, routingKey }: Address, envelope: Envelope, delayMs: number): OutgoingMessage {
  const properties = toProperties(envelope);
  const room = waitingRooms.get(exchange) ?? exchange;
  return {
    exchange: room,
    routingKey,
    body: envelope.body,
    properties: { ...properties, headers: { ...properties.headers, 'x-delay': delayMs } },
  };
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The embedded broker is closed: the service has shut down, or was never started.');
}

function refusedBecause(error: unknown): never {
  throw refusal(error);
}

function refusal(error: unknown): MessagingError {
  // The broker's own errors say whether the same call may succeed later.
  const retryable = error instanceof Error && 'retryable' in error && error.retryable === true;
  return new MessagingError('publish-refused', `The embedded broker did not take the message: ${reasonOf(error)}.`, {
    cause: error,
    retryable,
  });
}
