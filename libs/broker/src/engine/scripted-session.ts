import { type SimulatedClock, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { defaultLimits, type Limits } from '../limits.js';
import type { Consumer } from '../queues/consumer.js';
import { bodyLength, bodyStart, propertiesEnd, propertiesStart, writeContent } from '../queues/content.js';
import { withoutHeader } from '../queues/content-edit.js';
import { extraKeys } from '../queues/extra-keys.js';
import type { FieldTable } from '../queues/field-table.js';
import { decodeProperties, type MessageProperties } from '../queues/properties.js';
import type { Queue } from '../queues/queue.js';
import { isHeldOnly, perMessage } from '../queues/route.js';
import { ContentMessage } from '../queues/routed-message.js';
import type { Session, SessionSink } from '../queues/session.js';
import { openStorage, type OpenStorage } from './open-storage.js';

/**
 * For tests: a session below any protocol that writes down what it is given, and a machine on which its broker can lose its power. All
 * of it on simulated time; nothing waits.
 */
export interface Given {
  readonly tag: number;
  readonly body: string;
  readonly isRedelivered: boolean;
  readonly properties: MessageProperties;
}

/** A session that writes down what it is given. */
export class ScriptedSession implements SessionSink {
  readonly session: Session;
  readonly delivered: (Given & { readonly consumer: string })[] = [];
  readonly answers: string[] = [];
  lastGot: Given | undefined;

  constructor(private readonly storage: OpenStorage) {
    this.session = storage.host.createSession(storage.host.createOwner(), this);
    this.session.isConfirming = true;
  }

  declare(name: string, given: FieldTable = {}, durable = false): void {
    const declaration = { passive: false, durable, exclusive: false, autoDelete: false, arguments: given };
    this.storage.host.declareQueue(this.session, name, declaration);
  }

  publish(queue: string, body: string, properties: MessageProperties = {}): void {
    this.publishTo('', queue, body, properties);
  }

  /** As a protocol server publishes: the message is routed by its keys, or by all of it where that matters. */
  publishTo(exchange: string, key: string, body: string, properties: MessageProperties = {}): void {
    const { host } = this.storage;
    let image = writeContent(exchange, key, properties, Buffer.from(body));
    let route = host.route(exchange, key);
    const keys = properties.headers === undefined ? undefined : extraKeys(image, 0);
    if (route === perMessage || keys !== undefined) route = host.routeMessage(exchange, new ContentMessage(image, 0, keys));
    if (keys !== undefined && !isHeldOnly(route)) image = withoutHeader(image, 0, image.length, 'BCC') ?? image;
    this.session.publish(route, properties.deliveryMode === 2, image, 0, image.length, properties.expiration !== undefined);
  }

  consume(queue: string, tag: string, options: { prefetch?: number; noAck?: boolean; priority?: number } = {}): void {
    const { prefetch = 0, noAck = false, priority } = options;
    const given: FieldTable = priority === undefined ? {} : { 'x-priority': priority };
    this.session.consume(this.queue(queue), { tag, noAck, prefetch, exclusive: false, arguments: given });
  }

  declareExchange(name: string, type: string, given: FieldTable = {}, durable = false): void {
    const declaration = { passive: false, durable, autoDelete: false, internal: false, arguments: given };
    this.storage.host.declareExchange(this.session, name, type, declaration);
  }

  bind(queue: string, exchange: string, key: string): void {
    this.storage.host.bindQueue(this.session, queue, exchange, key, {});
  }

  unbind(queue: string, exchange: string, key: string): void {
    this.storage.host.unbindQueue(this.session, queue, exchange, key, {});
  }

  get(queue: string): Given | undefined {
    this.lastGot = undefined;
    this.session.get(this.queue(queue), false);
    return this.lastGot;
  }

  count(queue: string): number {
    return this.queue(queue).messageCount;
  }

  queue(name: string): Queue {
    return this.storage.host.findQueue(this.session, name);
  }

  deliver(consumer: Consumer, tag: number, isRedelivered: boolean, bytes: Buffer, start: number): void {
    this.delivered.push({ consumer: consumer.tag, ...describeGiven(tag, isRedelivered, bytes, start) });
  }

  got(tag: number, isRedelivered: boolean, _count: number, bytes: Buffer, start: number): void {
    this.lastGot = describeGiven(tag, isRedelivered, bytes, start);
  }

  confirmed(upTo: number): void {
    while (this.answers.length < upTo) this.answers.push('ack');
  }

  rejected(publish: number): void {
    if (this.answers.length !== publish - 1) throw new Error(`publish ${publish} was answered out of order`);
    this.answers.push('nack');
  }

  cancelled(): void {
    // nobody asks
  }
}

function describeGiven(tag: number, isRedelivered: boolean, bytes: Buffer, start: number): Given {
  const length = bodyLength(bytes, start);
  const body = length === 0 ? '' : bytes.toString('utf8', bodyStart(bytes, start), bodyStart(bytes, start) + length);
  const properties = decodeProperties(Buffer.from(bytes), propertiesStart(bytes, start), propertiesEnd(bytes, start));
  return { tag, body, isRedelivered, properties };
}

export async function inMemory(): Promise<{
  client: ScriptedSession;
  clock: SimulatedClock;
  settle: () => Promise<void>;
  storage: OpenStorage;
}> {
  const ground = simulatedGround(1);
  const { clock } = ground;
  const storage = await clock.drive(openStorage({ durability: 'memory' }, ground, defaultLimits));
  return { client: new ScriptedSession(storage), clock, settle: () => clock.advance(0), storage };
}

/** A broker's storage that can lose its power, on a disk that forgets what was not synced. */
export class Machine {
  readonly ground: SimulatedGround;
  storage!: OpenStorage;
  client!: ScriptedSession;

  constructor(
    seed: number,
    private readonly limits: Partial<Limits> = {},
  ) {
    this.ground = simulatedGround(seed);
  }

  async open(): Promise<void> {
    const { ground } = this.ground.startProcess();
    const limits = { ...defaultLimits, journalFileBytesMax: 1 << 20, ...this.limits };
    this.storage = await this.ground.clock.drive(openStorage({ durability: 'fsync', data: '/data' }, ground, limits));
    this.client = new ScriptedSession(this.storage);
  }

  async crash(): Promise<void> {
    this.ground.crash({ power: true });
    await this.open();
  }

  /** Long enough for every commit, and for what a timer of this moment does. */
  async settle(): Promise<void> {
    await this.ground.clock.advance(100);
  }
}
