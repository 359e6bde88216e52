/**
 * The messages of a queue that were delivered and came back. They are delivered again before all others, in the order of their
 * sequence: so a message that is put back finds its old place. A binary heap; usually short.
 */
export interface ReturnedMessage {
  readonly sequence: number;
  readonly chunk: number;
  readonly offset: number;
  readonly length: number;
  /** It was never out with a consumer: only queues with priorities keep such messages here. */
  readonly isFresh?: boolean;
}

export class Returned {
  private readonly heap: ReturnedMessage[] = [];

  get length(): number {
    return this.heap.length;
  }

  get first(): ReturnedMessage | undefined {
    return this.heap[0];
  }

  forEach(visit: (message: ReturnedMessage) => void): void {
    for (const message of this.heap) visit(message);
  }

  push(message: ReturnedMessage): void {
    const { heap } = this;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.sequence <= message.sequence) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = message;
  }

  shift(): ReturnedMessage {
    const { heap } = this;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.sequence < heap[child]!.sequence) child++;
      if (last.sequence <= heap[child]!.sequence) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
