import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { Unconfirmed } from './amqp-unconfirmed.js';

const FOREVER = Number.POSITIVE_INFINITY;
const message = (id: number, deadlineMs = FOREVER) => ({ id, deadlineMs });

describe('what is not yet confirmed', () => {
  it('gives out each message once, whatever order the broker confirms them in', () => {
    const random = new SeededRandom(11);
    const unconfirmed = new Unconfirmed<{ readonly id: number; readonly deadlineMs: number }>();
    const left = new Set<number>();
    let sent = 0;
    for (let step = 0; step < 20_000; step++) {
      for (let count = random.below(8); count > 0; count--) {
        sent += 1;
        left.add(sent);
        unconfirmed.add(message(sent));
      }
      const tag = Math.max(1, sent - random.below(40));
      const isMultiple = random.below(4) === 0;
      const expected = [...left].filter((id) => (isMultiple ? id <= tag : id === tag));
      const settled: number[] = [];
      unconfirmed.confirm(tag, isMultiple, ({ id }) => settled.push(id));
      expect(settled).toEqual(expected);
      for (const id of settled) left.delete(id);
    }
    expect(unconfirmed.takeAll().map(({ id }) => id)).toEqual([...left]);
  });

  it('counts from one again on the next channel, and gives up what is too old before', () => {
    const unconfirmed = new Unconfirmed<{ readonly id: number; readonly deadlineMs: number }>();
    for (let id = 1; id <= 5; id++) unconfirmed.add(message(id, id * 10));
    unconfirmed.confirm(2, false, () => undefined);
    expect(unconfirmed.takeExpired(30).map(({ id }) => id)).toEqual([1, 3]);
    expect(unconfirmed.takeExpired(30)).toEqual([]);
    const left = unconfirmed.takeAll();
    expect(left.map(({ id }) => id)).toEqual([4, 5]);
    for (const one of left) unconfirmed.add(one);
    const settled: number[] = [];
    unconfirmed.confirm(1, false, ({ id }) => settled.push(id));
    // A broker that confirms what it was never sent is not believed.
    unconfirmed.confirm(9, true, ({ id }) => settled.push(id));
    unconfirmed.confirm(9, false, ({ id }) => settled.push(id));
    expect(settled).toEqual([4, 5]);
  });
});
