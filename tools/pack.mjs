/**
 * Makes the tarballs of all libraries, as they would be published, in a folder: `npm run pack -- DIR`. Both builds must be there.
 *
 * Each library is laid out under .build/pack first, with the licence, which stands once in the repository, beside its own files.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
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
console.log(`> packing ${libs.join(', ')} into ${into}`);
rmSync('.build/pack', { recursive: true, force: true });
for (const name of libs) {
  for (const part of ['package.json', 'README.md', 'dist', 'dist-cjs', 'src']) {
    if (existsSync(`libs/${name}/${part}`)) cpSync(`libs/${name}/${part}`, `.build/pack/${name}/${part}`, { recursive: true });
  }
  cpSync('LICENSE', `.build/pack/${name}/LICENSE`);
}
const args = ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', into, ...libs.map((name) => `./.build/pack/${name}`)];
const npm = process.env.npm_execpath?.endsWith('.js') ? process.env.npm_execpath : undefined;
const { status } =
  npm === undefined ? spawnSync('npm', args, { stdio: 'inherit' }) : spawnSync(process.execPath, [npm, ...args], { stdio: 'inherit' });
process.exitCode = status ?? 1;
