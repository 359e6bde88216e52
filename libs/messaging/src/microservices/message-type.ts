/** Nest's patterns as types of messages. Server and client must come to the same. No I/O. */

/**
 * A text is itself. An object, as in `{ cmd: 'sum' }`, becomes its names and values with dots between, names in order: `cmd.sum`. Whether the result can be a
 * type is for the caller to check.
 */
export function typeOf(pattern: unknown): string {
  return wordsOf(pattern, 0).join('.');
}

/** No pattern that a person writes is deeper. */
const DEPTH_MAX = 8;

function wordsOf(pattern: unknown, depth: number): readonly string[] {
  if (typeof pattern !== 'object' || pattern === null || pattern instanceof RegExp || depth > DEPTH_MAX) return [String(pattern)];
  const fields = Object.entries(pattern).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return fields.flatMap(([name, value]) => [name, ...wordsOf(value, depth + 1)]);
}
