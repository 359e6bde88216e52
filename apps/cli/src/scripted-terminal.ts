/** The command line in a test, in this process: what somebody types is given, and what is printed comes back. */
import { run } from './command-line.js';
import type { Terminal } from './terminal.js';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface Script {
  /** What standard input holds. */
  readonly input?: string;
  /** What somebody answers who sits there. */
  readonly typed?: readonly (string | undefined)[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Told what the command needs to be stopped. */
  readonly onStop?: (stop: () => void) => void;
}

export async function runScripted(argv: readonly string[], { input = '', typed, environment = {}, onStop }: Script = {}): Promise<Ran> {
  let [out, err] = ['', ''];
  const answers = [...(typed ?? [])];
  const terminal: Terminal = {
    say: (text) => (out += text),
    warn: (line) => (err += `dovecote: ${line}\n`),
    isInteractive: typed !== undefined,
    readAll: () => Promise.resolve(input),
    flush: () => Promise.resolve(),
    readLines: async function* () {
      yield* input.split('\n').slice(0, -1);
    },
    onStop: onStop ?? (() => undefined),
    ask: (question) => {
      err += question;
      return Promise.resolve(answers.shift());
    },
    readHidden: (question) => {
      err += question;
      return Promise.resolve(answers.shift());
    },
  };
  const code = await run({ argv, environment, terminal });
  return { code, out, err };
}
