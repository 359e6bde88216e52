/**
 * A script that starts and stops a peer: `status`, `start`, `stop`; the first two print `url=… pid=… started_ms=…`, `status` fails where nothing runs.
 *
 * One that was running before is used and left running.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

export interface ScriptedPeer {
  readonly url: string;
  readonly pid: number | undefined;
  /** How long the script took, when this run started it. */
  readonly startMs: number | undefined;
  readonly stop: () => Promise<void>;
}

export async function startScriptedPeer(script: string): Promise<ScriptedPeer> {
  if (!existsSync(script)) throw new Error(`there is no script at ${script} to start a peer with`);
  const running = await runScript(script, 'status').catch(() => undefined);
  if (running) return { ...running, startMs: undefined, stop: async () => undefined };
  const stop = async (): Promise<void> => {
    await promisify(execFile)(script, ['stop']);
  };
  return { ...(await runScript(script, 'start')), stop };
}

/** Runs one of the script's verbs; what it printed of `url=…`, `pid=…` and `started_ms=…`. */
export async function runScript(script: string, ...verb: readonly string[]): Promise<Omit<ScriptedPeer, 'stop'>> {
  const { stdout } = await promisify(execFile)(script, [...verb]);
  const url = /\burl=(\S+)/.exec(stdout)?.[1];
  if (url === undefined) throw new Error(`${script} ${verb.join(' ')} printed no "url=…"`);
  const pid = /\bpid=(\d+)/.exec(stdout)?.[1];
  const startMs = /\bstarted_ms=(\d+)/.exec(stdout)?.[1];
  return { url, pid: pid === undefined ? undefined : Number(pid), startMs: startMs === undefined ? undefined : Number(startMs) };
}
