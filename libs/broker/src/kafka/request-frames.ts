import { Cursor, MalformedError } from './cursor.js';

/**
 * Cuts what a socket delivers into requests: `size i32 | request`.
 *
 * A socket reads into the memory that `room` names: into one block for all connections, which is used again for every read, or, while a large request is coming, straight
 * into a buffer of its own, so that its bytes are not copied again until they are written. A small request is looked at where it lies (`isLent`); whoever wants to
 * keep it copies it. What a stranger announces is not allocated before it comes. Wire code: no I/O; nothing survives the connection.
 */
const firstBlockBytes = 1024 * 1024;
/** Requests up to here may be lent; of larger ones something is kept as it came. */
const lentBytesMax = 8 * 1024;
/** Read beside a large request, in the hope of its head alone. */
const headBlockBytes = 4 * 1024;
const largeBytesMin = 32 * 1024;

/** What it holds is over when the next socket is read: everything that outlives the turn is copied out of it. */
const commonBlock = Buffer.allocUnsafeSlow(64 * 1024);
const commonView = new DataView(commonBlock.buffer, commonBlock.byteOffset, commonBlock.length);
const commonHeadBlock = commonBlock.subarray(0, headBlockBytes);

export class RequestFrames {
  private chunks: Buffer[] = [];
  /** Where the first chunk was read to. */
  private at = 0;
  /** The request that is being gathered. */
  private gathered: Buffer | undefined;
  private gatheredBytes = 0;
  private size = 0;
  private wasLarge = false;
  private roomIsGathered = false;

  constructor(private readonly sizeMax: () => number) {}

  /** Whether a request has begun to come and is not whole. */
  get isInside(): boolean {
    return this.gathered !== undefined || this.chunks.length > 0;
  }

  /** Bytes that belong to us from now on. */
  push(chunk: Buffer): void {
    this.chunks.push(chunk);
  }

  /** Where the next bytes may go; `filled` says how many did. */
  room(): Buffer {
    this.roomIsGathered = this.gathered !== undefined && this.chunks.length === 0;
    if (!this.roomIsGathered) return this.wasLarge ? commonHeadBlock : commonBlock;
    this.makeRoom(1);
    return this.gathered!.subarray(this.gatheredBytes, this.size);
  }

  /** What stood there before may be over: `settle` before the next socket is read. */
  filled(length: number): void {
    if (this.roomIsGathered) this.gatheredBytes += length;
    else this.chunks.push(commonBlock.subarray(0, length));
  }

  /** Copies what is left of lent bytes. */
  settle(): void {
    const { chunks } = this;
    for (let n = 0; n < chunks.length; n++) {
      const chunk = chunks[n]!;
      if (!isLent(chunk)) continue;
      chunks[n] = Buffer.from(n === 0 ? chunk.subarray(this.at) : chunk);
      if (n === 0) this.at = 0;
    }
  }

  /** The next whole request without its size, or undefined. Throws MalformedError where the size cannot be one. */
  next(): Buffer | undefined {
    if (this.gathered !== undefined) return this.gather();
    const [first] = this.chunks;
    if (first === undefined) return undefined;
    const start = this.at + 4;
    if (first.length < start) return this.joinHead(first);
    const size = first.readInt32BE(this.at);
    if (size < 0 || size > this.sizeMax()) {
      throw new MalformedError(`a request announces ${size} bytes, where at most ${this.sizeMax()} are taken: closed`);
    }
    const end = start + size;
    if (end <= first.length && (size <= lentBytesMax || !isLent(first))) {
      if (end === first.length) this.drop();
      else this.at = end;
      this.wasLarge = false;
      return first.subarray(start, end);
    }
    this.wasLarge = size >= largeBytesMin;
    this.size = size;
    this.gathered = Buffer.allocUnsafeSlow(Math.min(size, firstBlockBytes));
    this.gatheredBytes = 0;
    this.at = start;
    return this.gather();
  }

  private gather(): Buffer | undefined {
    for (let chunk = this.chunks[0]; chunk !== undefined && this.gatheredBytes < this.size; chunk = this.chunks[0]) {
      const length = Math.min(chunk.length - this.at, this.size - this.gatheredBytes);
      this.makeRoom(length);
      chunk.copy(this.gathered!, this.gatheredBytes, this.at, this.at + length);
      this.gatheredBytes += length;
      this.at += length;
      if (this.at === chunk.length) this.drop();
    }
    if (this.gatheredBytes < this.size) return undefined;
    const whole = this.gathered!;
    this.gathered = undefined;
    return whole;
  }

  private makeRoom(length: number): void {
    const old = this.gathered!;
    const needed = this.gatheredBytes + length;
    if (needed <= old.length) return;
    this.gathered = Buffer.allocUnsafeSlow(Math.min(this.size, Math.max(needed, old.length * 2)));
    old.copy(this.gathered, 0, 0, this.gatheredBytes);
  }

  /** The four bytes of a size lie in two chunks or more. */
  private joinHead(first: Buffer): Buffer | undefined {
    if (this.chunks.length === 1) return undefined;
    this.chunks.splice(0, 2, Buffer.concat([first.subarray(this.at), this.chunks[1]!]));
    this.at = 0;
    return this.next();
  }

  private drop(): void {
    this.chunks.shift();
    this.at = 0;
  }
}

/** Over a request. Of one that is lent it goes over the block in which it lies, of which there is one view for all. */
export function cursorOver(frame: Buffer): Cursor {
  if (!isLent(frame)) return Cursor.over(frame);
  const start = frame.byteOffset - commonBlock.byteOffset;
  return new Cursor(commonBlock, commonView, start, start + frame.length);
}

/** Whether these bytes are over in the next turn. */
export function isLent(bytes: Buffer): boolean {
  return bytes.buffer === commonBlock.buffer;
}
