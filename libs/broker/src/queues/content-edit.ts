import { propertiesStart, routingEnd } from './content.js';
import { fieldEnd, findField } from './field-table.js';
import { findProperty } from './properties.js';

/**
 * The few changes that a broker makes to a message before it stands in a queue. Each returns a new image and leaves the old one
 * as it is, because that lies in a socket's chunk. See content.ts for the bytes.
 */

/** The image with the property bytes `[at, at + removed)` replaced by `inserted`. */
function replaced(bytes: Buffer, start: number, length: number, at: number, removed: number, inserted: Buffer): Buffer {
  const image = Buffer.concat([bytes.subarray(start, at), inserted, bytes.subarray(at + removed, start + length)]);
  const sizeAt = routingEnd(image, 0) + 5;
  image.writeUInt32BE(image.readUInt32BE(sizeAt) - removed + inserted.length, sizeAt);
  return image;
}

/** The image without the header `name`; undefined where it has none. */
export function withoutHeader(bytes: Buffer, start: number, length: number, name: string): Buffer | undefined {
  const tableAt = findProperty(bytes, propertiesStart(bytes, start), 'headers');
  const tagAt = tableAt < 0 ? -1 : findField(bytes, tableAt, name);
  if (tagAt < 0) return undefined;
  const tableBytes = bytes.readUInt32BE(tableAt);
  const fieldAt = tagAt - 1 - name.length;
  const removed = fieldEnd(bytes, tagAt, tableAt + 4 + tableBytes) - fieldAt;
  const image = replaced(bytes, start, length, fieldAt, removed, Buffer.alloc(0));
  image.writeUInt32BE(tableBytes - removed, tableAt - start);
  return image;
}

/** The image with another reply-to; it must have one. */
export function withReplyTo(bytes: Buffer, start: number, length: number, replyTo: string): Buffer {
  const at = findProperty(bytes, propertiesStart(bytes, start), 'replyTo');
  const text = Buffer.from(replyTo);
  return replaced(bytes, start, length, at, 1 + bytes[at]!, Buffer.concat([Buffer.from([text.length]), text]));
}

/** The image with the header `name`, which it must have, as a 64-bit number. */
export function withInteger(bytes: Buffer, start: number, length: number, name: string, value: number): Buffer {
  const tableAt = findProperty(bytes, propertiesStart(bytes, start), 'headers');
  const tableBytes = bytes.readUInt32BE(tableAt);
  const tagAt = findField(bytes, tableAt, name);
  const removed = fieldEnd(bytes, tagAt, tableAt + 4 + tableBytes) - tagAt;
  const field = Buffer.alloc(9, 'l');
  field.writeBigInt64BE(BigInt(value), 1);
  const image = replaced(bytes, start, length, tagAt, removed, field);
  image.writeUInt32BE(tableBytes - removed + field.length, tableAt - start);
  return image;
}
