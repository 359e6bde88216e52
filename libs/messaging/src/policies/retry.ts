import type { Random } from '@dovecote/ground';
import type { RetryPolicy } from '../delivery-contract.js';
import type { DeathCause } from '../envelope.js';
import { MessagingError } from '../errors.js';

export type Verdict = { readonly kind: 'again'; readonly delayMs: number } | { readonly kind: 'dead'; readonly cause: DeathCause };

/**
 * What becomes of a message on which a handler failed. Decides and keeps nothing: how often it failed before travels with the message.
 *
 * Exponential is with full jitter: a time by chance of up to the ceiling, which doubles with each failure. What failed together spreads over the whole of
 * it and does not come back together.
 */
export class Retry {
  constructor(
    private readonly policy: RetryPolicy,
    private readonly hasDeadLetters: boolean,
    private readonly random: Random,
  ) {}

  /** `failures` counts this one. */
  verdict(error: unknown, failures: number): Verdict {
    const { attempts, byError } = this.policy;
    if (this.hasDeadLetters && this.#isFatal(error, failures)) return { kind: 'dead', cause: causeOf(error) };
    if (failures >= attempts)
      return this.hasDeadLetters ? { kind: 'dead', cause: 'attempts' } : { kind: 'again', delayMs: this.policy.maxMs };
    const asked = byError?.(error, failures);
    return { kind: 'again', delayMs: asked === undefined || asked === 'dead' ? this.delayMs(failures) : asked.afterMs };
  }

  /** 0 stands for at once. */
  delayMs(failures: number): number {
    const { backoff, firstMs, maxMs } = this.policy;
    if (backoff === 'immediate') return 0;
    if (backoff === 'delayed') return firstMs;
    // Past 2^30 the doubling says nothing more, and 2 ** 1024 would be infinite.
    const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
    return 1 + this.random.below(ceilingMs);
  }

  #isFatal(error: unknown, failures: number): boolean {
    const { fatal, byError } = this.policy;
    if (typeof error === 'object' && error !== null) {
      if ('retryable' in error && error.retryable === false) return true;
      if (fatal.some((fatalClass) => error instanceof fatalClass)) return true;
    }
    return byError?.(error, failures) === 'dead';
  }
}

function causeOf(error: unknown): DeathCause {
  return error instanceof MessagingError && error.code === 'unreadable' ? 'unreadable' : 'fatal';
}
