/**
 * What members of a group that somebody else's client runs say to the test that freezes them, a line each, and how one stands still in the midst of a record.
 * For the programs beside this.
 */
import { readSync } from 'node:fs';

/** Given as JSON. Commits come one after each record. */
export interface MemberOptions {
  readonly broker: string;
  readonly group: string;
  readonly topic: string;
  readonly sessionMs: number;
  /** The record in the midst of which it stands still until a line comes. */
  readonly held: string;
}

export const options = JSON.parse(process.argv[2]!) as MemberOptions;

/** What it reads from now on. */
export function sayAssigned(partitions: readonly number[]): void {
  say(`assigned ${[...partitions].sort((one, other) => one - other).join(' ')}`);
}

/** Handles a record, and then commits it. Whether it could be committed; what the broker says otherwise is said. */
export async function handle(value: string, commit: () => Promise<unknown>): Promise<boolean> {
  say(`began ${value}`);
  // Nothing else has a turn until it may go on: no sign of life is given, and none heard.
  if (value === options.held) readSync(0, Buffer.alloc(1));
  say(`done ${value}`);
  try {
    await commit();
    say(`committed ${value}`);
    return true;
  } catch (error) {
    say(`refused ${value}: ${namesOf(error).join(' ')}`);
    return false;
  }
}

/** A broker's answer is wrapped once or twice. */
function namesOf(error: unknown): readonly string[] {
  if (!(error instanceof Error)) return [];
  const { errors, cause } = error as { readonly errors?: readonly unknown[]; readonly cause?: unknown };
  const own = ['type', 'apiId'].map((name) => (error as unknown as Readonly<Record<string, unknown>>)[name]);
  return [...own.filter((name) => typeof name === 'string'), ...[...(errors ?? []), cause].flatMap(namesOf)];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
