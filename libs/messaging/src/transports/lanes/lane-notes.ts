/**
 * What is written on the messages that members of a group put into the queue of what is parked, as the header `dovecote-parked`. Read by whoever has the
 * lane, or has it next; what makes no sense is a stranger's.
 */
import type { Envelope } from '../../envelope.js';
import type { Parked } from '../../parking-store.js';
import type { ForeignProperties } from '../outside.js';

export const PARKED_HEADER = 'dovecote-parked';

/**
 * `parked`: a message that waits; of two with the same sequence the higher revision counts. `released`: what stands under its sequence is to be handled now,
 * as it is here; `gone`: it is not waited for any more. `cornerstone`: says to whoever is given it that the lane is theirs; that of an owner says in which
 * epoch, higher than all before it, and what was parked in an earlier one and stands behind it came too late and counts for nothing. `end`: what was in the
 * queue when it was published has come before it.
 */
export type LaneNote = ParkedNote | ReleaseNote | Cornerstone | { readonly what: 'end'; readonly term: string };

export interface Cornerstone {
  readonly what: 'cornerstone';
  /** Of an owner alone. */
  readonly epoch?: number;
}

export interface ParkedNote extends Pick<Parked, 'sequence' | 'key' | 'state' | 'dueAtMs'> {
  readonly what: 'parked';
  readonly revision: number;
  /** Under which ownership of the lane it was parked. */
  readonly term: string;
  /** And in which epoch; absent on what earlier versions wrote, which always counts. */
  readonly epoch?: number;
}

export interface ReleaseNote extends Pick<Parked, 'sequence' | 'key'> {
  readonly what: 'released' | 'gone';
}

const states: readonly unknown[] = ['retry', 'behind', 'dead'] satisfies readonly Parked['state'][];

/** The envelope with the note on it. */
export function noted(envelope: Envelope, note: LaneNote): Envelope {
  return { ...envelope, headers: { ...envelope.headers, [PARKED_HEADER]: JSON.stringify(note) } };
}

/** Nothing where there is none, or none that can be read. */
export function noteOn({ headers }: ForeignProperties): LaneNote | undefined {
  const text: unknown = (headers as Readonly<Record<string, unknown>> | undefined)?.[PARKED_HEADER];
  if (typeof text !== 'string') return undefined;
  try {
    const note: unknown = JSON.parse(text);
    return isNote(note) ? note : undefined;
  } catch {
    return undefined;
  }
}

function isNote(value: unknown): value is LaneNote {
  if (typeof value !== 'object' || value === null) return false;
  const { what, term, sequence, key, state, revision, dueAtMs, epoch } = value as Readonly<Record<string, unknown>>;
  if (epoch !== undefined && !Number.isSafeInteger(epoch)) return false;
  if (what === 'cornerstone') return true;
  if (what === 'end') return typeof term === 'string';
  if (!Number.isSafeInteger(sequence) || typeof key !== 'string') return false;
  if (what === 'released' || what === 'gone') return true;
  const isDue = dueAtMs === undefined || typeof dueAtMs === 'number';
  return what === 'parked' && states.includes(state) && Number.isSafeInteger(revision) && typeof term === 'string' && isDue;
}
