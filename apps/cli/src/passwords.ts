/** Where passwords come from: never from the command line, where everybody on the machine can read them. */
import type { Terminal } from './terminal.js';

/** The message is a sentence for whoever typed the command. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The password for a user that is made or changed: typed twice, or the first line of standard input. */
export async function newPassword(name: string, terminal: Terminal): Promise<string> {
  if (!terminal.isInteractive) {
    const [line = ''] = (await terminal.readAll()).split(/\r?\n/);
    if (line === '') throw new UsageError(`Give the password of '${name}' on standard input, or run this in a terminal`);
    return line;
  }
  const first = await terminal.readHidden(`Password for ${name}: `);
  if (first === undefined || first === '') throw new UsageError('No password was typed: nothing was changed');
  if ((await terminal.readHidden('Once more: ')) !== first) throw new UsageError('The two passwords differ: nothing was changed');
  return first;
}

/** The password of whoever gives the command. */
export async function ownPassword(user: string, given: string | undefined, terminal: Terminal): Promise<string> {
  if (given !== undefined) return given;
  if (user === 'guest') return 'guest';
  if (!terminal.isInteractive) throw new UsageError(`Give the password of '${user}' in the environment (DOVECOTE_PASSWORD) or in --url`);
  const typed = await terminal.readHidden(`Password of ${user}: `);
  if (typed === undefined) throw new UsageError('No password was typed');
  return typed;
}
