#!/usr/bin/env node
/**
 * The daemon: `node apps/broker/bundle/main.js --data DIR --amqp-port 5672`. README.md says what else it takes.
 *
 * Exits with 0 after SIGTERM or SIGINT, with 1 after a sentence on stderr when it cannot start or go on.
 */
import { runDaemon } from './daemon.js';
import { readSettings, SettingsError } from './settings.js';

// Whoever read our lines may go away; the broker stays.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const warn = (line: string): void => void process.stderr.write(`dovecote: ${line}\n`);
const say = (line: string): void => void process.stdout.write(`dovecote: ${line}\n`);

try {
  await runBroker();
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  warn(error.message);
  process.exitCode = 1;
}

async function runBroker(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env);
  if ('text' in settings) process.stdout.write(settings.text);
  else {
    const exit = (code: number): void => process.exit(code);
    const onStop = (stop: NodeJS.SignalsListener): void => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
    };
    const onReload = (reload: () => void): void => void process.on('SIGHUP', reload);
    // A disk that failed may never answer what it was asked last: nothing is waited for once the broker has ended.
    exit(await runDaemon(settings, { say, warn, onStop, onReload, exit }));
  }
}
