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

/** Texts that come again and again, by a hash of their bytes: names of headers, types, times. Small: whoever sends others pays what Node takes. */
const knownTexts = new Array<string>(1024).fill('');
/** So many bytes at its end, and its length, tell most texts from each other. */
const hashedBytes = 8;

/** A short ASCII text, which is not made anew when it was met a moment ago; undefined for any other. */
export function shortText(bytes: Buffer, start: number, end: number): string | undefined {
  const length = end - start;
  if (length > shortCharactersMax) return undefined;
  let hash = length;
  for (let at = length > hashedBytes ? end - hashedBytes : start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
  const slot = (hash ^ (hash >>> 15)) & (knownTexts.length - 1);
  const known = knownTexts[slot]!;
  if (known.length === length && isText(known, bytes, start)) return known;
  if (!isAscii(bytes, start, end)) return undefined;
  const text = bytes.toString('latin1', start, end);
  knownTexts[slot] = text;
  return text;
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at]! > 0x7f) return false;
  return true;
}

/** An ASCII text is the same as its bytes; any other one differs from them somewhere. */
function isText(text: string, bytes: Buffer, start: number): boolean {
  for (let index = 0; index < text.length; index++)
    if (text.charCodeAt(index) !== bytes[start + index]! || bytes[start + index]! > 0x7f) return false;
  return true;
}
