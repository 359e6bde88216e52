/** Two subjects as one, for the contract suite: events on the one, commands on the other. For tests only. */
import type { Transport } from '../transport.js';
import type { TransportSubject } from '../transport-contract.js';
import { TwoBrokers } from './two-brokers.js';

export class TwoBrokersSubject implements TransportSubject {
  readonly #pairs = new Map<Transport, readonly [Transport, Transport]>();

  constructor(
    private readonly events: TransportSubject,
    private readonly commands: TransportSubject,
  ) {}

  transport(): Transport {
    const pair = [this.events.transport(), this.commands.transport()] as const;
    const transport = new TwoBrokers(...pair);
    this.#pairs.set(transport, pair);
    return transport;
  }

  unique(name: string): string {
    return this.commands.unique(this.events.unique(name));
  }

  async crash(transport: Transport): Promise<void> {
    const [first, second] = this.#pairs.get(transport) ?? [];
    if (first !== undefined) await this.events.crash(first);
    if (second !== undefined) await this.commands.crash(second);
  }

  holdConfirms(): { release(): void } {
    const held = [this.events.holdConfirms(), this.commands.holdConfirms()];
    return { release: () => held.forEach((one) => one.release()) };
  }

  async pass(ms: number): Promise<void> {
    await this.events.pass(ms);
    await this.commands.pass(ms);
  }

  async refusePublishes(): Promise<void> {
    await this.events.refusePublishes();
    await this.commands.refusePublishes();
  }

  async close(): Promise<void> {
    await this.events.close();
    await this.commands.close();
  }
}
