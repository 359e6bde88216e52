/**
 * Orders: somebody buys something, and would like to hear that it went through.
 *
 * A whole service in one file, and a process of its own. It publishes what happened and goes on: who listens, where, and whether anybody is up at
 * all is not its business.
 */
import { Injectable, Module } from '@nestjs/common';
import { DovecoteModule } from '@dovecote/messaging';
import { OrderPlaced } from '../contracts.js';
import { FactFile } from '../facts/fact-file.js';
import { OutgoingEvents } from '../sender/outgoing-events.js';
import { type Activity, runSender } from '../sender/run-sender.js';
import { newNumber, somebody, someItem, somePrice } from '../sender/town.js';
import { readServiceSettings } from '../service-settings.js';

const { broker, facts, log } = readServiceSettings(process.env);

@Injectable()
class Orders implements Activity {
  constructor(private readonly events: OutgoingEvents) {}

  async happen(): Promise<void> {
    await this.events.send(new OrderPlaced(newNumber('order'), somebody(), someItem(), somePrice()));
  }
}

@Module({
  imports: [DovecoteModule.forRoot({ service: 'orders', broker })],
  providers: [Orders, OutgoingEvents, { provide: FactFile, useFactory: () => new FactFile(facts) }],
})
class OrdersModule {}

await runSender(OrdersModule, Orders, log);
