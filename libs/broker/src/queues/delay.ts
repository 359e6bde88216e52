import { CodedError } from '../errors.js';
import { propertiesStart } from './content.js';
import { decodeField, findField, type FieldValue } from './field-table.js';
import { findProperty } from './properties.js';

/**
 * The header `x-delay`: for how many milliseconds an x-delayed-message exchange holds a message, as RabbitMQ's plugin reads it.
 *
 * Whole numbers, fractions (cut) and decimal strings are taken; from 1 to 2^32 - 1 they delay. Everything else goes on at once, but for
 * a string that is no number, which the plugin fails on and we refuse. What was held goes on with the negative of its delay, so
 * that no other such exchange holds it again. Pure.
 */
export const delayHeader = 'x-delay';

const delayMsMax = 0xffff_ffff;

/** The delay that a header asks for; 0 for none. Throws for a string that is no number. */
export function delayOf(value: FieldValue | undefined): number {
  const wanted = typeof value === 'object' && value !== null && 'float' in value ? value.float : value;
  let delayMs: number;
  if (typeof wanted === 'number' || typeof wanted === 'bigint') delayMs = Math.trunc(Number(wanted));
  else if (typeof wanted === 'string') delayMs = parsed(wanted);
  else return 0;
  return delayMs > 0 && delayMs <= delayMsMax ? delayMs : 0;
}

/** The same for a content image. */
export function delayIn(bytes: Buffer, start: number): number {
  const tableAt = findProperty(bytes, propertiesStart(bytes, start), 'headers');
  const tagAt = tableAt < 0 ? -1 : findField(bytes, tableAt, delayHeader);
  return tagAt < 0 ? 0 : delayOf(decodeField(bytes, tagAt, tableAt + 4 + bytes.readUInt32BE(tableAt)));
}

function parsed(text: string): number {
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw new CodedError('invalid-argument', `invalid header 'x-delay': '${text.slice(0, 40)}' is no whole number of milliseconds`);
}
