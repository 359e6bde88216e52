import type { ExchangeShape, ExchangeType, Headers, QueueShape } from './model-words.js';

/**
 * What the model of a virtual host is made of, and the rules that need nothing else: what a message looks like, where a binding leads, what
 * comes first in a queue. It knows nothing of the broker's code.
 */
/** A message is what its receiver sees of it, in one line. */
export interface Message {
  readonly id: number;
  readonly exchange: string;
  readonly key: string;
  readonly copies: readonly string[];
  readonly headers: Headers;
  readonly persistent: boolean;
  readonly priority: number;
  readonly expirationMs: number | undefined;
  readonly deaths: readonly Death[];
  readonly delayMs: number;
}

export interface Death {
  readonly queue: string;
  readonly reason: Reason;
  readonly count: number;
}

export type Reason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit';
export type Outcome = 'done' | 'put-back' | 'dead';

export interface Entry {
  readonly message: Message;
  readonly order: number;
  /** Its number in this queue, from 1 on. */
  readonly sequence: number;
  readonly expiresAt: number;
  /** It goes to a consumer at once or never. */
  readonly isForNow: boolean;
  hadChance: boolean;
  redelivered: boolean;
  /** In a quorum queue: how often it came back, and as which of all that came back; 0 for one that did not. */
  returnCount: number;
  returnOrder: number;
}

/** A message that an exchange holds until it is due. */
export interface Held {
  readonly message: Message;
  readonly dueAt: number;
  readonly order: number;
}

export interface Queue {
  readonly name: string;
  readonly shape: QueueShape;
  readonly owner: number | undefined;
  readonly ready: Entry[];
  readonly consumers: Consumer[];
  active: Consumer | undefined;
  hadConsumer: boolean;
  isDeleted: boolean;
  usedAt: number;
  lastSequence: number;
  lastReturn: number;
  /** Of a quorum queue: how many were taken since the last one that is not high, at most two. */
  turn: number;
}

export interface Consumer {
  readonly tag: string;
  readonly queue: Queue;
  readonly channel: Channel;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly prefetch: number;
  readonly priority: number;
}

export interface Exchange {
  readonly name: string;
  readonly shape: ExchangeShape;
  hadBinding: boolean;
  held: Held[];
}

export interface Binding {
  readonly source: string;
  readonly to: 'queue' | 'exchange';
  readonly destination: string;
  readonly key: string;
  readonly match: Headers;
}

export interface Outstanding {
  readonly tag: number;
  readonly queue: Queue;
  readonly entry: Entry;
  readonly consumer: Consumer | undefined;
}

export interface Transaction {
  publishes: { readonly message: Message; readonly queues: readonly Queue[]; readonly mandatory: boolean }[];
  settlements: { readonly outstanding: Outstanding; readonly outcome: Outcome }[];
}

export class Channel {
  answers: string[] = [];
  returned: string[] = [];
  acked: number[] = [];
  nacked: number[] = [];
  cancelled: string[] = [];
  consumers: Consumer[] = [];
  outstanding: Outstanding[] = [];
  transaction: Transaction | undefined;
  prefetch = 0;
  sharedPrefetch = 0;
  nextTag = 1;
  published: number | undefined;

  constructor(
    readonly who: number,
    readonly connection: number,
  ) {}
}

export class Refusal {
  constructor(
    readonly code: number,
    readonly closes: 'channel' | 'connection' = 'channel',
  ) {}
}

export const bodyBytes = 8;

export function bodyOf(id: number): string {
  return String(id).padStart(bodyBytes, '0');
}

/** All that a receiver sees of a message, but for what belongs to the delivery. */
export function textOf(
  message: Pick<Message, 'id' | 'exchange' | 'key' | 'deaths' | 'expirationMs' | 'persistent' | 'priority'>,
  returnCount = 0,
): string {
  const { id, exchange, key, deaths, expirationMs, persistent, priority } = message;
  const died = deaths.map(({ queue, reason, count }) => ` ${reason} in ${queue} x${count}`).join('');
  const expiration = expirationMs === undefined ? '' : ` expires ${expirationMs}`;
  return `${bodyOf(id)} ${exchange}/${key} ${persistent ? 'kept' : 'transient'} p${priority}${expiration}${died}${returnCount === 0 ? '' : ` returned x${returnCount}`}`;
}

/** Those that may be given the next message: of the highest priority that can take one. */
export function readyConsumers(queue: Queue): Consumer[] {
  const ready = queue.consumers.filter((consumer) => isReady(consumer));
  return ready.filter(({ priority }) => priority === ready[0]!.priority);
}

function isReady(consumer: Consumer): boolean {
  const { channel, noAck, prefetch, queue } = consumer;
  if (queue.shape.isSingleActive === true && queue.active !== consumer) return false;
  if (noAck) return true;
  const settled = (channel.transaction?.settlements ?? []).map(({ outstanding }) => outstanding);
  const mine = [...channel.outstanding, ...settled].filter((other) => other.consumer === consumer);
  if (prefetch !== 0 && mine.length >= prefetch) return false;
  return isQuorum(queue) || channel.sharedPrefetch === 0 || takenCount(channel) < channel.sharedPrefetch;
}

/** What was fetched is nobody's share. */
function takenCount({ outstanding, transaction }: Channel): number {
  const settled = (transaction?.settlements ?? []).map((settlement) => settlement.outstanding);
  return [...outstanding, ...settled].filter(({ consumer }) => consumer !== undefined).length;
}

export function isQuorum({ shape }: Pick<Queue, 'shape'>): boolean {
  return shape.type === 'quorum';
}

export function deliveryLimit({ shape }: Queue): number {
  return shape.deliveryLimit ?? 20;
}

/** When it goes because nobody uses it. */
export function leaseEnd({ consumers, usedAt, shape }: Queue): number {
  return consumers.length > 0 ? Infinity : usedAt + (shape.expiresMs ?? Infinity);
}

export function flag({ redelivered }: Entry): string {
  return redelivered ? 'again' : 'new';
}

export function isTooLong({ shape, ready }: Queue): boolean {
  return (shape.overflow ?? 'drop-head') === 'drop-head' && ready.length > capacity(shape);
}

export function capacity({ maxLength = Infinity, maxLengthBytes = Infinity }: QueueShape): number {
  return Math.min(maxLength, Math.floor(maxLengthBytes / bodyBytes));
}

export function laneOf({ shape }: Queue, { message }: Entry): number {
  return Math.min(message.priority, shape.maxPriority ?? 0);
}

/** By priority, then as it came in. */
export function insert(queue: Queue, entry: Entry): void {
  queue.ready.push(entry);
  if (isQuorum(queue)) arrangeQuorum(queue);
  else queue.ready.sort((one, other) => laneOf(queue, other) - laneOf(queue, one) || one.order - other.order);
}

/** Takes the first one out; there must be one. */
export function takeFirst(queue: Queue): Entry {
  const first = queue.ready.shift()!;
  if (first.returnOrder === 0) queue.turn = queue.turn === 2 ? 0 : queue.turn + 1;
  return first;
}

/**
 * The entries that may be the first: copies of one message that died in several queues at the same moment may have come in any order, and
 * nobody promises which.
 */
export function firstOnes(queue: Queue): readonly Entry[] {
  const { ready } = queue;
  const isCopy = (entry: Entry): boolean => entry.message.id === ready[0]!.message.id && laneOf(queue, entry) === laneOf(queue, ready[0]!);
  const end = ready.findIndex((entry) => !isCopy(entry));
  return end < 0 ? ready : ready.slice(0, end);
}

/** The same texts of messages, with such copies in an order that is always the same. */
export function withCopiesInOrder(texts: readonly string[]): readonly string[] {
  const idOf = (text: string): string => text.slice(0, bodyBytes);
  const runs: string[][] = [];
  for (const text of texts) {
    if (runs.length > 0 && idOf(runs.at(-1)![0]!) === idOf(text)) runs.at(-1)!.push(text);
    else runs.push([text]);
  }
  return runs.flatMap((run) => run.sort());
}

/** What came back first, as it did; then two high ones for each of the others, and a high one before all that came later. */
function arrangeQuorum({ ready, turn: now }: Queue): void {
  const returned = ready.filter(({ returnOrder }) => returnOrder > 0).sort((one, other) => one.returnOrder - other.returnOrder);
  const fresh = ready.filter(({ returnOrder }) => returnOrder === 0).sort((one, other) => one.sequence - other.sequence);
  const high = fresh.filter(({ message }) => message.priority > 4);
  const normal = fresh.filter(({ message }) => message.priority <= 4);
  ready.splice(0, ready.length, ...returned);
  for (let turn = now; high.length + normal.length > 0; turn = turn === 2 ? 0 : turn + 1) {
    const isHighNext = normal.length === 0 || (high.length > 0 && (turn < 2 || high[0]!.sequence < normal[0]!.sequence));
    ready.push((isHighNext ? high : normal).shift()!);
  }
}

/** It would go round by itself: it died there before, and since then nobody rejected it. */
export function isCycle(deaths: readonly Death[], queue: string): boolean {
  const last = deaths.findIndex((death) => death.queue === queue);
  return last >= 0 && deaths.slice(0, last + 1).every(({ reason }) => reason !== 'rejected');
}

/** What several settlements in a row say takes effect in the order of the deliveries. */
export function inGroups(settlements: Transaction['settlements']): Transaction['settlements'] {
  const groups: Transaction['settlements'][] = [];
  for (const settlement of settlements) {
    if (groups.at(-1)?.[0]?.outcome === settlement.outcome) groups.at(-1)!.push(settlement);
    else groups.push([settlement]);
  }
  return groups.flatMap((group) => group.sort((one, other) => one.outstanding.tag - other.outstanding.tag));
}

export function leads(type: ExchangeType, { key, match }: Binding, message: Message): boolean {
  const keys = [message.key, ...message.copies];
  switch (type) {
    case 'fanout':
      return true;
    case 'direct':
    case 'delayed':
      return keys.includes(key);
    case 'topic':
      return keys.some((given) => isTopic(key.split('.'), given.split('.')));
    case 'headers': {
      const wanted = Object.entries(match).filter(([name]) => !name.startsWith('x-'));
      const isThere = ([name, value]: readonly [string, string | number]): boolean => message.headers[name] === value;
      return match['x-match'] === 'any' ? wanted.some(isThere) : wanted.every(isThere);
    }
  }
}

export function isTopic([first, ...pattern]: readonly string[], words: readonly string[]): boolean {
  if (first === undefined) return words.length === 0;
  if (first === '#') return isTopic(pattern, words) || (words.length > 0 && isTopic([first, ...pattern], words.slice(1)));
  return words.length > 0 && (first === '*' || first === words[0]) && isTopic(pattern, words.slice(1));
}

export function isSame(one: Binding, other: Binding): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

export function sorted({ source, to, destination, key, match }: Binding): unknown[] {
  return [source, to, destination, key, Object.entries(match).sort(([one], [other]) => one.localeCompare(other))];
}

export function unique<Item>(items: readonly Item[]): Item[] {
  return [...new Set(items)];
}

/** The broker did something else than the model. */
export class ModelBroken extends Error {
  override readonly name = 'ModelBroken';
}

export function compare(who: number, what: string, expected: readonly unknown[], found: readonly unknown[]): void {
  if (JSON.stringify(expected) === JSON.stringify(found)) return;
  throw new ModelBroken(`channel ${who}: ${what} should be ${JSON.stringify(expected)} and are ${JSON.stringify(found)}`);
}
