import { MalformedError } from './cursor.js';

/**
 * Cuts what a socket delivers into requests: `size i32 | request`.
 *
 * A request that lies whole in one chunk is handed out as it came; one that spans several is gathered in a buffer of its own as
 * its chunks arrive, so that each byte is copied once, while it is warm. What a stranger announces is not allocated before it
 * comes. Wire code: no I/O; nothing survives the connection.
 */
const firstBlockBytes = 1024 * 1024;

export class RequestFrames {
  private chunks: Buffer[] = [];
  /** Where the first chunk was read to. */
  private at = 0;
  /** The request that is being gathered. */
  private gathered: Buffer | undefined;
  private gatheredBytes = 0;
  private size = 0;

  constructor(private readonly sizeMax: () => number) {}

  /** Whether a request has begun to come and is not whole. */
  get isInside(): boolean {
    return this.gathered !== undefined || this.chunks.length > 0;
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
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
    if (end <= first.length) {
      if (end === first.length) this.drop();
      else this.at = end;
      return first.subarray(start, end);
    }
    this.size = size;
    this.gathered = Buffer.allocUnsafeSlow(Math.min(size, firstBlockBytes));
    this.gatheredBytes = 0;
    this.at = start;
    return this.gather();
  }

  private gather(): Buffer | undefined {
    for (let chunk = this.chunks[0]; chunk !== undefined; chunk = this.chunks[0]) {
      const length = Math.min(chunk.length - this.at, this.size - this.gatheredBytes);
      this.makeRoom(length);
      chunk.copy(this.gathered!, this.gatheredBytes, this.at, this.at + length);
      this.gatheredBytes += length;
      this.at += length;
      if (this.at === chunk.length) this.drop();
      if (this.gatheredBytes === this.size) {
        const whole = this.gathered!;
        this.gathered = undefined;
        return whole;
      }
    }
    return undefined;
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
