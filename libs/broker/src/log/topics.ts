import { CodedError } from '../errors.js';
import type { PartitionLog } from './partition-log.js';
import type { Topic } from './log.js';
import { type ConfigEntry, type ConfigValues, describeConfigs, parseTopicConfig, type TopicConfig } from './topic-config.js';

/**
 * A topic and what is decided about it: its id, how many partitions, its own configs. One file for each, replaced as a whole:
 *
 *   topics/<name>.json   {"version":1,"name":"orders","id":"geWS9aoUTXypa9FN_AH39A","partitions":3,"isInternal":false,"configs":{"retention.ms":"60000"}}
 *
 * The file is the decision: a folder of a partition that no file names is none of a topic. It survives what the log's durability says.
 */
export interface TopicDefinition {
  readonly version: 1;
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  readonly isInternal: boolean;
  readonly configs: ConfigValues;
}

export class TopicState implements Topic {
  readonly name: string;
  readonly id: string;
  readonly idBytes: Buffer;
  readonly isInternal: boolean;
  partitions: readonly PartitionLog[] = [];
  config: TopicConfig;

  constructor(
    public definition: TopicDefinition,
    private readonly brokerConfigs: ConfigValues,
  ) {
    this.name = definition.name;
    this.id = definition.id;
    this.idBytes = Buffer.from(definition.id, 'base64url');
    this.isInternal = definition.isInternal;
    this.config = parseTopicConfig(definition.configs, brokerConfigs);
  }

  redefine(definition: TopicDefinition): void {
    this.definition = definition;
    this.config = parseTopicConfig(definition.configs, this.brokerConfigs);
  }

  describeConfigs(): readonly ConfigEntry[] {
    return describeConfigs(this.definition.configs, this.brokerConfigs);
  }
}

export const topicNameLengthMax = 249;
/** More would make opening and closing a folder take minutes. */
export const partitionsMax = 10_000;

export function checkTopicName(name: string): CodedError | undefined {
  const rule = "use letters, digits, '.', '_' and '-', at most 249 of them";
  if (name === '') return new CodedError('invalid-topic', `A topic needs a name: ${rule}`);
  if (name === '.' || name === '..') return new CodedError('invalid-topic', `A topic cannot be called '${name}'`);
  if (name.length > topicNameLengthMax) return new CodedError('invalid-topic', `The name of the topic has ${name.length} letters: ${rule}`);
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) return new CodedError('invalid-topic', `'${name}' is no name for a topic: ${rule}`);
  return undefined;
}

/** Names in which '.' and '_' stand at the same places cannot be told apart in metrics: Kafka refuses the second one. */
export function collidingName(name: string, others: Iterable<string>): string | undefined {
  const plain = name.replaceAll('.', '_');
  for (const other of others) if (other !== name && other.replaceAll('.', '_') === plain) return other;
  return undefined;
}

export function encodeDefinition(definition: TopicDefinition): Buffer {
  return Buffer.from(`${JSON.stringify(definition)}\n`);
}

/** undefined where the text is no definition. */
export function decodeDefinition(text: string): TopicDefinition | undefined {
  try {
    const parsed = JSON.parse(text) as Partial<TopicDefinition>;
    const { version, name, id, partitions, isInternal, configs } = parsed;
    if (version !== 1 || typeof name !== 'string' || typeof id !== 'string' || typeof partitions !== 'number') return undefined;
    if (typeof isInternal !== 'boolean' || typeof configs !== 'object' || configs === null) return undefined;
    return { version, name, id, partitions, isInternal, configs };
  } catch {
    return undefined;
  }
}
