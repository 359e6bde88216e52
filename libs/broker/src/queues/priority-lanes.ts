import type { Arena } from '../storage/arena.js';
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

  forEach(visit: (message: ReturnedMessage) => void): void {
    for (const lane of this.lanes) lane.forEach(visit);
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

  private highest(): Returned | undefined {
    return this.lanes.findLast((lane) => lane.length > 0);
  }

  private priorityOf({ chunk, offset }: ReturnedMessage): number {
    const { bytes } = this.arena.chunks[chunk]!;
    const at = findProperty(bytes, propertiesStart(bytes, offset), 'priority');
    return at < 0 ? 0 : Math.min(bytes[at]!, this.maxPriority);
  }
}
