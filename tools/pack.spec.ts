/**
 * What a user gets: the libraries packed as they would be published, installed without a network into a plain project that has a CommonJS Jest, and used
 * there by a test, by an ES module, and by TypeScript of either kind.
 *
 * The project borrows jest and amqplib from this repository; ours come from the tarballs alone. Two more have NestJS, one of them 11 with the Jest and the
 * TypeScript of its time; .ci/run installs what they need and names their folders in DOVECOTE_NEST_11 and DOVECOTE_NEST_12.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '..', '..');
let project = '';

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'dovecote-plain-'));
  run(['tools/build-cjs.mjs'], root);
  run(['tools/pack.mjs', join(project, 'tarballs')], root);
  put('package.json', JSON.stringify({ name: 'plain', private: true }));
  const tarballs = readdirSync(join(project, 'tarballs')).filter((name) => /-(?:ground|broker|testing)-/.test(name));
  npm(['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs.map((name) => `./tarballs/${name}`)]);
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true });
  for (const name of ['amqplib', '@types/node', 'undici-types'])
    symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name));
}, 120_000);

afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

const resolvedTest = `
test('is CommonJS', () => {
  for (const name of ['ground', 'broker', 'testing']) expect(require.resolve('@dovecote/' + name)).toContain('dist-cjs');
});
test('speaks to Kafka', async () => {
  const { startBroker } = require('@dovecote/testing');
  const { connectKafka } = require('@dovecote/broker/kafka-client');
  const broker = await startBroker();
  const [host, port] = broker.kafka.split(':');
  const client = await connectKafka({ bootstrap: [{ host, port: Number(port) }] });
  expect(await client.topics()).toEqual([]);
  await client.close();
  await broker.stop();
});
`;

const esModule = `
import amqp from 'amqplib';
import { startBroker } from '@dovecote/testing';
const broker = await startBroker();
const connection = await amqp.connect(broker.url);
await connection.close();
await broker.stop();
console.log(import.meta.resolve('@dovecote/testing').includes('/dist/'));
`;

const typed = `
import { realGround, type Clock } from '@dovecote/ground';
import { clockContract } from '@dovecote/ground/testing';
import { Broker, type Durability } from '@dovecote/broker';
import { connectKafka, type TopicDescription } from '@dovecote/broker/kafka-client';
import { startBroker, type TestBroker } from '@dovecote/testing';
const clock: Clock = realGround().clock;
export const now: number = clock.now();
export const durability = async (): Promise<Durability> => (await Broker.open()).durability;
export const broker: Promise<TestBroker> = startBroker();
export const contract = clockContract;
export const topics = async (): Promise<readonly TopicDescription[]> => (await connectKafka({ bootstrap: [] })).topics();
`;

describe('the packed libraries', () => {
  it("serve a CommonJS Jest: the README's test, through amqplib", () => {
    const shown = /^```js jest=orders\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
    if (shown === undefined) throw new Error('README.md has no block that opens with ```js jest=orders');
    put('orders.test.js', shown);
    put('resolved.test.js', resolvedTest);
    const { stderr } = run([join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--rootDir', project], project);
    expect(stderr).toContain('3 passed, 3 total');
    expect(stderr).not.toContain('did not exit');
  }, 60_000);

  it('serve an ES module', () => {
    put('ground.mjs', esModule);
    expect(run(['ground.mjs'], project).stdout).toBe('true\n');
  });

  it.each(['node16', 'node20', 'nodenext'])('bring types of both kinds under %s', (module) => {
    put('typed.mts', typed);
    put('typed.cts', typed);
    const { stdout } = run(
      [compiler('typescript7'), '--noEmit', '--strict', '--types', 'node', '--module', module, 'typed.mts', 'typed.cts'],
      project,
    );
    expect(stdout).toBe('');
  });

  it('bring types for the module resolution of older Nest projects', () => {
    put('older.ts', typed);
    const older = ['--module', 'commonjs', '--moduleResolution', 'node10', '--ignoreDeprecations', '6.0'];
    const { stdout } = run([compiler('typescript'), '--noEmit', '--strict', '--types', 'node', ...older, 'older.ts'], project);
    expect(stdout).toBe('');
  }, 60_000);
});

/** A project as Nest's own templates make it, and how its tests are run. */
interface NestProject {
  readonly folder: string;
  readonly tests: readonly string[];
  readonly compiler: Readonly<Record<string, unknown>>;
  readonly runner: readonly string[];
}

const nest11: NestProject = {
  folder: process.env['DOVECOTE_NEST_11'] ?? '',
  tests: ['.ci/nest-11/src/shop.spec.ts', '.ci/orders.spec.ts'],
  compiler: { module: 'commonjs', moduleResolution: 'node10', types: ['node', 'jest'] },
  runner: ['node_modules/jest/bin/jest.js', '--ci', '--rootDir', 'src', '--preset', 'ts-jest', '--testTimeout', '60000'],
};
const nest12: NestProject = {
  folder: process.env['DOVECOTE_NEST_12'] ?? '',
  tests: ['.ci/orders.spec.ts'],
  compiler: { module: 'nodenext', moduleResolution: 'nodenext', types: ['node', 'vitest/globals'] },
  runner: ['node_modules/vitest/vitest.mjs', 'run', '--globals', '--testTimeout', '60000'],
};
const onNest11 = nest11.folder === '' ? it.skip : it;
const onNest12 = nest12.folder === '' ? it.skip : it;

describe('the tests of a user, in a project on (skipped unless DOVECOTE_NEST_11 and DOVECOTE_NEST_12 name their folders)', () => {
  onNest11(
    'NestJS 11 in CommonJS with ts-jest: handlers on brokers, and an application in the harness',
    () => {
      const said = runTests(nest11);
      expect(said).toContain('7 passed, 7 total');
      expect(said).not.toContain('did not exit');
    },
    240_000,
  );

  onNest12(
    'NestJS 12 in ES modules with Vitest: an application in the harness',
    () => {
      expect(runTests(nest12)).toContain('Tests  4 passed (4)');
    },
    240_000,
  );
});

/** What they said. Types are checked first, those of the declarations of the packages too. */
function runTests({ folder, tests, compiler: own, runner }: NestProject): string {
  const tarballs = readdirSync(join(project, 'tarballs')).map((name) => join(project, 'tarballs', name));
  npm(['install', '--prefer-offline', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs], folder);
  mkdirSync(join(folder, 'src'), { recursive: true });
  for (const test of tests) copyFileSync(join(root, test), join(folder, 'src', basename(test)));
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...userCompiler, ...own }, include: ['src'] }));
  run(['node_modules/typescript/bin/tsc', '--noEmit'], folder);
  const { stdout, stderr } = run(runner, folder, { NO_COLOR: '1' });
  return stdout + stderr;
}

const userCompiler = {
  target: 'es2022',
  strict: true,
  esModuleInterop: true,
  isolatedModules: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
};

function put(file: string, text: string): void {
  writeFileSync(join(project, file), text);
}

function compiler(name: 'typescript' | 'typescript7'): string {
  return join(root, 'node_modules', name, 'bin/tsc');
}

/** Runs Node to its end; everything it said is in the error when it failed. */
function run(args: readonly string[], cwd: string, more: NodeJS.ProcessEnv = {}): { readonly stdout: string; readonly stderr: string } {
  const env = { ...process.env, NODE_OPTIONS: '', ...more };
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
  return { stdout, stderr };
}

function npm(args: readonly string[], cwd = project): void {
  const own = process.env['npm_execpath'];
  if (own?.endsWith('.js') === true) {
    run([own, ...args], cwd);
    return;
  }
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
}
