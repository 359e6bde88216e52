import type { Arena } from '../storage/arena.js';
import { propertiesStart } from './content.js';
import { findProperty } from './properties.js';
import { Returned, type ReturnedMessage } from './returned.js';

/** Messages of a queue that a consumer may be given, where that is not the order of their sequence. */
export interface Lanes {
  readonly length: number;
  readonly first: ReturnedMessage | undefined;
  /** Those that may be over, which are looked at in this order; when one is removed meanwhile, the one behind it comes next. */
  heads(): Iterable<ReturnedMessage>;
  push(message: ReturnedMessage): void;
  /** There must be one. */
  shift(): ReturnedMessage;
  /** Takes out one of the heads. */
  remove(head: ReturnedMessage): void;
}

/**
 * The messages of a queue with priorities that a consumer may be given: one heap for each priority, the highest first, and within
 * one the order of their sequence, whether they are new or came back. Stands in the place of `Returned`.
 *
 * A message without a priority has 0, and one above the queue's highest counts as that. An object a message: queues with
 * priorities pay for them.
 */
export class PriorityLanes implements Lanes {
  length = 0;
  private readonly lanes: Returned[];

  constructor(
    private readonly arena: Arena,
    private readonly maxPriority: number,
  ) {
    this.lanes = Array.from({ length: maxPriority + 1 }, () => new Returned());
  }

  get first(): ReturnedMessage | undefined {
    return this.highest()?.first;
  }

  /** The first of each priority, from the highest on; when one is removed meanwhile, the one behind it comes next. */
  *heads(): Iterable<ReturnedMessage> {
    for (let priority = this.lanes.length - 1; priority >= 0; priority--) {
      const lane = this.lanes[priority]!;
      for (let head = lane.first, before; head !== undefined && head !== before; head = lane.first) yield (before = head);
    }
  }

  push(message: ReturnedMessage): void {
    this.length++;
    this.lanes[this.priorityOf(message)]!.push(message);
  }

  /** There must be one. */
  shift(): ReturnedMessage {
    this.length--;
    return this.highest()!.shift();
  }

  /** Takes out one that is the first of its priority. */
  remove(head: ReturnedMessage): void {
    this.length--;
    this.lanes[this.priorityOf(head)]!.shift();
  }

  private highest(): Returned | undefined {
    return this.lanes.findLast((lane) => lane.length > 0);
  }

  private priorityOf({ chunk, offset }: ReturnedMessage): number {
    const { bytes } = this.arena.chunks[chunk]!;
    const at = findProperty(bytes, propertiesStart(bytes, offset), 'priority');
    return at < 0 ? 0 : Math.min(bytes[at]!, this.maxPriority);
  }
}
