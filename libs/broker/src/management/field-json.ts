import { type FieldTable, fieldTableBytes, type FieldValue, tableDepthMax } from '../queues/field-table.js';
import { refuse } from './route.js';

/** What fits into a frame of every client. */
const tableBytesMax = 100_000;
/** The words under which field tables keep what JSON has no type for: alone in a table they would be taken for one. */
const typed: readonly string[] = ['timestamp', 'float', 'decimal'];

/** Arguments and headers in a request: whole numbers, other numbers, texts, answers, lists and tables. `what` is their name, for whoever is refused. */
export function tableOf(given: unknown, what: string): FieldTable {
  if (given === undefined || (Array.isArray(given) && given.length === 0)) return {}; // some tools say so that there are none
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw refuse(`"${what}" must be an object`);
  const table = fieldOf(given, what, 0) as FieldTable;
  if (fieldTableBytes(table) > tableBytesMax) throw refuse(`"${what}" are longer than ${tableBytesMax} bytes`);
  return table;
}

function fieldOf(given: unknown, what: string, depth: number): FieldValue {
  if (typeof given !== 'object' || given === null) return given as string | number | boolean | null;
  if (depth >= tableDepthMax) throw refuse(`"${what}" are nested deeper than ${tableDepthMax} levels`);
  if (Array.isArray(given)) return given.map((item) => fieldOf(item, what, depth + 1));
  const names = Object.keys(given);
  if (names.some((name) => Buffer.byteLength(name) > 255)) throw refuse(`a name in "${what}" is longer than 255 bytes`);
  if (names.length === 1 && typed.includes(names[0]!))
    throw refuse(`"${what}" hold a table with nothing but '${names[0]}': name it otherwise`);
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, fieldOf(value, what, depth + 1)]));
}

/** The other way; what JSON has no type for becomes the nearest that it has. */
export function jsonOf(table: FieldTable): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, jsonValue(value)]));
}

function jsonValue(value: FieldValue): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  if (Array.isArray(value)) return value.map((item: FieldValue) => jsonValue(item));
  const names = Object.keys(value);
  const inner = (value as FieldTable)[names[0] ?? ''];
  if (names.length === 1 && typeof inner === 'number' && (names[0] === 'timestamp' || names[0] === 'float')) return inner;
  if (names.length === 1 && names[0] === 'decimal' && typeof inner === 'object' && inner !== null && 'scale' in inner) {
    return Number(inner['value']) / 10 ** Number(inner['scale']);
  }
  return jsonOf(value as FieldTable);
}
