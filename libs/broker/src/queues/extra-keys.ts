import { CodedError } from '../errors.js';
import { propertiesStart } from './content.js';
import { decodeField, findField, tagTypeName } from './field-table.js';
import { findProperty } from './properties.js';

/**
 * The headers CC and BCC: arrays of routing keys by which a message goes too, whatever the type of the exchange. CC stays with
 * the message; BCC is taken out before anybody sees it (content-edit.ts).
 */
const headerNames = ['CC', 'BCC'] as const;

const arrayTag = 'A'.charCodeAt(0);

/** The keys in CC and BCC; undefined where there is neither. Members that are no strings are passed over. Refuses what is no array. */
export function extraKeys(bytes: Buffer, start: number): readonly string[] | undefined {
  const tableAt = findProperty(bytes, propertiesStart(bytes, start), 'headers');
  if (tableAt < 0) return undefined;
  let keys: string[] | undefined;
  for (const name of headerNames) {
    const tagAt = findField(bytes, tableAt, name);
    if (tagAt < 0) continue;
    if (bytes[tagAt] !== arrayTag) {
      const type = tagTypeName(bytes[tagAt]!);
      throw new CodedError('invalid-argument', `invalid message: {unacceptable_type_in_header,"${name}",${type}}`);
    }
    const members = decodeField(bytes, tagAt, tableAt + 4 + bytes.readUInt32BE(tableAt)) as readonly unknown[];
    keys = [...(keys ?? []), ...members.filter((member) => typeof member === 'string')];
  }
  return keys;
}
