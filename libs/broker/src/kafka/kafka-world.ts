import type { Socket, SocketEvents } from '@dovecote/ground';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { defaultLimits, type Limits } from '../limits.js';
import type { Api, ApiCodec } from './api.js';
import { encodeBatch } from '../log/records.js';
import { Cursor } from './cursor.js';
import type { KafkaSettings } from './kafka-node.js';
import { type KafkaLimits, kafkaLimitsWith } from './limits.js';
import type { ListenerView } from './listener-view.js';
import { MemoryLog } from './memory-log.js';
import { allRights, type Rights } from './rights.js';
import type { Read, Struct, Write } from './schema.js';
import { KafkaServer } from './server.js';
import { Writer } from './writer.js';

/**
 * For tests: a Kafka server on a clock that stands still, over a log in memory, with clients that write requests from the same tables and
 * read what they are answered. Deterministic; nothing here waits.
 */
export class KafkaWorld {
  private constructor(
    readonly clock: SimulatedClock,
    readonly log: MemoryLog,
    readonly server: KafkaServer,
    private readonly needsLogin: boolean,
    readonly reported: string[],
  ) {}

  static async open(
    options: {
      settings?: Partial<KafkaSettings>;
      limits?: Partial<KafkaLimits & Limits>;
      users?: Readonly<Record<string, string>>;
      /** Of users; everything where nothing is said. */
      rights?: Readonly<Record<string, Rights>>;
      /** The log of a world before this one: what was committed there is read back. */
      log?: MemoryLog;
      /** Commits only when `log.commit` is called. */
      commitsByHand?: boolean;
    } = {},
  ): Promise<KafkaWorld> {
    const clock = new SimulatedClock();
    const random = new SeededRandom(1);
    const log = options.log ?? new MemoryLog(random, options.commitsByHand === true ? undefined : clock);
    const reported: string[] = [];
    const server = await KafkaServer.open({
      clock,
      random,
      log,
      authenticator: {
        login: (user, password) => options.users?.[user] === password,
        knows: (user) => options.users?.[user] !== undefined,
        rightsOf: (user) => options.rights?.[user] ?? allRights,
      },
      settings: { offsetsPartitionCount: 2, ...options.settings },
      limits: kafkaLimitsWith(defaultLimits, options.limits),
      report: (line) => reported.push(line),
    });
    return new KafkaWorld(clock, log, server, options.users !== undefined, reported);
  }

  client(door: Partial<ListenerView> = {}): KafkaClient {
    const client = new KafkaClient(this.clock);
    this.server.accept(client.server, { host: '127.0.0.1', port: 9092, needsLogin: this.needsLogin, ...door });
    return client;
  }

  /** Runs what is due now, but nothing that waits for time to pass. */
  settle(): Promise<void> {
    return this.clock.advance(0);
  }

  topic(name: string, partitionCount = 1, configs: Record<string, string> = {}): Promise<unknown> {
    return this.log.createTopic(name, { partitionCount, configs });
  }

  /** A produce request for one partition of a topic. */
  toProduce(name: string, records: Buffer, { acks = -1, index = 0, transactionalId = null as string | null } = {}) {
    const topicData = [{ name, topicId: this.log.topic(name)?.id ?? '', partitionData: [{ index, records }] }];
    return { transactionalId, acks, timeoutMs: 1000, topicData };
  }

  /** A fetch request for each partition from its offset on. */
  toFetch(partitions: readonly (readonly [topic: string, partition: number, offset: number])[], given: FetchSettings = {}) {
    const { maxWaitMs = 0, minBytes = 1, forget, ...rest } = given;
    const topics = partitions.map(([name, partition, fetchOffset]) => ({
      topic: name,
      topicId: this.log.topic(name)?.id ?? '',
      partitions: [{ partition, fetchOffset, partitionMaxBytes: 1_000_000 }],
    }));
    const forgottenTopicsData = forget === undefined ? [] : [{ topic: forget, topicId: this.log.topic(forget)!.id, partitions: [0] }];
    return { maxWaitMs, minBytes, ...rest, topics, forgottenTopicsData, rackId: '' };
  }
}

interface FetchSettings {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly isolationLevel?: number;
  readonly sessionId?: number;
  readonly sessionEpoch?: number;
  readonly forget?: string;
}

/** A batch of records with these values, without keys. */
export function batchOf(...values: string[]): Buffer {
  return encodeBatch(values.map((value) => ({ key: null, value: Buffer.from(value), timestamp: 1000 })));
}

/** Bytes that the socket takes before it asks the server to hold back. */
const highWaterBytes = 256 * 1024;

class LoopbackSocket implements Socket {
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 40_000;
  readonly localAddress = '127.0.0.1';
  readonly localPort = 9092;
  unsentBytes = 0;
  sentBytes = 0;
  receivedBytes = 0;
  isPaused = false;
  isClosed = false;
  isStalled = false;
  events: SocketEvents | undefined;
  readonly written: Buffer[] = [];
  private arriving: Buffer[] = [];
  private readonly callbacks: (() => void)[] = [];

  start(events: SocketEvents): void {
    this.events = events;
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.isClosed) return false;
    this.unsentBytes += bytes.length;
    this.written.push(Buffer.from(bytes));
    if (sent !== undefined) this.callbacks.push(sent);
    if (!this.isStalled) this.drain();
    return this.unsentBytes < highWaterBytes;
  }

  drain(): void {
    const wasFull = this.unsentBytes >= highWaterBytes;
    this.sentBytes += this.unsentBytes;
    this.unsentBytes = 0;
    for (const done of this.callbacks.splice(0)) done();
    if (wasFull && !this.isClosed) this.events?.onDrain();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.deliver();
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.events?.onClose();
  }

  arrive(bytes: Buffer): void {
    this.arriving.push(bytes);
    this.deliver();
  }

  /** As a real socket does: into the room that the server gives, which holds something else afterwards. */
  private fill(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.isClosed;) {
      const room = this.events!.room!();
      const length = bytes.copy(room, 0, at);
      at += length;
      this.events!.onFilled!(length);
    }
  }

  private deliver(): void {
    while (!this.isPaused && !this.isClosed) {
      const bytes = this.arriving.shift();
      if (bytes === undefined) return;
      this.receivedBytes += bytes.length;
      this.fill(bytes);
    }
  }
}

export type Spoken<Q extends Struct, A extends Struct> = Api & { readonly codec: ApiCodec<Q, A> };

/** One connection. Requests leave in the order of the calls; each call resolves to its own answer. */
export class KafkaClient {
  readonly server = new LoopbackSocket();
  private correlationId = 0;

  constructor(private readonly clock: SimulatedClock) {}

  get isClosed(): boolean {
    return this.server.isClosed;
  }

  send(...parts: readonly Buffer[]): this {
    this.server.arrive(Buffer.concat(parts));
    return this;
  }

  /** Says one thing and hears the answer; time stands still meanwhile. Throws where there is none. */
  async ask<Q extends Struct, A extends Struct>(api: Spoken<Q, A>, version: number, request: Write<Q>): Promise<Read<A>> {
    this.say(api, version, request);
    await this.clock.advance(0);
    const answer = this.hear(api, version);
    if (answer === undefined) throw new Error(`${api.name} was not answered`);
    return answer;
  }

  say<Q extends Struct, A extends Struct>(api: Spoken<Q, A>, version: number, request: Write<Q>): void {
    this.send(frameOf(api, version, request, ++this.correlationId));
  }

  /** The next answer, which must be this API's; undefined where none came. */
  hear<Q extends Struct, A extends Struct>(api: Spoken<Q, A>, version: number): Read<A> | undefined {
    const frame = this.takeFrame();
    if (frame === undefined) return undefined;
    const cursor = Cursor.over(frame);
    cursor.int32();
    if (api.codec.isFlexible(version) && api.key !== 18) cursor.skipTags();
    const answer = api.codec.readResponse(version)(cursor);
    if (cursor.left > 0) throw new Error(`${api.name}: ${cursor.left} bytes behind the answer`);
    return answer;
  }

  /** The next answer without its size; undefined where none is whole. */
  takeFrame(): Buffer | undefined {
    const received = Buffer.concat(this.server.written.splice(0));
    const end = received.length < 4 ? Infinity : 4 + received.readInt32BE(0);
    if (received.length >= end) {
      if (received.length > end) this.server.written.push(received.subarray(end));
      return received.subarray(4, end);
    }
    if (received.length > 0) this.server.written.push(received);
    return undefined;
  }
}

/** A whole request with its size. */
export function frameOf<Q extends Struct, A extends Struct>(
  api: Spoken<Q, A>,
  version: number,
  request: Write<Q>,
  correlationId: number,
  clientId = 'client',
): Buffer {
  const writer = new Writer();
  writer.begin();
  writer.int16(api.key);
  writer.int16(version);
  writer.int32(correlationId);
  writer.int16(clientId.length);
  writer.text(clientId, clientId.length);
  if (api.codec.isFlexible(version)) writer.uvarint(0);
  api.codec.writeRequest(version)(writer, request);
  return Buffer.concat(writer.finish());
}
