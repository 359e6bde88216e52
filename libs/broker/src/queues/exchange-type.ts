import type { Random } from '@dovecote/ground';
import type { FieldTable } from './field-table.js';
import type { MessageProperties } from './properties.js';

/**
 * The port of exchange types: which of its bindings a message follows is all that an exchange decides. The built-in types
 * (exchange-types/) stand behind it as well as a user's own (`Broker.open({ exchangeTypes })`).
 *
 * A router keeps nothing that must survive: after a crash it is created again and given the bindings again. Everything here is
 * called in the middle of a publish or a definition, so it must return at once; what it throws in `route` refuses the publish.
 */
export interface ExchangeType {
  /** What clients name in exchange.declare; one's own types begin with `x-`. */
  readonly name: string;
  /** Throws, with a sentence for the client, when an exchange cannot be declared with these arguments. */
  checkArguments?(given: FieldTable): void;
  /** The same for a binding. */
  checkBinding?(binding: ExchangeBinding): void;
  /** Called once for each exchange, also when it comes back after a restart. */
  create(exchange: ExchangeContext): ExchangeRouter;
}

export interface ExchangeContext {
  readonly name: string;
  readonly arguments: FieldTable;
  /** Chance, where a choice needs it: the simulator repeats it. */
  readonly random: Random;
}

export interface ExchangeRouter {
  /**
   * False when `route` looks at nothing but the routing keys and answers the same as long as the bindings stay: then its answer
   * is remembered for a key, which makes publishing several times faster.
   */
  readonly readsMessage: boolean;
  add(binding: ExchangeBinding): void;
  /** Takes away the very object that was added. */
  remove(binding: ExchangeBinding): void;
  /** Calls `follow` for each binding that the message takes. Several that lead to one queue still give it one copy. */
  route(message: RoutedMessage, follow: (binding: ExchangeBinding) => void): void;
}

/** Leads messages of one exchange to a queue or to another exchange. Two bindings with the same fields are one. */
export interface ExchangeBinding {
  readonly source: string;
  readonly destination: { readonly kind: 'queue' | 'exchange'; readonly name: string };
  readonly routingKey: string;
  readonly arguments: FieldTable;
}

/** What an exchange may look at. Headers and properties are decoded when they are asked for. */
export interface RoutedMessage {
  /** The one that it was published with. */
  readonly routingKey: string;
  /** That one, and behind it those of the headers CC and BCC. */
  readonly routingKeys: readonly string[];
  readonly headers: FieldTable;
  readonly properties: MessageProperties;
}
