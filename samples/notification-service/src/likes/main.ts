/**
 * Likes: somebody likes a post, and its author might like to know.
 *
 * A whole service in one file, and a process of its own. It publishes what happened and goes on: who listens, where, and whether anybody is up at
 * all is not its business.
 */
import { Injectable, Module } from '@nestjs/common';
import { DovecoteModule } from '@dovecote/messaging';
import { PostLiked } from '../contracts.js';
import { FactFile } from '../facts/fact-file.js';
import { OutgoingEvents } from '../sender/outgoing-events.js';
import { type Activity, runSender } from '../sender/run-sender.js';
import { somebody, somebodyElse, somePost } from '../sender/town.js';
import { readServiceSettings } from '../service-settings.js';

const { broker, facts, log } = readServiceSettings(process.env);

@Injectable()
class Likes implements Activity {
  constructor(private readonly events: OutgoingEvents) {}

  async happen(): Promise<void> {
    const author = somebody();
    const post = somePost();
    await this.events.send(new PostLiked(post.id, post.name, author, somebodyElse(author)));
  }
}

@Module({
  imports: [DovecoteModule.forRoot({ service: 'likes', broker })],
  providers: [Likes, OutgoingEvents, { provide: FactFile, useFactory: () => new FactFile(facts) }],
})
class LikesModule {}

await runSender(LikesModule, Likes, log);
