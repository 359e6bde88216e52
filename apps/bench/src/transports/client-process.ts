/** One client of a contender as a child process, asked through its channel. Gone when this process goes. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Asked, ClientSettings, Order, Question, Told, Usage } from './client-program.js';

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class ClientProcess {
  readonly exited: Promise<void>;
  /** Told of every message that the handler of a poisoned run takes. */
  onTaken: ((order: Order) => void) | undefined;
  readonly #waiting = new Map<number, { resolve: (usage: Usage) => void; reject: (error: Error) => void }>();
  #asked = 0;
  #opened: (() => void) | undefined;
  #hasExited = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly what: string,
  ) {
    running.add(child);
    child.on('message', (told: Told) => this.#hear(told));
    this.exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        this.#hasExited = true;
        running.delete(child);
        for (const { reject } of this.#waiting.values()) reject(new Error(`${what} ended (${signal ?? code})`));
        resolve();
      }),
    );
  }

  /** Resolves when it can publish, or takes messages; also when it ended before that, which only `exited` tells. */
  static async start(file: string, settings: ClientSettings, onTaken?: (order: Order) => void): Promise<ClientProcess> {
    const child = fork(file, [JSON.stringify(settings)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const client = new ClientProcess(child, `the client of ${settings.name} (${settings.role})`);
    client.onTaken = onTaken;
    await Promise.race([new Promise<void>((resolve) => (client.#opened = resolve)), client.exited]);
    return client;
  }

  ask(question: Question): Promise<Usage> {
    if (this.#hasExited) return Promise.reject(new Error(`${this.what} has ended`));
    const number = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.child.send({ number, question } satisfies Asked);
    });
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  #hear(told: Told): void {
    if ('opened' in told) this.#opened?.();
    else if ('taken' in told) this.onTaken?.(told.taken);
    else {
      this.#waiting.get(told.answered)?.resolve(told.usage);
      this.#waiting.delete(told.answered);
    }
  }
}
