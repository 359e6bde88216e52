/**
 * The CommonJS twin of every library: libs/<name>/dist-cjs beside dist, for users whose Jest or whose Node cannot `require` an ES module.
 *
 * The sources are the same; only the module format differs. A nested package.json tells Node and TypeScript that the folder is CommonJS, so each
 * format has declarations of its own kind. The libraries are built in the order in which they need each other, because each sees the CommonJS
 * declarations of the ones before it. Tests are left out.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));
const names = inOrder(readdirSync('libs').filter((name) => existsSync(`libs/${name}/tsconfig.lib.json`)));
console.log(`> building the CommonJS twins of ${names.join(', ')}`);

mkdirSync('.build', { recursive: true });
for (const name of names) {
  const project = join('.build', `cjs-${name}.json`);
  writeFileSync(project, JSON.stringify(projectOf(name), undefined, 2));
  rmSync(`libs/${name}/dist-cjs`, { recursive: true, force: true });
  const { status } = spawnSync(process.execPath, ['node_modules/typescript7/bin/tsc', '-p', project], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(`libs/${name}/dist-cjs/package.json`, `${JSON.stringify({ type: 'commonjs' })}\n`);
}

function projectOf(name) {
  const at = `../libs/${name}`;
  return {
    extends: `${at}/tsconfig.lib.json`,
    compilerOptions: {
      module: 'commonjs',
      // The one resolution TypeScript 7 takes together with `commonjs` that reads `exports`.
      moduleResolution: 'bundler',
      rootDir: `${at}/src`,
      outDir: `${at}/dist-cjs`,
      composite: false,
      incremental: false,
      tsBuildInfoFile: null,
    },
    include: [`${at}/src/**/*`],
    exclude: [`${at}/src/**/*.spec.ts`],
    references: [],
  };
}

/** What a library depends on comes before it. */
function inOrder(libraries) {
  const sorted = new Set();
  const add = (name) => {
    const { dependencies = {} } = JSON.parse(readFileSync(`libs/${name}/package.json`, 'utf8'));
    for (const other of libraries) if (other !== name && `@dovecote/${other}` in dependencies && !sorted.has(other)) add(other);
    sorted.add(name);
  };
  for (const name of libraries) if (!sorted.has(name)) add(name);
  return [...sorted];
}
