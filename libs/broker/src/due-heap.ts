/**
 * What waits for a moment, the earliest first: a binary heap in which each thing knows its own place, so that it is found without a search
 * when it is put off or forgotten. Whose clock the moments are of is the caller's business. Kept nowhere.
 */
export interface Waiting {
  /** Its moment; Infinity when it waits for nothing. Belongs to the heap. */
  dueAt: number;
  /** Where it stands in the heap; -1 when it does not. Belongs to the heap. */
  duePlace: number;
}

export class DueHeap<Item extends Waiting> {
  private readonly heap: Item[] = [];

  get length(): number {
    return this.heap.length;
  }

  get first(): Item | undefined {
    return this.heap[0];
  }

  /** Lets `item` wait until `at`, wherever it stood before. */
  put(item: Item, at: number): void {
    const isEarlier = at < item.dueAt;
    item.dueAt = at;
    if (item.duePlace < 0) this.rise(item, this.heap.length);
    else if (isEarlier) this.rise(item, item.duePlace);
    else this.sink(item, item.duePlace);
  }

  /** Forgets `item`, if it waits. */
  take(item: Item): void {
    const { heap } = this;
    const place = item.duePlace;
    if (place < 0) return;
    const last = heap.pop()!;
    if (last !== item) {
      this.sink(last, place);
      this.rise(last, last.duePlace);
    }
    item.dueAt = Infinity;
    item.duePlace = -1;
  }

  private rise(item: Item, from: number): void {
    const { heap } = this;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.dueAt <= item.dueAt) break;
      this.stand(heap[parent]!, at);
      at = parent;
    }
    this.stand(item, at);
  }

  private sink(item: Item, from: number): void {
    const { heap } = this;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueAt < heap[child]!.dueAt) child++;
      if (item.dueAt <= heap[child]!.dueAt) break;
      this.stand(heap[child]!, at);
      at = child;
    }
    this.stand(item, at);
  }

  private stand(item: Item, place: number): void {
    this.heap[place] = item;
    item.duePlace = place;
  }
}
