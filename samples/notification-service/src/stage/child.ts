/**
 * One process that the stage can start, kill -9 and start again.
 *
 * It has a process group of its own, so that Ctrl-C in a terminal reaches the stage alone and the stage decides the order in which things end; the
 * leash ends it when the stage dies. What it prints comes out as sentences with its name in front.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Refusal } from '../refusal.js';
import { type Command, isReady } from './commands.js';

const START_MS_MAX = 60_000;
const LEASH = new URL('leash.js', import.meta.url).href;

export type ChildState = 'stopped' | 'starting' | 'running' | 'stopping' | 'killed' | 'failed';

export interface Program {
  readonly file: string;
  readonly args?: readonly string[];
  /** Its whole environment; ours when not given. */
  readonly env?: NodeJS.ProcessEnv;
  /** A program that takes no commands says in this line of its output that it is up; what it captures is what `start` resolves to. */
  readonly readyLine?: RegExp;
}

export interface Watcher {
  /** What the person at the console should read. */
  say(line: string): void;
  /** What a process says on its output: worth reading only where nothing else explains it. */
  murmur(line: string): void;
  changed(child: Child): void;
}

export class Child {
  private process: ChildProcess | undefined;
  private current: ChildState = 'stopped';

  /** `program` is asked at each start: a restarted process gets new arguments. */
  constructor(
    readonly name: string,
    private readonly program: () => Program,
    private readonly watcher: Watcher,
  ) {}

  get state(): ChildState {
    return this.current;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** Resolves when the process is ready; rejects with a sentence when it ends before, or takes more than a minute. */
  async start(): Promise<string> {
    if (this.process !== undefined) throw new Refusal(`${this.name} is running already.`);
    const { file, args = [], env, readyLine } = this.program();
    const child = fork(file, args, {
      execArgv: ['--enable-source-maps', '--disable-warning=ExperimentalWarning', '--import', LEASH],
      ...(env && { env }),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: process.platform !== 'win32',
    });
    this.process = child;
    this.change('starting');
    const ready = this.readiness(child, readyLine);
    const patience = setTimeout(() => child.kill('SIGKILL'), START_MS_MAX);
    try {
      const captured = await ready;
      this.change('running');
      return captured;
    } finally {
      clearTimeout(patience);
    }
  }

  /** Whoever is not running does not hear it. */
  command(command: Command): void {
    if (this.current === 'running' && this.process?.connected) this.process.send(command);
  }

  /** kill -9: the process gets no chance to say or save anything. Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.process;
    if (child === undefined) throw new Refusal(`${this.name} is not running.`);
    this.change('killed');
    child.kill('SIGKILL');
    await gone(child);
  }

  /** Asks the process to finish what it has in hand; one that does not is killed. Resolves when it is gone. */
  async stop(patienceMs: number): Promise<void> {
    const child = this.process;
    if (child === undefined) return;
    this.change('stopping');
    child.kill('SIGTERM');
    const patience = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    await gone(child);
    clearTimeout(patience);
  }

  /** Follows what the process says from its first word to its last. */
  private readiness(child: ChildProcess, readyLine: RegExp | undefined): Promise<string> {
    listen(child.stderr, (line) => this.current !== 'stopping' && this.watcher.say(`${this.name}: ${line}`));
    return new Promise<string>((resolve, reject) => {
      child.on('message', (message) => isReady(message) && resolve(''));
      listen(child.stdout, (line) => {
        const found = readyLine?.exec(line);
        if (found) resolve(found[1] ?? '');
        else if (this.current !== 'stopping') this.watcher.murmur(`${this.name}: ${line}`);
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        this.ended(child, signal ?? `code ${code}`);
        reject(new Refusal(`${this.name} ended before it was ready (${signal ?? `code ${code}`}). The console may say why.`));
      });
    });
  }

  private ended(child: ChildProcess, how: string): void {
    if (this.process !== child) return;
    this.process = undefined;
    const isExpected = this.current === 'killed' || this.current === 'stopping';
    if (this.current === 'running') this.watcher.say(`${this.name} ended by itself (${how}). Start it again from the page.`);
    this.change(isExpected ? (this.current === 'killed' ? 'killed' : 'stopped') : 'failed');
  }

  private change(to: ChildState): void {
    this.current = to;
    this.watcher.changed(this);
  }
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

function listen(stream: Readable | null, hear: (line: string) => void): void {
  if (stream !== null) createInterface({ input: stream }).on('line', hear);
}
