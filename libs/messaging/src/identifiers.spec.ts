import { describe, expect, it } from '@jest/globals';
import type { Clock, Random } from '@dovecote/ground';
import { SeededRandom } from '@dovecote/ground/testing';
import { v7 } from 'uuid';
import { Identifiers } from './identifiers.js';

describe('the ids of events', () => {
  it('are those that the library makes of the same time, sequence and chance, and ascend', () => {
    const chance = new SeededRandom(5).bytes(10 * 256);
    const random = { bytes: () => chance } as unknown as Random;
    let nowMs = Date.UTC(2026, 10, 28);
    const clock = { now: () => nowMs } as unknown as Clock;
    const identifiers = new Identifiers(clock, random);
    let last = '';
    let lastMs = 0;
    let seq = 0;
    for (let number = 0; number < 2_000; number++) {
      // Many in a millisecond, one in a millisecond, and a clock that goes back.
      if (number > 1_000) nowMs += [1, 0, -3, 5_000][number % 4]!;
      const bytes = chance.subarray((number % 256) * 10, (number % 256) * 10 + 10);
      seq = nowMs > lastMs ? bytes.readUInt32BE(0) >>> 1 : seq + 1;
      lastMs = Math.max(lastMs, nowMs);
      const id = identifiers.next();
      expect(id).toBe(v7({ msecs: lastMs, seq, random: Buffer.concat([Buffer.alloc(10), bytes.subarray(4)]) }));
      expect(id > last).toBe(true);
      last = id;
    }
  });
});
