/**
 * Runs one suite against a daemon of its own, in a temporary folder that goes with it unless it is to be kept.
 *
 * Everything that the suite says is passed on as it comes. Both processes end with us.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readGo, readJunit, type TestResult } from './results.js';
import type { Command, Place, Room, Suite } from './suite.js';

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

export async function runSuite(room: Room, suite: Suite, options: RunOptions): Promise<Run> {
  const folder = join(options.from, suite.name);
  if (!existsSync(folder)) return { missing: `there is no ${folder}: git clone ${suite.origin} ${folder}` };
  if (suite.needs !== undefined && !existsSync(join(folder, suite.needs.file))) {
    return { missing: `${folder} lacks ${suite.needs.file}: run ${suite.needs.says} there` };
  }
  const scratch = mkdtempSync(join(tmpdir(), `dovecote-suite-${suite.name}-`));
  const daemon = await startDaemon(room, suite, scratch, options);
  if (typeof daemon === 'string') return { missing: daemon };
  try {
    const place = {
      folder,
      url: room.url(daemon.port),
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

async function startDaemon(room: Room, suite: Suite, scratch: string, { daemon, durability }: RunOptions): Promise<Daemon | string> {
  const ports = suite.ports.length > 0 ? suite.ports : [await freePort()];
  const given = ['--data', join(scratch, 'data'), '--durability', durability, ...room.daemon(ports), ...(suite.daemon?.() ?? [])];
  if (suite.isOverTls === true) given.push(...certificateIn(scratch));
  const child = spawn(process.execPath, [daemon, ...given], { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  process.once('exit', () => child.kill('SIGKILL'));
  const log: string[] = [];
  const listening = new Promise<boolean>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        log.push(text.toString());
        if (log.join('').includes(`${room.says} listening on `)) resolve(true);
      });
    }
    child.once('exit', () => resolve(false));
  });
  if (await listening) return { child, port: ports[0]!, log };
  const needed = suite.ports.length === 0 ? '' : ` (its tests connect to port ${suite.ports.join(', ')} whatever they are told)`;
  return `the daemon did not start for ${suite.name}${needed}: ${log.join('').trim()}`;
}

function certificateIn(folder: string): readonly string[] {
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const made = spawnSync('openssl', [
    ...'req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -out'.split(' '),
    certificate,
    '-keyout',
    key,
  ]);
  if (made.status !== 0) throw new Error(`openssl made no certificate for the run: ${made.error?.message ?? made.stderr.toString()}`);
  return ['--tls-certificate', certificate, '--tls-key', key];
}

/** Kafka clients are told where to come, so that the port must be known before the daemon is. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
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
