/**
 * The head of a record batch, version 2, all numbers big-endian:
 *
 *    0  base offset i64         given by the broker           27  base timestamp i64       delete horizon where bit 6 is set
 *    8  length i32              of what follows               35  maximum timestamp i64
 *   12  leader epoch i32        given by the broker           43  producer id i64          -1: none
 *   16  magic i8 = 2                                          51  producer epoch i16
 *   17  CRC-32C u32             of everything from 21 on      53  base sequence i32
 *   21  attributes i16          see below                     57  count of records i32
 *   23  last offset delta i32                                 61  records, compressed or not
 *
 * What the broker gives lies outside of the sum, so a batch gets its offsets in place. Pure arithmetic; anyone may call it.
 */
export const batchHeadBytes = 61;
/** Base offset and length: what a batch has beside its `length`. */
export const batchFrameBytes = 12;

export const codecMask = 0x07;
export const logAppendTimeBit = 0x08;
export const transactionalBit = 0x10;
export const controlBit = 0x20;
export const deleteHorizonBit = 0x40;

/** The head of one batch as plain numbers. One object is read into again and again. */
export class BatchHead {
  baseOffset = 0;
  /** Of the whole batch. */
  bytes = 0;
  leaderEpoch = 0;
  magic = 0;
  sum = 0;
  attributes = 0;
  lastOffsetDelta = 0;
  baseTimestamp = 0;
  maxTimestamp = 0;
  producerId = 0;
  producerEpoch = 0;
  baseSequence = 0;
  count = 0;

  /** Needs `batchHeadBytes` bytes at `at`. */
  read(from: Buffer, at: number): this {
    this.baseOffset = readInt64(from, at);
    this.bytes = from.readInt32BE(at + 8) + batchFrameBytes;
    this.leaderEpoch = from.readInt32BE(at + 12);
    this.magic = from[at + 16]!;
    this.sum = from.readUInt32BE(at + 17);
    this.attributes = from.readUInt16BE(at + 21);
    this.lastOffsetDelta = from.readInt32BE(at + 23);
    this.baseTimestamp = readInt64(from, at + 27);
    this.maxTimestamp = readInt64(from, at + 35);
    this.producerId = readInt64(from, at + 43);
    this.producerEpoch = from.readInt16BE(at + 51);
    this.baseSequence = from.readInt32BE(at + 53);
    this.count = from.readInt32BE(at + 57);
    return this;
  }

  get lastOffset(): number {
    return this.baseOffset + this.lastOffsetDelta;
  }

  get nextOffset(): number {
    return this.baseOffset + this.lastOffsetDelta + 1;
  }

  get isTransactional(): boolean {
    return (this.attributes & transactionalBit) !== 0;
  }

  get isControl(): boolean {
    return (this.attributes & controlBit) !== 0;
  }

  get hasLogAppendTime(): boolean {
    return (this.attributes & logAppendTimeBit) !== 0;
  }

  /** -1: the batch has none. */
  get deleteHorizonMs(): number {
    return (this.attributes & deleteHorizonBit) === 0 ? -1 : this.baseTimestamp;
  }

  get codec(): number {
    return this.attributes & codecMask;
  }

  get lastSequence(): number {
    return sequenceAfter(this.baseSequence, this.lastOffsetDelta);
  }
}

/** Sequences wrap: after 2^31 - 1 comes 0. */
export function sequenceAfter(sequence: number, steps: number): number {
  const after = sequence + steps;
  return sequence >= 0 && after > 0x7fffffff ? after - 0x80000000 : after;
}

export function batchBytesAt(from: Buffer, at: number): number {
  return from.readInt32BE(at + 8) + batchFrameBytes;
}

export function baseOffsetAt(from: Buffer, at: number): number {
  return readInt64(from, at);
}

export function lastOffsetAt(from: Buffer, at: number): number {
  return readInt64(from, at) + from.readInt32BE(at + 23);
}

/** Exact within +-2^53; what lies outside becomes the nearest double, which no limit lets through. */
export function readInt64(from: Buffer, at: number): number {
  return from.readInt32BE(at) * 0x1_0000_0000 + from.readUInt32BE(at + 4);
}

export function writeInt64(into: Buffer, value: number, at: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  into.writeInt32BE(high, at);
  into.writeUInt32BE(value - high * 0x1_0000_0000, at + 4);
}
