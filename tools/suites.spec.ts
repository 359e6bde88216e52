/**
 * Holds `npm run suites` to its word, with small suites of our own in place of checkouts: what a suite says is read, what is not listed fails, what is
 * missing is said.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { judge, readExemptions } from './suites/expected.js';
import { readGo, readJunit } from './suites/results.js';
import { amqp } from './suites/amqp.js';
import { kafka } from './suites/kafka.js';

const main = join(import.meta.dirname, 'suites/main.js');
const root = join(import.meta.dirname, '../..');
let house = '';

beforeAll(() => {
  house = mkdtempSync(join(tmpdir(), 'dovecote-suites-'));
});
afterAll(() => {
  rmSync(house, { recursive: true, force: true });
});

function put(path: string, text: string): void {
  mkdirSync(dirname(join(house, path)), { recursive: true });
  writeFileSync(join(house, path), text);
}

function run(...args: readonly string[]): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { PATH: process.env['PATH'] } });
  return { status, said: stdout + stderr };
}

describe('what a suite says', () => {
  it('is read as Node writes it: groups within groups, and texts that are escaped', () => {
    const xml = `<?xml version="1.0"?><testsuites>
      <testsuite name="connect &amp; go" tests="2"><testsuite name="inner"><testcase name="a &lt;b&gt; &quot;c&quot;" time="0.1" classname="test"/></testsuite>
      <testcase name="d" classname="test" failure="no"><failure type="x" message="a > b"><![CDATA[<testcase name="none"/>]]></failure></testcase></testsuite>
      <testcase name="e" classname="test"><skipped type="skipped" message="true"/></testcase></testsuites>`;
    expect(readJunit(xml)).toEqual([
      { name: 'connect & go > inner > a <b> "c"', outcome: 'passed' },
      { name: 'connect & go > d', outcome: 'failed' },
      { name: 'e', outcome: 'skipped' },
    ]);
  });

  it('is read as pytest writes it: the class before the name, and errors beside failures', () => {
    const xml = `<testsuites><testsuite name="pytest"><testcase classname="tests.a.TestX" name="test_one[&#229;]" time="1" />
      <testcase classname="tests.a" name="test_two"><error message="m">text</error></testcase></testsuite></testsuites>`;
    expect(readJunit(xml)).toEqual([
      { name: 'pytest > tests.a.TestX > test_one[å]', outcome: 'passed' },
      { name: 'pytest > tests.a > test_two', outcome: 'failed' },
    ]);
  });

  it('is read from the lines of go test, and from nothing else', () => {
    const lines = [
      'go: downloading',
      '{"Action":"run","Test":"A"}',
      '{"Action":"pass","Test":"A"}',
      '{"Action":"skip","Test":"B"}',
      '{"Action":"fail"}',
    ];
    expect(readGo(lines.join('\n'))).toEqual([
      { name: 'A', outcome: 'passed' },
      { name: 'B', outcome: 'skipped' },
    ]);
  });
});

describe('the table', () => {
  const table = (rows: string): string =>
    `# x\n\n## Suites of other clients\n\nText | with a bar.\n\n| suite | test | reason |\n| --- | --- | --- |\n${rows}\n## Next\n\n| a | b | c |\n`;

  it('names tests by patterns, and what is not in it is found', () => {
    const exemptions = readExemptions(table('| s | `group > *[x]` | because |\n| s | never | once |\n| other | * | no |\n'));
    expect(exemptions).toHaveLength(3);
    const results = [
      { name: 'group > a[x]', outcome: 'failed' },
      { name: 'group > ax', outcome: 'skipped' },
      { name: 'fine', outcome: 'passed' },
    ] as const;
    const verdict = judge('s', results, exemptions);
    expect(verdict.passed).toBe(1);
    expect(verdict.exempt).toEqual([{ result: results[0], reason: 'because' }]);
    expect(verdict.unlisted).toEqual([results[1]]);
    expect(verdict.needless.map(({ test }) => test)).toEqual(['never']);
  });

  it('gives a reason for each', () => {
    expect(() => readExemptions(table('| s | t |  |\n'))).toThrow('lacks a suite, a test or a reason');
    expect(() => readExemptions('# nothing')).toThrow('no part');
  });

  it.each([amqp, kafka])('of $support is whole, and names suites that there are', ({ suites, support }) => {
    const names = suites.map(({ name }) => name);
    expect(readExemptions(readFileSync(join(root, support), 'utf8')).filter(({ suite }) => !names.includes(suite))).toEqual([]);
  });
});

describe('npm run suites', () => {
  it('says how to use it', () => {
    const { status, said } = run();
    expect(said).toContain('usage: npm run suites -- amqp|kafka --from DIR');
    expect(status).toBe(1);
    expect(run('amqp', '--from', house, '--only', 'nobody').said).toContain('there is no suite "nobody"');
  });

  it('says where a checkout comes from that is missing, and fails where it was asked for', () => {
    const { status, said } = run('amqp', '--from', house, '--only', 'pika');
    expect(said).toContain(`pika: not run: there is no ${join(house, 'pika')}: git clone https://github.com/pika/pika`);
    expect(status).toBe(1);
    expect(run('amqp', '--from', house).status).toBe(0);
  });

  it('says what a checkout lacks', () => {
    put('amqplib/package.json', '{}');
    expect(run('amqp', '--from', house, '--only', 'amqplib').said).toContain(
      'lacks node_modules/claire: run npm ci --ignore-scripts there',
    );
  });

  it('runs a suite against a daemon of its own, and fails for a test that is not listed', () => {
    put('rabbitmq-client/node_modules/ts-node/register.js', '');
    put('rabbitmq-client/package.json', '{}');
    const test = `const { test } = require('node:test'); const net = require('node:net');
      test('reaches the broker', (_, done) => {
        const socket = net.connect(new URL(process.env.RABBITMQ_URL).port, '127.0.0.1', () => socket.write('AMQP\\0\\0\\x09\\x01'));
        socket.once('data', (bytes) => { socket.destroy(); done(bytes[0] === 1 ? undefined : new Error('no start')); });
      });`;
    put('rabbitmq-client/test/one.ts', test);
    const good = run('amqp', '--from', house, '--only', 'rabbitmq-client', '--durability', 'memory');
    expect(good.said).toContain('rabbitmq-client: 1 passed, 0 failed, 0 skipped');
    expect(good.status).toBe(0);
    put('rabbitmq-client/test/two.ts', "require('node:test').test('fails', () => { throw new Error('it does'); });");
    const bad = run('amqp', '--from', house, '--only', 'rabbitmq-client', '--durability', 'memory');
    expect(bad.said).toContain('NOT LISTED, failed: fails');
    expect(bad.status).toBe(1);
  });
});
