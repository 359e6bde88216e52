import type { AbortedTransaction } from './log.js';
import type { CompletedTransaction } from './producer-state.js';
import { readInt64, writeInt64 } from './record-batch.js';

/**
 * The aborted transactions whose marker lies in one segment, in Kafka's `.txnindex`, in the order of their markers:
 *
 *   | version i16 = 0 | producer id i64 | first offset i64 | last offset i64 | last stable offset i64 | …
 *
 * Follows from the batches; a lost file is made again from them.
 */
export const abortedEntryBytes = 34;

export class AbortedTransactions {
  readonly entries: CompletedTransaction[] = [];

  append(transaction: CompletedTransaction): void {
    this.entries.push(transaction);
  }

  /** Adds those that have records in [from, to); false when no later segment needs to be asked. */
  collect(from: number, to: number, into: AbortedTransaction[]): boolean {
    for (const { producerId, firstOffset, lastOffset, lastStableOffset } of this.entries) {
      if (lastOffset >= from && firstOffset < to) into.push({ producerId, firstOffset });
      if (lastStableOffset >= to) return false;
    }
    return true;
  }

  encode(): Buffer {
    const bytes = Buffer.alloc(this.entries.length * abortedEntryBytes);
    for (const [index, entry] of this.entries.entries()) {
      const at = index * abortedEntryBytes;
      writeInt64(bytes, entry.producerId, at + 2);
      writeInt64(bytes, entry.firstOffset, at + 10);
      writeInt64(bytes, entry.lastOffset, at + 18);
      writeInt64(bytes, entry.lastStableOffset, at + 26);
    }
    return bytes;
  }

  /** undefined where the bytes are no such file. */
  static decode(bytes: Buffer): AbortedTransactions | undefined {
    if (bytes.length % abortedEntryBytes !== 0) return undefined;
    const made = new AbortedTransactions();
    for (let at = 0; at < bytes.length; at += abortedEntryBytes) {
      const lastOffset = readInt64(bytes, at + 18);
      if (bytes.readInt16BE(at) !== 0 || lastOffset <= (made.entries.at(-1)?.lastOffset ?? -1)) return undefined;
      made.append({
        producerId: readInt64(bytes, at + 2),
        firstOffset: readInt64(bytes, at + 10),
        lastOffset,
        lastStableOffset: readInt64(bytes, at + 26),
        isAborted: true,
      });
    }
    return made;
  }
}

/** Those with records in [from, to), of segments one behind the other. */
export function abortedBetween(
  segments: readonly { readonly aborted: AbortedTransactions; readonly nextOffset: number }[],
  from: number,
  to: number,
): readonly AbortedTransaction[] {
  if (from >= to) return noTransactions;
  let found: AbortedTransaction[] | undefined;
  for (const { aborted, nextOffset } of segments) {
    if (aborted.entries.length === 0 || nextOffset <= from) continue;
    found ??= [];
    if (!aborted.collect(from, to, found)) break;
  }
  return found ?? noTransactions;
}

const noTransactions: readonly AbortedTransaction[] = [];
