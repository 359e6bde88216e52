import { decodeFieldTable, encodeFieldTable, type FieldTable, fieldTableBytes } from './field-table.js';

/**
 * Arguments as definitions keep them: the encoded table in base64, and nothing at all for an empty one. The fields are sorted,
 * so that two tables with the same fields are the same text.
 */
export function argumentsText(given: FieldTable): string {
  const names = Object.keys(given);
  if (names.length === 0) return '';
  const sorted = Object.fromEntries(names.sort().map((name) => [name, given[name]!]));
  const bytes = Buffer.alloc(fieldTableBytes(sorted));
  encodeFieldTable(sorted, bytes, 0);
  return bytes.toString('base64');
}

export function argumentsOf(text: string): FieldTable {
  if (text === '') return none;
  const bytes = Buffer.from(text, 'base64');
  return decodeFieldTable(bytes, 0, bytes.length);
}

const none: FieldTable = Object.freeze({});
