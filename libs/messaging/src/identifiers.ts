import type { Clock, Random } from '@dovecote/ground';
import { v7 } from 'uuid';

const RANDOM_BYTES_PER_ID = 16;
const IDS_PER_DRAW = 256;
const SEQUENCE_LIMIT = 2 ** 32;

/** Ids for events: UUIDs of version 7, ascending within this process, from the clock and the chance that were handed in. Keeps nothing across restarts. */
export class Identifiers {
  #lastMs = Number.NEGATIVE_INFINITY;
  #sequence = 0;
  #chance: Buffer = Buffer.alloc(0);
  #used = 0;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  next(): string {
    const random = this.#draw();
    const nowMs = this.clock.now();
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs;
      // The lower half of its range, so that counting up within the millisecond does not run over.
      this.#sequence = random.readUInt32BE(6) >>> 1;
    } else {
      this.#sequence += 1;
      if (this.#sequence === SEQUENCE_LIMIT) {
        this.#sequence = 0;
        this.#lastMs += 1;
      }
    }
    return v7({ msecs: this.#lastMs, seq: this.#sequence, random });
  }

  /** Asking the operating system once per id would cost more than the id. */
  #draw(): Buffer {
    if (this.#used === this.#chance.length) {
      this.#chance = this.random.bytes(RANDOM_BYTES_PER_ID * IDS_PER_DRAW);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += RANDOM_BYTES_PER_ID;
    return this.#chance.subarray(start, this.#used);
  }
}
