/**
 * A member of a group in a process of its own, for the test that stops it: says `began ID` and `done ID` of each message, in order by key, and stands
 * still for a while with the one that it is told. Arguments: URL, service, type, that message. For tests only.
 */
import { RealRandom, realGround } from '@dovecote/ground';
import * as library from '@platformatic/kafka';
import { Backoff } from '../../backoff.js';
import { contractOf } from '../../delivery-contract.js';
import { Messaging } from '../../messaging.js';
import { checkOptions } from '../../options.js';
import { parseKafkaAddress } from './kafka-address.js';
import { KafkaTransport } from './kafka-transport.js';
import { PlatformaticClient } from './platformatic-client.js';

const [url = '', service = '', pattern = '', held = ''] = process.argv.slice(2);
const SESSION_MS = 6_000;
/** In which whoever reads `began` can stop the process. */
const HOLD_MS = 5_000;
const { clock, random } = realGround();
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const log = { info: (): void => undefined, warn: (line: string) => say(`warn ${line}`), error: (line: string) => say(`error ${line}`) };
const address = parseKafkaAddress(url);
const transport = new KafkaTransport({
  service,
  shown: address.shown,
  connectTimeoutMs: undefined,
  loadClient: () => Promise.resolve(new PlatformaticClient(library, { address, clientId: service, acks: 'all', compression: 'none' })),
  topics: { partitions: 2, replicationFactor: -1, configs: {} },
  sessionTimeoutMs: SESSION_MS,
  rebalanceTimeoutMs: SESSION_MS,
  commitEveryMs: 50,
  heartbeatEveryMs: 500,
  discoverEveryMs: 60_000,
  clock,
  random,
  backoff: new Backoff(new RealRandom(), 50, 500),
  log,
});
const messaging = new Messaging(checkOptions({ service, broker: url }), transport, log);
const place = 'Readers.read';
const contract = contractOf({ order: 'key' }, place);
const handle = (_event: object, { id }: { readonly id: string }): Promise<void> => {
  say(`began ${id}`);
  // Nothing else has a turn until it is done: what follows it follows at once, before anybody can hear of the group.
  if (id === held) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HOLD_MS);
  say(`done ${id}`);
  return Promise.resolve();
};
const subscription = {
  kind: 'event',
  pattern,
  topic: undefined,
  messageClass: undefined,
  schema: undefined,
  contract,
  place,
  handle,
} as const;
void messaging.start([subscription]).then(() => say('ready'));
