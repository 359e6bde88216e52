/** What may be said about a Kafka cluster beside its URL: checked once, its defaults here. */
import * as zlib from 'node:zlib';
import { Backoff } from '../../backoff.js';
import { MessagingError } from '../../errors.js';
import type { Log } from '../../log.js';
import type { Settings, UrlBrokerOptions } from '../../options.js';
import { parseKafkaAddress } from './kafka-address.js';
import type { KafkaClient } from './kafka-client.js';
import { BATCH_BYTES_MAX } from './kafka-publishing.js';
import { KafkaTransport } from './kafka-transport.js';
import { PlatformaticClient, type PlatformaticSettings } from './platformatic-client.js';
import type { TopicSettings } from './topic-shape.js';

export interface KafkaOptions {
  /**
   * When a published message counts as safe: `all` in-sync replicas have it (the default; the producer is idempotent then), or the `leader` alone, with
   * which it can be lost although it was confirmed.
   */
  readonly acks?: 'all' | 'leader';
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
  /**
   * How long a publish waits for others to go with it in one batch, in milliseconds; 0: what is published while a batch is on its way goes together with the
   * next. One batch is on its way at a time, so that none overtakes another.
   */
  readonly lingerMs?: number;
  /** A batch ends at so many bytes, and does not linger then; 786,432, below what a broker takes unless told otherwise (`message.max.bytes`). */
  readonly batchBytes?: number;
  /** Of topics that are made here: 8. As many members of a service can share the work, and keys stay in order. More later move keys to other partitions. */
  readonly partitions?: number;
  /** Of topics that are made here; the cluster's `default.replication.factor` when not given. */
  readonly replicationFactor?: number;
  /** `min.insync.replicas` of topics that are made here; the cluster's when not given. */
  readonly minInsyncReplicas?: number;
  /** Further configs of topics that are made here, such as `retention.ms`. */
  readonly topicConfigs?: Readonly<Record<string, string>>;
  /** Without a word for so long, a member is dead to its group; 30,000 milliseconds. What it had out is handled again by others then. */
  readonly sessionTimeoutMs?: number;
  /** How long handlers may take on a partition that goes to another member, before it goes anyway: half of this; 60,000 milliseconds. */
  readonly rebalanceTimeoutMs?: number;
  /** How often what was handled is committed: so much is handled again after a crash; 100 milliseconds. */
  readonly commitEveryMs?: number;
}

type Library = ConstructorParameters<typeof PlatformaticClient>[0];
/** Not by the library's own type: a project without Kafka could not compile what names it. */
type LoadLibrary = () => Promise<object>;

/** A node that restarts is back in seconds, so nobody should wait much longer than that for the next try. */
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 5_000;
const HEARTBEATS_PER_SESSION = 10;
const DISCOVER_EVERY_MS = 5_000;

/** Throws a `MessagingError` of code `invalid-options` whose sentence names the option. */
export function kafkaTransport(settings: Settings, broker: UrlBrokerOptions, log: Log, loadLibrary: LoadLibrary): KafkaTransport {
  if (broker.durability !== undefined)
    throw refused("durability is for embedded brokers: with Kafka say { kafka: { acks: 'all' } }. Remove it");
  if (broker.quorumSize !== undefined)
    throw refused('quorumSize is for AMQP brokers: with Kafka say { kafka: { replicationFactor: 3 } }. Remove it');
  if (broker.queueType !== undefined) throw refused('queueType is for AMQP brokers: Kafka has topics. Remove it');
  if (broker.lanes !== undefined)
    throw refused('lanes is for AMQP brokers and embedded ones: on Kafka partitions are the lanes. Remove it');
  const { service, connectTimeoutMs, clock, random } = settings;
  const address = parseKafkaAddress(broker.url);
  const options = broker.kafka ?? {};
  const client: PlatformaticSettings = {
    address,
    clientId: service,
    acks: oneOf('acks', options.acks, ['all', 'leader']),
    compression: compressionOf(options.compression),
  };
  const sessionTimeoutMs = whole('sessionTimeoutMs', options.sessionTimeoutMs, 30_000, 6_000, 1_800_000);
  return new KafkaTransport({
    service,
    shown: address.shown,
    connectTimeoutMs,
    loadClient: async (): Promise<KafkaClient> => new PlatformaticClient((await loadLibrary()) as Library, client),
    topics: topicSettings(options),
    lingerMs: whole('lingerMs', options.lingerMs, 0, 0, 60_000),
    batchBytesMax: whole('batchBytes', options.batchBytes, BATCH_BYTES_MAX, 1, 1_000_000_000),
    makesNothing: settings.topology === 'check',
    sessionTimeoutMs,
    rebalanceTimeoutMs: whole(
      'rebalanceTimeoutMs',
      options.rebalanceTimeoutMs,
      Math.max(60_000, sessionTimeoutMs),
      sessionTimeoutMs,
      300_000,
    ),
    commitEveryMs: whole('commitEveryMs', options.commitEveryMs, 100, 1, 60_000),
    heartbeatEveryMs: sessionTimeoutMs / HEARTBEATS_PER_SESSION,
    discoverEveryMs: DISCOVER_EVERY_MS,
    clock,
    random,
    backoff: new Backoff(random, RECONNECT_FIRST_MS, RECONNECT_MAX_MS),
    log,
  });
}

function topicSettings({ partitions, replicationFactor, minInsyncReplicas, topicConfigs = {} }: KafkaOptions): TopicSettings {
  const configs: Record<string, string> = { ...topicConfigs };
  if (minInsyncReplicas !== undefined) configs['min.insync.replicas'] = String(whole('minInsyncReplicas', minInsyncReplicas, 1, 1, 1_000));
  return {
    partitions: whole('partitions', partitions, 8, 1, 100_000),
    replicationFactor: replicationFactor === undefined ? -1 : whole('replicationFactor', replicationFactor, 1, 1, 1_000),
    configs,
  };
}

/** Found out now: a producer would find it out with each batch, and send it again. */
function compressionOf(wanted: KafkaOptions['compression']): NonNullable<KafkaOptions['compression']> {
  const compression = oneOf('compression', wanted, ['none', 'gzip', 'snappy', 'lz4', 'zstd']);
  if (compression === 'zstd' && !('zstdCompress' in zlib))
    throw refused(
      `kafka.compression 'zstd' needs Node 22.15 or later, and this is ${process.version}: use gzip, snappy or lz4, or a newer Node`,
    );
  return compression;
}

function oneOf<const Name extends string>(option: string, value: Name | undefined, names: readonly [Name, ...Name[]]): Name {
  if (value === undefined) return names[0];
  if (names.includes(value)) return value;
  throw refused(`kafka.${option} is one of ${names.join(', ')}, not ${JSON.stringify(value)}`);
}

function whole(option: string, value: number | undefined, preset: number, min: number, max: number): number {
  if (value === undefined) return preset;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw refused(`kafka.${option} is a whole number from ${min} to ${max}, not ${value}`);
}

function refused(sentence: string): MessagingError {
  return new MessagingError('invalid-options', `DovecoteModule: ${sentence}.`);
}
