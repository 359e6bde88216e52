/**
 * The daemon as its tests see it: a child process, its lines, and how it ended. The data folder outlives it. For the specs and the kill test beside it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const program = fileURLToPath(new URL('../bundle/main.js', import.meta.url));
const running = new Set<DaemonProcess>();
const folders = new Set<string>();

/** Kills every daemon that still runs and removes every folder; for the end of a test, however it went. */
export async function cleanUp(): Promise<void> {
  await Promise.all([...running].map((daemon) => daemon.kill()));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** An empty folder that goes with `cleanUp`. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-daemon-'));
  folders.add(folder);
  return folder;
}

export class DaemonProcess {
  stdout = '';
  stderr = '';
  readonly exited: Promise<Exit>;
  private readonly child: ChildProcess;
  private heard: () => void = () => undefined;

  /** Starts it with these arguments and no environment. `before` is for the shell, in the same process: a limit it must live with. */
  constructor(args: readonly string[], before?: string) {
    // Many run at once, and one port is the default of all.
    const quiet = (port: string, ...others: readonly string[]): readonly string[] =>
      [port, ...others].some((name) => args.includes(name)) || args[0]?.startsWith('-') !== true ? [] : [port, 'off'];
    const command = [process.execPath, program, ...args, ...quiet('--management-port'), ...quiet('--kafka-port', '--kafka-listener')];
    const [file, ...rest] = before === undefined ? command : ['/bin/sh', '-c', `${before}; exec "$0" "$@"`, ...command];
    this.child = spawn(file!, rest, { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this);
    this.child.stdout!.on('data', (text: Buffer) => this.hear('stdout', text));
    this.child.stderr!.on('data', (text: Buffer) => this.hear('stderr', text));
    this.exited = once(this.child, 'close').then(([code, signal]) => {
      running.delete(this);
      this.heard();
      return { code, signal };
    });
  }

  /** Resolves when clients may come; rejects with what it said when it ended instead. */
  static async listening(args: readonly string[], before?: string): Promise<DaemonProcess> {
    const daemon = new DaemonProcess(args, before);
    await daemon.said('stdout', /AMQP listening on .*:\d+\n/);
    return daemon;
  }

  get pid(): number {
    return this.child.pid!;
  }

  get port(): number {
    return Number(/AMQP listening on .*:(\d+)\n/.exec(this.stdout)?.[1]);
  }

  /** Where it said that it listens for Kafka clients. */
  get kafkaPort(): number {
    return Number(/Kafka listening on [^,\n]*:(\d+)/.exec(this.stdout)?.[1]);
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  /** What the system has given it, in bytes. Linux only. */
  get residentBytes(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024;
  }

  /** Resolves when a line of it matches, now or later. */
  async said(where: 'stdout' | 'stderr', what: RegExp): Promise<void> {
    while (!what.test(this[where])) {
      if (!running.has(this)) throw new Error(`the daemon ended and did not say ${what}: ${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => (this.heard = resolve));
    }
  }

  /** kill -9. */
  kill(): Promise<Exit> {
    return this.signal('SIGKILL');
  }

  stop(): Promise<Exit> {
    return this.signal('SIGTERM');
  }

  signal(signal: NodeJS.Signals): Promise<Exit> {
    this.child.kill(signal);
    return this.exited;
  }

  private hear(where: 'stdout' | 'stderr', text: Buffer): void {
    this[where] += text.toString();
    this.heard();
  }
}
