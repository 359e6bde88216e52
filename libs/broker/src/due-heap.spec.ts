import { expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { DueHeap, type Waiting } from './due-heap.js';

it.each([1, 2, 3])('hands over what waits by its moment, whatever is put off, brought forward or forgotten (seed %i)', (seed) => {
  const random = new SeededRandom(seed);
  const items: Waiting[] = Array.from({ length: 40 }, () => ({ dueAt: Infinity, duePlace: -1 }));
  const heap = new DueHeap<Waiting>();
  const moments = new Map<Waiting, number>();
  for (let step = 0; step < 4000; step++) {
    const item = items[random.below(items.length)]!;
    if (random.chance(0.7)) {
      const at = random.below(100);
      heap.put(item, at);
      moments.set(item, at);
    } else {
      heap.take(item);
      moments.delete(item);
    }
    expect(heap.first?.dueAt ?? Infinity).toBe(Math.min(...moments.values()));
    expect(item.dueAt).toBe(moments.get(item) ?? Infinity);
    expect(item.duePlace >= 0).toBe(moments.has(item));
  }
  const order: number[] = [];
  for (let first = heap.first; first !== undefined; first = heap.first) {
    order.push(first.dueAt);
    heap.take(first);
  }
  expect(order).toEqual([...moments.values()].sort((one, other) => one - other));
});
