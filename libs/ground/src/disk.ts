/**
 * Files, as the storage sees them. Positions and lengths are bytes; paths are absolute.
 *
 * What survives which crash, the same for every implementation:
 *   - `write` survives the end of the process once it has called back without an error;
 *   - `sync` survives the loss of power: the content and the length of the file at the time of the call;
 *   - a created, renamed or removed name survives the loss of power once `syncDirectory` of its folder returned.
 * After a failed `sync` nothing is known about what was written since the last good one, and asking again proves
 * nothing (Linux marks the pages clean): whoever meets that must stop trusting the file.
 */
export interface Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** Makes the folder and the ones above it, which survive the loss of power once it returned; content where it exists. */
  makeDirectory(path: string): Promise<void>;
  /** The names in a folder, sorted. */
  list(path: string): Promise<readonly string[]>;
  exists(path: string): Promise<boolean>;
  /** Takes the place of what stands at `to`, at once. */
  rename(from: string, to: string): Promise<void>;
  /** A file, or an empty folder. */
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /**
   * Fills `into` from `position` of the file before it returns; the bytes read, fewer only at the end of the file. Everything else in the
   * process stands still meanwhile: for the few who cannot wait. Throws a `DiskError`.
   */
  readNow(path: string, into: Uint8Array, position: number): number;
  /**
   * Claims a folder for this process until `release` or the end of the process, however it ends.
   * Rejects with a `DiskError` of code `locked` whose sentence names the owner.
   */
  lock(path: string): Promise<DiskLock>;
  /** Bytes that may still be written on the volume of `path`. */
  freeBytes(path: string): Promise<number>;
}

/**
 * `create` makes a new file and fails with EEXIST where there is one; `edit` opens an existing one for reading and writing. `create-synced` is `create` for a file that
 * is synced after each write: where the system can, it syncs as it writes, which saves a trip to it, and `sync` finds nothing left to do. It must be called all the same.
 */
export type OpenMode = 'read' | 'edit' | 'create' | 'create-synced';

export interface DiskFile {
  size(): Promise<number>;
  /** Fills `into` from `position`; resolves to the bytes read, fewer only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Writes all of `parts`, one behind the other, from `position`. A callback instead of a promise: it runs once per commit.
   * After an error any part of the range may have been written; writing the same range again is allowed.
   */
  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void;
  /** fdatasync. */
  sync(done: (error: DiskError | undefined) => void): void;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

export interface DiskLock {
  release(): Promise<void>;
}

export type DiskErrorCode =
  /** The volume is full (ENOSPC, EDQUOT): free some space and try again. */
  | 'full'
  /** Another process owns the folder. */
  | 'locked'
  | 'not-found'
  | 'exists'
  /** The account may not (EACCES, EPERM, EROFS). */
  | 'denied'
  /** Everything else: the device failed. */
  | 'failed';

export class DiskError extends Error {
  override readonly name = 'DiskError';
  constructor(
    readonly code: DiskErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
