/**
 * The folder that one run of the sample writes to, claimed for as long as it runs.
 *
 *   broker/   the broker's own files
 *   facts/    what each process says happened, a file for every start of it
 *   lock      who holds the folder
 *
 * Two runs at once get two folders. A new run starts empty unless it is told to keep what is there; nothing but the two folders above is ever deleted.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DiskError, type DiskLock, realGround } from '@dovecote/ground';
import { Refusal } from '../refusal.js';

const RUNS_MAX = 20;

export class DataFolder {
  private constructor(
    readonly path: string,
    private readonly lock: DiskLock,
  ) {}

  /** `wanted` is the folder to use; without it the first free one below `home`. Rejects with a sentence. */
  static async claim(wanted: string | undefined, home: string, isKept: boolean): Promise<DataFolder> {
    const candidates = wanted === undefined ? Array.from({ length: RUNS_MAX }, (_, run) => join(home, String(run + 1))) : [resolve(wanted)];
    for (const path of candidates) {
      const lock = await claim(path);
      if (lock === undefined) continue;
      const folder = new DataFolder(path, lock);
      if (!isKept) for (const part of [folder.broker, folder.facts]) await rm(part, { recursive: true, force: true });
      await mkdir(folder.facts, { recursive: true });
      return folder;
    }
    throw new Refusal(`${wanted ?? home} is used by another run of this sample. Stop that one, or name another folder with --data.`);
  }

  get broker(): string {
    return join(this.path, 'broker');
  }

  get facts(): string {
    return join(this.path, 'facts');
  }

  /** Lets go of the folder; its files stay. */
  async release(): Promise<void> {
    await this.lock.release();
  }

  /** A file that no process has written to: one that starts again does not touch what it said before. */
  newFactFile(process: string): string {
    for (let start = 1; ; start += 1) {
      const path = join(this.facts, `${process}.${start}.log`);
      if (!existsSync(path)) return path;
    }
  }
}

/** Nothing where another run holds the folder. The claim ends with this process, however that ends. */
async function claim(path: string): Promise<DiskLock | undefined> {
  await mkdir(path, { recursive: true });
  const stranger = (await readdir(path)).find((name) => !/^(?:broker|facts|lock.*)$/.test(name));
  if (stranger !== undefined) throw new Refusal(`${path} holds ${stranger}, which is not this sample's. Name an empty folder with --data.`);
  try {
    return await realGround().disk.lock(path);
  } catch (error) {
    if (error instanceof DiskError && error.code === 'locked') return undefined;
    throw error;
  }
}
