/**
 * `npm run suites -- amqp|kafka --from DIR [--only NAMES] [--durability NAME] [--keep]`: the test suites of other clients against our daemon.
 *
 * DIR holds their checkouts, each under its name. What fails or is skipped must stand in the table of the protocol's SUPPORT.md with a reason.
 * Exits with 0 when it does, with 1 when something does not, or a suite that was asked for could not run.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { judge, readExemptions, type Verdict } from './expected.js';
import { runSuite } from './run.js';
import { amqp } from './amqp.js';
import { kafka } from './kafka.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const rooms = new Map([
  ['amqp', amqp],
  ['kafka', kafka],
]);
const usage = `usage: npm run suites -- ${[...rooms.keys()].join('|')} --from DIR [--only NAMES] [--durability fsync|os|memory] [--python FILE] [--keep]`;
const say = (line: string): void => console.log(`> ${line}`);

process.exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      from: { type: 'string' },
      only: { type: 'string' },
      durability: { type: 'string', default: 'fsync' },
      python: { type: 'string', default: process.env['DOVECOTE_PYTHON'] ?? 'python3' },
      keep: { type: 'boolean', default: false },
    },
  });
  const room = positionals.length === 1 ? rooms.get(positionals[0]!) : undefined;
  if (room === undefined || values.from === undefined) throw new Error(usage);
  const names = room.suites.map(({ name }) => name);
  const wanted = values.only?.split(',') ?? names;
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`there is no suite "${unknown}": there are ${names.join(', ')}\n${usage}`);
  const exemptions = readExemptions(readFileSync(join(root, room.support), 'utf8'));
  const lines: string[] = [];
  let isClean = true;
  for (const suite of room.suites.filter(({ name }) => wanted.includes(name))) {
    say(`${suite.name}: ${suite.origin}`);
    const run = await runSuite(room, suite, {
      from: resolve(values.from),
      python: values.python,
      durability: values.durability,
      keep: values.keep,
      daemon: join(root, 'apps/broker/bundle/main.js'),
      environment: process.env,
      say,
    });
    if ('missing' in run) {
      lines.push(`${suite.name}: not run: ${run.missing}`);
      // Who asks for all of them runs those that are there.
      if (values.only !== undefined) isClean = false;
      continue;
    }
    const verdict = judge(suite.name, run.results, exemptions);
    lines.push(...report(suite.name, verdict));
    const hasCrashed = run.exitCode !== 0 && !run.results.some(({ outcome }) => outcome === 'failed');
    if (hasCrashed) lines.push(`  it ended with ${run.exitCode} and named no test that failed`);
    if (run.results.length === 0) lines.push('  no test ran');
    if (hasCrashed || run.results.length === 0 || verdict.unlisted.length > 0) isClean = false;
  }
  console.log(`\n${lines.join('\n')}`);
  return isClean ? 0 : 1;
}

function report(name: string, { passed, exempt, unlisted, needless }: Verdict): readonly string[] {
  const byReason = new Map<string, number>();
  for (const { result, reason } of exempt) {
    const key = `${result.outcome}: ${reason}`;
    byReason.set(key, (byReason.get(key) ?? 0) + 1);
  }
  const failed = [...exempt.map(({ result }) => result), ...unlisted].filter(({ outcome }) => outcome === 'failed').length;
  return [
    `${name}: ${passed} passed, ${failed} failed, ${exempt.length + unlisted.length - failed} skipped`,
    ...[...byReason].map(([reason, count]) => `  listed, ${count} ${reason}`),
    ...unlisted.map((result) => `  NOT LISTED, ${result.outcome}: ${result.name}`),
    ...needless.map(({ test }) => `  listed without need: ${test}`),
  ];
}
