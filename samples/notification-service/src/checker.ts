/**
 * Recounts a run from the fact files alone, and shares no code with the page: `node dist/checker.js DIR`.
 *
 * It counts what is final, so it is to be asked when the queue has drained: whatever was confirmed and not handled then is lost. Ends with 0 when nothing
 * is, with 1 when something is, and with 2 when there is nothing to count.
 */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A file that was written to this recently belongs to a run that goes on. */
const QUIET_MS = 2_000;

function check(folder: string): number {
  const sent = new Set<string>();
  const confirmed = new Set<string>();
  const handlings = new Map<string, number>();
  for (const name of readdirSync(join(folder, 'facts'))) {
    const lines = readFileSync(join(folder, 'facts', name), 'utf8').split('\n');
    lines.pop(); // empty, or torn by a kill
    for (const line of lines) {
      const [fact, id = ''] = line.split(' ', 2);
      if (fact === 'sent') sent.add(id);
      if (fact === 'confirmed') confirmed.add(id);
      if (fact === 'handled') handlings.set(id, (handlings.get(id) ?? 0) + 1);
    }
  }
  const handled = [...handlings].filter(([id]) => sent.has(id));
  const duplicate = handled.reduce((sum, [, times]) => sum + times - 1, 0);
  const lost = [...confirmed].filter((id) => !handlings.has(id)).length;
  console.log(`sent ${sent.size}\nconfirmed ${confirmed.size}\nhandled ${handled.length}\nduplicate ${duplicate}\nlost ${lost}`);
  if (lost > 0 && isBeingWritten(folder)) {
    console.error('The run goes on, so what is on its way counts as lost. Stop the load, wait until the queue is empty, and ask again.');
  }
  return lost === 0 ? 0 : 1;
}

function isBeingWritten(folder: string): boolean {
  const facts = join(folder, 'facts');
  return readdirSync(facts).some((name) => Date.now() - statSync(join(facts, name)).mtimeMs < QUIET_MS);
}

const [folder] = process.argv.slice(2);
try {
  if (folder === undefined) throw new Error('Name the data folder of a run: node dist/checker.js DIR. The run says which one it is.');
  process.exitCode = check(folder);
} catch (error) {
  console.error(
    (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? `${folder} is not the data folder of a run: there is no folder facts in it.`
      : (error as Error).message,
  );
  process.exitCode = 2;
}
