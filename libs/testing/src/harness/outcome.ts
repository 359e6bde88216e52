/** What came of the message that a test handed over: plain claims, each of which throws with a list of what did happen. */
import { isDeepStrictEqual } from 'node:util';
import { messageDefinitionOf } from '@dovecote/messaging/testing';
import { type Fact, describe, plain } from './record.js';

export class Outcome {
  constructor(
    private readonly id: string,
    /** Everything that happened since, in order. */
    readonly facts: readonly Fact[],
    /** What the handler answered to a command or a query. */
    readonly reply: unknown,
  ) {}

  /** Exactly these were published, in this order, and nothing else. */
  published(...expected: readonly object[]): this {
    const wanted = expected.map((message) => ({ type: typeOf(message), payload: plain(message) }));
    const found = this.facts
      .filter(({ what, id }) => what === 'published' && id !== this.id)
      .map(({ type, payload }) => ({ type, payload }));
    if (isDeepStrictEqual(found, wanted)) return this;
    const list = wanted.map(({ type, payload }) => `${type} ${JSON.stringify(payload)}`).join(', ');
    return this.#refuse(`${wanted.length === 0 ? 'Nothing' : list} should have been published`);
  }

  publishedNothing(): this {
    return this.published();
  }

  replied(expected: unknown): this {
    this.succeeded();
    if (isDeepStrictEqual(plain(this.reply), plain(expected))) return this;
    return this.#refuse(`The answer should have been ${JSON.stringify(expected)}, and was ${JSON.stringify(this.reply)}`);
  }

  succeeded(): this {
    return this.#failure === undefined ? this : this.#refuse('The handler should not have failed');
  }

  /** It failed with an error of this class, or one whose message is this text or matches this pattern. */
  failedWith(expected: string | RegExp | (new (...args: never[]) => Error)): this {
    const failure = this.#failure;
    if (failure === undefined) return this.#refuse('The handler should have failed');
    const { error, reason = '' } = failure;
    if (typeof expected === 'function')
      return error instanceof expected ? this : this.#refuse(`It should have failed with ${expected.name}`);
    const isIt = typeof expected === 'string' ? reason.includes(expected) : expected.test(reason);
    return isIt ? this : this.#refuse(`It should have failed with ${String(expected)}`);
  }

  get #failure(): Fact | undefined {
    return this.facts.find(({ what, id }) => id === this.id && what !== 'handled' && what !== 'published');
  }

  #refuse(sentence: string): never {
    throw new Error(`${sentence}. ${whatHappened(this.facts)}`);
  }
}

const LISTED_MAX = 30;

export function whatHappened(facts: readonly Fact[]): string {
  if (facts.length === 0) return 'Nothing happened.';
  const left = facts.length > LISTED_MAX ? `\n  (${facts.length - LISTED_MAX} before these are left out)` : '';
  return `What happened:${left}${facts
    .slice(-LISTED_MAX)
    .map((fact) => `\n  ${describe(fact)}`)
    .join('')}`;
}

/** Throws where the class has no decorator. */
export function typeOf(message: object): string {
  const definition = messageDefinitionOf(message.constructor);
  if (definition === undefined)
    throw new TypeError(`${message.constructor.name} is no message: give it @EventMessage, @CommandMessage or @QueryMessage`);
  return definition.type;
}
