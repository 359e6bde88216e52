import { propertiesStart, routingEnd } from './content.js';
import { fieldEnd, findField } from './field-table.js';
import { findProperty, forEachProperty, propertyFlags } from './properties.js';

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

/** The image with the header `name` as a 64-bit number: in the place of the one that it has, or as the last one. */
export function withInteger(bytes: Buffer, start: number, length: number, name: string, value: number): Buffer {
  const field = Buffer.alloc(1 + name.length + 9);
  field[0] = name.length;
  field.write(name, 1, 'latin1');
  field[1 + name.length] = 'l'.charCodeAt(0);
  field.writeBigInt64BE(BigInt(value), 2 + name.length);
  const flagsAt = propertiesStart(bytes, start);
  const tableAt = findProperty(bytes, flagsAt, 'headers');
  if (tableAt < 0) return withTable(bytes, start, length, flagsAt, field);
  const tableBytes = bytes.readUInt32BE(tableAt);
  const tableEnd = tableAt + 4 + tableBytes;
  const tagAt = findField(bytes, tableAt, name);
  const at = tagAt < 0 ? tableEnd : tagAt - 1 - name.length;
  const removed = tagAt < 0 ? 0 : fieldEnd(bytes, tagAt, tableEnd) - at;
  const image = replaced(bytes, start, length, at, removed, field);
  image.writeUInt32BE(tableBytes - removed + field.length, tableAt - start);
  return image;
}

/** The image with headers that consist of this field; it must have none. */
function withTable(bytes: Buffer, start: number, length: number, flagsAt: number, field: Buffer): Buffer {
  let at = flagsAt + 2;
  forEachProperty(bytes, flagsAt, (name, _at, end) => {
    if (name === 'contentType' || name === 'contentEncoding') at = end;
  });
  const table = Buffer.alloc(4);
  table.writeUInt32BE(field.length);
  const image = replaced(bytes, start, length, at, 0, Buffer.concat([table, field]));
  image.writeUInt16BE(bytes.readUInt16BE(flagsAt) | propertyFlags.headers, flagsAt - start);
  return image;
}
