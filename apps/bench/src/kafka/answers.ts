/**
 * The answers that the load generator reads, as a server writes them: for the stand-in server that it is measured against, and for its tests. Pure.
 */
import { compact, compactText, i16, i32, i64, noTags } from './wire.js';

/** A message with its size; `where` is the place of what will be written anew, in the whole. */
export interface Answer {
  readonly bytes: Buffer;
  readonly where: number;
}

function answer(before: readonly Buffer[], after: readonly Buffer[]): Answer {
  const whole = Buffer.concat([i32(1), ...before, ...after]);
  const head = Buffer.concat(before).length;
  return { bytes: Buffer.concat([i32(whole.length), whole]), where: 4 + 4 + head };
}

/** To a produce request of version 11 for one partition; `where` its base offset stands. */
export function produceAnswer(topic: string, baseOffset: number, error = 0): Answer {
  const before = [noTags, compact(1), compactText(topic), compact(1), i32(0), i16(error)];
  const after = [i64(baseOffset), i64(-1), i64(0), compact(0), compact(-1), noTags, noTags, i32(0), noTags];
  return answer(before, after);
}

/** To a fetch of version 12 for one partition; `where` its records begin. */
export function fetchAnswer(topic: string, records: Buffer, error = 0): Answer {
  const marks = [i32(0), i16(error), i64(0), i64(0), i64(0), compact(-1), i32(-1)];
  const before = [noTags, i32(0), i16(0), i32(0), compact(1), compactText(topic), compact(1), ...marks, compact(records.length)];
  return answer(before, [records, noTags, noTags, noTags]);
}
