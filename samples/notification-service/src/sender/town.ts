/** The people and things of a small made-up town, so that the events read like something that happened. */
import { randomInt } from 'node:crypto';

const PEOPLE = [
  'Ada',
  'Bruno',
  'Chidi',
  'Dara',
  'Elif',
  'Farid',
  'Grete',
  'Hana',
  'Iker',
  'Juno',
  'Kofi',
  'Lena',
  'Mio',
  'Noor',
  'Otto',
  'Priya',
] as const;

const TITLES = [
  'Ten things a pigeon knows about routing',
  'How I stopped polling',
  'Sourdough, day nine',
  'The case for boring queues',
  'What the night train taught me',
  'A balcony full of tomatoes',
  'Notes from a small village',
  'Why letters arrive',
] as const;

const GROUPS = ['Rooftop gardeners', 'Night cyclists', 'Sunday chess', 'Open-air cinema', 'Bread club', 'Birdwatchers'] as const;

const ITEMS = ['a copper lamp', 'two train tickets', 'a box of pears', 'running shoes', 'a field guide', 'a blue teapot'] as const;

export function somebody(): string {
  return pick(PEOPLE);
}

export function somebodyElse(than: string): string {
  for (;;) {
    const person = somebody();
    if (person !== than) return person;
  }
}

export const somePost = (): Numbered => numbered('post', TITLES);
export const someGroup = (): Numbered => numbered('group', GROUPS);
export const someItem = (): string => pick(ITEMS);

/** From 5.00 to 250.00. */
export function somePrice(): number {
  return randomInt(500, 25_000);
}

export function newNumber(of: string): string {
  return `${of}-${randomInt(100_000, 1_000_000)}`;
}

export interface Numbered {
  readonly id: string;
  readonly name: string;
}

function numbered(kind: string, names: readonly string[]): Numbered {
  const index = randomInt(names.length);
  return { id: `${kind}-${index + 1}`, name: names[index] ?? kind };
}

function pick(from: readonly string[]): string {
  return from[randomInt(from.length)] ?? '';
}
