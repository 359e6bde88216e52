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
