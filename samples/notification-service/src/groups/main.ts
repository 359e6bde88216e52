/**
 * Groups: somebody joins one, and the owner might like to know.
 *
 * A whole service in one file, and a process of its own. It publishes what happened and goes on: who listens, where, and whether anybody is up at
 * all is not its business.
 */
import { Injectable, Module } from '@nestjs/common';
import { DovecoteModule } from '@dovecote/messaging';
import { MemberJoined } from '../contracts.js';
import { FactFile } from '../facts/fact-file.js';
import { OutgoingEvents } from '../sender/outgoing-events.js';
import { type Activity, runSender } from '../sender/run-sender.js';
import { somebody, somebodyElse, someGroup } from '../sender/town.js';
import { readServiceSettings } from '../service-settings.js';

const { broker, facts, log } = readServiceSettings(process.env);

@Injectable()
class Groups implements Activity {
  constructor(private readonly events: OutgoingEvents) {}

  async happen(): Promise<void> {
    const member = somebody();
    const group = someGroup();
    await this.events.send(new MemberJoined(group.id, group.name, member, somebodyElse(member)));
  }
}

@Module({
  imports: [DovecoteModule.forRoot({ service: 'groups', broker })],
  providers: [Groups, OutgoingEvents, { provide: FactFile, useFactory: () => new FactFile(facts) }],
})
class GroupsModule {}

await runSender(GroupsModule, Groups, log);
