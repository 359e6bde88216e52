/**
 * What the commands need of the terminal: lines, tables, and a password that nobody sees. A password is read from standard input where that is no
 * terminal, so that scripts need not put it where the list of processes shows it.
 */
import { createInterface } from 'node:readline';

export interface Terminal {
  /** The result. */
  readonly say: (text: string) => void;
  /** What went wrong. */
  readonly warn: (line: string) => void;
  /** Whether somebody can be asked. */
  readonly isInteractive: boolean;
  /** Everything on standard input. */
  readonly readAll: () => Promise<string>;
  /** Its lines, as they come. */
  readonly readLines: () => AsyncIterable<string>;
  /** Resolves when somebody has taken what was said: who says much waits for it. */
  readonly flush: () => Promise<void>;
  /** Calls back when somebody wants to stop (Ctrl-C), or nobody reads on: what is under way is finished. A second time ends at once. */
  readonly onStop: (stop: () => void) => void;
  /** One line; undefined where it was broken off. */
  readonly ask: (question: string) => Promise<string | undefined>;
  /** One line that is not shown; undefined where it was broken off. */
  readonly readHidden: (question: string) => Promise<string | undefined>;
}

/** A row for each item, a column for each name; nothing but the head for no items. */
export function table(columns: readonly string[], items: readonly Readonly<Record<string, unknown>>[]): string {
  const rows = [columns, ...items.map((item) => columns.map((column) => shown(item[column])))];
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => row[index]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index]!))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(' ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The terminal of this process. */
export function processTerminal(process: NodeJS.Process): Terminal {
  const { stdin, stdout, stderr } = process;
  return {
    say: (text) => void stdout.write(text),
    warn: (line) => void stderr.write(`dovecote: ${line}\n`),
    isInteractive: stdin.isTTY,
    readAll: async () => {
      const pieces: Buffer[] = [];
      for await (const piece of stdin as AsyncIterable<Buffer>) pieces.push(Buffer.from(piece));
      return Buffer.concat(pieces).toString('utf8');
    },
    flush: () => new Promise((resolve) => void stdout.write('', () => resolve())),
    readLines: () => createInterface({ input: stdin, crlfDelay: Infinity }),
    onStop: (stop) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
      stdout.once('error', stop);
    },
    ask: (question) => ask(question, stdin, stderr),
    readHidden: (question) => readHidden(question, stdin, stderr),
  };
}

function ask(question: string, input: NodeJS.ReadStream, output: NodeJS.WriteStream): Promise<string | undefined> {
  const lines = createInterface({ input, output });
  return new Promise((resolve) => {
    lines.question(question, (line) => {
      resolve(line);
      lines.close();
    });
    lines.on('SIGINT', () => lines.close());
    lines.on('close', () => resolve(undefined));
  });
}

function readHidden(question: string, stdin: NodeJS.ReadStream, stderr: NodeJS.WriteStream): Promise<string | undefined> {
  stderr.write(question);
  stdin.setRawMode(true).resume().setEncoding('utf8');
  return new Promise((resolve) => {
    let typed = '';
    const finish = (answer: string | undefined): void => {
      stdin.setRawMode(false).pause().off('data', take);
      stderr.write('\n');
      resolve(answer);
    };
    const take = (text: string): void => {
      for (const character of text) {
        if (character === '\r' || character === '\n') return finish(typed);
        if (character === '\u0003' || character === '\u0004') return finish(undefined);
        if (character === '\u007f' || character === '\b') typed = typed.slice(0, -1);
        else typed += character;
      }
    };
    stdin.on('data', take);
  });
}
