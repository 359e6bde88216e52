/**
 * The records of fetched batches, as a reader that believes only committed transactions sees them: aborted ones, markers, and what stands before the
 * offset that was asked for are left out. Keeps nothing.
 */
import type { IncomingRecord } from './kafka-client.js';

/** A batch as the client library hands it over. */
export interface FetchedBatch {
  readonly firstOffset: bigint;
  readonly lastOffsetDelta: number;
  readonly firstTimestamp: bigint;
  readonly attributes: number;
  readonly producerId: bigint;
  readonly records: readonly {
    readonly offsetDelta: number;
    readonly timestampDelta: bigint;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: readonly (readonly [Buffer | null, Buffer | null])[];
  }[];
}

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

const IS_TRANSACTIONAL = 0x10;
const IS_CONTROL = 0x20;
const ABORT_MARKER = 0;

export function recordsOf(
  batches: readonly FetchedBatch[],
  fromOffset: number,
  aborted: readonly AbortedTransaction[],
): { readonly records: IncomingRecord[]; readonly nextOffset: number } {
  const records: IncomingRecord[] = [];
  const pending = aborted.toSorted((one, other) => (one.firstOffset < other.firstOffset ? -1 : 1));
  const aborting = new Set<bigint>();
  let nextOffset = fromOffset;
  for (const batch of batches) {
    const firstOffset = Number(batch.firstOffset);
    const lastOffset = firstOffset + batch.lastOffsetDelta;
    nextOffset = Math.max(nextOffset, lastOffset + 1);
    while (pending[0] !== undefined && Number(pending[0].firstOffset) <= lastOffset) aborting.add(pending.shift()!.producerId);
    if ((batch.attributes & IS_CONTROL) !== 0) {
      if (batch.records[0]?.key?.readInt16BE(2) === ABORT_MARKER) aborting.delete(batch.producerId);
      continue;
    }
    if ((batch.attributes & IS_TRANSACTIONAL) !== 0 && aborting.has(batch.producerId)) continue;
    for (const { offsetDelta, timestampDelta, key, value, headers } of batch.records) {
      const offset = firstOffset + offsetDelta;
      // The first batch holds the offset asked for, and may begin before it.
      if (offset < fromOffset) continue;
      records.push({ offset, timestampMs: Number(batch.firstTimestamp + timestampDelta), key, value, headers: textsOf(headers) });
    }
  }
  return { records, nextOffset };
}

function textsOf(headers: FetchedBatch['records'][number]['headers']): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [name, value] of headers) if (name !== null && value !== null) texts.set(name.toString(), value.toString());
  return texts;
}
