import type { Clock, Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type { Arena } from '../storage/arena.js';
import type { Access } from './access.js';
import { ConsumerTimeouts } from './consumer-timeouts.js';
import type { DeadLetter } from './dead-letter.js';
import { Deadlines } from './deadlines.js';
import type { Checkpoint, Definition } from './definitions.js';
import type { Exchange } from './exchange.js';
import { defaultExchangeError, type ExchangeDeclaration, Exchanges } from './exchanges.js';
import { exchangeTypesWith } from './exchange-types/built-in.js';
import type { ExchangeType } from './exchange-type.js';
import type { FieldTable } from './field-table.js';
import type { Gate, GateState } from './gate.js';
import { Graveyard } from './graveyard.js';
import { Intake } from './intake.js';
import { Lease } from './lease.js';
import type { MessageLog } from './message-log.js';
import { Owner } from './owner.js';
import { Queue, type QueueSettings } from './queue.js';
import { QueueRegister } from './queue-register.js';
import {
  argumentsFrom,
  argumentsText,
  checkQueueArguments,
  checkQuorumProperties,
  checkSameQueueArguments,
  parseQueuePolicy,
  queueTypeOf,
} from './queue-policy.js';
import { RecentRoutes } from './recent-routes.js';
import { Release } from './release.js';
import { ReplyQueues } from './reply-queues.js';
import { nowhere, perMessage, type Route, routeTo } from './route.js';
import { ContentMessage, KeyedMessage } from './routed-message.js';
import { checkSameSettings } from './same-settings.js';
import { Session, type SessionHost, type SessionSink } from './session.js';
import type { VisitHolding } from './trimmer.js';
import type { Turn } from './turn.js';

export interface VirtualHostParts {
  readonly arena: Arena;
  readonly turn: Turn;
  readonly gate: Gate;
  readonly random: Random;
  readonly clock: Clock;
  readonly limits: Limits;
  /** undefined where nothing is kept. */
  readonly log: MessageLog | undefined;
  /** Exchange types beside the built-in ones. */
  readonly exchangeTypes?: readonly ExchangeType[];
  /** Shared by the virtual hosts of a broker. */
  readonly register?: QueueRegister;
}

export interface QueueDeclaration {
  readonly passive: boolean;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: FieldTable;
}

/** The one that is always there. */
export const firstHostName = '/';

/**
 * Exchanges, queues and the bindings between them, and every change to them.
 *
 * A change is decided and applied at once and, where it concerns what is kept, appended to the journal in the same step; the
 * caller must tell nobody before `turn.afterCommit`. Whatever was decided later stands behind it in the journal, so no message
 * can be in a queue that a crash forgets. Refusals are CodedErrors whose sentences are those of RabbitMQ, which clients match.
 */
export class VirtualHost implements SessionHost {
  /** Grows with every change that can alter a route, or who may take it. */
  epoch = 1;
  /** Of queues that are declared without one. */
  defaultQueueType = 'classic';
  /** Infinity for no limit of its own. */
  queuesMax = Infinity;
  readonly arena: Arena;
  readonly turn: Turn;
  readonly clock: Clock;
  readonly intake: Intake;
  readonly graveyard: Graveyard;
  readonly deadlines: Deadlines;
  readonly timeouts: ConsumerTimeouts;
  private readonly log: MessageLog | undefined;
  readonly exchanges: Exchanges;
  private readonly replyQueues: ReplyQueues;
  readonly sessions = new Set<Session>();
  private readonly queuesByName = new Map<string, Queue>();
  private readonly register: QueueRegister;
  private readonly routes = new RecentRoutes();
  private isReplayed = false;

  constructor(
    readonly name: string,
    private readonly parts: VirtualHostParts,
  ) {
    this.arena = parts.arena;
    this.turn = parts.turn;
    this.clock = parts.clock;
    this.log = parts.log;
    this.register = parts.register ?? new QueueRegister();
    this.intake = new Intake(parts.arena, parts.clock, parts.log);
    this.graveyard = new Graveyard(this);
    this.deadlines = new Deadlines(parts.clock);
    this.timeouts = new ConsumerTimeouts(parts.clock, this.deadlines, parts.limits.consumerTimeoutMs);
    this.replyQueues = new ReplyQueues(parts.arena, parts.turn, parts.random, this);
    this.exchanges = new Exchanges({
      hostName: name,
      types: exchangeTypesWith(parts.exchangeTypes ?? []),
      random: parts.random,
      append: (definition) => this.append(definition),
      changed: () => void this.epoch++,
      register: this.register,
      log: parts.log,
      delays: new Release(this, parts.gate, parts.log),
    });
  }

  createSession(owner: Owner, sink: SessionSink): Session {
    return new Session(this, owner, sink);
  }

  forEachHolding(isWanted: readonly boolean[], visit: VisitHolding): void {
    for (const queue of this.queuesByName.values()) queue.forEachHolding(isWanted, visit);
    this.replyQueues.forEachHolding(isWanted, visit);
    this.exchanges.forEachHolding(visit);
    for (const session of this.sessions) session.forEachHolding(visit);
  }

  createOwner(access?: Access): Owner {
    return new Owner(access);
  }

  /** Deletes the exclusive queues of an owner that is gone. */
  closeOwner(owner: Owner): void {
    for (const queue of owner.exclusiveQueues) this.removeQueue(queue);
    owner.exclusiveQueues.clear();
  }

  /** Whether something was decided that nobody may be told of before the next commit. */
  get hasPendingDefinitions(): boolean {
    return this.turn.hasPendingDefinitions;
  }

  /** Calls `run` when everything decided so far is as durable as was asked for: at once when nothing is under way. */
  afterCommit(run: () => void): void {
    this.turn.afterCommit(run);
  }

  /**
   * Calls `run` when the messages that were published before now can be seen in the queue, and whoever consumes it had the first
   * choice. False, and nothing is called, where there is nothing to wait for.
   */
  afterMessagesOf(queueName: string, run: () => void): boolean {
    const queue = this.queuesByName.get(queueName);
    if (queue?.hasInvisible !== true) return false;
    this.turn.afterMessages(() => {
      queue.tidy();
      run();
    });
    return true;
  }

  /** Whether publishers may publish now, and if not, why. */
  get gate(): GateState {
    return this.parts.gate.state;
  }

  get gateReason(): string {
    return this.parts.gate.reason;
  }

  get isDiskFull(): boolean {
    return this.parts.gate.isDiskFull;
  }

  /** What the transactions of one owner may publish without a commit, in bytes. */
  get transactionBytesMax(): number {
    return this.parts.limits.transactionBytesMax;
  }

  /**
   * Runs `work`, which publishes and settles and does nothing else: after a crash all that it did is there, or nothing. Where
   * `isKept` is false nothing of it goes to the journal.
   */
  atomically(isKept: boolean, work: () => void): void {
    const log = isKept ? this.log : undefined;
    log?.begin();
    try {
      work();
    } finally {
      log?.end();
      if (log !== undefined) this.turn.definitionWasAppended();
    }
  }

  /** The largest body; whoever publishes sees to it. */
  get messageBytesMax(): number {
    return this.parts.limits.messageBytesMax;
  }

  onGateChange(listener: () => void): () => void {
    return this.parts.gate.onChange(listener);
  }

  get queues(): Iterable<Queue> {
    return this.queuesByName.values();
  }

  /** Whoever may use it. */
  queueNamed(name: string): Queue | undefined {
    return this.queuesByName.get(name);
  }

  /** How many messages an exchange holds until they are due. */
  heldCount(exchange: string): number {
    return this.exchanges.find(exchange).held?.count ?? 0;
  }

  /** Finds a queue that `session` may use. */
  findQueue(session: Session, name: string): Queue {
    const queue = this.queuesByName.get(name);
    if (queue === undefined) throw new CodedError('no-queue', `no queue '${name}' in vhost '${this.name}'`);
    if (queue.owner !== undefined && queue.owner !== session.owner) throw this.locked(name);
    return queue;
  }

  /** The same for whoever takes messages out of it. */
  findReadableQueue(session: Session, name: string): Queue {
    session.owner.access?.check('read', 'queue', name);
    return this.findQueue(session, name);
  }

  /** Where a message of this user goes; what the user may not do is refused, before anything is said of what is there. */
  routeFor(access: Access | undefined, exchangeName: string, key: string): Route {
    access?.check('write', 'exchange', exchangeName);
    const route = this.route(exchangeName, key);
    this.checkTopics(access, exchangeName, [key]);
    return route;
  }

  /** Further keys of a message on its way through this exchange. */
  checkTopics(access: Access | undefined, exchangeName: string, keys: readonly string[]): void {
    if (access === undefined || access.publishesFreely || exchangeName === '' || !this.exchanges.isTopic(exchangeName)) return;
    for (const key of keys) access.checkTopic('write', exchangeName, key);
  }

  /** Whoever remembered a route must ask again: who may take it has changed. */
  forgetRoutes(): void {
    this.epoch++;
  }

  /**
   * Where a message goes. An exchange of the empty name leads to the queue that the key names. `perMessage` where that takes a
   * look at the message: then `routeMessage` knows.
   */
  route(exchangeName: string, key: string): Route {
    const known = this.routes.find(this.epoch, exchangeName, key);
    if (known !== undefined) return known;
    const route = this.findRoute(exchangeName, key);
    this.routes.keep(exchangeName, key, route);
    return route;
  }

  /** Where this very message goes, by all of its keys and by whatever else exchanges look at. */
  routeMessage(exchangeName: string, message: ContentMessage): Route {
    if (exchangeName === '') return routeTo(message.routingKeys.flatMap((key) => this.findByKey(key) ?? []));
    return this.exchanges.walk(this.findOpenExchange(exchangeName), message, false)!;
  }

  /** Where a dead letter goes: internal exchanges take it too, and one that is not there leads nowhere. */
  routeDeadLetter(exchangeName: string, { image, routingKeys }: DeadLetter): Route {
    if (exchangeName === '') return routeTo(routingKeys.flatMap((key) => this.findByKey(key) ?? []));
    if (!this.exchanges.has(exchangeName)) return nowhere;
    const message = new ContentMessage(image, 0, routingKeys.slice(1));
    return this.exchanges.walk(this.exchanges.find(exchangeName), message, false)!;
  }

  declareQueue(session: Session, givenName: string, declaration: QueueDeclaration): Queue {
    const { access } = session.owner;
    const isUnnamed = givenName.replace(/[\r\n]/g, '') === '' && !declaration.passive;
    const name = isUnnamed ? this.generateName() : givenName.replace(/[\r\n]/g, '');
    const existing = this.queuesByName.get(name);
    const given = this.withDefaultType(declaration);
    if (!declaration.passive) {
      const isReserved = name.startsWith('amq.') && !isUnnamed && existing === undefined;
      if (isReserved) throw new CodedError('reserved-name', `queue name '${name}' contains reserved prefix 'amq.*'`);
      access?.check('configure', 'queue', name);
    }
    if (declaration.passive || existing !== undefined) {
      const found = this.findQueue(session, name);
      found.lease?.renew();
      found.tidy();
    }
    if (declaration.passive) return existing!;
    if (existing !== undefined) {
      if (existing.settings.exclusive !== declaration.exclusive) throw this.locked(name);
      // Exclusive queues are never kept: RabbitMQ forgets that one was to be durable.
      checkSameSettings(`queue '${name}' in vhost '${this.name}'`, existing.settings, {
        durable: declaration.exclusive ? existing.settings.durable : declaration.durable,
        auto_delete: declaration.autoDelete,
      });
      checkSameQueueArguments(name, this.name, argumentsFrom(existing.settings.arguments), given);
      return existing;
    }
    this.checkQueueCount(name);
    const asked = isUnnamed ? '' : name;
    const isQuorum = queueTypeOf(given) === 'quorum';
    if (asked === '' && isQuorum) checkQuorumProperties(asked, this.name, declaration);
    checkQueueArguments(asked, this.name, given);
    if (isQuorum) checkQuorumProperties(asked, this.name, declaration);
    const deadLetters = given['x-dead-letter-exchange'];
    if (typeof deadLetters === 'string') {
      access?.check('read', 'queue', name);
      access?.check('write', 'exchange', deadLetters);
    }
    const { durable, exclusive, autoDelete } = declaration;
    const plain: QueueSettings = { id: this.register.nextId++, name, durable, exclusive, autoDelete };
    const hasArguments = Object.keys(given).length > 0;
    const settings = hasArguments ? { ...plain, arguments: argumentsText(given) } : plain;
    const queue = this.addQueue(settings, exclusive ? session.owner : undefined);
    this.startLease(queue);
    if (queue.log !== undefined) this.append({ do: 'declare-queue', queue: settings });
    return queue;
  }

  /** Returns how many messages were waiting in it; 0 for a queue that is not there, which is no error. */
  deleteQueue(session: Session, name: string, conditions: { readonly ifUnused: boolean; readonly ifEmpty: boolean }): number {
    session.owner.access?.check('configure', 'queue', name);
    if (!this.queuesByName.has(name)) return 0;
    const queue = this.findQueue(session, name);
    queue.tidy();
    const place = `queue '${name}' in vhost '${this.name}'`;
    const condition = conditions.ifUnused ? 'if-unused' : 'if-empty';
    if (queue.quorum !== undefined && (conditions.ifUnused || conditions.ifEmpty)) {
      const advice = `queue.delete operations with ${condition} flag set are not supported by quorum queues`;
      throw new CodedError('not-implemented', `cannot delete ${place}. ${advice}`);
    }
    if (conditions.ifUnused && queue.consumerCount > 0) throw new CodedError('in-use', `${place} in use`);
    if (conditions.ifEmpty && queue.messageCount > 0) throw new CodedError('not-empty', `${place} not empty`);
    const count = queue.messageCount;
    this.removeQueue(queue);
    return count;
  }

  purgeQueue(session: Session, name: string): number {
    const queue = this.findReadableQueue(session, name);
    queue.tidy();
    return queue.purge();
  }

  declareExchange(session: Session, givenName: string, type: string, declaration: ExchangeDeclaration): void {
    this.exchanges.declare(givenName.replace(/[\r\n]/g, ''), type, declaration, session.owner.access);
  }

  deleteExchange(session: Session, name: string, conditions: { readonly ifUnused: boolean }): void {
    this.exchanges.delete(name, conditions, session.owner.access);
  }

  bindQueue(session: Session, queueName: string, exchangeName: string, key: string, given: FieldTable): void {
    this.checkBinding(session, 'queue', queueName, exchangeName, key);
    const exchange = this.exchanges.find(exchangeName);
    this.exchanges.bind(exchange, this.findQueue(session, queueName), key, given);
  }

  /** Taking away a binding that is not there is no error, nor is one of a queue or an exchange that is not there. */
  unbindQueue(session: Session, queueName: string, exchangeName: string, key: string, given: FieldTable): void {
    this.checkBinding(session, 'queue', queueName, exchangeName, key);
    if (exchangeName === '') throw defaultExchangeError();
    const queue = this.queuesByName.get(queueName);
    if (!this.exchanges.has(exchangeName) || queue === undefined) return;
    const exchange = this.exchanges.find(exchangeName);
    // Whose queue it is matters only where there is something to take away, as in RabbitMQ.
    if (this.exchanges.isBound(exchange, queue, key, given))
      this.exchanges.unbind(exchange, this.findQueue(session, queueName), key, given);
  }

  /** Leads what `source` routes by the key on to the exchange `destination`. */
  bindExchange(session: Session, destination: string, source: string, key: string, given: FieldTable): void {
    if (destination === '' || source === '') throw defaultExchangeError();
    this.checkBinding(session, 'exchange', destination, source, key);
    const from = this.exchanges.find(source);
    this.exchanges.bind(from, this.exchanges.find(destination), key, given);
  }

  unbindExchange(session: Session, destination: string, source: string, key: string, given: FieldTable): void {
    if (destination === '' || source === '') throw defaultExchangeError();
    this.checkBinding(session, 'exchange', destination, source, key);
    if (!this.exchanges.has(source) || !this.exchanges.has(destination)) return;
    this.exchanges.unbind(this.exchanges.find(source), this.exchanges.find(destination), key, given);
  }

  /** A way back for replies, to one consumer that is added next; it goes with that consumer. */
  openReplyQueue(): Queue {
    return this.replyQueues.open();
  }

  hasReplyQueue(name: string): boolean {
    return this.replyQueues.find(name) !== undefined;
  }

  consumerLeft(queue: Queue): void {
    if (this.replyQueues.close(queue)) return void this.epoch++;
    if (queue.settings.autoDelete && queue.hadConsumer && queue.consumerCount === 0 && !queue.isDeleted) this.removeQueue(queue);
  }

  // What the journal brings back after a crash, in its order.

  recoverDefinition(definition: Definition): void {
    this.register.wasClosed = definition.do === 'close';
    if (definition.do !== 'close') this.evolve(definition);
  }

  finishRecovery(): void {
    for (const queue of this.queuesByName.values()) {
      queue.finishRecovery(this.register.wasClosed);
      this.startLease(queue);
    }
    this.exchanges.finishRecovery();
  }

  /** Everything in it is gone, now and after a crash: whoever calls this keeps that decision. Its consumers are told. */
  clear(): void {
    for (const queue of [...this.queuesByName.values()]) {
      this.forgetQueue(queue);
      queue.owner?.exclusiveQueues.delete(queue);
      for (const consumer of [...queue.consumers]) consumer.session.queueDeleted(consumer);
    }
    this.exchanges.clear();
  }

  /** Everything that is kept, as it is defined now. */
  checkpoint(): Checkpoint {
    const queues = [...this.queuesByName.values()].filter((queue) => queue.log !== undefined);
    const { bindings, ...exchanges } = this.exchanges.checkpoint();
    return {
      do: 'checkpoint',
      nextQueueId: this.register.nextId,
      ...exchanges,
      queues: queues.map((queue) => ({ queue: queue.settings, nextSequence: queue.upcomingSequence })),
      bindings,
    };
  }

  /** The last words: which messages were ever delivered, for the flags after the next opening. */
  appendDelivered(): void {
    const { log } = this;
    if (log === undefined) return;
    this.deadlines.stop(); // what comes due now does so after the next opening
    log.recordQueues();
    for (const queue of this.queuesByName.values()) if (queue.log !== undefined) queue.recordDelivered(log);
  }

  /** Records of the first virtual host say no name: there was only one once. */
  private append(definition: Definition): void {
    if (this.log === undefined) return;
    this.log.appendDefinition(JSON.stringify(this.name === firstHostName ? definition : { ...definition, host: this.name }));
    this.turn.definitionWasAppended();
  }

  private evolve(definition: Exclude<Definition, { readonly do: 'close' }>): void {
    switch (definition.do) {
      case 'declare-exchange':
        return this.exchanges.recoverDeclared(definition.exchange);
      case 'delete-exchange':
        return this.exchanges.recoverDeleted(definition.name);
      case 'declare-queue':
        return void this.addQueue(definition.queue, undefined);
      case 'delete-queue':
        return void this.forgetQueue(this.register.byId.get(definition.id));
      case 'bind':
      case 'unbind':
        return this.exchanges.recoverBinding(definition.do, definition.binding, (id) => this.register.byId.get(id));
      case 'checkpoint':
        return this.evolveCheckpoint(definition);
    }
  }

  /** Only the first checkpoint says something new; the later ones repeat what the records before them made. */
  private evolveCheckpoint(checkpoint: Checkpoint): void {
    if (this.isReplayed) return;
    this.isReplayed = true;
    this.register.nextId = checkpoint.nextQueueId;
    for (const settings of checkpoint.exchanges) this.exchanges.recoverDeclared(settings);
    for (const { id, nextSequence } of checkpoint.held ?? []) this.register.held.get(id)?.recoverSequence(nextSequence);
    for (const { queue: settings, nextSequence } of checkpoint.queues) {
      const queue = this.addQueue(settings, undefined);
      queue.recoverSequence(nextSequence);
    }
    for (const binding of checkpoint.bindings) this.exchanges.recoverBinding('bind', binding, (id) => this.register.byId.get(id));
  }

  private addQueue(settings: QueueSettings, owner: Owner | undefined): Queue {
    const log = settings.durable && !settings.exclusive ? this.log : undefined;
    const policy = settings.arguments === undefined ? undefined : parseQueuePolicy(argumentsFrom(settings.arguments));
    const queue = new Queue(settings, owner, this.arena, this.turn, log, this, policy);
    this.queuesByName.set(settings.name, queue);
    this.register.add(queue);
    owner?.exclusiveQueues.add(queue);
    this.epoch++;
    return queue;
  }

  /** RabbitMQ asks in this order. */
  private checkBinding({ owner }: Session, kind: 'exchange' | 'queue', to: string, from: string, key: string): void {
    const { access } = owner;
    if (access === undefined) return;
    access.check('write', kind, to);
    if (from === '') throw defaultExchangeError();
    access.check('read', 'exchange', from);
    if (this.exchanges.isTopic(from)) access.checkTopic('read', from, key);
  }

  private checkQueueCount(name: string): void {
    const { queuesMax } = this.parts.limits;
    if (this.queuesByName.size >= this.queuesMax) {
      const reason = `queue limit in vhost '${this.name}' (${this.queuesMax}) is reached`;
      throw new CodedError('limit-reached', `cannot declare queue '${name}': ${reason}`);
    }
    if (this.register.byId.size < queuesMax) return;
    throw new CodedError('invalid-argument', `cannot declare queue '${name}': the limit of ${queuesMax} queues is reached`);
  }

  /** A queue gets the type of its virtual host where it says none and could be of that type. */
  private withDefaultType({ durable, exclusive, autoDelete, arguments: given }: QueueDeclaration): FieldTable {
    if (this.defaultQueueType === 'classic' || 'x-queue-type' in given || !durable || exclusive || autoDelete) return given;
    return { ...given, 'x-queue-type': this.defaultQueueType };
  }

  private startLease(queue: Queue): void {
    const expiresMs = queue.policy?.expiresMs ?? Infinity;
    if (expiresMs === Infinity) return;
    queue.lease = new Lease(queue, expiresMs, this.clock, this.deadlines, (unused) => this.removeQueue(unused));
  }

  private removeQueue(queue: Queue): void {
    const abandoned = this.forgetQueue(queue);
    if (queue.log !== undefined) this.append({ do: 'delete-queue', id: queue.id });
    queue.owner?.exclusiveQueues.delete(queue);
    for (const consumer of [...queue.consumers]) consumer.session.queueDeleted(consumer);
    for (const exchange of abandoned) this.exchanges.removeIfAbandoned(exchange);
  }

  /** Takes a queue and its bindings away; returns the exchanges that lost one. */
  private forgetQueue(queue: Queue | undefined): readonly Exchange[] {
    if (queue === undefined) return [];
    this.queuesByName.delete(queue.name);
    this.register.byId.delete(queue.id);
    this.epoch++;
    const touched = this.exchanges.forgetQueue(queue);
    queue.clear();
    return touched;
  }

  private findRoute(exchangeName: string, key: string): Route {
    if (exchangeName === '') {
      const queue = this.findByKey(key);
      return queue === undefined ? nowhere : routeTo([queue]);
    }
    return this.exchanges.walk(this.findOpenExchange(exchangeName), new KeyedMessage(key), true) ?? perMessage;
  }

  /** Where a message that was held goes now, from the exchange that held it on. */
  routeReleased(exchangeName: string, message: ContentMessage): Route {
    return this.exchanges.walk(this.exchanges.find(exchangeName), message, false)!;
  }

  /** What the default exchange leads to. */
  private findByKey(key: string): Queue | undefined {
    return this.queuesByName.get(key) ?? this.replyQueues.find(key);
  }

  /** An exchange to which clients may publish. */
  private findOpenExchange(name: string): Exchange {
    const exchange = this.exchanges.find(name);
    if (!exchange.settings.internal) return exchange;
    throw new CodedError('internal-exchange', `cannot publish to internal exchange '${name}' in vhost '${this.name}'`);
  }

  private locked(name: string): CodedError {
    return new CodedError(
      'exclusive-owner',
      `cannot obtain exclusive access to locked queue '${name}' in vhost '${this.name}'. It could be originally declared on ` +
        'another connection or the exclusive property value does not match that of the original declaration.',
    );
  }

  private generateName(): string {
    return `amq.gen-${this.parts.random.bytes(16).toString('base64url')}`;
  }
}
