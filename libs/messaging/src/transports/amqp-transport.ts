/**
 * Any AMQP 0-9-1 broker (RabbitMQ, our daemon) through amqplib.
 *
 * Unconfirmed messages are kept in memory across reconnects and sent again, in order and under the same id, until the broker confirms them or
 * their deadline is over. Deliveries of a lost connection are the broker's again; acknowledging them does nothing.
 */
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import type { Clock, Random } from '@dovecote/ground';
import type { Backoff } from '../backoff.js';
import type { Envelope } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import { MOVE_TIMEOUT_MS } from '../limits.js';
import type { Log } from '../log.js';
import type { ParkingStore } from '../parking-store.js';
import type {
  Box,
  BrokerPlaces,
  OpenBox,
  PlannedThing,
  Route,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportConsumer,
  TransportSubscription,
} from '../transport.js';
import type { BrokerAddress } from './amqp-address.js';
import { type Bindings, notCompared } from './amqp-bindings.js';
import { AmqpBox, connectionLost } from './amqp-box.js';
import { AmqpLink, type Connect, type LinkSettings } from './amqp-link.js';
import { AmqpSubscription, declare } from './amqp-subscription.js';
import { delayLevels, delayed } from './delay-levels.js';
import { planOf } from './amqp-plan.js';
import type { Publishable } from './amqp-publish-frames.js';
import { AmqpReplies } from './amqp-replies.js';
import { type Sending, sendingOn } from './amqp-sending.js';
import { Unconfirmed } from './amqp-unconfirmed.js';
import type { LaneDriver } from './lanes/lane-driver.js';
import { QueueParking } from './lanes/queue-parking.js';
import { sized } from './quorum-size.js';
import { refuseOldRabbit } from './rabbitmq-version.js';
import { topologyOf } from './subscription-topology.js';
import { DEFAULT_EXCHANGE, type QueueType, addressOf, amqpPlaces, exchanges, mustArrive, nobodyThere, queueOf } from './topology.js';

export interface AmqpSettings {
  readonly address: BrokerAddress;
  readonly service: string;
  readonly queueType: QueueType;
  /** On how many nodes; the broker's own number when not given. */
  readonly quorumSize?: number | undefined;
  /** How many lanes the service's queues in order have. */
  readonly lanes: number;
  /** What is missing stays missing. */
  readonly makesNothing?: boolean;
  /** Compares bindings, where the management API can be asked for them. */
  readonly bindings?: Bindings | undefined;
  readonly connectTimeoutMs: number | undefined;
  /** Finds the client library, or says which package to install. */
  loadClient(): Promise<Connect>;
  readonly clock: Clock;
  readonly random: Random;
  readonly backoff: Backoff;
  readonly log: Log;
}

interface Publish extends Publishable {
  readonly route: Route | undefined;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: MessagingError) => void;
}

export class AmqpTransport implements Transport {
  readonly capabilities: TransportCapabilities;
  readonly places: BrokerPlaces;
  readonly #unconfirmed = new Unconfirmed<Publish>();
  #channel: ConfirmChannel | undefined;
  /** What is sent on the channel, its connection, and the levels of delay there. */
  #sending: Sending | undefined;
  #connection: ChannelModel | undefined;
  #levels: Promise<void> | undefined;
  #replies: AmqpReplies | undefined;
  /** Ids of mandatory messages that no queue took; the confirm of each comes right behind. */
  readonly #returned = new Set<string>();
  #publishing: AmqpLink | undefined;
  #consuming: AmqpLink | undefined;
  #subscription: AmqpSubscription | undefined;
  #isClosed = false;

  constructor(private readonly settings: AmqpSettings) {
    this.capabilities = capabilitiesOf(settings.queueType);
    this.places = amqpPlaces('rabbitmq', settings.address);
  }

  async open(): Promise<void> {
    const connect = await this.settings.loadClient();
    this.#publishing = new AmqpLink(this.#link('publishing', connect), {
      moveIn: (connection) => this.#moveIn(connection),
      lost: () => this.#lost(),
    });
    if (this.#isClosed) throw closedError();
    await this.#publishing.open();
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    const address = addressOf(envelope, route);
    if (route?.delayMs === undefined)
      return this.#enqueue({ envelope, address, isMandatory: mustArrive(envelope, route), route, deadlineMs });
    const later = delayed(address, route.delayMs);
    return this.#publishLater({ envelope, address: later, isMandatory: true, route, deadlineMs });
  }

  async plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    const { queueType, lanes, quorumSize, makesNothing, bindings } = this.settings;
    if (this.#isClosed || this.#connection === undefined) throw closedError();
    const things = sized(topologyOf(request, queueType, lanes), quorumSize);
    const ways = bindings === undefined ? [notCompared] : await bindings(things, makesNothing === true);
    const isCompared = ways.every(({ state }) => state !== 'unseen');
    const asked = await planOf(this.#connection, things, request);
    const planned = [...asked.filter(({ state }) => !isCompared || state !== 'unseen'), ...ways];
    // Made with the first message that is delayed. Its first exchange stands for all of it: sixty lines would hide the others.
    if (makesNothing !== true) return planned;
    const levels = await planOf(this.#connection, delayLevels.slice(0, 1));
    const detail = "with all levels of delay; the first message that a service with topology 'create' delays makes them";
    return [...planned, ...levels.map((one) => (one.state === 'absent' ? { ...one, detail } : one))];
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    if (this.#isClosed) throw closedError();
    const connect = await this.settings.loadClient();
    const { queueType, lanes, quorumSize, makesNothing, clock, log, random } = this.settings;
    const things = makesNothing === true ? [] : sized(topologyOf(request, queueType, lanes), quorumSize);
    const laneSettings = { count: lanes, member: random.bytes(8).toString('hex'), publish: this.#tell, clock, log };
    const subscription = new AmqpSubscription(request, things, laneSettings, consumer, (connection, reason) =>
      this.#consuming?.drop(connection, reason),
    );
    this.#subscription = subscription;
    this.#consuming = new AmqpLink(this.#link('consuming', connect), subscription);
    await this.#consuming.open();
    return subscription;
  }

  async openReplies(onReply: (reply: Envelope) => void): Promise<string> {
    if (this.#isClosed || this.#connection === undefined) throw closedError();
    this.#replies ??= new AmqpReplies(
      `${queueOf(this.settings.service)}.replies.${this.settings.random.bytes(8).toString('hex')}`,
      onReply,
    );
    await this.#replies.consume(this.#connection);
    return this.#replies.queue;
  }

  openBox(box: Box): Promise<OpenBox> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (this.#connection === undefined) return Promise.reject(connectionLost(box));
    return AmqpBox.open(this.#connection, box, this.settings.clock);
  }

  parkingStore(group: string): ParkingStore {
    return new QueueParking(group, this.#tell);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#subscription?.stop();
    await this.#consuming?.close();
    await this.#publishing?.close();
    for (const message of this.#unconfirmed.takeAll()) message.reject(closedError());
  }

  /** What members of a group tell each other, and what they park. */
  readonly #tell: LaneDriver['publish'] = (to, envelope) => {
    if (this.#isClosed) return Promise.reject(closedError());
    const isMandatory = 'queue' in to;
    const address = isMandatory ? { exchange: DEFAULT_EXCHANGE, routingKey: to.queue } : { exchange: to.exchange, routingKey: '' };
    const deadlineMs = this.settings.clock.monotonicMs() + MOVE_TIMEOUT_MS;
    return this.#enqueue({ envelope, address, isMandatory, route: undefined, deadlineMs });
  };

  #enqueue({ envelope, address, isMandatory, route, deadlineMs }: Omit<Publish, 'resolve' | 'reject'>): Promise<void> {
    return new Promise((resolve, reject) => {
      const message: Publish = { envelope, address, isMandatory, route, deadlineMs, resolve, reject };
      if (this.#sending === undefined) {
        this.#forgetExpired();
        this.#unconfirmed.add(message);
      } else this.#send(this.#sending, message);
    });
  }

  /** The levels are declared when they are needed first, and again on every new connection: somebody may have deleted them. */
  async #publishLater(message: Omit<Publish, 'resolve' | 'reject'>): Promise<void> {
    if (this.settings.makesNothing !== true) this.#levels ??= this.#declareLevels();
    // What is wrong with the connection its link mends; without the levels the broker refuses the publish, which says more.
    await this.#levels?.catch(() => (this.#levels = undefined));
    if (this.#isClosed) throw closedError();
    await this.#enqueue(message);
  }

  async #declareLevels(): Promise<void> {
    const channel = await this.#connection?.createChannel();
    if (channel === undefined) throw new MessagingError('broker-unreachable', 'The broker is away.');
    channel.on('error', nothing);
    for (const declared of delayLevels) await declare(channel, declared);
    await channel.close();
  }

  async #moveIn(connection: ChannelModel): Promise<void> {
    refuseOldRabbit(connection, this.settings.queueType, this.settings.address.shown);
    const channel = await connection.createConfirmChannel();
    // Without a listener Node would end the process; the answer to whoever is waiting comes with `refused`.
    channel.on('error', (error) => this.#refused(channel, error));
    channel.on('close', () => this.#publishing?.drop(connection, new Error('the broker closed the channel')));
    channel.on('return', ({ properties }) => this.#returned.add(String(properties.messageId)));
    if (this.settings.makesNothing !== true) for (const exchange of exchanges) await declare(channel, exchange);
    await this.#replies?.consume(connection);
    const sending = sendingOn(channel, (tag, isMultiple, isTaken) => this.#confirmed(channel, tag, isMultiple, isTaken));
    this.#channel = channel;
    this.#sending = sending;
    this.#connection = connection;
    this.#forgetExpired();
    for (const message of this.#unconfirmed.takeAll()) this.#send(sending, message);
  }

  #send(sending: Sending, message: Publish): void {
    try {
      sending.send(message);
      this.#unconfirmed.add(message);
    } catch (error) {
      // What does not fit into AMQP no other channel mends.
      const reason = reasonOf(error);
      message.reject(/headers take/.test(reason) ? tooLarge(message.envelope, reason) : refusedError(message.envelope, reason));
    }
  }

  #confirmed(channel: ConfirmChannel, tag: number, isMultiple: boolean, isTaken: boolean): void {
    if (channel !== this.#channel) return;
    this.#unconfirmed.confirm(tag, isMultiple, (message) => {
      if (message.isMandatory && this.#returned.delete(message.envelope.id)) message.reject(noQueue(message));
      else if (isTaken) message.resolve();
      else message.reject(refusedError(message.envelope, 'it could not store it'));
    });
  }

  /** The broker closed the channel because of something sent on it. It does not say what, and sending all of it again could close the next one. */
  #refused(channel: ConfirmChannel, error: Error): void {
    if (channel !== this.#channel) return;
    const reason = reasonOf(error);
    // Told apart from those that merely were on their way beside it: they may be sent again.
    const bytes = Number(/message size (\d+) is larger/.exec(reason)?.[1] ?? Number.NaN);
    for (const { envelope, reject } of this.#unconfirmed.takeAll())
      reject(envelope.body.byteLength === bytes ? tooLarge(envelope, reason) : refusedError(envelope, reason));
  }

  #lost(): void {
    this.#channel = undefined;
    this.#sending = undefined;
    this.#connection = undefined;
    this.#levels = undefined;
    this.#returned.clear();
  }

  #forgetExpired(): void {
    for (const { envelope, reject } of this.#unconfirmed.takeExpired(this.settings.clock.monotonicMs())) {
      reject(new MessagingError('publish-timeout', `${envelope.type} ${envelope.id} was not confirmed in time.`));
    }
  }

  #link(role: 'publishing' | 'consuming', connect: Connect): LinkSettings {
    const { address, service, connectTimeoutMs, clock, backoff, log } = this.settings;
    return { address, name: `${service} (${role})`, connectTimeoutMs, connect, clock, backoff, log };
  }
}

function capabilitiesOf(queueType: QueueType): TransportCapabilities {
  return {
    broker: queueType === 'quorum' ? 'a broker over AMQP' : 'a broker over AMQP with classic queues',
    can: {
      'at-least-once': true,
      groups: true,
      durable: true,
      commands: true,
      'order-by-key': true,
      delay: true,
      'dead-letters': true,
      'delivery-counts': queueType === 'quorum' || { waysOut: ["leave queueType 'classic' out, so that the queues are quorum queues"] },
      wildcards: true,
      'exclusive-boxes': true,
      'refused-strays': true,
      requests: true,
      replay: { waysOut: ['keep what must be read again in a log'] },
    },
  };
}

function nothing(): void {}

function noQueue({ envelope, route, address }: Publish): MessagingError {
  if (address.exchange !== DEFAULT_EXCHANGE || route?.to !== undefined) return nobodyThere(envelope, route);
  const { routingKey } = address;
  return new MessagingError(
    'publish-refused',
    `There is no queue ${routingKey} on this broker: a service with such a lane never started here.`,
  );
}

function refusedError({ type, id }: Envelope, reason: string): MessagingError {
  return new MessagingError('publish-refused', `The broker did not take ${type} ${id}: ${reason}.`);
}

function tooLarge({ type, id }: Envelope, reason: string): MessagingError {
  const sentence = `The broker did not take ${type} ${id}: ${reason}. Let large payloads stay in a claim store (claimCheck), or raise what the broker takes.`;
  return new MessagingError('too-large', sentence);
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The connection to the broker is closed: the service has shut down.');
}
