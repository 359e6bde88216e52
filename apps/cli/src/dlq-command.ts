/**
 * `dovecote dlq`: the dead letters of a service, over AMQP or Kafka, or in the folder of an embedded broker. Whoever looks at them has them out of the box meanwhile, so two redrives at once send each
 * of them once. Keeps nothing: what was not sent or thrown away is where it was.
 */
import type { Command } from 'commander';
import type { DeadLetter, DeadLetters, RedriveOptions, RedriveProgress } from '@dovecote/messaging/dead-letters';
import {
  addFilters,
  choiceOf,
  claimsOption,
  columns,
  deskCommand,
  type Filters,
  isClaimed,
  itemOf,
  lettersOf,
  NoLetterError,
  rowOf,
  withDesk,
  withPayload,
} from './dlq-desk.js';
import { addResend } from './dlq-resend.js';
import { type LogContext, Progress, show } from './log-commands.js';
import { UsageError } from './passwords.js';

type Given = Filters & { readonly rate?: string; readonly dryRun?: boolean; readonly yes?: boolean; readonly json?: boolean };

export function addDeadLetters(program: Command, context: LogContext): void {
  const dlq = program.command('dlq').description('dead letters of a service: what it could not handle, over AMQP or Kafka or in a folder');
  const list = addFilters(deskCommand(dlq, 'list <service>', 'what is there, with the reasons; everything stays'));
  list.action((service: string, given: Given) =>
    withDesk(list, context, service, async (letters) => showAll(list, context, await letters.list(await choiceOf(given, Date.now())))),
  );
  const one = deskCommand(dlq, 'show <service> <id>', 'one of them, with its payload and everything that became of it');
  one.option(...claimsOption).action((service: string, id: string, { claims }: { readonly claims?: string }) =>
    withDesk(one, context, service, async (letters) => {
      const found = await letters.show(id);
      if (found === undefined) throw new NoLetterError(service, id);
      const letter = await withPayload(found, claims);
      if (isClaimed(letter)) context.terminal.warn(`its payload is kept at ${letter.dataRef}: --claims FOLDER shows it`);
      context.terminal.say(`${JSON.stringify(await itemOf(letter), null, 2)}\n`);
    }),
  );
  addResend(dlq, context);
  addRedrive(dlq, context);
  addPurge(dlq, context);
}

function addRedrive(dlq: Command, context: LogContext): void {
  const redrive = addFilters(deskCommand(dlq, 'redrive <service>', 'sends them to the service again, each once; Ctrl-C stops between two'))
    .option('-r, --rate <count>', 'so many a second at most, such as 10 or 0.5')
    .option('--dry-run', 'says which, and does nothing');
  redrive.action((service: string, given: Given) =>
    withDesk(redrive, context, service, async (letters) => {
      const choice = await choiceOf(given, Date.now());
      const rate = given.rate === undefined ? {} : { perSecond: readRate(given.rate) };
      if (given.dryRun === true) return tell(redrive, context, await letters.list(choice), `of '${service}' would be sent again`);
      return await work(redrive, context, service, 'sent again', (more) => letters.redrive({ ...choice, ...rate, ...more }));
    }),
  );
}

function addPurge(dlq: Command, context: LogContext): void {
  const purge = addFilters(deskCommand(dlq, 'purge <service>', 'throws them away for good; asks first'))
    .option('-y, --yes', 'does not ask')
    .option('--dry-run', 'says which, and does nothing');
  purge.action((service: string, given: Given) =>
    withDesk(purge, context, service, async (letters) => {
      const choice = await choiceOf(given, Date.now());
      if (given.dryRun === true) return tell(purge, context, await letters.list(choice), `of '${service}' would be thrown away`);
      const limit = given.yes === true ? choice.limit : await agreedCount(letters, service, choice, context);
      if (limit === 0) return;
      await work(purge, context, service, 'thrown away', (more) =>
        letters.purge({ ...choice, ...(limit === undefined ? {} : { limit }), ...more }),
      );
    }),
  );
}

/** How many somebody agreed to lose: 0 for none. What dies meanwhile is behind those, and stays. */
async function agreedCount(letters: DeadLetters, service: string, choice: RedriveOptions, { terminal }: LogContext): Promise<number> {
  if (!terminal.isInteractive) throw new UsageError(`Nothing was thrown away: say --yes, or run this in a terminal`);
  const { done } = await letters.purge({ ...choice, isDryRun: true });
  if (done === 0) {
    terminal.say(`${nothingOf(service)}\n`);
    return 0;
  }
  const answer = await terminal.ask(
    `${lettersOf(service, done)} would be gone for good. Type yes to throw ${done === 1 ? 'it' : 'them'} away: `,
  );
  if (answer?.trim().toLowerCase() === 'yes') return done;
  terminal.say('Nothing was thrown away.\n');
  return 0;
}

/** With progress, an end at Ctrl-C, and a last word about what was done, also where it ends by an error. */
async function work(
  command: Command,
  { terminal }: LogContext,
  service: string,
  what: string,
  begin: (more: Pick<RedriveOptions, 'signal' | 'onProgress'>) => Promise<RedriveProgress>,
): Promise<void> {
  const stop = new AbortController();
  terminal.onStop(() => stop.abort());
  const progress = new Progress('dead letters', terminal);
  let last: RedriveProgress = { seen: 0, done: 0, left: undefined };
  const onProgress = (now: RedriveProgress): void => {
    progress.add(now.seen - last.seen, now.left === undefined ? undefined : now.seen + now.left);
    last = now;
  };
  try {
    last = await begin({ signal: stop.signal, onProgress });
  } catch (error) {
    if (last.done > 0) terminal.warn(`${lettersOf(service, last.done)} ${wasOrWere(last.done)} ${what} before that`);
    throw error;
  }
  const isStopped = stop.signal.aborted;
  if (command.optsWithGlobals<Given>().json === true) {
    terminal.say(`${JSON.stringify({ seen: last.seen, done: last.done, isStopped }, null, 2)}\n`);
    return;
  }
  const rest = isStopped ? '; the others are where they were' : '';
  const isEmpty = last.seen === 0 && !isStopped;
  terminal.say(
    isEmpty
      ? `${nothingOf(service)}\n`
      : `${isStopped ? 'Stopped: ' : ''}${lettersOf(service, last.done)} ${wasOrWere(last.done)} ${what}${rest}.\n`,
  );
}

function tell(command: Command, context: LogContext, letters: readonly DeadLetter[], what: string): Promise<void> {
  context.terminal.warn(`${letters.length} dead letter${letters.length === 1 ? '' : 's'} ${what}`);
  return showAll(command, context, letters);
}

async function showAll(command: Command, context: LogContext, letters: readonly DeadLetter[]): Promise<void> {
  const isJson = command.optsWithGlobals<Given>().json === true;
  show(command, context, columns, isJson ? await Promise.all(letters.map(itemOf)) : letters.map(rowOf));
}

function nothingOf(service: string): string {
  return `There was no dead letter of '${service}' to be had: there is none, or somebody else is looking through them.`;
}

function wasOrWere(count: number): string {
  return count === 1 ? 'was' : 'were';
}

function readRate(text: string): number {
  const rate = /^\d{1,9}(?:\.\d{1,9})?$/.test(text) ? Number(text) : 0;
  if (rate <= 0) throw new UsageError(`--rate must be how many a second, such as 10 or 0.5; "${text}" was given`);
  return rate;
}
