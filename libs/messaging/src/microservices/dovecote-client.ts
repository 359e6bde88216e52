/**
 * `ClientProxy` over the brokers of this package: `emit` publishes an event, `send` asks a query (or does a command) and waits for the answer. What handlers
 * with `@Subscribe` and `@Handle` take and what controllers take is the same. In memory: what was not confirmed when the process ends is for the caller to repeat.
 */
import { ClientProxy, type MsPattern, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { MessagingError, reasonOf } from '../errors.js';
import type { MessageDefinition } from '../message-definition.js';
import { Messaging } from '../messaging.js';
import { nestLog } from '../nest-log.js';
import { type MessagingOptions, type Settings, checkOptions } from '../options.js';
import type { Publisher } from '../publisher.js';
import { chooseTransport } from '../transports/choose-transport.js';
import { isPattern, isWellFormed } from '../type-pattern.js';
import { DovecoteRecord, type DovecoteRecordOptions } from './dovecote-record.js';
import { typeOf } from './message-type.js';

export interface DovecoteClientOptions extends MessagingOptions {
  /** How long `send` waits for its answer, in milliseconds; 10,000. */
  readonly timeoutMs?: number;
}

interface Outgoing {
  readonly definition: MessageDefinition;
  readonly data: unknown;
  readonly options: DovecoteRecordOptions;
}

/** `ClientsModule.register([{ name: 'BROKER', customClass: DovecoteClient, options: { service: 'shop', broker: 'amqp://…' } }])`. */
export class DovecoteClient extends ClientProxy {
  readonly #log = nestLog();
  readonly #settings: Settings;
  readonly #timeoutMs: number | undefined;
  #messaging: Messaging | undefined;
  #started: Promise<Messaging> | undefined;

  /** Throws a `MessagingError` whose sentence names the option that cannot be. */
  constructor({ timeoutMs, ...options }: DovecoteClientOptions) {
    super();
    this.#settings = checkOptions(options);
    this.#timeoutMs = timeoutMs;
  }

  /** Called by the first `emit` or `send`, or by an application that wants to know at its start. Rejects with a `MessagingError`; the next call tries anew. */
  async connect(): Promise<Publisher> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return (await this.#started).publisher;
  }

  /** Waits for what is being published. Who waits for an answer is told that there will be none. */
  async close(): Promise<void> {
    const messaging = this.#messaging;
    this.#messaging = undefined;
    this.#started = undefined;
    if (messaging === undefined) return;
    await messaging.close();
    this._status$.next('closed');
  }

  /** What there is beneath it: the `Publisher`. */
  unwrap<T>(): T {
    if (this.#messaging === undefined) throw new MessagingError('not-started', 'DovecoteClient is not connected: await connect() first.');
    return this.#messaging.publisher as T;
  }

  /** Many never look at what `emit` returns: that an event was not published is also told in the log. */
  protected override async dispatchEvent<T>(packet: ReadPacket): Promise<T> {
    try {
      const { definition, data, options } = this.#outgoing(packet, 'event');
      return (await (await this.connect()).give(data, definition, options)) as T;
    } catch (error) {
      this.#log.error(`${typeOf(packet.pattern)} was not published: ${reasonOf(error)}.`);
      throw error;
    }
  }

  protected override publish(packet: ReadPacket, respond: (answer: WritePacket) => void): () => void {
    this.#ask(packet).then(
      (response) => respond({ response, isDisposed: true }),
      (error: unknown) => respond({ err: error }),
    );
    // An answer cannot be called off: it comes to nobody, or its time ends.
    return () => undefined;
  }

  protected override normalizePattern(pattern: MsPattern): string {
    return typeOf(pattern);
  }

  async #ask(packet: ReadPacket): Promise<unknown> {
    const { definition, data, options } = this.#outgoing(packet, 'query');
    if (options.delayMs !== undefined || options.at !== undefined) {
      throw new MessagingError('invalid-publish', `${definition.type} cannot be asked later: delayMs and at are for emit.`);
    }
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    return (await this.connect()).ask(data, definition, timeoutMs === undefined ? options : { ...options, timeoutMs });
  }

  async #start(): Promise<Messaging> {
    const messaging = new Messaging(this.#settings, chooseTransport(this.#settings, this.#log), this.#log);
    this.#messaging = messaging;
    await messaging.start([]);
    this._status$.next('started');
    return messaging;
  }

  #outgoing({ pattern, data: given, metadata }: ReadPacket, kind: 'event' | 'query'): Outgoing {
    const type = this.normalizePattern(pattern as MsPattern);
    if (!isWellFormed(type) || isPattern(type)) {
      throw new MessagingError(
        'invalid-publish',
        `'${type}' is no type of messages: words of letters, digits, - and _ with dots between, such as 'orders.order-placed'.`,
      );
    }
    const data: unknown = given instanceof DovecoteRecord ? given.data : given;
    const options: DovecoteRecordOptions = given instanceof DovecoteRecord ? given.options : {};
    const definition: MessageDefinition = {
      kind: kind === 'event' ? kind : (options.kind ?? kind),
      type,
      version: 1,
      key: undefined,
      schema: undefined,
      codec: undefined,
      topic: options.topic,
    };
    return { definition, data, options: metadata === undefined ? options : { ...options, headers: { ...metadata, ...options.headers } } };
  }
}
