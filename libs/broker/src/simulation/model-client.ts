import type { Socket } from '@dovecote/ground';
import { FrameReader, frameTypes } from '../amqp/frames.js';
import { type Arguments, decodeArguments, methodById } from '../amqp/method-codec.js';
import type { MethodName } from '../amqp/methods.js';
import { ourProtocolHeader } from '../amqp/protocol-header.js';
import { method, publish, startOk, tuneOk } from '../amqp/scripted-client.js';
import type { FieldTable, FieldValue } from '../queues/field-table.js';
import { decodeProperties, type MessageProperties } from '../queues/properties.js';
import { textOf } from './model-parts.js';
import type { Command, Delivery, Publish, QueueShape, Seen } from './model-words.js';

/** Where a conversation takes place: a simulated world, or real sockets to our broker or to another. */
export interface Place {
  connect(): Promise<Socket>;
  pause(ms: number): Promise<void>;
  /** The virtual host of a connection, and what is put there before every name of a queue or an exchange, so that many conversations have room side by side. */
  roomOf(connection: number): { readonly virtualHost: string; readonly prefix: string };
  /** After so long without a word nothing more is on its way. */
  readonly quietMs: number;
  /** So often is every channel asked for an answer before that, because on each of them answers come in order. */
  readonly roundsOfAnswers: number;
}

const unanswered: ReadonlySet<Command['do']> = new Set(['publish', 'settle', 'cut', 'wait']);
/** How long an answer is waited for. */
const patienceMs = 10_000;

interface Collected {
  answers: string[];
  returned: string[];
  acked: number[];
  nacked: number[];
  cancelled: string[];
  deliveries: Delivery[];
}

/**
 * Says the model's commands to a broker, over real frames, and writes down what comes back on each channel in the model's words. A channel
 * or connection that was closed is opened again, so that each command finds all of them open.
 */
export class ModelClient {
  private readonly seen: Collected[];
  private readonly lines: (Line | undefined)[];

  constructor(
    private readonly place: Place,
    private readonly connections: readonly number[],
  ) {
    this.seen = connections.map(nothing);
    this.lines = [...new Set(connections)].map(() => undefined);
  }

  /** Opens what is closed. */
  async open(): Promise<void> {
    for (const [number, line] of this.lines.entries()) {
      if (line === undefined || line.isOver) this.lines[number] = await this.connect(number);
    }
    for (const line of this.lines) line!.reopen();
    await this.until(() => this.lines.every((line) => line!.isOpen));
  }

  say(command: Command, tag: number, body: string): void {
    const line = this.lines[this.connections[command.who]!]!;
    line.say(command, this.channelOf(command.who), tag, body);
  }

  /** Waits for the answer to a command that has one, then until nothing comes any more, and hands over what came. */
  async listen(command: Command): Promise<Seen[]> {
    if (!unanswered.has(command.do)) await this.until(() => this.seen[command.who]!.answers.length > 0);
    await this.quiet();
    return this.seen.map((collected, who) => {
      this.seen[who] = nothing();
      return collected;
    });
  }

  /** The broker is gone: whatever was on its way is of no interest. */
  abandon(): void {
    for (const [number, line] of this.lines.entries()) {
      line?.cut();
      this.lines[number] = undefined;
    }
    for (const who of this.connections.keys()) this.seen[who] = nothing();
  }

  private async quiet(): Promise<void> {
    for (let round = 0; round < this.place.roundsOfAnswers; round++) {
      for (const line of this.lines) line?.askAll();
      await this.until(() => this.lines.every((line) => line === undefined || !line.isAsked));
    }
    for (let before = -1; before !== this.heard();) {
      before = this.heard();
      await this.place.pause(this.place.quietMs);
    }
  }

  private async until(isDone: () => boolean): Promise<void> {
    const { quietMs } = this.place;
    for (let waits = 0; !isDone() && waits < patienceMs / quietMs; waits++) await this.place.pause(quietMs);
  }

  private heard(): number {
    return this.lines.reduce((sum, line) => sum + (line?.frameCount ?? 0), 0);
  }

  private async connect(number: number): Promise<Line> {
    const channels = new Map<number, Collected>();
    const collect = (channel: number): Collected => {
      const who = this.connections.findIndex((connection, other) => connection === number && this.channelOf(other) === channel);
      return this.seen[who]!;
    };
    for (const [who, connection] of this.connections.entries())
      if (connection === number) channels.set(this.channelOf(who), this.seen[who]!);
    return new Line(await this.place.connect(), [...channels.keys()], collect, this.place.roomOf(number));
  }

  /** Channels are numbered from 1 on each connection. */
  private channelOf(who: number): number {
    return this.connections.slice(0, who + 1).filter((connection) => connection === this.connections[who]).length;
  }
}

function nothing(): Collected {
  return { answers: [], returned: [], acked: [], nacked: [], cancelled: [], deliveries: [] };
}

interface Content {
  readonly kind: 'delivery' | 'got' | 'returned';
  readonly values: Arguments<'basic.deliver'> & Arguments<'basic.get-ok'>;
  properties: MessageProperties;
  body: Buffer;
  missingBytes: number;
}

/** One connection with its channels. */
class Line {
  frameCount = 0;
  isOver = false;
  private opening = 0;
  private readonly asked = new Set<number>();
  private readonly closed: Set<number>;
  private readonly unconfirmed = new Map<number, Set<number>>();
  private readonly published = new Map<number, number>();
  private content: Content | undefined;
  private readonly reader: FrameReader;

  constructor(
    private readonly socket: Socket,
    private readonly channels: readonly number[],
    private readonly collect: (channel: number) => Collected,
    private readonly room: { readonly virtualHost: string; readonly prefix: string },
  ) {
    const { virtualHost } = room;
    this.closed = new Set(channels);
    this.reader = new FrameReader(
      {
        takeFast: (_bytes, _view, at) => at,
        takeFrame: (type, channel, bytes, start, end) => {
          this.frameCount++;
          this.take(type, channel, bytes.subarray(start, end));
          return true;
        },
        refuseFrame: () => this.end('unreadable'),
      },
      1 << 20,
    );
    socket.start({ onData: (bytes) => this.reader.push(bytes), onDrain: () => undefined, onClose: () => this.end('lost') });
    socket.write(Buffer.concat([ourProtocolHeader, startOk(), tuneOk(), method('connection.open', { virtualHost }, 0)]));
  }

  /** All of its channels are. */
  get isOpen(): boolean {
    return this.opening === 0 && this.closed.size === 0;
  }

  /** Asks every open channel for an answer that means nothing. */
  askAll(): void {
    if (this.isOver) return;
    for (const channel of this.channels) {
      if (this.closed.has(channel)) continue;
      this.asked.add(channel);
      this.send(method('channel.flow', { isActive: true }, channel));
    }
  }

  /** Some have not answered yet. */
  get isAsked(): boolean {
    return this.asked.size > 0;
  }

  /** Opens the channels that are closed. */
  reopen(): void {
    for (const channel of this.closed) {
      this.opening++;
      this.send(method('channel.open', {}, channel));
      this.unconfirmed.delete(channel);
      this.published.delete(channel);
    }
    this.closed.clear();
  }

  cut(): void {
    this.end('cut');
  }

  say(command: Command, channel: number, tag: number, body: string): void {
    if (command.do === 'cut') {
      this.tellAll('connection closed');
      return this.cut();
    }
    if (command.do === 'publish' && this.published.has(channel)) {
      const number = this.published.get(channel)! + 1;
      this.published.set(channel, number);
      this.unconfirmed.get(channel)!.add(number);
    }
    const bytes = this.framesOf(command, channel, tag, body);
    if (bytes !== undefined) this.send(bytes);
  }

  private framesOf(command: Command, channel: number, deliveryTag: number, body: string): Buffer | undefined {
    const own = (name: string): string => this.named(name);
    switch (command.do) {
      case 'declare-queue': {
        const { durable, exclusive, autoDelete } = command.shape;
        const given = this.queueArguments(command.shape);
        const passive = command.passive === true;
        return method('queue.declare', { queue: own(command.queue), durable, exclusive, autoDelete, passive, arguments: given }, channel);
      }
      case 'delete-queue':
        return method('queue.delete', { queue: own(command.queue), ifUnused: command.ifUnused, ifEmpty: command.ifEmpty }, channel);
      case 'purge':
        return method('queue.purge', { queue: own(command.queue) }, channel);
      case 'declare-exchange': {
        const { durable, autoDelete, internal, alternate } = command.shape;
        const isDelayed = command.shape.type === 'delayed';
        const type = isDelayed ? 'x-delayed-message' : command.shape.type;
        const given: FieldTable = {
          ...(alternate === undefined ? {} : { 'alternate-exchange': own(alternate) }),
          ...(isDelayed ? { 'x-delayed-type': 'direct' } : {}),
        };
        const passive = command.passive === true;
        const exchange = own(command.exchange);
        return method('exchange.declare', { exchange, type, durable, autoDelete, internal, passive, arguments: given }, channel);
      }
      case 'delete-exchange':
        return method('exchange.delete', { exchange: own(command.exchange), ifUnused: command.ifUnused }, channel);
      case 'bind':
      case 'unbind': {
        const [source, destination] = [own(command.source), own(command.destination)];
        const rest = { routingKey: command.key, arguments: command.match ?? {} };
        if (command.to === 'queue') return method(`queue.${command.do}`, { queue: destination, exchange: source, ...rest }, channel);
        return method(`exchange.${command.do}`, { destination, source, ...rest }, channel);
      }
      case 'publish':
        return this.publishFrames(command, channel, body);
      case 'get':
        return method('basic.get', { queue: own(command.queue), noAck: command.noAck }, channel);
      case 'consume': {
        const { queue, tag: consumerTag, noAck, exclusive, priority } = command;
        const given: FieldTable = priority === 0 ? {} : { 'x-priority': priority };
        return method('basic.consume', { queue: own(queue), consumerTag, noAck, exclusive, arguments: given }, channel);
      }
      case 'cancel':
        return method('basic.cancel', { consumerTag: command.tag }, channel);
      case 'qos':
        return method('basic.qos', { prefetchCount: command.count, isGlobal: command.isGlobal }, channel);
      case 'settle': {
        const { how, multiple, requeue } = command;
        if (how === 'ack') return method('basic.ack', { deliveryTag, multiple }, channel);
        return how === 'reject'
          ? method('basic.reject', { deliveryTag, requeue }, channel)
          : method('basic.nack', { deliveryTag, multiple, requeue }, channel);
      }
      default:
        return this.plainFrame(command.do, channel);
    }
  }

  private plainFrame(what: Command['do'], channel: number): Buffer | undefined {
    switch (what) {
      case 'recover':
        return method('basic.recover', { requeue: true }, channel);
      case 'confirm':
        return method('confirm.select', {}, channel);
      case 'tx':
        return method('tx.select', {}, channel);
      case 'commit':
        return method('tx.commit', {}, channel);
      case 'rollback':
        return method('tx.rollback', {}, channel);
      case 'close-channel':
        return method('channel.close', { replyCode: 200 }, channel);
      case 'close-connection':
        return method('connection.close', { replyCode: 200 }, 0);
      default:
        return undefined;
    }
  }

  private publishFrames(command: Publish, channel: number, body: string): Buffer {
    const { exchange, key, copies, headers, persistent, mandatory, priority, expirationMs, delayMs } = command;
    const all: FieldTable = {
      ...headers,
      ...(copies.length === 0 ? {} : { CC: copies.map((copy) => this.named(copy)) }),
      ...(delayMs === undefined ? {} : { 'x-delay': delayMs }),
    };
    const properties: MessageProperties = {
      ...(Object.keys(all).length > 0 ? { headers: all } : {}),
      deliveryMode: persistent ? 2 : 1,
      priority,
      ...(expirationMs === undefined ? {} : { expiration: String(expirationMs) }),
    };
    return publish({ exchange: this.named(exchange), routingKey: this.named(key), mandatory }, body, properties, { channel });
  }

  private queueArguments(shape: QueueShape): FieldTable {
    const given: Record<string, FieldValue | undefined> = {
      'x-message-ttl': shape.ttlMs,
      'x-expires': shape.expiresMs,
      'x-max-length': shape.maxLength,
      'x-max-length-bytes': shape.maxLengthBytes,
      'x-overflow': shape.overflow,
      'x-dead-letter-exchange': shape.deadExchange === undefined ? undefined : this.named(shape.deadExchange),
      'x-dead-letter-routing-key': shape.deadKey === undefined ? undefined : this.named(shape.deadKey),
      'x-max-priority': shape.maxPriority,
      'x-single-active-consumer': shape.isSingleActive,
      'x-queue-type': shape.type,
      'x-delivery-limit': shape.deliveryLimit,
    };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as FieldTable;
  }

  private named(name: string): string {
    return /^[qx]\d$/.test(name) ? `${this.room.prefix}${name}` : name;
  }

  private unnamed(name: string): string {
    return name.startsWith(this.room.prefix) ? name.slice(this.room.prefix.length) : name;
  }

  private send(bytes: Buffer): void {
    if (!this.isOver) this.socket.write(bytes);
  }

  private end(_why: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.asked.clear();
    this.reader.stop();
    this.socket.destroy();
  }

  private tellAll(text: string): void {
    for (const channel of this.channels) if (!this.closed.has(channel)) this.collect(channel).answers.push(text);
  }

  private take(type: number, channel: number, payload: Buffer): void {
    if (type === frameTypes.method) return this.takeMethod(channel, payload);
    const { content } = this;
    if (content === undefined || type === frameTypes.heartbeat) return;
    if (type === frameTypes.header) {
      content.missingBytes = Number(payload.readBigUInt64BE(4));
      content.properties = decodeProperties(payload, 12, payload.length);
    } else {
      content.missingBytes -= payload.length;
      content.body = Buffer.concat([content.body, payload]);
    }
    if (content.missingBytes === 0) this.takeMessage(channel, content);
  }

  private takeMethod(channel: number, payload: Buffer): void {
    const found = methodById(payload.readUInt32BE(0))!;
    const values = decodeArguments(found, payload, 4, payload.length) as unknown as Record<string, never>;
    const kind = contentKinds[found.name];
    if (kind !== undefined) {
      this.content = { kind, values: values as never, properties: {}, body: Buffer.alloc(0), missingBytes: -1 };
      return;
    }
    if (found.name === 'connection.close') {
      this.send(method('connection.close-ok', {}, 0));
      this.tellAll(`connection closed ${String(values['replyCode'])}`);
      return this.end('closed');
    }
    if (found.name === 'connection.close-ok') {
      this.tellAll('connection closed');
      return this.end('closed');
    }
    if (found.name === 'channel.open-ok') this.opening--;
    if (found.name.startsWith('channel.')) this.asked.delete(channel);
    if (found.name === 'channel.flow-ok') return;
    if (channel === 0 || found.name === 'channel.open-ok') return;
    const collected = this.collect(channel);
    if (found.name === 'basic.ack' || found.name === 'basic.nack') return this.confirm(channel, collected, found.name, values);
    if (found.name === 'basic.cancel') return void collected.cancelled.push(values['consumerTag']!);
    if (found.name === 'confirm.select-ok' && !this.published.has(channel)) {
      this.published.set(channel, 0);
      this.unconfirmed.set(channel, new Set());
    }
    if (found.name === 'channel.close') this.send(method('channel.close-ok', {}, channel));
    if (found.name === 'channel.close' || found.name === 'channel.close-ok') this.closed.add(channel);
    collected.answers.push(answerText(found.name, values, (name) => this.unnamed(name)));
  }

  private confirm(channel: number, collected: Collected, name: string, values: Record<string, never>): void {
    const { deliveryTag, multiple } = values as unknown as Arguments<'basic.ack'>;
    const open = this.unconfirmed.get(channel) ?? new Set<number>();
    const meant = multiple ? [...open].filter((number) => number <= deliveryTag) : [deliveryTag];
    for (const number of meant) {
      if (!open.delete(number)) collected.answers.push(`${name} of ${number}, which was not open`);
      (name === 'basic.ack' ? collected.acked : collected.nacked).push(number);
    }
  }

  private takeMessage(channel: number, { kind, values, properties, body }: Content): void {
    this.content = undefined;
    const { exchange, routingKey, deliveryTag, redelivered, consumerTag, messageCount } = values;
    const { deliveryMode, priority = 0, expiration, headers = {} } = properties;
    const message = textOf(
      {
        id: Number(body.toString()),
        exchange: this.unnamed(exchange),
        key: this.unnamed(routingKey),
        persistent: deliveryMode === 2,
        priority,
        expirationMs: expiration === undefined ? undefined : Number(expiration),
        deaths: this.deathsIn(headers),
      },
      Number(headers['x-delivery-count'] ?? 0),
    );
    const collected = this.collect(channel);
    if (kind === 'returned') collected.returned.push(message);
    else if (kind === 'delivery') collected.deliveries.push({ consumer: consumerTag, tag: deliveryTag, redelivered, message });
    else collected.answers.push(`got ${deliveryTag} ${redelivered ? 'again' : 'new'} ${message} ${messageCount}`);
  }

  private deathsIn(headers: FieldTable): { queue: string; reason: 'rejected'; count: number }[] {
    const deaths = (headers['x-death'] ?? []) as readonly Record<string, unknown>[];
    return deaths.map((death) => ({
      queue: this.unnamed(death['queue'] as string),
      reason: death['reason'] as 'rejected',
      count: Number(death['count']),
    }));
  }
}

const contentKinds: Partial<Record<MethodName, Content['kind']>> = {
  'basic.deliver': 'delivery',
  'basic.get-ok': 'got',
  'basic.return': 'returned',
};

const plainAnswers: Partial<Record<MethodName, string>> = {
  'exchange.declare-ok': 'exchange declared',
  'exchange.delete-ok': 'exchange deleted',
  'queue.bind-ok': 'bound',
  'exchange.bind-ok': 'bound',
  'queue.unbind-ok': 'unbound',
  'exchange.unbind-ok': 'unbound',
  'basic.get-empty': 'empty',
  'basic.qos-ok': 'limited',
  'basic.recover-ok': 'recovered',
  'confirm.select-ok': 'confirming',
  'tx.select-ok': 'transactional',
  'tx.commit-ok': 'committed',
  'tx.rollback-ok': 'rolled back',
  'channel.close-ok': 'channel closed',
};

function answerText(name: MethodName, values: Record<string, never>, unnamed: (name: string) => string): string {
  switch (name) {
    case 'queue.declare-ok':
      return `declared ${unnamed(values['queue']!)} ${String(values['messageCount'])} ${String(values['consumerCount'])}`;
    case 'queue.delete-ok':
      return `deleted ${String(values['messageCount'])}`;
    case 'queue.purge-ok':
      return `purged ${String(values['messageCount'])}`;
    case 'basic.consume-ok':
      return `consuming ${String(values['consumerTag'])}`;
    case 'basic.cancel-ok':
      return `cancelled ${String(values['consumerTag'])}`;
    case 'channel.close':
      return `closed ${String(values['replyCode'])}`;
    default:
      return plainAnswers[name] ?? name;
  }
}
