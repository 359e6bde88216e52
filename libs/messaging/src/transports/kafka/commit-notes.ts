/**
 * What goes into the metadata of a committed offset, as JSON, for whoever reads the partition next:
 *
 *   {"starts":2}                     reading began twice at this offset and ended without a word: what stands there may be what ends the process
 *   {"starts":1,"note":"orders.#"}   the same, and what the group leaves for its later members (on one partition only)
 *
 * What others committed is read as if it said nothing. No I/O.
 */
import type { CommittedOffset, TopicPartition } from './kafka-client.js';
import type { PartitionLane } from './partition-lane.js';

/** Brokers take 4,096 bytes (`offset.metadata.max.bytes`); a longer note is not left. */
const NOTE_BYTES_MAX = 3_500;

export class CommitNotes {
  constructor(private readonly note: { readonly topic: string; readonly text: string } | undefined) {}

  /** A member that goes with a farewell leaves no start behind. */
  offsetOf(lane: PartitionLane, offset = lane.committed, isFarewell = false): CommittedOffset {
    const starts = isFarewell || offset !== lane.committed ? 0 : lane.starts;
    const text = this.#isHere(lane) && Buffer.byteLength(this.note!.text) <= NOTE_BYTES_MAX ? this.note!.text : undefined;
    const metadata = starts === 0 && text === undefined ? '' : JSON.stringify({ starts, note: text });
    return { topic: lane.topic, partition: lane.partition, offset, metadata };
  }

  read(metadata: string): { readonly starts: number; readonly note: string | undefined } {
    const { starts, note } = parsed(metadata);
    return {
      starts: typeof starts === 'number' && Number.isSafeInteger(starts) && starts > 0 ? starts : 0,
      note: typeof note === 'string' ? note : undefined,
    };
  }

  /** What an earlier member left. */
  find(committed: readonly CommittedOffset[]): string | undefined {
    const offset = committed.find((part) => this.#isHere(part));
    return offset === undefined ? undefined : this.read(offset.metadata).note;
  }

  #isHere({ topic, partition }: TopicPartition): boolean {
    return this.note !== undefined && topic === this.note.topic && partition === 0;
  }
}

function parsed(metadata: string): { readonly starts?: unknown; readonly note?: unknown } {
  if (!metadata.startsWith('{')) return {};
  try {
    return JSON.parse(metadata) as object;
  } catch {
    return {};
  }
}
