import type { Clock } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Partition, PartitionWatcher } from '../log/log.js';
import { decodeBatches, type LogBatch } from './log-batch.js';

/** Bytes of records that are read together, where nobody says otherwise. */
export const readBytesMax = 1024 * 1024;

/** So many batches from memory, and others have their turn of the event loop. */
const batchesInTurnMax = 8;

/** Gone: its topic was deleted. */
export type NextBatch = LogBatch | 'nothing-yet' | 'offset-out-of-range' | 'gone';

/**
 * A place in a partition, and the way to whoever waits there for more. Nothing of it is kept.
 *
 * Whoever has it calls `next` and, where there is nothing yet, `more`: one promise for a batch, and none while there is enough to read.
 */
export class PartitionCursor implements PartitionWatcher {
  private wake: (() => void) | undefined;
  private isWatching = false;
  private isClosed = false;
  /** Grows with each `seek`, so that a read that was under way is not believed. */
  seeks = 0;
  private batchesInTurn = 0;

  constructor(
    readonly partition: Partition,
    public position: number,
    private readonly bytesMax: number,
    private readonly clock: Clock,
  ) {}

  seek(offset: number): void {
    this.position = offset;
    this.seeks++;
    this.wakeUp();
  }

  /** What comes next, without waiting for it to be written. The position is behind it then. Rejects with `unreadable-records`, and stays. */
  async next(): Promise<NextBatch> {
    const { partition } = this;
    if (++this.batchesInTurn % batchesInTurnMax === 0) await new Promise<void>((resolve) => this.clock.defer(resolve));
    for (;;) {
      const { position, seeks } = this;
      if (position >= partition.logStartOffset && position === partition.lastStableOffset) return 'nothing-yet';
      if (position < partition.logStartOffset || position > partition.lastStableOffset) return 'offset-out-of-range';
      const outcome = partition.read(position, { isolation: 'read-committed', bytesMax: this.bytesMax, atLeastOne: true });
      const found = outcome instanceof Promise ? await outcome : outcome;
      if (seeks !== this.seeks) continue; // what was read is not wanted any more
      if (found === 'removed') return 'gone';
      if (found === 'offset-out-of-range') return found;
      const { records, nextOffset } = decodeBatches(found, position);
      this.position = nextOffset;
      if (records.length === 0 && nextOffset > position) continue; // marks of transactions, and what did not count
      if (records.length === 0) return 'nothing-yet';
      return { topic: partition.topic.name, partition: partition.number, records, nextOffset, end: partition.lastStableOffset };
    }
  }

  /** Resolves when there may be more, or when it was sought or closed. */
  async more(): Promise<void> {
    if (!this.isWatching) this.partition.watch(this);
    this.isWatching = true;
    const isBehind = this.position < this.partition.lastStableOffset;
    if (!isBehind && !this.isClosed) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  wakeUp(): void {
    const { wake } = this;
    this.wake = undefined;
    wake?.();
  }

  close(): void {
    this.isClosed = true;
    if (this.isWatching) this.partition.unwatch(this);
    this.wakeUp();
  }

  advanced(): void {
    this.wakeUp();
  }

  removed(): void {
    this.wakeUp();
  }
}

export function outOfRange(partition: Partition, position: number): CodedError {
  const { logStartOffset, lastStableOffset, topic, number } = partition;
  return new CodedError(
    'offset-out-of-range',
    `Partition ${number} of '${topic.name}' has the offsets from ${logStartOffset} to ${lastStableOffset}, and not ${position}`,
  );
}
