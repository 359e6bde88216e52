/**
 * Payloads as files of one folder, which all services that publish or handle them see: on one machine, or on a volume that several mount.
 *
 *   <folder>/<time until which it is kept, ms>-<CRC-32C, eight hex digits>-<UUID>        and the same with .part while it is written
 *
 * A claim that `put` resolved to survives the loss of power: the file is synced, then named, then the folder is synced. What a crash leaves half written has
 * another name and goes with the rest. Past their time files are removed, at most once an hour, by whoever puts.
 */
import { resolve } from 'node:path';
import { type Clock, type Disk, DiskError, type DiskFile, type Random, crc32c, realGround } from '@dovecote/ground';
import { Identifiers } from '../identifiers.js';
import type { Claim, ClaimStore } from './claim-store.js';

const SCHEME = 'claim:folder/';
const NAME = /^(\d{1,16})-([0-9a-f]{8})-[0-9a-f-]{36}$/;
const PART = '.part';
const SWEEP_EVERY_MS = 3_600_000;

export interface ClaimGround {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
}

export class FolderClaimStore implements ClaimStore {
  readonly #folder: string;
  readonly #identifiers: Identifiers;
  #isMade: Promise<void> | undefined;
  #sweepsAtMs = Number.NEGATIVE_INFINITY;
  #sweep: Promise<void> = Promise.resolve();

  constructor(
    folder: string,
    private readonly ground: ClaimGround = realGround(),
  ) {
    this.#folder = resolve(folder);
    this.#identifiers = new Identifiers(ground.clock, ground.random);
  }

  async put(payload: Uint8Array, { keepUntilMs }: Claim): Promise<string> {
    const { disk } = this.ground;
    const sum = crc32c(payload).toString(16).padStart(8, '0');
    const name = `${Math.ceil(keepUntilMs)}-${sum}-${this.#identifiers.next()}`;
    await this.#make();
    await this.#sweepSometimes();
    const path = `${this.#folder}/${name}`;
    const file = await disk.open(`${path}${PART}`, 'create');
    try {
      await written(file, payload);
    } finally {
      await file.close();
    }
    await disk.rename(`${path}${PART}`, path);
    await disk.syncDirectory(this.#folder);
    return `${SCHEME}${name}`;
  }

  /** Rejects where what the file has is not what was put. */
  async get(reference: string): Promise<Uint8Array | undefined> {
    const [name, keepUntilMs, sum] = NAME.exec(reference.startsWith(SCHEME) ? reference.slice(SCHEME.length) : '') ?? [];
    if (name === undefined || Number(keepUntilMs) <= this.ground.clock.now()) return undefined;
    const payload = await this.#read(`${this.#folder}/${name}`);
    if (payload !== undefined && crc32c(payload) !== Number.parseInt(sum!, 16)) {
      throw new Error(`${this.#folder}/${name} is damaged: its sum is not that in its name`);
    }
    return payload;
  }

  async delete(reference: string): Promise<void> {
    const name = reference.startsWith(SCHEME) ? reference.slice(SCHEME.length) : '';
    if (NAME.test(name)) await this.#remove(name);
  }

  async #read(path: string): Promise<Uint8Array | undefined> {
    let file: DiskFile;
    try {
      file = await this.ground.disk.open(path, 'read');
    } catch (error) {
      if (isNotThere(error)) return undefined;
      throw error;
    }
    try {
      const payload = Buffer.alloc(await file.size());
      return payload.subarray(0, await file.read(payload, 0));
    } finally {
      await file.close();
    }
  }

  #make(): Promise<void> {
    this.#isMade ??= this.ground.disk.makeDirectory(this.#folder).catch((error: unknown) => {
      this.#isMade = undefined;
      throw error;
    });
    return this.#isMade;
  }

  /** What cannot be removed now is there the next time. */
  #sweepSometimes(): Promise<void> {
    const nowMs = this.ground.clock.now();
    if (nowMs >= this.#sweepsAtMs) {
      this.#sweepsAtMs = nowMs + SWEEP_EVERY_MS;
      this.#sweep = this.#removeExpired(nowMs);
    }
    return this.#sweep;
  }

  async #removeExpired(nowMs: number): Promise<void> {
    for (const name of await this.ground.disk.list(this.#folder)) {
      const whole = name.endsWith(PART) ? name.slice(0, -PART.length) : name;
      const [, keepUntilMs] = NAME.exec(whole) ?? [];
      if (keepUntilMs !== undefined && Number(keepUntilMs) <= nowMs) await this.#remove(name);
    }
  }

  async #remove(name: string): Promise<void> {
    try {
      await this.ground.disk.remove(`${this.#folder}/${name}`);
    } catch (error) {
      // Another process of the service was quicker.
      if (!isNotThere(error)) throw error;
    }
  }
}

function isNotThere(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'not-found';
}

/** Safe on the disk. */
async function written(file: DiskFile, payload: Uint8Array): Promise<void> {
  await done((callback) => file.write([payload], 0, callback));
  await done((callback) => file.sync(callback));
}

function done(begin: (callback: (error: DiskError | undefined) => void) => void): Promise<void> {
  return new Promise((resolvePromise, reject) => {
    begin((error) => (error === undefined ? resolvePromise() : reject(error)));
  });
}
