/** `dovecote produce`: lines of standard input or files as records, as users of kafka-console-producer and kcat -P expect. */
import { accessSync, constants, createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import type { OutgoingRecord } from '@dovecote/broker';
import { collect, type LogContext, logCommand, Progress, readCount, readPairs, withClient } from './log-commands.js';
import { UsageError } from './passwords.js';
import { recordOfJson } from './record-format.js';

interface Given {
  readonly key?: string;
  readonly keySeparator?: string;
  readonly header?: readonly string[];
  readonly partition?: string;
  readonly compression: 'uncompressed' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
  readonly acks: string;
  readonly lines?: boolean;
  readonly null?: boolean;
  readonly tombstone?: string;
  readonly json?: boolean;
}

const recordsAtOnce = 1000;
const acksOf = { '0': 0, '1': 1, all: -1, '-1': -1 } as const;

export function addProduce(program: Command, context: LogContext): void {
  const produce = logCommand(program, 'produce <topic> [files...]', 'sends a record for each line of standard input, or for each file')
    .option('-k, --key <text>', 'the key of all of them')
    .option('-K, --key-separator <text>', 'what stands before it in a line is the key')
    .option('-H, --header <name=value>', 'repeatable', collect)
    .option('-p, --partition <number>', 'where to; else by the key')
    .addOption(
      new Option('-z, --compression <name>', 'of the batches')
        .choices(['uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'])
        .default('uncompressed'),
    )
    .addOption(new Option('-a, --acks <count>', 'whose word is waited for').choices(Object.keys(acksOf)).default('all'))
    .option('-l, --lines', 'a record for each line of the files')
    .option('-Z, --null', 'an empty value is no value: a tombstone')
    .option('--tombstone <key>', 'sends one tombstone for this key, and nothing else');
  produce.action((name: string, files: readonly string[], given: Given) =>
    withClient(produce, context, async (client) => {
      const { RecordSender } = await import('@dovecote/broker/kafka-client');
      const isJson = produce.optsWithGlobals<Given>().json === true;
      const records = recordsOf(files, { ...given, json: isJson }, context);
      const sender = new RecordSender(client, await client.topic(name, { mayCreate: true }));
      const progress = new Progress('records sent', context.terminal);
      const [{ compression }, acks] = [given, acksOf[given.acks as keyof typeof acksOf]];
      for await (const batch of inBatches(records)) {
        await sender.send(batch, { compression, acks, nowMs: Date.now() });
        progress.add(batch.length);
      }
    }),
  );
}

/** As many as there are without waiting, so that a record does not wait for those behind it. What came before an error comes before it. */
async function* inBatches(records: AsyncIterator<OutgoingRecord>): AsyncGenerator<readonly OutgoingRecord[]> {
  let batch: OutgoingRecord[] = [];
  for (let isLast = false; !isLast;) {
    const next = records.next();
    if (!(await isSoon(next)) || batch.length >= recordsAtOnce) {
      if (batch.length > 0) yield batch;
      batch = [];
    }
    try {
      const { done, value } = await next;
      isLast = done === true;
      if (done !== true) batch.push(value);
    } catch (error) {
      if (batch.length > 0) yield batch;
      throw error;
    }
  }
  if (batch.length > 0) yield batch;
}

function isSoon(next: Promise<unknown>): Promise<boolean> {
  const yes = (): boolean => true;
  return Promise.race([next.then(yes, yes), new Promise<boolean>((resolve) => void setImmediate(resolve, false))]);
}

async function* recordsOf(files: readonly string[], given: Given, { terminal }: LogContext): AsyncGenerator<OutgoingRecord> {
  const headers = Object.entries(readPairs(given.header, '--header')).map(([key, value]) => ({ key, value }));
  const partition = given.partition === undefined ? {} : { partition: readCount(given.partition, '--partition') };
  const more = { ...partition, headers, ...(given.key === undefined ? {} : { key: given.key }) };
  if (given.tombstone !== undefined) {
    yield { ...more, key: given.tombstone, value: null };
    return;
  }
  if (files.length > 0 && given.lines !== true && given.json !== true) {
    for (const file of files) yield { ...more, value: readWhole(file) };
    return;
  }
  let lineNumber = 0;
  for await (const line of files.length === 0 ? terminal.readLines() : linesOf(files)) {
    lineNumber++;
    if (given.json !== true) yield recordOfLine(line, lineNumber, given, more);
    else if (line.trim() !== '') yield withMore(recordOfJson(line, lineNumber), more);
  }
}

/** What the command line says holds over what stands in the line. */
function withMore(
  record: OutgoingRecord,
  { headers, ...more }: Omit<OutgoingRecord, 'value'> & { readonly headers: readonly { key: string; value: string }[] },
): OutgoingRecord {
  return { ...record, ...more, headers: [...(record.headers as readonly { key: string; value: string }[]), ...headers] };
}

function recordOfLine(line: string, lineNumber: number, given: Given, more: Omit<OutgoingRecord, 'value'>): OutgoingRecord {
  const { keySeparator, null: isNull = false } = given;
  const valueOf = (text: string): string | null => (isNull && text === '' ? null : text);
  if (keySeparator === undefined) return { ...more, value: valueOf(line) };
  const at = line.indexOf(keySeparator);
  if (at < 0) throw new UsageError(`Line ${lineNumber} has no key: "${keySeparator}" is not in it. What came before was sent`);
  return { ...more, key: line.slice(0, at), value: valueOf(line.slice(at + keySeparator.length)) };
}

async function* linesOf(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) {
    readable(file);
    yield* createInterface({ input: createReadStream(file), crlfDelay: Infinity });
  }
}

function readable(file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${(error as Error).message}`);
  }
}

function readWhole(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${(error as Error).message}`);
  }
}
