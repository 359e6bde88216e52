import type { Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Binding } from './binding.js';
import type { DelayedMessages } from './delayed-messages.js';
import { argumentsOf } from './encoded-arguments.js';
import type { ExchangeRouter, ExchangeType, RoutedMessage } from './exchange-type.js';

export interface ExchangeSettings {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  /** As definitions keep them (encoded-arguments.ts); absent where there are none. */
  readonly arguments?: string;
  /** Of an exchange that holds messages: under which id they stand in the journal. */
  readonly heldId?: number;
}

/**
 * One exchange: its bindings, and the router of its type that says which of them a message follows.
 *
 * Settings and bindings of a durable exchange are in the journal; the router is made anew from them. Only Exchanges changes one.
 */
export class Exchange {
  /** The bindings from here, by their identity. */
  readonly bindings = new Map<string, Binding>();
  /** The bindings of other exchanges to here. */
  readonly incoming = new Set<Binding>();
  /** An auto-delete exchange goes with its last binding, not before its first. */
  hadBinding = false;
  /** The exchange that gets what no binding of this one takes. */
  readonly alternate: string | undefined;
  private readonly router: ExchangeRouter;

  constructor(
    readonly settings: ExchangeSettings,
    private readonly type: ExchangeType,
    random: Random,
    /** What it holds, if it is one that delays. */
    readonly held?: DelayedMessages,
  ) {
    const given = argumentsOf(settings.arguments ?? '');
    const alternate = given['alternate-exchange'];
    this.alternate = typeof alternate === 'string' ? alternate : undefined;
    this.router = type.create({ name: settings.name, arguments: given, random });
  }

  get name(): string {
    return this.settings.name;
  }

  get readsMessage(): boolean {
    return this.router.readsMessage || this.held !== undefined;
  }

  /** Throws when the type does not take such a binding. */
  check(binding: Binding): void {
    refusing(() => this.type.checkBinding?.(binding));
  }

  /** False when it was bound like this already. */
  bind(binding: Binding): boolean {
    if (this.bindings.has(binding.id)) return false;
    this.bindings.set(binding.id, binding);
    this.hadBinding = true;
    binding.isBound = true;
    this.router.add(binding);
    return true;
  }

  /** The binding that was taken away, if there was one. */
  unbind(id: string): Binding | undefined {
    const binding = this.bindings.get(id);
    if (binding === undefined) return undefined;
    this.bindings.delete(id);
    binding.isBound = false;
    this.router.remove(binding);
    return binding;
  }

  /** Calls `follow` for each binding that the message takes; more than once for a binding that several of its keys take. */
  route(message: RoutedMessage, follow: (binding: Binding) => void): void {
    try {
      // A router gives back what it was given, and it was given our own bindings.
      this.router.route(message, follow as Parameters<ExchangeRouter['route']>[1]);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw new CodedError(
        'exchange-type-failed',
        `the exchange type '${this.type.name}' of exchange '${this.name}' failed: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
  }
}

/** What a type throws to refuse arguments or a binding is for whoever asked for them. */
export function refusing(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError('invalid-argument', error instanceof Error ? error.message : String(error), { cause: error });
  }
}
