import { CodedError } from '../errors.js';
import type { Consumer } from '../queues/consumer.js';
import {
  bodyLength,
  bodyStart,
  contentExchange,
  contentRoutingKey,
  passingImage,
  propertiesEnd,
  propertiesStart,
  writeContent,
  writePassingContent,
} from '../queues/content.js';
import { withoutHeader } from '../queues/content-edit.js';
import { expirationFault } from '../queues/expiry.js';
import { extraKeys } from '../queues/extra-keys.js';
import type { FieldTable } from '../queues/field-table.js';
import type { Owner } from '../queues/owner.js';
import { decodeProperties, type MessageProperties, type PropertyVisitor, visitProperties } from '../queues/properties.js';
import { isHeldOnly, nowhere, perMessage, type Route } from '../queues/route.js';
import { ContentMessage } from '../queues/routed-message.js';
import type { Session, SessionSink } from '../queues/session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import type { UserAccess } from './user-access.js';
import type {
  BrokerConsumer,
  BrokerSession,
  ConsumeOptions,
  Delivery,
  ExchangeOptions,
  FetchedDelivery,
  OutgoingMessage,
  PublishAnswer,
  QueueOptions,
  TransactionWork,
} from './in-process.js';

/** A publish without an answer. A class: what an expression makes V8 may come to put among what is old at once, with all that it names. */
class Waiting {
  constructor(
    readonly answer: PublishAnswer,
    readonly outcome: 'confirmed' | 'unroutable',
  ) {}
}

/** A publish, or several, as they go to the queues. */
interface Held {
  readonly publish: () => void;
  readonly reject: (error: CodedError) => void;
}

/** What is to be published, with its way: nothing can refuse it any more but a queue that is full. */
interface Addressed {
  readonly image: Buffer;
  readonly length: number;
  readonly route: Route;
  readonly isPersistent: boolean;
  readonly isExpiring: boolean;
}

const persistentMode = 2;

/** A session for callers in the same process; see `BrokerSession` for what it promises. */
export class InProcessSession implements BrokerSession, SessionSink {
  private readonly owner: Owner;
  private readonly session: Session;
  private readonly handlers = new Map<Consumer, (delivery: Delivery) => void>();
  private readonly handles = new Map<Consumer, BrokerConsumer>();
  /** Publishes without an answer, oldest first; the first one is the `confirmedCount + 1`th of the session. */
  private waiting: Waiting[] = [];
  private confirmedCount = 0;
  /** Publishes that wait for the gate, in their order; none overtakes them. */
  private readonly held: Held[] = [];
  private stopWaiting: (() => void) | undefined;
  /** Changes that wait for their commit. */
  private readonly defining = new Set<(error: CodedError) => void>();
  private consumerNumber = 0;
  private error: CodedError | undefined;
  private fetched: FetchedDelivery | undefined;

  constructor(
    private readonly host: VirtualHost,
    private readonly report: (line: string) => void,
    private readonly closed: () => void,
    /** What it may do; without, everything. */
    access?: UserAccess,
  ) {
    this.owner = host.createOwner(access);
    this.session = host.createSession(this.owner, this);
    this.session.isConfirming = true;
  }

  get virtualHost(): string {
    return this.host.name;
  }

  declareExchange(name: string, type: string, options: ExchangeOptions = {}): Promise<void> {
    const { durable = false, autoDelete = false, internal = false, arguments: given = {} } = options;
    const declaration = { passive: false, durable, autoDelete, internal, arguments: given };
    return this.define(() => this.host.declareExchange(this.session, name, type, declaration));
  }

  deleteExchange(name: string, { ifUnused = false } = {}): Promise<void> {
    return this.define(() => this.host.deleteExchange(this.session, name, { ifUnused }));
  }

  async declareQueue(name: string, options: QueueOptions = {}): Promise<{ name: string; messageCount: number; consumerCount: number }> {
    const { durable = false, exclusive = false, autoDelete = false, arguments: given = {} } = options;
    const declaration = { passive: false, durable, exclusive, autoDelete, arguments: given };
    const queue = await this.define(() => this.host.declareQueue(this.session, name, declaration));
    return { name: queue.name, messageCount: queue.messageCount, consumerCount: queue.consumerCount };
  }

  async checkQueue(name: string): Promise<{ messageCount: number; consumerCount: number }> {
    await this.messagesOf(name);
    const asked = { passive: true, durable: false, exclusive: false, autoDelete: false, arguments: {} };
    const { messageCount, consumerCount } = await this.define(() => this.host.declareQueue(this.session, name, asked));
    return { messageCount, consumerCount };
  }

  async deleteQueue(name: string, { ifUnused = false, ifEmpty = false } = {}): Promise<{ messageCount: number }> {
    await this.messagesOf(name);
    return { messageCount: await this.define(() => this.host.deleteQueue(this.session, name, { ifUnused, ifEmpty })) };
  }

  async purgeQueue(name: string): Promise<{ messageCount: number }> {
    await this.messagesOf(name);
    return { messageCount: await this.define(() => this.host.purgeQueue(this.session, name)) };
  }

  bindExchange(destination: string, source: string, routingKey: string, given: FieldTable = {}): Promise<void> {
    return this.define(() => this.host.bindExchange(this.session, destination, source, routingKey, given));
  }

  unbindExchange(destination: string, source: string, routingKey: string, given: FieldTable = {}): Promise<void> {
    return this.define(() => this.host.unbindExchange(this.session, destination, source, routingKey, given));
  }

  bindQueue(queue: string, exchange: string, routingKey: string, given: FieldTable = {}): Promise<void> {
    return this.define(() => this.host.bindQueue(this.session, queue, exchange, routingKey, given));
  }

  unbindQueue(queue: string, exchange: string, routingKey: string, given: FieldTable = {}): Promise<void> {
    return this.define(() => this.host.unbindQueue(this.session, queue, exchange, routingKey, given));
  }

  publish(message: OutgoingMessage): Promise<'confirmed' | 'unroutable'> {
    const { host } = this;
    if (message.body.length > host.messageBytesMax) return Promise.reject(tooLarge(message.body.length, host.messageBytesMax));
    if (host.gate === 'open' && this.held.length === 0 && this.error === undefined) return this.publishNow(message);
    return this.whenOpen(() => this.publishNow(message));
  }

  publishTelling(message: OutgoingMessage, answer: PublishAnswer): void {
    const { host } = this;
    const isTaken =
      host.gate === 'open' && this.held.length === 0 && this.error === undefined && message.body.length <= host.messageBytesMax;
    if (!isTaken) return tell(this.publish(message), answer);
    let addressed: Addressed;
    try {
      addressed = this.addressNow(message);
    } catch (error) {
      return tell(Promise.reject(error as CodedError), answer);
    }
    this.send(addressed, answer);
  }

  transact({ publish: messages = [], acknowledge = [] }: TransactionWork): Promise<readonly ('confirmed' | 'unroutable')[]> {
    const { messageBytesMax, transactionBytesMax } = this.host;
    const tooLong = messages.find(({ body }) => body.length > messageBytesMax);
    if (tooLong !== undefined) return Promise.reject(tooLarge(tooLong.body.length, messageBytesMax));
    const bytes = messages.reduce((sum, { body }) => sum + body.length, 0);
    if (bytes > transactionBytesMax) {
      const sentence = `a transaction of ${bytes} bytes is larger than the limit of ${transactionBytesMax}: make several of it`;
      return Promise.reject(new CodedError('transaction-too-large', sentence));
    }
    return this.whenOpen(() => this.transactNow(messages, acknowledge));
  }

  async consume(queueName: string, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void): Promise<BrokerConsumer> {
    const { prefetch = 0, autoAck: noAck = false, exclusive = false, priority } = options;
    const tag = `in-process-${++this.consumerNumber}`;
    const consumer = await this.define(() => {
      const queue = this.host.findQueue(this.session, queueName);
      const asked: FieldTable = priority === undefined ? {} : { 'x-priority': priority };
      const added = this.session.consume(queue, { tag, noAck, exclusive, prefetch, arguments: asked });
      this.handlers.set(added, onDelivery);
      return added;
    });
    if (consumer.isCancelled) throw new CodedError('no-queue', `queue '${queueName}' was deleted while the consumer was added`);
    const handle: BrokerConsumer = { cancel: () => this.cancel(consumer), onCancelled: undefined };
    this.handles.set(consumer, handle);
    return handle;
  }

  async get(queueName: string, { autoAck = false }: { readonly autoAck?: boolean } = {}): Promise<FetchedDelivery | undefined> {
    await this.messagesOf(queueName);
    return this.define(() => {
      this.fetched = undefined;
      this.session.get(this.host.findReadableQueue(this.session, queueName), autoAck);
      return this.fetched;
    });
  }

  async close(): Promise<void> {
    this.fail(new CodedError('closed', 'The session was closed before the message was confirmed: it may or may not have been kept'));
  }

  /** The session is over, because it was closed or because the broker cannot go on. */
  fail(error: CodedError): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.session.close();
    this.host.closeOwner(this.owner);
    const waiting = this.waiting;
    this.waiting = [];
    for (const { answer } of waiting) answer.refused(error);
    for (const { reject } of this.held.splice(0)) reject(error);
    this.stopWaiting?.();
    for (const reject of this.defining) reject(error);
    this.defining.clear();
    this.closed();
  }

  // What the queues call.

  deliver(consumer: Consumer, deliveryTag: number, isRedelivered: boolean, bytes: Buffer, start: number, length: number): void {
    const image = Buffer.allocUnsafe(length);
    bytes.copy(image, 0, start, start + length);
    const session = consumer.noAck ? undefined : this.session;
    try {
      this.handlers.get(consumer)?.(new ReceivedMessage(session, deliveryTag, isRedelivered, image));
    } catch (error) {
      // Thrown on, it would end the turn of everybody else's queues.
      const reason = error instanceof Error ? error.message : String(error);
      this.report(`The handler of a consumer of queue '${consumer.queue.name}' threw '${reason}': its message stays unacknowledged`);
    }
  }

  got(deliveryTag: number, isRedelivered: boolean, messageCount: number, bytes: Buffer, start: number, length: number): void {
    const image = Buffer.allocUnsafe(length);
    bytes.copy(image, 0, start, start + length);
    this.fetched = new FetchedMessage(this.session, deliveryTag, isRedelivered, image, messageCount);
  }

  confirmed(upTo: number): void {
    const answered = this.waiting.splice(0, upTo - this.confirmedCount);
    this.confirmedCount = upTo;
    for (const { answer, outcome } of answered) answer.confirmed(outcome);
  }

  rejected(publish: number): void {
    const refused = this.waiting.shift();
    this.confirmedCount = publish;
    refused?.answer.refused(
      new CodedError('queue-full', 'A queue is full and refused the message: publish again when consumers have caught up'),
    );
  }

  cancelled(consumer: Consumer): void {
    this.handlers.delete(consumer);
    const handle = this.handles.get(consumer);
    this.handles.delete(consumer);
    handle?.onCancelled?.();
  }

  /** Runs `publish` when publishers may publish; a full disk refuses. */
  private whenOpen<T>(publish: () => Promise<T>): Promise<T> {
    const { host, held } = this;
    if (this.error !== undefined) return Promise.reject(this.error);
    if (host.gate === 'open' && held.length === 0) return publish();
    if (host.isDiskFull) return Promise.reject(this.diskFull());
    return new Promise((resolve, reject) => {
      held.push({ publish: () => void publish().then(resolve, reject), reject });
      this.stopWaiting ??= host.onGateChange(() => this.releaseHeld());
    });
  }

  private publishNow(message: OutgoingMessage): Promise<'confirmed' | 'unroutable'> {
    return new Promise((confirmed, refused) => this.send(this.addressNow(message), { confirmed, refused }));
  }

  private async transactNow(messages: readonly OutgoingMessage[], acknowledge: readonly Delivery[]) {
    const addressed = messages.map((message) => this.address(message)); // throws before anything is done
    const published: Promise<'confirmed' | 'unroutable'>[] = [];
    const isKept = acknowledge.length > 0 || addressed.some(({ isPersistent }) => isPersistent);
    this.host.atomically(isKept, () => {
      for (const one of addressed) published.push(new Promise((confirmed, refused) => this.send(one, { confirmed, refused })));
      for (const delivery of acknowledge) delivery.acknowledge();
    });
    const outcomes = Promise.all(published);
    await Promise.all([outcomes, this.define(() => undefined)]);
    return outcomes;
  }

  /** The image is good until the next message is addressed. */
  private addressNow(message: OutgoingMessage): Addressed {
    const { exchange, routingKey, body, properties = noProperties, common } = message;
    checkExpiration(properties);
    // An exchange of somebody's own may publish while it is asked for the route, so the image is made behind that.
    const route = this.host.routeFor(this.owner.access, exchange, routingKey);
    if (route === perMessage || hasExtraKeys(properties)) return this.address(message);
    let length = writePassingContent(exchange, routingKey, properties, body, common);
    if (length === 0 && common !== undefined) length = writePassingContent(exchange, routingKey, common.with(properties), body);
    if (length === 0) return this.address(message);
    return addressed(passingImage, length, route, properties.expiration, (common?.properties ?? properties).deliveryMode);
  }

  private address({ exchange, routingKey, body, properties: own = noProperties, common }: OutgoingMessage): Addressed {
    const properties = common?.with(own) ?? own;
    checkExpiration(properties);
    const image = writeContent(exchange, routingKey, properties, body);
    const { access } = this.owner;
    let route = this.host.routeFor(access, exchange, routingKey);
    const keys = hasExtraKeys(properties) ? extraKeys(image, 0) : undefined;
    if (keys !== undefined) this.host.checkTopics(access, exchange, keys);
    if (keys !== undefined || route === perMessage) route = this.host.routeMessage(exchange, new ContentMessage(image, 0, keys));
    const visible = keys === undefined || isHeldOnly(route) ? image : (withoutHeader(image, 0, image.length, 'BCC') ?? image);
    return addressed(visible, visible.length, route, properties.expiration, properties.deliveryMode);
  }

  private send({ image, length, route, isPersistent, isExpiring }: Addressed, answer: PublishAnswer): void {
    this.waiting.push(new Waiting(answer, route === nowhere ? 'unroutable' : 'confirmed'));
    this.session.publish(route, isPersistent, image, 0, length, isExpiring);
  }

  /** Memory that is used up makes a publisher wait for the consumers; a full disk needs a person, so the caller hears of it. */
  private releaseHeld(): void {
    const isFull = this.host.isDiskFull;
    if (this.host.gate !== 'open' && !isFull) return;
    this.stopWaiting?.();
    this.stopWaiting = undefined;
    for (const { publish, reject } of this.held.splice(0)) {
      if (isFull) reject(this.diskFull());
      else publish();
    }
  }

  private diskFull(): CodedError {
    return new CodedError('disk-full', `Nothing can be published now: ${this.host.gateReason}`);
  }

  /** What was published before is in the queue when this resolves, or on its way for ever: the disk is full. */
  private messagesOf(queueName: string): Promise<void> {
    const { host } = this;
    return new Promise((resolve) => {
      if (host.isDiskFull || !host.afterMessagesOf(queueName, resolve)) resolve();
    });
  }

  private async cancel(consumer: Consumer): Promise<void> {
    this.session.cancel(consumer.tag);
    this.handlers.delete(consumer);
    this.handles.delete(consumer);
  }

  /** Runs a change and waits until it is as durable as it was asked to be. */
  private define<T>(change: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.error !== undefined) return reject(this.error);
      const result = change(); // a refusal rejects the promise
      this.defining.add(reject);
      this.host.afterCommit(() => {
        this.defining.delete(reject);
        resolve(result);
      });
    });
  }
}

class ReceivedMessage implements Delivery {
  private decoded: MessageProperties | undefined;

  constructor(
    private session: Session | undefined,
    private readonly tag: number,
    readonly isRedelivered: boolean,
    private readonly image: Buffer,
  ) {}

  get exchange(): string {
    return contentExchange(this.image, 0);
  }

  get routingKey(): string {
    return contentRoutingKey(this.image, 0);
  }

  get properties(): MessageProperties {
    this.decoded ??= decodeProperties(this.image, propertiesStart(this.image, 0), propertiesEnd(this.image, 0));
    return this.decoded;
  }

  visitProperties(visitor: PropertyVisitor): void {
    visitProperties(this.image, propertiesStart(this.image, 0), propertiesEnd(this.image, 0), visitor);
  }

  get body(): Buffer {
    const length = bodyLength(this.image, 0);
    if (length === 0) return Buffer.alloc(0);
    const start = bodyStart(this.image, 0);
    return this.image.subarray(start, start + length);
  }

  acknowledge(): void {
    this.session?.acknowledge(this.tag, false);
    this.session = undefined;
  }

  reject({ requeue }: { readonly requeue: boolean }): void {
    this.session?.reject(this.tag, false, requeue);
    this.session = undefined;
  }
}

class FetchedMessage extends ReceivedMessage implements FetchedDelivery {
  constructor(
    session: Session,
    tag: number,
    isRedelivered: boolean,
    image: Buffer,
    readonly messageCount: number,
  ) {
    super(session, tag, isRedelivered, image);
  }
}

const noProperties: MessageProperties = {};

function addressed(
  image: Buffer,
  length: number,
  route: Route,
  expiration: string | undefined,
  deliveryMode: MessageProperties['deliveryMode'],
): Addressed {
  return { image, length, route, isPersistent: deliveryMode === persistentMode, isExpiring: expiration !== undefined };
}

function checkExpiration({ expiration }: MessageProperties): void {
  const fault = expiration === undefined ? undefined : expirationFault(expiration);
  if (fault !== undefined) throw new CodedError('invalid-argument', `invalid expiration '${expiration}': ${fault}`);
}

function tell(published: Promise<'confirmed' | 'unroutable'>, answer: PublishAnswer): void {
  published.then(
    (outcome) => answer.confirmed(outcome),
    (error: unknown) => answer.refused(error),
  );
}

function hasExtraKeys({ headers }: MessageProperties): boolean {
  return headers !== undefined && (headers['CC'] !== undefined || headers['BCC'] !== undefined);
}

function tooLarge(bytes: number, bytesMax: number): CodedError {
  return new CodedError('message-too-large', `message size ${bytes} is larger than configured max size ${bytesMax}`);
}
