/**
 * Exchanges, queues and bindings that a case needs, and the messages that are sent through them: descriptions, and nothing is done here.
 *
 * Every case says how many deliveries each of its messages must make, so that a broker which routes wrongly is not measured as a fast one.
 */
import type { MessageKind } from './publisher.js';

export interface QueueShape {
  readonly name: string;
  readonly arguments?: Readonly<Record<string, string | number>>;
  readonly isConsumed: boolean;
}

export interface BindingShape {
  readonly exchange: string;
  readonly queue: string;
  readonly key: string;
  readonly arguments?: Readonly<Record<string, string | number>>;
}

export interface Topology {
  readonly exchanges: readonly { readonly name: string; readonly type: string }[];
  readonly queues: readonly QueueShape[];
  readonly bindings: readonly BindingShape[];
  /** The messages, which take turns. */
  readonly kinds: readonly MessageKind[];
  /** How many consumers each of them must reach; the same for all. */
  readonly deliveriesEach: number;
  /** Messages come to each consumer in the order in which they were published. */
  readonly isOrdered: boolean;
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);

/** Everything published goes to `count` queues. */
export function fanOut(name: string, count: number): Topology {
  const exchange = `${name}-all`;
  const queues = range(count).map((index) => ({ name: `${name}-${index}`, isConsumed: true }));
  return {
    exchanges: [{ name: exchange, type: 'fanout' }],
    queues,
    bindings: queues.map((queue) => ({ exchange, queue: queue.name, key: '' })),
    kinds: [{ exchange, routingKey: '' }],
    deliveriesEach: count,
    isOrdered: true,
  };
}

const topicBindings = 10_000;
const topicQueues = 10;
/** More than a broker is likely to remember the routes of. */
const topicKeys = 100_000;

/** 10,000 bindings with a wildcard, of which one fits each key. */
export function topicFew(name: string): Topology {
  const exchange = `${name}-topic`;
  const queues = range(topicQueues).map((index) => ({ name: `${name}-${index}`, isConsumed: true }));
  return {
    exchanges: [{ name: exchange, type: 'topic' }],
    queues,
    bindings: range(topicBindings).map((index) => ({ exchange, queue: `${name}-${index % topicQueues}`, key: `shop.${index}.*` })),
    kinds: range(topicKeys).map((index) => ({ exchange, routingKey: `shop.${(index * 7919) % topicBindings}.order${index % 7}` })),
    deliveriesEach: 1,
    isOrdered: true,
  };
}

/** 10,000 bindings with `*` in up to ten places and `#` behind them, of which 1,000 fit each key: together they lead to all ten queues. */
export function topicMany(name: string): Topology {
  const exchange = `${name}-topic`;
  const queues = range(topicQueues).map((index) => ({ name: `${name}-${index}`, isConsumed: true }));
  const words = 'abcdefghij'.split('');
  const pattern = (index: number): string => {
    const subset = index % 1000;
    return [`v${Math.floor(index / 1000)}`, ...words.map((word, bit) => ((subset >>> bit) & 1 ? '*' : word)), '#'].join('.');
  };
  return {
    exchanges: [{ name: exchange, type: 'topic' }],
    queues,
    bindings: range(topicBindings).map((index) => ({ exchange, queue: `${name}-${index % topicQueues}`, key: pattern(index) })),
    kinds: range(topicKeys).map((index) => ({ exchange, routingKey: [`v${index % 10}`, ...words, String(index)].join('.') })),
    deliveriesEach: topicQueues,
    isOrdered: true,
  };
}

const headersBindings = 1000;

/** 1,000 bindings that ask for two headers, of which one fits each message. */
export function headersOne(name: string): Topology {
  const exchange = `${name}-headers`;
  const queues = range(topicQueues).map((index) => ({ name: `${name}-${index}`, isConsumed: true }));
  return {
    exchanges: [{ name: exchange, type: 'headers' }],
    queues,
    bindings: range(headersBindings).map((index) => ({
      exchange,
      queue: `${name}-${index % topicQueues}`,
      key: '',
      arguments: { 'x-match': 'all', kind: `kind-${index}`, region: index % 4 },
    })),
    kinds: range(headersBindings).map((index) => ({
      exchange,
      routingKey: '',
      headers: { kind: `kind-${index}`, region: index % 4, trace: 'abc' },
    })),
    deliveriesEach: 1,
    isOrdered: true,
  };
}

/** Every message dies at once in a queue without a consumer and comes out of another one, with its history. */
export function deadLetters(name: string): Topology {
  const grave = `${name}-grave`;
  const dying = { 'x-message-ttl': 0, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': grave };
  return {
    ...oneQueue(`${name}-mortal`, dying),
    queues: [
      { name: `${name}-mortal`, arguments: dying, isConsumed: false },
      { name: grave, isConsumed: true },
    ],
  };
}

/** One queue with arguments of its own. */
export function oneQueue(name: string, given: Readonly<Record<string, string | number>>): Topology {
  return {
    exchanges: [],
    queues: [{ name, arguments: given, isConsumed: true }],
    bindings: [],
    kinds: [{ routingKey: name }],
    deliveriesEach: 1,
    isOrdered: true,
  };
}

/** One queue with ten priorities, which take turns in what is published. */
export function priorities(name: string): Topology {
  const kinds = range(10).map((priority) => ({ routingKey: name, priority }));
  return { ...oneQueue(name, { 'x-max-priority': 9 }), kinds, isOrdered: false };
}

/** A message for each of `count` queues in turn. */
export function manyQueues(name: string, count: number): Topology {
  return {
    exchanges: [],
    queues: range(count).map((index) => ({ name: `${name}-${index}`, isConsumed: true })),
    bindings: [],
    kinds: range(count).map((index) => ({ routingKey: `${name}-${index}` })),
    deliveriesEach: 1,
    isOrdered: true,
  };
}
