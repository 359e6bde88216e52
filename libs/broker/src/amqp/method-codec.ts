import assert from 'node:assert';
import { isUtf8 } from 'node:buffer';
import {
  checkFieldTable,
  decodeFieldTable,
  encodeFieldTable,
  fieldTableBytes,
  MalformedError,
  type FieldTable,
} from '../queues/field-table.js';
import { frameEnd, frameOverheadBytes } from '../queues/content.js';
import { methods, type FieldKind, type MethodName } from './methods.js';

/**
 * Turns methods into frames and back. The table in methods.ts is compiled once, at load, into a list of steps for each method;
 * publish, deliver and acknowledge have lanes of their own (publisher.ts, delivery.ts) and a test that both agree.
 *
 * Wire code: no I/O.
 */
interface ValueByKind {
  readonly bit: boolean;
  readonly octet: number;
  readonly short: number;
  readonly long: number;
  readonly longlong: number;
  readonly shortstr: string;
  readonly longstr: Buffer;
  readonly table: FieldTable;
}

type Fields<N extends MethodName> = (typeof methods)[N]['fields'];

/** What a method carries, by the names in the table. A `longstr` is a view of the frame: copy it to keep it. */
export type Arguments<N extends MethodName> = {
  readonly [F in keyof Fields<N> as F extends `reserved${string}` ? never : F]: Fields<N>[F] extends FieldKind
    ? ValueByKind[Fields<N>[F]]
    : never;
};

type Values = Record<string, unknown>;

/** Reads from `bytes[at..end)` into `values`; returns where it stopped. */
type ReadStep = (bytes: Buffer, at: number, end: number, values: Values) => number;
type WriteStep = (into: Buffer, at: number, values: Values) => number;
type SizeStep = (values: Values) => number;

export interface Method {
  readonly name: MethodName;
  readonly classId: number;
  readonly methodId: number;
  readonly from: 'client' | 'server' | 'both';
  readonly readSteps: readonly ReadStep[];
  readonly writeSteps: readonly WriteStep[];
  readonly sizeSteps: readonly SizeStep[];
}

const methodsByName = new Map<string, Method>();
const methodsById = new Map<number, Method>();

/** The method with this number (class * 65536 + method), or undefined. */
export function methodById(id: number): Method | undefined {
  return methodsById.get(id);
}

/** Reads the arguments in `bytes[start..end)`. Throws MalformedError when they are not what the table says. */
export function decodeArguments(method: Method, bytes: Buffer, start: number, end: number): Values {
  const values: Values = {};
  let at = start;
  for (const read of method.readSteps) {
    at = read(bytes, at, end, values);
    if (at > end) throw new MalformedError('the frame ends before its last argument');
  }
  if (at !== end) throw new MalformedError('the frame is longer than its arguments');
  return values;
}

/** Bytes of the whole frame. */
export function methodFrameBytes<N extends MethodName>(name: N, values: Arguments<N>): number {
  let size = frameOverheadBytes + 4;
  for (const step of methodsByName.get(name)!.sizeSteps) size += step(values);
  return size;
}

/** Writes the whole frame at `offset`; returns the offset behind it. */
export function encodeMethod<N extends MethodName>(name: N, values: Arguments<N>, channel: number, into: Buffer, offset: number): number {
  const method = methodsByName.get(name)!;
  into[offset] = 1;
  into.writeUInt16BE(channel, offset + 1);
  into.writeUInt16BE(method.classId, offset + 7);
  let at = into.writeUInt16BE(method.methodId, offset + 9);
  for (const write of method.writeSteps) at = write(into, at, values);
  into.writeUInt32BE(at - offset - 7, offset + 3);
  into[at] = frameEnd;
  return at + 1;
}

/** The frame of a method in a buffer of its own. */
export function methodFrame<N extends MethodName>(name: N, values: Arguments<N>, channel: number): Buffer {
  const frame = Buffer.allocUnsafe(methodFrameBytes(name, values));
  encodeMethod(name, values, channel, frame, 0);
  return frame;
}

interface Codec {
  read(bytes: Buffer, at: number, end: number): unknown;
  /** Where the value at `at` ends; past `end` when it does not fit. */
  skip(bytes: Buffer, at: number, end: number): number;
  write(value: unknown, into: Buffer, at: number): number;
  size(value: unknown): number;
  readonly zero: unknown;
}

const shortEnd = (bytes: Buffer, at: number, end: number): number => (at < end ? at + 1 + bytes[at]! : end + 1);
const longEnd = (bytes: Buffer, at: number, end: number): number => (at + 4 <= end ? at + 4 + bytes.readUInt32BE(at) : end + 1);

const codecs: Record<Exclude<FieldKind, 'bit'>, Codec> = {
  octet: {
    read: (bytes, at) => bytes[at],
    skip: (_bytes, at) => at + 1,
    write: (value, into, at) => into.writeUInt8(value as number, at),
    size: () => 1,
    zero: 0,
  },
  short: {
    read: (bytes, at) => bytes.readUInt16BE(at),
    skip: (_bytes, at) => at + 2,
    write: (value, into, at) => into.writeUInt16BE(value as number, at),
    size: () => 2,
    zero: 0,
  },
  long: {
    read: (bytes, at) => bytes.readUInt32BE(at),
    skip: (_bytes, at) => at + 4,
    write: (value, into, at) => into.writeUInt32BE(value as number, at),
    size: () => 4,
    zero: 0,
  },
  longlong: {
    // Beyond 2^53 digits are lost, which no delivery tag reaches.
    read: (bytes, at) => bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4),
    skip: (_bytes, at) => at + 8,
    write: (value, into, at) => {
      into.writeUInt32BE(Math.floor((value as number) / 0x1_0000_0000), at);
      return into.writeUInt32BE((value as number) % 0x1_0000_0000, at + 4);
    },
    size: () => 8,
    zero: 0,
  },
  shortstr: {
    read: (bytes, at, end) => {
      // Two names that differ only in what is no UTF-8 would become the same string.
      if (!isUtf8(bytes.subarray(at + 1, end))) throw new MalformedError('Malformed UTF-8 in shortstr');
      return bytes.toString('utf8', at + 1, end);
    },
    skip: shortEnd,
    write: (value, into, at) => {
      const length = into.write(value as string, at + 1, 'utf8');
      into[at] = length;
      return at + 1 + length;
    },
    size: (value) => {
      const length = Buffer.byteLength(value as string);
      assert(length <= 255, 'a shortstr has at most 255 bytes');
      return 1 + length;
    },
    zero: '',
  },
  longstr: {
    read: (bytes, at, end) => bytes.subarray(at + 4, end),
    skip: longEnd,
    write: (value, into, at) => {
      const from = value as Buffer;
      into.writeUInt32BE(from.length, at);
      return at + 4 + from.copy(into, at + 4);
    },
    size: (value) => 4 + (value as Buffer).length,
    zero: Buffer.alloc(0),
  },
  table: {
    read: (bytes, at, end) => decodeFieldTable(bytes, at, end),
    skip: checkFieldTable,
    write: (value, into, at) => encodeFieldTable(value as FieldTable, into, at),
    size: (value) => fieldTableBytes(value as FieldTable),
    zero: {},
  },
};

/** Neighbouring bits share one octet, the first in the lowest place. */
function bitSteps(names: readonly string[]): { read: ReadStep; write: WriteStep; size: SizeStep } {
  return {
    read: (bytes, at, end, values) => {
      const octet = at < end ? bytes[at]! : 0;
      for (let place = 0; place < names.length; place++) {
        if (!names[place]!.startsWith('reserved')) values[names[place]!] = (octet & (1 << place)) !== 0;
      }
      return at + 1;
    },
    write: (into, at, values) => {
      let octet = 0;
      for (let place = 0; place < names.length; place++) if (values[names[place]!] === true) octet |= 1 << place;
      return into.writeUInt8(octet, at);
    },
    size: () => 1,
  };
}

function fieldSteps(name: string, kind: Exclude<FieldKind, 'bit'>): { read: ReadStep; write: WriteStep; size: SizeStep } {
  const codec = codecs[kind];
  const isReserved = name.startsWith('reserved');
  return {
    read: (bytes, at, end, values) => {
      const next = codec.skip(bytes, at, end);
      if (next <= end && !isReserved) values[name] = codec.read(bytes, at, next);
      return next;
    },
    write: (into, at, values) => codec.write(isReserved ? codec.zero : values[name], into, at),
    size: (values) => codec.size(isReserved ? codec.zero : values[name]),
  };
}

function compile(name: MethodName): Method {
  const shape = methods[name];
  const fields: readonly (readonly [string, FieldKind])[] = Object.entries(shape.fields);
  const steps: { read: ReadStep; write: WriteStep; size: SizeStep }[] = [];
  for (let index = 0; index < fields.length; index++) {
    const [field, kind] = fields[index]!;
    if (kind !== 'bit') {
      steps.push(fieldSteps(field, kind));
      continue;
    }
    const bits = [field];
    while (fields[index + 1]?.[1] === 'bit') bits.push(fields[++index]![0]);
    steps.push(bitSteps(bits));
  }
  return {
    name,
    classId: shape.class,
    methodId: shape.method,
    from: shape.from,
    readSteps: steps.map((step) => step.read),
    writeSteps: steps.map((step) => step.write),
    sizeSteps: steps.map((step) => step.size),
  };
}

for (const name of Object.keys(methods) as MethodName[]) {
  const method = compile(name);
  methodsByName.set(name, method);
  methodsById.set(method.classId * 0x10000 + method.methodId, method);
}
