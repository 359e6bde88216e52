import type { Arena, Chunk } from '../storage/arena.js';
import { recordKind } from './message-log.js';

interface Place {
  readonly chunk: Chunk;
  readonly offset: number;
  readonly length: number;
}

/**
 * Gives the records of the journal to whoever takes them back, and those of a transaction only when its end has come.
 *
 *   … | begin | message | settled | message | end | …            the whole of it at `end`
 *   … | begin | message | (torn)                                 nothing of it
 *   … | begin | message | (torn) | checkpoint | …                nor later, when another life of the broker has written behind the tear
 *
 * A transaction may be longer than a batch, which is what the journal believes as a whole. It never holds a definition, and each
 * life begins with one, so a definition says that what is open will not end any more.
 */
export class RecordReplay {
  private pending: Place[] | undefined;

  constructor(
    private readonly arena: Arena,
    /** Takes a record that counts. */
    private readonly read: (chunk: Chunk, offset: number, length: number) => void,
  ) {}

  take(chunk: Chunk, offset: number, length: number): void {
    const kind = chunk.bytes[offset];
    if (kind === recordKind.begin) {
      this.forget();
      this.pending = [];
    } else if (kind === recordKind.end) this.finish();
    else if (this.pending === undefined) this.read(chunk, offset, length);
    else if (kind === recordKind.definition) {
      this.forget();
      this.read(chunk, offset, length);
    } else {
      chunk.pins++; // nobody else holds it until the end has come
      this.pending.push({ chunk, offset, length });
    }
  }

  /** Forgets a transaction without its end: the journal is over. */
  forget(): void {
    for (const { chunk } of this.pending ?? []) this.arena.unpin(chunk);
    this.pending = undefined;
  }

  private finish(): void {
    for (const { chunk, offset, length } of this.pending ?? []) this.read(chunk, offset, length);
    this.forget();
  }
}
