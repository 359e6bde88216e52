import type { Cursor } from './cursor.js';

/**
 * Texts that one client sends over and over, the names of its topics and its own: found by their bytes, they need not be made again for each request, and are strings whose hash is
 * known. A text is remembered in one of a few places, and the one that was there is forgotten.
 */
const places = 8;
const textBytesMax = 64;

export class RecentTexts {
  private readonly bytes: (Buffer | undefined)[] = [];
  private readonly texts: string[] = [];

  /** The text of `length` bytes at which the cursor stands, which is passed over. Throws MalformedError. */
  read(cursor: Cursor, length: number): string {
    if (length > textBytesMax || length === 0) return cursor.string(length);
    const at = cursor.take(length);
    const { bytes } = cursor;
    const place = (length + bytes[at + length - 1]!) % places;
    const known = this.bytes[place];
    if (known !== undefined && known.length === length && isAt(bytes, at, known)) return this.texts[place]!;
    const text = bytes.toString('utf8', at, at + length);
    this.bytes[place] = Buffer.from(bytes.subarray(at, at + length));
    this.texts[place] = text;
    return text;
  }
}

function isAt(bytes: Buffer, at: number, wanted: Buffer): boolean {
  for (let n = wanted.length - 1; n >= 0; n--) if (bytes[at + n] !== wanted[n]) return false;
  return true;
}
