import type { Disk, DiskError, DiskFile, Ground } from '@dovecote/ground';
import { encodeSnapshot } from '../log/producer-snapshot.js';
import type { Broker } from '../broker.js';
import type { MessageLog } from '../queues/message-log.js';

/**
 * The ground of a simulated process with somebody looking over its shoulder: what the disk answered is seen, and the disk may be told to lie,
 * to prove that the simulation would notice a broker that does not wait for it, or the broker itself to leave something out.
 */
export const sabotages = [
  'none',
  'confirm-before-sync',
  'confirm-before-write',
  'skip-directory-sync',
  'never-sync',
  'forget-moves',
  // Of the partitioned log: two batches of a segment change places; what was known of producers reads as if there were none.
  'swap-batches',
  'forget-producers',
] as const;
export type Sabotage = (typeof sabotages)[number];

/** `forget-moves`: what lives in an old file of the journal is not written again when the file goes, although it is said to be. */
export function sabotageMoves(broker: Broker): void {
  const { storage } = broker as unknown as { readonly storage: { readonly hosts: { readonly parts: { readonly log: MessageLog } } } };
  storage.hosts.parts.log.appendMoved = () => undefined;
}

export function watchedGround(ground: Ground, sabotage: Sabotage, failed: (operation: string, error: DiskError) => void): Ground {
  const { disk, clock } = ground;
  const early = (done: (error: DiskError | undefined) => void): void => clock.defer(() => done(undefined));
  const watched: Disk = {
    open: async (path, mode) => {
      const file = watch(await disk.open(path, mode));
      if (sabotage === 'swap-batches' && /-\d+\/\d{20}\.log$/.test(path)) return swapping(file);
      return sabotage === 'forget-producers' && path.endsWith('.snapshot') && mode === 'read' ? withoutProducers(file) : file;
    },
    makeDirectory: (path) => disk.makeDirectory(path),
    list: (path) => disk.list(path),
    exists: (path) => disk.exists(path),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: async (path) => {
      if (sabotage === 'skip-directory-sync') return;
      await disk.syncDirectory(path).catch((error: DiskError) => {
        failed('sync', error);
        throw error;
      });
    },
    readNow: (path, into, position) => disk.readNow(path, into, position),
    lock: (path) => disk.lock(path),
    freeBytes: (path) => disk.freeBytes(path),
  };
  const watch = (file: DiskFile): DiskFile => ({
    size: () => file.size(),
    read: (into, position) => file.read(into, position),
    write: (parts, position, done) => {
      if (sabotage === 'confirm-before-write') {
        // A copy: the caller may use its memory again as soon as it is called back.
        const copies = parts.map((part) => Buffer.from(part));
        file.write(copies, position, () => undefined);
        return early(done);
      }
      return file.write(parts, position, (error) => {
        if (error?.code === 'failed') failed('write', error);
        done(error);
      });
    },
    sync: (done) => {
      if (sabotage === 'never-sync') return early(done);
      if (sabotage === 'confirm-before-sync') {
        file.sync(() => undefined);
        return early(done);
      }
      return file.sync((error) => {
        if (error !== undefined) failed('sync', error);
        done(error);
      });
    },
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  });
  return { ...ground, disk: watched };
}

/** Two batches of the same length that are written together change places, but for their offsets. */
function swapping(file: DiskFile): DiskFile {
  return {
    ...file,
    write: (parts, position, done) => {
      const bytes = Buffer.concat(parts);
      for (let at = 0; at + 12 < bytes.length;) {
        const length = bytes.readInt32BE(at + 8) + 12;
        const next = at + length;
        if (next + 12 > bytes.length || bytes.readInt32BE(next + 8) + 12 !== length) {
          at = next;
          continue;
        }
        const first = Buffer.from(bytes.subarray(at + 12, next));
        bytes.copy(bytes, at + 12, next + 12, next + length);
        first.copy(bytes, next + 12);
        break;
      }
      file.write([bytes], position, done);
    },
  };
}

function withoutProducers(file: DiskFile): DiskFile {
  const empty = encodeSnapshot([]);
  return {
    ...file,
    size: async () => empty.length,
    read: async (into) => empty.copy(into),
  };
}
