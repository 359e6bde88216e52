import {
  type Binding,
  bodyOf,
  capacity,
  Channel,
  compare,
  deliveryLimit,
  type Consumer,
  firstOnes,
  flag,
  inGroups,
  insert,
  isCycle,
  isQuorum,
  isTooLong,
  leaseEnd,
  type Message,
  ModelBroken,
  type Outcome,
  type Outstanding,
  type Queue,
  readyConsumers,
  type Reason,
  Refusal,
  takeFirst,
  textOf,
} from './model-parts.js';
import { ModelExchanges } from './model-exchanges.js';
import type { Command, DefinitionName, Delivery, Publish, QueueShape, Seen } from './model-words.js';

/**
 * A virtual host as its users understand it: a plain model, written from what RabbitMQ 4.0 does and knowing nothing of the broker's code.
 *
 * It is told one command at a time, with everything that came back until all was quiet. It says what should have come back: answers,
 * refusals, returned messages and confirms exactly, deliveries as far as the promise goes: each must be the first message of its queue
 * and go to a consumer that may have it, and none may be left out. Which of several equal consumers is given a message is not held
 * against the broker. `crash` leaves what is kept.
 */
export class Model {
  private queues = new Map<string, Queue>();
  private exchanges = new ModelExchanges();
  private channels: Channel[];
  private order = 0;
  private now = 0;

  /** `connections[who]` is the connection of channel `who`. */
  constructor(
    private readonly connections: readonly number[],
    private nextId: number,
  ) {
    this.channels = connections.map((connection, who) => new Channel(who, connection));
  }

  /** The body of the next message that is published. */
  get nextBody(): string {
    return bodyOf(this.nextId);
  }

  /** The delivery tag that a settlement means. */
  tagFor(command: Command & { do: 'settle' }): number {
    const { outstanding } = this.channels[command.who]!;
    if (command.nth === 'all') return command.how === 'reject' ? 999_999 : 0;
    if (command.nth === 'unknown' || outstanding.length === 0) return 999_999;
    return outstanding[command.nth % outstanding.length]!.tag;
  }

  /** The first moment behind `fromMs` at which something happens by itself, as far as can be told. */
  dueBehind(fromMs: number): number {
    const waiting = [...this.queues.values()].flatMap(({ ready }) => ready);
    const taken = this.channels.flatMap(({ outstanding, transaction }) => [
      ...outstanding.map(({ entry }) => entry),
      ...(transaction?.settlements ?? []).map(({ outstanding: { entry } }) => entry),
    ]);
    const moments = [
      ...[...this.queues.values()].map(leaseEnd),
      ...[...waiting, ...taken].map(({ expiresAt }) => expiresAt),
      ...this.exchanges.held.map(({ dueAt }) => dueAt),
    ];
    return Math.min(...moments.filter((moment) => moment > fromMs), Infinity);
  }

  /**
   * Takes a command with all that came back, by channel, between the moment at which it was said and the one at which all was quiet.
   * Throws ModelBroken where that is not what should have.
   */
  step(command: Command, saidAtMs: number, quietAtMs: number, seen: readonly Seen[]): void {
    this.now = saidAtMs;
    for (const { ready } of this.queues.values()) for (const entry of ready) entry.hadChance = true;
    for (const channel of this.channels) {
      channel.answers = [];
      channel.returned = [];
      channel.acked = [];
      channel.nacked = [];
      channel.cancelled = [];
    }
    this.run(command);
    const left = seen.map(({ deliveries }) => [...deliveries]);
    this.settleDown(left);
    for (let due = this.dueBehind(this.now); due <= quietAtMs; due = this.dueBehind(this.now)) {
      this.now = due;
      this.settleDown(left);
    }
    this.now = quietAtMs;
    this.checkDeliveries(left);
    for (const [who, { answers, returned, acked, nacked, cancelled }] of seen.entries()) {
      const channel = this.channels[who]!;
      compare(who, 'answers', channel.answers, answers);
      compare(who, 'returned messages', channel.returned, returned);
      compare(who, 'confirms', channel.acked, acked);
      compare(who, 'refused publishes', channel.nacked, nacked);
      compare(who, 'cancelled consumers', channel.cancelled.sort(), [...cancelled].sort());
    }
  }

  /**
   * The broker has ended and was opened again: everybody is gone, and so is what is not kept. Everything that is left may have been
   * delivered. Which queue looks first at what is over by now is not held against the broker: the last one where it `isBackwards`.
   */
  crash(nowMs: number, isBackwards: boolean): void {
    this.now = nowMs;
    const kept = [...this.queues.values()].filter(({ shape }) => shape.durable && !shape.exclusive);
    const entries = new Map(kept.map((queue) => [queue.name, [...queue.ready]]));
    for (const { outstanding, transaction } of this.channels) {
      const taken = [...outstanding, ...(transaction?.settlements ?? []).map((settlement) => settlement.outstanding)];
      for (const { queue, entry } of taken) if (!queue.isDeleted) entries.get(queue.name)?.push(entry);
    }
    this.queues = new Map();
    for (const { name, shape } of kept) {
      const queue = this.addQueue(name, shape, undefined);
      const { lastSequence } = kept.find((other) => other.name === name)!;
      queue.lastSequence = lastSequence;
      for (const entry of entries.get(name)!) {
        entry.redelivered = true;
        entry.returnOrder = 0; // they come in their old order again
        if (entry.message.persistent || isQuorum(queue)) queue.ready.push(entry);
      }
      queue.turn = (Math.min(...queue.ready.map(({ sequence }) => sequence), lastSequence + 1) - 1) % 3;
      for (const entry of queue.ready.splice(0)) {
        insert(queue, entry);
      }
    }
    this.exchanges.crash(this.queues);
    this.channels = this.connections.map((connection, who) => new Channel(who, connection));
    this.settleDown([], isBackwards);
    this.checkDeliveries([]);
  }

  /** A command of which nobody heard, with what it caused by and by or without. */
  guess(command: Command, nowMs: number, isSettled: boolean): void {
    this.now = nowMs;
    this.run(command);
    if (isSettled) this.settleDown([]);
  }

  /** The body of the next message was given away, and its message is not there. */
  skipBody(): void {
    this.nextId++;
  }

  /** Fetches everything, queue by queue in the order of their names, and goes away after each, so that all of it comes back. */
  probe(): Readonly<Record<string, readonly string[]>> {
    const fetched: Record<string, string[]> = {};
    const held = this.exchanges.held.length;
    for (const name of [...this.queues.keys()].sort()) {
      const messages: string[] = [];
      for (let got = this.get(this.channels[0]!, name, false); got !== 'empty'; got = this.get(this.channels[0]!, name, false)) {
        messages.push(got.replace(/^got \d+ \w+ (.*) \d+$/, '$1'));
        this.settleDown([]);
      }
      fetched[name] = messages;
      this.endConnection(this.channels[0]!.connection, ''); // what comes back too often may go to the next queue
      this.settleDown([]);
    }
    fetched['held'] = [String(held)];
    return fetched;
  }

  /** Somebody fetched from the queue, or tried to. */
  used(queue: string, atMs: number): void {
    const found = this.queues.get(queue);
    if (found !== undefined) found.usedAt = atMs;
  }

  /** What such a consumer was given before a crash is gone or not: nobody can tell. */
  get hasCarelessConsumer(): boolean {
    return this.channels.some(({ consumers }) => consumers.some(({ noAck }) => noAck));
  }

  /** The same model, to go on with separately. */
  copy(): Model {
    const copy = Object.assign(
      Object.create(Model.prototype) as Model,
      structuredClone(Object.fromEntries(Object.entries(this)) as object),
    );
    Object.setPrototypeOf(copy.exchanges, ModelExchanges.prototype);
    return copy;
  }

  private run(command: Command): void {
    const channel = this.channels[command.who]!;
    try {
      this.obey(channel, command);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      if (refusal.closes === 'channel') {
        this.endChannel(channel).answers.push(`closed ${refusal.code}`);
      } else this.endConnection(channel.connection, `connection closed ${refusal.code}`);
    }
  }

  private obey(channel: Channel, command: Command): void {
    const answer = (text: string): void => void channel.answers.push(text);
    switch (command.do) {
      case 'declare-queue': {
        const queue = this.declareQueue(channel, command.queue, command.shape, command.passive === true);
        queue.usedAt = this.now;
        return answer(`declared ${queue.name} ${queue.ready.length} ${queue.consumers.length}`);
      }
      case 'delete-queue':
        return answer(`deleted ${this.deleteQueue(channel, command)}`);
      case 'purge': {
        const queue = this.find(channel, command.queue);
        let count = 0;
        for (; queue.ready.length > 0; count++) takeFirst(queue);
        return answer(`purged ${count}`);
      }
      case 'declare-exchange':
        this.exchanges.declare(command.exchange, command.shape, command.passive === true);
        return answer('exchange declared');
      case 'delete-exchange':
        if (command.ifUnused && this.exchanges.leadsOn(command.exchange)) throw new Refusal(406);
        this.exchanges.remove(command.exchange);
        return answer('exchange deleted');
      case 'bind':
        this.bind(channel, { ...command, match: command.match ?? {} });
        return answer('bound');
      case 'unbind':
        this.unbind(channel, { ...command, match: command.match ?? {} });
        return answer('unbound');
      default:
        return this.obeyOnChannel(channel, command);
    }
  }

  private obeyOnChannel(channel: Channel, command: Exclude<Command, { readonly do: DefinitionName }>): void {
    const answer = (text: string): void => void channel.answers.push(text);
    switch (command.do) {
      case 'publish':
        return this.publish(channel, command);
      case 'get':
        return answer(this.get(channel, command.queue, command.noAck));
      case 'consume':
        this.consume(channel, command);
        return answer(`consuming ${command.tag}`);
      case 'cancel': {
        const consumer = channel.consumers.find(({ tag }) => tag === command.tag);
        if (consumer !== undefined) this.removeConsumers([consumer]);
        return answer(`cancelled ${command.tag}`);
      }
      case 'qos':
        channel.sharedPrefetch = command.isGlobal ? command.count : 0; // the other kind ends this one
        if (!command.isGlobal) channel.prefetch = command.count;
        return answer('limited');
      case 'settle':
        return this.settle(channel, command);
      case 'recover':
        for (const outstanding of channel.outstanding.splice(0)) this.conclude(outstanding, 'put-back');
        return answer('recovered');
      case 'confirm':
        if (channel.transaction !== undefined) throw new Refusal(406);
        channel.published ??= 0;
        return answer('confirming');
      case 'tx':
        if (channel.published !== undefined) throw new Refusal(406);
        channel.transaction ??= { publishes: [], settlements: [] };
        return answer('transactional');
      case 'commit':
        this.commit(channel);
        return answer('committed');
      case 'rollback':
        this.rollBack(channel);
        return answer('rolled back');
      case 'close-channel':
        return void this.endChannel(channel).answers.push('channel closed');
      case 'close-connection':
      case 'cut':
        return this.endConnection(channel.connection, 'connection closed');
      case 'wait':
        return;
    }
  }

  // Definitions

  private find(channel: Channel, name: string): Queue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new Refusal(404);
    if (queue.owner !== undefined && queue.owner !== channel.connection) throw new Refusal(405);
    return queue;
  }

  private declareQueue(channel: Channel, name: string, shape: QueueShape, passive: boolean): Queue {
    if (passive) return this.find(channel, name);
    if (!this.queues.has(name)) return this.addQueue(name, shape, shape.exclusive ? channel.connection : undefined);
    const there = this.find(channel, name);
    if (there.shape.exclusive !== shape.exclusive) throw new Refusal(405);
    const keys = new Set([...Object.keys(there.shape), ...Object.keys(shape)]) as Set<keyof QueueShape>;
    for (const key of keys) if (there.shape[key] !== shape[key]) throw new Refusal(406);
    return there;
  }

  private addQueue(name: string, shape: QueueShape, owner: number | undefined): Queue {
    const state = { active: undefined, hadConsumer: false, isDeleted: false, usedAt: this.now, lastSequence: 0, lastReturn: 0, turn: 0 };
    const queue: Queue = { name, shape, owner, ready: [], consumers: [], ...state };
    this.queues.set(name, queue);
    return queue;
  }

  private deleteQueue(channel: Channel, { queue: name, ifUnused, ifEmpty }: Command & { do: 'delete-queue' }): number {
    if (!this.queues.has(name)) return 0;
    const queue = this.find(channel, name);
    if (isQuorum(queue) && (ifUnused || ifEmpty)) throw new Refusal(540, 'connection');
    if ((ifUnused && queue.consumers.length > 0) || (ifEmpty && queue.ready.length > 0)) throw new Refusal(406);
    this.removeQueue(queue);
    return queue.ready.length;
  }

  private removeQueue(queue: Queue): void {
    if (queue.isDeleted) return;
    queue.isDeleted = true;
    this.queues.delete(queue.name);
    for (const consumer of queue.consumers.splice(0)) {
      consumer.channel.cancelled.push(consumer.tag);
      consumer.channel.consumers = consumer.channel.consumers.filter((other) => other !== consumer);
    }
    this.exchanges.forgetQueue(queue.name);
  }

  private bind(channel: Channel, { source, to, destination, key, match }: Binding): void {
    if (!this.exchanges.has(source)) throw new Refusal(404);
    if (to === 'queue') this.find(channel, destination);
    else if (!this.exchanges.has(destination)) throw new Refusal(404);
    this.exchanges.bind({ source, to, destination, key, match });
  }

  private unbind(channel: Channel, { source, to, destination, key, match }: Binding): void {
    const wanted = { source, to, destination, key, match };
    if (!this.exchanges.isBound(wanted)) return;
    if (to === 'queue') this.find(channel, destination);
    this.exchanges.unbind(wanted);
  }

  // Messages in

  private publish(channel: Channel, given: Publish): void {
    const { exchange, key, copies, headers, persistent, priority, expirationMs, mandatory, delayMs = 0 } = given;
    const id = this.nextId++;
    const message = { id, exchange, key, copies, headers, persistent, priority, expirationMs, deaths: [], delayMs };
    if (exchange !== '' && !this.exchanges.has(exchange)) throw new Refusal(404);
    if (this.exchanges.isInternal(exchange)) throw new Refusal(403);
    if (this.exchanges.delays(message)) return this.hold(channel, message);
    const queues = this.route(message);
    if (channel.transaction !== undefined) return void channel.transaction.publishes.push({ message, queues, mandatory });
    if (mandatory && queues.length === 0) channel.returned.push(textOf(message));
    const isTaken = this.enter(message, queues);
    if (channel.published === undefined) return;
    channel.published++;
    (isTaken ? channel.acked : channel.nacked).push(channel.published);
  }

  /** Nobody is told whether it leads anywhere. */
  private hold(channel: Channel, message: Message): void {
    if (channel.transaction !== undefined) return void channel.transaction.publishes.push({ message, queues: [], mandatory: false });
    this.exchanges.hold({ message, dueAt: this.now + message.delayMs, order: ++this.order });
    if (channel.published !== undefined) channel.acked.push(++channel.published);
  }

  /** One message that an exchange has held long enough. */
  private release(): boolean {
    const message = this.exchanges.takeDue(this.now);
    if (message === undefined) return false;
    this.enter(message, this.route(message));
    return true;
  }

  private route(message: Message): Queue[] {
    return this.exchanges.route(message, this.queues);
  }

  /** False when one of the queues is full and refuses. */
  private enter(message: Message, queues: readonly Queue[]): boolean {
    const refusing: Queue[] = [];
    for (const queue of queues) {
      const { overflow = 'drop-head' } = queue.shape;
      while (this.dropOver(queue));
      if (overflow !== 'drop-head' && (readyConsumers(queue).length > 0 ? 0 : queue.ready.length) >= capacity(queue.shape)) {
        refusing.push(queue);
        continue;
      }
      const lifeMs = Math.min(queue.shape.ttlMs ?? Infinity, message.expirationMs ?? Infinity);
      const times = { order: ++this.order, expiresAt: this.now + lifeMs, isForNow: lifeMs === 0 };
      const fresh = { hadChance: false, redelivered: false, returnCount: 0, returnOrder: 0 };
      insert(queue, { message, ...times, sequence: ++queue.lastSequence, ...fresh });
    }
    for (const queue of refusing) if (queue.shape.overflow === 'reject-publish-dlx') this.bury(queue, message, 'maxlen');
    return refusing.length === 0;
  }

  private bury(queue: Queue, message: Message, reason: Reason): void {
    const { deadExchange, deadKey } = queue.shape;
    if (deadExchange === undefined || queue.isDeleted) return;
    const before = message.deaths.find((death) => death.queue === queue.name && death.reason === reason);
    const newest = { queue: queue.name, reason, count: (before?.count ?? 0) + 1 };
    const deaths = [newest, ...message.deaths.filter((death) => death !== before)];
    const copies = deadKey === undefined ? message.copies : [];
    const dead = { ...message, exchange: deadExchange, key: deadKey ?? message.key, deaths, expirationMs: undefined };
    if (deadExchange !== '' && !this.exchanges.has(deadExchange)) return;
    const queues = this.route({ ...dead, copies });
    this.enter(
      dead,
      queues.filter(({ name }) => reason === 'rejected' || !isCycle(deaths, name)),
    );
  }

  // Messages out

  private get(channel: Channel, name: string, noAck: boolean): string {
    const queue = this.find(channel, name);
    queue.usedAt = this.now;
    if (queue.ready.length === 0) return 'empty';
    const entry = takeFirst(queue);
    const tag = channel.nextTag++;
    if (!noAck) channel.outstanding.push({ tag, queue, entry, consumer: undefined });
    while (this.dropOver(queue));
    return `got ${tag} ${flag(entry)} ${textOf(entry.message, entry.returnCount)} ${queue.ready.length}`;
  }

  private consume(channel: Channel, { queue: name, tag, noAck, exclusive, priority }: Command & { do: 'consume' }): void {
    if (channel.consumers.some((other) => other.tag === tag)) throw new Refusal(530, 'connection');
    const queue = this.find(channel, name);
    if (isQuorum(queue) && channel.sharedPrefetch !== 0) throw new Refusal(540, 'connection');
    const isAlone = exclusive && !isQuorum(queue);
    const isTaken = queue.consumers.some((other) => other.exclusive) || (isAlone && queue.consumers.length > 0);
    if (isTaken || (isAlone && queue.shape.isSingleActive === true)) throw new Refusal(403);
    const consumer = { tag, queue, channel, noAck, exclusive: isAlone, prefetch: channel.prefetch, priority };
    channel.consumers.push(consumer);
    queue.consumers.push(consumer);
    queue.consumers.sort((one, other) => other.priority - one.priority);
    queue.active ??= consumer;
    queue.hadConsumer = true;
  }

  private removeConsumers(consumers: readonly Consumer[]): void {
    for (const consumer of consumers) {
      const { queue, channel } = consumer;
      queue.consumers.splice(queue.consumers.indexOf(consumer), 1);
      channel.consumers = channel.consumers.filter((other) => other !== consumer);
      if (queue.active === consumer) queue.active = queue.consumers[0];
      queue.usedAt = this.now;
      if (queue.shape.autoDelete && queue.consumers.length === 0) this.removeQueue(queue);
    }
  }

  private settle(channel: Channel, command: Command & { do: 'settle' }): void {
    const tag = this.tagFor(command);
    const multiple = command.multiple && command.how !== 'reject';
    const isAll = tag === 0 && multiple;
    if (!isAll && !channel.outstanding.some((other) => other.tag === tag)) throw new Refusal(406);
    const isMeant = (other: Outstanding): boolean => isAll || (multiple ? other.tag <= tag : other.tag === tag);
    const meant = channel.outstanding.filter(isMeant);
    channel.outstanding = channel.outstanding.filter((other) => !isMeant(other));
    const outcome: Outcome = command.how === 'ack' ? 'done' : command.requeue ? 'put-back' : 'dead';
    for (const outstanding of meant) {
      if (channel.transaction === undefined) this.conclude(outstanding, outcome);
      else channel.transaction.settlements.push({ outstanding, outcome });
    }
  }

  private conclude({ queue, entry }: Outstanding, outcome: Outcome): void {
    if (queue.isDeleted || outcome === 'done') return;
    if (outcome === 'dead') return this.bury(queue, entry.message, 'rejected');
    entry.redelivered = entry.hadChance = true;
    if (isQuorum(queue)) {
      entry.returnOrder = ++queue.lastReturn;
      if (++entry.returnCount > deliveryLimit(queue)) return this.bury(queue, entry.message, 'delivery_limit');
    }
    insert(queue, entry);
    while (isTooLong(queue) && !isQuorum(queue)) this.bury(queue, takeFirst(queue).message, 'maxlen');
  }

  private commit(channel: Channel): void {
    const { transaction } = channel;
    if (transaction === undefined) throw new Refusal(406);
    channel.transaction = { publishes: [], settlements: [] };
    let isWhole = true;
    for (const { message, queues, mandatory } of transaction.publishes) {
      if (mandatory && queues.length === 0) channel.returned.push(textOf(message));
      if (this.exchanges.delays(message)) this.exchanges.hold({ message, dueAt: this.now + message.delayMs, order: ++this.order });
      const living = queues.filter(({ isDeleted }) => !isDeleted);
      if (!this.enter(message, living) || living.length < queues.length) isWhole = false;
    }
    for (const { outstanding, outcome } of inGroups(transaction.settlements)) this.conclude(outstanding, outcome);
    if (!isWhole) throw new Refusal(406);
  }

  private rollBack(channel: Channel): void {
    if (channel.transaction === undefined) throw new Refusal(406);
    channel.outstanding.push(...channel.transaction.settlements.map(({ outstanding }) => outstanding));
    channel.outstanding.sort((one, other) => one.tag - other.tag);
    channel.transaction = { publishes: [], settlements: [] };
  }

  /** The channel as it begins anew, with the answers that it already had. */
  private endChannel(channel: Channel): Channel {
    this.removeConsumers([...channel.consumers]);
    if (channel.transaction !== undefined) this.rollBack(channel);
    for (const outstanding of channel.outstanding) this.conclude(outstanding, 'put-back');
    const fresh = new Channel(channel.who, channel.connection);
    Object.assign(fresh, { answers: channel.answers, returned: channel.returned, acked: channel.acked, nacked: channel.nacked });
    this.channels[channel.who] = fresh;
    return fresh;
  }

  private endConnection(connection: number, why: string): void {
    for (const channel of this.channels.filter((other) => other.connection === connection)) this.endChannel(channel).answers.push(why);
    for (const queue of [...this.queues.values()]) if (queue.owner === connection) this.removeQueue(queue);
  }

  // What happens by itself

  /** Deliveries, expiry and overflow, until nothing happens any more. */
  private settleDown(left: readonly Delivery[][], isBackwards = false): void {
    for (let isQuiet = false; !isQuiet;) {
      isQuiet = !this.release();
      const queues = [...this.queues.values()];
      for (const queue of isBackwards ? queues.reverse() : queues) {
        if (this.endLease(queue) || this.dropOver(queue) || this.follow(queue, left) || this.dropExcess(queue)) isQuiet = false;
      }
    }
  }

  private checkDeliveries(left: readonly Delivery[][]): void {
    for (const [who, deliveries] of left.entries()) {
      if (deliveries.length > 0)
        throw new ModelBroken(`channel ${who} was given ${JSON.stringify(deliveries[0])} and should not have been`);
    }
    for (const queue of this.queues.values()) {
      const [consumer] = readyConsumers(queue);
      if (queue.ready.length > 0 && consumer !== undefined)
        throw new ModelBroken(
          `${textOf(queue.ready[0]!.message)} in ${queue.name} was not given to ${consumer.tag} of channel ${consumer.channel.who}`,
        );
    }
  }

  /** One delivery that came from the head of this queue. */
  private follow(queue: Queue, left: readonly Delivery[][]): boolean {
    for (const consumer of queue.ready.length === 0 ? [] : readyConsumers(queue)) {
      const { channel, tag, noAck } = consumer;
      const next = left[channel.who]?.[0];
      if (next?.consumer !== tag || next.tag !== channel.nextTag) continue;
      const entry = firstOnes(queue).find(({ message, returnCount }) => next.message === textOf(message, returnCount));
      if (entry === undefined || next.redelivered !== entry.redelivered) continue;
      left[channel.who]!.shift();
      queue.ready.splice(queue.ready.indexOf(entry), 1);
      queue.ready.unshift(entry);
      takeFirst(queue);
      channel.nextTag++;
      if (!noAck) channel.outstanding.push({ tag: next.tag, queue, entry, consumer });
      return true;
    }
    return false;
  }

  private dropOver(queue: Queue): boolean {
    const [first] = queue.ready;
    if (first === undefined) return false;
    const { expiresAt, isForNow, hadChance } = first;
    if (!(isForNow ? hadChance || readyConsumers(queue).length === 0 : expiresAt <= this.now)) return false;
    takeFirst(queue);
    this.bury(queue, first.message, 'expired');
    return true;
  }

  private dropExcess(queue: Queue): boolean {
    if (!isTooLong(queue) || readyConsumers(queue).length > 0) return false;
    this.bury(queue, takeFirst(queue).message, 'maxlen');
    return true;
  }

  private endLease(queue: Queue): boolean {
    if (leaseEnd(queue) > this.now) return false;
    this.removeQueue(queue);
    return true;
  }
}
