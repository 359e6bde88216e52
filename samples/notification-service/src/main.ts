/**
 * What `npm start` runs: sets the stage (a broker, five senders, a notification service, each a process of its own), opens the page, and stops all of it
 * again. Nothing outlives this process, however it ends.
 */
import { type Page, openPage } from './page/open-page.js';
import { sentence } from './sentence-logger.js';
import { type Settings, USAGE, readSettings } from './settings.js';
import { Refusal } from './stage/child.js';
import { DataFolder } from './stage/data-folder.js';
import { Stage } from './stage/stage.js';

async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === undefined) return console.log(USAGE);

  const folder = await DataFolder.claim(settings.data, settings.home, settings.isKept);
  const stage = new Stage({ ...settings, env: process.env, folder, say: (line) => console.error(line) });
  const running = { folder, stage, page: undefined as Page | undefined };
  stopOnSignals(running);
  await stage.start();
  running.page = await openPage({ stage, facts: folder.facts, port: settings.port });
  introduce(settings, running.page, stage, folder);
}

function introduce(settings: Settings, page: Page, stage: Stage, folder: DataFolder): void {
  const taken = page.port === settings.port || settings.port === 0 ? '' : `   (port ${settings.port} is taken, so this is a free one)`;
  console.log(`
  Five services, one notification service, and the broker between them. Each is a process of its own.

    page      http://localhost:${page.port}${taken}
    broker    ${stage.brokerUrl}   (${stage.broker ? 'built in; any AMQP 0-9-1 client may join' : 'not ours: given by --broker-url'})
    services  ${stage.children.flatMap((child) => (child.state === 'running' && child !== stage.broker ? [child.name] : [])).join(', ')}
    data      ${folder.path}

  Ctrl-C stops everything.
`);
}

/** The first signal stops everything in order, the next one at once. */
function stopOnSignals(running: { readonly folder: DataFolder; readonly stage: Stage; readonly page: Page | undefined }): void {
  let isStopping = false;
  const stop = async () => {
    if (isStopping) {
      running.stage.killAll();
      process.exit(1);
    }
    isStopping = true;
    console.log('Stopping.');
    await running.page?.close();
    await running.stage.stop();
    await running.folder.release();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop());
}

try {
  await main();
} catch (error) {
  // A refusal is a sentence for the person at the console; anything else is a mistake of ours, and its stack is what we need.
  console.error(error instanceof Refusal ? sentence(error) : error);
  process.exit(1);
}
