/**
 * Where things live on Kafka:
 *
 *   events                 their topic, else all words of their type but the last: orders.order-placed in `orders`
 *   commands and queries   `dovecote.commands.` and the same of theirs
 *   boxes of a service     dovecote.<service>.inbox, .quarantine, .dead
 *   answers to a service   dovecote.<service>.replies
 *   what waits             dovecote.delay.<milliseconds>, dovecote.<service>.parked
 *
 * A service reads as the consumer group of its name. The names are public: clients in other languages produce and consume there. No I/O.
 */
import type { Envelope, MessageKind } from '../../envelope.js';
import type { Box, BrokerPlaces, Route, Source, SubscriptionRequest } from '../../transport.js';
import { isPattern, startMatcher, typeMatcher } from '../../type-pattern.js';

const COMMANDS = 'dovecote.commands.';
export const OWN_PREFIX = 'dovecote.';

export function topicOf(type: string): string {
  const dot = type.lastIndexOf('.');
  return dot > 0 ? type.slice(0, dot) : type;
}

export function boxTopic({ group, box }: Box): string {
  return `${OWN_PREFIX}${group}.${box === 'dead-letters' ? 'dead' : box}`;
}

/** Those of a service's own that it reads and writes from the start. */
export function boxTopics(group: string): readonly string[] {
  return (['inbox', 'quarantine', 'dead-letters'] as const).map((box) => boxTopic({ group, box }));
}

export function repliesTopic(service: string): string {
  return `${OWN_PREFIX}${service}.replies`;
}

export function parkedTopic(service: string): string {
  return `${OWN_PREFIX}${service}.parked`;
}

export const DELAY_PREFIX = 'dovecote.delay.';

export function delayTopic(tierMs: number): string {
  return `${DELAY_PREFIX}${tierMs}`;
}

/** Where an answer goes: a topic, and which of its partitions. */
export function replyPlace(replyTo: string | undefined): { readonly topic: string; readonly partition: number } | undefined {
  const [, topic, partition] = /^(.+)\/(\d{1,9})$/.exec(replyTo ?? '') ?? [];
  return topic === undefined ? undefined : { topic, partition: Number(partition) };
}

export function destinationOf({ kind, type }: Envelope, route: Route | undefined): string {
  if (route?.to !== undefined) return boxTopic(route.to);
  return inKind(kind, route?.topic ?? topicOf(type));
}

/** Topics, for whoever traces. */
export const kafkaPlaces: BrokerPlaces = {
  system: 'kafka',
  published: ({ kind, type }, topic) => inKind(kind, topic ?? topicOf(type)),
  consumed: ({ kind, type }, topic) => inKind(kind, topic ?? topicOf(type)),
};

/** What a group reads, apart from what patterns find. */
export function literalTopics({ sources }: SubscriptionRequest): readonly string[] {
  const topics = sources
    .filter(({ pattern, topic }) => topic !== undefined || !isPattern(pattern))
    .map(({ kind, pattern, topic }) => inKind(kind, topic ?? topicOf(pattern)));
  return [...new Set(topics)];
}

/** Those of the topics there are in which something may stand that one of the patterns asks for. */
export function foundTopics({ sources }: SubscriptionRequest, existing: Iterable<string>): readonly string[] {
  const wanted = sources
    .filter(({ pattern, topic }) => topic === undefined && isPattern(pattern))
    .map(({ kind, pattern }) => ({ prefix: kind === 'event' ? '' : COMMANDS, mayHold: mayHold(pattern) }));
  return [...existing].filter((topic) =>
    wanted.some(({ prefix, mayHold: holds }) => {
      if (prefix === '') return !topic.startsWith(OWN_PREFIX) && !topic.startsWith('__') && holds(topic);
      return topic.startsWith(prefix) && holds(topic.slice(prefix.length));
    }),
  );
}

/** The sources that a record of a topic may belong to, as a test of each record. */
export function sourceFinder(sources: readonly Source[]): (kind: MessageKind, type: string, topic: string) => Source | undefined {
  const tests = sources.map((source) => ({ source, matches: typeMatcher(source.pattern), topic: source.topic }));
  return (kind, type, topic) =>
    tests.find(
      ({ source, matches, topic: own }) =>
        isOfKind(source.kind, kind) && (own === undefined || inKind(source.kind, own) === topic) && matches(type),
    )?.source;
}

/** Commands and queries of one type go to the same handlers. */
function isOfKind(wanted: Source['kind'], kind: MessageKind): boolean {
  return wanted === 'event' ? kind === 'event' : kind === 'command' || kind === 'query';
}

function inKind(kind: MessageKind, topic: string): string {
  return kind === 'event' ? topic : `${COMMANDS}${topic}`;
}

/** A topic holds types of one word more, and, where it has no dot, the type of its own name. */
function mayHold(pattern: string): (topic: string) => boolean {
  const [isStart, isType] = [startMatcher(pattern), typeMatcher(pattern)];
  return (topic) => isStart(topic) || (!topic.includes('.') && isType(topic));
}
