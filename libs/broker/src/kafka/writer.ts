/**
 * Writes one message: a size, then Kafka's primitive types, into a block that is used again for the next one.
 *
 * Wire code: no I/O. Large record batches are not copied in: they are remembered where they belong, and `finish` hands the
 * message out as parts, in order, ready to be written to a socket. Keeps nothing between messages.
 */
const twoTo32 = 0x1_0000_0000;

/** Up to here a copy is cheaper than one more part for the socket. */
export const copiedRecordsBytesMax = 16_384;

/** A block that a large answer has stretched is not kept. */
const keptBlockBytesMax = 1024 * 1024;

interface Attachment {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export class Writer {
  bytes: Buffer;
  view: DataView;
  used = 0;
  private attachments: Attachment[] = [];
  private attachedBytes = 0;

  constructor(blockBytes = 65_536) {
    this.bytes = Buffer.allocUnsafeSlow(blockBytes);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Leaves room for the size; ends with `finish`. */
  begin(): void {
    if (this.bytes.length > keptBlockBytesMax) this.replaceBlock(65_536);
    this.used = 4;
    if (this.attachments.length > 0) this.attachments = [];
    this.attachedBytes = 0;
  }

  /** The message is one piece, and stands with its size in the first `used` bytes until the next one begins; false where it has parts. */
  finishInPlace(): boolean {
    if (this.attachments.length > 0) return false;
    this.view.setInt32(0, this.used - 4);
    return true;
  }

  /** The message with its size, in parts of its own. */
  finish(): readonly Uint8Array[] {
    this.view.setInt32(0, this.used - 4 + this.attachedBytes);
    const written = Buffer.allocUnsafe(this.used);
    this.bytes.copy(written, 0, 0, this.used);
    if (this.attachments.length === 0) return [written];
    const parts: Uint8Array[] = [];
    let from = 0;
    for (const { at, bytes } of this.attachments) {
      if (at > from) parts.push(written.subarray(from, at));
      parts.push(bytes);
      from = at;
    }
    if (this.used > from) parts.push(written.subarray(from));
    return parts;
  }

  /** Where the next `length` bytes go. Ask before you take hold of `bytes` or `view`: they may be new ones afterwards. */
  room(length: number): number {
    const at = this.used;
    if (at + length > this.bytes.length) this.grow(at + length);
    this.used = at + length;
    return at;
  }

  bool(value: boolean): void {
    const at = this.room(1);
    this.bytes[at] = value ? 1 : 0;
  }

  int8(value: number): void {
    const at = this.room(1);
    this.view.setInt8(at, value);
  }

  int16(value: number): void {
    const at = this.room(2);
    this.view.setInt16(at, value);
  }

  int32(value: number): void {
    const at = this.room(4);
    this.view.setInt32(at, value);
  }

  int64(value: number): void {
    const at = this.room(8);
    this.view.setInt32(at, Math.floor(value / twoTo32));
    this.view.setUint32(at + 4, value >>> 0);
    if (value < 0 || value >= twoTo32) this.view.setUint32(at + 4, ((value % twoTo32) + twoTo32) % twoTo32);
  }

  float64(value: number): void {
    const at = this.room(8);
    this.view.setFloat64(at, value);
  }

  uvarint(value: number): void {
    let at = this.room(5);
    let left = value;
    while (left >= 0x80) {
      this.bytes[at++] = (left % 0x80) | 0x80;
      left = Math.floor(left / 0x80);
    }
    this.bytes[at++] = left;
    this.used = at;
  }

  uuid(value: string): void {
    const at = this.room(16);
    if (this.bytes.write(value, at, 16, 'base64url') < 16) this.bytes.fill(0, at, at + 16);
  }

  /** The characters alone, without their length. */
  text(value: string, byteLength: number): void {
    const at = this.room(byteLength);
    this.bytes.write(value, at, byteLength, 'utf8');
  }

  /** The bytes alone, without their length; they are copied. */
  raw(value: Uint8Array): void {
    const at = this.room(value.length);
    this.bytes.set(value, at);
  }

  /** Bytes that are not copied if they are many: they must not change until the message was sent. */
  attach(value: Uint8Array): void {
    if (value.length <= copiedRecordsBytesMax) {
      this.raw(value);
      return;
    }
    this.attachments.push({ at: this.used, bytes: value });
    this.attachedBytes += value.length;
  }

  private grow(needed: number): void {
    const old = this.bytes;
    this.replaceBlock(Math.max(needed, old.length * 2));
    old.copy(this.bytes, 0, 0, this.used);
  }

  private replaceBlock(length: number): void {
    this.bytes = Buffer.allocUnsafeSlow(length);
    this.view = new DataView(this.bytes.buffer);
  }
}
