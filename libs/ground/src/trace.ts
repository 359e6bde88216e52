/**
 * What happened in a simulated run, line by line: a running checksum of all of it, and the last lines in full.
 *
 * Two runs with one seed must end with the same checksum; the last lines say what led to a failure. Lives and dies with its run; every
 * simulated thing writes to it.
 */
import { crc32 } from 'node:zlib';

export class Trace {
  #hash = 0;
  #count = 0;
  readonly #recent: string[] = [];

  note(line: string): void {
    this.#hash = crc32(line, this.#hash);
    this.#recent[this.#count % RECENT_LINES_MAX] = line;
    this.#count++;
  }

  /** The checksum of every line so far, with their number. */
  get hash(): string {
    return `${this.#count}-${this.#hash.toString(16).padStart(8, '0')}`;
  }

  /** The last lines, oldest first. */
  recent(): readonly string[] {
    const start = this.#count % RECENT_LINES_MAX;
    return this.#count <= RECENT_LINES_MAX ? [...this.#recent] : [...this.#recent.slice(start), ...this.#recent.slice(0, start)];
  }
}

const RECENT_LINES_MAX = 200;

/** A short name for some bytes, for a line of the trace. */
export function fingerprint(bytes: Uint8Array): string {
  return `${bytes.length} bytes ${crc32(bytes).toString(16)}`;
}
