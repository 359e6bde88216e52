import { describe, expect, it } from '@jest/globals';
import { Acknowledgements } from './amqp-acknowledgements.js';

/** A channel that writes down what it is told, and keeps what it still has out as the broker would. */
function opened(count: number) {
  const said: string[] = [];
  const out = new Set<number>();
  const ack = ({ fields: { deliveryTag } }: { fields: { deliveryTag: number } }, isAllUpTo = false): void => {
    if (!out.has(deliveryTag)) throw new Error(`unknown delivery tag ${deliveryTag}`);
    for (const tag of [...out]) if (tag === deliveryTag || (isAllUpTo && tag < deliveryTag)) out.delete(tag);
    said.push(isAllUpTo ? `all up to ${deliveryTag}` : `${deliveryTag}`);
  };
  const nack = ({ fields: { deliveryTag } }: { fields: { deliveryTag: number } }): void => {
    out.delete(deliveryTag);
    said.push(`back ${deliveryTag}`);
  };
  const acknowledgements = new Acknowledgements({ ack, nack } as ConstructorParameters<typeof Acknowledgements>[0]);
  for (let tag = 1; tag <= count; tag++) {
    out.add(tag);
    acknowledgements.delivered(tag);
  }
  const acknowledge = (...tags: number[]): void => {
    for (const tag of tags) acknowledgements.acknowledge(tag);
  };
  return { said, out, acknowledgements, acknowledge };
}

describe('Acknowledgements', () => {
  it('says one word for all that was done within a turn, in whatever order', async () => {
    const { said, acknowledge } = opened(4);
    acknowledge(3, 1, 4, 2);
    await Promise.resolve();
    expect(said).toEqual(['all up to 4']);
  });

  it('never acknowledges what is still out', async () => {
    const { said, out, acknowledge } = opened(6);
    acknowledge(1, 2, 4, 6);
    await Promise.resolve();
    expect(said).toEqual(['4', '6', 'all up to 2']);
    expect([...out]).toEqual([3, 5]);
    acknowledge(3);
    await Promise.resolve();
    expect([...out]).toEqual([5]);
    expect(said.at(-1)).toBe('all up to 3');
  });

  it('gives back what is released, although later ones are acknowledged with one word', async () => {
    const { said, acknowledge, acknowledgements } = opened(3);
    acknowledge(1, 3);
    acknowledgements.release(2);
    await Promise.resolve();
    expect(said).toEqual(['back 2', 'all up to 3']);
  });

  it('says at once what it is asked for before the channel closes, and nothing twice', async () => {
    const { said, acknowledge, acknowledgements } = opened(2);
    acknowledge(1, 2);
    acknowledgements.flush();
    expect(said).toEqual(['all up to 2']);
    await Promise.resolve();
    expect(said).toHaveLength(1);
  });

  it('keeps what is out and what is done apart for any order of any number', async () => {
    let seed = 7;
    const below = (limit: number): number => (seed = (seed * 48271) % 2147483647) % limit;
    const { out, acknowledge } = opened(200);
    const left = new Set(Array.from({ length: 200 }, (_, index) => index + 1));
    while (left.size > 0) {
      const some = [...left].filter(() => below(3) === 0);
      for (const tag of some) left.delete(tag);
      acknowledge(...some);
      await Promise.resolve();
      expect(out).toEqual(left);
    }
  });
});
