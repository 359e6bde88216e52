/**
 * `dovecote dlq resend`: one dead letter with another payload, from a file, from standard input or out of an editor, and checked against a JSON Schema. While
 * somebody edits it, it stays in the box.
 */
import { isUtf8 } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { DeadLetter } from '@dovecote/messaging/dead-letters';
import { claimsOption, deskCommand, isClaimed, lettersOf, NoLetterError, withDesk, withPayload } from './dlq-desk.js';
import type { LogContext } from './log-commands.js';
import { UsageError } from './passwords.js';

interface Given {
  readonly payload?: string;
  readonly schema?: string;
  readonly claims?: string;
  readonly dryRun?: boolean;
}

const fetchMsMax = 30_000;

export function addResend(dlq: Command, context: LogContext): void {
  const resend = deskCommand(
    dlq,
    'resend <service> <id>',
    'sends one of them with another payload: from a file, standard input, or your editor',
  )
    .option('-p, --payload <file>', 'the JSON to send; without it the editor opens (VISUAL, EDITOR), or standard input is read')
    .option(
      '-s, --schema <where>',
      'JSON Schema that the payload must fit: a file, a URL, or "dataschema" for the one that the message names',
    )
    .option(...claimsOption)
    .option('--dry-run', 'checks it, and sends nothing');
  resend.action((service: string, id: string, { payload, schema, claims, dryRun = false }: Given) =>
    withDesk(resend, context, service, async (letters) => {
      const letter = await letters.show(id);
      if (letter === undefined) throw new NoLetterError(service, id);
      const check = schema === undefined ? undefined : await readSchema(schema, letter);
      const value = parsed(await newPayload(letter, { payload, claims }, context));
      const problem = check?.(value);
      if (problem !== undefined) throw new UsageError(`Nothing was sent: the payload does not fit its schema (${problem})`);
      if (!dryRun) await letters.resend(id, value);
      context.terminal.say(dryRun ? `${id} would be sent; it was not.\n` : `${lettersOf(service, 1)} was sent again.\n`);
    }),
  );
}

/** What is to be sent, as text. */
async function newPayload(letter: DeadLetter, { payload: file, claims }: Given, { terminal, environment }: LogContext): Promise<string> {
  if (file !== undefined && file !== '-') return readText(file);
  if (file === '-' || !terminal.isInteractive) return terminal.readAll();
  const text = await editable(await withPayload(letter, claims));
  const after = edited(text, environment['VISUAL'] || environment['EDITOR'] || 'vi');
  if (after === text) throw new UsageError('Nothing was changed in the editor, and nothing was sent: `dlq redrive --id` sends it as it is');
  return after;
}

/** Throws a UsageError where an editor of texts would spoil it. */
async function editable(letter: DeadLetter): Promise<string> {
  const { id, contentType, body, dataRef } = letter;
  if (isClaimed(letter))
    throw new UsageError(`Nothing was sent: the payload of ${id} is kept at ${dataRef}. Say --claims FOLDER to edit it`);
  const { payloadOf } = await import('@dovecote/messaging/dead-letters');
  const before = payloadOf(letter);
  if (before !== undefined) return `${JSON.stringify(before, null, 2)}\n`;
  if (/^[^;]*[/+]json\b/i.test(contentType) && isUtf8(body)) return Buffer.from(body).toString('utf8');
  throw new UsageError(
    `Nothing was sent: the payload of ${id} is ${contentType} (${body.byteLength} bytes), and only JSON can be edited. \`dlq redrive --id ${id}\` sends it as it is; --payload FILE sends JSON in its place, which every service reads`,
  );
}

function edited(text: string, editor: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-payload-'));
  const file = join(folder, 'payload.json');
  try {
    // Only for this user: a payload is nobody else's business.
    writeFileSync(file, text, { mode: 0o600 });
    const { status, error } = spawnSync(`${editor} "${file}"`, { stdio: 'inherit', shell: true });
    if (error !== undefined || status !== 0)
      throw new UsageError(`Nothing was sent: the editor '${editor}' ended with ${error?.message ?? status}`);
    return readFileSync(file, 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function parsed(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`Nothing was sent: the payload is no JSON (${(error as Error).message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError('Nothing was sent: a payload must be a JSON object');
  return value;
}

/** A check that answers what is wrong. Draft 2020-12, 2019-09 or 07, as `$schema` says; 07 where it says nothing. */
async function readSchema(where: string, { dataSchema }: DeadLetter): Promise<(value: object) => string | undefined> {
  if (where === 'dataschema' && dataSchema === undefined)
    throw new UsageError('The message names no schema: give a file or a URL to --schema');
  const place = where === 'dataschema' ? (dataSchema ?? '') : where;
  const text = /^https?:\/\//.test(place) ? await fetched(place) : readText(place.replace(/^file:\/\//, ''));
  try {
    const schema = JSON.parse(text) as { readonly $schema?: string };
    const draft = String(schema.$schema ?? '');
    const { Ajv } = draft.includes('2020-12')
      ? { Ajv: (await import('ajv/dist/2020.js')).Ajv2020 }
      : draft.includes('2019-09')
        ? { Ajv: (await import('ajv/dist/2019.js')).Ajv2019 }
        : await import('ajv');
    const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false });
    const fits = ajv.compile(schema);
    return (value) => (fits(value) ? undefined : ajv.errorsText(fits.errors, { dataVar: '', separator: '; ' }).trim());
  } catch (error) {
    throw new UsageError(`The schema at ${place} cannot be used: ${(error as Error).message}`);
  }
}

async function fetched(url: string): Promise<string> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(fetchMsMax) });
    if (!answer.ok) throw new Error(`the answer was ${answer.status}`);
    return await answer.text();
  } catch (error) {
    throw new UsageError(`The schema at ${url} cannot be read: ${(error as Error).message}`);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${(error as Error).message}`);
  }
}
