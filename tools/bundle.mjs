/**
 * Makes the daemon one program, apps/broker/bundle/main.js, with what stands in apps/broker/dist and the libraries below it.
 *
 * Node takes longer to find 130 modules than to run them: the daemon that is bundled accepts its first connection in half of the time. What is imported
 * when it is needed stays in files of its own (Kafka, TLS, the management API). Nothing is minified, and the source maps lead back to the TypeScript,
 * so a stack trace can be read with `--enable-source-maps` and without. A program: it does nothing when nothing was compiled since the last time.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));
const folder = 'apps/broker/bundle';
/** The compiler writes each of these when it has written anything beside it. */
const compiled = ['libs/ground', 'libs/broker', 'apps/broker'].map((room) => `${room}/dist/.tsbuildinfo`);

if (!isUpToDate()) {
  console.log(`> bundling the daemon (${folder})`);
  const { rolldown } = await import('rolldown');
  const bundle = await rolldown({ input: 'apps/broker/dist/main.js', platform: 'node', plugins: [mapped()] });
  rmSync(folder, { recursive: true, force: true });
  await bundle.write({ dir: folder, format: 'esm', sourcemap: true });
}

function isUpToDate() {
  const age = (file) => (existsSync(file) ? statSync(file).mtimeMs : Infinity);
  const main = `${folder}/main.js`;
  return existsSync(main) && [...compiled, 'tools/bundle.mjs', 'package-lock.json'].every((file) => age(file) < age(main));
}

/** Hands on the source maps that the compiler wrote. */
function mapped() {
  return {
    name: 'source-maps',
    load(id) {
      const map = `${id}.map`;
      return existsSync(map) ? { code: readFileSync(id, 'utf8'), map: readFileSync(map, 'utf8') } : null;
    },
  };
}
