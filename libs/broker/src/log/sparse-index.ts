import { readInt64, writeInt64 } from './record-batch.js';

/**
 * The two sparse indexes of a segment, in memory as they are in Kafka's files, one entry about every 4 KiB of batches:
 *
 *   .index      | last offset of a batch u32, from the segment's base | where the batch begins u32 | …
 *   .timeindex  | largest timestamp so far i64 | last offset of the batch that has it u32, from the base | …
 *
 * Both only grow, and grow in value. They are hints: losing one costs a scan, never data. `recovery.ts` rebuilds them.
 */
export class OffsetIndex {
  static readonly entryBytes = 8;

  constructor(
    private bytes: Buffer = Buffer.alloc(0),
    private used = bytes.length,
  ) {}

  get length(): number {
    return this.used / OffsetIndex.entryBytes;
  }

  /** Of the last entry; -1 where there is none. */
  get lastOffset(): number {
    return this.used === 0 ? -1 : this.offsetAt(this.length - 1);
  }

  get lastPosition(): number {
    return this.used === 0 ? 0 : this.positionAt(this.length - 1);
  }

  offsetAt(entry: number): number {
    return this.bytes.readUInt32BE(entry * 8);
  }

  positionAt(entry: number): number {
    return this.bytes.readUInt32BE(entry * 8 + 4);
  }

  append(offset: number, position: number): void {
    this.bytes = withRoom(this.bytes, this.used, 8);
    this.bytes.writeUInt32BE(offset, this.used);
    this.bytes.writeUInt32BE(position, this.used + 4);
    this.used += 8;
  }

  /** The entry from which on to look for `offset` (from the base): its batch ends at or before it. -1: from the beginning. */
  lookUp(offset: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsetAt(middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Takes away entries at or behind `position`. */
  cutPosition(position: number): void {
    while (this.used > 0 && this.lastPosition >= position) this.used -= 8;
  }

  /** Takes away everything from the first entry on that does not grow or lies outside of the file; false where there was such an entry. */
  keepSane(logBytes: number): boolean {
    let sane = 0;
    for (const count = Math.floor(this.used / 8); sane < count; sane++) {
      const position = this.positionAt(sane);
      if (position >= logBytes) break;
      if (sane > 0 && (this.offsetAt(sane) <= this.offsetAt(sane - 1) || position <= this.positionAt(sane - 1))) break;
    }
    const isSane = sane * 8 === this.used;
    this.used = sane * 8;
    return isSane;
  }

  /** The entries from the `from`th byte on, as they stand in the file. */
  encoded(from = 0): Buffer {
    return this.bytes.subarray(from, this.used);
  }

  get byteLength(): number {
    return this.used;
  }
}

export class TimeIndex {
  static readonly entryBytes = 12;

  constructor(
    private bytes: Buffer = Buffer.alloc(0),
    private used = bytes.length,
  ) {}

  get length(): number {
    return this.used / TimeIndex.entryBytes;
  }

  get lastTimestamp(): number {
    return this.used === 0 ? -1 : this.timestampAt(this.length - 1);
  }

  get lastOffset(): number {
    return this.used === 0 ? -1 : this.offsetAt(this.length - 1);
  }

  timestampAt(entry: number): number {
    return readInt64(this.bytes, entry * 12);
  }

  offsetAt(entry: number): number {
    return this.bytes.readUInt32BE(entry * 12 + 8);
  }

  /** Only where the timestamp is larger than the last one. */
  appendIfLater(timestamp: number, offset: number): void {
    if (timestamp <= this.lastTimestamp) return;
    this.bytes = withRoom(this.bytes, this.used, 12);
    writeInt64(this.bytes, timestamp, this.used);
    this.bytes.writeUInt32BE(offset, this.used + 8);
    this.used += 12;
  }

  /** From which offset (from the base) on records with `timestamp` or later may be found. */
  lookUp(timestamp: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timestampAt(middle) < timestamp) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : this.offsetAt(low - 1);
  }

  /** Takes away entries behind `offset`. */
  cutOffset(offset: number): void {
    while (this.used > 0 && this.lastOffset > offset) this.used -= 12;
  }

  keepSane(lastOffset: number): boolean {
    let sane = 0;
    for (const count = Math.floor(this.used / 12); sane < count; sane++) {
      if (this.offsetAt(sane) > lastOffset) break;
      if (sane > 0 && (this.timestampAt(sane) <= this.timestampAt(sane - 1) || this.offsetAt(sane) < this.offsetAt(sane - 1))) break;
    }
    const isSane = sane * 12 === this.used;
    this.used = sane * 12;
    return isSane;
  }

  encoded(from = 0): Buffer {
    return this.bytes.subarray(from, this.used);
  }

  get byteLength(): number {
    return this.used;
  }
}

function withRoom(bytes: Buffer, used: number, needed: number): Buffer {
  if (used + needed <= bytes.length) return bytes;
  const larger = Buffer.alloc(Math.max(128, bytes.length * 2));
  bytes.copy(larger, 0, 0, used);
  return larger;
}
