import { describe, expect, it } from '@jest/globals';
import { ContractProgress } from './progress.js';

describe('the progress of a contract run', () => {
  it('tells which case is tried where, how many are done, and how long the others will take', () => {
    const clock = { nowMs: 0, monotonicMs: (): number => clock.nowMs };
    const progress = new ContractProgress(4, clock);
    expect(progress.begins('embedded', 'settles a delivery once')).toBe('0 of 4 done. embedded: settles a delivery once');
    clock.nowMs += 3_000;
    expect(progress.begins('embedded', 'answers')).toBe('1 of 4 done, about 9 s left. embedded: answers');
    clock.nowMs += 1_000;
    expect(progress.begins('Kafka', 'answers')).toBe('2 of 4 done, about 4 s left. Kafka: answers');
  });

  it('reckons with the brokers tried last, which may be slower than the first', () => {
    const clock = { nowMs: 0, monotonicMs: (): number => clock.nowMs };
    const progress = new ContractProgress(200, clock);
    for (let done = 0; done < 100; done++) {
      progress.begins('embedded', 'answers');
      clock.nowMs += 10;
    }
    for (let done = 100; done < 160; done++) {
      progress.begins('Kafka', 'answers');
      clock.nowMs += 1_000;
    }
    expect(progress.begins('Kafka', 'answers')).toBe('160 of 200 done, about 40 s left. Kafka: answers');
  });
});
