import type { ConfigType } from './topic-config.js';

/**
 * Every config that a topic of Kafka 4 has, with its default and its rule. The table is the specification; `topic-config.ts` reads it.
 * `brokerName` is the broker's config that gives the default, where Kafka names one.
 */
export interface ConfigDefinition {
  readonly name: string;
  readonly type: ConfigType;
  readonly defaultValue: string;
  readonly brokerName?: string;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  readonly documentation: string;
}

const long = '9223372036854775807';

export const configDefinitions: readonly ConfigDefinition[] = [
  {
    name: 'cleanup.policy',
    type: 'list',
    defaultValue: 'delete',
    brokerName: 'log.cleanup.policy',
    oneOf: ['compact', 'delete'],
    documentation:
      'What becomes of old records: "delete" drops them by time and size, "compact" keeps the last one of each key. Both together do both.',
  },
  {
    name: 'compression.gzip.level',
    type: 'int',
    defaultValue: '-1',
    brokerName: 'compression.gzip.level',
    min: -1,
    max: 9,
    documentation: 'The level where compression.type is gzip: 1 to 9, or -1 for the default.',
  },
  {
    name: 'compression.lz4.level',
    type: 'int',
    defaultValue: '9',
    brokerName: 'compression.lz4.level',
    min: 1,
    max: 17,
    documentation: 'The level where compression.type is lz4. This broker knows one level and takes it for all.',
  },
  {
    name: 'compression.type',
    type: 'string',
    defaultValue: 'producer',
    brokerName: 'compression.type',
    oneOf: ['uncompressed', 'zstd', 'lz4', 'snappy', 'gzip', 'producer'],
    documentation: 'How batches are kept: "producer" leaves them as they came; any other has the broker compress anew what came otherwise.',
  },
  {
    name: 'compression.zstd.level',
    type: 'int',
    defaultValue: '3',
    brokerName: 'compression.zstd.level',
    min: -131_072,
    max: 22,
    documentation: 'The level where compression.type is zstd.',
  },
  {
    name: 'delete.retention.ms',
    type: 'long',
    defaultValue: '86400000',
    brokerName: 'log.cleaner.delete.retention.ms',
    min: 0,
    documentation: 'How long compaction keeps a tombstone, so that a reader who started at the beginning meets it.',
  },
  {
    name: 'file.delete.delay.ms',
    type: 'long',
    defaultValue: '60000',
    brokerName: 'log.segment.delete.delay.ms',
    min: 0,
    documentation: 'How long a file stays on the disk after it was taken out of the log.',
  },
  {
    name: 'flush.messages',
    type: 'long',
    defaultValue: long,
    brokerName: 'log.flush.interval.messages',
    min: 1,
    documentation: 'After how many records the log is synced. Here the durability of the broker says so, for all topics.',
  },
  {
    name: 'flush.ms',
    type: 'long',
    defaultValue: long,
    min: 0,
    documentation: 'After what time the log is synced. Here the durability of the broker says so, for all topics.',
  },
  {
    name: 'follower.replication.throttled.replicas',
    type: 'list',
    defaultValue: '',
    documentation: 'No effect: this broker has one replica.',
  },
  {
    name: 'index.interval.bytes',
    type: 'int',
    defaultValue: '4096',
    brokerName: 'log.index.interval.bytes',
    min: 0,
    documentation: 'Bytes between two entries of the index.',
  },
  {
    name: 'leader.replication.throttled.replicas',
    type: 'list',
    defaultValue: '',
    documentation: 'No effect: this broker has one replica.',
  },
  {
    name: 'local.retention.bytes',
    type: 'long',
    defaultValue: '-2',
    brokerName: 'log.local.retention.bytes',
    min: -2,
    documentation: 'No effect: there is no remote storage.',
  },
  {
    name: 'local.retention.ms',
    type: 'long',
    defaultValue: '-2',
    brokerName: 'log.local.retention.ms',
    min: -2,
    documentation: 'No effect: there is no remote storage.',
  },
  {
    name: 'max.compaction.lag.ms',
    type: 'long',
    defaultValue: long,
    brokerName: 'log.cleaner.max.compaction.lag.ms',
    min: 1,
    documentation: 'After what time a record is compacted in any case.',
  },
  {
    name: 'max.message.bytes',
    type: 'int',
    defaultValue: '1048588',
    brokerName: 'message.max.bytes',
    min: 0,
    documentation: 'The largest record batch that is taken.',
  },
  {
    name: 'message.timestamp.after.max.ms',
    type: 'long',
    defaultValue: '3600000',
    brokerName: 'log.message.timestamp.after.max.ms',
    min: 0,
    documentation: 'How far the time of a record may lie in the future of the broker.',
  },
  {
    name: 'message.timestamp.before.max.ms',
    type: 'long',
    defaultValue: long,
    brokerName: 'log.message.timestamp.before.max.ms',
    min: 0,
    documentation: 'How far the time of a record may lie in the past of the broker.',
  },
  {
    name: 'message.timestamp.type',
    type: 'string',
    defaultValue: 'CreateTime',
    brokerName: 'log.message.timestamp.type',
    oneOf: ['CreateTime', 'LogAppendTime'],
    documentation: 'Whether the time of a record is the one its producer wrote or the one at which the broker appended it.',
  },
  {
    name: 'min.cleanable.dirty.ratio',
    type: 'double',
    defaultValue: '0.5',
    brokerName: 'log.cleaner.min.cleanable.ratio',
    min: 0,
    max: 1,
    documentation: 'The part of the log that must not be compacted yet before compaction begins.',
  },
  {
    name: 'min.compaction.lag.ms',
    type: 'long',
    defaultValue: '0',
    brokerName: 'log.cleaner.min.compaction.lag.ms',
    min: 0,
    documentation: 'How long a record is left alone by compaction.',
  },
  {
    name: 'min.insync.replicas',
    type: 'int',
    defaultValue: '1',
    brokerName: 'min.insync.replicas',
    min: 1,
    documentation:
      'How many replicas must have a record before acks=all is answered. This broker has one replica: above 1 such records are refused.',
  },
  {
    name: 'preallocate',
    type: 'boolean',
    defaultValue: 'false',
    brokerName: 'log.preallocate',
    documentation: 'No effect: files grow as they are written.',
  },
  {
    name: 'remote.log.copy.disable',
    type: 'boolean',
    defaultValue: 'false',
    documentation: 'No effect: there is no remote storage.',
  },
  {
    name: 'remote.log.delete.on.disable',
    type: 'boolean',
    defaultValue: 'false',
    documentation: 'No effect: there is no remote storage.',
  },
  {
    name: 'remote.storage.enable',
    type: 'boolean',
    defaultValue: 'false',
    oneOf: ['false'],
    documentation: 'There is no remote storage: only "false" is taken.',
  },
  {
    name: 'retention.bytes',
    type: 'long',
    defaultValue: '-1',
    brokerName: 'log.retention.bytes',
    documentation: 'Bytes of a partition above which its oldest segments go; -1: no limit.',
  },
  {
    name: 'retention.ms',
    type: 'long',
    defaultValue: '604800000',
    min: -1,
    documentation: 'After what time segments go; -1: never.',
  },
  {
    name: 'segment.bytes',
    type: 'int',
    defaultValue: '1073741824',
    brokerName: 'log.segment.bytes',
    min: 1_048_576,
    documentation: 'A segment file is closed and the next begun when it would become larger.',
  },
  {
    name: 'segment.index.bytes',
    type: 'int',
    defaultValue: '10485760',
    brokerName: 'log.index.size.max.bytes',
    min: 4,
    documentation: 'The same when its index would become larger.',
  },
  {
    name: 'segment.jitter.ms',
    type: 'long',
    defaultValue: '0',
    min: 0,
    documentation: 'At most so much is taken from segment.ms, by chance, so that not all segments end at once.',
  },
  {
    name: 'segment.ms',
    type: 'long',
    defaultValue: '604800000',
    min: 1,
    documentation: 'A segment file is closed and the next begun when its first record is older.',
  },
  {
    name: 'unclean.leader.election.enable',
    type: 'boolean',
    defaultValue: 'false',
    brokerName: 'unclean.leader.election.enable',
    documentation: 'No effect: this broker has one replica.',
  },
];
