import type { Disk, DiskError, DiskFile, Ground } from '@dovecote/ground';
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
    open: async (path, mode) => watch(await disk.open(path, mode)),
    makeDirectory: (path) => disk.makeDirectory(path),
    list: (path) => disk.list(path),
    exists: (path) => disk.exists(path),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: (path) => (sabotage === 'skip-directory-sync' ? Promise.resolve() : disk.syncDirectory(path)),
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
