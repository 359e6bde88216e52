import type { Access } from './access.js';
import type { Queue } from './queue.js';

/** Whoever opened sessions together, a connection for example: exclusive queues belong to it and go with it. */
export class Owner {
  readonly exclusiveQueues = new Set<Queue>();
  /** What its transactions have published and not committed. */
  transactionBytes = 0;

  /** Without `access` it may do everything. */
  constructor(readonly access?: Access) {}
}
