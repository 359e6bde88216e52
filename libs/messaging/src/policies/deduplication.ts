import type { Step } from './step.js';

/**
 * Remembers what was handled, so that a message that comes twice is handled once. As good as what it keeps: one in memory forgets with the process, and
 * between the handler's end and `done` there is a gap that only a transaction closes. Handlers are told apart by their place.
 */
export interface Deduplication {
  isDone(handler: string, messageId: string): boolean | Promise<boolean>;
  done(handler: string, messageId: string): void | Promise<void>;
}

/** Passes over what is done: it counts as handled. */
export function deduplicate(store: Deduplication, place: string): Step {
  return (next) => async (event, message) => {
    if (await store.isDone(place, message.id)) return undefined;
    const value = await next(event, message);
    await store.done(place, message.id);
    return value;
  };
}

/** The last `max` messages of each handler in this process. */
export class RecentMessages implements Deduplication {
  readonly #seen = new Map<string, Set<string>>();

  constructor(private readonly max: number = 10_000) {}

  isDone(handler: string, messageId: string): boolean {
    return this.#seen.get(handler)?.has(messageId) ?? false;
  }

  done(handler: string, messageId: string): void {
    let seen = this.#seen.get(handler);
    if (seen === undefined) this.#seen.set(handler, (seen = new Set()));
    seen.delete(messageId);
    seen.add(messageId);
    if (seen.size <= this.max) return;
    for (const oldest of seen) {
      seen.delete(oldest);
      break;
    }
  }
}
