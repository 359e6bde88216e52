import { expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { isPattern, isWellFormed, overlap, startMatcher, typeMatcher } from './type-pattern.js';

it.each([
  ['orders.placed', 'orders.placed', true],
  ['orders.placed', 'orders.placed.twice', false],
  ['orders.*', 'orders.placed', true],
  ['orders.*', 'orders', false],
  ['orders.*', 'orders.eu.placed', false],
  ['orders.#', 'orders', true],
  ['orders.#', 'orders.eu.placed', true],
  ['#.placed', 'placed', true],
  ['#.placed', 'orders.eu.placed', true],
  ['#', 'anything.at.all', true],
  ['*.#.*', 'one', false],
  ['*.#.*', 'one.two', true],
  ['#.#.#', '', true],
])('%s matches %s: %s', (pattern, type, isMatch) => {
  expect(typeMatcher(pattern)(type)).toBe(isMatch);
});

it('knows which starts of a type could be meant, by trying all words there are', () => {
  const random = new SeededRandom(7);
  const words = ['a', 'b', 'c'];
  const some = (from: readonly string[]): string =>
    Array.from({ length: 1 + random.below(3) }, () => from[random.below(from.length)]!).join('.');
  for (let round = 0; round < 2000; round++) {
    const [pattern, start] = [some([...words, '*', '#']), some(words)];
    const isPossible = [...words, 'any'].some((word) => typeMatcher(pattern)(`${start}.${word}`));
    expect([pattern, start, startMatcher(pattern)(start)]).toEqual([pattern, start, isPossible]);
  }
});

it('takes a star and a hash for a pattern only where they stand alone', () => {
  expect(['a.*', '#', 'a.b', 'a*b'].map(isPattern)).toEqual([true, true, false, false]);
});

it('takes no longer for a pattern made to be slow', () => {
  const pattern = Array.from({ length: 60 }, () => '#').join('.');
  expect(typeMatcher(`${pattern}.end`)(Array.from({ length: 120 }, () => 'word').join('.'))).toBe(false);
});

it('overlaps another pattern where one type matches both, and only there', () => {
  const random = new SeededRandom(7);
  const some = (): string => Array.from({ length: 1 + random.below(3) }, () => ['a', 'b', '*', '#'][random.below(4)]!).join('.');
  // Three parts meet within six words, or not at all.
  const types = [1, 2, 3, 4, 5, 6].flatMap((length) =>
    Array.from({ length: 2 ** length }, (_, bits) => Array.from({ length }, (_word, index) => ((bits >> index) & 1 ? 'a' : 'b')).join('.')),
  );
  for (let round = 0; round < 500; round++) {
    const [one, other] = [some(), some()];
    const isMet = types.some((type) => typeMatcher(one)(type) && typeMatcher(other)(type));
    expect([one, other, overlap(one, other)]).toEqual([one, other, isMet]);
  }
});

it('is words, stars and hashes between dots', () => {
  expect(['a', 'a.*', '#', 'a-b.c_d.#'].every(isWellFormed)).toBe(true);
  expect(['', '.', 'a.', 'a..b', 'a*', 'a b', 'a'.repeat(256)].some(isWellFormed)).toBe(false);
});
