/**
 * Runs what README.md, the libraries' own pages and docs/exchange-types.md show. Each block fenced as ```ts example=NAME is compiled as it stands, strictly, against the built packages, and run; what it
 * prints must be the block fenced as ```text output=NAME. Also holds the README to the commands, files and libraries that are really there.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '..', '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const pages = [
  readme,
  readFileSync(join(root, 'docs', 'exchange-types.md'), 'utf8'),
  ...readdirSync(join(root, 'libs')).map((name) => readFileSync(join(root, 'libs', name, 'README.md'), 'utf8')),
];
const examples = new Map(pages.flatMap((page) => [...blocksOf(page, 'ts', 'example')]));
const outputs = new Map(pages.flatMap((page) => [...blocksOf(page, 'text', 'output')]));
/** Under the root, so that the examples find the packages as a reader's own project would. */
const folder = join(root, '.build', 'readme');

describe('an example', () => {
  beforeAll(() => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of examples) writeFileSync(join(folder, `${name}.ts`), text);
    const compilerOptions = {
      composite: false,
      incremental: false,
      declaration: false,
      declarationMap: false,
      rootDir: '.',
      outDir: 'out',
      noUnusedLocals: true,
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'], references: [] }),
    );
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  });

  it('is there at all', () => {
    expect([...examples.keys()].sort()).toEqual([
      'broker',
      'claim-check',
      'class-validator',
      'codec',
      'exchange-type',
      'ground',
      'harness',
      'log',
      'messaging',
      'microservices',
      'plan',
      'shop',
      'telemetry',
    ]);
    expect([...outputs.keys()]).toEqual([...examples.keys()]);
  });

  it('compiles', () => {
    const { stdout, status } = node([join(root, 'node_modules/typescript7/bin/tsc'), '-p', folder]);
    expect([stdout, status]).toEqual(['', 0]);
  });

  it.each([...examples.keys()])('prints what is shown: %s', (name) => {
    const { stdout, stderr, status } = node(['--disable-warning=ExperimentalWarning', join(folder, 'out', `${name}.js`)]);
    expect({ stdout, stderr, status }).toEqual({ stdout: outputs.get(name), stderr: '', status: 0 });
  });
});

describe('the README', () => {
  it('names only commands that package.json has', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const named = [...readme.matchAll(/npm run ([\w:]+)/g)].map((match) => match[1] ?? '');
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
    for (const name of ['start', 'test']) expect([name, scripts[name] !== undefined]).toEqual([name, true]);
  });

  it('links only to files that are there', () => {
    const linked = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? '');
    expect(linked.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it('maps every library', () => {
    const libraries = readdirSync(join(root, 'libs')).filter((name) => existsSync(join(root, 'libs', name, 'package.json')));
    expect(libraries.filter((name) => !readme.includes(`libs/${name}`))).toEqual([]);
  });
});

/** The fenced blocks of a language, by the name after `key=`. */
function blocksOf(text: string, language: string, key: string): ReadonlyMap<string, string> {
  const fence = new RegExp(`^\`\`\`${language} ${key}=(\\S+)\\n([\\s\\S]*?)^\`\`\`$`, 'gm');
  return new Map([...text.matchAll(fence)].map((match) => [match[1] ?? '', match[2] ?? '']));
}

function node(args: readonly string[]): { readonly stdout: string; readonly stderr: string; readonly status: number | null } {
  return spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: 25_000,
    env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1' },
  });
}
