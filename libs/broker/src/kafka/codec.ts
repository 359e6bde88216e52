import { type Cursor, MalformedError } from './cursor.js';
import type { AnyField, Read, Records, Struct, Write } from './schema.js';
import type { Writer } from './writer.js';

/**
 * Makes readers and writers out of schemas, one for each version, once. What is decided by the version alone is decided here;
 * what they make then only reads and writes.
 *
 * Wire code: no I/O, keeps nothing. A count is believed only as far as the bytes that are left could hold it.
 */
export type Reader<T> = (cursor: Cursor) => T;
export type StructWriter<T> = (writer: Writer, value: T) => void;

type AnyWriter = (writer: Writer, value: unknown) => void;
type Values = Record<string, unknown>;

/** Reads a struct as it is in `version`; bytes that follow it are the caller's business. Throws MalformedError. */
export function compileReader<S extends Struct>(struct: S, version: number, isFlexible: boolean): Reader<Read<S>> {
  return structReader(struct, version, isFlexible) as Reader<Read<S>>;
}

/** Writes a struct as it is in `version`; fields that the version does not know are dropped. */
export function compileWriter<S extends Struct>(struct: S, version: number, isFlexible: boolean): StructWriter<Write<S>> {
  return structWriter(struct, version, isFlexible) as StructWriter<Write<S>>;
}

interface Placed {
  readonly name: string;
  readonly field: AnyField;
}

/** The fields of `version`: those with a place, those with a tag, and those that only have a fallback. */
function sort(struct: Struct, version: number): { placed: Placed[]; tagged: Placed[]; absent: Placed[] } {
  const placed: Placed[] = [];
  const tagged: Placed[] = [];
  const absent: Placed[] = [];
  for (const [name, field] of Object.entries(struct)) {
    const { from, to, tag } = field.versions;
    if (version < from || version > to) absent.push({ name, field });
    else if (tag !== undefined) tagged.push({ name, field });
    else placed.push({ name, field });
  }
  return { placed, tagged, absent };
}

function structReader(struct: Struct, version: number, isFlexible: boolean): Reader<Values> {
  const { placed, tagged, absent } = sort(struct, version);
  const names = placed.map(({ name }) => name);
  const readers = placed.map(({ field }) => fieldReader(field, version, isFlexible));
  const rest = [...tagged, ...absent];
  const restNames = rest.map(({ name }) => name);
  const restValues = rest.map(({ field }) => fallbackOf(field, version, isFlexible));
  const byTag = new Map(tagged.map(({ name, field }) => [field.versions.tag!, { name, read: fieldReader(field, version, isFlexible) }]));
  return (cursor) => {
    const value: Values = {};
    for (let i = 0; i < names.length; i++) value[names[i]!] = readers[i]!(cursor);
    for (let i = 0; i < restNames.length; i++) value[restNames[i]!] = restValues[i];
    if (isFlexible) readTags(cursor, value, byTag);
    return value;
  };
}

function readTags(
  cursor: Cursor,
  value: Values,
  byTag: ReadonlyMap<number, { readonly name: string; readonly read: Reader<unknown> }>,
): void {
  for (let count = cursor.uvarint(); count > 0; count--) {
    const known = byTag.get(cursor.uvarint());
    const length = cursor.uvarint();
    const end = cursor.take(length) + length;
    if (known === undefined) continue;
    cursor.at = end - length;
    value[known.name] = known.read(cursor);
    if (cursor.at !== end) throw new MalformedError(`the tagged field ${known.name} is not ${length} bytes long as it says`);
  }
}

/** A struct that is not there reads as one whose fields are all absent. */
function fallbackOf(field: AnyField, version: number, isFlexible: boolean): unknown {
  const { struct } = field.shape;
  if (struct === undefined || field.versions.nullableFrom <= version || field.fallback !== null) return field.fallback;
  return Object.fromEntries(Object.entries(struct).map(([name, inner]) => [name, fallbackOf(inner, version, isFlexible)]));
}

function fieldReader(field: AnyField, version: number, isFlexible: boolean): Reader<unknown> {
  const { shape, versions } = field;
  const isNullable = version >= versions.nullableFrom;
  switch (shape.kind) {
    case 'string':
      return stringReader(isNullable, isFlexible);
    case 'bytes':
    case 'records':
      return bytesReader(isNullable, isFlexible);
    case 'array':
      return arrayReader(fieldReader(shape.element!, version, isFlexible), isNullable, isFlexible);
    case 'struct': {
      const read = structReader(shape.struct!, version, isFlexible);
      return isNullable ? (cursor) => (cursor.int8() < 0 ? null : read(cursor)) : read;
    }
    default:
      return primitiveReaders[shape.kind];
  }
}

const primitiveReaders = {
  bool: (cursor: Cursor) => cursor.bool(),
  int8: (cursor: Cursor) => cursor.int8(),
  int16: (cursor: Cursor) => cursor.int16(),
  uint16: (cursor: Cursor) => cursor.uint16(),
  int32: (cursor: Cursor) => cursor.int32(),
  int64: (cursor: Cursor) => cursor.int64(),
  float64: (cursor: Cursor) => cursor.float64(),
  uuid: (cursor: Cursor) => cursor.uuid(),
};

/** A length, with -1 for null. */
function lengthReader(what: string, isNullable: boolean, isFlexible: boolean, plain: (cursor: Cursor) => number): Reader<number> {
  const read = isFlexible ? (cursor: Cursor) => cursor.uvarint() - 1 : plain;
  return (cursor) => {
    const length = read(cursor);
    if (length < 0 && (!isNullable || length !== -1)) throw new MalformedError(`${what} at byte ${cursor.at} has length ${length}`);
    return length;
  };
}

function stringReader(isNullable: boolean, isFlexible: boolean): Reader<string | null> {
  const readLength = lengthReader('a string', isNullable, isFlexible, (cursor) => cursor.int16());
  return (cursor) => {
    const length = readLength(cursor);
    return length < 0 ? null : cursor.string(length);
  };
}

function bytesReader(isNullable: boolean, isFlexible: boolean): Reader<Buffer | null> {
  const readLength = lengthReader('a run of bytes', isNullable, isFlexible, (cursor) => cursor.int32());
  return (cursor) => {
    const length = readLength(cursor);
    return length < 0 ? null : cursor.slice(length);
  };
}

function arrayReader(readElement: Reader<unknown>, isNullable: boolean, isFlexible: boolean): Reader<unknown[] | null> {
  const readLength = lengthReader('an array', isNullable, isFlexible, (cursor) => cursor.int32());
  return (cursor) => {
    const length = readLength(cursor);
    if (length < 0) return null;
    if (length > cursor.left)
      throw new MalformedError(`an array of ${length} elements at byte ${cursor.at} cannot be in ${cursor.left} bytes`);
    const values: unknown[] = [];
    for (let i = 0; i < length; i++) values.push(readElement(cursor));
    return values;
  };
}

function structWriter(struct: Struct, version: number, isFlexible: boolean): AnyWriter {
  const { placed, tagged } = sort(struct, version);
  const names = placed.map(({ name }) => name);
  const fallbacks = placed.map(({ field }) => field.fallback);
  const writers = placed.map(({ field }) => fieldWriter(field, version, isFlexible));
  const tags = tagged
    .sort((a, b) => a.field.versions.tag! - b.field.versions.tag!)
    .map(({ name, field }) => ({ name, field, write: fieldWriter(field, version, isFlexible) }));
  return (writer, value) => {
    const values = value as Values;
    for (let i = 0; i < names.length; i++) {
      const given = values[names[i]!];
      writers[i]!(writer, given === undefined ? fallbacks[i] : given);
    }
    if (!isFlexible) return;
    const present = tags.filter(({ name, field }) => isWorthATag(values[name], field.fallback));
    writer.uvarint(present.length);
    for (const { name, field, write } of present) writeTag(writer, field.versions.tag!, values[name], write);
  };
}

function isWorthATag(value: unknown, fallback: unknown): boolean {
  if (value === undefined || value === fallback) return false;
  return !(Array.isArray(value) && value.length === 0 && Array.isArray(fallback));
}

/** The length of a tagged field stands before it, so that it is written twice: once to measure it. Tagged fields are rare. */
function writeTag(writer: Writer, tag: number, value: unknown, write: AnyWriter): void {
  writer.uvarint(tag);
  const start = writer.used;
  write(writer, value);
  const length = writer.used - start;
  writer.used = start;
  writer.uvarint(length);
  write(writer, value);
}

function fieldWriter(field: AnyField, version: number, isFlexible: boolean): AnyWriter {
  const { shape, versions } = field;
  switch (shape.kind) {
    case 'string':
      return stringWriter(isFlexible);
    case 'bytes':
      return bytesWriter(isFlexible);
    case 'records':
      return recordsWriter(isFlexible);
    case 'array':
      return arrayWriter(fieldWriter(shape.element!, version, isFlexible), isFlexible);
    case 'struct': {
      const write = structWriter(shape.struct!, version, isFlexible);
      return version < versions.nullableFrom ? write : (writer, value) => writeNullable(writer, value, write);
    }
    default:
      return primitiveWriters[shape.kind];
  }
}

const primitiveWriters: Readonly<Record<'bool' | 'int8' | 'int16' | 'uint16' | 'int32' | 'int64' | 'float64' | 'uuid', AnyWriter>> = {
  bool: (writer, value) => writer.bool(value as boolean),
  int8: (writer, value) => writer.int8(value as number),
  int16: (writer, value) => writer.int16(value as number),
  uint16: (writer, value) => writer.int16(value as number),
  int32: (writer, value) => writer.int32(value as number),
  int64: (writer, value) => writer.int64(value as number),
  float64: (writer, value) => writer.float64(value as number),
  uuid: (writer, value) => writer.uuid(value as string),
};

function writeNullable(writer: Writer, value: unknown, write: AnyWriter): void {
  writer.int8(value === null ? -1 : 1);
  if (value !== null) write(writer, value);
}

function stringWriter(isFlexible: boolean): AnyWriter {
  return (writer, value) => {
    const length = value === null ? -1 : Buffer.byteLength(value as string);
    if (isFlexible) writer.uvarint(length + 1);
    else writer.int16(length);
    if (length > 0) writer.text(value as string, length);
  };
}

function bytesWriter(isFlexible: boolean): AnyWriter {
  return (writer, value) => {
    const given = value as Uint8Array | null;
    const length = given === null ? -1 : given.length;
    if (isFlexible) writer.uvarint(length + 1);
    else writer.int32(length);
    if (given !== null) writer.raw(given);
  };
}

function recordsWriter(isFlexible: boolean): AnyWriter {
  return (writer, value) => {
    const given = value as Records | null;
    const parts = given === null ? [] : given instanceof Uint8Array ? [given] : given;
    const length = given === null ? -1 : parts.reduce((sum, part) => sum + part.length, 0);
    if (isFlexible) writer.uvarint(length + 1);
    else writer.int32(length);
    for (const part of parts) writer.attach(part);
  };
}

function arrayWriter(writeElement: AnyWriter, isFlexible: boolean): AnyWriter {
  return (writer, value) => {
    const given = value as readonly unknown[] | null;
    const length = given === null ? -1 : given.length;
    if (isFlexible) writer.uvarint(length + 1);
    else writer.int32(length);
    for (let i = 0; i < length; i++) writeElement(writer, given![i]);
  };
}
