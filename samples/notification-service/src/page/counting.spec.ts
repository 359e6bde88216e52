/** The parts of the page that count, without processes: what the facts add up to, in whatever order and form they are read, and when an event is lost. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FactTail } from './fact-tail.js';
import { History } from './history.js';
import { Losses } from './losses.js';
import { Tally } from './tally.js';

const FACTS = ['sent', 'confirmed', 'handled'] as const;

describe('the tally', () => {
  it('comes to the same sums in every order of the facts', () => {
    for (const [first, second, third] of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ] as const) {
      const tally = new Tally();
      for (const fact of [first, second, third]) tally.record(FACTS[fact], 'a', 0);
      expect(tally).toMatchObject({ sent: 1, confirmed: 1, handled: 1, duplicate: 0, unknown: 0 });
      expect(tally.outstanding.size).toBe(0);
    }
  });

  it('counts a second handling as a duplicate, and a strange one neither as handled nor as a duplicate', () => {
    const tally = new Tally();
    for (const id of ['a', 'b']) tally.record('sent', id, 0);
    for (const id of ['a', 'a', 'a', 'stranger']) tally.record('handled', id, 0);
    expect(tally).toMatchObject({ sent: 2, handled: 1, duplicate: 2, unknown: 1 });
  });

  it('forgets settled events past its bound, and still counts their duplicates', () => {
    const tally = new Tally(100);
    tally.record('sent', 'never confirmed', 0);
    for (let event = 0; event < 1_000; event += 1) for (const fact of FACTS) tally.record(fact, String(event), 0);
    expect((tally as unknown as { known: Map<string, number> }).known.size).toBeLessThanOrEqual(100);
    tally.record('handled', '5', 0);
    tally.record('handled', 'never confirmed', 0);
    expect(tally).toMatchObject({ sent: 1_001, confirmed: 1_000, handled: 1_001, duplicate: 1, unknown: 0 });
  });
});

describe('losses', () => {
  const GRACE_MS = 1_000;
  const HELD_MAX = 2;
  let tally: Tally;
  let losses: Losses;
  let nowMs: number;

  beforeEach(() => {
    tally = new Tally();
    losses = new Losses(tally, HELD_MAX, GRACE_MS);
    nowMs = 0;
  });

  function confirm(...ids: string[]) {
    for (const id of ids) for (const fact of ['sent', 'confirmed']) tally.record(fact, id, losses.lookNumber);
  }

  /** A look at the queue, a tenth of the grace after the one before. */
  function look(ready: number | undefined, consumers = 1, times = 1) {
    for (let time = 0; time < times; time += 1) {
      nowMs += GRACE_MS / 10;
      losses.beginLook();
      losses.endLook(ready === undefined ? undefined : { ready, consumers }, nowMs);
    }
    return losses.lost(nowMs);
  }

  it('calls lost what was confirmed before an empty queue and not handled a grace later, and takes it back when it turns up', () => {
    confirm('a', 'b');
    expect(look(0, 1, 10)).toBe(0);
    expect(look(0)).toBe(2);
    tally.record('handled', 'a', losses.lookNumber);
    expect(losses.lost(nowMs)).toBe(1);
  });

  it('does not call lost what was confirmed after the last empty queue that is old enough', () => {
    look(0, 1, 20);
    confirm('young');
    expect(look(0, 1, 10)).toBe(0);
    expect(look(0, 1, 1)).toBe(1);
  });

  it('does not call lost what waits: in a queue, without a consumer, or while the broker does not answer', () => {
    confirm('a', 'b', 'c');
    expect(look(3, 1, 50)).toBe(0);
    expect(look(3, 0, 50)).toBe(0);
    expect(look(0, 0, 50)).toBe(0);
    expect(look(undefined, 0, 50)).toBe(0);
  });

  it('begins anew when a consumer is gone, because what it held went back into the queue', () => {
    confirm('a');
    expect(look(0, 2, 9)).toBe(0);
    expect(look(0, 1, 10)).toBe(0);
    losses.disturbed();
    expect(look(0, 1, 10)).toBe(0);
    expect(look(0, 1, 1)).toBe(1);
  });

  it('keeps to what it has proved when a consumer is gone', () => {
    confirm('a');
    expect(look(0, 1, 11)).toBe(1);
    losses.disturbed();
    expect(losses.lost(nowMs)).toBe(1);
  });

  it('sees a loss under a load that never lets the queue run empty, as far as the consumers cannot be holding it', () => {
    confirm(...Array.from({ length: 20 }, (_, event) => String(event)));
    expect(look(11, 2, 10)).toBe(0);
    expect(look(10, 2, 1)).toBe(5);
  });
});

describe('the tail of the fact files', () => {
  let folder: string;
  let read: string[];
  let tail: FactTail;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'facts-'));
    read = [];
    tail = new FactTail(folder, (fact, id, source, detail) => read.push([fact, id, source, detail.toString()].join('|')));
  });

  afterEach(() => {
    tail.close();
    rmSync(folder, { recursive: true });
  });

  it('reads each whole line once, at every point at which a write may be cut', () => {
    const lines = 'sent é-1\nhandled 2 {"to":"Bär"}\nconfirmed 3\n';
    const bytes = Buffer.from(lines.replace('é', 'e'));
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const path = join(folder, `posts.${cut}.log`);
      read = [];
      writeFileSync(path, bytes.subarray(0, cut));
      tail.advance();
      appendFileSync(path, bytes.subarray(cut));
      tail.advance();
      tail.advance();
      expect(read).toEqual(['sent|e-1|posts|', 'handled|2|posts|{"to":"Bär"}', 'confirmed|3|posts|']);
    }
  });

  it('reads more than fits into its buffer, and leaves a torn last line alone', () => {
    const line = `sent ${'x'.repeat(36)}\n`;
    writeFileSync(join(folder, 'likes.1.log'), line.repeat(20_000) + 'sent tor');
    tail.advance();
    expect(read).toHaveLength(20_000);
    expect(new Set(read)).toEqual(new Set([`sent|${'x'.repeat(36)}|likes|`]));
  });
});

describe('the history', () => {
  it('makes a point of each half second, as rates, and keeps two minutes of them', () => {
    const history = new History();
    expect(history.add({ sent: 0, handled: 0 }, 0, 0)).toBeUndefined();
    expect(history.add({ sent: 5, handled: 0 }, 0, 250)).toBeUndefined();
    expect(history.add({ sent: 10, handled: 5 }, null, 500)).toEqual({ at: 0.5, sent: 20, handled: 10, depth: null });
    for (let at = 1_000; at < 500_000; at += 500) history.add({ sent: 10, handled: 5 }, 0, at);
    expect(history.points).toHaveLength(240);
  });
});
