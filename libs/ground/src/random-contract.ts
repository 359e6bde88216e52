/** What every `Random` must do. */
import assert from 'node:assert/strict';
import { type ContractCase, type ContractSubject, type OpenSubject, contractCases } from './contract.js';
import type { Random } from './random.js';

export function randomContract(open: OpenSubject<ContractSubject<Random>>): readonly ContractCase[] {
  return contractCases(open, {
    'draws every number below the limit, about as often as the others, and none else': async ({ port }) => {
      const counts = new Array<number>(6).fill(0);
      for (let draw = 0; draw < 6_000; draw++) {
        const drawn = port.below(6);
        const count = counts[drawn];
        assert.ok(count !== undefined, `${drawn} is not below 6`);
        counts[drawn] = count + 1;
      }
      // Nine standard deviations: never by chance.
      for (const count of counts) assert.ok(Math.abs(count - 1_000) < 260, `${counts.join(', ')} of 6000 draws`);
    },
    'takes the limits from 1 to 2^32 and refuses others': async ({ port }) => {
      assert.equal(port.below(1), 0);
      let most = 0;
      for (let draw = 0; draw < 200; draw++) most = Math.max(most, port.below(2 ** 32));
      assert.ok(most >= 2 ** 31 && most < 2 ** 32);
      for (const limit of [0, -1, 1.5, Number.NaN]) assert.throws(() => port.below(limit));
    },
    'fills a buffer of its own with every byte': async ({ port }) => {
      const [one, other] = [port.bytes(8_192), port.bytes(8_192)];
      assert.equal(one.length, 8_192);
      assert.equal(new Set(one).size, 256);
      assert.notDeepEqual(one, other);
      const copy = Buffer.from(other);
      one.fill(0);
      assert.deepEqual(other, copy);
      assert.equal(port.bytes(0).length, 0);
    },
  });
}
