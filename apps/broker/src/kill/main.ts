/**
 * `npm run kill-test -w apps/broker -- --kills 50`: real kills of a real daemon, as many as one has time for; with `--of log` of a process that embeds the broker
 * and uses its log. Prints a line for each and the verdict, and ends with 0 when no promise was broken.
 */
import { parseArgs } from 'node:util';
import { cleanUp, temporaryFolder } from '../daemon-process.js';
import { killAgainAndAgain } from './kills.js';
import { isClean } from './ledger.js';
import { isClean as isLogClean, killLogAgainAndAgain } from './log/log-kills.js';

const { values } = parseArgs({
  options: {
    of: { type: 'string', default: 'daemon' },
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string', default: 'os' },
    signal: { type: 'string', default: 'SIGKILL' },
    limit: { type: 'string', multiple: true, default: [] },
  },
});
const { of, durability, signal } = values;
if (
  (of !== 'daemon' && of !== 'log') ||
  (durability !== 'os' && durability !== 'fsync') ||
  (signal !== 'SIGKILL' && signal !== 'SIGTERM')
) {
  throw new Error('--of is daemon or log, --durability is os or fsync, --signal is SIGKILL or SIGTERM');
}
const say = (line: string): void => console.log(line);
try {
  const options = { kills: Number(values.kills), seed: Number(values.seed), durability, data: temporaryFolder(), say } as const;
  const flags = values.limit.flatMap((limit) => ['--limit', limit]);
  const verdict = of === 'log' ? await killLogAgainAndAgain(options) : await killAgainAndAgain({ ...options, flags, signal });
  console.log(JSON.stringify({ of, seed: options.seed, kills: options.kills, durability, signal, ...verdict }, undefined, 1));
  const isKept = 'unlike' in verdict ? isLogClean(verdict) : isClean(verdict);
  console.log(isKept ? 'no promise was broken' : 'A PROMISE WAS BROKEN');
  process.exitCode = isKept ? 0 : 1;
} finally {
  await cleanUp();
}
