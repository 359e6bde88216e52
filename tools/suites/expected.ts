/**
 * Which tests of other clients do not pass, and why: the table in the SUPPORT.md of a protocol is the only place where that stands. Pure.
 */
import type { TestResult } from './results.js';

export interface Exemption {
  readonly suite: string;
  /** The name of a test; `*` stands for anything. */
  readonly test: string;
  readonly reason: string;
}

export interface Verdict {
  readonly passed: number;
  /** Failed or skipped, and listed. */
  readonly exempt: readonly { readonly result: TestResult; readonly reason: string }[];
  /** Failed or skipped, and not listed. */
  readonly unlisted: readonly TestResult[];
  /** Listed, and no such test failed or was skipped. */
  readonly needless: readonly Exemption[];
}

const heading = '## Suites of other clients';

/** Reads the table under its heading: suite, test, reason. Throws where there is none, or a row says less. */
export function readExemptions(support: string): readonly Exemption[] {
  const at = support.indexOf(`\n${heading}\n`);
  if (at < 0) throw new Error(`SUPPORT.md has no part "${heading}"`);
  const rest = support.slice(at + heading.length + 2);
  const part = rest.slice(0, /\n## /.exec(rest)?.index);
  const rows = part.split('\n').filter((line) => /^\| .*\|$/.test(line));
  return rows.slice(2).map((row) => {
    const [suite = '', test = '', reason = ''] = row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) =>
        cell
          .trim()
          .replaceAll('\\|', '|')
          .replace(/^`(.*)`$/, '$1'),
      );
    if (suite === '' || test === '' || reason === '') throw new Error(`in SUPPORT.md this row lacks a suite, a test or a reason: ${row}`);
    return { suite, test, reason };
  });
}

export function judge(suite: string, results: readonly TestResult[], exemptions: readonly Exemption[]): Verdict {
  const listed = exemptions
    .filter((exemption) => exemption.suite === suite)
    .map((exemption) => ({ exemption, matches: matcher(exemption.test) }));
  const used = new Set<Exemption>();
  const exempt: { result: TestResult; reason: string }[] = [];
  const unlisted: TestResult[] = [];
  for (const result of results) {
    if (result.outcome === 'passed') continue;
    const found = listed.filter(({ matches }) => matches.test(result.name));
    for (const { exemption } of found) used.add(exemption);
    if (found[0] === undefined) unlisted.push(result);
    else exempt.push({ result, reason: found[0].exemption.reason });
  }
  return {
    passed: results.filter(({ outcome }) => outcome === 'passed').length,
    exempt,
    unlisted,
    needless: listed.map(({ exemption }) => exemption).filter((exemption) => !used.has(exemption)),
  };
}

function matcher(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
