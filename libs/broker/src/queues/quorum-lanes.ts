import type { Arena } from '../storage/arena.js';
import { propertiesStart } from './content.js';
import { Fifo } from './fifo.js';
import type { Lanes } from './priority-lanes.js';
import { findProperty, propertyFlags } from './properties.js';
import type { ReturnedMessage } from './returned.js';

/** Two of the high ones, then one of the others. */
const weight = 2;
/** A message of a higher priority is a high one. */
const normalMax = 4;
/** What an entry takes of memory: an object of five numbers, and its place in a list. */
const objectBytes = 80;

/** Whether the message at `offset` goes before others. */
export function isHigh(bytes: Buffer, offset: number): boolean {
  const flagsAt = propertiesStart(bytes, offset);
  if ((bytes[flagsAt]! & (propertyFlags.priority >> 8)) === 0) return false;
  return bytes[findProperty(bytes, flagsAt, 'priority')]! > normalMax;
}

/**
 * The messages of a quorum queue that a consumer may be given, once there are high ones among them, in the order of RabbitMQ 4.0: what
 * came back first, in the order in which it did; then two of the high ones for each of the others, and a high one that came earlier than
 * the other before it in any case. Stands in the place of `Fifo`. An object a message, which the alarm of memory counts.
 */
export class QuorumLanes implements Lanes {
  private readonly high = new Fifo();
  private readonly normal = new Fifo();

  constructor(
    private readonly arena: Arena,
    /** What came back. */
    private readonly returned: Fifo,
    /** How many were taken since the last one of the others had its turn, at most `weight`. */
    private turn: number,
  ) {
    arena.entryBytes += objectBytes * returned.length;
  }

  get length(): number {
    return this.returned.length + this.high.length + this.normal.length;
  }

  get first(): ReturnedMessage | undefined {
    return this.returned.first ?? this.next()?.first;
  }

  forEach(visit: (message: ReturnedMessage) => void): void {
    for (const lane of [this.returned, this.high, this.normal]) lane.forEach(visit);
  }

  push(message: ReturnedMessage): void {
    this.arena.entryBytes += objectBytes;
    if (message.isFresh !== true) this.returned.push(message);
    else (isHigh(this.arena.chunks[message.chunk]!.bytes, message.offset) ? this.high : this.normal).push(message);
  }

  /** Comes back behind everything, as if it were new and not high. */
  requeue(message: ReturnedMessage): void {
    this.arena.entryBytes += objectBytes;
    this.normal.push(message);
  }

  shift(): ReturnedMessage {
    this.arena.entryBytes -= objectBytes;
    if (this.returned.length > 0) return this.returned.shift();
    const lane = this.next()!;
    this.turn = this.turn === weight ? 0 : this.turn + 1;
    return lane.shift();
  }

  askAhead(): void {
    // what is in here is not packed away
  }

  release(): void {
    // it was emptied, and nothing is left
  }

  private next(): Fifo | undefined {
    const [high, normal] = [this.high.first, this.normal.first];
    if (high === undefined) return normal === undefined ? undefined : this.normal;
    if (normal === undefined || this.turn < weight || high.sequence < normal.sequence) return this.high;
    return this.normal;
  }
}

/** Where in that turn a queue is that has given out all messages before this one. */
export function turnBefore(sequence: number): number {
  return (sequence - 1) % (weight + 1);
}
