import type { Chunk } from '../storage/arena.js';
import type { DeathReason } from './dead-letter.js';
import type { DelayedMessages } from './delayed-messages.js';
import type { Queue } from './queue.js';

/**
 * The numbers of what has messages, in all virtual hosts: the journal names a queue, or an exchange that holds messages, by its number
 * alone. Kept with the checkpoints, so that no number is given twice.
 */
export class QueueRegister {
  readonly byId = new Map<number, Queue>();
  readonly held = new Map<number, DelayedMessages>();
  nextId = 1;
  /** During recovery: the last thing that was read is the orderly end of a broker. */
  wasClosed = false;

  add(queue: Queue): void {
    this.byId.set(queue.id, queue);
    this.isTaken(queue.id);
  }

  addHeld(held: DelayedMessages): void {
    this.held.set(held.id, held);
    this.isTaken(held.id);
  }

  // What the journal brings back after a crash, in its order.

  message(queueId: number, sequence: number, chunk: Chunk, offset: number, length: number, isTimed: boolean): void {
    this.wasClosed = false;
    const queue = this.byId.get(queueId);
    if (queue === undefined) return this.held.get(queueId)?.recoverMessage(sequence, chunk.id, offset, length);
    if (isTimed) queue.beginToExpire();
    queue.recoverMessage(sequence, chunk.id, offset, length);
  }

  settled(queueId: number, first: number, count: number): void {
    this.wasClosed = false;
    (this.byId.get(queueId) ?? this.held.get(queueId))?.recoverSettled(first, count);
  }

  returned(queueId: number, sequence: number, count: number): void {
    this.wasClosed = false;
    this.byId.get(queueId)?.recoverReturned(sequence, count);
  }

  dead(queueId: number, sequence: number, reason: DeathReason): void {
    this.wasClosed = false;
    this.byId.get(queueId)?.recoverDead(sequence, reason);
  }

  delivered(queueId: number, below: number): void {
    this.byId.get(queueId)?.recoverDelivered(below);
  }

  /** What has this number, in words. */
  whatHas(id: number): string | undefined {
    const queue = this.byId.get(id);
    if (queue !== undefined) return `queue '${queue.name}'`;
    const held = this.held.get(id);
    return held === undefined ? undefined : `what exchange '${held.name}' holds`;
  }

  private isTaken(id: number): void {
    if (id >= this.nextId) this.nextId = id + 1;
  }
}
