/**
 * Short ASCII texts that come again and again, by a hash of their bytes, so that they are not made anew each time: names of headers, types, times. As many
 * as there are slots, and a newer one takes the slot of an older: whoever sends others pays what Node takes. Wire code: no I/O.
 */
const textBytesMax = 64;
/** So many bytes at its end, and its length, tell most texts from each other. */
const hashedBytes = 8;

export class KnownTexts {
  private readonly texts: string[];

  constructor(private readonly slots: 256 | 1024) {
    this.texts = new Array<string>(slots).fill('');
  }

  /** The text of these bytes; undefined for one that is longer than 64 bytes or not ASCII. */
  text(bytes: Buffer, start: number, end: number): string | undefined {
    const length = end - start;
    if (length > textBytesMax) return undefined;
    let hash = length;
    for (let at = length > hashedBytes ? end - hashedBytes : start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
    const slot = (hash ^ (hash >>> 15)) & (this.slots - 1);
    const known = this.texts[slot]!;
    if (known.length === length && isText(known, bytes, start)) return known;
    if (!isAscii(bytes, start, end)) return undefined;
    const text = bytes.toString('latin1', start, end);
    this.texts[slot] = text;
    return text;
  }
}

/** Of an ASCII text: its characters are its bytes. */
function isText(text: string, bytes: Buffer, start: number): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) !== bytes[start + index]!) return false;
  return true;
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at]! > 0x7f) return false;
  return true;
}
