import { expect, it } from '@jest/globals';
import type { Message } from './message.js';
import { type InHand, Running } from './running.js';
import type { Incoming } from './transport.js';

const begin = (running: Running, id: string): InHand => running.begin({ id } as Message, { id } as unknown as Incoming);
const ids = (running: Running): string[] => [...running].map(({ message }) => message.id).toSorted();

it('has what began and has not ended, whatever ends first', () => {
  const running = new Running();
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => begin(running, id)) as [InHand, InHand, InHand, InHand];
  running.end(b);
  expect(ids(running)).toEqual(['a', 'c', 'd']);
  running.end(d);
  running.end(a);
  expect(ids(running)).toEqual(['c']);
  const e = begin(running, 'e');
  running.end(c);
  expect(ids(running)).toEqual(['e']);
  running.end(e);
  expect([running.size, ids(running)]).toEqual([0, []]);
});
