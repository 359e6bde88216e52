/**
 * A Node program of ours as a child process: the daemon or one of the benchmark's own stand-in servers.
 *
 * It must say where it listens in a line that ends in `:PORT`. Whatever happens to the benchmark, the children and their
 * folders go when it goes; only `kill -9` of the benchmark itself leaves them behind.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 20_000;
const ERROR_TEXT_MAX = 2000;

export interface ListeningProgramOptions {
  readonly file: string;
  readonly arguments: readonly string[];
  /** The line that tells the port, which is its first group. */
  readonly portLine: RegExp;
  /** Removed when the program has stopped. */
  readonly folder?: string;
}

const running = new Set<ListeningProgram>();
process.on('exit', () => {
  for (const program of running) program.abandon();
});

export class ListeningProgram {
  readonly pid: number;
  private readonly exited: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string | undefined,
    readonly port: number,
  ) {
    this.pid = child.pid as number;
    this.exited = child.exitCode !== null ? Promise.resolve() : new Promise((resolve) => child.once('exit', () => resolve()));
    running.add(this);
  }

  /** Resolves when the program has said where it listens. */
  static async start(options: ListeningProgramOptions): Promise<ListeningProgram> {
    const child = spawn(process.execPath, [options.file, ...options.arguments], { stdio: ['ignore', 'pipe', 'pipe'] });
    const killAtExit = (): void => void child.kill('SIGKILL');
    process.once('exit', killAtExit);
    try {
      return new ListeningProgram(child, options.folder, await readPort(child, options));
    } catch (error) {
      child.kill('SIGKILL');
      if (options.folder) rmSync(options.folder, { recursive: true, force: true });
      throw error;
    } finally {
      process.removeListener('exit', killAtExit);
    }
  }

  /** Asks the program to end, and ends it when it does not. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS_MAX);
    await this.exited;
    clearTimeout(timer);
    this.removeFolder();
  }

  /** Ends it as a crash does, and leaves its folder. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
    running.delete(this);
  }

  /** The synchronous end, for when this process ends itself. */
  abandon(): void {
    this.child.kill('SIGKILL');
    this.removeFolder();
  }

  private removeFolder(): void {
    running.delete(this);
    if (this.folder) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function readPort(child: ChildProcess, options: ListeningProgramOptions): Promise<number> {
  let output = '';
  let errors = '';
  child.stderr?.on('data', (text: Buffer) => {
    errors = (errors + text.toString()).slice(-ERROR_TEXT_MAX);
  });
  return new Promise<number>((resolve, reject) => {
    const giveUp = (why: string): void => reject(new Error(`${options.file} ${why}${errors ? `; it said: ${errors.trim()}` : ''}`));
    const timer = setTimeout(() => giveUp(`did not say within ${START_MS_MAX / 1000} s where it listens`), START_MS_MAX);
    child.once('error', (error) => giveUp(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      giveUp(`ended (${signal ?? code}) before it listened`);
    });
    child.stdout?.on('data', (text: Buffer) => {
      if (output.length > 65_536) return;
      output += text.toString();
      const port = options.portLine.exec(output)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      resolve(Number(port));
    });
  });
}
