/**
 * How records are written on a terminal and read from it: text with kcat's places (`%k %s\n`), and one JSON object a line, which `produce --json` takes as
 * `consume --json` gives it. Bytes that are no text are written in base64, under the same name with `Base64` behind it.
 */
import { isUtf8 } from 'node:buffer';
import type { LogRecord } from '@dovecote/broker';
import type { OutgoingRecord } from '@dovecote/broker';
import { UsageError } from './passwords.js';

export interface PlacedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly record: LogRecord;
}

export type RecordFormat = (placed: PlacedRecord) => string;

const places: Readonly<Record<string, (placed: PlacedRecord) => string>> = {
  s: ({ record }) => textOf(record.value),
  S: ({ record }) => lengthOf(record.value),
  k: ({ record }) => textOf(record.key),
  K: ({ record }) => lengthOf(record.key),
  t: ({ topic }) => topic,
  p: ({ partition }) => String(partition),
  o: ({ record }) => String(record.offset),
  T: ({ record }) => String(record.timestamp),
  h: ({ record }) => record.headers.map(({ key, value }) => `${key}=${value === null ? 'NULL' : value.toString()}`).join(','),
  '%': () => '%',
};
const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', '\\': '\\' };

/** Throws a UsageError for a place that there is not. */
export function readFormat(text: string): RecordFormat {
  const parts: (string | RecordFormat)[] = [];
  for (const [, escaped, place, plain = ''] of text.matchAll(/\\(.)|%(.?)|([^\\%]+|\\$)/gs)) {
    if (escaped !== undefined) parts.push(escapes[escaped] ?? `\\${escaped}`);
    else if (place === undefined) parts.push(plain);
    else {
      const write = places[place];
      if (write === undefined)
        throw new UsageError(
          `--format knows ${Object.keys(places)
            .map((name) => `%${name}`)
            .join(' ')}, and not %${place}`,
        );
      parts.push(write);
    }
  }
  return (placed) => parts.map((part) => (typeof part === 'string' ? part : part(placed))).join('');
}

export const jsonFormat: RecordFormat = ({ topic, partition, record }) => {
  const { offset, timestamp } = record;
  const headers = record.headers.map(({ key, value }) => ({ name: key, ...field('value', value) }));
  return `${JSON.stringify({ topic, partition, offset, timestamp, ...field('key', record.key), ...field('value', record.value), headers })}\n`;
};

/** What `produce` sends for a line of JSON. Throws a UsageError that names the line. */
export function recordOfJson(line: string, lineNumber: number): OutgoingRecord {
  let given: unknown;
  try {
    given = JSON.parse(line);
  } catch (error) {
    throw new UsageError(`Line ${lineNumber} is no JSON: ${(error as Error).message}`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new UsageError(`Line ${lineNumber} must be a JSON object with a "value"`);
  const object = given as Readonly<Record<string, unknown>>;
  const wrong = (name: string): UsageError => new UsageError(`"${name}" in line ${lineNumber} is not what it may be`);
  const { partition, timestamp, headers } = object;
  if (partition !== undefined && !Number.isInteger(partition)) throw wrong('partition');
  if (timestamp !== undefined && !Number.isInteger(timestamp)) throw wrong('timestamp');
  return {
    key: readField(object, 'key', wrong),
    value: readField(object, 'value', wrong),
    headers: readHeaders(headers, wrong),
    ...(timestamp === undefined || (timestamp as number) < 0 ? {} : { timestamp: timestamp as number }),
    ...(partition === undefined ? {} : { partition: partition as number }),
  };
}

function readHeaders(given: unknown, wrong: (name: string) => UsageError): { key: string; value: string | Uint8Array | null }[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) {
    if (typeof given !== 'object' || given === null) throw wrong('headers');
    return Object.keys(given).map((key) => ({ key, value: readField(given as Record<string, unknown>, key, wrong) }));
  }
  return given.map((one: unknown) => {
    const header = one as Readonly<Record<string, unknown>>;
    if (typeof one !== 'object' || one === null || typeof header['name'] !== 'string') throw wrong('headers');
    return { key: header['name'], value: readField(header, 'value', wrong) };
  });
}

function readField(
  object: Readonly<Record<string, unknown>>,
  name: string,
  wrong: (name: string) => UsageError,
): string | Uint8Array | null {
  const base64 = object[`${name}Base64`];
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64');
  const value = object[name];
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'object' || typeof value === 'number' || typeof value === 'boolean') return JSON.stringify(value);
  throw wrong(name);
}

function field(name: string, bytes: Buffer | null): Readonly<Record<string, string | null>> {
  if (bytes === null) return { [name]: null };
  return isUtf8(bytes) ? { [name]: bytes.toString() } : { [`${name}Base64`]: bytes.toString('base64') };
}

function textOf(bytes: Buffer | null): string {
  return bytes === null ? '' : bytes.toString();
}

/** -1 is no value at all, as kcat writes it. */
function lengthOf(bytes: Buffer | null): string {
  return String(bytes?.length ?? -1);
}
