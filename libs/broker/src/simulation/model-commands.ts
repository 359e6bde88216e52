import type { SeededRandom } from '@dovecote/ground/testing';
import type { Command, ExchangeShape, Headers, Publish, QueueShape } from './model-words.js';

/**
 * Draws commands for the model: first what makes a small virtual host, then anything at all. Names are few, so that commands meet.
 * What is drawn is plain data and says everything about itself, so that any of it may be left out.
 */
export const connectionsOf: readonly number[] = [0, 0, 1, 2];
/** The last one is in a virtual host of its own, and each host has queues and exchanges of the same names. */
export const hostsOf: readonly string[] = ['/', '/', '/', 'other'];
const stranger = 3;

const queues = ['q0', 'q1', 'q2', 'q3'];
const exchanges = ['x0', 'x1', 'x2', 'x3'];
const keys = ['a', 'b', 'a.b', 'a.b.c', ''];
const patterns = ['a', 'b', '#', 'a.*', 'a.#', '*.b', '#.c', ''];
/** Only published to, and bound to queues: what it holds on the way from elsewhere is tested in engine/delayed.spec.ts. */
const delayed = 'x4';
const delayedShape: ExchangeShape = { type: 'delayed', durable: true, autoDelete: false, internal: false };
const setupSteps = queues.length + exchanges.length + 7;
const strangerSteps = 4;

/** Long beside a command and short beside `wait`. */
export const lifeMs = 3000;
const waitMs = 3500;

export interface Shapes {
  readonly queues: ReadonlyMap<string, QueueShape>;
  readonly exchanges: ReadonlyMap<string, ExchangeShape>;
  /** There is an exchange that holds messages back: where the broker knows such a thing. */
  readonly hasDelayed: boolean;
}

export function drawShapes(random: SeededRandom, hasDelayed: boolean): Shapes {
  return {
    queues: new Map(queues.map((name) => [name, drawQueue(random)])),
    exchanges: new Map(exchanges.map((name) => [name, drawExchange(random, name)])),
    hasDelayed,
  };
}

export function drawCommand(random: SeededRandom, index: number, shapes: Shapes): Command {
  if (index < setupSteps) return setUp(random, index, shapes);
  if (index < setupSteps + strangerSteps) return setUpStranger(random, index - setupSteps, shapes);
  const who = pick(random, [0, 0, 1, 1, 2, 2, stranger]);
  let left = random.below(100);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(28)) return { who, do: 'publish', ...drawPublish(random, shapes) };
  if (falls(8)) return { who, do: 'get', queue: pick(random, queues), noAck: random.chance(0.3) };
  if (falls(9)) return drawConsume(random, who);
  if (falls(17)) return drawSettle(random, who);
  if (falls(7)) return { who, do: pick(random, ['tx', 'tx', 'commit', 'commit', 'commit', 'rollback', 'confirm'] as const) };
  if (falls(4)) return { who, do: 'cancel', tag: pick(random, tags) };
  if (falls(4)) return { who, do: 'qos', count: random.below(4), isGlobal: random.chance(0.3) };
  if (falls(2)) return { who, do: 'recover' };
  if (falls(2)) return { who, do: 'wait', ms: waitMs };
  if (falls(3)) return { who, do: pick(random, ['close-channel', 'close-channel', 'close-connection', 'cut'] as const) };
  if (falls(10)) return drawQueueCommand(random, who, shapes);
  return drawExchangeCommand(random, who, shapes);
}

const tags = ['t0', 't1', 't2', 't3', 't4', 't5'];

function setUp(random: SeededRandom, index: number, shapes: Shapes): Command {
  const queue = queues[index];
  if (queue !== undefined) return { who: 0, do: 'declare-queue', queue, shape: shapes.queues.get(queue)! };
  const exchange = exchanges[index - queues.length];
  if (exchange !== undefined) return { who: 0, do: 'declare-exchange', exchange, shape: shapes.exchanges.get(exchange)! };
  if (index === queues.length + exchanges.length && shapes.hasDelayed)
    return { who: 0, do: 'declare-exchange', exchange: delayed, shape: delayedShape };
  return drawBinding(random, 0, 'bind', shapes);
}

function setUpStranger(random: SeededRandom, index: number, shapes: Shapes): Command {
  const [queue, exchange] = [queues[index & 1]!, exchanges[0]!];
  if (index < 2) return { who: stranger, do: 'declare-queue', queue, shape: shapes.queues.get(queue)! };
  if (index === 2) return { who: stranger, do: 'declare-exchange', exchange, shape: shapes.exchanges.get(exchange)! };
  return { who: stranger, do: 'bind', source: exchange, to: 'queue', destination: queue, key: pick(random, patterns) };
}

function drawQueue(random: SeededRandom): QueueShape {
  if (random.chance(0.25)) return drawQuorumQueue(random);
  const bound = random.below(10);
  return {
    durable: random.chance(0.8),
    exclusive: random.chance(0.08),
    autoDelete: random.chance(0.12),
    ...(random.chance(0.2) ? { ttlMs: random.chance(0.3) ? 0 : lifeMs } : {}),
    ...(random.chance(0.06) ? { expiresMs: lifeMs } : {}),
    ...(bound < 3 ? { maxLength: random.below(4), ...drawOverflow(random) } : {}),
    ...(bound === 3 ? { maxLengthBytes: 8 * (1 + random.below(3)), ...drawOverflow(random) } : {}),
    ...(random.chance(0.55) ? drawGrave(random) : {}),
    ...(random.chance(0.2) ? { maxPriority: random.chance(0.5) ? 2 : 5 } : {}),
    ...(random.chance(0.15) ? { isSingleActive: true } : {}),
  };
}

function drawQuorumQueue(random: SeededRandom): QueueShape {
  const limit = random.below(4);
  return {
    type: 'quorum',
    durable: true,
    exclusive: false,
    autoDelete: false,
    ...(limit === 0 ? {} : { deliveryLimit: limit }),
    ...(random.chance(0.25) ? { maxLength: 1 + random.below(3) } : {}),
    ...(random.chance(0.15) ? { ttlMs: lifeMs } : {}),
    ...(random.chance(0.6) ? drawGrave(random) : {}),
  };
}

function drawOverflow(random: SeededRandom): Partial<QueueShape> {
  return random.chance(0.3) ? {} : { overflow: pick(random, ['drop-head', 'reject-publish', 'reject-publish-dlx'] as const) };
}

function drawGrave(random: SeededRandom): Partial<QueueShape> {
  if (random.chance(0.5)) return { deadExchange: '', deadKey: pick(random, queues) };
  const deadExchange = pick(random, [...exchanges, ...exchanges, 'x9']);
  return random.chance(0.5) ? { deadExchange } : { deadExchange, deadKey: pick(random, keys) };
}

function drawExchange(random: SeededRandom, name: string): ExchangeShape {
  const alternates = exchanges.filter((other) => other !== name);
  return {
    type: pick(random, ['direct', 'fanout', 'topic', 'headers'] as const),
    durable: random.chance(0.8),
    autoDelete: random.chance(0.1),
    internal: random.chance(0.08),
    ...(random.chance(0.25) ? { alternate: pick(random, alternates) } : {}),
  };
}

function drawPublish(random: SeededRandom, { hasDelayed }: Shapes): Publish {
  if (hasDelayed && random.chance(0.12)) return drawDelayedPublish(random);
  const isDirect = random.chance(0.45);
  return {
    exchange: isDirect ? '' : pick(random, random.chance(0.03) ? ['x9'] : exchanges),
    key: isDirect ? pick(random, random.chance(0.05) ? ['q9'] : queues) : pick(random, keys),
    copies: random.chance(0.08) ? [pick(random, [...queues, 'a', 'b'])] : [],
    headers: random.chance(0.4) ? drawHeaders(random) : {},
    persistent: random.chance(0.75),
    mandatory: random.chance(0.3),
    priority: random.chance(0.4) ? random.below(7) : 0,
    ...(random.chance(0.12) ? { expirationMs: random.chance(0.3) ? 0 : lifeMs } : {}),
  };
}

function drawDelayedPublish(random: SeededRandom): Publish {
  const [persistent, mandatory] = [random.chance(0.75), random.chance(0.3)];
  const delayMs = random.chance(0.2) ? 0 : pick(random, [lifeMs / 2, lifeMs, 2 * lifeMs]);
  return { exchange: delayed, key: pick(random, keys), copies: [], headers: {}, persistent, mandatory, priority: random.below(7), delayMs };
}

function drawHeaders(random: SeededRandom): Headers {
  return { ...(random.chance(0.6) ? { h: random.below(2) } : {}), ...(random.chance(0.6) ? { k: pick(random, ['u', 'v']) } : {}) };
}

function drawConsume(random: SeededRandom, who: number): Command {
  return {
    who,
    do: 'consume',
    queue: pick(random, queues),
    tag: pick(random, tags),
    noAck: random.chance(0.25),
    exclusive: random.chance(0.06),
    priority: random.chance(0.2) ? random.below(5) - 2 : 0,
  };
}

function drawSettle(random: SeededRandom, who: number): Command {
  const how = pick(random, ['ack', 'ack', 'nack', 'nack', 'reject'] as const);
  const nth = random.chance(0.04) ? 'unknown' : random.chance(0.1) ? 'all' : random.below(6);
  return { who, do: 'settle', how, nth, multiple: nth === 'all' || random.chance(0.3), requeue: random.chance(0.5) };
}

function drawQueueCommand(random: SeededRandom, who: number, shapes: Shapes): Command {
  const queue = pick(random, queues);
  const known = shapes.queues.get(queue)!;
  const shape = random.chance(0.06) ? drawQueue(random) : known;
  const kind = random.below(10);
  if (kind < 4) return { who: known.exclusive && who !== stranger ? 0 : who, do: 'declare-queue', queue, shape };
  if (kind < 7) return { who, do: 'declare-queue', queue, shape, passive: true };
  if (kind < 8) return { who, do: 'purge', queue };
  return { who, do: 'delete-queue', queue, ifUnused: random.chance(0.3), ifEmpty: random.chance(0.3) };
}

function drawExchangeCommand(random: SeededRandom, who: number, shapes: Shapes): Command {
  const kind = random.below(12);
  if (kind < 5) return drawBinding(random, who, 'bind', shapes);
  if (kind < 8) return drawBinding(random, who, 'unbind', shapes);
  if (shapes.hasDelayed && random.chance(0.2)) return drawDelayedCommand(random, who);
  const exchange = pick(random, exchanges);
  const shape = random.chance(0.06) ? drawExchange(random, exchange) : shapes.exchanges.get(exchange)!;
  if (kind < 10) return { who, do: 'declare-exchange', exchange, shape };
  if (kind < 11) return { who, do: 'declare-exchange', exchange, shape, passive: true };
  return { who, do: 'delete-exchange', exchange, ifUnused: random.chance(0.5) };
}

function drawDelayedCommand(random: SeededRandom, who: number): Command {
  if (random.chance(0.5)) return { who, do: 'declare-exchange', exchange: delayed, shape: delayedShape };
  return { who, do: 'delete-exchange', exchange: delayed, ifUnused: random.chance(0.5) };
}

function drawBinding(random: SeededRandom, who: number, what: 'bind' | 'unbind', { hasDelayed }: Shapes): Command {
  if (hasDelayed && random.chance(0.25)) {
    return { who, do: what, source: delayed, to: 'queue', destination: pick(random, queues), key: pick(random, keys) };
  }
  const to = random.chance(0.75) ? 'queue' : 'exchange';
  const binding = { source: pick(random, exchanges), to, destination: pick(random, to === 'queue' ? queues : exchanges) } as const;
  const match = random.chance(0.3) ? { match: { 'x-match': pick(random, ['all', 'any']), ...drawHeaders(random) } } : {};
  return { who, do: what, ...binding, key: pick(random, patterns), ...match };
}

function pick<Item>(random: SeededRandom, items: readonly Item[]): Item {
  return items[random.below(items.length)]!;
}
