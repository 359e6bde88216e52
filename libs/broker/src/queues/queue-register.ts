import type { Queue } from './queue.js';

/**
 * The numbers of the queues of all virtual hosts: the journal names a queue by its number alone. Kept with the checkpoints, so that
 * no number is given twice.
 */
export class QueueRegister {
  readonly byId = new Map<number, Queue>();
  nextId = 1;
  /** During recovery: the last thing that was read is the orderly end of a broker. */
  wasClosed = false;

  add(queue: Queue): void {
    this.byId.set(queue.id, queue);
    if (queue.id >= this.nextId) this.nextId = queue.id + 1;
  }
}
