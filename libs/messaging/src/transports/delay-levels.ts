/**
 * How a broker without a plugin keeps a message for a time: levels, of which level n holds what comes to it for 100 ms × 2^n.
 *
 *   exchange dovecote.delay.<n> ─(bit n is set)──▶ queue dovecote.delay.<n> ─(dead letter, when the time is over)─┐
 *                 └──────────────(it is not)──▶ exchange dovecote.delay.<n-1> ◀──────────────────────────────────┘
 *   exchange dovecote.delay.due ─(last word)──▶ dovecote.events, dovecote.commands, dovecote.boxes
 *
 * The bits of the delay are the routing key, `+` for a set one and `~` for another, and its last word says which exchange is meant: `~.+.+.+events`. No
 * type has such words, so nothing else matches. The key that the message is meant to arrive by is in its CC header, which brokers add to the routing
 * key everywhere. The queues are quorum queues that dead-letter at least once: a message may arrive twice, never not at all. Nothing here is per service.
 *
 * A delay is rounded up to 100 ms, and each level that it passes adds what a broker takes to hand a dead letter on: milliseconds.
 */
import { MessagingError } from '../errors.js';
import { BOXES_EXCHANGE, COMMANDS_EXCHANGE, type Declared, EVENTS_EXCHANGE, type Address } from './topology.js';

const STEP_MS = 100;
/** Three years. */
const LEVELS = 30;
export const DELAY_MS_MAX = STEP_MS * (2 ** LEVELS - 1);

const DUE = 'dovecote.delay.due';
const SET = '+';
const CLEAR = '~';

const lastWords: Readonly<Record<string, string>> = {
  [EVENTS_EXCHANGE]: '+events',
  [COMMANDS_EXCHANGE]: '+commands',
  [BOXES_EXCHANGE]: '+boxes',
};

/** Where to publish what shall arrive at this address later. */
export function delayed({ exchange, routingKey }: Address, delayMs: number): Address {
  const steps = stepsOf(delayMs);
  const highest = Math.floor(Math.log2(steps));
  const bits: string[] = [];
  for (let level = LEVELS - 1; level >= 0; level--) bits.push(isSet(steps, level) ? SET : CLEAR);
  return { exchange: exchangeOf(highest), routingKey: [...bits, lastWords[exchange]].join('.'), copies: routingKey };
}

/** In an order in which each can be declared. */
export const delayLevels: readonly Declared[] = [
  { thing: 'exchange', name: DUE, type: 'topic' },
  ...Object.entries(lastWords).map(([exchange, word]): Declared => ({ thing: 'link', from: DUE, to: exchange, routingKey: `#.${word}` })),
  ...Array.from({ length: LEVELS }, (_, level) => levelOf(level)).flat(),
];

function levelOf(level: number): readonly Declared[] {
  const name = exchangeOf(level);
  const below = level === 0 ? DUE : exchangeOf(level - 1);
  // The word of this level, whatever stands before and behind it.
  const key = (word: string): string => [...Array.from({ length: LEVELS - 1 - level }, () => '*'), word, '#'].join('.');
  return [
    { thing: 'exchange', name, type: 'topic' },
    {
      thing: 'queue',
      name,
      arguments: {
        'x-queue-type': 'quorum',
        'x-message-ttl': STEP_MS * 2 ** level,
        'x-dead-letter-exchange': below,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      },
    },
    { thing: 'binding', queue: name, exchange: name, routingKey: key(SET) },
    { thing: 'link', from: name, to: below, routingKey: key(CLEAR) },
  ];
}

function stepsOf(delayMs: number): number {
  if (delayMs > 0 && delayMs <= DELAY_MS_MAX) return Math.ceil(delayMs / STEP_MS);
  throw new MessagingError('invalid-publish', `A delay is from 1 ms to ${DELAY_MS_MAX} ms (three years), not ${delayMs} ms.`);
}

function exchangeOf(level: number): string {
  return `dovecote.delay.${level}`;
}

/** Not with shifts: they see 32 bits, and the sign in the last. */
function isSet(steps: number, level: number): boolean {
  return Math.floor(steps / 2 ** level) % 2 === 1;
}
