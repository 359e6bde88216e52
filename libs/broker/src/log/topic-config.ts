import { CodedError } from '../errors.js';
import { type ConfigDefinition, configDefinitions } from './topic-config-table.js';

/**
 * The configs of a topic: what its owner set over the broker's defaults, checked once and parsed into plain fields that the paths per batch read.
 *
 * Kept by `topics.ts` as strings, as the client said them; parsed again when the broker opens. Kafka's names, defaults and rules.
 */
export interface TopicConfig {
  readonly isCompacted: boolean;
  /** Old segments go by time and size; a topic may be compacted and deleted from. */
  readonly isDeleted: boolean;
  readonly compressionType: 'producer' | CompressionType;
  /** Infinity where there is no limit, here and below. */
  readonly retentionMs: number;
  readonly retentionBytes: number;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly segmentJitterMs: number;
  readonly segmentIndexBytes: number;
  readonly indexIntervalBytes: number;
  readonly messageBytesMax: number;
  readonly hasLogAppendTime: boolean;
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  readonly deleteRetentionMs: number;
  readonly minCompactionLagMs: number;
  readonly maxCompactionLagMs: number;
  readonly minCleanableDirtyRatio: number;
  readonly fileDeleteDelayMs: number;
  readonly flushMessages: number;
  readonly flushMs: number;
  readonly minInsyncReplicas: number;
  readonly gzipLevel: number;
  readonly lz4Level: number;
  readonly zstdLevel: number;
}

export type CompressionType = 'uncompressed' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export type ConfigType = 'boolean' | 'string' | 'int' | 'long' | 'double' | 'list';

export type ConfigSource = 'topic' | 'broker' | 'default';

/** One config, for who asks for all of them. */
export interface ConfigEntry {
  readonly name: string;
  readonly value: string;
  readonly type: ConfigType;
  readonly source: ConfigSource;
  readonly documentation: string;
  /** Where a value may come from, the one that holds first. The name is the broker's where the source is not the topic. */
  readonly synonyms: readonly { readonly name: string; readonly value: string; readonly source: ConfigSource }[];
}

/** `append` and `subtract` are for lists. A value of undefined with `set`, and `delete`, take the topic's own value away. */
export interface ConfigChange {
  readonly name: string;
  readonly operation: 'set' | 'delete' | 'append' | 'subtract';
  readonly value?: string;
}

export type ConfigValues = Readonly<Record<string, string>>;

const byName: ReadonlyMap<string, ConfigDefinition> = new Map(configDefinitions.map((definition) => [definition.name, definition]));
/** Kafka's own back door for tests, which need segments smaller than any sensible one; never listed. */
const smallSegments = 'internal.segment.bytes';
const unlimited = '9223372036854775807';

/** Parses what holds; throws `invalid-config` where a name is unknown, a value not of its type, or the whole contradicts itself. */
export function parseTopicConfig(own: ConfigValues, broker: ConfigValues = {}): TopicConfig {
  for (const [name, value] of Object.entries(own)) checkValue(name, value);
  const text = (name: string): string => own[name] ?? broker[name] ?? byName.get(name)!.defaultValue;
  const number = (name: string): number => Number(text(name));
  /** -1 and the largest long both say that there is no limit. */
  const limit = (name: string): number => (text(name) === unlimited || text(name) === '-1' ? Infinity : number(name));
  const policies = listOf(text('cleanup.policy'));
  const config: TopicConfig = {
    isCompacted: policies.includes('compact'),
    isDeleted: policies.includes('delete'),
    compressionType: text('compression.type') as TopicConfig['compressionType'],
    retentionMs: limit('retention.ms'),
    retentionBytes: limit('retention.bytes'),
    segmentBytes: own[smallSegments] === undefined ? number('segment.bytes') : Number(own[smallSegments]),
    segmentMs: limit('segment.ms'),
    segmentJitterMs: number('segment.jitter.ms'),
    segmentIndexBytes: number('segment.index.bytes'),
    indexIntervalBytes: number('index.interval.bytes'),
    messageBytesMax: number('max.message.bytes'),
    hasLogAppendTime: text('message.timestamp.type') === 'LogAppendTime',
    timestampBeforeMaxMs: limit('message.timestamp.before.max.ms'),
    timestampAfterMaxMs: limit('message.timestamp.after.max.ms'),
    deleteRetentionMs: number('delete.retention.ms'),
    minCompactionLagMs: number('min.compaction.lag.ms'),
    maxCompactionLagMs: limit('max.compaction.lag.ms'),
    minCleanableDirtyRatio: number('min.cleanable.dirty.ratio'),
    fileDeleteDelayMs: number('file.delete.delay.ms'),
    flushMessages: limit('flush.messages'),
    flushMs: limit('flush.ms'),
    minInsyncReplicas: number('min.insync.replicas'),
    gzipLevel: number('compression.gzip.level'),
    lz4Level: number('compression.lz4.level'),
    zstdLevel: number('compression.zstd.level'),
  };
  if (config.isCompacted && config.minCompactionLagMs > config.maxCompactionLagMs) {
    refuse(
      `min.compaction.lag.ms (${config.minCompactionLagMs}) is larger than max.compaction.lag.ms (${config.maxCompactionLagMs}): make one smaller`,
    );
  }
  return config;
}

/** What a topic's own values are after the changes; throws `invalid-config`. */
export function changeConfigs(own: ConfigValues, changes: readonly ConfigChange[], broker: ConfigValues = {}): ConfigValues {
  const after: Record<string, string> = { ...own };
  for (const { name, operation, value } of changes) {
    const definition = byName.get(name);
    if (definition === undefined && operation === 'delete') continue;
    if (definition === undefined) unknownName(name);
    if (operation === 'delete' || value === undefined) {
      if (operation === 'append' || operation === 'subtract') refuse(`To ${operation} to ${name} takes a value: give one`);
      delete after[name];
      continue;
    }
    if (operation === 'set') {
      after[name] = value;
      continue;
    }
    if (definition.type !== 'list') refuse(`${name} is no list: set it instead of asking to ${operation}`);
    const items = listOf(after[name] ?? broker[name] ?? definition.defaultValue);
    const named = listOf(value);
    const left = items.filter((item) => !named.includes(item));
    after[name] = (operation === 'append' ? [...items, ...named.filter((item) => !items.includes(item))] : left).join(',');
  }
  parseTopicConfig(after, broker);
  return after;
}

export function describeConfigs(own: ConfigValues, broker: ConfigValues = {}): readonly ConfigEntry[] {
  return configDefinitions.map((definition) => {
    const { name, type, brokerName, defaultValue, documentation } = definition;
    const synonyms: { name: string; value: string; source: ConfigSource }[] = [];
    if (own[name] !== undefined) synonyms.push({ name, value: own[name], source: 'topic' });
    if (broker[name] !== undefined) synonyms.push({ name: brokerName ?? name, value: broker[name], source: 'broker' });
    if (brokerName !== undefined) synonyms.push({ name: brokerName, value: defaultValue, source: 'default' });
    const holds = synonyms[0] ?? { value: defaultValue, source: 'default' };
    return { name, value: holds.value, type, source: holds.source, documentation, synonyms };
  });
}

/** Throws `invalid-config` for a value that could never hold; for the broker's defaults, which are checked when it opens. */
export function checkValue(name: string, value: string): void {
  const definition = byName.get(name);
  if (name === smallSegments && /^\d{1,9}$/.test(value)) return;
  if (definition === undefined) return unknownName(name);
  const { type, oneOf, min, max } = definition;
  if (type === 'boolean' && value !== 'true' && value !== 'false') refuse(`${name} is 'true' or 'false', not '${value}'`);
  if (type === 'int' || type === 'long' || type === 'double') {
    const isNumber = type === 'double' ? /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/ : /^[+-]?\d{1,19}$/;
    if (!isNumber.test(value)) refuse(`${name} is a number, not '${value}'`);
    const number = Number(value);
    const most = max ?? (type === 'int' ? 2_147_483_647 : type === 'long' ? 2 ** 63 : Infinity);
    if (number < (min ?? (type === 'int' ? -2_147_483_648 : -Infinity)) || number > most)
      refuse(`${name} must be ${range(min, max, type)}, not ${value}`);
  }
  if (oneOf === undefined) return;
  const items = type === 'list' ? listOf(value) : [value];
  for (const item of items) if (!oneOf.includes(item)) refuse(`${name} is made of ${oneOf.join(', ')}; '${item}' is none of them`);
}

function range(min: number | undefined, max: number | undefined, type: ConfigType): string {
  if (max === undefined && min === undefined) return `a number of type ${type}`;
  return max === undefined ? `${min} or more` : `between ${min ?? 'any'} and ${max}`;
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function unknownName(name: string): never {
  refuse(`Unknown topic config name: ${name}`);
}

function refuse(message: string): never {
  throw new CodedError('invalid-config', message);
}
