/** Starts a sender as a Nest application of its own, and lets things happen in it when told to. */
import { NestFactory } from '@nestjs/core';
import type { Type } from '@nestjs/common';
import { type SentenceLogger, sentence } from '../sentence-logger.js';
import { takeCommands } from '../stage/commands.js';
import { OutgoingEvents } from './outgoing-events.js';
import { SteadyLoad } from './steady-load.js';

/** What a sender does when something happens in it. */
export interface Activity {
  /** Resolves when the event is confirmed. */
  happen(): Promise<void>;
}

export async function runSender(module: Type, activityClass: Type<Activity>, log: SentenceLogger): Promise<void> {
  const app = await NestFactory.createApplicationContext(module, { logger: log });
  app.enableShutdownHooks(['SIGTERM']);
  const activity = app.get(activityClass);
  const outgoing = app.get(OutgoingEvents);

  const happen = () => void activity.happen().catch((error: unknown) => log.error(sentence(error)));
  const load = new SteadyLoad(() => {
    // With this many unconfirmed, the broker is away or slower than the load: the users of this service would wait now.
    if (!outgoing.isFull) happen();
  });

  takeCommands((command) => {
    if (command.command === 'happen') happen();
    if (command.command === 'load') load.set(command.perSecond);
  });
}
