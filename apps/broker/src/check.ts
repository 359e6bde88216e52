/**
 * `check FOLDER [--json]`: what a data folder holds and what is wrong with it, while no broker has it open.
 *
 * It keeps nothing and changes nothing. Exit codes: 0 the folder is whole; 1 something is wrong with it, and it was said what; 2 it could not be
 * checked (not there, in use, wrong command line). Called by main.ts.
 */
import { Command, CommanderError } from 'commander';
import { checkFolder, CodedError, type FolderCheck } from '@dovecote/broker';

export interface CheckOutput {
  /** The result, for people or programs. */
  readonly say: (text: string) => void;
  /** Progress, and why there is no result. */
  readonly warn: (line: string) => void;
}

const couldNotCheck = 2;
const queuesShown = 20;

/** `argv` is what stands behind `check`. Resolves with the exit code. */
export async function runCheck(argv: readonly string[], { say, warn }: CheckOutput): Promise<number> {
  const command = new Command('check')
    .description(
      'Reads a data folder without changing it, and says what is in it and what is wrong. Exits with 0, 1 (wrong) or 2 (not checked).',
    )
    .argument('<folder>', 'the data folder of a broker that is not running')
    .option('--json', 'print the result as JSON')
    .exitOverride()
    .configureOutput({ writeOut: say, writeErr: (text) => warn(text.trim()) });
  try {
    command.parse(argv, { from: 'user' });
    const folder = command.args[0]!;
    const { json = false } = command.opts<{ json?: boolean }>();
    const check = await checkFolder(folder, { progress: warn });
    say(json ? `${JSON.stringify(check, null, 2)}\n` : describeCheck(check));
    return check.problemCount === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : couldNotCheck;
    if (!(error instanceof CodedError)) throw error;
    warn(error.message);
    return couldNotCheck;
  }
}

/** The result as lines for people; problems last, where they are seen. */
export function describeCheck(check: FolderCheck): string {
  const { files, queues, notes, problems, problemCount, bytes } = check;
  const messages = queues.reduce((total, queue) => total + queue.messages, 0);
  const lines = [
    `${check.folder}: ${size(bytes)} in ${files.length} files, ${count(queues.length, 'queue')}, ${count(messages, 'message')}`,
  ];
  lines.push(
    check.wasClosed ? 'Its broker was closed in order.' : 'Its broker did not end in order: all messages will be flagged redelivered.',
    '',
  );
  lines.push(...table(['file', 'state', 'bytes', 'believed', 'records', 'living'], files.map(describeFile)), '');
  const fullest = [...queues].sort((one, other) => other.messages - one.messages).slice(0, queuesShown);
  if (fullest.length > 0)
    lines.push(
      ...table(
        ['queue', 'messages'],
        fullest.map(({ name, virtualHost, messages: waiting }) => [
          virtualHost === undefined ? name : `${name} (${virtualHost})`,
          number(waiting),
        ]),
      ),
    );
  if (queues.length > queuesShown) lines.push(`and ${queues.length - queuesShown} queues with fewer messages (--json names them all)`);
  for (const note of notes) lines.push(`note: ${note}`);
  for (const { file, byte, what, advice } of problems) {
    const place = [file, byte === undefined ? undefined : `byte ${byte}`].filter((part) => part !== undefined).join(', ');
    lines.push(`WRONG: ${place === '' ? '' : `${place}: `}${what.replace(/\.$/, '')}. ${advice}`);
  }
  if (problemCount > problems.length) lines.push(`WRONG: ${problemCount - problems.length} more of the kind`);
  if (problemCount === 0) lines.push('Nothing is wrong: a broker opens it.');
  else lines.push(check.opens ? 'A broker opens it all the same.' : 'A broker refuses to open it.');
  return `${lines.join('\n')}\n`;
}

function describeFile({ file, state, bytes, believedBytes, records, livingBytes }: FolderCheck['files'][number]): readonly string[] {
  const living =
    livingBytes === undefined || state !== 'needed' ? '-' : `${Math.round((100 * livingBytes) / Math.max(believedBytes, 1))} %`;
  return [file, state, number(bytes), number(believedBytes), number(records), living];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  return [head, ...rows].map((row) =>
    row.map((cell, i) => (i < 2 && !/^[\d,]+$/.test(cell) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function count(value: number, what: string): string {
  return `${number(value)} ${what}${value === 1 ? '' : 's'}`;
}

function size(bytes: number): string {
  return bytes < 1_048_576 ? `${number(bytes)} bytes` : `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
