import {
  checkFieldTable,
  decodeFieldTable,
  encodeFieldTable,
  type FieldTable,
  fieldTableBytes,
  type FieldVisitor,
  MalformedError,
  plainTableRoom,
  visitFields,
} from './field-table.js';
import { shortStringRoom, shortText, textBytes, writeText } from './short-text.js';

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

type Decoded = { -readonly [Name in keyof MessageProperties]: MessageProperties[Name] };

/**
 * Reads the properties whose flags stand at `offset`; they must fill the bytes to `end` exactly. Throws MalformedError.
 *
 * Written out, here and in the two encoders, because a loop over names turns each access into a search: three times as slow.
 */
export function decodeProperties(bytes: Buffer, offset: number, end: number): MessageProperties {
  const flags = propertyFlagsAt(bytes, offset, end);
  const properties: Decoded = {};
  cursor = offset + 2;
  if ((flags & propertyFlags.contentType) !== 0) properties.contentType = takeText(bytes, end);
  if ((flags & propertyFlags.contentEncoding) !== 0) properties.contentEncoding = takeText(bytes, end);
  if ((flags & propertyFlags.headers) !== 0) properties.headers = takeHeaders(bytes, end);
  if ((flags & propertyFlags.deliveryMode) !== 0) properties.deliveryMode = takeOctet(bytes, end) as 1 | 2;
  if ((flags & propertyFlags.priority) !== 0) properties.priority = takeOctet(bytes, end);
  if ((flags & propertyFlags.correlationId) !== 0) properties.correlationId = takeText(bytes, end);
  if ((flags & propertyFlags.replyTo) !== 0) properties.replyTo = takeText(bytes, end);
  if ((flags & propertyFlags.expiration) !== 0) properties.expiration = takeText(bytes, end);
  if ((flags & propertyFlags.messageId) !== 0) properties.messageId = takeText(bytes, end);
  if ((flags & propertyFlags.timestamp) !== 0) properties.timestamp = takeTimestamp(bytes, end);
  if ((flags & propertyFlags.type) !== 0) properties.type = takeText(bytes, end);
  if ((flags & propertyFlags.userId) !== 0) properties.userId = takeText(bytes, end);
  if ((flags & propertyFlags.appId) !== 0) properties.appId = takeText(bytes, end);
  if ((flags & propertyFlags.clusterId) !== 0) properties.clusterId = takeText(bytes, end);
  if (cursor !== end) throw tooLong();
  return properties;
}

/** What is told of the properties that a message has, and of its headers one by one, in the order in which they stand there. */
export interface PropertyVisitor extends FieldVisitor {
  /** Asked before a property is read. */
  wants(name: PropertyName): boolean;
  property(name: PropertyName, value: string | number): void;
}

type PropertyName = Exclude<keyof MessageProperties, 'headers'>;

/** As `decodeProperties`, of what is wanted, and without an object of it: who reads each once needs none. Throws MalformedError. */
export function visitProperties(bytes: Buffer, offset: number, end: number, visitor: PropertyVisitor): void {
  const flags = propertyFlagsAt(bytes, offset, end);
  let at = offset + 2;
  if ((flags & propertyFlags.contentType) !== 0) at = told(visitor, 'contentType', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.contentEncoding) !== 0) at = told(visitor, 'contentEncoding', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.headers) !== 0) at = visitFields(bytes, at, end, visitor);
  if ((flags & propertyFlags.deliveryMode) !== 0) at = told(visitor, 'deliveryMode', 'octet', bytes, at, end);
  if ((flags & propertyFlags.priority) !== 0) at = told(visitor, 'priority', 'octet', bytes, at, end);
  if ((flags & propertyFlags.correlationId) !== 0) at = told(visitor, 'correlationId', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.replyTo) !== 0) at = told(visitor, 'replyTo', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.expiration) !== 0) at = told(visitor, 'expiration', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.messageId) !== 0) at = told(visitor, 'messageId', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.timestamp) !== 0) at = told(visitor, 'timestamp', 'timestamp', bytes, at, end);
  if ((flags & propertyFlags.type) !== 0) at = told(visitor, 'type', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.userId) !== 0) at = told(visitor, 'userId', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.appId) !== 0) at = told(visitor, 'appId', 'shortstr', bytes, at, end);
  if ((flags & propertyFlags.clusterId) !== 0) at = told(visitor, 'clusterId', 'shortstr', bytes, at, end);
  if (at !== end) throw tooLong();
}

/** Returns where the next property stands. */
function told(visitor: PropertyVisitor, name: PropertyName, kind: PropertyKind, bytes: Buffer, at: number, end: number): number {
  const next = propertyEnd(bytes, at, end, kind);
  if (!visitor.wants(name)) return next;
  cursor = at;
  const value = kind === 'shortstr' ? takeText(bytes, end) : kind === 'octet' ? takeOctet(bytes, end) : takeTimestamp(bytes, end);
  visitor.property(name, value);
  return next;
}

/** Where the next property stands while some are being decoded. */
let cursor = 0;

function takeText(bytes: Buffer, end: number): string {
  const start = cursor + 1;
  cursor = propertyEnd(bytes, cursor, end, 'shortstr');
  return shortText(bytes, start, cursor) ?? bytes.toString('utf8', start, cursor);
}

function takeHeaders(bytes: Buffer, end: number): FieldTable {
  const headers = decodeFieldTable(bytes, cursor, end);
  cursor += 4 + bytes.readUInt32BE(cursor);
  return headers;
}

function takeOctet(bytes: Buffer, end: number): number {
  const at = cursor;
  cursor = propertyEnd(bytes, at, end, 'octet');
  return bytes[at]!;
}

function takeTimestamp(bytes: Buffer, end: number): number {
  const at = cursor;
  cursor = propertyEnd(bytes, at, end, 'timestamp');
  return bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

/** Looks at every property without decoding any. Throws MalformedError unless they fill `bytes[offset..end)` exactly. */
export function checkProperties(bytes: Buffer, offset: number, end: number): void {
  const flags = propertyFlagsAt(bytes, offset, end);
  let at = offset + 2;
  for (const [name, kind] of order) if ((flags & propertyFlags[name]) !== 0) at = propertyEnd(bytes, at, end, kind);
  if (at !== end) throw tooLong();
}

function propertyFlagsAt(bytes: Buffer, offset: number, end: number): number {
  if (offset + 2 > end) throw new MalformedError('the content header ends before its property flags');
  const flags = bytes.readUInt16BE(offset);
  if ((flags & unusedFlags) !== 0) throw new MalformedError('the property flags have a bit set that means nothing in AMQP 0-9-1');
  return flags;
}

function tooLong(): MalformedError {
  return new MalformedError('the content header is longer than its properties');
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
  if (properties.contentType !== undefined) length += shortStringBytes('contentType', properties.contentType);
  if (properties.contentEncoding !== undefined) length += shortStringBytes('contentEncoding', properties.contentEncoding);
  if (properties.headers !== undefined) length += fieldTableBytes(properties.headers);
  if (properties.deliveryMode !== undefined) length += 1;
  if (properties.priority !== undefined) length += 1;
  if (properties.correlationId !== undefined) length += shortStringBytes('correlationId', properties.correlationId);
  if (properties.replyTo !== undefined) length += shortStringBytes('replyTo', properties.replyTo);
  if (properties.expiration !== undefined) length += shortStringBytes('expiration', properties.expiration);
  if (properties.messageId !== undefined) length += shortStringBytes('messageId', properties.messageId);
  if (properties.timestamp !== undefined) length += 8;
  if (properties.type !== undefined) length += shortStringBytes('type', properties.type);
  if (properties.userId !== undefined) length += shortStringBytes('userId', properties.userId);
  if (properties.appId !== undefined) length += shortStringBytes('appId', properties.appId);
  if (properties.clusterId !== undefined) length += shortStringBytes('clusterId', properties.clusterId);
  return length;
}

/** Bytes that `encodeProperties` needs at most, without a look into the texts: infinite where one may be too long, or a header is no text. */
export function propertiesRoom(properties: MessageProperties): number {
  const { contentType, contentEncoding, headers, correlationId, replyTo, expiration, messageId, type, userId, appId, clusterId } =
    properties;
  let room = flagsAndNumbersBytes;
  if (contentType !== undefined) room += shortStringRoom(contentType);
  if (contentEncoding !== undefined) room += shortStringRoom(contentEncoding);
  if (headers !== undefined) room += plainTableRoom(headers);
  if (correlationId !== undefined) room += shortStringRoom(correlationId);
  if (replyTo !== undefined) room += shortStringRoom(replyTo);
  if (expiration !== undefined) room += shortStringRoom(expiration);
  if (messageId !== undefined) room += shortStringRoom(messageId);
  if (type !== undefined) room += shortStringRoom(type);
  if (userId !== undefined) room += shortStringRoom(userId);
  if (appId !== undefined) room += shortStringRoom(appId);
  if (clusterId !== undefined) room += shortStringRoom(clusterId);
  return room;
}

/** The flags, the delivery mode, the priority and the timestamp. */
const flagsAndNumbersBytes = 2 + 1 + 1 + 8;

/** Writes flags and properties at `offset`; returns the offset behind them. */
export function encodeProperties(properties: MessageProperties, into: Buffer, offset: number): number {
  into.writeUInt16BE(flagsOf(properties), offset);
  let at = offset + 2;
  if (properties.contentType !== undefined) at = writeShortText(properties.contentType, into, at);
  if (properties.contentEncoding !== undefined) at = writeShortText(properties.contentEncoding, into, at);
  if (properties.headers !== undefined) at = encodeFieldTable(properties.headers, into, at);
  if (properties.deliveryMode !== undefined) at = into.writeUInt8(properties.deliveryMode, at);
  if (properties.priority !== undefined) at = into.writeUInt8(properties.priority, at);
  if (properties.correlationId !== undefined) at = writeShortText(properties.correlationId, into, at);
  if (properties.replyTo !== undefined) at = writeShortText(properties.replyTo, into, at);
  if (properties.expiration !== undefined) at = writeShortText(properties.expiration, into, at);
  if (properties.messageId !== undefined) at = writeShortText(properties.messageId, into, at);
  if (properties.timestamp !== undefined) at = writeTimestamp(Math.trunc(properties.timestamp), into, at);
  if (properties.type !== undefined) at = writeShortText(properties.type, into, at);
  if (properties.userId !== undefined) at = writeShortText(properties.userId, into, at);
  if (properties.appId !== undefined) at = writeShortText(properties.appId, into, at);
  if (properties.clusterId !== undefined) at = writeShortText(properties.clusterId, into, at);
  return at;
}

export function flagsOf(properties: MessageProperties): number {
  let flags = 0;
  if (properties.contentType !== undefined) flags |= propertyFlags.contentType;
  if (properties.contentEncoding !== undefined) flags |= propertyFlags.contentEncoding;
  if (properties.headers !== undefined) flags |= propertyFlags.headers;
  if (properties.deliveryMode !== undefined) flags |= propertyFlags.deliveryMode;
  if (properties.priority !== undefined) flags |= propertyFlags.priority;
  if (properties.correlationId !== undefined) flags |= propertyFlags.correlationId;
  if (properties.replyTo !== undefined) flags |= propertyFlags.replyTo;
  if (properties.expiration !== undefined) flags |= propertyFlags.expiration;
  if (properties.messageId !== undefined) flags |= propertyFlags.messageId;
  if (properties.timestamp !== undefined) flags |= propertyFlags.timestamp;
  if (properties.type !== undefined) flags |= propertyFlags.type;
  if (properties.userId !== undefined) flags |= propertyFlags.userId;
  if (properties.appId !== undefined) flags |= propertyFlags.appId;
  if (properties.clusterId !== undefined) flags |= propertyFlags.clusterId;
  return flags;
}

function writeShortText(text: string, into: Buffer, at: number): number {
  const end = writeText(text, into, at + 1);
  into[at] = end - at - 1;
  return end;
}

/** Without a BigInt, as far as it fits into 53 bits; what does not is refused by the conversion. */
export function writeTimestamp(seconds: number, into: Buffer, at: number): number {
  if (!(seconds >= 0 && seconds <= Number.MAX_SAFE_INTEGER)) return into.writeBigUInt64BE(BigInt(seconds), at);
  return into.writeUInt32BE(seconds % 0x1_0000_0000, into.writeUInt32BE(Math.floor(seconds / 0x1_0000_0000), at));
}

function shortStringBytes(name: string, value: string): number {
  const length = textBytes(value);
  if (length > 255) throw new MalformedError(`the property ${name} is ${length} bytes long, at most 255 fit`);
  return 1 + length;
}

function propertyEnd(bytes: Buffer, at: number, end: number, kind: PropertyKind): number {
  if (kind === 'table') return checkFieldTable(bytes, at, end);
  const next = kind === 'octet' ? at + 1 : kind === 'timestamp' ? at + 8 : at < end ? at + 1 + bytes[at]! : end + 1;
  if (next > end) throw new MalformedError('a property reaches beyond the content header');
  return next;
}
