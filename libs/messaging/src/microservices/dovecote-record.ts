import type { PublishOptions, RequestOptions } from '../publisher.js';

export interface DovecoteRecordOptions extends PublishOptions, RequestOptions {
  /** The topic on a broker with logs; the words of the pattern but the last one when not given. */
  readonly topic?: string;
  /**
   * What `send` asks: a `query` is handled once, and its failure is answered at once; a `command` is retried like an event, and answered when it is done or
   * dead. `query` when not given.
   */
  readonly kind?: 'query' | 'command';
}

/** A payload with what is to travel beside it: `client.emit('orders.placed', new DovecoteRecordBuilder(order).setKey(order.id).build())`. */
export class DovecoteRecord<Data = unknown> {
  constructor(
    readonly data: Data,
    readonly options: DovecoteRecordOptions,
  ) {}
}

export class DovecoteRecordBuilder<Data = unknown> {
  #options: DovecoteRecordOptions = {};

  constructor(private readonly data: Data) {}

  /** What the message is about: it decides the order of handling where one is asked for, and the partition of a log. */
  setKey(key: string): this {
    return this.setOptions({ key });
  }

  setHeaders(headers: NonNullable<PublishOptions['headers']>): this {
    return this.setOptions({ headers });
  }

  /** Beside those that were set before. */
  setOptions(options: DovecoteRecordOptions): this {
    this.#options = { ...this.#options, ...options };
    return this;
  }

  build(): DovecoteRecord<Data> {
    return new DovecoteRecord(this.data, this.#options);
  }
}
