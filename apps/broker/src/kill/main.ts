/**
 * `npm run kill-test -w apps/broker -- --kills 50`: real kills of a real daemon, as many as one has time for. Prints a line for each and the verdict, and ends
 * with 0 when no promise was broken.
 */
import { parseArgs } from 'node:util';
import { cleanUp, temporaryFolder } from '../daemon-process.js';
import { killAgainAndAgain } from './kills.js';
import { isClean } from './ledger.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string', default: 'os' },
    signal: { type: 'string', default: 'SIGKILL' },
    limit: { type: 'string', multiple: true, default: [] },
  },
});
const { durability, signal } = values;
if ((durability !== 'os' && durability !== 'fsync') || (signal !== 'SIGKILL' && signal !== 'SIGTERM')) {
  throw new Error('--durability is os or fsync, --signal is SIGKILL or SIGTERM');
}
try {
  const flags = values.limit.flatMap((limit) => ['--limit', limit]);
  const options = { flags, kills: Number(values.kills), seed: Number(values.seed), durability, signal, data: temporaryFolder() } as const;
  const verdict = await killAgainAndAgain({ ...options, say: (line) => console.log(line) });
  console.log(JSON.stringify({ seed: options.seed, kills: options.kills, durability, signal, ...verdict }, undefined, 1));
  console.log(isClean(verdict) ? 'no promise was broken' : 'A PROMISE WAS BROKEN');
  process.exitCode = isClean(verdict) ? 0 : 1;
} finally {
  await cleanUp();
}
