import { isUtf8 } from 'node:buffer';
import { nameText, shortStringRoom, shortText, textBytes, writeText } from './short-text.js';

/**
 * Field tables: the typed maps that AMQP 0-9-1 carries in headers and arguments, and their bytes.
 *
 *   table   | length u32 | (name shortstr, tag u8, value) … |        array   | length u32 | (tag u8, value) … |
 *
 * Whole numbers become JavaScript numbers while they are exact (`bigint` beyond 2^53), decimals and timestamps keep their type,
 * and a floating-point number that happens to be whole comes as `{ float }`, because to RabbitMQ 1.0 is not 1.
 * Wire code: no I/O. What a stranger sends is bounded by the frame it came in and by `tableDepthMax`.
 */
export type FieldValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Buffer
  | { readonly timestamp: number }
  | { readonly decimal: { readonly scale: number; readonly value: number } }
  | { readonly float: number }
  | readonly FieldValue[]
  | FieldTable;

export interface FieldTable {
  readonly [name: string]: FieldValue;
}

/** Tables and arrays inside one another; deeper ones are refused. */
export const tableDepthMax = 32;

/** The bytes are not what the protocol says they should be. The message is for the client's log. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

/** Reads the table whose length stands at `offset`; it must end at or before `end`. Throws MalformedError. */
export function decodeFieldTable(bytes: Buffer, offset: number, end: number): FieldTable {
  const bodyEnd = enclosedEnd(bytes, offset, end);
  return decodeFields(bytes, offset + 4, bodyEnd, 1);
}

/** Reads the fields of a table that stands there without its length, as in AMQPLAIN. Throws MalformedError. */
export function decodeFields(bytes: Buffer, offset: number, end: number, depth = 1): FieldTable {
  if (depth > tableDepthMax) throw new MalformedError(`a table is nested deeper than ${tableDepthMax} levels`);
  const table: Record<string, FieldValue> = {};
  let at = offset;
  while (at < end) {
    const nameEnd = within(at + 1 + bytes[at]!, end);
    const name = nameText(bytes, at + 1, nameEnd);
    const value = decodeValue(bytes, nameEnd, end, depth);
    if (name === '__proto__') Object.defineProperty(table, name, { value, enumerable: true, configurable: true, writable: true });
    else table[name] = value;
    at = decodedEnd;
  }
  return table;
}

/** Gives each field of the table whose length stands at `offset` to `visit`, without a table in between; returns where it ends. Throws MalformedError. */
export function visitFields(bytes: Buffer, offset: number, end: number, visit: FieldVisitor): number {
  const bodyEnd = enclosedEnd(bytes, offset, end);
  let at = offset + 4;
  while (at < bodyEnd) {
    const nameEnd = within(at + 1 + bytes[at]!, bodyEnd);
    const value = decodeValue(bytes, nameEnd, bodyEnd, 1);
    const next = decodedEnd;
    visit.header(nameText(bytes, at + 1, nameEnd), value);
    at = next;
  }
  return bodyEnd;
}

/** What is told of each field; one that comes twice is told twice. */
export interface FieldVisitor {
  header(name: string, value: FieldValue): void;
}

/** Where the table at `offset` ends, after a look at every field in it. Throws MalformedError. Decodes nothing. */
export function checkFieldTable(bytes: Buffer, offset: number, end: number, depth = 1): number {
  if (depth > tableDepthMax) throw new MalformedError(`a table is nested deeper than ${tableDepthMax} levels`);
  const bodyEnd = enclosedEnd(bytes, offset, end);
  let at = offset + 4;
  while (at < bodyEnd) at = skipValue(bytes, within(at + 1 + bytes[at]!, bodyEnd), bodyEnd, depth);
  return bodyEnd;
}

/** The offset of the tag of the field called `name` (ASCII) in a table that was checked, or -1. */
export function findField(bytes: Buffer, offset: number, name: string): number {
  const end = offset + 4 + bytes.readUInt32BE(offset);
  let at = offset + 4;
  while (at < end) {
    const length = bytes[at]!;
    const tagAt = at + 1 + length;
    if (length === name.length && bytes.toString('latin1', at + 1, tagAt) === name) return tagAt;
    at = skipValue(bytes, tagAt, end, 1);
  }
  return -1;
}

/** Where the field whose tag stands at `tagAt` ends, in a table that was checked and ends at `end`. */
export function fieldEnd(bytes: Buffer, tagAt: number, end: number): number {
  return skipValue(bytes, tagAt, end, 1);
}

/** The value of that field. */
export function decodeField(bytes: Buffer, tagAt: number, end: number): FieldValue {
  return decodeValue(bytes, tagAt, end, 1);
}

/** What RabbitMQ calls the type with this tag in its sentences. */
export function tagTypeName(tagByte: number): string {
  return typeNames[String.fromCharCode(tagByte)] ?? 'unknown';
}

/** The same for a value that was decoded; the width that a number had on the wire is forgotten. */
export function fieldTypeName(value: FieldValue): string {
  const bytes = Buffer.alloc(valueBytes(value));
  encodeValue(value, bytes, 0);
  return tagTypeName(bytes[0]!);
}

const typeNames: Readonly<Record<string, string>> = {
  S: 'longstr',
  x: 'binary',
  I: 'signedint',
  i: 'unsignedint',
  l: 'long',
  b: 'byte',
  B: 'unsignedbyte',
  s: 'short',
  u: 'unsignedshort',
  d: 'double',
  f: 'float',
  D: 'decimal',
  t: 'bool',
  T: 'timestamp',
  F: 'table',
  A: 'array',
  V: 'void',
};

/** Calls `visit` for every field of a table that was checked: where its name, its tag and what is behind it stand. */
export function forEachField(bytes: Buffer, offset: number, visit: (nameAt: number, tagAt: number, end: number) => void): void {
  const end = offset + 4 + bytes.readUInt32BE(offset);
  for (let at = offset + 4; at < end;) {
    const tagAt = at + 1 + bytes[at]!;
    const next = skipValue(bytes, tagAt, end, 1);
    visit(at, tagAt, next);
    at = next;
  }
}

/** Bytes that `encodeFieldTable` needs. */
export function fieldTableBytes(table: FieldTable): number {
  let length = 4;
  for (const name of Object.keys(table)) length += 1 + shortStringBytes(name) + valueBytes(table[name]!);
  return length;
}

/** Bytes that `encodeFieldTable` needs at most, without a look into the texts: infinite where a name may be too long, or a value is no text. */
export function plainTableRoom(table: FieldTable): number {
  let room = 4;
  for (const name in table) {
    const value = table[name]!;
    room += shortStringRoom(name) + (typeof value === 'string' ? 5 + 3 * value.length : Infinity);
  }
  return room;
}

/** Writes the table with its length at `offset`; returns the offset behind it. Never emits `L`, which few clients can read. */
export function encodeFieldTable(table: FieldTable, into: Buffer, offset: number): number {
  let at = offset + 4;
  for (const name of Object.keys(table)) {
    const end = writeText(name, into, at + 1);
    into[at] = end - at - 1;
    at = encodeValue(table[name]!, into, end);
  }
  into.writeUInt32BE(at - offset - 4, offset);
  return at;
}

function shortStringBytes(name: string): number {
  const length = textBytes(name);
  if (length > 255) throw new MalformedError(`the field name '${name.slice(0, 40)}…' is longer than 255 bytes`);
  return length;
}

function within(position: number, end: number): number {
  if (!(position <= end)) throw new MalformedError('a field reaches beyond the table it is in');
  return position;
}

function enclosedEnd(bytes: Buffer, offset: number, end: number): number {
  within(offset + 4, end);
  return within(offset + 4 + bytes.readUInt32BE(offset), end);
}

const code = (letter: string): number => letter.charCodeAt(0);

/** Bytes of a value by its tag, where they are always as many; one of the three below for the others. */
export const valueBytesByTag = new Uint8Array(256).fill(253);
/** It holds other values. */
export const nestedValue = 252;
const unknownValue = 253;
/** Its first four bytes say how many follow. */
export const longValue = 254;
for (const [letters, size] of [
  ['V', 0],
  ['tbB', 1],
  ['suU', 2],
  ['Iif', 4],
  ['D', 5],
  ['lLdT', 8],
  ['Sx', longValue],
  ['AF', nestedValue],
] as const) {
  for (const letter of letters) valueBytesByTag[code(letter)] = size;
}

/** Checks the value whose tag stands at `tagAt` and returns where it ends. */
function skipValue(bytes: Buffer, tagAt: number, end: number, depth: number): number {
  const at = within(tagAt + 1, end);
  const size = valueBytesByTag[bytes[tagAt]!]!;
  if (size < nestedValue) return within(at + size, end);
  if (size === longValue) return enclosedEnd(bytes, at, end);
  if (size === unknownValue) throw new MalformedError(`a field has the unknown type tag ${bytes[tagAt]!}`);
  if (bytes[tagAt] === code('F')) return checkFieldTable(bytes, at, end, depth + 1);
  if (depth >= tableDepthMax) throw new MalformedError(`an array is nested deeper than ${tableDepthMax} levels`);
  const arrayEnd = enclosedEnd(bytes, at, end);
  for (let item = at + 4; item < arrayEnd;) item = skipValue(bytes, item, arrayEnd, depth + 1);
  return arrayEnd;
}

/** Where the value ends that was decoded last. */
let decodedEnd = 0;

/** Reads the value whose tag stands at `tagAt`, and says in `decodedEnd` where it ends. It refuses what `skipValue` refuses. */
function decodeValue(bytes: Buffer, tagAt: number, limit: number, depth: number): FieldValue {
  const at = within(tagAt + 1, limit);
  const size = valueBytesByTag[bytes[tagAt]!]!;
  if (size === nestedValue) return decodeNested(bytes, tagAt, limit, depth);
  if (size === unknownValue) throw new MalformedError(`a field has the unknown type tag ${bytes[tagAt]!}`);
  const end = size === longValue ? enclosedEnd(bytes, at, limit) : within(at + size, limit);
  decodedEnd = end;
  switch (bytes[tagAt]) {
    case 0x53: // S
      return decodeText(bytes, at + 4, end);
    case 0x74: // t
      return bytes[at] !== 0;
    case 0x62: // b
      return bytes.readInt8(at);
    case 0x42: // B
      return bytes[at]!;
    case 0x73: // s
    case 0x55: // U
      return bytes.readInt16BE(at);
    case 0x75: // u
      return bytes.readUInt16BE(at);
    case 0x49: // I
      return bytes.readInt32BE(at);
    case 0x69: // i
      return bytes.readUInt32BE(at);
    case 0x6c: // l
    case 0x4c: // L
      return exact(bytes.readBigInt64BE(at));
    case 0x66: // f
      return floating(bytes.readFloatBE(at));
    case 0x64: // d
      return floating(bytes.readDoubleBE(at));
    case 0x44: // D
      return { decimal: { scale: bytes[at]!, value: bytes.readInt32BE(at + 1) } };
    case 0x54: // T
      return { timestamp: Number(bytes.readBigUInt64BE(at)) };
    case 0x78: // x
      return Buffer.from(bytes.subarray(at + 4, end));
    default:
      return null;
  }
}

function decodeText(bytes: Buffer, start: number, end: number): FieldValue {
  const short = shortText(bytes, start, end);
  if (short !== undefined) return short;
  const content = bytes.subarray(start, end);
  return isUtf8(content) ? content.toString('utf8') : Buffer.from(content);
}

function decodeNested(bytes: Buffer, tagAt: number, limit: number, depth: number): FieldValue {
  const at = tagAt + 1;
  const isArrayTag = bytes[tagAt] === code('A');
  if (isArrayTag && depth >= tableDepthMax) throw new MalformedError(`an array is nested deeper than ${tableDepthMax} levels`);
  const end = enclosedEnd(bytes, at, limit);
  const value = isArrayTag ? decodeArray(bytes, at + 4, end, depth + 1) : decodeFields(bytes, at + 4, end, depth + 1);
  decodedEnd = end;
  return value;
}

function decodeArray(bytes: Buffer, offset: number, end: number, depth: number): FieldValue[] {
  const items: FieldValue[] = [];
  for (let at = offset; at < end; at = decodedEnd) items.push(decodeValue(bytes, at, end, depth));
  return items;
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function floating(value: number): FieldValue {
  return Number.isInteger(value) ? { float: value } : value;
}

function isArray(value: FieldValue): value is readonly FieldValue[] {
  return Array.isArray(value);
}

// The typed values are known by their only key, so a table of one number called `timestamp` or `float` is taken for one of them.
function isTimestamp(value: object): value is { readonly timestamp: number } {
  return Object.keys(value).length === 1 && 'timestamp' in value && typeof value.timestamp === 'number';
}

function isFloat(value: object): value is { readonly float: number } {
  return Object.keys(value).length === 1 && 'float' in value && typeof value.float === 'number';
}

function isDecimal(value: object): value is { readonly decimal: { readonly scale: number; readonly value: number } } {
  return (
    Object.keys(value).length === 1 &&
    'decimal' in value &&
    typeof value.decimal === 'object' &&
    value.decimal !== null &&
    'scale' in value.decimal
  );
}

function valueBytes(value: FieldValue): number {
  if (value === null) return 1;
  if (typeof value === 'boolean') return 2;
  if (typeof value === 'string') return 5 + textBytes(value);
  if (typeof value === 'number') return Number.isInteger(value) && value === (value | 0) ? 5 : 9;
  if (typeof value === 'bigint') return 9;
  if (Buffer.isBuffer(value)) return 5 + value.length;
  if (isArray(value)) return value.reduce<number>((total, item) => total + valueBytes(item), 5);
  if (isTimestamp(value) || isFloat(value)) return 9;
  if (isDecimal(value)) return 6;
  return 1 + fieldTableBytes(value);
}

function encodeValue(value: FieldValue, into: Buffer, tagAt: number): number {
  const at = tagAt + 1;
  if (value === null) return tag(into, tagAt, 'V', at);
  if (typeof value === 'boolean') return tag(into, tagAt, 't', into.writeUInt8(value ? 1 : 0, at));
  if (typeof value === 'string') {
    const end = writeText(value, into, at + 4);
    into.writeUInt32BE(end - at - 4, at);
    return tag(into, tagAt, 'S', end);
  }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) return tag(into, tagAt, 'd', into.writeDoubleBE(value, at));
    if (value === (value | 0)) return tag(into, tagAt, 'I', into.writeInt32BE(value, at));
    return tag(into, tagAt, 'l', into.writeBigInt64BE(BigInt(value), at));
  }
  if (typeof value === 'bigint') return tag(into, tagAt, 'l', into.writeBigInt64BE(BigInt.asIntN(64, value), at));
  if (Buffer.isBuffer(value)) {
    into.writeUInt32BE(value.length, at);
    return tag(into, tagAt, 'x', at + 4 + value.copy(into, at + 4));
  }
  if (isArray(value)) {
    let end = at + 4;
    for (const item of value) end = encodeValue(item, into, end);
    into.writeUInt32BE(end - at - 4, at);
    return tag(into, tagAt, 'A', end);
  }
  if (isTimestamp(value)) return tag(into, tagAt, 'T', into.writeBigUInt64BE(BigInt.asUintN(64, BigInt(Math.trunc(value.timestamp))), at));
  if (isFloat(value)) return tag(into, tagAt, 'd', into.writeDoubleBE(value.float, at));
  if (isDecimal(value)) return tag(into, tagAt, 'D', into.writeInt32BE(value.decimal.value, into.writeUInt8(value.decimal.scale, at)));
  return tag(into, tagAt, 'F', encodeFieldTable(value, into, at));
}

function tag(into: Buffer, tagAt: number, letter: string, end: number): number {
  into[tagAt] = code(letter);
  return end;
}
