/**
 * `dovecote check FOLDER`: what a data folder holds and what is wrong with it, while no broker has it open. It keeps nothing and changes nothing.
 */
import type { Command } from 'commander';
import { checkFolder, CodedError, type FolderCheck } from '@dovecote/broker';
import type { CommandContext } from './access-commands.js';

/** Something is wrong with the folder, and it was said what. */
export class WrongFolderError extends Error {
  override readonly name = 'WrongFolderError';
}

/** The folder could not be checked: it is not there, or a broker has it. */
export class UncheckedError extends Error {
  override readonly name = 'UncheckedError';
}

const queuesShown = 20;
const topicsShown = 20;

export function addCheck(program: Command, { terminal, isJson }: CommandContext): void {
  program
    .command('check <folder>')
    .description('what is in the data folder of a broker that is not running, and what is wrong with it; changes nothing')
    .addHelpText('after', '\nExit codes: 0 nothing is wrong, 1 something is, 2 it could not be checked.')
    .action(async (folder: string) => {
      const check = await checkOrRefuse(folder, terminal.warn);
      terminal.say(isJson() ? `${JSON.stringify(check, null, 2)}\n` : describeCheck(check));
      if (check.problemCount > 0) throw new WrongFolderError(folder);
    });
}

async function checkOrRefuse(folder: string, progress: (line: string) => void): Promise<FolderCheck> {
  try {
    return await checkFolder(folder, { progress });
  } catch (error) {
    if (error instanceof CodedError) throw new UncheckedError(error.message, { cause: error });
    throw error;
  }
}

/** The result as lines for people; problems last, where they are seen. */
function describeCheck(check: FolderCheck): string {
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
  lines.push(...describeTopics(check.topics));
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

/** The largest topics of the log. */
function describeTopics(topics: FolderCheck['topics']): readonly string[] {
  if (topics.length === 0) return [];
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const rows = topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.length,
    offsets: sum(partitions.map(({ start, end }) => end - start)),
    batches: sum(partitions.map(({ batches }) => batches)),
    bytes: sum(partitions.map(({ bytes }) => bytes)),
  }));
  const largest = rows.sort((one, other) => other.bytes - one.bytes).slice(0, topicsShown);
  const shown = largest.map(({ name, partitions, offsets, batches, bytes }) => [
    name,
    ...[partitions, offsets, batches, bytes].map(number),
  ]);
  const rest = topics.length > topicsShown ? [`and ${topics.length - topicsShown} smaller topics (--json names them all)`] : [];
  return [...table(['topic', 'partitions', 'offsets', 'batches', 'bytes'], shown), ...rest];
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
