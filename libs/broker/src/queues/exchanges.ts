import type { Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Access } from './access.js';
import { Binding } from './binding.js';
import type { BindingRecord, Checkpoint, Definition } from './definitions.js';
import { argumentsOf, argumentsText } from './encoded-arguments.js';
import { type DelayHost, DelayedMessages } from './delayed-messages.js';
import { Exchange, type ExchangeSettings, refusing } from './exchange.js';
import { predeclared } from './exchange-types/built-in.js';
import { delayedType, delayedTypeName } from './exchange-types/delayed.js';
import type { ExchangeType } from './exchange-type.js';
import { type FieldTable, fieldTypeName } from './field-table.js';
import type { MessageLog } from './message-log.js';
import type { Queue } from './queue.js';
import type { QueueRegister } from './queue-register.js';
import type { VisitHolding } from './trimmer.js';
import { type Route, routeTo } from './route.js';
import type { ContentMessage, KeyedMessage } from './routed-message.js';

export interface ExchangeDeclaration {
  readonly passive: boolean;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: FieldTable;
}

export interface ExchangesParts {
  /** Of the virtual host, for the sentences. */
  readonly hostName: string;
  readonly types: ReadonlyMap<string, ExchangeType>;
  readonly random: Random;
  /** Keeps a definition. */
  append(definition: Definition): void;
  /** Routes that were found before may be wrong now. */
  changed(): void;
  /** Numbers that no queue and no exchange has in the journal. */
  readonly register: QueueRegister;
  /** undefined where nothing is kept. */
  readonly log: MessageLog | undefined;
  readonly delays: DelayHost;
}

/**
 * The exchanges of one virtual host and the bindings from them, and the way of a message through them.
 *
 * Durable exchanges are kept, and bindings whose two ends are kept. A change is appended to the journal in the step that makes
 * it. Only the virtual host calls this; the default exchange, which is no exchange but the names of the queues, is its business.
 */
export class Exchanges {
  private readonly byName = new Map<string, Exchange>();
  private readonly toQueues = new Map<Queue, Set<Binding>>();

  constructor(private readonly parts: ExchangesParts) {
    for (const settings of predeclared) this.add({ ...settings, durable: true, autoDelete: false });
  }

  /** Throws when there is none of that name. */
  find(name: string): Exchange {
    if (name === '') throw defaultExchangeError();
    const exchange = this.byName.get(name);
    if (exchange === undefined) throw new CodedError('no-exchange', `no exchange '${name}' in vhost '${this.parts.hostName}'`);
    return exchange;
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  get typeNames(): readonly string[] {
    return [...this.parts.types.keys()];
  }

  get settings(): readonly ExchangeSettings[] {
    return [...this.byName.values()].map(({ settings }) => settings);
  }

  get bindings(): readonly Binding[] {
    return [...this.byName.values()].flatMap(({ bindings }) => [...bindings.values()]);
  }

  /** Whether routing keys have permissions of their own there. */
  isTopic(name: string): boolean {
    return this.byName.get(name)?.settings.type === 'topic';
  }

  declare(name: string, type: string, declaration: ExchangeDeclaration, access?: Access): void {
    if (declaration.passive) return void this.find(name);
    if (type !== delayedTypeName && !this.parts.types.has(type)) {
      throw new CodedError('unknown-exchange-type', type === '' ? "invalid exchange type ''" : `unknown exchange type '${type}'`);
    }
    if (name === '') throw defaultExchangeError();
    access?.check('configure', 'exchange', name);
    const { durable, autoDelete, internal, arguments: given } = declaration;
    const existing = this.byName.get(name);
    if (existing !== undefined) return this.checkSame(existing, { type, durable, auto_delete: autoDelete, internal }, given);
    if (name.startsWith('amq.')) throw new CodedError('reserved-name', `exchange name '${name}' contains reserved prefix 'amq.*'`);
    const alternate = given['alternate-exchange'];
    if (alternate !== undefined && typeof alternate !== 'string') {
      const place = `exchange '${name}' in vhost '${this.parts.hostName}'`;
      throw new CodedError('invalid-argument', `invalid type '${fieldTypeName(alternate)}' for arg 'alternate-exchange' in ${place}`);
    }
    if (alternate !== undefined) {
      access?.check('read', 'exchange', name);
      access?.check('write', 'exchange', alternate);
    }
    refusing(() => this.routingType(name, type, given).checkArguments?.(given));
    const text = argumentsText(given);
    const settings: ExchangeSettings = {
      ...{ name, type, durable, autoDelete, internal },
      ...(text === '' ? {} : { arguments: text }),
      ...(type === delayedTypeName ? { heldId: this.parts.register.nextId++ } : {}),
    };
    this.add(settings);
    if (durable) this.parts.append({ do: 'declare-exchange', exchange: settings });
  }

  delete(name: string, conditions: { readonly ifUnused: boolean }, access?: Access): void {
    if (name === '') throw defaultExchangeError();
    const { hostName } = this.parts;
    if (name.startsWith('amq.')) {
      throw new CodedError('reserved-name', `deletion of system exchange '${name}' in vhost '${hostName}' not allowed`);
    }
    access?.check('configure', 'exchange', name);
    const exchange = this.byName.get(name);
    if (exchange === undefined) return;
    if (conditions.ifUnused && exchange.bindings.size > 0) {
      throw new CodedError('in-use', `exchange '${name}' in vhost '${hostName}' in use`);
    }
    this.remove(exchange);
  }

  bind(from: Exchange, target: Queue | Exchange, key: string, given: FieldTable): void {
    const binding = new Binding(from, target, key, argumentsText(given));
    from.check(binding);
    if (!this.attach(binding)) return;
    this.parts.changed();
    if (binding.isKept) this.parts.append({ do: 'bind', binding: recordOf(binding) });
  }

  isBound(from: Exchange, target: Queue | Exchange, key: string, given: FieldTable): boolean {
    return from.bindings.has(new Binding(from, target, key, argumentsText(given)).id);
  }

  /** Taking away a binding that is not there is no error. */
  unbind(from: Exchange, target: Queue | Exchange, key: string, given: FieldTable): void {
    const binding = this.detach(new Binding(from, target, key, argumentsText(given)));
    if (binding === undefined) return;
    this.parts.changed();
    if (binding.isKept) this.parts.append({ do: 'unbind', binding: recordOf(binding) });
    this.removeIfAbandoned(from);
  }

  /** The queue is deleted: its bindings go. Returns the exchanges that lost one; an auto-delete one among them may have to go too. */
  forgetQueue(queue: Queue): readonly Exchange[] {
    const touched = new Set<Exchange>();
    for (const binding of [...(this.toQueues.get(queue) ?? [])]) {
      this.detach(binding);
      touched.add(binding.from);
    }
    return [...touched];
  }

  removeIfAbandoned(exchange: Exchange): void {
    const isThere = this.byName.get(exchange.name) === exchange;
    if (isThere && exchange.settings.autoDelete && exchange.hadBinding && exchange.bindings.size === 0) this.remove(exchange);
  }

  /**
   * The queues that a message reaches from `first`, each once, however many ways lead to it: breadth first, through each exchange
   * once. What no binding of an exchange takes goes on to its alternate exchange. With `byKeyOnly` the answer is undefined where
   * an exchange on the way looks at more of the message than its keys. An exchange that delays the message holds it and leads nowhere.
   */
  walk(first: Exchange, message: KeyedMessage | ContentMessage, byKeyOnly: boolean): Route | undefined {
    if (first.held !== undefined && message.delayMs > 0) return first.held.route;
    const queues = new Set<Queue>();
    const holds: DelayedMessages[] = [];
    const seen = new Set([first]);
    for (const exchange of seen) {
      if (byKeyOnly && exchange.readsMessage) return undefined;
      if (exchange.held !== undefined && message.delayMs > 0) {
        holds.push(exchange.held);
        continue;
      }
      let isTaken = false;
      exchange.route(message, (binding) => {
        if (!binding.isBound) return;
        isTaken = true;
        // A set is walked through in the order in which it grows, also while it does.
        if (binding.target instanceof Exchange) seen.add(binding.target);
        else queues.add(binding.target);
      });
      const alternate = isTaken || exchange.alternate === undefined ? undefined : this.byName.get(exchange.alternate);
      if (alternate !== undefined) seen.add(alternate);
    }
    return routeTo(queues, holds);
  }

  // What recovery does, and what it will need.

  recoverDeclared(settings: ExchangeSettings): void {
    this.add(settings);
  }

  recoverDeleted(name: string): void {
    const exchange = this.byName.get(name);
    if (exchange !== undefined) this.forget(exchange);
  }

  /** `queueById` finds the queues; a binding that leads to nothing any more is passed over. */
  recoverBinding(verb: 'bind' | 'unbind', record: BindingRecord, queueById: (id: number) => Queue | undefined): void {
    const from = this.byName.get(record.exchange);
    const target = 'toExchange' in record ? this.byName.get(record.toExchange) : queueById(record.queueId);
    if (from === undefined || target === undefined) return;
    // Once more through the text, because older versions kept the fields in the order in which they came.
    const binding = new Binding(from, target, record.key, argumentsText(argumentsOf(record.arguments)));
    if (verb === 'bind') this.attach(binding);
    else this.detach(binding);
  }

  finishRecovery(): void {
    for (const { held } of this.byName.values()) held?.finishRecovery();
  }

  /** What the exchanges hold is forgotten, because the whole virtual host is. */
  clear(): void {
    for (const { held } of this.byName.values()) {
      if (held === undefined) continue;
      this.parts.register.held.delete(held.id);
      held.clear();
    }
  }

  /** Everything here that is kept. */
  checkpoint(): Pick<Checkpoint, 'exchanges' | 'held' | 'bindings'> {
    const bindings: BindingRecord[] = [];
    for (const exchange of this.byName.values()) {
      for (const binding of exchange.bindings.values()) if (binding.isKept) bindings.push(recordOf(binding));
    }
    const exchanges = this.settings.filter(({ durable, name }) => durable && !name.startsWith('amq.'));
    const kept = [...this.byName.values()].flatMap(({ held: own }) => (own?.log === undefined ? [] : [own]));
    const held = kept.map(({ id, upcomingSequence: nextSequence }) => ({ id, nextSequence }));
    return { exchanges, bindings, ...(held.length === 0 ? {} : { held }) };
  }

  /** What exchanges hold. */
  forEachHolding(visit: VisitHolding): void {
    for (const { held } of this.byName.values()) held?.forEachHolding(visit);
  }

  private add(settings: ExchangeSettings): void {
    const { heldId, durable, name } = settings;
    const { log, delays, random } = this.parts;
    const type = this.routingType(name, settings.type, argumentsOf(settings.arguments ?? ''));
    const held = heldId === undefined ? undefined : new DelayedMessages(name, heldId, durable ? log : undefined, delays);
    if (held !== undefined) this.parts.register.addHeld(held);
    this.byName.set(name, new Exchange(settings, type, random, held));
    this.parts.changed();
  }

  /** What decides the way of messages through an exchange of this type. Throws when it is not known. */
  private routingType(exchange: string, name: string, given: FieldTable): ExchangeType {
    const { types } = this.parts;
    if (name === delayedTypeName) return delayedType(types, given);
    const type = types.get(name);
    if (type !== undefined) return type;
    throw new CodedError(
      'unknown-exchange-type',
      `The exchange '${exchange}' is of the type '${name}', which this broker does not know: give the type in exchangeTypes`,
    );
  }

  private remove(exchange: Exchange): void {
    if (exchange.settings.durable) this.parts.append({ do: 'delete-exchange', name: exchange.name });
    for (const source of this.forget(exchange)) this.removeIfAbandoned(source);
  }

  /** Takes it and the bindings from and to it away; returns the exchanges that lost one. */
  private forget(exchange: Exchange): ReadonlySet<Exchange> {
    this.byName.delete(exchange.name);
    if (exchange.held !== undefined) {
      this.parts.register.held.delete(exchange.held.id);
      exchange.held.clear();
    }
    this.parts.changed();
    const sources = new Set<Exchange>();
    for (const binding of [...exchange.bindings.values()]) this.detach(binding);
    for (const binding of [...exchange.incoming]) {
      this.detach(binding);
      sources.add(binding.from);
    }
    return sources;
  }

  private attach(binding: Binding): boolean {
    const { from, target } = binding;
    if (!from.bind(binding)) return false;
    if (target instanceof Exchange) target.incoming.add(binding);
    else {
      const others = this.toQueues.get(target);
      if (others === undefined) this.toQueues.set(target, new Set([binding]));
      else others.add(binding);
    }
    return true;
  }

  /** Takes the binding away that is the same as `like`, and returns it. */
  private detach(like: Binding): Binding | undefined {
    const binding = like.from.unbind(like.id);
    if (binding === undefined) return undefined;
    const { target } = binding;
    if (target instanceof Exchange) target.incoming.delete(binding);
    else {
      const others = this.toQueues.get(target)!;
      others.delete(binding);
      if (others.size === 0) this.toQueues.delete(target);
    }
    return binding;
  }

  /** Of the arguments only `alternate-exchange` counts, as in RabbitMQ. */
  private checkSame(
    { name, settings, alternate: now }: Exchange,
    received: Readonly<Record<string, boolean | string>>,
    given: FieldTable,
  ): void {
    const place = `for exchange '${name}' in vhost '${this.parts.hostName}'`;
    const current: Readonly<Record<string, boolean | string>> = {
      type: settings.type,
      durable: settings.durable,
      auto_delete: settings.autoDelete,
      internal: settings.internal,
    };
    for (const [field, value] of Object.entries(received)) {
      if (current[field] === value) continue;
      const difference = `received '${String(value)}' but current is '${String(current[field])}'`;
      throw new CodedError('inequivalent-arguments', `inequivalent arg '${field}' ${place}: ${difference}`);
    }
    const wanted = given['alternate-exchange'];
    if (wanted === now) return;
    const typed = (value: string, type: string): string => `the value '${value}' of type '${type}'`;
    const difference =
      wanted === undefined
        ? `received none but current is ${typed(now!, 'longstr')}`
        : now === undefined
          ? `received ${typed(shown(wanted), fieldTypeName(wanted))} but current is none`
          : `received '${shown(wanted)}' but current is '${now}'`;
    throw new CodedError('inequivalent-arguments', `inequivalent arg 'alternate-exchange' ${place}: ${difference}`);
  }
}

export function defaultExchangeError(): CodedError {
  return new CodedError('default-exchange', 'operation not permitted on the default exchange');
}

function recordOf({ source, target, routingKey: key, argumentsText: text }: Binding): BindingRecord {
  const common = { exchange: source, key, arguments: text };
  return target instanceof Exchange ? { ...common, toExchange: target.name } : { ...common, queueId: target.id };
}

function shown(value: FieldTable[string]): string {
  return typeof value === 'string'
    ? value
    : JSON.stringify(value, (_name, inner: unknown) => (typeof inner === 'bigint' ? `${inner}` : inner));
}
