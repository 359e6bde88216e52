/**
 * Brings messages to the controllers of Nest's microservices, through the same pipeline as to `@Subscribe` and `@Handle`: acknowledged after the handler's
 * stream has completed, tried again and among the dead letters after a failure. Keeps nothing; what was not acknowledged is the broker's to repeat.
 */
import {
  type BaseRpcContext,
  type CustomTransportStrategy,
  type MessageHandler,
  type MsPattern,
  type ReadPacket,
  Server,
  type Transport,
} from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import type { DeadLetters } from '../dead-letters.js';
import { type DeliveryOptions, contractOf } from '../delivery-contract.js';
import { MessagingError } from '../errors.js';
import { Messaging } from '../messaging.js';
import { nestLog } from '../nest-log.js';
import { type MessagingOptions, type Settings, checkOptions } from '../options.js';
import type { Publisher } from '../publisher.js';
import type { Subscription } from '../subscription.js';
import { chooseTransport } from '../transports/choose-transport.js';
import { isWellFormed } from '../type-pattern.js';
import { DovecoteContext } from './dovecote-context.js';
import { handlerError } from './handler-error.js';
import { typeOf } from './message-type.js';

/** What stands behind the pattern in `@EventPattern('orders.*', { retry: { attempts: 3 } })`. */
type Extras = DeliveryOptions & { readonly topic?: string };

/** Where an application has other transports too: `@EventPattern('orders.*', DOVECOTE)` is for this one alone. */
export const DOVECOTE = Symbol.for('dovecote.transport');

/** `app.connectMicroservice({ strategy: new DovecoteServer({ service: 'billing', broker: 'amqp://…' }) })`. */
export class DovecoteServer extends Server implements CustomTransportStrategy {
  override transportId: Transport | symbol = DOVECOTE;
  /** What a handler throws decides what becomes of its message, so Nest need not report it. */
  override readonly propagatesEventHandlerErrors = true;
  /** Several methods may have one event; a request has one. */
  readonly #handlers = new Map<string, MessageHandler[]>();
  readonly #settings: Settings;
  readonly #messaging: Messaging;

  /** Throws a `MessagingError` whose sentence names the option that cannot be. */
  constructor(options: MessagingOptions) {
    super();
    this.#settings = checkOptions(options);
    const log = nestLog();
    this.#messaging = new Messaging(this.#settings, chooseTransport(this.#settings, log), log);
  }

  get publisher(): Publisher {
    return this.#messaging.publisher;
  }

  get deadLetters(): DeadLetters {
    return this.#messaging.deadLetters;
  }

  /** Called by Nest for each method, before `listen`. */
  override addHandler(pattern: MsPattern, callback: MessageHandler, isEventHandler = false, extras: Record<string, unknown> = {}): void {
    const type = this.normalizePattern(pattern);
    callback.isEventHandler = isEventHandler;
    callback.extras = extras;
    const others = this.#handlers.get(type);
    if (others === undefined) {
      this.#handlers.set(type, [callback]);
      this.messageHandlers.set(type, callback);
    } else if (isEventHandler && others[0]?.isEventHandler === true) others.push(callback);
    else {
      throw new MessagingError(
        'subscribed-twice',
        `In the service '${this.#settings.service}', several methods handle the requests of '${type}', or one the requests and another the events. A request has one handler: give one of them another pattern.`,
      );
    }
  }

  /** `ready` is called when every subscription is in place, or with the `MessagingError` that says why it cannot be. */
  listen(ready: (error?: unknown) => void): void {
    this.#start().then(() => ready(), ready);
  }

  /** Takes no more messages, waits for the running handlers, then leaves the broker. */
  async close(): Promise<void> {
    await this.#messaging.close();
    this._status$.next('closed');
  }

  /** What the broker does is told in the log; there are no events. */
  on(): never {
    throw new MessagingError(
      'unsupported',
      'DovecoteServer has no events to listen to: `status` says started and closed, the log the rest.',
    );
  }

  /** What there is beneath it: the `Publisher` of the service. */
  unwrap<T>(): T {
    return this.publisher as T;
  }

  /** Resolves when every handler of the pattern has completed, to what the only or last one answered; rejects with the first failure among them. */
  override handleEvent(pattern: string, packet: ReadPacket, context: BaseRpcContext): Promise<unknown> {
    const handlers = this.#handlers.get(pattern) ?? [];
    return new Promise((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await runAll(handlers, packet.data, context));
        } catch (error) {
          reject(handlerError(error));
        } finally {
          this.onProcessingEndHook?.(this.transportId, context);
        }
      };
      // The hook is not obliged to return what `run` returned, and may fail before it calls it.
      Promise.resolve(this.onProcessingStartHook(this.transportId, context, run)).catch(reject);
    });
  }

  protected override normalizePattern(pattern: MsPattern): string {
    return typeOf(pattern);
  }

  async #start(): Promise<void> {
    await this.#messaging.start([...this.#handlers].map(([type, handlers]) => this.#subscription(type, handlers)));
    this._status$.next('started');
  }

  #subscription(type: string, handlers: readonly MessageHandler[]): Subscription {
    const isEvent = handlers[0]?.isEventHandler === true;
    const place = `@${isEvent ? 'EventPattern' : 'MessagePattern'}('${type}')`;
    if (!isWellFormed(type)) {
      throw new MessagingError(
        'invalid-options',
        `${place}: '${type}' is no pattern of types: words of letters, digits, - and _ with dots between, or * for one of them, or # for any number, such as 'orders.*'.`,
      );
    }
    const extras = Object.assign({}, ...handlers.map((handler) => handler.extras)) as Extras;
    if (extras.batch !== undefined) {
      throw new MessagingError('unsupported', `${place} asks for batches, which only @Subscribe can take: move it to a method with that.`);
    }
    const contract = contractOf({ ...extras, retry: { ...this.#settings.retry, ...extras.retry } }, place);
    return {
      kind: isEvent ? 'event' : 'query',
      pattern: type,
      topic: extras.topic,
      messageClass: undefined,
      takesAny: true,
      schema: undefined,
      contract,
      place,
      handle: (data, message) => this.handleEvent(type, { pattern: type, data }, new DovecoteContext([message, type])),
    };
  }
}

/** Side by side. What one does is not cut short by the failure of another: it would be running still when its message comes again. */
async function runAll(handlers: readonly MessageHandler[], data: unknown, context: BaseRpcContext): Promise<unknown> {
  const [only, ...others] = handlers;
  if (only !== undefined && others.length === 0) return completed(only(data, context));
  const outcomes = await Promise.allSettled(handlers.map((handler) => completed(handler(data, context))));
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return undefined;
}

async function completed(result: Promise<unknown>): Promise<unknown> {
  const value = await result;
  return isObservable(value) ? lastValueFrom(value, { defaultValue: undefined }) : value;
}
