/**
 * What the commands of `dlq` have in common: where the dead letters are, which of them are meant, and how they are shown. The password is never an option.
 */
import { isUtf8 } from 'node:buffer';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { DeadLetter, DeadLetterDesk, DeadLetters } from '@dovecote/messaging/dead-letters';
import { collect, type LogContext, readCount } from './log-commands.js';
import { UnreachableError } from './management-client.js';
import { ownPassword, UsageError } from './passwords.js';

export const defaultBroker = 'amqp://127.0.0.1:5672';
const embedded = 'embedded:';
const causes = ['attempts', 'fatal', 'unreadable', 'unhandled', 'poisoned', 'expired', 'too-large'] as const;
const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

interface Where {
  readonly broker?: string;
  readonly user?: string;
  readonly json?: boolean;
}

/** Which of them; all that is said must be so. */
export interface Filters {
  readonly type?: readonly string[];
  readonly cause?: readonly string[];
  readonly id?: readonly string[];
  readonly handler?: readonly string[];
  readonly olderThan?: string;
  readonly youngerThan?: string;
  readonly limit?: string;
}

/** The id is of none. */
export class NoLetterError extends Error {
  override readonly name = 'NoLetterError';
  constructor(service: string, id: string) {
    super(`There is no dead letter ${id} of '${service}', or somebody else is looking at it`);
  }
}

/** A command about the dead letters of a service. */
export function deskCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option(
      '-b, --broker <url>',
      `amqp://, amqps://, kafka://, kafkas:// or embedded:FOLDER, whether its application runs or not (DOVECOTE_BROKER; default: ${defaultBroker})`,
    )
    .option('--user <name>', 'who logs in, where the URL does not say (DOVECOTE_USER). The password is DOVECOTE_PASSWORD, or asked for')
    .option('--json', 'print JSON');
}

export function addFilters(command: Command): Command {
  return command
    .option('-t, --type <pattern>', "of this type, or such as 'orders.#', repeatable", collect)
    .addOption(new Option('-c, --cause <cause>', `${causes.join(', ')}; repeatable`).argParser(readCause))
    .option('-i, --id <id>', 'this one, repeatable', collect)
    .option('--handler <name>', 'that died in this one, such as Shop.place, repeatable', collect)
    .option('--older-than <age>', 'that died longer ago, such as 30s, 10m, 2h or 7d')
    .option('--younger-than <age>', 'that died since then')
    .option('-n, --limit <count>', 'so many at most, the oldest first');
}

/** Connects, does `work`, and lets go. */
export async function withDesk<T>(
  command: Command,
  context: LogContext,
  service: string,
  work: (letters: DeadLetters) => Promise<T>,
): Promise<T> {
  const { openDeadLetters, MessagingError } = await import('@dovecote/messaging/dead-letters');
  const broker = await brokerUrl(command.optsWithGlobals<Where>(), context);
  let desk: DeadLetterDesk;
  try {
    desk = await openDeadLetters({ service, broker });
  } catch (error) {
    // What refuses the login lets nobody in; what refuses afterwards is another matter.
    if (error instanceof MessagingError && error.code === 'broker-refused') throw new UnreachableError(error.message, { cause: error });
    throw error;
  }
  try {
    return await work(desk.letters);
  } finally {
    await desk.close();
  }
}

/** Throws a UsageError where one of them makes no sense. `nowMs` is what ages are counted from. */
export async function choiceOf(filters: Filters, nowMs: number): Promise<{ where: (letter: DeadLetter) => boolean; limit?: number }> {
  const { typeMatcher, isWellFormed } = await import('@dovecote/messaging/dead-letters');
  const strange = filters.type?.find((pattern) => !isWellFormed(pattern));
  if (strange !== undefined)
    throw new UsageError(`--type must be a type or a pattern such as 'orders.*' or 'orders.#'; "${strange}" was given`);
  const types = filters.type?.map(typeMatcher);
  const sinceMs = filters.youngerThan === undefined ? undefined : nowMs - readAge(filters.youngerThan, '--younger-than');
  const untilMs = filters.olderThan === undefined ? undefined : nowMs - readAge(filters.olderThan, '--older-than');
  const { cause, id, handler, limit } = filters;
  const where = (letter: DeadLetter): boolean => {
    const { death } = letter;
    const diedMs = death?.atMs ?? Date.parse(letter.time ?? '');
    return (
      (types?.some((matches) => matches(letter.type)) ?? true) &&
      (id?.includes(letter.id) ?? true) &&
      (cause === undefined || (death !== undefined && cause.includes(death.cause))) &&
      (handler === undefined || (death?.handler !== undefined && handler.includes(death.handler))) &&
      (sinceMs === undefined || diedMs >= sinceMs) &&
      (untilMs === undefined || diedMs < untilMs)
    );
  };
  return { where, ...(limit === undefined ? {} : { limit: readCount(limit, '--limit', 1) }) };
}

/** For tables: a line each. */
export function rowOf({ id, type, key, death, time }: DeadLetter): Readonly<Record<string, unknown>> {
  const reason = death?.reason ?? '';
  const died = death === undefined ? time : new Date(death.atMs).toISOString();
  return {
    id,
    type,
    key,
    cause: death?.cause,
    handler: death?.handler,
    died,
    reason: reason.length > 60 ? `${reason.slice(0, 59)}…` : reason,
  };
}

export const columns = ['id', 'type', 'key', 'cause', 'handler', 'died', 'reason'] as const;

/** Whether its payload is kept somewhere else. */
export function isClaimed({ dataRef, body }: DeadLetter): boolean {
  return dataRef !== undefined && body.byteLength === 0;
}

/** All of it, for programs. What is no JSON is under `payloadText`, or `payloadBase64` with its size; what is kept elsewhere is there under `dataRef`. */
export async function itemOf(letter: DeadLetter): Promise<Readonly<Record<string, unknown>>> {
  const { payloadOf } = await import('@dovecote/messaging/dead-letters');
  const { body: _body, death, history, ...outside } = letter;
  const payload = payloadOf(letter);
  return {
    ...outside,
    death: death && { ...death, atMs: undefined, at: new Date(death.atMs).toISOString() },
    history: history.map(({ atMs, reason }) => ({ at: new Date(atMs).toISOString(), reason })),
    ...(isClaimed(letter) ? {} : payload === undefined ? unreadOf(letter) : { payload }),
  };
}

function unreadOf({ contentType, body }: DeadLetter): Readonly<Record<string, unknown>> {
  const bytes = Buffer.from(body);
  if (/^text\/|[/+](?:json|xml)\b/i.test(contentType) && isUtf8(bytes)) return { payloadText: bytes.toString('utf8') };
  return { payloadBytes: bytes.length, payloadBase64: bytes.toString('base64') };
}

export const claimsOption = [
  '--claims <folder>',
  'where payloads are kept that were too large to travel: the folder of a FolderClaimStore',
] as const;

/** With the payload that is kept in the folder, where it is kept somewhere and a folder is said. Throws a UsageError where it is not there. */
export async function withPayload(letter: DeadLetter, claims: string | undefined): Promise<DeadLetter> {
  if (!isClaimed(letter) || claims === undefined) return letter;
  if (!existsSync(claims)) throw new UsageError(`--claims must name a folder that is there; ${claims} is not`);
  const { FolderClaimStore } = await import('@dovecote/messaging/dead-letters');
  let body: Uint8Array | undefined;
  try {
    body = await new FolderClaimStore(claims).get(letter.dataRef!);
  } catch (error) {
    throw new UsageError(`The payload of ${letter.id} cannot be read in ${claims}: ${(error as Error).message}`);
  }
  if (body === undefined)
    throw new UsageError(
      `The payload of ${letter.id}, ${letter.dataRef}, is not in ${claims}: its time is over, or it is kept in another folder`,
    );
  return { ...letter, body };
}

/** "1 dead letter of 'shop'", "2 dead letters of 'shop'". */
export function lettersOf(service: string, count: number): string {
  return `${count} dead letter${count === 1 ? '' : 's'} of '${service}'`;
}

function readCause(text: string, before: readonly string[] | undefined): readonly string[] {
  if (!(causes as readonly string[]).includes(text))
    throw new UsageError(`--cause must be one of ${causes.join(', ')}; "${text}" was given`);
  return collect(text, before);
}

function readAge(text: string, option: string): number {
  const [, count, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (count === undefined) throw new UsageError(`${option} must be such as 30s, 10m, 2h or 7d; "${text}" was given`);
  return Number(count) * (unitsMs[unit] ?? 0);
}

/** Nobody logs in: who may read the folder may join. A folder that no broker ever had stays as it is. */
function embeddedUrl(url: string): string {
  const folder = url.slice(embedded.length);
  if (folder === '')
    throw new UsageError(
      '--broker embedded: needs the folder of the application, as in embedded:./data: what is in memory only it can see',
    );
  if (!existsSync(join(folder, 'journal')))
    throw new UnreachableError(
      `There is no broker's data in ${resolve(folder)}: give the folder that the application has in embedded:FOLDER`,
    );
  return url;
}

/** With the login in it, where there is one. */
async function brokerUrl({ broker, user: given }: Where, { environment, terminal }: LogContext): Promise<string> {
  const text = broker ?? (environment['DOVECOTE_BROKER'] || defaultBroker);
  if (text.startsWith(embedded)) return embeddedUrl(text);
  const [, scheme, login, rest] = /^(amqps?:\/\/|kafkas?:\/\/)(?:([^@/]*)@)?(.*)$/.exec(text) ?? [];
  // What was given may hold a password, so it is not repeated.
  if (scheme === undefined) throw new UsageError(`--broker must be such as ${defaultBroker}, kafka://127.0.0.1:9092 or embedded:./data`);
  const [inUrl = '', passwordInUrl] = login === undefined ? [] : login.split(':');
  const user =
    given ?? (inUrl === '' ? environment['DOVECOTE_USER'] || (scheme.startsWith('amqp') ? 'guest' : undefined) : decodeURIComponent(inUrl));
  if (user === undefined) return `${scheme}${rest}`;
  const known = passwordInUrl === undefined ? environment['DOVECOTE_PASSWORD'] || undefined : decodeURIComponent(passwordInUrl);
  const password = await ownPassword(user, known, terminal);
  return `${scheme}${encodeURIComponent(user)}:${encodeURIComponent(password)}@${rest}`;
}
