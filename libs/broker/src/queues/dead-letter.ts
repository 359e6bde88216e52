import { bodyLength, contentExchange, contentRoutingKey, frameEnd, propertiesEnd, propertiesStart, routingEnd } from './content.js';
import { decodeFieldTable, encodeFieldTable, type FieldTable, fieldTableBytes, type FieldValue, forEachField } from './field-table.js';
import { findProperty, forEachProperty, propertyFlags } from './properties.js';

/**
 * A message that died in a queue, as it travels on: the same content under another exchange and key, without its expiration, and
 * with its deaths in the headers `x-death` (newest first, one entry for each queue and reason), `x-first-death-…` and
 * `x-last-death-…`, as RabbitMQ 4.0 writes them.
 *
 * What an earlier death wrote is known by a bit of the image that no publisher can set, because a publisher may send headers of
 * these names too: those are replaced and never believed. All other headers and properties keep their bytes. Wire code: no I/O.
 */
/** The journal names a reason by its place here. */
export const deathReasons = ['rejected', 'expired', 'maxlen', 'delivery_limit'] as const;
export type DeathReason = (typeof deathReasons)[number];

export interface Death {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly count: number;
  /** Seconds since 1970 at the first death of this kind. */
  readonly time: number;
  readonly exchange: string;
  readonly routingKeys: readonly string[];
  readonly originalExpiration: string | undefined;
}

/** How a message dies, and where it goes. */
export interface Burial {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly timeS: number;
  readonly exchange: string;
  /** undefined keeps the one it came with. */
  readonly routingKey: string | undefined;
}

export interface DeadLetter {
  readonly image: Buffer;
  readonly exchange: string;
  /** The key, and what the header CC adds to it where the key was kept. */
  readonly routingKeys: readonly string[];
  readonly isPersistent: boolean;
  /** Newest first. */
  readonly deaths: readonly Death[];
}

/** In the octet behind exchange and key: the death headers of this image are ours. */
export const deathBit = 0x80;

/**
 * A message has no more deaths than this, one for each queue and reason: more would not fit into the header frame. Rejected once
 * more it forgets the oldest; where nobody rejected it, it has come to the end of its way and is dropped.
 */
export const deathsMax = 100;

const persistentMode = 2;
const deathHeaders = new Set([
  'x-death',
  ...['first', 'last'].flatMap((which) => ['queue', 'reason', 'exchange'].map((field) => `x-${which}-death-${field}`)),
]);

/** The dead letter that the image `bytes[start..]` becomes. The image itself stays as it is. */
export function writeDeadLetter(bytes: Buffer, start: number, burial: Burial): DeadLetter {
  const flagsAt = propertiesStart(bytes, start);
  const headersAt = findProperty(bytes, flagsAt, 'headers');
  const headers = headersAt < 0 ? {} : decodeFieldTable(bytes, headersAt, bytes.length);
  const isOurs = (bytes[routingEnd(bytes, start)]! & deathBit) !== 0;
  const keys = [contentRoutingKey(bytes, start), ...copiedKeys(headers)];
  const exchange = contentExchange(bytes, start);
  const earlier = isOurs ? deathsIn(headers) : [];
  const deaths = withDeath(earlier, burial, exchange, keys, expirationOf(bytes, flagsAt));
  const first = isOurs ? headers : undefined;
  const added: FieldTable = {
    'x-death': deaths.map(deathTable),
    'x-first-death-exchange': first?.['x-first-death-exchange'] ?? exchange,
    'x-first-death-queue': first?.['x-first-death-queue'] ?? burial.queue,
    'x-first-death-reason': first?.['x-first-death-reason'] ?? burial.reason,
    'x-last-death-exchange': exchange,
    'x-last-death-queue': burial.queue,
    'x-last-death-reason': burial.reason,
  };
  const properties = rewriteProperties(bytes, start, headersAt, added);
  const modeAt = findProperty(bytes, flagsAt, 'deliveryMode');
  return {
    image: writeImage(bytes, start, burial.exchange, burial.routingKey ?? keys[0]!, properties),
    exchange: burial.exchange,
    routingKeys: burial.routingKey === undefined ? keys : [burial.routingKey],
    isPersistent: modeAt >= 0 && bytes[modeAt] === persistentMode,
    deaths,
  };
}

/**
 * Whether `queue` is left out, because the message would go round without anybody's doing: it died there before and since then
 * nobody has rejected it. Or it has died too often.
 */
export function isCycle(deaths: readonly Death[], queue: string, reason: DeathReason): boolean {
  if (reason === 'rejected') return false;
  if (deaths.length >= deathsMax) return true;
  const last = deaths.findIndex((death) => death.queue === queue);
  return last >= 0 && deaths.slice(0, last + 1).every((death) => death.reason !== 'rejected');
}

function withDeath(
  earlier: readonly Death[],
  { queue, reason, timeS }: Burial,
  exchange: string,
  routingKeys: readonly string[],
  originalExpiration: string | undefined,
): Death[] {
  const same = earlier.find((death) => death.queue === queue && death.reason === reason);
  const newest =
    same === undefined
      ? { queue, reason, count: 1, time: timeS, exchange, routingKeys, originalExpiration }
      : { ...same, count: same.count + 1 };
  return [newest, ...earlier.filter((death) => death !== same)].slice(0, deathsMax);
}

function deathTable(death: Death): FieldTable {
  const table: FieldTable = {
    count: BigInt(death.count), // RabbitMQ's counts are 64 bits wide
    reason: death.reason,
    queue: death.queue,
    time: { timestamp: death.time },
    exchange: death.exchange,
    'routing-keys': death.routingKeys,
  };
  return death.originalExpiration === undefined ? table : { 'original-expiration': death.originalExpiration, ...table };
}

/** The deaths that an earlier burial wrote. */
function deathsIn(headers: FieldTable): Death[] {
  const tables = (headers['x-death'] ?? []) as readonly Readonly<Record<string, FieldValue>>[];
  return tables.map((table) => ({
    queue: table['queue'] as string,
    reason: table['reason'] as DeathReason,
    count: Number(table['count']),
    time: (table['time'] as { readonly timestamp: number }).timestamp,
    exchange: table['exchange'] as string,
    routingKeys: table['routing-keys'] as readonly string[],
    originalExpiration: table['original-expiration'] as string | undefined,
  }));
}

function copiedKeys(headers: FieldTable): string[] {
  const copies = headers['CC'];
  return Array.isArray(copies) ? copies.filter((key): key is string => typeof key === 'string') : [];
}

function expirationOf(bytes: Buffer, flagsAt: number): string | undefined {
  const at = findProperty(bytes, flagsAt, 'expiration');
  return at < 0 ? undefined : bytes.toString('latin1', at + 1, at + 1 + bytes[at]!);
}

/** Flags and properties as they are, but for the expiration, which goes, and the headers of a death, which are replaced. */
function rewriteProperties(bytes: Buffer, start: number, headersAt: number, added: FieldTable): Buffer {
  const flagsAt = propertiesStart(bytes, start);
  const headers = rewriteHeaders(bytes, headersAt, added);
  const before: Buffer[] = [];
  const behind: Buffer[] = [];
  forEachProperty(bytes, flagsAt, (name, at, end) => {
    if (name === 'contentType' || name === 'contentEncoding') before.push(bytes.subarray(at, end));
    else if (name !== 'headers' && name !== 'expiration') behind.push(bytes.subarray(at, end));
  });
  const flags = Buffer.alloc(2);
  flags.writeUInt16BE((bytes.readUInt16BE(flagsAt) & ~propertyFlags.expiration) | propertyFlags.headers);
  return Buffer.concat([flags, ...before, headers, ...behind]);
}

function rewriteHeaders(bytes: Buffer, headersAt: number, added: FieldTable): Buffer {
  const table = Buffer.alloc(fieldTableBytes(added));
  encodeFieldTable(added, table, 0);
  const kept: Buffer[] = [];
  if (headersAt >= 0) {
    forEachField(bytes, headersAt, (nameAt, tagAt, end) => {
      if (!deathHeaders.has(bytes.toString('latin1', nameAt + 1, tagAt))) kept.push(bytes.subarray(nameAt, end));
    });
  }
  const length = Buffer.alloc(4);
  length.writeUInt32BE(kept.reduce((total, field) => total + field.length, table.length - 4));
  return Buffer.concat([length, ...kept, table.subarray(4)]);
}

/** See content.ts for what stands where. */
function writeImage(bytes: Buffer, start: number, exchange: string, routingKey: string, properties: Buffer): Buffer {
  const header = routingEnd(bytes, start) + 2;
  const bodyFrame = propertiesEnd(bytes, start) + 1;
  const body = bodyLength(bytes, start);
  const head = Buffer.from(bytes.subarray(header, header + 19));
  head.writeUInt32BE(12 + properties.length, 3);
  return Buffer.concat([
    shortString(exchange),
    shortString(routingKey),
    Buffer.from([deathBit, frameEnd]),
    head,
    properties,
    Buffer.from([frameEnd]),
    bytes.subarray(bodyFrame, body === 0 ? bodyFrame : bodyFrame + 7 + body + 1),
  ]);
}

function shortString(text: string): Buffer {
  const bytes = Buffer.from(text).subarray(0, 255);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
