import { Cursor, MalformedError } from './cursor.js';

/**
 * Reads the records of uncompressed batches of version 2: those that the broker wrote for itself. Batches of clients are never
 * opened here. Wire code: no I/O.
 */
export interface BatchRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

const headBytes = 61;
const codecBits = 0x07;
const controlBit = 0x20;

/** Every record in `bytes`, which holds whole batches; control batches are passed over. Throws MalformedError. */
export function* recordsOf(bytes: Buffer): Generator<BatchRecord> {
  let at = 0;
  while (at + headBytes <= bytes.length) {
    const end = at + 12 + bytes.readInt32BE(at + 8);
    const attributes = bytes.readInt16BE(at + 21);
    if ((attributes & codecBits) !== 0) throw new MalformedError(`the batch at offset ${Number(bytes.readBigInt64BE(at))} is compressed`);
    if ((attributes & controlBit) === 0) yield* recordsOfBatch(bytes.subarray(at, end));
    at = end;
  }
}

function* recordsOfBatch(batch: Buffer): Generator<BatchRecord> {
  const baseOffset = Number(batch.readBigInt64BE(0));
  const baseTimestamp = Number(batch.readBigInt64BE(27));
  const cursor = Cursor.over(batch);
  cursor.at = headBytes;
  for (let count = batch.readInt32BE(57); count > 0; count--) {
    const end = zigzag(cursor) + cursor.at;
    cursor.take(1);
    const timestamp = baseTimestamp + zigzag(cursor);
    const offset = baseOffset + zigzag(cursor);
    const key = run(cursor);
    yield { offset, timestamp, key, value: run(cursor) };
    if (end > batch.length) throw new MalformedError(`a record at offset ${offset} is longer than its batch`);
    cursor.at = end;
  }
}

function run(cursor: Cursor): Buffer | null {
  const length = zigzag(cursor);
  return length < 0 ? null : cursor.slice(length);
}

/** A signed variable-length number of up to 64 bits, exact below 2^53. */
function zigzag(cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = cursor.bytes[cursor.take(1)]!;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
  throw new MalformedError(`a variable-length number at byte ${cursor.at - 10} is longer than 10 bytes`);
}
