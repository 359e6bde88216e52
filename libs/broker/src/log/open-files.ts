import { type Disk, DiskError, type DiskFile } from '@dovecote/ground';

/**
 * The files of the log that are open: a thousand partitions have more files than a process may hold, so the one that was used longest ago is
 * closed when another is needed. A file in use is pinned and stays.
 *
 * Whoever wants bytes of a file asks here by its path. One per log.
 */
export class OpenFile {
  pins = 0;
  isForgotten = false;
  constructor(
    readonly path: string,
    readonly handle: DiskFile,
  ) {}
}

export class OpenFiles {
  /** Oldest use first. */
  private readonly files = new Map<string, OpenFile>();
  /** Files that are being opened, and how many wait for each: it is pinned for all of them from the moment it is there. */
  private readonly opening = new Map<string, { readonly file: Promise<OpenFile>; waiting: number }>();
  private readonly closing = new Set<Promise<void>>();

  constructor(
    private readonly disk: Disk,
    private readonly filesMax: number,
  ) {}

  /** The file pinned, if it is open. */
  pinOpen(path: string): OpenFile | undefined {
    const file = this.files.get(path);
    if (file === undefined) return undefined;
    file.pins++;
    // Half of the places are kept in the order of use; an order among the youngest would say nothing and cost each use.
    if (this.files.size * 2 > this.filesMax) {
      this.files.delete(path);
      this.files.set(path, file);
    }
    return file;
  }

  async pin(path: string, mode: 'edit' | 'create'): Promise<OpenFile> {
    const open = this.pinOpen(path);
    if (open !== undefined) return open;
    const opening = this.opening.get(path) ?? this.open(path, mode);
    opening.waiting++;
    return opening.file;
  }

  unpin(file: OpenFile): void {
    file.pins--;
    if (file.pins > 0) return;
    if (file.isForgotten) this.close(file);
    else if (this.files.size > this.filesMax) this.closeOldest();
  }

  /** The file is going to be removed or renamed: it is closed as soon as nobody uses it. */
  async forget(path: string): Promise<void> {
    await this.opening.get(path)?.file.catch(() => undefined);
    const file = this.files.get(path);
    if (file === undefined) return;
    this.files.delete(path);
    file.isForgotten = true;
    if (file.pins === 0) this.close(file);
  }

  /** The same for every file of a folder. */
  async forgetFolder(folder: string): Promise<void> {
    const paths = [...this.opening.keys(), ...this.files.keys()].filter((path) => path.startsWith(`${folder}/`));
    for (const path of paths) await this.forget(path);
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.opening.values()].map((opening) => opening.file.catch(() => undefined)));
    for (const file of this.files.values()) this.close(file);
    this.files.clear();
    await Promise.all(this.closing);
  }

  private open(path: string, mode: 'edit' | 'create') {
    const settle = async (): Promise<OpenFile> => {
      try {
        const file = new OpenFile(path, await this.disk.open(path, mode));
        file.pins = opening.waiting;
        this.files.set(path, file);
        this.closeOldest();
        return file;
      } finally {
        this.opening.delete(path);
      }
    };
    const opening = { file: settle(), waiting: 0 };
    this.opening.set(path, opening);
    return opening;
  }

  private closeOldest(): void {
    if (this.files.size <= this.filesMax) return;
    for (const [path, file] of this.files) {
      if (file.pins > 0) continue;
      this.files.delete(path);
      this.close(file);
      if (this.files.size <= this.filesMax) return;
    }
  }

  private close(file: OpenFile): void {
    // What a file could not say at its close nobody waits for: what matters was synced.
    const closed: Promise<void> = file.handle.close().then(
      () => void this.closing.delete(closed),
      () => void this.closing.delete(closed),
    );
    this.closing.add(closed);
  }
}

/** The whole of a small file; undefined where there is none. */
export async function readWhole(disk: Disk, path: string): Promise<Buffer | undefined> {
  let file: DiskFile;
  try {
    file = await disk.open(path, 'read');
  } catch (error) {
    if (error instanceof DiskError && error.code === 'not-found') return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(await file.size());
    return bytes.subarray(0, await file.read(bytes, 0));
  } finally {
    await file.close();
  }
}

/** What a file system lets a name have; the longest name of a topic leaves no room for another ending. */
const nameLengthMax = 255;

/** Puts a file in place of another, so that a crash leaves the old one or the new one. `isSynced`: the new one, once this resolved. */
export async function replaceFile(disk: Disk, folder: string, name: string, bytes: Uint8Array, isSynced: boolean): Promise<void> {
  const draft = `${folder}/${name.slice(0, nameLengthMax - '.tmp'.length)}.tmp`;
  await writeNew(disk, draft, bytes, isSynced);
  await disk.rename(draft, `${folder}/${name}`);
  if (isSynced) await disk.syncDirectory(folder);
}

/** Makes a file anew, whatever stood there. */
export async function writeNew(disk: Disk, path: string, bytes: Uint8Array, isSynced: boolean): Promise<void> {
  const file = await disk.open(path, 'create').catch(async (error: unknown) => {
    if (!(error instanceof DiskError && error.code === 'exists')) throw error;
    await disk.remove(path);
    return disk.open(path, 'create');
  });
  try {
    await write(file, [bytes], 0);
    if (isSynced) await sync(file);
  } finally {
    await file.close();
  }
}

/** Brings to the disk what was written to a file. */
export async function syncFile(disk: Disk, path: string): Promise<void> {
  const file = await disk.open(path, 'edit');
  try {
    await sync(file);
  } finally {
    await file.close();
  }
}

export async function removeIfThere(disk: Disk, path: string): Promise<void> {
  await disk.remove(path).catch((error: unknown) => {
    if (!(error instanceof DiskError && error.code === 'not-found')) throw error;
  });
}

export function write(file: DiskFile, parts: readonly Uint8Array[], position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(parts, position, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

export function sync(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => {
    file.sync((error) => (error === undefined ? resolve() : reject(error)));
  });
}
