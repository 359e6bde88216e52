import { argumentsOf } from './encoded-arguments.js';
import { Exchange } from './exchange.js';
import type { ExchangeBinding } from './exchange-type.js';
import type { FieldTable } from './field-table.js';
import type { Queue } from './queue.js';

/** A binding with what it really leads to. Kept when both of its ends are. */
export class Binding implements ExchangeBinding {
  /** What makes it the same as another one of its exchange. */
  readonly id: string;
  readonly arguments: FieldTable;
  readonly destination: ExchangeBinding['destination'];
  /** False once it was taken away: whoever still names it leads nowhere. */
  isBound = false;

  constructor(
    readonly from: Exchange,
    readonly target: Queue | Exchange,
    readonly routingKey: string,
    /** As definitions keep them; see encoded-arguments.ts. */
    readonly argumentsText: string,
  ) {
    const kind = target instanceof Exchange ? 'exchange' : 'queue';
    this.destination = { kind, name: target.name };
    this.id = JSON.stringify([kind, target.name, routingKey, argumentsText]);
    this.arguments = argumentsOf(argumentsText);
  }

  get source(): string {
    return this.from.name;
  }

  get isKept(): boolean {
    const { from, target } = this;
    return from.settings.durable && (target instanceof Exchange ? target.settings.durable : target.log !== undefined);
  }
}
