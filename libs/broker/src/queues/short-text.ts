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

/** Names that come again and again, by a hash of their bytes. Small: headers have few names, and whoever sends many pays what Node takes. */
const knownNames = new Array<string>(1024).fill('');

/** The text of a name such as that of a header, which is not made anew when it was met a moment ago. */
export function nameText(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length > shortCharactersMax) return bytes.toString('utf8', start, end);
  let hash = length;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
  const slot = (hash ^ (hash >>> 15)) & (knownNames.length - 1);
  const known = knownNames[slot]!;
  if (known.length === length && isText(known, bytes, start)) return known;
  const text = bytes.toString('utf8', start, end);
  if (text.length === length) knownNames[slot] = text;
  return text;
}

/** Whether all bytes are ASCII, so that each is a character; asked of short texts only. */
export function isShortAscii(bytes: Buffer, start: number, end: number): boolean {
  if (end - start > shortCharactersMax) return false;
  for (let at = start; at < end; at++) if (bytes[at]! > 0x7f) return false;
  return true;
}

/** An ASCII text is the same as its bytes; any other one differs from them somewhere. */
function isText(text: string, bytes: Buffer, start: number): boolean {
  for (let index = 0; index < text.length; index++)
    if (text.charCodeAt(index) !== bytes[start + index]! || bytes[start + index]! > 0x7f) return false;
  return true;
}
