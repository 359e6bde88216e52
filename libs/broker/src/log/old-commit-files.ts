import { crc32, type Disk } from '@dovecote/ground';
import { removeIfThere } from './open-files.js';

/**
 * The files in which commits of several partitions stood before the broker's journal had them: a folder that an older version left is read once, and its
 * batches are put where they are missing.
 *
 *   file    | "DOVELOGC" | version u32 = 1 | salt u32 | commit | commit | …
 *   commit  | 0xd04e106c | length u32 | crc u32 | entries u32 | entry | …
 *   entry   | topic id 16 | partition u32 | first offset i64 | length u32 | record batches |
 *
 * `length` of a commit counts all of it; `crc` is the CRC-32 of what stands behind it, begun with the salt. A commit is believed as a whole or not at all.
 */
const fileHeadBytes = 16;
const commitHeadBytes = 16;
const entryHeadBytes = 32;
const fileMagic = Buffer.from('DOVELOGC', 'latin1');
const commitMagic = 0xd04e106c;

/** Told of what one partition had in a commit: its batches are `bytes[start..end)`, and topic id and partition begin at `at`. */
export type VisitEntry = (bytes: Buffer, at: number, start: number, end: number) => void;

/** In the order in which it was committed. Nothing where there is no folder. */
export async function readOldCommitFiles(disk: Disk, directory: string, visit: VisitEntry): Promise<void> {
  const names = (await disk.exists(directory)) ? await disk.list(directory) : [];
  for (const name of names) {
    const file = await disk.open(`${directory}/${name}`, 'read');
    try {
      const bytes = Buffer.allocUnsafeSlow(await file.size());
      readCommits(bytes.subarray(0, await file.read(bytes, 0)), visit);
    } finally {
      await file.close();
    }
  }
}

/** Everything in them is in the segments, and on the disk. */
export async function removeOldCommitFiles(disk: Disk, directory: string): Promise<void> {
  if (!(await disk.exists(directory))) return;
  for (const name of await disk.list(directory)) await removeIfThere(disk, `${directory}/${name}`);
  await removeIfThere(disk, directory);
}

function readCommits(bytes: Buffer, visit: VisitEntry): void {
  if (bytes.length < fileHeadBytes || bytes.compare(fileMagic, 0, 8, 0, 8) !== 0) return;
  const salt = bytes.readUInt32BE(12);
  for (let at = fileHeadBytes; at + commitHeadBytes <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 4);
    if (bytes.readUInt32BE(at) !== commitMagic || length < commitHeadBytes || at + length > bytes.length) return;
    if (crc32(bytes.subarray(at + 12, at + length), salt) !== bytes.readUInt32BE(at + 8)) return;
    for (let entry = at + commitHeadBytes; entry < at + length;) {
      const start = entry + entryHeadBytes;
      const end = start + bytes.readUInt32BE(entry + 28);
      visit(bytes, entry, start, end);
      entry = end;
    }
    at += length;
  }
}
