import { type Clock, type Random, realGround } from '@dovecote/ground';
import type { ClaimCheckOptions, ClaimCheckSettings } from './claims/claim-check.js';
import type { RetryOptions } from './delivery-contract.js';
import { MessagingError } from './errors.js';
import { CLAIM_BYTES_MAX, LANES_MAX, PREFETCH_MAX } from './limits.js';
import type { MessageCodec } from './message-codec.js';
import type { KafkaOptions } from './transports/kafka/kafka-options.js';
import { type Deduplication, RecentMessages } from './policies/deduplication.js';

/** What a service says about itself and its broker. Everything but the first two has a default. */
export interface MessagingOptions {
  /** The name of the service: the `source` of what it publishes, and the group its subscriptions belong to. Services of one name share the work. */
  readonly service: string;
  /**
   * `embedded:./data` keeps the broker in this process and its messages in a folder, where another process joins it; `embedded:` in memory; `amqp://user:password@host:port/vhost`
   * (or `amqps:`) reaches any AMQP 0-9-1 broker, and `kafka://host:port,host:port` (or `kafkas:`) a Kafka cluster. `{ events, commands }` has each kind on a
   * broker of its own.
   */
  readonly broker: string | BrokerOptions;
  /** The most events the service may hold unacknowledged, in work and waiting; 100. */
  readonly prefetch?: number;
  /** How long `publish` keeps trying, in milliseconds; 30,000. */
  readonly publishTimeoutMs?: number;
  /** How long the start waits for a broker that cannot be reached, in milliseconds; without end when not given. */
  readonly connectTimeoutMs?: number;
  /** How long the shutdown waits for running handlers and unconfirmed publishes, in milliseconds; 10,000. */
  readonly drainTimeoutMs?: number;
  /** How long it waits after it aborted the handlers' signals, in milliseconds; 1,000. */
  readonly abortGraceMs?: number;
  /** What becomes of a message on which a handler failed, where the handler's own `retry` does not say: five attempts, from a second to a minute apart. */
  readonly retry?: RetryOptions;
  /**
   * Whether what a handler publishes says by itself which message it came of. When not given, where something of the application is injected the `Publisher`:
   * before Node 24 it costs about as much as the rest of a message. Without it `publish` takes the message as `because`.
   */
  readonly tracksCauses?: boolean;
  /**
   * `create`: exchanges, queues and topics that the service needs are made where they are not there. `check`: nothing is made, and the start ends with a list of
   * what is missing; for brokers on which somebody else makes them. Either way the start compares, and says in the log what it found. `create` when not
   * given.
   */
  readonly topology?: 'create' | 'check';
  /** What was handled, for handlers with `deduplicate`; in memory when not given, 10,000 messages of each handler. */
  readonly deduplication?: Deduplication;
  /** The format of what is published, where its class does not say; JSON. Answers to commands and queries are JSON, where their class does not say another for them. */
  readonly codec?: MessageCodec;
  /** Other formats that handlers here read, beside JSON and those of their classes: each by its content type. */
  readonly codecs?: readonly MessageCodec[];
  /** Keeps large payloads in a store, which publishers and handlers share; without it a payload travels, up to 16 MiB. */
  readonly claimCheck?: ClaimCheckOptions;
  /**
   * Whether spans and metrics of messages go to OpenTelemetry, where the application has registered it before it starts; true. False where another
   * instrumentation tells of them already.
   */
  readonly telemetry?: boolean;
  /**
   * Whether the application's global guards, pipes, interceptors and filters (`APP_GUARD`, `useGlobalPipes` …) also stand before handlers of events.
   * False, as in a hybrid Nest application: they were written for HTTP requests, and a guard that looks for a header would refuse every event.
   */
  readonly inheritAppConfig?: boolean;
  /** Time and chance; the machine's own unless a test hands in others. */
  readonly ground?: { readonly clock: Clock; readonly random: Random };
}

export type BrokerOptions = OneBrokerOptions | TwoBrokersOptions;
export type OneBrokerOptions = UrlBrokerOptions | GivenBrokerOptions;

/** Events on one broker; commands, queries and their answers on another, as each is best at. What a kind needs beside (dead letters, delays) is where the kind is. */
export interface TwoBrokersOptions {
  readonly events: string | OneBrokerOptions;
  readonly commands: string | OneBrokerOptions;
}

export interface UrlBrokerOptions {
  readonly url: string;
  /** When an embedded broker confirms: when the message would survive loss of power (`fsync`, the default with a folder), the end of the process (`os`), or at once. */
  readonly durability?: 'fsync' | 'os' | 'memory';
  /**
   * The `x-queue-type` of the service's queues on an AMQP broker; `quorum` when not given. Classic queues do not count deliveries, so that what comes again
   * after a crash is handled one at a time.
   */
  readonly queueType?: 'classic' | 'quorum';
  /**
   * On how many nodes of an AMQP cluster the service's quorum queues are kept, when they are made (`x-quorum-initial-group-size`): a majority of them must have a
   * message before it is confirmed. The broker's own number (3 in RabbitMQ) when not given. What is delayed is kept in queues that all services share, in
   * the broker's own number.
   */
  readonly quorumSize?: number;
  /**
   * Where the management API of an AMQP broker answers, such as `http://localhost:15672`: a start compares bindings then, which AMQP does not tell. The login is that
   * of `url` where this has none.
   */
  readonly management?: string;
  /**
   * How many lanes share out the keys of what a service reads in order (`order: 'key'`), on an AMQP broker or an embedded one; 8, and 32 at most. Each is
   * with one instance at a time. The same for all instances; to change it, the lanes must be empty and are deleted.
   */
  readonly lanes?: number;
  readonly kafka?: KafkaOptions;
}

export interface GivenBrokerOptions {
  /** A `Broker` that is open already, shared with others or made by a test. It is not closed with the service. */
  readonly broker: object;
  /** As for a URL. */
  readonly lanes?: number;
}

/** The options, checked and complete. */
export interface Settings {
  readonly service: string;
  readonly broker: OneBrokerOptions | { readonly events: OneBrokerOptions; readonly commands: OneBrokerOptions };
  readonly prefetch: number;
  readonly publishTimeoutMs: number;
  readonly connectTimeoutMs: number | undefined;
  readonly drainTimeoutMs: number;
  readonly abortGraceMs: number;
  readonly retry: RetryOptions;
  readonly deduplication: Deduplication;
  readonly tracksCauses: boolean | undefined;
  readonly topology: 'create' | 'check';
  readonly codec: MessageCodec | undefined;
  readonly claimCheck: ClaimCheckSettings | undefined;
  readonly codecs: readonly MessageCodec[];
  readonly isTelling: boolean;
  readonly inheritAppConfig: boolean;
  readonly clock: Clock;
  readonly random: Random;
}

/** The last words are those of queues beside a service's own: a service called so would read another's. */
const SERVICE = /^(?!.*\.(?:commands|inbox|quarantine|dead|parked|replies|by-key|\d+)$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Throws a `MessagingError` of code `invalid-options` whose sentence names the option. */
export function checkOptions(options: MessagingOptions): Settings {
  if (typeof options !== 'object' || options === null) {
    throw refused("options are missing: DovecoteModule.forRoot({ service: 'notifications', broker: 'embedded:./data' })");
  }
  if (typeof options.service !== 'string' || !SERVICE.test(options.service)) {
    throw refused(
      `service must be the name of this service, 1 to 100 letters, digits, '.', '_' or '-', such as 'notifications', and may not end in .commands, .inbox, .quarantine, .dead, .parked, .replies, .by-key or a number; it is ${JSON.stringify(options.service)}`,
    );
  }
  const ground = options.ground ?? realGround();
  return {
    service: options.service,
    broker: checkBroker(options.broker),
    prefetch: wholeNumber('prefetch', options.prefetch, 100, 1, PREFETCH_MAX),
    publishTimeoutMs: wholeNumber('publishTimeoutMs', options.publishTimeoutMs, 30_000, 1),
    connectTimeoutMs: options.connectTimeoutMs === undefined ? undefined : wholeNumber('connectTimeoutMs', options.connectTimeoutMs, 0, 1),
    drainTimeoutMs: wholeNumber('drainTimeoutMs', options.drainTimeoutMs, 10_000, 0),
    abortGraceMs: wholeNumber('abortGraceMs', options.abortGraceMs, 1_000, 0),
    retry: options.retry ?? {},
    deduplication: options.deduplication ?? new RecentMessages(),
    tracksCauses: options.tracksCauses,
    topology: checkTopology(options.topology),
    codec: options.codec,
    claimCheck: options.claimCheck && checkClaimCheck(options.claimCheck),
    codecs: options.codecs ?? [],
    isTelling: options.telemetry ?? true,
    inheritAppConfig: options.inheritAppConfig ?? false,
    clock: ground.clock,
    random: ground.random,
  };
}

function checkTopology(topology: MessagingOptions['topology'] = 'create'): 'create' | 'check' {
  if (topology === 'create' || topology === 'check') return topology;
  throw refused(`topology must be 'create' or 'check', not ${JSON.stringify(topology)}`);
}

/** A payload may be as large as the store takes; what is not kept apart still has to travel. */
function checkClaimCheck({ store, overBytes, retentionMs }: ClaimCheckOptions): ClaimCheckSettings {
  if (typeof store !== 'object' || store === null || typeof store.put !== 'function' || typeof store.get !== 'function') {
    throw refused("claimCheck.store must be a ClaimStore, such as new FolderClaimStore('./claims')");
  }
  return {
    store,
    overBytes: wholeNumber('claimCheck.overBytes', overBytes, 256 * 1024, 1, CLAIM_BYTES_MAX),
    retentionMs: wholeNumber('claimCheck.retentionMs', retentionMs, 7 * 86_400_000, 1),
  };
}

function checkBroker(broker: string | BrokerOptions): Settings['broker'] {
  if (typeof broker === 'object' && broker !== null && 'events' in broker) {
    const [events, commands] = [checkOneBroker(broker.events), checkOneBroker(broker.commands)];
    if ('url' in events && 'url' in commands && events.url === commands.url)
      throw refused('broker names the same broker for events and for commands: name it once');
    return { events, commands };
  }
  return checkOneBroker(broker);
}

function checkOneBroker(broker: string | OneBrokerOptions): OneBrokerOptions {
  if (typeof broker === 'string') return { url: broker };
  if (typeof broker === 'object' && broker !== null) {
    wholeNumber('broker.lanes', broker.lanes, 1, 1, LANES_MAX);
    if ('broker' in broker && typeof broker.broker === 'object' && broker.broker !== null) return broker;
    if ('url' in broker && typeof broker.url === 'string') return broker;
  }
  throw refused(
    "broker must be a URL such as 'embedded:./data', 'amqp://guest:guest@localhost:5672' or 'kafka://localhost:9092', { url, … }, { broker } with an open Broker, or { events, commands } with one of these for each",
  );
}

function wholeNumber(name: string, value: number | undefined, preset: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (value === undefined) return preset;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw refused(
    `${name} must be a whole number of at least ${min}${max < Number.MAX_SAFE_INTEGER ? ` and at most ${max}` : ''}; it is ${value}`,
  );
}

function refused(sentence: string): MessagingError {
  return new MessagingError('invalid-options', `DovecoteModule: ${sentence}.`);
}
