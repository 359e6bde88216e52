/**
 * Runs one suite against a daemon of its own, in a temporary folder that goes with it unless it is to be kept.
 *
 * Everything that the suite says is passed on as it comes. Both processes end with us.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readGo, readJunit, type TestResult } from './results.js';
import type { Command, Place, Suite } from './suite.js';

export interface RunOptions {
  /** Where the checkouts are. */
  readonly from: string;
  readonly python: string;
  readonly durability: string;
  readonly keep: boolean;
  /** The daemon's program. */
  readonly daemon: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly say: (line: string) => void;
}

/** Either what its tests said, or why it could not run. */
export type Run = { readonly results: readonly TestResult[]; readonly exitCode: number } | { readonly missing: string };

/** What a suite may take: they are short, and one that hangs must end. */
const suiteMsMax = 20 * 60_000;

export async function runSuite(suite: Suite, options: RunOptions): Promise<Run> {
  const folder = join(options.from, suite.name);
  if (!existsSync(folder)) return { missing: `there is no ${folder}: git clone ${suite.origin} ${folder}` };
  if (suite.needs !== undefined && !existsSync(join(folder, suite.needs.file))) {
    return { missing: `${folder} lacks ${suite.needs.file}: run ${suite.needs.says} there` };
  }
  const scratch = mkdtempSync(join(tmpdir(), `dovecote-suite-${suite.name}-`));
  const daemon = await startDaemon(suite, scratch, options);
  if (typeof daemon === 'string') return { missing: daemon };
  try {
    const place = {
      folder,
      url: `amqp://guest:guest@localhost:${daemon.port}`,
      resultsFile: join(scratch, 'results'),
      python: options.python,
    };
    return await runCommand(suite.command(place), place, options);
  } finally {
    daemon.child.kill('SIGTERM');
    if (daemon.child.exitCode === null) await once(daemon.child, 'exit');
    writeFileSync(join(scratch, 'daemon.log'), daemon.log.join(''));
    if (options.keep) options.say(`${suite.name}: data folder, results and the daemon's log are kept in ${scratch}`);
    else rmSync(scratch, { recursive: true, force: true });
  }
}

interface Daemon {
  readonly child: ChildProcess;
  readonly port: number;
  readonly log: string[];
}

/** Listens on every address of this machine, because suites mean both 127.0.0.1 and ::1 by localhost; guest may come from here only. */
async function startDaemon(suite: Suite, scratch: string, { daemon, durability }: RunOptions): Promise<Daemon | string> {
  const port = String(suite.port ?? 0);
  const given = ['--data', join(scratch, 'data'), '--amqp-host', '::', '--amqp-port', port, '--durability', durability];
  const child = spawn(process.execPath, [daemon, ...given], { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  process.once('exit', () => child.kill('SIGKILL'));
  const log: string[] = [];
  const listening = new Promise<number | undefined>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        log.push(text.toString());
        const found = /AMQP listening on .*:(\d+)\n/.exec(log.join(''));
        if (found !== null) resolve(Number(found[1]));
      });
    }
    child.once('exit', () => resolve(undefined));
  });
  const listens = await listening;
  if (listens !== undefined) return { child, port: listens, log };
  const needed = suite.port === undefined ? '' : ` (its tests connect to port ${suite.port} whatever they are told)`;
  return `the daemon did not start for ${suite.name}${needed}: ${log.join('').trim()}`;
}

async function runCommand(command: Command, place: Place, { environment }: RunOptions): Promise<Run> {
  const isGo = command.results === 'go';
  const child = spawn(command.file, command.arguments, {
    cwd: place.folder,
    env: { ...environment, ...command.environment },
    stdio: ['ignore', isGo ? 'pipe' : 'inherit', 'inherit'],
    timeout: suiteMsMax,
  });
  process.once('exit', () => child.kill('SIGKILL'));
  const said: string[] = [];
  child.stdout?.on('data', (text: Buffer) => {
    said.push(text.toString());
    for (const { name, outcome } of readGo(wholeLines(text.toString())))
      process.stdout.write(`${outcome === 'passed' ? 'ok  ' : outcome} ${name}\n`);
  });
  const ended = await new Promise<number | Error>((resolve) => {
    child.once('error', resolve);
    child.once('close', (code) => resolve(code ?? 1));
  });
  if (ended instanceof Error) return { missing: `${command.file} cannot be started: ${ended.message}` };
  if (isGo) return { results: readGo(said.join('')), exitCode: ended };
  const results = existsSync(place.resultsFile) ? readJunit(readFileSync(place.resultsFile, 'utf8')) : [];
  return { results, exitCode: ended };
}

/** For what is shown as it comes: a line that is cut by the end of a piece is not shown. */
function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1).replace(/^[^{].*\n/, '');
}
