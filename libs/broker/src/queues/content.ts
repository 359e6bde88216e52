import type { CommonProperties } from './common-properties.js';
import { MalformedError } from './field-table.js';
import { encodeProperties, propertiesBytes, propertiesRoom, type MessageProperties } from './properties.js';
import { shortStringRoom, textBytes, writeText } from './short-text.js';

/**
 * The content image: how a message's bytes stand in memory and in the journal.
 *
 *   xlen exchange | klen key | bits u8 | CE                                        the end of basic.publish
 *   | 02 channel u16 size u32 | 003C 0000 body-size u64 | flags properties | CE    the header frame
 *   | 03 channel u16 size u32 | body | CE                                          one body frame, absent when the body is empty
 *
 * It is what a client wrote from the exchange's name on, with one body frame whatever its size; channels mean nothing, and of the bits only
 * the lowest (mandatory) while a transaction waits.
 * So a publish that lies whole in the socket's chunk is stored by one copy, and goes to a consumer by two, with its properties as
 * they came. Nothing here is checked: whoever takes an image from a stranger has checked it.
 */

/** The octet that ends every frame. */
export const frameEnd = 0xce;

/** Bytes of a frame beside its payload. */
export const frameOverheadBytes = 8;

/** Where `bits` stands, which is also where exchange and key end. */
export function routingEnd(bytes: Buffer, start: number): number {
  const keyAt = start + 1 + bytes[start]!;
  return keyAt + 1 + bytes[keyAt]!;
}

/** Whether its publisher wants it back when it leads nowhere. */
export function isMandatory(bytes: Buffer, start: number): boolean {
  return (bytes[routingEnd(bytes, start)]! & 1) !== 0;
}

export function contentExchange(bytes: Buffer, start: number): string {
  return bytes.toString('utf8', start + 1, start + 1 + bytes[start]!);
}

export function contentRoutingKey(bytes: Buffer, start: number): string {
  const keyAt = start + 1 + bytes[start]!;
  return bytes.toString('utf8', keyAt + 1, keyAt + 1 + bytes[keyAt]!);
}

/** Where the property flags stand. */
export function propertiesStart(bytes: Buffer, start: number): number {
  return routingEnd(bytes, start) + 21;
}

export function propertiesEnd(bytes: Buffer, start: number): number {
  const header = routingEnd(bytes, start) + 2;
  return header + 7 + bytes.readUInt32BE(header + 3);
}

export function bodyLength(bytes: Buffer, start: number): number {
  return bytes.readUInt32BE(routingEnd(bytes, start) + 17);
}

/** Where the body stands; meaningless when it is empty. */
export function bodyStart(bytes: Buffer, start: number): number {
  return propertiesEnd(bytes, start) + 8;
}

/** The image of a message that is published from within the process. Throws MalformedError when a text is longer than 255 bytes. */
export function writeContent(exchange: string, routingKey: string, properties: MessageProperties, body: Uint8Array): Buffer {
  const namesBytes = shortStringBytes(exchange) + shortStringBytes(routingKey);
  const image = Buffer.allocUnsafe(namesBytes + propertiesBytes(properties) + otherBytes(body));
  encodeContent(image, exchange, routingKey, properties, body);
  return image;
}

/** Where images stand that are copied at once: the next one is written over the last. */
export const passingImage = Buffer.allocUnsafeSlow(16 * 1024);

/**
 * As `writeContent`, into `passingImage`, and returns the length; 0, and nothing of use is written, where it may not fit there, a text may be too long, or
 * `common` cannot be written with these. To ask each text for its bytes beforehand costs as much as to write it, so this asks what they are at most.
 */
export function writePassingContent(
  exchange: string,
  routingKey: string,
  properties: MessageProperties,
  body: Uint8Array,
  common?: CommonProperties,
): number {
  const namesRoom = shortStringRoom(exchange) + shortStringRoom(routingKey);
  const room = namesRoom + propertiesRoom(properties) + (common?.bytes ?? 0) + otherBytes(body);
  return room > passingImage.length ? 0 : encodeContent(passingImage, exchange, routingKey, properties, body, common);
}

/** All of an image but its names and properties. */
function otherBytes({ length }: Uint8Array): number {
  return 2 + frameOverheadBytes + 12 + (length === 0 ? 0 : frameOverheadBytes + length);
}

/** Returns the length; 0 where properties in common cannot be written with these. */
function encodeContent(
  image: Buffer,
  exchange: string,
  routingKey: string,
  properties: MessageProperties,
  body: Uint8Array,
  common?: CommonProperties,
): number {
  let at = writeShortString(image, writeShortString(image, 0, exchange), routingKey);
  image[at] = 0;
  image[at + 1] = frameEnd;
  const header = at + 2;
  at = image.writeUInt32BE(0x003c_0000, header + 7);
  at = image.writeUInt32BE(0, at);
  at = image.writeUInt32BE(body.length, at);
  at = common === undefined ? encodeProperties(properties, image, at) : common.encode(properties, image, at);
  if (at === 0) return 0;
  writeFrameHead(image, header, 2, at - header - 7);
  image[at++] = frameEnd;
  if (body.length === 0) return at;
  at = writeFrameHead(image, at, 3, body.length);
  image.set(body, at);
  image[at + body.length] = frameEnd;
  return at + body.length + 1;
}

function shortStringBytes(text: string): number {
  const length = textBytes(text);
  if (length > 255) throw new MalformedError(`'${text.slice(0, 40)}…' is ${length} bytes long: names and routing keys have at most 255`);
  return 1 + length;
}

function writeFrameHead(into: Buffer, at: number, type: number, size: number): number {
  into[at] = type;
  into[at + 1] = 0;
  into[at + 2] = 0;
  return into.writeUInt32BE(size, at + 3);
}

function writeShortString(into: Buffer, at: number, text: string): number {
  const end = writeText(text, into, at + 1);
  into[at] = end - at - 1;
  return end;
}
