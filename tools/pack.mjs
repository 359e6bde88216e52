/**
 * Makes the tarballs of all libraries, as they would be published, in a folder: `npm run pack -- DIR`. Both builds must be there.
 * The licence goes into each; it stands once in the repository, so it is lent to the library for the moment of packing.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: npm run pack -- DIR: the folder that takes the tarballs');
  process.exit(1);
}
const into = resolve(process.env.INIT_CWD ?? '.', folder);
process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));
mkdirSync(into, { recursive: true });

const libs = readdirSync('libs').filter((name) => existsSync(`libs/${name}/package.json`));
const lent = libs.map((name) => `libs/${name}/LICENSE`).filter((file) => !existsSync(file));
console.log(`> packing ${libs.join(', ')} into ${into}`);
try {
  for (const file of lent) copyFileSync('LICENSE', file);
  const args = [
    'pack',
    '--ignore-scripts',
    '--loglevel=error',
    '--pack-destination',
    into,
    ...libs.flatMap((name) => ['--workspace', `libs/${name}`]),
  ];
  const viaUs = process.env.npm_execpath?.endsWith('.js');
  const { status } = spawnSync(viaUs ? process.execPath : 'npm', viaUs ? [process.env.npm_execpath, ...args] : args, { stdio: 'inherit' });
  process.exitCode = status ?? 1;
} finally {
  for (const file of lent) rmSync(file, { force: true });
}
