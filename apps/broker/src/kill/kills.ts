/**
 * Kills the daemon again and again under load, starts it on the same folder each time, and says at the end whether a promise was broken.
 *
 * The moments come from the seed, counted in confirms and not in time; the operating system's own timing is in them all the same, so the same seed makes
 * the same plan but not the same run.
 */
import { SeededRandom } from '@dovecote/ground/testing';
import { DaemonProcess } from '../daemon-process.js';
import { Ledger, type Verdict } from './ledger.js';
import { Consumer, Publisher } from './load.js';

export interface KillOptions {
  readonly data: string;
  readonly durability: 'os' | 'fsync';
  readonly seed: number;
  readonly kills: number;
  /** How each kill ends the daemon. */
  readonly signal: 'SIGKILL' | 'SIGTERM';
  /** What more the daemon is told. */
  readonly flags?: readonly string[];
  readonly say: (line: string) => void;
}

const publishers = ['ann', 'bob', 'cleo'];
const confirmsMax = 3000;
/** One start in so many is killed before it is done. */
const startsPerInterruption = 4;

/** Resolves when everything was drained after the last start. */
export async function killAgainAndAgain(options: KillOptions): Promise<Verdict> {
  const { seed, kills, signal, say } = options;
  const random = new SeededRandom(seed);
  const ledger = new Ledger();
  for (let kill = 1; kill <= kills; kill++) {
    if (random.below(startsPerInterruption) === 0) await interruptStart(options, random);
    const daemon = await start(options);
    const load = await startLoad(daemon.url, ledger, random.fork(`load ${kill}`));
    await ledger.confirmedAtLeast(ledger.confirmedCount + 1 + random.below(confirmsMax));
    const exit = await daemon.signal(signal);
    await Promise.all(load.map(({ ended }) => ended));
    if (signal === 'SIGTERM' && exit.code !== 0) throw new Error(`the daemon ended with ${exit.code} at SIGTERM: ${daemon.stderr}`);
    say(`kill ${kill} of ${kills}: ${ledger.confirmedCount} confirmed so far`);
  }
  const daemon = await start(options);
  const load = await startLoad(daemon.url, ledger, random.fork('last load'));
  await ledger.confirmedAtLeast(ledger.confirmedCount + 1);
  for (const client of load) if (client instanceof Publisher) await client.stop();
  for (const client of load) if (client instanceof Consumer) await client.drain();
  await daemon.stop();
  return ledger.verdict;
}

function start({ data, durability, flags = [] }: KillOptions): Promise<DaemonProcess> {
  return DaemonProcess.listening(['--data', data, '--amqp-port', '0', '--durability', durability, ...flags]);
}

async function startLoad(url: string, ledger: Ledger, random: SeededRandom): Promise<readonly (Publisher | Consumer)[]> {
  const consumer = await Consumer.start(url, ledger);
  return [consumer, ...(await Promise.all(publishers.map((name) => Publisher.start(name, url, ledger, random.fork(name)))))];
}

/** A recovery that is killed must leave the folder as good as it was. */
async function interruptStart({ data, durability, flags = [] }: KillOptions, random: SeededRandom): Promise<void> {
  const daemon = new DaemonProcess(['--data', data, '--amqp-port', '0', '--durability', durability, ...flags]);
  if (random.below(2) === 0) await daemon.said('stdout', /listening/);
  else await turns(random.below(20_000));
  await daemon.kill();
}

/** Lets so many turns of this process's loop pass: a delay that no clock is asked for. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
