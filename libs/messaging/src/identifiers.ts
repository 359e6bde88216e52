import type { Clock, Random } from '@dovecote/ground';
import { v7 } from 'uuid';

/** Four for where a millisecond's sequence begins, six for the end of the text. */
const RANDOM_BYTES_PER_ID = 10;
const IDS_PER_DRAW = 256;
const SEQUENCE_LIMIT = 2 ** 32;
/** Bits of the sequence that stand behind the front of the text, and how much of it that is. */
const LAST_BITS = 6;
const FRONT_CHARACTERS = 24;
const noChance = Buffer.alloc(16);

const hex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Ids for events: UUIDs of version 7, ascending within this process, from the clock and the chance that were handed in. Keeps nothing across restarts. */
export class Identifiers {
  #lastMs = Number.NEGATIVE_INFINITY;
  #sequence = 0;
  #chance: Buffer = Buffer.alloc(0);
  /** The same in hexadecimal. */
  #chanceText = '';
  #used = 0;
  /** What up to 64 ids of a millisecond have in common. The library writes it: to write each of them out would cost a microsecond. */
  #front = '';
  #frontMs = Number.NaN;
  #frontSequence = 0;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  next(): string {
    const at = this.#draw();
    const nowMs = this.clock.now();
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs;
      // The lower half of its range, so that counting up within the millisecond does not run over.
      this.#sequence = this.#chance.readUInt32BE(at) >>> 1;
    } else {
      this.#sequence += 1;
      if (this.#sequence === SEQUENCE_LIMIT) {
        this.#sequence = 0;
        this.#lastMs += 1;
      }
    }
    const frontSequence = this.#sequence >>> LAST_BITS;
    if (this.#frontMs !== this.#lastMs || this.#frontSequence !== frontSequence) {
      this.#frontMs = this.#lastMs;
      this.#frontSequence = frontSequence;
      this.#front = v7({ msecs: this.#lastMs, seq: this.#sequence, random: noChance }).slice(0, FRONT_CHARACTERS);
    }
    const between = ((this.#sequence << 2) & 0xff) | (this.#chance[at + 4]! & 3);
    return this.#front + (hex[between]! + this.#chanceText.slice(2 * at + 10, 2 * at + 20));
  }

  /** Where the chance of the next id begins. Asking the operating system once per id would cost more than the id. */
  #draw(): number {
    if (this.#used === this.#chance.length) {
      this.#chance = this.random.bytes(RANDOM_BYTES_PER_ID * IDS_PER_DRAW);
      this.#chanceText = this.#chance.toString('hex');
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += RANDOM_BYTES_PER_ID;
    return at;
  }
}
