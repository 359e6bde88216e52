import { checkFieldTable, decodeFieldTable, encodeFieldTable, fieldTableBytes, MalformedError, type FieldTable } from './field-table.js';

/**
 * The properties that travel with a message, as AMQP 0-9-1 names them, and their bytes. All optional.
 *
 *   | flags u16 | the properties whose bit is set, in the order of the bits from the highest |
 *
 * The broker keeps these bytes as they came. Wire code: no I/O.
 */
export interface MessageProperties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly headers?: FieldTable;
  /** 2 is kept on disk in durable queues, 1 (or absent) is not. */
  readonly deliveryMode?: 1 | 2;
  readonly priority?: number;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** Milliseconds, as a decimal string: that is how it travels. */
  readonly expiration?: string;
  readonly messageId?: string;
  /** Seconds since 1970-01-01 UTC. */
  readonly timestamp?: number;
  readonly type?: string;
  readonly userId?: string;
  readonly appId?: string;
  readonly clusterId?: string;
}

export const propertyFlags = {
  contentType: 0x8000,
  contentEncoding: 0x4000,
  headers: 0x2000,
  deliveryMode: 0x1000,
  priority: 0x0800,
  correlationId: 0x0400,
  replyTo: 0x0200,
  expiration: 0x0100,
  messageId: 0x0080,
  timestamp: 0x0040,
  type: 0x0020,
  userId: 0x0010,
  appId: 0x0008,
  clusterId: 0x0004,
} as const satisfies Record<keyof MessageProperties, number>;

/** The two lowest bits: one belongs to nothing, the other announces a second word of flags, which 0-9-1 never uses. */
const unusedFlags = 0x0003;

type PropertyKind = 'shortstr' | 'table' | 'octet' | 'timestamp';

const order: readonly (readonly [keyof MessageProperties, PropertyKind])[] = [
  ['contentType', 'shortstr'],
  ['contentEncoding', 'shortstr'],
  ['headers', 'table'],
  ['deliveryMode', 'octet'],
  ['priority', 'octet'],
  ['correlationId', 'shortstr'],
  ['replyTo', 'shortstr'],
  ['expiration', 'shortstr'],
  ['messageId', 'shortstr'],
  ['timestamp', 'timestamp'],
  ['type', 'shortstr'],
  ['userId', 'shortstr'],
  ['appId', 'shortstr'],
  ['clusterId', 'shortstr'],
];

/** Reads the properties whose flags stand at `offset`; they must fill the bytes to `end` exactly. Throws MalformedError. */
export function decodeProperties(bytes: Buffer, offset: number, end: number): MessageProperties {
  checkProperties(bytes, offset, end);
  const flags = bytes.readUInt16BE(offset);
  const properties: Record<string, unknown> = {};
  let at = offset + 2;
  for (const [name, kind] of order) {
    if ((flags & propertyFlags[name]) === 0) continue;
    const next = propertyEnd(bytes, at, end, kind);
    properties[name] = decodeProperty(bytes, at, next, kind);
    at = next;
  }
  return properties;
}

/** Looks at every property without decoding any. Throws MalformedError unless they fill `bytes[offset..end)` exactly. */
export function checkProperties(bytes: Buffer, offset: number, end: number): void {
  if (offset + 2 > end) throw new MalformedError('the content header ends before its property flags');
  const flags = bytes.readUInt16BE(offset);
  if ((flags & unusedFlags) !== 0) throw new MalformedError('the property flags have a bit set that means nothing in AMQP 0-9-1');
  let at = offset + 2;
  for (const [name, kind] of order) if ((flags & propertyFlags[name]) !== 0) at = propertyEnd(bytes, at, end, kind);
  if (at !== end) throw new MalformedError('the content header is longer than its properties');
}

/** Where the value of one property stands in bytes that were checked, or -1 where it is absent. */
export function findProperty(bytes: Buffer, offset: number, wanted: keyof MessageProperties): number {
  const flags = bytes.readUInt16BE(offset);
  if ((flags & propertyFlags[wanted]) === 0) return -1;
  let at = offset + 2;
  for (const [name, kind] of order) {
    if (name === wanted) break;
    if ((flags & propertyFlags[name]) !== 0) at = propertyEnd(bytes, at, bytes.length, kind);
  }
  return at;
}

/** Calls `visit` for every property that is there, in bytes that were checked: its name and where its value begins and ends. */
export function forEachProperty(
  bytes: Buffer,
  offset: number,
  visit: (name: keyof MessageProperties, at: number, end: number) => void,
): void {
  const flags = bytes.readUInt16BE(offset);
  let at = offset + 2;
  for (const [name, kind] of order) {
    if ((flags & propertyFlags[name]) === 0) continue;
    const end = propertyEnd(bytes, at, bytes.length, kind);
    visit(name, at, end);
    at = end;
  }
}

/** Bytes that `encodeProperties` needs. Throws MalformedError when a text is longer than the 255 bytes that fit. */
export function propertiesBytes(properties: MessageProperties): number {
  let length = 2;
  for (const [name, kind] of order) {
    const value = properties[name];
    if (value === undefined) continue;
    if (kind === 'octet') length += 1;
    else if (kind === 'timestamp') length += 8;
    else if (kind === 'table') length += fieldTableBytes(value as FieldTable);
    else length += shortStringBytes(name, value as string);
  }
  return length;
}

/** Writes flags and properties at `offset`; returns the offset behind them. */
export function encodeProperties(properties: MessageProperties, into: Buffer, offset: number): number {
  let flags = 0;
  let at = offset + 2;
  for (const [name, kind] of order) {
    const value = properties[name];
    if (value === undefined) continue;
    flags |= propertyFlags[name];
    if (kind === 'octet') at = into.writeUInt8(value as number, at);
    else if (kind === 'timestamp') at = into.writeBigUInt64BE(BigInt(Math.trunc(value as number)), at);
    else if (kind === 'table') at = encodeFieldTable(value as FieldTable, into, at);
    else {
      const length = into.write(value as string, at + 1, 'utf8');
      into[at] = length;
      at += 1 + length;
    }
  }
  into.writeUInt16BE(flags, offset);
  return at;
}

function shortStringBytes(name: string, value: string): number {
  const length = Buffer.byteLength(value);
  if (length > 255) throw new MalformedError(`the property ${name} is ${length} bytes long, at most 255 fit`);
  return 1 + length;
}

function propertyEnd(bytes: Buffer, at: number, end: number, kind: PropertyKind): number {
  if (kind === 'table') return checkFieldTable(bytes, at, end);
  const next = kind === 'octet' ? at + 1 : kind === 'timestamp' ? at + 8 : at < end ? at + 1 + bytes[at]! : end + 1;
  if (next > end) throw new MalformedError('a property reaches beyond the content header');
  return next;
}

function decodeProperty(bytes: Buffer, at: number, end: number, kind: PropertyKind): unknown {
  if (kind === 'octet') return bytes[at];
  if (kind === 'timestamp') return Number(bytes.readBigUInt64BE(at));
  if (kind === 'table') return decodeFieldTable(bytes, at, end);
  return bytes.toString('utf8', at + 1, end);
}
