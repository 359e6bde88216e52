/**
 * The words in which the model is talked to: what can be said to a virtual host, and what can be heard from it. Plain data.
 */
export interface QueueShape {
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly ttlMs?: number;
  readonly expiresMs?: number;
  readonly maxLength?: number;
  readonly maxLengthBytes?: number;
  readonly overflow?: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  readonly deadExchange?: string;
  readonly deadKey?: string;
  readonly maxPriority?: number;
  readonly isSingleActive?: boolean;
  readonly type?: 'quorum';
  /** Of a quorum queue; 20 where nothing is said. */
  readonly deliveryLimit?: number;
}

/** `delayed` routes like `direct`, after the time that a message says. */
export type ExchangeType = 'direct' | 'fanout' | 'topic' | 'headers' | 'delayed';

export interface ExchangeShape {
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly alternate?: string;
}

export type Headers = Readonly<Record<string, string | number>>;

export interface Publish {
  readonly exchange: string;
  readonly key: string;
  readonly copies: readonly string[];
  readonly headers: Headers;
  readonly persistent: boolean;
  readonly mandatory: boolean;
  readonly priority: number;
  readonly expirationMs?: number | undefined;
  readonly delayMs?: number;
}

/** Every command is plain data and makes sense at any time, if only to be refused. `who` is a channel. */
export type Command = { readonly who: number } & (
  | { readonly do: 'declare-queue'; readonly queue: string; readonly shape: QueueShape; readonly passive?: boolean }
  | { readonly do: 'delete-queue'; readonly queue: string; readonly ifUnused: boolean; readonly ifEmpty: boolean }
  | { readonly do: 'purge'; readonly queue: string }
  | { readonly do: 'declare-exchange'; readonly exchange: string; readonly shape: ExchangeShape; readonly passive?: boolean }
  | { readonly do: 'delete-exchange'; readonly exchange: string; readonly ifUnused: boolean }
  | {
      readonly do: 'bind' | 'unbind';
      readonly source: string;
      readonly to: 'queue' | 'exchange';
      readonly destination: string;
      readonly key: string;
      readonly match?: Headers;
    }
  | ({ readonly do: 'publish' } & Publish)
  | { readonly do: 'get'; readonly queue: string; readonly noAck: boolean }
  | {
      readonly do: 'consume';
      readonly queue: string;
      readonly tag: string;
      readonly noAck: boolean;
      readonly exclusive: boolean;
      readonly priority: number;
    }
  | { readonly do: 'cancel'; readonly tag: string }
  | { readonly do: 'qos'; readonly count: number; readonly isGlobal: boolean }
  | {
      /** `nth` of the outstanding deliveries, round and round; without one, or where it says so, a tag that nobody knows. */
      readonly do: 'settle';
      readonly how: 'ack' | 'nack' | 'reject';
      readonly nth: number | 'unknown' | 'all';
      readonly multiple: boolean;
      readonly requeue: boolean;
    }
  | { readonly do: 'recover' | 'confirm' | 'tx' | 'commit' | 'rollback' | 'close-channel' | 'close-connection' | 'cut' }
  | { readonly do: 'wait'; readonly ms: number }
);

export interface Delivery {
  readonly consumer: string;
  readonly tag: number;
  readonly redelivered: boolean;
  readonly message: string;
}

/** What came back on one channel. */
export interface Seen {
  readonly answers: readonly string[];
  readonly returned: readonly string[];
  readonly acked: readonly number[];
  readonly nacked: readonly number[];
  readonly cancelled: readonly string[];
  readonly deliveries: readonly Delivery[];
}

/** Commands about what is defined, and not about a channel. */
export type DefinitionName = 'declare-queue' | 'delete-queue' | 'purge' | 'declare-exchange' | 'delete-exchange' | 'bind' | 'unbind';
