/**
 * One file of the simulated volume, whatever names it has: what readers see (the page cache), what is on the platter for sure, and the
 * changes between the two. The volume's loss of power decides their fate. Only the simulated disk and volume call it.
 */
import type { SeededRandom } from './seeded-random.js';
import { SparseContent } from './sparse-content.js';

/** A write or a truncation that was applied to the cache. */
type Change = { readonly position: number; readonly bytes: Uint8Array } | { readonly size: number };

/** What the loss of power does with what was not synced; drawn once per crash, so that clean cases come up as well as mixed ones. */
export type Fate = 'all lost' | 'all kept' | 'mixed';

export class SimulatedFileNode {
  #cache = new SparseContent();
  #platter = new SparseContent();
  #unsynced: Change[] = [];
  #settledCount = 0;
  #distrust = false;
  /** Operations on one file complete in the order in which they were asked for. */
  lastDueMs = 0;

  get size(): number {
    return this.#cache.size;
  }

  get pageCount(): number {
    return this.#cache.pageCount;
  }

  roomFor(position: number, length: number, pagesFree: number): number {
    return this.#cache.roomFor(position, length, pagesFree);
  }

  read(into: Uint8Array, position: number): number {
    return this.#cache.read(into, position);
  }

  /** `bytes` must not change afterwards. */
  write(position: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#change({ position, bytes });
  }

  truncate(size: number): void {
    this.#change({ size });
  }

  /** How many changes there ever were: what a sync asked for now will cover. */
  get changeCount(): number {
    return this.#settledCount + this.#unsynced.length;
  }

  /** The first `count` changes are on the platter. */
  sync(count: number): void {
    for (const change of this.#settle(count)) apply(this.#platter, change);
  }

  /**
   * The device failed while it wrote the first `count` changes. Linux marks the pages clean all the same: readers still see them, some may
   * be on the platter, and no later sync writes them again.
   */
  failSync(count: number, random: SeededRandom): void {
    for (const change of this.#settle(count)) this.#keepSome(change, random);
    this.#distrust = true;
  }

  /** The process died, the machine did not. After a failed sync the machine may have dropped the pages it believes clean. */
  loseProcess(random: SeededRandom): void {
    if (!this.#distrust || random.chance(0.5)) return;
    this.#cache = this.#platter.copy();
    for (const change of this.#unsynced) apply(this.#cache, change);
  }

  losePower(fate: Fate, random: SeededRandom): void {
    const sizeBefore = this.#cache.size;
    if (fate === 'all kept') for (const change of this.#unsynced) apply(this.#platter, change);
    if (fate === 'mixed') {
      for (const change of this.#unsynced) this.#keepSome(change, random);
      // A file system may have written the new length and not the bytes: zeros.
      if (sizeBefore > this.#platter.size && random.chance(0.15)) this.#platter.truncate(sizeBefore);
    }
    this.#settle(this.changeCount);
    this.#distrust = false;
    this.#cache = this.#platter.copy();
    this.lastDueMs = 0;
  }

  /** Takes the changes before the `count`th out of the list. */
  #settle(count: number): readonly Change[] {
    const settled = this.#unsynced.splice(0, count - this.#settledCount);
    this.#settledCount += settled.length;
    return settled;
  }

  #change(change: Change): void {
    apply(this.#cache, change);
    this.#unsynced.push(change);
  }

  #keepSome(change: Change, random: SeededRandom): void {
    if (random.chance(0.4)) return;
    if ('size' in change || random.chance(0.5)) return apply(this.#platter, change);
    const { position, bytes } = change;
    if (random.chance(0.3)) return this.#platter.write(position, bytes.subarray(0, random.below(bytes.length)));
    const cutAfterFirst = random.chance(0.5);
    for (const [start, end] of sectors(position, bytes.length)) {
      if (!random.chance(0.5)) {
        if (cutAfterFirst) return;
        continue;
      }
      this.#platter.write(position + start, bytes.subarray(start, end));
    }
  }
}

/** What a device writes whole or not at all. */
const SECTOR_BYTES = 512;

/** The ranges of a write's bytes that lie in one sector of the file each. */
function* sectors(position: number, length: number): Generator<readonly [number, number]> {
  for (let start = 0; start < length;) {
    const end = Math.min(length, start + SECTOR_BYTES - ((position + start) % SECTOR_BYTES));
    yield [start, end];
    start = end;
  }
}

function apply(content: SparseContent, change: Change): void {
  if ('size' in change) content.truncate(change.size);
  else content.write(change.position, change.bytes);
}
