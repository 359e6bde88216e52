import type { SimulatedGround, SimulatedProcess } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { Durability } from '../engine/options.js';
import { CodedError } from '../errors.js';
import { amqpClient } from './amqp-client.js';
import { type Client, inProcessClient, type Received } from './client.js';
import { CrashClient } from './crash-world.js';
import { type Sabotage, sabotageMoves, watchedGround } from './faulty-ground.js';
import '../kafka-opening.js'; // loaded in real time otherwise, while the simulated one goes on
import { KafkaParty } from './kafka-party.js';
import { BrokenPromise, type Entry, Ledger, type Party } from './ledger.js';

/**
 * A broker on a simulated machine, its clients, and the ledger in which everything is written down.
 *
 * When the broker's process ends, by a crash or by itself, the next one is started as soon as somebody needs it. Its data folder is all that
 * goes from one life to the next.
 */
export interface WorldOptions {
  readonly durability: Durability;
  readonly sabotage: Sabotage;
  /** Whether it has a door for Kafka clients, and one that comes in by it. */
  readonly hasKafka: boolean;
}

/** What a connected client holds. */
interface Connected {
  readonly party: Party;
  readonly client: Client;
  /** Deliveries that are neither acknowledged nor rejected. */
  readonly held: { readonly entry: Entry; readonly delivery: Received }[];
}

/** Queues that are there from the start; one of them is for consumers that take without acknowledging. */
export const steadyQueues = ['red', 'green', 'blue'] as const;
export const looseQueue = 'loose';
/** What is dropped in the first goes on in the second. */
export const mortalQueue = 'mortal';
export const graveQueue = 'grave';
export const passingQueues = ['passing-1', 'passing-2'] as const;
/** One of the steady ones is a quorum queue, with a limit that nobody reaches. */
const quorumQueue = 'blue';
const quorumArguments = { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 };
/** `everywhere` leads to all steady queues, `chosen` to the queue that the key names, and `later` to that one after a while. */
export const exchanges = { everywhere: 'everywhere', chosen: 'chosen', later: 'later' } as const;

/** Small, so that files are begun and trimmed within a run; now and then so small that what lives in them is moved all the time. */
const journalFileBytes = [24 * 1024, 3 * 1024] as const;
const amqpPort = 5672;
const kafkaPort = 9092;
/** How long an answer is waited for before the run goes on without it. */
const patienceMs = 1500;
/** A broker whose sync failed must have ended by then. */
const endingMs = 5000;
const attemptsMax = 8;

export class World {
  readonly ledger = new Ledger();
  readonly kafka: KafkaParty | undefined;
  private process: SimulatedProcess | undefined;
  private broker: Broker | undefined;
  private opening: Promise<void> | undefined;
  private readonly clients: (Connected | undefined)[] = [];
  private hasFailedDisk = false;
  private failureCount = 0;
  /** So many of them kept the log of the first Kafka client from being opened, which is tried again: an opening believes nothing that was not synced. */
  private retriedCount = 0;
  /** It is being closed, and may say that it could not: a full disk is a reason. */
  private isClosing = false;

  constructor(
    readonly machine: SimulatedGround,
    private readonly options: WorldOptions,
  ) {
    if (!options.hasKafka) return;
    this.kafka = new KafkaParty({
      connectKafka: () => this.connectKafka(),
      patiently: (answer) => this.patiently(answer),
      breakPromise: (what) => this.ledger.breakPromise(what),
      pause: (ms) => machine.clock.pause(ms),
    });
  }

  /** The first opening, and what is there from the start. */
  async begin(): Promise<void> {
    await this.ready();
    const session = this.broker!.session();
    await session.declareExchange(exchanges.everywhere, 'fanout', { durable: true });
    await session.declareExchange(exchanges.chosen, 'direct', { durable: true });
    await session.declareExchange(exchanges.later, 'x-delayed-message', { durable: true, arguments: { 'x-delayed-type': 'direct' } });
    const deadLetters = { 'x-dead-letter-exchange': exchanges.chosen, 'x-dead-letter-routing-key': graveQueue };
    for (const queue of [...steadyQueues, looseQueue, graveQueue, mortalQueue]) {
      const given = queue === mortalQueue ? deadLetters : queue === quorumQueue ? quorumArguments : {};
      await session.declareQueue(queue, { durable: true, arguments: given });
      for (const exchange of [exchanges.chosen, exchanges.later]) await session.bindQueue(queue, exchange, queue);
      if (isSteady(queue)) await session.bindQueue(queue, exchanges.everywhere, '');
      this.ledger.queues.set(queue, 'yes');
    }
    this.ledger.looseQueues.add(looseQueue);
    this.ledger.keepingQueues.add(quorumQueue);
    this.ledger.graves.set(mortalQueue, graveQueue);
    for (const queue of passingQueues) this.ledger.queues.set(queue, 'no');
    await session.close();
  }

  throwBroken(): void {
    if (this.ledger.broken.length > 0) throw new BrokenPromise(this.ledger.broken[0]);
  }

  /** Whoever stands in this place, connected now if nobody does; undefined where the connection does not come about. */
  async client(place: number, isInProcess: boolean): Promise<Connected | undefined> {
    await this.ready();
    const there = this.clients[place];
    if (there !== undefined) return there;
    const { life } = this.ledger;
    const client = await this.patiently(this.connect(isInProcess));
    if (client === undefined) return undefined;
    if (this.ledger.life !== life || this.clients[place] !== undefined) {
      client.leave();
      return this.clients[place];
    }
    const connected: Connected = { party: { name: `client ${place}`, life, isInProcess, unproven: [] }, client, held: [] };
    this.clients[place] = connected;
    return connected;
  }

  private async connect(isInProcess: boolean): Promise<Client> {
    return isInProcess ? inProcessClient(this.broker!) : amqpClient(this.machine.network, amqpPort);
  }

  private async connectKafka(): Promise<CrashClient | undefined> {
    await this.ready();
    const { life } = this.ledger;
    const client = await this.patiently(CrashClient.connect(this.machine.network, kafkaPort));
    if (this.ledger.life === life) return client;
    client?.leave();
    return undefined;
  }

  /** `delayMs` is how long a message to \`later\` is held. */
  publish(
    place: number,
    connected: Connected,
    exchange: keyof typeof exchanges,
    queue: string,
    size: number,
    mayPersist: boolean,
    delayMs: number,
  ): void {
    const { party, client } = connected;
    // What is transient may be gone while it is held and is kept afterwards: nobody could say which.
    const isPersistent = mayPersist || (exchange === 'later' && queue === quorumQueue);
    const queues = exchange === 'everywhere' ? steadyQueues : [queue];
    const dueAt = exchange === 'later' ? this.machine.clock.now() + delayMs : 0;
    const { id, entries } = this.ledger.publish(party, queues, isPersistent, dueAt);
    const body = Buffer.alloc(4 + size, id);
    body.writeUInt32BE(id);
    client.publish({ exchange: exchanges[exchange], routingKey: queue, body, isPersistent, delayMs }).then(
      () => {
        // What the memory of a killed process still says does not count.
        if (party.life === this.ledger.life) this.ledger.confirm(entries);
      },
      () => this.leave(place, connected),
    );
  }

  /** Publishes to steady queues, and acknowledges the first messages that are held, as one. */
  transact(place: number, connected: Connected, queues: readonly string[], size: number, count: number): void {
    const { party, client, held } = connected;
    if (client.transact === undefined) return;
    const published = queues.flatMap((queue) => {
      const { id, entries } = this.ledger.publish(party, [queue], true, 0);
      const body = Buffer.alloc(4 + size, id);
      body.writeUInt32BE(id);
      return entries.map((entry) => ({
        entry,
        message: { exchange: exchanges.chosen, routingKey: queue, body, isPersistent: true, delayMs: 0 },
      }));
    });
    const acknowledged = held.splice(0, count);
    const entries = published.map(({ entry }) => entry);
    const done = acknowledged.map(({ entry }) => entry);
    this.ledger.transact(entries, done);
    const messages = published.map(({ message }) => message);
    const deliveries = acknowledged.map(({ delivery }) => delivery);
    client.transact(messages, deliveries).then(
      () => {
        if (party.life === this.ledger.life) this.ledger.transacted(entries, done);
      },
      () => this.leave(place, connected),
    );
  }

  async consume(place: number, connected: Connected, queue: string, prefetch: number, keeps: boolean): Promise<void> {
    const { party, client, held } = connected;
    const last = new Map<Party, number>();
    const autoAck = queue === looseQueue;
    const take = (delivery: Received): void => {
      if (party.life !== this.ledger.life) return;
      const entry = this.ledger.deliver(party, queue, delivery.body.readUInt32BE(0), delivery.isRedelivered, last);
      if (entry === undefined) return;
      if (this.machine.clock.now() < entry.dueAt) this.ledger.breakPromise(`message ${entry.id} in ${queue} came before it was due`);
      if (!autoAck && keeps) return void held.push({ entry, delivery });
      this.ledger.settle(party, entry, 'acknowledge');
      if (!autoAck) delivery.acknowledge();
    };
    await this.patiently(client.consume(queue, { prefetch, autoAck }, take).catch(() => this.leave(place, connected)));
  }

  settle(connected: Connected, how: 'acknowledge' | 'requeue' | 'drop', count: number): void {
    for (const { entry, delivery } of connected.held.splice(0, count)) {
      this.ledger.settle(connected.party, entry, how);
      if (how === 'acknowledge') delivery.acknowledge();
      else delivery.reject({ requeue: how === 'requeue' });
    }
  }

  leave(place: number, connected: Connected): void {
    if (this.clients[place] !== connected) return;
    this.clients[place] = undefined;
    this.ledger.leave(connected.party);
    connected.client.leave();
  }

  /** Declares, deletes or empties a queue. */
  async define(place: number, connected: Connected, what: 'declare' | 'delete' | 'purge', queue: string): Promise<void> {
    const { queues, undecided, life } = this.ledger;
    const pending = undecided.get(queue) ?? [];
    // Several may declare a queue at once; anything else waits, or the ledger would not know the order.
    if (pending.some((other) => other !== 'declare' || what !== 'declare')) return;
    undecided.set(queue, [...pending, what]);
    const { client } = connected;
    const removed = what === 'declare' ? () => undefined : this.ledger.removeAll(queue);
    if (what !== 'purge' && queues.get(queue) !== (what === 'declare' ? 'yes' : 'no')) queues.set(queue, 'unknown');
    const asked =
      what === 'declare'
        ? client.declareQueue(queue, exchanges.chosen)
        : what === 'delete'
          ? client.deleteQueue(queue)
          : client.purgeQueue(queue);
    const answered = asked.then(
      () => {
        if (this.ledger.life !== life) return;
        undecided.set(queue, undecided.get(queue)!.slice(1));
        if (what === 'purge') return;
        queues.set(queue, what === 'declare' ? 'yes' : 'no');
        removed();
      },
      () => this.leave(place, connected), // and the queue stays undecided: what was asked for may still be under way
    );
    await this.patiently(answered);
  }

  /** The process dies, or the machine loses its power. The next process starts at once. */
  crash(how: { readonly power: boolean }): void {
    this.machine.crash(how);
    this.endLife();
    this.opening = this.open();
    this.opening.catch(() => undefined); // whoever needs the broker hears of it
  }

  /** A proper end: everything that was accepted is committed. */
  async restart(): Promise<void> {
    await this.ready();
    const process = this.process!;
    this.isClosing = true;
    await this.patiently(this.broker!.close().catch(() => undefined));
    if (process.isRunning) process.kill();
    this.endLife();
  }

  /** What is in the queues now, with nothing under way. */
  counts(): ReadonlyMap<string, number> {
    return new Map(this.broker!.inspect().queues.map(({ name, messageCount }) => [name, messageCount]));
  }

  /** Everything is well again; every message that must be there is taken out, and what was settled stays away. */
  async drain(): Promise<void> {
    const { machine, ledger } = this;
    const { clock, faults, network } = machine;
    faults.clear();
    network.flow();
    await clock.pause(2 * patienceMs);
    await this.ready();
    for (const [place, connected] of this.clients.entries()) if (connected !== undefined) this.leave(place, connected);
    await clock.pause(patienceMs);
    await this.ready();
    const place = this.clients.length;
    const connected = (await this.client(place, true))!;
    const wanted = [...ledger.queues.keys()].flatMap((queue) => ledger.mustHold(queue));
    const died = ledger.mustHaveDied().map((entry) => ({ entry, seenCount: entry.deliveredCount }));
    for (const queue of this.counts().keys()) await this.consume(place, connected, queue, 7, false);
    for (let before = -1; before !== ledger.deliveredCount;) {
      before = ledger.deliveredCount;
      await clock.pause(200);
    }
    for (const entry of wanted) {
      if (entry.removal === 'none') ledger.breakPromise(`message ${entry.id} in ${entry.queue} was confirmed and is lost`);
    }
    for (const { entry, seenCount } of died) {
      const isThere = entry.deliveredCount > seenCount || entry.deadLetter?.removal !== 'none';
      if (!isThere) ledger.breakPromise(`message ${entry.id} was dropped in ${entry.queue} and is lost on its way to the dead letters`);
    }
    ledger.checkWholes();
    await this.kafka?.settle();
    await this.restart();
    await this.ready();
    await this.kafka?.settle();
    for (const [queue, count] of this.counts()) {
      if (count > 0)
        ledger.breakPromise(`queue ${queue} holds ${count} messages again that were acknowledged before the broker was closed`);
    }
    this.throwBroken();
  }

  /** A broker that is open. */
  private async ready(): Promise<void> {
    for (let attempt = 0; this.broker === undefined; attempt++) {
      this.throwBroken(); // it says why it does not open
      if (attempt === attemptsMax) throw new BrokenPromise('the broker does not open');
      if (attempt > 1) this.machine.faults.clear();
      this.opening ??= this.open();
      const { opening } = this;
      await opening.catch(() => undefined);
      if (this.opening === opening) this.opening = undefined;
    }
  }

  private async open(): Promise<void> {
    const life = ++this.ledger.life;
    const process = this.machine.startProcess();
    this.process = process;
    this.hasFailedDisk = false;
    this.isClosing = false;
    const ground = watchedGround(process.ground, this.options.sabotage, (operation, error) => this.diskFailed(life, operation, error));
    const { durability } = this.options;
    const { disk } = process.ground;
    // So slow that an answer which did not wait for a write is heard before it.
    if (this.machine.random.chance(0.2)) disk.pace = { ...disk.pace, quickMs: [0.1, 5] };
    // Now and then so little that everything is paged out as soon as it can be.
    const journalFileBytesMax = journalFileBytes[this.machine.random.below(2)]!;
    const residentBytesMax = this.machine.random.chance(0.6) ? 1 : 32 << 20;
    const limits = { journalFileBytesMax, memoryBytesMax: 64 << 20, residentBytesMax, journalSlackBytes: 0 };
    const kafka = { port: kafkaPort, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1, partitionCount: 2 };
    const doors = { amqp: { port: amqpPort }, ...(this.options.hasKafka ? { kafka } : {}) };
    const log = (line: string): void => {
      if (life === this.ledger.life && line.startsWith('The log cannot be opened')) this.retriedCount = this.failureCount;
    };
    const opening = Broker.open({ data: '/data', durability, ground, limits, log, ...doors });
    const broker = await opening.catch((error: unknown) => {
      process.kill();
      this.judgeRefusal(error);
      throw error;
    });
    if (life !== this.ledger.life) return;
    if (this.options.sabotage === 'forget-moves') sabotageMoves(broker);
    this.broker = broker;
    this.ledger.undecided.clear();
    void broker.ended.then((error) => this.ended(life, error));
    this.ledger.checkAfterCrash(this.counts());
  }

  /** A disk that is full or fails is a reason not to open; that it is damaged never is, because this one keeps what it promised. */
  private judgeRefusal(error: unknown): void {
    const code = error instanceof CodedError ? error.code : undefined;
    if (code === 'disk-full' && this.machine.faults.bytesLeft !== Infinity) return this.machine.faults.freeUp();
    if ((code === 'storage-failed' || code === 'data-folder-unusable') && this.hasFailedDisk) return;
    this.ledger.breakPromise(`the broker does not open: ${error instanceof Error ? error.message : String(error)}`);
  }

  private diskFailed(life: number, operation: string, error: Error): void {
    if (life !== this.ledger.life) return;
    this.hasFailedDisk = true;
    const number = ++this.failureCount;
    this.machine.clock.after(endingMs, () => {
      if (life === this.ledger.life && this.broker !== undefined && number > this.retriedCount)
        this.ledger.breakPromise(`a ${operation} failed (${error.message}) and the broker goes on`);
    });
  }

  private ended(life: number, error: CodedError | undefined): void {
    if (life !== this.ledger.life || error === undefined || this.isClosing) return;
    if (error.code !== 'storage-failed' || !this.hasFailedDisk) this.ledger.breakPromise(`the broker ended by itself: ${error.message}`);
    // The daemon exits with the sentence of the error.
    this.process!.kill();
    this.endLife();
  }

  private endLife(): void {
    this.broker = undefined;
    this.opening = undefined;
    this.kafka?.leave();
    for (const [place, connected] of this.clients.entries()) {
      if (connected === undefined) continue;
      this.clients[place] = undefined;
      this.ledger.leave(connected.party);
      if (!connected.party.isInProcess) connected.client.leave();
    }
    // Whoever is still in the memory of the old process belongs to no life.
    this.ledger.life++;
  }

  private async patiently<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
    return Promise.race([answer.catch(() => undefined), this.machine.clock.pause(patienceMs).then(() => undefined)]);
  }
}

function isSteady(queue: string): boolean {
  return (steadyQueues as readonly string[]).includes(queue);
}
