import type { Disk } from '@dovecote/ground';
import { removeIfThere } from './open-files.js';
import { offsetInName, segmentStem, segmentSuffixes } from './segment.js';

/**
 * Ends a compaction whose `.swap` files are all there: the segments that it was made of go, oldest last, and it gets its name. The same after a crash as
 * without one. After a crash the segments are those that begin within the offsets it reaches over; one behind that, of which nothing was kept, is compacted again later.
 */
export async function finishSwap(
  disk: Disk,
  folder: string,
  baseOffset: number,
  nextOffset: number,
  madeOf?: readonly number[],
): Promise<void> {
  const bases = madeOf ?? (await disk.list(folder)).map((name) => offsetInName(name, '.log')).filter((base) => base !== undefined);
  const covered = madeOf ?? bases.filter((base) => base > baseOffset && base < nextOffset);
  for (const base of [...covered].sort((one, other) => other - one)) {
    if (base === baseOffset) continue;
    for (const suffix of segmentSuffixes) await removeIfThere(disk, `${folder}/${segmentStem(base)}${suffix}`);
  }
  for (const suffix of [...segmentSuffixes].reverse()) {
    const path = `${folder}/${segmentStem(baseOffset)}${suffix}`;
    if (await disk.exists(`${path}.swap`)) await disk.rename(`${path}.swap`, path);
    else if (suffix === '.txnindex') await removeIfThere(disk, path);
  }
}
