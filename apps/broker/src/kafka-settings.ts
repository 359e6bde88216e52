/**
 * How the daemon's settings for Kafka clients are written: where they come in, and what goes by Kafka's own names: `num.partitions=3`. What the broker has a field for goes
 * there; every other name is the default of a topic config (`retention.ms`), which the broker checks when it opens. Pure.
 */
import type { KafkaOptions } from '@dovecote/broker';
import {
  all,
  type HostAndPort,
  isObject,
  listOf,
  type ListenerSetting,
  readAnswer,
  readHostAndPort,
  readListener,
} from './access-settings.js';

/** Where Kafka clients come in, and where those are told to come if that is elsewhere. */
export interface KafkaListenerSetting extends ListenerSetting {
  readonly advertised?: HostAndPort;
  readonly login?: boolean;
}

export type KafkaConfigs = Pick<
  KafkaOptions,
  | 'nodeId'
  | 'createsTopics'
  | 'partitionCount'
  | 'initialRebalanceDelayMs'
  | 'sessionTimeoutMsMin'
  | 'sessionTimeoutMsMax'
  | 'offsetsPartitionCount'
  | 'topicConfigs'
>;

type Read = (value: string) => KafkaConfigs | undefined;

const ofBroker: Readonly<Record<string, Read>> = {
  'auto.create.topics.enable': (value) => (value === 'true' || value === 'false' ? { createsTopics: value === 'true' } : undefined),
  'node.id': (value) => whole(value, 0, (nodeId) => ({ nodeId })),
  'num.partitions': (value) => whole(value, 1, (partitionCount) => ({ partitionCount })),
  'group.initial.rebalance.delay.ms': (value) => whole(value, 0, (initialRebalanceDelayMs) => ({ initialRebalanceDelayMs })),
  'group.min.session.timeout.ms': (value) => whole(value, 1, (sessionTimeoutMsMin) => ({ sessionTimeoutMsMin })),
  'group.max.session.timeout.ms': (value) => whole(value, 1, (sessionTimeoutMsMax) => ({ sessionTimeoutMsMax })),
  'offsets.topic.num.partitions': (value) => whole(value, 1, (offsetsPartitionCount) => ({ offsetsPartitionCount })),
};

/** Takes `NAME=VALUE` with commas, a list of them, or an object; undefined where one is not allowed. */
export function readKafkaConfigs(given: unknown): KafkaConfigs | undefined {
  const pairs = pairsOf(given);
  if (pairs === undefined || new Set(pairs.map(([name]) => name)).size < pairs.length) return undefined;
  let configs: KafkaConfigs = {};
  for (const [name, value] of pairs) {
    const read = ofBroker[name];
    const one = read === undefined ? { topicConfigs: { ...configs.topicConfigs, [name]: value } } : read(value);
    if (one === undefined) return undefined;
    configs = { ...configs, ...one };
  }
  return configs;
}

/** A comma parts settings only where another name follows it: values such as `delete,compact` have some of their own. */
function pairsOf(given: unknown): readonly (readonly [string, string])[] | undefined {
  if (isObject(given)) {
    const isPlain = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    const entries = Object.entries(given);
    return entries.every(([, value]) => isPlain(value)) ? entries.map(([name, value]) => [name, String(value)]) : undefined;
  }
  const texts: readonly unknown[] = typeof given === 'string' ? given.split(/,(?=[^,=]+=)/) : Array.isArray(given) ? given : [];
  const pairs = texts.map((text) => (typeof text === 'string' ? /^([a-z.]+)=(.*)$/.exec(text.trim()) : null));
  if (pairs.length === 0 || pairs.includes(null)) return undefined;
  return pairs.map((pair) => [pair![1]!, pair![2]!]);
}

function whole(value: string, min: number, use: (number: number) => KafkaConfigs): KafkaConfigs | undefined {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : -1;
  return number >= min && number <= 0x7fffffff ? use(number) : undefined;
}

export function readKafkaListeners(given: unknown): readonly KafkaListenerSetting[] | undefined {
  return all(listOf(given).map(readKafkaListener));
}

/** `kafka://0.0.0.0:9092?advertised=pigeons.example:9092&login=no`. */
function readKafkaListener(given: unknown): KafkaListenerSetting | undefined {
  if (typeof given !== 'string') return undefined;
  const [address = '', query = ''] = given.split('?', 2);
  const listener = readListener('kafka', address);
  if (listener === undefined) return undefined;
  const more: { advertised?: HostAndPort; login?: boolean } = {};
  for (const [name, value] of new URLSearchParams(query)) {
    const advertised = name === 'advertised' ? readHostAndPort(value) : undefined;
    const login = name === 'login' ? readAnswer(value) : undefined;
    if (advertised === undefined && login === undefined) return undefined;
    if (advertised !== undefined) more.advertised = advertised;
    if (login !== undefined) more.login = login;
  }
  return { ...listener, ...more };
}
