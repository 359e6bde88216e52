import { KnownTexts } from './known-texts.js';

/**
 * Short texts, which nearly always are ASCII, to bytes and back. Wire code: no I/O.
 *
 * Node's own functions cost 60 to 100 ns a call before they touch a byte, and a message with the headers of an event has forty texts. A loop
 * over a short text costs a nanosecond per character; what is long, or not ASCII, goes to Node.
 */
const shortCharactersMax = 64;

/** Bytes of the text in UTF-8. */
export function textBytes(text: string): number {
  const { length } = text;
  if (length > shortCharactersMax) return Buffer.byteLength(text);
  for (let index = 0; index < length; index++) if (text.charCodeAt(index) > 0x7f) return Buffer.byteLength(text);
  return length;
}

/** Bytes of the text in UTF-8 at most, with the one for its length; infinite where there may be more than the 255 that fit. */
export function shortStringRoom({ length }: string): number {
  return length > 85 ? Infinity : 1 + 3 * length;
}

/** Writes the text as UTF-8, for which there must be room; returns the offset behind it. */
export function writeText(text: string, into: Buffer, at: number): number {
  const { length } = text;
  if (length > shortCharactersMax) return at + into.write(text, at, 'utf8');
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return at + into.write(text, at, 'utf8');
    into[at + index] = code;
  }
  return at + length;
}

const knownTexts = new KnownTexts(1024);
/** Apart, so that texts which never come again do not push them out. */
const knownNames = new KnownTexts(256);

/** A short ASCII text, which is not made anew when it was met a moment ago; undefined for any other. */
export function shortText(bytes: Buffer, start: number, end: number): string | undefined {
  return knownTexts.text(bytes, start, end);
}

/** The name of a field, whatever its length. */
export function nameText(bytes: Buffer, start: number, end: number): string {
  return knownNames.text(bytes, start, end) ?? bytes.toString('utf8', start, end);
}
