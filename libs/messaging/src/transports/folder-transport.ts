/**
 * The broker in a folder that several processes may use. Whoever has the folder's lock has the broker; the others speak AMQP to it through its door, and
 * when it is gone one of them opens the folder in its place.
 *
 *   open ─▶ the lock is free ─▶ owner: the broker in this process, without a socket
 *        └▶ it is not ────────▶ joined: AMQP through the door ─(connection lost)─▶ the lock is free ─▶ opens the broker, and comes in by its own door
 *                                                                             └▶ it is not ────────▶ joins whoever has it
 *
 * Who has joined goes on as over any other AMQP connection: what was not confirmed is sent again, what was not acknowledged is handed out again. So it does
 * behind its own door too, until its process is started anew. Only the lock decides: a process that cannot have it opens nothing.
 */
import type { FoundDoor } from '@dovecote/ground';
import type { Envelope } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { ParkingStore } from '../parking-store.js';
import type {
  Box,
  BrokerPlaces,
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
import type { BrokerAddress } from './amqp-address.js';
import type { Connect } from './amqp-link.js';
import { type BrokerSource, type EmbeddedBroker, capabilitiesOf } from './embedded-transport.js';
import { amqpPlaces } from './topology.js';

export interface FolderSettings {
  readonly folder: string;
  readonly durability: 'os' | 'fsync';
  /** Joins a broker of any durability. */
  readonly isGuest?: boolean;
  /** Opens the broker with its door. Rejects with an error of code `data-folder-locked` where another process has it. */
  openBroker(): Promise<EmbeddedBroker>;
  /** A transport to the broker in this process. */
  embeddedTransport(source: BrokerSource): Transport;
  findDoor(): Promise<FoundDoor | undefined>;
  /** Finds the client library, or says which package to install. */
  loadClient(): Promise<Connect>;
  /** A transport over AMQP that connects by `connect` alone. */
  amqpTransport(address: BrokerAddress, loadClient: () => Promise<Connect>): Transport;
  readonly log: Log;
}

export class FolderTransport implements Transport {
  readonly capabilities: TransportCapabilities = capabilitiesOf(true);
  readonly places: BrokerPlaces = amqpPlaces('dovecote');
  #transport: Transport | undefined;
  /** Opened when its owner was gone. */
  #successor: Promise<EmbeddedBroker | undefined> | undefined;
  /** What was said last of who has the folder. */
  #refusal = 'another process has the folder';
  #isClosed = false;

  constructor(private readonly settings: FolderSettings) {}

  async open(): Promise<void> {
    const broker = await this.#claim().catch((error: unknown) => {
      throw new MessagingError('broker-unusable', `The embedded broker did not start: ${reasonOf(error)}.`, { cause: error });
    });
    if (this.#isClosed) {
      await broker?.close();
      throw closedError();
    }
    this.#transport = broker === undefined ? this.#joined() : this.#owning(broker);
    await this.#transport.open();
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    return this.#transport?.publish(envelope, deadlineMs, route) ?? Promise.reject(closedError());
  }

  hand(envelope: Envelope, deadlineMs: number, route: Route | undefined, outcome: PublishOutcome): void {
    const transport = this.#transport;
    if (transport?.hand !== undefined) transport.hand(envelope, deadlineMs, route, outcome);
    else {
      this.publish(envelope, deadlineMs, route).then(
        () => outcome.confirmed(),
        (error: unknown) => outcome.refused(error),
      );
    }
  }

  plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    return this.#open.plan(request);
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    return this.#open.subscribe(request, consumer);
  }

  async openReplies(onReply: (reply: Envelope) => void): Promise<string> {
    return this.#open.openReplies(onReply);
  }

  async openBox(box: Box): Promise<OpenBox> {
    return this.#open.openBox(box);
  }

  parkingStore(group: string): ParkingStore | undefined {
    return this.#transport?.parkingStore(group);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#transport?.close();
    const successor = await this.#successor?.catch(() => undefined);
    await successor?.close();
  }

  get #open(): Transport {
    if (this.#transport === undefined || this.#isClosed) throw closedError();
    return this.#transport;
  }

  #owning(broker: EmbeddedBroker): Transport {
    return this.settings.embeddedTransport({ open: () => Promise.resolve(broker), isOurs: true, isDurable: true });
  }

  #joined(): Transport {
    const { folder, log } = this.settings;
    log.info(`Another process has the broker in ${folder}: this service joins it, and takes its place when it is gone.`);
    // A process on the same machine is never away without a word: its sockets close with it.
    const address = { url: 'amqp://joined@localhost?heartbeat=0', shown: folder, host: 'localhost', port: 0 };
    return this.settings.amqpTransport(address, async () => {
      const connect = await this.#client();
      return (url, options) => this.#connect(connect, url, options);
    });
  }

  /** Called for every connection, the first and those after one was lost. */
  async #connect(connect: Connect, url: string, options: Parameters<Connect>[1]): ReturnType<Connect> {
    this.#successor ??= this.#succeed();
    await this.#successor;
    const door = await this.settings.findDoor();
    if (door === undefined) throw new Error(`${this.#refusal}, and lets nobody in: it is starting or ending, or was not told to`);
    this.#checkDurability(door);
    return connect(url, { ...options, path: door.path });
  }

  /** The broker, where the lock was free. Where it was not, the next one who asks finds out anew. */
  async #succeed(): Promise<EmbeddedBroker | undefined> {
    const { folder, log } = this.settings;
    let broker: EmbeddedBroker | undefined;
    try {
      broker = this.#isClosed ? undefined : await this.#claim();
    } finally {
      if (broker === undefined) this.#successor = undefined;
    }
    if (broker === undefined) return undefined;
    log.info(`The process that had the broker in ${folder} is gone: it is in this one now.`);
    void broker.ended.then(() => (this.#successor = undefined));
    return broker;
  }

  async #claim(): Promise<EmbeddedBroker | undefined> {
    try {
      return await this.settings.openBroker();
    } catch (error) {
      if (isLocked(error)) {
        this.#refusal = reasonOf(error);
        return undefined;
      }
      throw error;
    }
  }

  async #client(): Promise<Connect> {
    try {
      return await this.settings.loadClient();
    } catch (error) {
      if (!(error instanceof MessagingError) || error.code !== 'missing-package') throw error;
      const advice = `Another process has the broker in ${this.settings.folder}, and is joined through the package amqplib, which is not installed: npm install amqplib, or stop the other process`;
      throw new MessagingError('missing-package', advice, { cause: error });
    }
  }

  /** What is asked for is never silently less. */
  #checkDurability({ about }: FoundDoor): void {
    const { folder, durability, isGuest = false } = this.settings;
    if (isGuest || durability === 'os' || about['durability'] === 'fsync') return;
    throw new MessagingError(
      'invalid-options',
      `The broker in ${folder} belongs to a process that opened it with durability '${about['durability']}', and this service asks for 'fsync': give both the same.`,
    );
  }
}

function isLocked(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'data-folder-locked';
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The embedded broker is closed: the service has shut down, or was never started.');
}
