import { type Clock, type Disk, DiskError, type DiskFile, type DiskLock, type OpenMode } from '@dovecote/ground';

/**
 * A disk in the memory of the process, for a log that keeps nothing (`memory`): the same code runs over it, and everything is gone with the process.
 * Files are lists of blocks; names are paths without folders of their own.
 */
export class MemoryDisk implements Disk {
  private readonly files = new Map<string, MemoryContent>();
  private readonly folders = new Set<string>();

  constructor(private readonly clock: Clock) {}

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    let content = this.files.get(path);
    if (mode.startsWith('create')) {
      if (content !== undefined) throw new DiskError('exists', `cannot create ${path}: it is there`);
      this.files.set(path, (content = new MemoryContent()));
    }
    if (content === undefined) throw new DiskError('not-found', `cannot open ${path}: it is not there`);
    return new MemoryFile(content, this.clock);
  }

  readNow(path: string, into: Uint8Array, position: number): number {
    const content = this.files.get(path);
    if (content === undefined) throw new DiskError('not-found', `cannot read ${path}: it is not there`);
    return content.read(into, position);
  }

  async makeDirectory(path: string): Promise<void> {
    this.folders.add(path);
  }

  async list(path: string): Promise<readonly string[]> {
    const names = new Set<string>();
    for (const each of [...this.files.keys(), ...this.folders]) {
      if (each.startsWith(`${path}/`)) names.add(each.slice(path.length + 1).split('/')[0]!);
    }
    return [...names].sort();
  }

  async exists(path: string): Promise<boolean> {
    return this.files.has(path) || this.folders.has(path);
  }

  async rename(from: string, to: string): Promise<void> {
    if (!(await this.exists(from))) throw new DiskError('not-found', `cannot rename ${from}: it is not there`);
    for (const [path, content] of [...this.files]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.files.delete(path);
      this.files.set(to + path.slice(from.length), content);
    }
    if (this.folders.delete(from)) this.folders.add(to);
  }

  async remove(path: string): Promise<void> {
    if (!this.files.delete(path) && !this.folders.delete(path)) throw new DiskError('not-found', `cannot remove ${path}: it is not there`);
  }

  async syncDirectory(): Promise<void> {}

  async lock(): Promise<DiskLock> {
    return { release: async () => undefined };
  }

  async freeBytes(): Promise<number> {
    return Infinity;
  }
}

const blockBytes = 64 * 1024;

class MemoryContent {
  size = 0;
  readonly blocks: Buffer[] = [];

  read(into: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(into.length, this.size - position));
    for (let done = 0; done < length;) {
      const at = (position + done) % blockBytes;
      const count = Math.min(length - done, blockBytes - at);
      into.set(this.block(Math.floor((position + done) / blockBytes), at + count).subarray(at, at + count), done);
      done += count;
    }
    return length;
  }

  /** The block of a position, made where there is none. The first one is small: most files are. */
  block(index: number, needed: number): Buffer {
    const there = this.blocks[index];
    if (there !== undefined && there.length >= needed) return there;
    const block = Buffer.alloc(index === 0 ? Math.min(blockBytes, Math.max(needed, (there?.length ?? 512) * 2)) : blockBytes);
    there?.copy(block);
    this.blocks[index] = block;
    return block;
  }
}

class MemoryFile implements DiskFile {
  constructor(
    private readonly content: MemoryContent,
    private readonly clock: Clock,
  ) {}

  async size(): Promise<number> {
    return this.content.size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    return this.content.read(into, position);
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    const { content } = this;
    let to = position;
    for (const part of parts) {
      for (let from = 0; from < part.length;) {
        const at = to % blockBytes;
        const count = Math.min(part.length - from, blockBytes - at);
        content.block(Math.floor(to / blockBytes), at + count).set(part.subarray(from, from + count), at);
        from += count;
        to += count;
      }
    }
    if (parts.length > 0) content.size = Math.max(content.size, to);
    this.clock.defer(() => done(undefined));
  }

  sync(done: (error: DiskError | undefined) => void): void {
    this.clock.defer(() => done(undefined));
  }

  async truncate(size: number): Promise<void> {
    const { content } = this;
    content.blocks.length = Math.min(content.blocks.length, Math.ceil(size / blockBytes));
    if (size < content.size) content.blocks[Math.floor(size / blockBytes)]?.fill(0, size % blockBytes);
    content.size = size;
  }

  async close(): Promise<void> {}
}
