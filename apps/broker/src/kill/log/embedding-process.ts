/**
 * What the kill test of the log and the process that embeds it say to each other, and how that process is started and heard. The data folder outlives it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BrokerLog, Limits } from '@dovecote/broker';

export interface EmbeddingOptions {
  readonly data: string;
  readonly durability: 'os' | 'fsync';
  readonly limits: Partial<Limits>;
  /** A member of this group reads these topics, tells what it has seen, and then commits it. */
  readonly reader: { readonly group: string; readonly topics: readonly string[] };
}

/** What it can be asked: these methods of its log as they are, and the records of a partition. */
export type Verb =
  | 'createTopic'
  | 'deleteTopic'
  | 'addPartitions'
  | 'configs'
  | 'alterConfigs'
  | 'append'
  | 'bounds'
  | 'deleteRecordsBefore'
  | 'committedOffsets'
  | 'commitOffsets'
  | 'deleteGroup';

export interface Question {
  readonly id: number;
  readonly verb: Verb | 'topics' | 'readFrom' | 'follow';
  readonly args: readonly unknown[];
}

export interface ReadRecord {
  readonly offset: number;
  /** One character for each byte. */
  readonly value: string;
}

export type Saying =
  | { readonly kind: 'open'; readonly kafkaPort: number }
  | { readonly kind: 'answer'; readonly id: number; readonly value?: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly reason: string }
  | { readonly kind: 'saw'; readonly topic: string; readonly partition: number; readonly from: number; readonly next: number }
  | { readonly kind: 'committed'; readonly topic: string; readonly partition: number; readonly offset: number }
  | { readonly kind: 'member-failed'; readonly reason: string };

/** It ended before it answered: what was asked may have happened. */
export class Ended extends Error {}

/** Who asked. */
interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

const program = fileURLToPath(new URL('embedding-program.js', import.meta.url));

export class EmbeddingProcess {
  readonly ended: Promise<void>;
  kafkaPort = 0;
  /** What the member of the group says. */
  heard: (saying: Saying) => void = () => undefined;
  private readonly child: ChildProcess;
  private readonly questions = new Map<number, Waiting>();
  private lastId = 0;
  private hasEnded = false;
  private stderr = '';
  private opened: () => void = () => undefined;

  constructor(options: EmbeddingOptions) {
    this.child = fork(program, [JSON.stringify(options)], { env: {}, execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.child.stderr!.on('data', (text: Buffer) => (this.stderr += text.toString()));
    this.child.on('message', (saying) => this.hear(saying as Saying));
    // Both: what was said before the end is heard before it.
    this.ended = Promise.all([once(this.child, 'close'), once(this.child, 'disconnect')]).then(() => {
      this.hasEnded = true;
      for (const waiting of this.questions.values()) waiting.reject(new Ended('the process has ended'));
      this.opened();
    });
  }

  /** Resolves when its log is open; rejects with what it said when it ended instead. */
  static async open(options: EmbeddingOptions): Promise<EmbeddingProcess> {
    const process = new EmbeddingProcess(options);
    await new Promise<void>((resolve) => (process.opened = resolve));
    if (process.hasEnded) throw new Error(`The process that embeds the broker ended before it was open: ${process.stderr}`);
    return process;
  }

  /** Calls the method of its log. Rejects with Ended, or with what the log refused. */
  ask<V extends Verb>(verb: V, ...args: Parameters<BrokerLog[V]>): Promise<Awaited<ReturnType<BrokerLog[V]>>> {
    return this.question(verb, args);
  }

  topics(): Promise<BrokerLog['topics']> {
    return this.question('topics', []);
  }

  /** All records of a partition from this offset on. */
  readFrom(topic: string, partition: number, offset: number): Promise<readonly ReadRecord[]> {
    return this.question('readFrom', [topic, partition, offset]);
  }

  /** Its member joins, and tells from now on. Resolves when it is in. */
  follow(): Promise<void> {
    return this.question('follow', []);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  private question<T>(verb: Question['verb'], args: readonly unknown[]): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.hasEnded) {
        reject(new Ended('the process has ended'));
        return;
      }
      const id = ++this.lastId;
      this.questions.set(id, { resolve: (value) => resolve(value as T), reject });
      // Where it cannot be sent any more, the end of the process says so.
      this.child.send({ id, verb, args } satisfies Question, () => undefined);
    });
  }

  private hear(saying: Saying): void {
    if (saying.kind === 'open') {
      this.kafkaPort = saying.kafkaPort;
      this.opened();
    } else if (saying.kind === 'answer') this.take(saying.id)?.resolve(saying.value);
    else if (saying.kind === 'refusal') this.take(saying.id)?.reject(new Error(saying.reason));
    else this.heard(saying);
  }

  private take(id: number): Waiting | undefined {
    const question = this.questions.get(id);
    this.questions.delete(id);
    return question;
  }
}
