import type { Arena, Chunk, ChunkWaiter } from '../storage/arena.js';
import type { Journal } from '../storage/journal.js';
import type { JournalFile } from '../storage/journal-file.js';
import type { MessageLog } from './message-log.js';
import { MovedChunk } from './moved-chunk.js';
import type { Turn } from './turn.js';

/**
 * Told of one message that somebody holds: where it stands, and the id and sequence under which the journal knows it there. The id is 0
 * where the holder is not kept. `isTimed` says that the moment at which it came stands in front of it and is needed.
 */
export type VisitHolding = (chunk: number, offset: number, length: number, id: number, sequence: number, isTimed: boolean) => void;

/** Everybody who may hold messages of journaled chunks. */
export interface Holders {
  /** Visits every holding in the chunks for which `isWanted` has true; more may be visited. */
  forEachHolding(isWanted: readonly boolean[], visit: VisitHolding): void;
  /** The message was written again: what else the journal says of it must be, too. */
  messageMoved(id: number, sequence: number): void;
}

export interface TrimmerParts {
  readonly arena: Arena;
  readonly journal: Journal;
  readonly log: MessageLog;
  readonly turn: Turn;
  readonly holders: Holders;
  readonly fileBytesMax: number;
  /** The journal may be longer than twice what lives in it by so much. */
  readonly slackBytes: number;
}

interface Living {
  readonly length: number;
  readonly targets: number[];
  isTimed: boolean;
}

/**
 * Keeps the journal short although some messages are never taken, as the cleaner of a log-structured file system does.
 *
 * Files go from the oldest on, and only when nothing in them lives. So where the journal has grown to more than twice what lives in it,
 * the living messages of the oldest file are written again at its end, chunk by chunk, and the file goes when that is committed. On the
 * whole not more is written again than was written: each round finds at least as much dead as living.
 *
 * Whoever holds a message does not notice: it stays where it is in its chunk, and the chunk gets a new home. After a crash a message may
 * be in the journal twice; the recovery takes one of both, in its old place in the queue. The old file goes only when the new place is as
 * safe as the durability says.
 *
 * A few chunks at a time, and nothing while a commit of the last ones is under way. Where somebody holds messages whom nobody knows of, as
 * a transaction that is not committed yet, their chunks stay as they are until later.
 */
export class Trimmer implements ChunkWaiter {
  private state: 'idle' | 'wanted' | 'reading' | 'committing' = 'idle';
  private victims: readonly Chunk[] = [];

  constructor(private readonly parts: TrimmerParts) {}

  /** The journal has begun a new file, or was opened: look whether there is something to trim. */
  consider(): void {
    if (this.state !== 'idle') return;
    this.state = 'wanted';
    this.parts.turn.schedule();
  }

  /** Called in every turn. */
  work(): void {
    if (this.state === 'wanted') this.begin();
    else if (this.state === 'reading' && this.victims.every(({ isResident }) => isResident)) {
      if (this.parts.journal.isOpen) this.move();
      else this.leave('idle'); // the last words are the last record
    }
  }

  bytesCame(): void {
    this.parts.turn.schedule();
  }

  private begin(): void {
    const { arena, journal } = this.parts;
    this.state = 'idle';
    const files = journal.filesToEmpty;
    if (files.length === 0 || !this.isWorthWhile()) return;
    const victims = this.choose(files);
    if (victims.length === 0) return;
    this.victims = victims;
    this.state = 'reading';
    for (const chunk of victims) {
      chunk.pins++; // so that it stays in memory
      if (!chunk.isResident) arena.reader!.fetch(chunk, this);
    }
    this.work();
  }

  private isWorthWhile(): boolean {
    const { arena, journal, fileBytesMax, slackBytes } = this.parts;
    const { bytesOnDisk, fileCount, checkpointBytes } = journal;
    if (fileCount > filesMin + (2 * bytesOnDisk) / fileBytesMax) return true; // as many restarts leave them
    if (bytesOnDisk <= slackBytes) return false;
    let living = 0;
    for (const chunk of arena.chunks) if (chunk?.isJournaled === true) living += livingBytes(chunk);
    // What lives needs so many files at least, and they do not get shorter than their checkpoints.
    const files = 2 + living / Math.max(fileBytesMax - checkpointBytes, fileBytesMax / 8);
    return bytesOnDisk > 2 * (living + files * checkpointBytes) + slackBytes;
  }

  private choose(files: readonly JournalFile[]): readonly Chunk[] {
    const victims: Chunk[] = [];
    let bytes = 0;
    for (const chunk of this.parts.arena.chunks) {
      if (chunk === undefined || chunk.pins > 0 || !files.some((file) => file === chunk.home?.file)) continue;
      victims.push(chunk);
      bytes += livingBytes(chunk);
      if (bytes >= bytesAtOnce || victims.length === chunksAtOnce) break;
    }
    return victims.sort((one, other) => one.position - other.position);
  }

  /** Writes what lives in the victims again. */
  private move(): void {
    const { journal, turn, holders } = this.parts;
    const { victims } = this;
    const file = journal.activeFile;
    const living = this.findLiving(victims);
    const moved = victims.flatMap((chunk, index) => {
      const messages = living[index];
      if (messages === undefined) return [];
      file.chunks++;
      const position = journal.beginBatch();
      const written = this.append(chunk, messages);
      const length = journal.beginBatch() - position;
      for (const [id, sequence] of written) holders.messageMoved(id, sequence);
      return [{ chunk, position, length }];
    });
    this.state = 'committing';
    if (moved.length === 0) return this.leave('idle');
    turn.definitionWasAppended();
    turn.afterCommit(() => {
      for (const { chunk, position, length } of moved) this.rehome(chunk, file, position, length);
      this.leave('wanted');
    });
  }

  private rehome(chunk: Chunk, file: JournalFile, position: number, length: number): void {
    if (chunk.live === 0) return file.dropChunk(); // nobody waited for it
    const { home } = chunk;
    chunk.home = new MovedChunk(file);
    chunk.position = position;
    chunk.length = length;
    chunk.born = chunk.live;
    home!.dropChunk(chunk);
  }

  private leave(state: 'idle' | 'wanted'): void {
    const { arena, turn } = this.parts;
    for (const chunk of this.victims) arena.unpin(chunk);
    this.victims = [];
    this.state = state;
    turn.schedule();
  }

  private append(chunk: Chunk, messages: ReadonlyMap<number, Living>): readonly (readonly [id: number, sequence: number])[] {
    const moved: [number, number][] = [];
    for (const [offset, { length, targets, isTimed }] of [...messages].sort(([one], [other]) => one - other)) {
      this.parts.log.appendMoved(chunk, offset, length, targets, isTimed);
      for (let i = 0; i < targets.length; i += 2) moved.push([targets[i]!, targets[i + 1]!]);
    }
    return moved;
  }

  /** The living messages of each chunk by their offset; undefined for one with holders whom nobody knows of. */
  private findLiving(chunks: readonly Chunk[]): readonly (ReadonlyMap<number, Living> | undefined)[] {
    const isWanted: boolean[] = [];
    const found = new Map<number, Map<number, Living>>();
    const holdings = new Map<number, number>();
    for (const { id } of chunks) {
      isWanted[id] = true;
      found.set(id, new Map());
      holdings.set(id, 0);
    }
    this.parts.holders.forEachHolding(isWanted, (id, offset, length, keeper, sequence, isTimed) => {
      if (isWanted[id] !== true) return;
      holdings.set(id, holdings.get(id)! + 1);
      const messages = found.get(id)!;
      let message = messages.get(offset);
      if (message === undefined) messages.set(offset, (message = { length, targets: [], isTimed }));
      message.isTimed ||= isTimed;
      if (keeper !== 0) message.targets.push(keeper, sequence);
    });
    return chunks.map(({ id, live }) => (holdings.get(id) === live ? found.get(id) : undefined));
  }
}

/** So many files may be there, whatever is in them. */
const filesMin = 16;
/** Moved in one commit: so much, or what lives in so many chunks. */
const bytesAtOnce = 1 << 20;
const chunksAtOnce = 8;

function livingBytes({ length, live, born }: Chunk): number {
  return born > live ? (length * live) / born : length;
}
