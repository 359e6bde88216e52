import { type Clock, type Disk, DiskError, type DiskFile, type DiskLock, type OpenMode } from '@dovecote/ground';

/**
 * A disk seen through glass: what is written, renamed or removed stays in memory, and the real one below is only read. So the code of an opening can be run over a
 * folder to find out what it would say, without changing a byte of it.
 *
 * What is written over bytes that are the same takes no memory. A folder that is renamed is gone: nobody here looks at where it went.
 */
export class OverlayDisk implements Disk {
  /** By path: what the file is now, undefined where there is none any more. Others are as below. */
  private readonly nodes = new Map<string, OverlayNode | undefined>();
  private readonly folders = new Set<string>();
  private readonly goneFolders = new Set<string>();

  constructor(
    private readonly below: Disk,
    private readonly clock: Clock,
  ) {}

  async open(path: string, mode: OpenMode): Promise<DiskFile> {
    if (mode.startsWith('create')) {
      if (await this.exists(path)) throw new DiskError('exists', `cannot create ${path}: it is there`);
      this.nodes.set(path, new OverlayNode(undefined, 0));
    }
    const node = await this.nodeAt(path);
    const file = node.path === undefined ? undefined : await this.below.open(node.path, 'read');
    return new OverlayFile(node, file, this.clock);
  }

  readNow(): number {
    throw new DiskError('failed', 'nothing is read at once from a folder that is only looked at');
  }

  async makeDirectory(path: string): Promise<void> {
    this.folders.add(path);
  }

  async list(path: string): Promise<readonly string[]> {
    const isBelow = !this.isGone(path) && (await this.below.exists(path));
    if (!isBelow && !this.folders.has(path)) throw new DiskError('not-found', `cannot list ${path}: it is not there`);
    const names = new Set(isBelow ? await this.below.list(path) : []);
    for (const gone of this.goneFolders) if (gone.startsWith(`${path}/`)) names.delete(gone.slice(path.length + 1));
    for (const [each, node] of this.nodes) {
      if (!each.startsWith(`${path}/`)) continue;
      const name = each.slice(path.length + 1);
      if (name.includes('/')) continue;
      if (node === undefined) names.delete(name);
      else names.add(name);
    }
    for (const each of this.folders) if (each.startsWith(`${path}/`)) names.add(each.slice(path.length + 1).split('/')[0]!);
    return [...names].sort();
  }

  async exists(path: string): Promise<boolean> {
    if (this.nodes.has(path)) return this.nodes.get(path) !== undefined;
    return this.folders.has(path) || (!this.isGone(path) && (await this.below.exists(path)));
  }

  async rename(from: string, to: string): Promise<void> {
    if (await this.isFolder(from)) {
      this.forgetFolder(from);
      return;
    }
    const node = await this.nodeAt(from);
    this.nodes.set(from, undefined);
    this.nodes.set(to, node);
  }

  async remove(path: string): Promise<void> {
    if (!(await this.exists(path))) throw new DiskError('not-found', `cannot remove ${path}: it is not there`);
    if (await this.isFolder(path)) this.forgetFolder(path);
    else this.nodes.set(path, undefined);
  }

  async syncDirectory(): Promise<void> {}

  async lock(): Promise<DiskLock> {
    return { release: async () => undefined };
  }

  freeBytes(path: string): Promise<number> {
    return this.below.freeBytes(path);
  }

  private forgetFolder(path: string): void {
    this.goneFolders.add(path);
    this.folders.delete(path);
    for (const each of [...this.nodes.keys()]) if (each.startsWith(`${path}/`)) this.nodes.set(each, undefined);
  }

  private isGone(path: string): boolean {
    for (const gone of this.goneFolders) if (path === gone || path.startsWith(`${gone}/`)) return !this.folders.has(path);
    return false;
  }

  private async isFolder(path: string): Promise<boolean> {
    if (this.nodes.has(path)) return false;
    if (this.folders.has(path)) return true;
    return this.below.list(path).then(
      () => true,
      () => false,
    );
  }

  private async nodeAt(path: string): Promise<OverlayNode> {
    const there = this.nodes.get(path);
    if (there !== undefined) return there;
    if (this.nodes.has(path) || this.isGone(path)) throw new DiskError('not-found', `cannot open ${path}: it is not there`);
    const file = await this.below.open(path, 'read');
    try {
      const node = new OverlayNode(path, await file.size());
      this.nodes.set(path, node);
      return node;
    } finally {
      await file.close();
    }
  }
}

const blockBytes = 64 * 1024;

class OverlayNode {
  readonly blocks = new Map<number, Buffer>();
  /** What stands below counts up to here. */
  belowBytes: number;

  constructor(
    readonly path: string | undefined,
    public size: number,
  ) {
    this.belowBytes = size;
  }
}

class OverlayFile implements DiskFile {
  constructor(
    private readonly node: OverlayNode,
    private readonly below: DiskFile | undefined,
    private readonly clock: Clock,
  ) {}

  async size(): Promise<number> {
    return this.node.size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { node } = this;
    const length = Math.max(0, Math.min(into.length, node.size - position));
    const fromBelow = Math.max(0, Math.min(length, node.belowBytes - position));
    if (fromBelow > 0) await this.below!.read(into.subarray(0, fromBelow), position);
    into.fill(0, fromBelow, length);
    for (let done = 0; done < length && node.blocks.size > 0;) {
      const at = (position + done) % blockBytes;
      const count = Math.min(length - done, blockBytes - at);
      const block = node.blocks.get(Math.floor((position + done) / blockBytes));
      if (block !== undefined) into.set(block.subarray(at, at + count), done);
      done += count;
    }
    return length;
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    void this.putThen(Buffer.concat(parts), position, done);
  }

  sync(done: (error: DiskError | undefined) => void): void {
    this.clock.defer(() => done(undefined));
  }

  async truncate(size: number): Promise<void> {
    const { node } = this;
    if (size < node.size) {
      for (const [index, block] of node.blocks) {
        if (index * blockBytes >= size) node.blocks.delete(index);
        else if ((index + 1) * blockBytes > size) block.fill(0, size % blockBytes);
      }
      node.belowBytes = Math.min(node.belowBytes, size);
    }
    node.size = size;
  }

  async close(): Promise<void> {
    await this.below?.close();
  }

  private async putThen(bytes: Buffer, position: number, done: (error: DiskError | undefined) => void): Promise<void> {
    let failure: DiskError | undefined;
    try {
      await this.put(bytes, position);
    } catch (error) {
      failure = error instanceof DiskError ? error : new DiskError('failed', String(error));
    }
    done(failure);
  }

  private async put(bytes: Buffer, position: number): Promise<void> {
    const { node } = this;
    if (bytes.length === 0) return;
    const before = Buffer.alloc(bytes.length);
    const known = await this.read(before, position);
    if (known === bytes.length && before.equals(bytes)) return;
    for (let done = 0; done < bytes.length;) {
      const index = Math.floor((position + done) / blockBytes);
      const at = (position + done) % blockBytes;
      const count = Math.min(bytes.length - done, blockBytes - at);
      let block = node.blocks.get(index);
      if (block === undefined) {
        block = Buffer.alloc(blockBytes);
        await this.read(block, index * blockBytes);
        node.blocks.set(index, block);
      }
      bytes.copy(block, at, done, done + count);
      done += count;
    }
    node.size = Math.max(node.size, position + bytes.length);
  }
}
