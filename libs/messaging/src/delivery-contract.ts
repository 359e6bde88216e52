/**
 * What a handler needs of whoever brings it messages, and whether a broker can give it. Checked once, at the start: a need that the broker cannot honour
 * stops the application with one sentence that names the handler, the need, the broker and the ways out. Never a silent lesser guarantee.
 */
import { MessagingError } from './errors.js';
import { ATTEMPTS_MAX, BATCH_MAX, LONGEST_WAIT_MS, PREFETCH_MAX, RATE_COUNT_MAX } from './limits.js';
import type { Capability, TransportCapabilities } from './transport.js';

/** What `@Subscribe` and `@Handle` take. Everything has a default. */
export interface DeliveryOptions {
  /**
   * `at-least-once`: acknowledged when the handler is done; handled again where it is not known that it was. `at-most-once`: acknowledged before it
   * begins, so that a failure or a crash loses the message; it is not retried and never among the dead letters. `at-least-once` when not given.
   */
  readonly delivery?: 'at-least-once' | 'at-most-once';
  /**
   * `none`: messages are handled side by side, as they come. `key`: those of one key one after the other, in the order in which they were published; what
   * fails holds back the later ones of its key until it is done or dead. `strict`: a dead letter too, until it is resolved. `none` when not given.
   */
  readonly order?: 'none' | 'key' | 'strict';
  /** What becomes of a message on which the handler failed. */
  readonly retry?: RetryOptions;
  /**
   * Whether a message that cannot be handled is kept among the dead letters. Without them it is tried again without end, ever more rarely; true when not
   * given.
   */
  readonly deadLetters?: boolean;
  /** After so many milliseconds the message's signal is aborted and the attempt counts as failed; without end when not given. */
  readonly timeoutMs?: number;
  /**
   * The most messages of this handler that one process holds, in work and waiting: the others stay with the broker for whoever has room, and no other handler
   * waits behind them. Not given: as many as the service may hold, all its handlers together.
   */
  readonly prefetch?: number;
  /**
   * The most messages this handler works on at once in one process. Not given: as many as it may hold (`prefetch`). 1 handles them one after the other, in
   * the order in which they come.
   */
  readonly concurrency?: number;
  /** The handler takes arrays: up to `size` messages, or those that came within `lingerMs` (50) of the first. */
  readonly batch?: BatchOptions;
  /** At most so many messages in so many milliseconds, in one process. */
  readonly rate?: { readonly count: number; readonly perMs: number };
  /**
   * After `failures` failures in a row the handler rests for `restMs`; then one message tries whether it works again. Messages wait meanwhile and their
   * attempts are not used up.
   */
  readonly circuitBreaker?: { readonly failures: number; readonly restMs: number };
  /** Whether a message that this handler has done, as far as the `deduplication` of the module remembers, is passed over; false when not given. */
  readonly deduplicate?: boolean;
}

export interface BatchOptions {
  readonly size: number;
  readonly lingerMs?: number;
}

export interface RetryOptions {
  /** Attempts altogether, the first one included; 5. */
  readonly attempts?: number;
  /**
   * `immediate`: at once, in this process. `delayed`: after `firstMs` each time. `exponential`: after a random time of up to `firstMs`, then twice that, and so on
   * to `maxMs`. `exponential` when not given.
   */
  readonly backoff?: 'immediate' | 'delayed' | 'exponential';
  /** 1,000. */
  readonly firstMs?: number;
  /** 60,000. */
  readonly maxMs?: number;
  /** Errors that no repetition can mend: a message goes to the dead letters at once. So does one whose error has `retryable: false`. */
  readonly fatal?: readonly ErrorClass[];
  /**
   * Decides by the error, where it wants to: `dead` goes to the dead letters at once, `{ afterMs }` is tried again after that time (within the attempts), and
   * `undefined` as the backoff says.
   */
  readonly byError?: ByError;
}

export type ByError = (error: unknown, failures: number) => 'dead' | { readonly afterMs: number } | undefined;

export type ErrorClass = abstract new (...args: never[]) => Error;

/** The options, checked and complete. */
export interface DeliveryContract {
  readonly delivery: 'at-least-once' | 'at-most-once';
  readonly order: 'none' | 'key' | 'strict';
  readonly retry: RetryPolicy;
  readonly hasDeadLetters: boolean;
  readonly timeoutMs: number | undefined;
  readonly prefetch: number | undefined;
  readonly concurrency: number;
  readonly batch: { readonly size: number; readonly lingerMs: number } | undefined;
  readonly rate: { readonly count: number; readonly perMs: number } | undefined;
  readonly circuitBreaker: { readonly failures: number; readonly restMs: number } | undefined;
  readonly isDeduplicated: boolean;
}

export interface RetryPolicy {
  readonly attempts: number;
  readonly backoff: 'immediate' | 'delayed' | 'exponential';
  readonly firstMs: number;
  readonly maxMs: number;
  readonly fatal: readonly ErrorClass[];
  readonly byError: ByError | undefined;
}

const LINGER_MS = 50;
const choices = {
  delivery: ['at-least-once', 'at-most-once'],
  order: ['none', 'key', 'strict'],
  backoff: ['immediate', 'delayed', 'exponential'],
} as const;

/** Throws a `MessagingError` of code `invalid-options` that names the handler (`place`) and the option. */
export function contractOf(options: DeliveryOptions, place: string): DeliveryContract {
  const check = new Check(place);
  const { batch, rate, circuitBreaker, retry = {} } = options;
  const prefetch = options.prefetch === undefined ? undefined : check.number('prefetch', options.prefetch, 1, PREFETCH_MAX);
  const firstMs = check.number('retry.firstMs', retry.firstMs ?? 1_000, 1, LONGEST_WAIT_MS);
  const contract: DeliveryContract = {
    delivery: check.choice('delivery', options.delivery ?? 'at-least-once', choices.delivery),
    order: check.choice('order', options.order ?? 'none', choices.order),
    retry: {
      attempts: check.number('retry.attempts', retry.attempts ?? 5, 1, ATTEMPTS_MAX),
      backoff: check.choice('retry.backoff', retry.backoff ?? 'exponential', choices.backoff),
      firstMs,
      maxMs: check.number('retry.maxMs', retry.maxMs ?? Math.max(60_000, firstMs), firstMs, LONGEST_WAIT_MS),
      fatal: retry.fatal ?? [],
      byError: retry.byError,
    },
    hasDeadLetters: options.deadLetters ?? true,
    timeoutMs: options.timeoutMs === undefined ? undefined : check.number('timeoutMs', options.timeoutMs, 1, LONGEST_WAIT_MS),
    prefetch,
    concurrency:
      options.concurrency === undefined ? (prefetch ?? Number.POSITIVE_INFINITY) : check.number('concurrency', options.concurrency, 1),
    batch: batch && {
      size: check.number('batch.size', batch.size, 1, BATCH_MAX),
      lingerMs: check.number('batch.lingerMs', batch.lingerMs ?? LINGER_MS, 0, LONGEST_WAIT_MS),
    },
    rate: rate && {
      count: check.number('rate.count', rate.count, 1, RATE_COUNT_MAX),
      perMs: check.number('rate.perMs', rate.perMs, 1, LONGEST_WAIT_MS),
    },
    circuitBreaker: circuitBreaker && {
      failures: check.number('circuitBreaker.failures', circuitBreaker.failures, 1),
      restMs: check.number('circuitBreaker.restMs', circuitBreaker.restMs, 1, LONGEST_WAIT_MS),
    },
    isDeduplicated: options.deduplicate ?? false,
  };
  if (contract.batch !== undefined && contract.order !== 'none') {
    check.refuse(`a batch cannot keep the order '${contract.order}': one of its messages that fails would be overtaken by the others`);
  }
  if (prefetch !== undefined && contract.order !== 'none') {
    check.refuse(
      `what is read with order '${contract.order}' comes in lanes, which all its handlers share: leave prefetch out, or the order`,
    );
  }
  if (contract.delivery === 'at-most-once' && contract.order !== 'none') {
    check.refuse(
      `what is handed out at most once is gone where it fails, so there is no order '${contract.order}' to keep: leave one of them out`,
    );
  }
  if (contract.batch !== undefined && contract.isDeduplicated) check.refuse('messages of a batch cannot be passed over one by one');
  return contract;
}

/** What the handler asks of a broker, each with the words in which it asked. */
export function needsOf(contract: DeliveryContract): ReadonlyMap<Capability, string> {
  const needs = new Map<Capability, string>([['groups', 'that instances of a service share its messages']]);
  if (contract.delivery === 'at-least-once') needs.set('at-least-once', "delivery 'at-least-once'");
  if (contract.order !== 'none') needs.set('order-by-key', `order '${contract.order}'`);
  if (contract.delivery === 'at-most-once') return needs;
  if (contract.hasDeadLetters) needs.set('dead-letters', 'dead letters');
  return needs;
}

/** Throws a `MessagingError` of code `unsupported` with one sentence about the first need that the broker cannot honour. */
export function checkNeeds(place: string, needs: ReadonlyMap<Capability, string>, { broker, can }: TransportCapabilities): void {
  for (const [capability, words] of needs) {
    const answer = can[capability];
    if (answer === true) continue;
    throw new MessagingError('unsupported', `${place} needs ${words}, which ${broker} cannot give: ${orOf(answer.waysOut)}.`);
  }
}

/** "do this", "either do this or do that". */
function orOf(waysOut: readonly string[]): string {
  const [first = 'choose another broker', ...others] = waysOut;
  return others.length === 0 ? first : `either ${[first, ...others].join(' or ')}`;
}

class Check {
  constructor(private readonly place: string) {}

  number(name: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    const range = max < Number.MAX_SAFE_INTEGER ? `from ${min} to ${max}` : `from ${min}`;
    return this.refuse(`${name} must be a whole number ${range}, not ${value}`);
  }

  choice<T extends string>(name: string, value: T, known: readonly T[]): T {
    if (known.includes(value)) return value;
    return this.refuse(`${name} must be one of ${known.map((one) => `'${one}'`).join(', ')}, not ${JSON.stringify(value)}`);
  }

  refuse(what: string): never {
    throw new MessagingError('invalid-options', `${this.place}: ${what}.`);
  }
}
