/**
 * What `npm start` runs: sets the stage (a broker, five senders, a notification service, each a process of its own), opens the page, and stops all of it
 * again. Nothing outlives this process, however it ends.
 */
import { type Page, openPage } from './page/open-page.js';
import { Refusal } from './refusal.js';
import { sentence } from './sentence-logger.js';
import { type Settings, USAGE, readSettings } from './settings.js';
import { DataFolder } from './stage/data-folder.js';
import { Stage } from './stage/stage.js';

/** A terminal and npm both hand on the same Ctrl-C. */
const SAME_KEY_MS = 500;

async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === undefined) return console.log(USAGE);

  const folder = await DataFolder.claim(settings.data, settings.home, settings.isKept);
  const stage = new Stage({ ...settings, env: process.env, folder, say: (line) => console.error(line) });
  let page: Page | undefined;
  const stop = async () => {
    await Promise.all([page?.close(), stage.stop()]);
    await folder.release();
  };
  stopOnSignals(stage, stop);
  try {
    await stage.start();
    page = await openPage({ stage, facts: folder.facts, port: settings.port, host: settings.host });
  } catch (error) {
    if (stage.isStopping) return;
    await stop();
    throw error;
  }
  introduce(settings, page, stage, folder);
}

function introduce(settings: Settings, page: Page, stage: Stage, folder: DataFolder): void {
  const taken = page.port === settings.port || settings.port === 0 ? '' : `   (port ${settings.port} is taken, so this is a free one)`;
  console.log(`
  Five services, one notification service, and the broker between them. Each is a process of its own.

    page      http://localhost:${page.port}${taken}
    broker    ${stage.brokerUrl}   (${stage.broker ? 'built in; any AMQP 0-9-1 client may join' : 'not ours: given by --broker-url'})${settings.commandsUrl ? `\n    commands  ${settings.commandsUrl}   (not ours: given by --commands-url)` : ''}
    services  ${stage.children.flatMap((child) => (child.state === 'running' && child !== stage.broker ? [child.name] : [])).join(', ')}
    data      ${folder.path}

  Ctrl-C stops everything.
`);
}

/** The first signal stops everything in order, the next one at once. */
function stopOnSignals(stage: Stage, stop: () => Promise<void>): void {
  let firstMs = Number.NEGATIVE_INFINITY;
  const signalled = () => {
    if (stage.isStopping) {
      if (performance.now() - firstMs < SAME_KEY_MS) return;
      stage.killAll();
      process.exit(1);
    }
    firstMs = performance.now();
    console.log('Stopping.');
    void stop().then(() => process.exit(0));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, signalled);
}

try {
  await main();
} catch (error) {
  // A refusal is a sentence for the person at the console; anything else is a mistake of ours, and its stack is what we need.
  console.error(error instanceof Refusal ? sentence(error) : error);
  process.exit(1);
}
