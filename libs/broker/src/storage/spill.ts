import { crc32, type Disk } from '@dovecote/ground';
import type { Chunk, ChunkHome } from './arena.js';

/**
 * Files for the bytes of volatile chunks that memory has no room for: one file a chunk, which goes with it.
 *
 *   spill/17.chunk      the bytes of a chunk as they stood in memory
 *
 * Nothing in here outlives the process: it is never synced, and what a crash left is thrown away when the folder is opened again. Only the
 * pager uses it.
 */
export class Spill {
  private count = 0;

  private constructor(
    private readonly disk: Disk,
    private readonly directory: string,
  ) {}

  /** Empties the folder where there is one; it is made when something is written. */
  static async open(disk: Disk, directory: string): Promise<Spill> {
    if (!(await disk.exists(directory))) return new Spill(disk, directory);
    for (const name of await disk.list(directory)) if (name.endsWith(chunkSuffix)) await disk.remove(`${directory}/${name}`);
    return new Spill(disk, directory);
  }

  /** Writes the bytes of a chunk, which must not change any more. Rejects with a DiskError, and leaves nothing behind then. */
  async write(chunk: Chunk): Promise<ChunkHome> {
    const { disk } = this;
    const { bytes } = chunk; // now: it may be let go meanwhile
    const path = `${this.directory}/${++this.count}${chunkSuffix}`;
    const home = new SpillFile(disk, path, crc32(bytes));
    await disk.makeDirectory(this.directory);
    const file = await disk.open(path, 'create');
    try {
      await new Promise<void>((resolve, reject) => file.write([bytes], 0, (error) => (error ? reject(error) : resolve())));
      await file.close();
    } catch (error) {
      await file.close();
      home.dropChunk();
      throw error;
    }
    return home;
  }
}

const chunkSuffix = '.chunk';

class SpillFile implements ChunkHome {
  constructor(
    private readonly disk: Disk,
    readonly path: string,
    private readonly sum: number,
  ) {}

  get file(): this {
    return this;
  }

  isIntact(_chunk: Chunk, bytes: Buffer): boolean {
    return crc32(bytes) === this.sum;
  }

  dropChunk(): void {
    this.disk.remove(this.path).catch(() => undefined); // the next opening tries again
  }
}
