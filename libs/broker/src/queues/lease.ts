import type { Clock } from '@dovecote/ground';
import type { Deadlines, Due } from './deadlines.js';
import type { Queue } from './queue.js';

/**
 * How long a queue with `x-expires` may be unused: nobody consumes, fetches or declares it. Then it goes, with what is in it. After a
 * restart it begins anew.
 */
export class Lease implements Due {
  dueAt = Infinity;
  duePlace = -1;
  private usedAt = 0;

  constructor(
    private readonly queue: Queue,
    private readonly expiresMs: number,
    private readonly clock: Clock,
    private readonly deadlines: Deadlines,
    private readonly end: (queue: Queue) => void,
  ) {
    this.renew();
  }

  /** The queue was used, or its last consumer has just left. */
  renew(): void {
    this.usedAt = this.clock.now();
    this.deadlines.schedule(this, this.usedAt + this.expiresMs);
  }

  due(): void {
    if (this.queue.isDeleted || this.queue.consumerCount > 0) return;
    const endsAt = this.usedAt + this.expiresMs;
    if (endsAt <= this.clock.now()) this.end(this.queue);
    else this.deadlines.schedule(this, endsAt);
  }
}
