/**
 * Holds what bundle.mjs made: the daemon starts from a handful of files, what not every broker needs waits in others, and all of it leads back to its sources.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const bundle = join(import.meta.dirname, '../../apps/broker/bundle');
/** Each costs the start about half a millisecond. */
const filesAtStartMax = 8;

describe('the bundled daemon', () => {
  it('loads a handful of files to start, and no package', () => {
    const { files, packages } = loadedBy('main.js');
    expect(files.length).toBeLessThanOrEqual(filesAtStartMax);
    expect(packages).toEqual([]);
  });

  it.each(['kafka-opening', 'api', 'real-tls'])('leaves %s to those who ask for it', (name) => {
    const file = readdirSync(bundle).find((entry) => entry.startsWith(`${name}-`) && entry.endsWith('.js'))!;
    const { files } = loadedBy('main.js');
    expect(files.some((loaded) => readFileSync(join(bundle, loaded), 'utf8').includes(`import("./${file}")`))).toBe(true);
    expect(files).not.toContain(file);
  });

  it('names the TypeScript that each line came from', () => {
    const { sources } = JSON.parse(readFileSync(join(bundle, 'main.js.map'), 'utf8')) as { readonly sources: readonly string[] };
    const ours = sources.filter((source) => !source.includes('node_modules'));
    expect(ours).toContain('../../../libs/broker/src/queues/queue.ts');
    expect(ours.filter((source) => !source.endsWith('.ts') || !existsSync(join(bundle, source)))).toEqual([]);
  });

  it('is not older than what it was made of', () => {
    const compiled = statSync(join(bundle, '../dist/.tsbuildinfo')).mtimeMs;
    expect(statSync(join(bundle, 'main.js')).mtimeMs).toBeGreaterThanOrEqual(compiled);
  });
});

/** What is read before the first line of `file` runs. */
function loadedBy(file: string): { readonly files: readonly string[]; readonly packages: readonly string[] } {
  const files = new Set<string>();
  const packages: string[] = [];
  const waiting = [file];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (files.has(name)) continue;
    files.add(name);
    const text = readFileSync(join(bundle, name), 'utf8');
    for (const [, named, bare] of text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)";$|^import "([^"]+)";$/gm)) {
      const from = named ?? bare!;
      if (from.startsWith('node:')) continue;
      if (from.startsWith('./')) waiting.push(join(dirname(name), from));
      else packages.push(from);
    }
  }
  return { files: [...files], packages };
}
