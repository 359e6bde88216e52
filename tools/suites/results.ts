/**
 * What a suite says of its tests, read into one shape. Pure: text in, results out.
 *
 * The XML is that of JUnit, as Node, pytest and vitest write it; of its elements only those of tests mean something here, so it is not parsed
 * as XML but looked through for them. Their texts are escaped, so that none can be taken for an element.
 */
export type Outcome = 'passed' | 'failed' | 'skipped';

export interface TestResult {
  /** The names of the groups around it and its own, parted by ` > `. */
  readonly name: string;
  readonly outcome: Outcome;
}

const element = /<(\/?)(testsuite|testcase|failure|error|skipped)(?=[\s/>])((?:[^">]|"[^"]*")*?)(\/?)>/g;

export function readJunit(xml: string): readonly TestResult[] {
  const results: TestResult[] = [];
  const groups: string[] = [];
  let current: { name: string; outcome: Outcome } | undefined;
  const finish = (): void => {
    if (current !== undefined) results.push(current);
    current = undefined;
  };
  for (const [, closing, what, attributes = '', empty] of xml.replace(/<!\[CDATA\[.*?\]\]>/gs, '').matchAll(element)) {
    if (what === 'testsuite') {
      if (closing) groups.pop();
      else if (!empty) groups.push(attribute(attributes, 'name'));
    } else if (what === 'testcase') {
      if (closing) finish();
      else {
        current = { name: [...groups, ...nameOf(attributes)].filter((part) => part !== '').join(' > '), outcome: 'passed' };
        if (empty) finish();
      }
    } else if (current !== undefined && !closing) current.outcome = what === 'skipped' ? 'skipped' : 'failed';
  }
  return results;
}

/** pytest says the module as the class; Node says `test` there. */
function nameOf(attributes: string): readonly string[] {
  const name = attribute(attributes, 'name');
  const group = attribute(attributes, 'classname');
  return group === '' || group === 'test' || name.startsWith(group) ? [name] : [group, name];
}

/** The lines of `go test -json`; what is no such line is passed over. */
export function readGo(lines: string): readonly TestResult[] {
  const outcomes: Readonly<Record<string, Outcome>> = { pass: 'passed', fail: 'failed', skip: 'skipped' };
  const results: TestResult[] = [];
  for (const line of lines.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { Action, Test } = JSON.parse(line) as { readonly Action?: string; readonly Test?: string };
    const outcome = outcomes[Action ?? ''];
    if (Test !== undefined && outcome !== undefined) results.push({ name: Test, outcome });
  }
  return results;
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

function attribute(attributes: string, name: string): string {
  const found = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? '';
  return found.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(lt|gt|quot|apos|amp));/gi, (_whole, decimal?: string, hex?: string, named?: string) =>
    named !== undefined ? entities[named]! : String.fromCodePoint(decimal === undefined ? parseInt(hex!, 16) : Number(decimal)),
  );
}
