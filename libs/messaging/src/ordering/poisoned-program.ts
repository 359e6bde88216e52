/**
 * One process of a service that reads in order, for tests in which a message ends it: `node poisoned-program.js '{"url":…,"service":…}'`.
 *
 * Says on standard output, a line each, what began and what was done; does what it is told on standard input (`redrive`), and ends in order when that is
 * closed. Keeps nothing. For tests only.
 */
import { contractOf } from '../delivery-contract.js';
import { plainEvent } from '../envelope.js';
import { reasonOf } from '../errors.js';
import { Messaging } from '../messaging.js';
import { checkOptions } from '../options.js';
import type { Subscription } from '../subscription.js';
import { chooseTransport } from '../transports/choose-transport.js';

export interface ProgramOptions {
  readonly url: string;
  readonly service: string;
  /** Reads nothing where it is not given. */
  readonly order?: 'key' | 'strict';
  /** The id of the message that ends the process, and how. */
  readonly deadly?: string;
  readonly death?: 'kill' | 'exit';
  /** Published one after the other; the key is what stands before the dash. */
  readonly publishes?: readonly string[];
}

const SESSION_MS = 6_000;
const type = 'poison.placed';

/** Written to a pipe before the call returns, so that what was said before a kill has been said. */
function say(what: string, text: string): void {
  process.stdout.write(`${what} ${text}\n`);
}

function readers({ order = 'key', deadly, death }: ProgramOptions): Subscription {
  const place = 'Readers.read';
  return {
    kind: 'event',
    pattern: type,
    topic: undefined,
    messageClass: undefined,
    schema: undefined,
    contract: contractOf({ order, retry: { attempts: 3, backoff: 'delayed', firstMs: 50 } }, place),
    place,
    handle: async (_event, { id }) => {
      say('began', id);
      if (id === deadly && death === 'exit') process.exit(1);
      if (id === deadly) process.kill(process.pid, 'SIGKILL');
      say('done', id);
      return Promise.resolve();
    },
  };
}

async function main(options: ProgramOptions): Promise<void> {
  const { url, service, order, publishes = [] } = options;
  const note = (line: string): void => say('log', line);
  const log = { info: note, warn: note, error: note };
  const broker = url.startsWith('kafka:') ? { url, kafka: { sessionTimeoutMs: SESSION_MS, commitEveryMs: 50 } } : url;
  const settings = checkOptions({ service, broker });
  const transport = chooseTransport(settings, log);
  const messaging = new Messaging(settings, transport, log);
  await messaging.start(order === undefined ? [] : [readers(options)]);
  say('ready', service);
  for (const id of publishes) {
    const outside = { ...plainEvent, id, type, source: 'shop', time: undefined, key: id.split('-')[0], version: 1 };
    await transport.publish({ ...outside, contentType: 'application/json', body: Buffer.from('{}') }, Number.POSITIVE_INFINITY);
  }
  say('published', String(publishes.length));
  process.stdin.on('data', (words: Buffer) => {
    if (!words.includes('redrive')) return;
    void messaging.deadLetters.list().then(async (letters) => {
      for (const { id, death } of letters) say('letter', `${id} ${death?.cause}`);
      say('redriven', String((await messaging.deadLetters.redrive()).done));
    });
  });
  process.stdin.once('end', () => void messaging.close());
}

main(JSON.parse(process.argv[2] ?? '{}') as ProgramOptions).catch((error: unknown) => {
  say('failed', reasonOf(error));
  process.exitCode = 1;
});
