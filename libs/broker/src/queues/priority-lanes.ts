import type { Arena } from '../storage/arena.js';
import { Backlog, everything } from './backlog.js';
import { propertiesStart } from './content.js';
import { findProperty } from './properties.js';
import { Returned, type ReturnedMessage } from './returned.js';

/** Messages of a queue that a consumer may be given, where that is not the order of their sequence. */
export interface Lanes {
  readonly length: number;
  readonly first: ReturnedMessage | undefined;
  forEach(visit: (message: ReturnedMessage) => void): void;
  push(message: ReturnedMessage): void;
  /** There must be one. */
  shift(): ReturnedMessage;
  /** Has the bytes that will be needed next brought. */
  askAhead(): void;
  /** Nothing is kept in here any more. */
  release(): void;
}

/**
 * The messages of a queue with priorities that a consumer may be given: the highest priority first, and within one the order of their
 * sequence, whether they are new or came back. Stands in the place of `Returned`.
 *
 * A message without a priority has 0, and one above the queue's highest counts as that. The new ones of each priority are a backlog of their
 * own, so they take no more than in a plain queue and are packed away as there; what came back is an object a message, and short.
 */
export class PriorityLanes implements Lanes {
  length = 0;
  /** By priority; made when the first message of it comes. */
  private readonly lanes: (Lane | undefined)[] = [];

  constructor(
    private readonly arena: Arena,
    private readonly maxPriority: number,
  ) {}

  get first(): ReturnedMessage | undefined {
    return this.highest()?.first;
  }

  forEach(visit: (message: ReturnedMessage) => void): void {
    for (const lane of this.lanes) lane?.forEach(visit);
  }

  push(message: ReturnedMessage): void {
    this.length++;
    const priority = this.priorityOf(message);
    const lane = (this.lanes[priority] ??= new Lane(this.arena));
    lane.push(message);
  }

  /** There must be one. */
  shift(): ReturnedMessage {
    this.length--;
    return this.highest()!.shift();
  }

  askAhead(): void {
    this.highest()?.fresh.askAhead();
  }

  release(): void {
    for (const lane of this.lanes) lane?.fresh.release();
  }

  private highest(): Lane | undefined {
    return this.lanes.findLast((lane) => lane !== undefined && lane.length > 0);
  }

  private priorityOf({ chunk, offset }: ReturnedMessage): number {
    const { bytes } = this.arena.chunks[chunk]!;
    const at = findProperty(bytes, propertiesStart(bytes, offset), 'priority');
    return at < 0 ? 0 : Math.min(bytes[at]!, this.maxPriority);
  }
}

/** One priority. What came back was given out before all that is new, so it comes first. */
class Lane {
  readonly fresh: Backlog;
  private readonly returned = new Returned();

  constructor(arena: Arena) {
    this.fresh = new Backlog(arena, everything);
  }

  get length(): number {
    return this.returned.length + this.fresh.length;
  }

  get first(): ReturnedMessage | undefined {
    if (this.returned.length > 0) return this.returned.first;
    return this.fresh.length === 0 ? undefined : this.freshAt(this.fresh.firstSlot());
  }

  push(message: ReturnedMessage): void {
    if (message.isFresh === true) this.fresh.push(message.sequence, message.chunk, message.offset, message.length);
    else this.returned.push(message);
  }

  shift(): ReturnedMessage {
    return this.returned.length > 0 ? this.returned.shift() : this.freshAt(this.fresh.shift());
  }

  forEach(visit: (message: ReturnedMessage) => void): void {
    this.returned.forEach(visit);
    this.fresh.forEach((sequence, chunk, offset, length) => visit({ sequence, chunk, offset, length, isFresh: true }));
  }

  private freshAt(slot: number): ReturnedMessage {
    const { sequences, chunks, offsets, lengths } = this.fresh.front;
    return { sequence: sequences[slot]!, chunk: chunks[slot]!, offset: offsets[slot]!, length: lengths[slot]!, isFresh: true };
  }
}
