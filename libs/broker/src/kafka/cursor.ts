/**
 * Reads Kafka's primitive types from the bytes of one request, front to back.
 *
 * Wire code: no I/O, keeps nothing. Every read is bounded by the end of the request: what a stranger sends can be refused, never
 * followed. Offsets, timestamps and producer ids are JavaScript numbers: exact up to 2^53, which no log reaches.
 */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

const twoTo32 = 0x1_0000_0000;

export class Cursor {
  at: number;

  constructor(
    readonly bytes: Buffer,
    readonly view: DataView,
    /** Where the request begins. */
    private readonly start: number,
    readonly end: number,
  ) {
    this.at = start;
  }

  static over(bytes: Buffer): Cursor {
    return new Cursor(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  }

  /** How far it has come, from the beginning of the request. */
  get place(): number {
    return this.at - this.start;
  }

  get left(): number {
    return this.end - this.at;
  }

  /** Where the next `length` bytes begin; they are passed over. Throws MalformedError where there are fewer. */
  take(length: number): number {
    const { at } = this;
    if (length < 0 || length > this.end - at) {
      throw new MalformedError(
        `the request ends ${length - (this.end - at)} bytes too early: ${length} bytes were announced at byte ${at - this.start}`,
      );
    }
    this.at = at + length;
    return at;
  }

  bool(): boolean {
    return this.bytes[this.take(1)] !== 0;
  }

  int8(): number {
    return this.view.getInt8(this.take(1));
  }

  int16(): number {
    return this.view.getInt16(this.take(2));
  }

  uint16(): number {
    return this.view.getUint16(this.take(2));
  }

  int32(): number {
    return this.view.getInt32(this.take(4));
  }

  int64(): number {
    const at = this.take(8);
    return this.view.getInt32(at) * twoTo32 + this.view.getUint32(at + 4);
  }

  float64(): number {
    return this.view.getFloat64(this.take(8));
  }

  /** An unsigned variable-length number of at most 32 bits. */
  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.take(1)]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MalformedError(`a variable-length number at byte ${this.at - this.start - 5} is longer than 5 bytes`);
  }

  /** As Kafka prints it: 22 characters of base64url. */
  uuid(): string {
    const at = this.take(16);
    return this.bytes.toString('base64url', at, at + 16);
  }

  string(length: number): string {
    const at = this.take(length);
    return this.bytes.toString('utf8', at, at + length);
  }

  /** The bytes themselves, not a copy. */
  slice(length: number): Buffer {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** Passes over fields that are not known: they are there for somebody newer. */
  skipTags(): void {
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint();
      this.take(this.uvarint());
    }
  }
}
