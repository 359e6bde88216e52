/** What a service says that starts with another number of lanes while something waits in those that it has. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { contractOf } from '../../delivery-contract.js';
import { plainEvent } from '../../envelope.js';
import type { Log } from '../../log.js';
import { Messaging } from '../../messaging.js';
import { checkOptions } from '../../options.js';
import type { Subscription } from '../../subscription.js';
import { turn } from '../../turn.js';
import { chooseTransport } from '../choose-transport.js';

const ends: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

const places: Readonly<Record<string, () => Promise<string>>> = {
  'over AMQP': async () => {
    const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
    ends.push(() => broker.close());
    return `amqp://guest:guest@127.0.0.1:${broker.amqpPort}`;
  },
  'on a folder': () => {
    const folder = mkdtempSync(join(tmpdir(), 'dovecote-lanes-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    return Promise.resolve(`embedded:${folder}`);
  },
};

async function start(url: string, lanes: number, order: 'none' | 'key', lines: string[]) {
  const note = (line: string): void => void lines.push(line);
  const log: Log = { info: note, warn: note, error: note };
  const settings = checkOptions({ service: 'readers', broker: { url, lanes } });
  const transport = chooseTransport(settings, log);
  const messaging = new Messaging(settings, transport, log);
  const place = 'Readers.read';
  const subscription: Subscription = {
    kind: 'event',
    pattern: 'orders.placed',
    topic: undefined,
    messageClass: undefined,
    schema: undefined,
    contract: contractOf({ order, retry: { attempts: 3, backoff: 'delayed', firstMs: 600_000 } }, place),
    place,
    handle: () => Promise.reject(new Error('down')),
  };
  await messaging.start([subscription]);
  return { messaging, transport };
}

it.each(Object.keys(places))('%s: how many wait, and the ways out', async (where) => {
  const url = await places[where]!();
  const lines: string[] = [];
  const { messaging, transport } = await start(url, 2, 'key', lines);
  const event = {
    ...plainEvent,
    type: 'orders.placed',
    source: 'shop',
    time: undefined,
    key: 'o-1',
    version: 1,
    contentType: 'application/json',
  };
  for (const id of ['m-0', 'm-1']) await transport.publish({ ...event, id, body: Buffer.from('{}') }, Number.POSITIVE_INFINITY);
  while (!lines.some((line) => line.includes('It comes again in'))) await turn();
  await messaging.close();
  const refusal = await start(url, 3, 'key', lines).catch((error: Error) => error.message);
  expect(refusal).toMatch(
    /say lanes: 2 in the options of the broker, .*\(2 messages wait in them that no instance has\), or start it once without the order of Readers\.read/,
  );
  const { messaging: without } = await start(url, 3, 'none', lines);
  expect(lines.some((line) => line.includes("'readers' has 2 lanes from when a handler of it asked for an order"))).toBe(true);
  await without.close();
});
