import { crc32 } from '@dovecote/ground';

/**
 * The bytes of the journal: batches of records, each batch written and believed as a whole.
 *
 *   batch   | magic u32 | length u32 | crc u32 | oldest file u32 | sequence f64 | durable f64 | record … |
 *   record  | length u32 | bytes |
 *
 * `length` counts the whole batch; `crc` is the CRC-32 of everything behind it, begun with the salt of the file: so bytes that a
 * publisher sends are never taken for a batch, whatever they look like. `sequence` grows by one from batch to batch through all
 * files. `durable` is a sequence up to which all was known to be synced in the files from `oldest file` on: a bad batch there is
 * damage, one behind it is the torn tail of a crash. Files below `oldest file` are not needed any more. All numbers are big-endian.
 */
export const batchHeadBytes = 32;
export const recordHeadBytes = 4;
export const batchMagic = 0xd04eba7c;

export interface BatchHead {
  readonly length: number;
  readonly oldestFile: number;
  readonly sequence: number;
  readonly durable: number;
}

/** Writes the head of the batch that fills `bytes[start..end)`; the records must be in place. */
export function sealBatch(bytes: Buffer, start: number, end: number, head: Omit<BatchHead, 'length'>, salt: number): void {
  bytes.writeUInt32BE(batchMagic, start);
  bytes.writeUInt32BE(end - start, start + 4);
  bytes.writeUInt32BE(head.oldestFile, start + 12);
  bytes.writeDoubleBE(head.sequence, start + 16);
  bytes.writeDoubleBE(head.durable, start + 24);
  bytes.writeUInt32BE(crc32(bytes.subarray(start + 12, end), salt), start + 8);
}

/** The length that a batch at `start` claims to have, or 0 where none begins. Needs 8 bytes. */
export function claimedLength(bytes: Buffer, start: number): number {
  if (bytes.readUInt32BE(start) !== batchMagic) return 0;
  const length = bytes.readUInt32BE(start + 4);
  return length < batchHeadBytes ? 0 : length;
}

/** The head of the whole batch at `start`, or undefined where its bytes are not what was sealed for the file with this salt. */
export function readBatch(bytes: Buffer, start: number, length: number, salt: number): BatchHead | undefined {
  if (crc32(bytes.subarray(start + 12, start + length), salt) !== bytes.readUInt32BE(start + 8)) return undefined;
  return {
    length,
    oldestFile: bytes.readUInt32BE(start + 12),
    sequence: bytes.readDoubleBE(start + 16),
    durable: bytes.readDoubleBE(start + 24),
  };
}

/** Whether the first `length` bytes are batches sealed with this salt, one behind the other, and nothing else. */
export function areBatchesWhole(bytes: Buffer, length: number, salt: number): boolean {
  let at = 0;
  while (at < length) {
    const batchLength = at + batchHeadBytes > length ? 0 : claimedLength(bytes, at);
    if (batchLength === 0 || at + batchLength > length || readBatch(bytes, at, batchLength, salt) === undefined) return false;
    at += batchLength;
  }
  return true;
}

/** Calls `visit` with the place of every record of a batch that `readBatch` believed. */
export function forEachRecord(bytes: Buffer, start: number, length: number, visit: (offset: number, length: number) => void): void {
  const end = start + length;
  let at = start + batchHeadBytes;
  while (at < end) {
    const recordLength = bytes.readUInt32BE(at);
    visit(at + recordHeadBytes, recordLength);
    at += recordHeadBytes + recordLength;
  }
}
