/**
 * Copies bytes from one buffer to another where both have a DataView at hand: the broker's message-sized memcpy.
 *
 * `Buffer.copy` costs 62 ns before it moves a byte (Node 20: it makes a view of the source first); this loop moves 100 bytes in
 * 21 ns, 200 in 34, 400 in 57, and is overtaken at about 450. It compiles to one load and one store per word and needs no alignment.
 * 32-bit integers and not doubles, which would rewrite some bit patterns of NaN on the way.
 */
export const smallCopyBytesMax = 448;

/** A view of exactly the bytes of `bytes`. Make it once per buffer, not once per message. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Copies `from[start..start + length)` to `into[at..)`; the views are of the same bytes. The ranges must not overlap. */
export function copyBytes(
  into: Buffer,
  intoView: DataView,
  at: number,
  from: Buffer,
  fromView: DataView,
  start: number,
  length: number,
): void {
  if (length > smallCopyBytesMax) {
    from.copy(into, at, start, start + length);
    return;
  }
  const end = start + length;
  while (start <= end - 16) {
    intoView.setInt32(at, fromView.getInt32(start));
    intoView.setInt32(at + 4, fromView.getInt32(start + 4));
    intoView.setInt32(at + 8, fromView.getInt32(start + 8));
    intoView.setInt32(at + 12, fromView.getInt32(start + 12));
    start += 16;
    at += 16;
  }
  while (start <= end - 4) {
    intoView.setInt32(at, fromView.getInt32(start));
    start += 4;
    at += 4;
  }
  while (start < end) into[at++] = from[start++]!;
}

/** Whether `length` bytes are the same in both. */
export function sameBytes(
  one: Buffer,
  oneView: DataView,
  at: number,
  other: Buffer,
  otherView: DataView,
  start: number,
  length: number,
): boolean {
  const end = start + length;
  while (start <= end - 4) {
    if (oneView.getInt32(at) !== otherView.getInt32(start)) return false;
    start += 4;
    at += 4;
  }
  while (start < end) if (one[at++] !== other[start++]) return false;
  return true;
}
