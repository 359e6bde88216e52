import { bodyStart, frameEnd, frameOverheadBytes, propertiesEnd, propertiesStart } from './content.js';
import { deathReasons } from './dead-letter.js';
import { enqueuedAtBytes } from './expiry.js';
import { MalformedError } from './field-table.js';
import { recordKind, settlingBytes } from './message-log.js';
import { checkProperties } from './properties.js';

/**
 * What is wrong with the bytes of one record, as a sentence, or undefined. A batch with a true sum may still hold a record that no
 * version of ours has written. A kind that is not known is for `readRecord` to refuse. Pure: it looks at the bytes and at nothing else.
 */
export function recordFault(bytes: Buffer, offset: number, length: number): string | undefined {
  if (offset + length > bytes.length) return `a record of ${length} bytes reaches beyond its batch`;
  if (length === 0) return 'a record is empty';
  switch (bytes[offset]) {
    case recordKind.message:
      return messageFault(bytes, offset, length, 0);
    case recordKind.timedMessage:
      return messageFault(bytes, offset, length, enqueuedAtBytes);
    case recordKind.settled:
      if (length !== 15) return `a record of settlements has ${length} bytes and not 15`;
      return bytes.readUInt32BE(offset + 11) === 0 ? 'a record of settlements settles nothing' : undefined;
    case recordKind.returned:
      return length === 15 ? undefined : `a record of what came back has ${length} bytes and not 15`;
    case recordKind.dead:
      if (length !== 12) return `a record of a dead message has ${length} bytes and not 12`;
      return bytes[offset + 11]! < deathReasons.length ? undefined : 'a message is dead for no reason';
    case recordKind.delivered:
      return length === 11 ? undefined : `a record of deliveries has ${length} bytes and not 11`;
    case recordKind.settling: {
      const kind = length > settlingBytes ? bytes[offset + settlingBytes] : undefined;
      const isMessage = kind === recordKind.message || kind === recordKind.timedMessage;
      return isMessage ? recordFault(bytes, offset + settlingBytes, length - settlingBytes) : 'no message follows what it settles';
    }
    case recordKind.begin:
    case recordKind.end:
      return length === 1 ? undefined : `a mark of a transaction has ${length} bytes and not 1`;
    default:
      return undefined;
  }
}

function messageFault(bytes: Buffer, offset: number, length: number, timeBytes: number): string | undefined {
  if (length < 5) return 'a message is cut short';
  const targets = bytes.readUInt32BE(offset + 1);
  if (targets === 0) return 'a message went to no queue';
  const image = offset + 5 + 10 * targets + timeBytes;
  if (image >= offset + length) return `a message for ${targets} queues is cut short`;
  const fault = imageFault(bytes, image, offset + length);
  return fault === undefined ? undefined : `the content of a message cannot be read: ${fault}`;
}

/** The same for the content of a message, which must fill `bytes[start..end)`; see content.ts. */
export function imageFault(bytes: Buffer, start: number, end: number): string | undefined {
  const keyAt = start + 1 + bytes[start]!;
  const bitsAt = keyAt < end ? keyAt + 1 + bytes[keyAt]! : end;
  const header = bitsAt + 2;
  if (header + frameOverheadBytes + 14 > end) return 'it ends before its header';
  if (bytes[header - 1] !== frameEnd) return 'no frame ends behind the routing key';
  if (bytes[header] !== 2 || bytes.readUInt32BE(header + 7) !== 0x003c_0000) return 'no content header follows the routing key';
  const headerEnd = propertiesEnd(bytes, start);
  if (headerEnd >= end || bytes[headerEnd] !== frameEnd) return 'the content header does not end where it says';
  const length = bytes.readUInt32BE(header + 15);
  if (bytes.readUInt32BE(header + 11) !== 0) return 'its body is longer than 4 GiB';
  const imageEnd = length === 0 ? headerEnd + 1 : bodyStart(bytes, start) + length + 1;
  if (imageEnd !== end) return `its body of ${length} bytes does not fill it`;
  if (length > 0) {
    const body = headerEnd + 1;
    if (bytes[body] !== 3 || bytes.readUInt32BE(body + 3) !== length || bytes[end - 1] !== frameEnd) return 'its body is not one frame';
  }
  try {
    checkProperties(bytes, propertiesStart(bytes, start), headerEnd);
    return undefined;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return error.message;
  }
}
