/**
 * One process of a service on a broker in a folder, for tests that kill it: `node main.js '{"folder":…,"service":…,"name":…}'`.
 *
 * Says on standard output, a line each, what was confirmed and what was handled. Publishes from the word `go` on
 * standard input to the word `rest`; ends in order when that is closed. Keeps nothing.
 */
import { contractOf } from '../../delivery-contract.js';
import { reasonOf } from '../../errors.js';
import { EventMessage } from '../../message.decorator.js';
import { Messaging } from '../../messaging.js';
import { checkOptions } from '../../options.js';
import type { Subscription } from '../../subscription.js';
import { chooseTransport } from '../choose-transport.js';

export interface MemberOptions {
  readonly folder: string;
  readonly service: string;
  readonly name: string;
  readonly durability: 'os' | 'fsync';
  /** At most so many events. */
  readonly publishes: number;
  /** The event that ends the process of whoever handles it. */
  readonly deadly?: string;
}

const UNDER_WAY = 20;

@EventMessage('joining.counted')
class Counted {
  constructor(readonly name: string) {}
}

/** Written to a pipe before the call returns, so that what was said before a kill has been said. */
function say(what: string, text: string): void {
  process.stdout.write(`${what} ${text}\n`);
}

async function main({ folder, service, name, durability, publishes, deadly }: MemberOptions): Promise<void> {
  const log = (line: string): void => say('log', line);
  const settings = checkOptions({ service, broker: { url: `embedded:${folder}`, durability } });
  const messaging = new Messaging(settings, chooseTransport(settings, { info: log, warn: log, error: log }), {
    info: log,
    warn: log,
    error: log,
  });
  const subscription: Subscription = {
    kind: 'event',
    pattern: 'joining.counted',
    topic: undefined,
    messageClass: Counted,
    schema: undefined,
    contract: contractOf({}, 'member'),
    place: 'Member.count',
    handle: async (event) => {
      const counted = event as Counted;
      if (counted.name === deadly) process.kill(process.pid, 'SIGKILL');
      say('handled', counted.name);
      return Promise.resolve();
    },
  };
  await messaging.start([subscription]);
  say('ready', name);
  let isPublishing = false;
  let number = 0;
  const publish = async (): Promise<void> => {
    while (isPublishing && number < publishes) {
      const event = new Counted(`${name}-${++number}`);
      await messaging.publisher.publish(event);
      say('confirmed', event.name);
    }
  };
  let publishing: Promise<unknown> = Promise.resolve();
  process.stdin.on('data', (words: Buffer) => {
    const isFirst = !isPublishing;
    isPublishing = !words.includes('rest');
    if (isFirst) publishing = Promise.all(Array.from({ length: UNDER_WAY }, publish)).then(() => say('published', name));
  });
  process.stdin.once('end', () => {
    void publishing.then(() => messaging.close());
  });
}

main(JSON.parse(process.argv[2] ?? '{}') as MemberOptions).catch((error: unknown) => {
  say('failed', reasonOf(error));
  process.exitCode = 1;
});
