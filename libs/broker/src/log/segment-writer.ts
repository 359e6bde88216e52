import type { Disk, DiskError } from '@dovecote/ground';
import { type OpenFile, write } from './open-files.js';
import type { Segment } from './segment.js';
import type { PendingWrite } from './tail.js';

/**
 * How the batches of one partition come into its segments: at once and synced, as a commit of its own; or later, in large pieces, where the journal
 * holds them already. In order in any case: what is written at once goes behind everything kept for later, and a sync of it covers that too.
 *
 * Single owner, its partition.
 */
export interface WrittenPartition {
  readonly folder: string;
  readonly segments: readonly Segment[];
  readonly active: Segment;
  readonly isRemoved: boolean;
}

type Done = (error: DiskError | undefined) => void;

export class SegmentWriter {
  bytesForLater = 0;
  private later: PendingWrite[] = [];
  /** The one of these that is on its way to the file, and grows no more. */
  private underWay: PendingWrite | undefined;
  private flushing: Promise<void> | undefined;
  /** Something was flushed and no sync has covered it. */
  private hasUnsynced: boolean;
  private proving: Promise<void> | undefined;

  constructor(
    private readonly partition: WrittenPartition,
    private readonly world: { readonly disk: Disk; readonly clock: { defer(run: () => void): void }; readonly isSynced: boolean },
    /** Writes again, and syncs, what an earlier life wrote and the journal has: what is read back after a crash may be in memory only. */
    private unproven: (() => Promise<void>) | undefined,
  ) {
    this.hasUnsynced = unproven !== undefined;
  }

  get isFlushing(): boolean {
    return this.flushing !== undefined;
  }

  /** The journal has these: they may come into the segments when there is time. */
  keepForLater(writes: readonly PendingWrite[], bytes: number): void {
    for (const write of writes) {
      const last = this.later.at(-1);
      if (last === undefined || last === this.underWay || !extended(last, write)) this.later.push(write);
    }
    this.bytesForLater += bytes;
  }

  /** Writes, and syncs where commits are synced; calls back in a later turn. */
  write(writes: readonly PendingWrite[], done: Done): void {
    let at = 0;
    const next: Done = (error) => {
      // Of a topic that is deleted nothing has to be kept.
      if (this.partition.isRemoved) return done(undefined);
      if (error !== undefined) return done(error);
      const pending = writes[at++];
      if (pending === undefined) return done(undefined);
      this.writeOne(pending, next);
    };
    if (writes.length === 0 || this.partition.isRemoved) this.world.clock.defer(() => done(undefined));
    else if (this.later.length === 0 && this.flushing === undefined && !this.hasUnsynced) next(undefined);
    else void this.settleThen(writes, next);
  }

  /** Writes what was kept for later. */
  flush(): Promise<void> {
    if (this.later.length === 0 && this.flushing === undefined) return Promise.resolve();
    this.flushing ??= this.flushAll().finally(() => (this.flushing = undefined));
    return this.flushing;
  }

  /** What is not on the disk stands in the journal. */
  get isKept(): boolean {
    return this.world.isSynced && this.hasUnsynced;
  }

  /** What an earlier life wrote is on the disk for certain. */
  prove(): Promise<void> {
    if (this.unproven === undefined) return Promise.resolve();
    this.proving ??= this.unproven().then(
      () => (this.unproven = undefined),
      (error: unknown) => {
        this.proving = undefined;
        throw error;
      },
    );
    return this.proving;
  }

  /** Everything written is on the disk: the journal is not needed for it any more. */
  async settle(): Promise<void> {
    if (this.partition.isRemoved) return;
    await this.prove();
    await this.flush();
    this.hasUnsynced = false;
    try {
      for (const segment of this.partition.segments) if (!this.partition.isRemoved) await segment.syncIfNeeded();
    } catch (error) {
      this.hasUnsynced = true;
      throw error;
    }
  }

  /** The topic was deleted. */
  clear(): void {
    this.later = [];
    this.bytesForLater = 0;
  }

  private async flushAll(): Promise<void> {
    while (this.later.length > 0 && !this.partition.isRemoved) {
      const [first] = this.later as [PendingWrite];
      this.underWay = first;
      const { segment, position, parts, bytes } = first;
      const file = await segment.pin();
      try {
        await write(file.handle, parts, position);
        segment.isUnsynced = true;
        this.hasUnsynced = true;
        if (segment.isNew) segment.isNameUnsynced = true;
        segment.isNew = false;
      } finally {
        segment.unpin(file);
      }
      if (this.partition.isRemoved) return;
      segment.writtenBytes = position + bytes;
      this.later.shift();
      this.bytesForLater -= bytes;
    }
    this.underWay = undefined;
  }

  /** What comes now is synced by itself and does not stand in the journal: so must everything before it be, or a crash would leave a gap. */
  private async settleThen(writes: readonly PendingWrite[], next: Done): Promise<void> {
    const { partition } = this;
    try {
      await this.prove();
      await this.flush();
      this.hasUnsynced = false;
      // The sync of what is written now covers the rest of the active segment.
      const coversActive = writes.some(({ segment }) => segment === partition.active);
      for (const segment of partition.segments) if (!coversActive || segment !== partition.active) await segment.syncIfNeeded();
    } catch (error) {
      this.hasUnsynced = true;
      return next(error as DiskError);
    }
    next(undefined);
  }

  private writeOne(pending: PendingWrite, done: Done): void {
    const file = pending.segment.pinNow();
    if (file === undefined) void this.openAndPut(pending, done);
    else this.put(pending, file, done);
  }

  private async openAndPut(pending: PendingWrite, done: Done): Promise<void> {
    let file: OpenFile;
    try {
      file = await pending.segment.pin();
    } catch (error) {
      return done(error as DiskError);
    }
    this.put(pending, file, done);
  }

  private put({ segment, position, parts, bytes }: PendingWrite, file: OpenFile, done: Done): void {
    const { isSynced, disk } = this.world;
    const end: Done = (error) => {
      segment.unpin(file);
      if (error === undefined) segment.writtenBytes = position + bytes;
      done(error);
    };
    file.handle.write(parts, position, (error) => {
      if (error !== undefined) return end(error);
      if (!isSynced) {
        segment.isUnsynced = true;
        if (segment.isNew) segment.isNameUnsynced = true;
        segment.isNew = false;
        return end(undefined);
      }
      file.handle.sync((syncError) => {
        if (syncError !== undefined || !(segment.isNew || segment.isNameUnsynced)) return end(syncError);
        disk.syncDirectory(this.partition.folder).then(() => {
          segment.isNew = false;
          segment.isNameUnsynced = false;
          end(undefined);
        }, end);
      });
    });
  }
}

/** Whether `write` stands right behind `last` in the same segment: then `last` has it too, as one piece where the bytes follow one another in memory. */
function extended(last: PendingWrite, write: PendingWrite): boolean {
  if (last.segment !== write.segment || last.position + last.bytes !== write.position) return false;
  last.bytes += write.bytes;
  for (const part of write.parts) {
    const before = last.parts.at(-1)!;
    if (before.buffer === part.buffer && before.byteOffset + before.length === part.byteOffset)
      last.parts[last.parts.length - 1] = Buffer.from(part.buffer, before.byteOffset, before.length + part.length);
    else last.parts.push(part);
  }
  return true;
}
