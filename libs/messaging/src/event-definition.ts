/**
 * What `@EventMessage` said about a class. It is written on the class itself under a registered symbol, so that the ESM and the CommonJS build
 * of this package, loaded into one process, see the same events.
 */
import type { StandardSchema } from './policies/validation.js';

export interface EventDefinition {
  readonly type: string;
  readonly version: number;
  readonly key: ((event: object) => string) | undefined;
  /** What the payload must fit, before it is published and before it is handled. */
  readonly schema: StandardSchema | undefined;
  /** Where it lives on a log; what the type says where not given. */
  readonly topic: string | undefined;
}

/** A class whose instances travel as events. */
export interface EventClass<E extends object = object> {
  new (...args: never[]): E;
  readonly name: string;
}

const DEFINITION = Symbol.for('dovecote.event-message');

export function defineEvent(eventClass: EventClass, definition: EventDefinition): void {
  Object.defineProperty(eventClass, DEFINITION, { value: definition });
}

/** Nothing where the class itself was not decorated: what its parent was called is not its own name. */
export function eventDefinitionOf(eventClass: object): EventDefinition | undefined {
  if (!Object.hasOwn(eventClass, DEFINITION)) return undefined;
  return (eventClass as { readonly [DEFINITION]: EventDefinition })[DEFINITION];
}
