/**
 * Payments: money arrives, and whoever it is for would like to know.
 *
 * A whole service in one file, and a process of its own. It publishes what happened and goes on: who listens, where, and whether anybody is up at
 * all is not its business.
 */
import { Injectable, Module } from '@nestjs/common';
import { DovecoteModule } from '@dovecote/messaging';
import { PaymentReceived } from '../contracts.js';
import { FactFile } from '../facts/fact-file.js';
import { OutgoingEvents } from '../sender/outgoing-events.js';
import { type Activity, runSender } from '../sender/run-sender.js';
import { newNumber, somebody, somebodyElse, somePrice } from '../sender/town.js';
import { readServiceSettings } from '../service-settings.js';

const { broker, facts, log } = readServiceSettings(process.env);

@Injectable()
class Payments implements Activity {
  constructor(private readonly events: OutgoingEvents) {}

  async happen(): Promise<void> {
    const payee = somebody();
    await this.events.send(new PaymentReceived(newNumber('payment'), somebodyElse(payee), payee, somePrice()));
  }
}

@Module({
  imports: [DovecoteModule.forRoot({ service: 'payments', broker })],
  providers: [Payments, OutgoingEvents, { provide: FactFile, useFactory: () => new FactFile(facts) }],
})
class PaymentsModule {}

await runSender(PaymentsModule, Payments, log);
