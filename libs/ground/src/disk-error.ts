import { isNativeError } from 'node:util/types';
import { DiskError, type DiskErrorCode } from './disk.js';
import { systemCode } from './system-code.js';

/** Turns what Node says about a file into a `DiskError` whose sentence says what to do. `action` reads on from "cannot": "write /data/journal". */
export function diskError(action: string, cause: unknown): DiskError {
  const system = systemCode(cause);
  const code = CODES[system] ?? 'failed';
  return new DiskError(
    code,
    `cannot ${action}: ${ADVICE[system] ?? SENTENCES[code] ?? (isNativeError(cause) ? cause.message : String(cause))}`,
    { cause },
  );
}

/** What the `lock` file of a folder says about the process that owns it. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** ISO 8601. */
  readonly since: string;
}

export function lockedError(folder: string, owner: LockOwner | undefined): DiskError {
  const who = owner === undefined ? 'another broker' : `another broker (process ${owner.pid} on ${owner.host}, since ${owner.since})`;
  return new DiskError('locked', `${who} owns the data folder ${folder}: stop it or choose another folder`);
}

const CODES: Readonly<Record<string, DiskErrorCode>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  ENOENT: 'not-found',
  EEXIST: 'exists',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
};

const ADVICE: Readonly<Record<string, string>> = {
  EDQUOT: "this account's quota is used up: free some space or raise the quota",
  EROFS: 'the volume is mounted read-only: mount it for writing or choose another folder',
  EMFILE: 'this process has too many open files: raise its limit (ulimit -n)',
  ENFILE: 'the machine has too many open files: raise its limit (fs.file-max)',
  ENOTDIR: 'a part of the path is a file, not a folder: choose another path',
  EISDIR: 'it is a folder, not a file: choose another path',
  EIO: 'the device failed (EIO): look at the system log and the health of the disk before trusting it again',
};

const SENTENCES: Readonly<Partial<Record<DiskErrorCode, string>>> = {
  full: 'the volume is full: free some space, then try again',
  'not-found': 'there is no such file or folder',
  exists: 'there is one already',
  denied: 'this account may not: give it the right to, or choose another folder',
};
