import type { DiskFile } from '@dovecote/ground';
import { OpenFiles, removeIfThere, sync, write, writeNew } from './open-files.js';
import type { PartitionLog } from './partition-log.js';
import type { CompletedTransaction } from './producer-state.js';
import { BatchHead } from './record-batch.js';
import { finishSwap } from './segment-swap.js';
import { Segment, segmentStem, segmentSuffixes } from './segment.js';

/**
 * A segment that a compaction writes beside the ones it is made of: `<base>.log.cleaned` with its indexes. When it is whole and synced its files become
 * `.swap`, the batches' file last: from then on a crash finishes what was begun. Then the old files go and it gets their name.
 */
const writeBytes = 1 << 20;

export class CleanedSegment {
  private readonly segment: Segment;
  private readonly head = new BatchHead();
  private readonly path: string;
  private file: DiskFile | undefined;
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private written = 0;
  private readonly aborted: CompletedTransaction[] = [];

  constructor(
    private readonly partition: PartitionLog,
    baseOffset: number,
  ) {
    this.segment = Segment.fresh(partition.folder, baseOffset, partition.world);
    this.path = `${partition.folder}/${segmentStem(baseOffset)}`;
  }

  async open(): Promise<void> {
    const { disk } = this.partition.world;
    await removeIfThere(disk, `${this.path}.log.cleaned`);
    this.file = await disk.open(`${this.path}.log.cleaned`, 'create');
  }

  /** An aborted transaction of the old segments: it stays known if its end does. */
  mayKeep(transaction: CompletedTransaction): void {
    this.aborted.push(transaction);
  }

  async append(batch: Buffer): Promise<void> {
    const { head, segment } = this;
    head.read(batch, 0);
    segment.appended(head, this.partition.topic.config.indexIntervalBytes);
    if (head.isControl) {
      const ended = this.aborted.find(({ lastOffset }) => lastOffset === head.baseOffset);
      if (ended !== undefined && head.count > 0) segment.aborted.append(ended);
    }
    // A copy: the bytes are a reader's, who goes on.
    this.pending.push(Buffer.from(batch));
    this.pendingBytes += batch.length;
    if (this.pendingBytes >= writeBytes) await this.flush();
  }

  /** Puts it in the place of `group`; false, and nothing has changed, where the partition has other segments by now. */
  async takePlaceOf(group: readonly Segment[]): Promise<boolean> {
    const { partition, segment, path } = this;
    const { disk, housekeeping } = partition.world;
    await this.flush();
    await sync(this.file!);
    await this.file!.close();
    this.file = undefined;
    segment.sealTimes();
    const { offsets, times } = segment.indexes!;
    await writeNew(disk, `${path}.index.cleaned`, offsets.encoded(), true);
    await writeNew(disk, `${path}.timeindex.cleaned`, times.encoded(), true);
    if (segment.aborted.entries.length > 0) await writeNew(disk, `${path}.txnindex.cleaned`, segment.aborted.encode(), true);
    let isDone = false;
    // Not beside a checkpoint or a removal of the same segments.
    await housekeeping.run(`Compacting ${partition.folder}`, async () => {
      isDone = await this.swap(group);
    });
    if (!isDone) await this.discard();
    return isDone;
  }

  async discard(): Promise<void> {
    const { disk } = this.partition.world;
    await this.file?.close();
    this.file = undefined;
    for (const suffix of segmentSuffixes) await removeIfThere(disk, `${this.path}${suffix}.cleaned`);
  }

  private async swap(group: readonly Segment[]): Promise<boolean> {
    const { partition, segment, path } = this;
    const { disk, files } = partition.world;
    if (partition.isRemoved || !group.every((each) => partition.segments.includes(each))) return false;
    // Who reads the old files goes on reading them.
    for (const each of group) await each.hold(partition.topic.config.indexIntervalBytes);
    for (const suffix of [...segmentSuffixes].reverse())
      if (await disk.exists(`${path}${suffix}.cleaned`)) await disk.rename(`${path}${suffix}.cleaned`, `${path}${suffix}.swap`);
    await disk.syncDirectory(partition.folder);
    for (const each of group) await forgetFiles(files, each);
    await finishSwap(
      disk,
      partition.folder,
      segment.baseOffset,
      segment.nextOffset,
      group.map(({ baseOffset }) => baseOffset),
    );
    await disk.syncDirectory(partition.folder);
    segment.isNew = false;
    segment.writtenBytes = segment.sizeBytes;
    // Batches at the end may be gone: the segment goes on to where the next begins all the same.
    segment.nextOffset = group.at(-1)!.nextOffset;
    segment.indexesAreSaved();
    partition.replaceSegments(group, segment);
    for (const each of group) each.letGo();
    return true;
  }

  private async flush(): Promise<void> {
    if (this.pendingBytes === 0) return;
    await write(this.file!, this.pending, this.written);
    this.written += this.pendingBytes;
    this.pending = [];
    this.pendingBytes = 0;
  }
}

async function forgetFiles(files: OpenFiles, segment: Segment): Promise<void> {
  for (const suffix of segmentSuffixes) await files.forget(segment.path(suffix));
}
