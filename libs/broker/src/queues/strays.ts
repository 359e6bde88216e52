import type { Arena } from '../storage/arena.js';
import type { Backlog } from './backlog.js';

/**
 * Messages that recovery meets out of their order, because they were written again when their file went (trimmer.ts): they wait here until
 * everything was read, and are merged into the backlog of their queue by their sequence then.
 *
 * They come in runs, each in order, as they were moved. Where the file did not go before the crash, a message is met twice: the first one
 * counts. Lives as long as the recovery does.
 */
export class Strays {
  private readonly runs: { readonly backlog: Backlog; last: number }[] = [];

  constructor(
    private readonly arena: Arena,
    private readonly main: Backlog,
    /** Makes an empty one of which everything is visible. */
    private readonly make: () => Backlog,
  ) {}

  take(sequence: number, chunk: number, offset: number, length: number): void {
    const { arena, runs, main } = this;
    if (main.has(sequence) || runs.some(({ backlog }) => backlog.has(sequence))) return;
    let run = runs.filter(({ last }) => last < sequence).reduce<(typeof runs)[number] | undefined>(latest, undefined);
    if (run === undefined) runs.push((run = { backlog: this.make(), last: 0 }));
    const holder = arena.chunks[chunk]!;
    holder.live++;
    holder.born++;
    run.backlog.push(sequence, chunk, offset, length);
    run.last = sequence;
  }

  settle(start: number, end: number): void {
    for (const { backlog } of this.runs) backlog.settle(start, end);
  }

  /** Moves everything to a new backlog: what was met in order, and what was not. */
  merge(): Backlog {
    const into = this.make();
    const sources = [this.main, ...this.runs.map(({ backlog }) => backlog)];
    for (const source of sources) source.fillHoles();
    for (let moved = 1; ; moved++) {
      let first: Backlog | undefined;
      for (const source of sources) {
        if (source.length > 0 && (first === undefined || source.firstSequence < first.firstSequence)) first = source;
      }
      if (first === undefined) break;
      const slot = first.shift();
      const { sequences, chunks, offsets, lengths } = first.front;
      into.push(sequences[slot]!, chunks[slot]!, offsets[slot]!, lengths[slot]!);
      if (moved % relievedEvery === 0) this.arena.reader?.relieve();
    }
    for (const source of sources) source.release();
    return into;
  }
}

/** Messages that are moved before somebody looks at the memory. */
const relievedEvery = 4096;

function latest<Run extends { readonly last: number }>(one: Run | undefined, other: Run): Run {
  return one === undefined || other.last > one.last ? other : one;
}
