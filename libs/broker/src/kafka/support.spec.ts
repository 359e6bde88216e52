/** Holds SUPPORT.md to the code: what is announced stands in its table, each version with a client of somebody else that was seen to use it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { apis } from './apis.js';

const support = readFileSync(join(import.meta.dirname, '../../src/kafka/SUPPORT.md'), 'utf8');
const rows = support
  .split('\n')
  .filter((line) => /^\| \d/.test(line))
  .map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );

/** `kafkajs 1-2, 5; franz-go 0` → 0, 1, 2, 5; versions stand behind the name of a client. */
function versionsSeen(cell: string): ReadonlySet<number> {
  const versions = new Set<number>();
  for (const client of cell.split(';')) {
    const [, ranges = ''] = /\s(\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)$/.exec(client) ?? [];
    for (const range of ranges.split(', ')) {
      const [first = NaN, last = first] = range.split('-').map(Number);
      for (let version = first; version <= last; version++) versions.add(version);
    }
  }
  return versions;
}

describe('SUPPORT.md', () => {
  it('has a row for each kind of request, with the versions that are announced', () => {
    const announced = [...apis.values()].map(({ key, name, minVersion, maxVersion }) => [
      String(key),
      name,
      minVersion === maxVersion ? String(minVersion) : `${minVersion}-${maxVersion}`,
    ]);
    expect(rows.map((row) => row.slice(0, 3))).toEqual(announced);
  });

  it.each([...apis.values()].map((api) => [api.name, api] as const))('says with which client each version of %s was seen', (name, api) => {
    const seen = versionsSeen(rows.find((row) => row[1] === name)?.[3] ?? '');
    const unseen = Array.from({ length: api.maxVersion - api.minVersion + 1 }, (_, i) => api.minVersion + i).filter(
      (version) => !seen.has(version),
    );
    expect(unseen).toEqual([]);
  });
});
