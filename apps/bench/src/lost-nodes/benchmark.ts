/**
 * What a service notices when a Kafka cluster of three nodes loses one after the other: each is killed with -9 under load and started again on the data it
 * had. Nothing that was confirmed may be lost.
 */
import { execFile } from 'node:child_process';
import { setTimeout as pass } from 'node:timers/promises';
import { promisify } from 'node:util';
import { formatTable, describeMachine, formatValue } from '../report.js';
import { Load } from './load.js';

export interface LostNodesOptions {
  /** Knows `start PORT`, `status`, `kill N`, `again N` and `stop`, and starts as many nodes as NODES says. */
  readonly script: string;
  readonly port: number;
  readonly nodes: number;
  readonly perSecond: number;
  /** Between the start, each kill and each new start. */
  readonly stepMs: number;
  readonly progress: (line: string) => void;
}

export interface LostNodesReport {
  readonly text: string;
  readonly isVoid: boolean;
}

export async function runLostNodes({ script, port, nodes, perSecond, stepMs, progress }: LostNodesOptions): Promise<LostNodesReport> {
  const run = async (...verb: readonly string[]): Promise<string> =>
    (await promisify(execFile)(script, [...verb], { env: { ...process.env, NODES: String(nodes) } })).stdout;
  const running = await run('status').catch(() => undefined);
  const said = running ?? (await run('start', String(port)));
  const addresses = /\burl=(\S+)/.exec(said)?.[1];
  if (addresses?.split(',').length !== nodes)
    throw new Error(`${script} runs ${addresses ?? 'nothing'}, and ${nodes} nodes are needed: stop it first`);
  try {
    const load = await Load.start({ url: `kafka://${addresses}`, replicas: nodes, inSync: nodes - 1, perSecond });
    await pass(stepMs);
    for (let node = 1; node <= nodes; node++) {
      progress(`node ${node} is killed`);
      await run('kill', String(node));
      await pass(stepMs);
      await run('again', String(node));
      progress(`node ${node} is back`);
      await pass(stepMs);
    }
    const { published, confirmed, refused, lost, repeated, longestWithoutConfirmMs, longestWithoutHandlingMs } = await load.end();
    const rows = [
      ['', `${nodes} nodes, replicas ${nodes}, in sync ${nodes - 1}`],
      ['published', formatValue(published)],
      ['confirmed', formatValue(confirmed)],
      ['rejected', formatValue(refused)],
      ['confirmed and lost', formatValue(lost)],
      ['handled again', formatValue(repeated)],
      ['longest without a confirm, ms', formatValue(longestWithoutConfirmMs)],
      ['longest without a handling, ms', formatValue(longestWithoutHandlingMs)],
    ];
    return { text: `lost nodes, on ${describeMachine()}\n\n${formatTable(rows)}`, isVoid: lost > 0 };
  } finally {
    if (running === undefined) await run('stop');
  }
}
