/**
 * Starts one notification service. Start a second one and the two share the work: they have the same name, so they read from the same queue.
 */
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DovecoteModule } from '@dovecote/messaging';
import { FactFile } from '../facts/fact-file.js';
import { readServiceSettings } from '../service-settings.js';
import { takeCommands } from '../stage/commands.js';
import { HELD_MAX, Letterbox } from './letterbox.js';
import { Notifications } from './notifications.js';

const { broker, facts, log } = readServiceSettings(process.env);

@Module({
  imports: [DovecoteModule.forRoot({ service: 'notifications', broker, prefetch: HELD_MAX })],
  providers: [Notifications, Letterbox, { provide: FactFile, useFactory: () => new FactFile(facts) }],
})
class NotificationsModule {}

const app = await NestFactory.createApplicationContext(NotificationsModule, { logger: log });
app.enableShutdownHooks(['SIGTERM']);

takeCommands((command) => {
  if (command.command === 'pace') app.get(Letterbox).setPace(command.ms);
});
