/**
 * The benchmark of the broker inside a process: which paths, under which promise, round after round, each in a process of its own.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Durability } from '../amqp/server.js';
import type { Measurement } from '../figure.js';
import type { Report } from '../report.js';

export const IN_PROCESS_CASES = ['raw', 'nest', 'framework'] as const;
export type InProcessCase = (typeof IN_PROCESS_CASES)[number];

export interface InProcessOptions {
  readonly cases: readonly InProcessCase[];
  readonly durabilities: readonly Durability[];
  readonly rounds: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly dataRoot: string;
  readonly progress: (line: string) => void;
}

const TITLES: Readonly<Record<InProcessCase, string>> = {
  raw: 'a session of the broker: publish to handler, persistent, acknowledged, 1,000 under way',
  nest: "Nest alone: its own call of that method through the guard and the interceptor, with no message and no broker; what the framework's is measured by",
  framework: 'the framework: Publisher to @Subscribe through a guard and an interceptor, 1,000 under way, prefetch 100',
};
const PROMISES: Readonly<Record<Durability, string>> = {
  memory: 'memory',
  os: 'os, survives the process',
  fsync: 'fsync, survives power loss',
};

export async function runInProcessBenchmark(options: InProcessOptions): Promise<Report> {
  const { cases, durabilities, rounds, warmupMs, measureMs } = options;
  const measurements: Measurement[] = [];
  const failures: string[] = [];
  for (const name of cases) {
    for (const durability of name === 'nest' ? (['memory'] as const) : durabilities) {
      for (let round = 1; round <= rounds; round++) {
        const what = { side: 'ours' as const, caseTitle: TITLES[name], promise: PROMISES[durability], round };
        try {
          const { perSecond, cpuUsPerMessage, residentBytes } = await runProgram(options, name, durability);
          measurements.push(
            { ...what, name: 'messages', unit: '1/s', value: perSecond },
            { ...what, name: 'CPU per message, of all that the process does', unit: 'µs', value: cpuUsPerMessage },
            { ...what, name: 'memory', unit: 'MB', value: residentBytes / 1e6 },
          );
          options.progress(`${name} [${durability}] round ${round}: ${Math.round(perSecond)}/s, ${cpuUsPerMessage.toPrecision(3)} µs`);
        } catch (error) {
          failures.push(`${name} [${durability}] round ${round}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    }
  }
  const notes = ['nothing can be left out of the CPU per message: publishing, the broker and handling share one thread'];
  return {
    benchmark: 'in process',
    ours: 'this repository',
    peer: undefined,
    options: { rounds, warmupMs, measureMs },
    notes,
    failures,
    measurements,
  };
}

interface Result {
  readonly perSecond: number;
  readonly cpuUsPerMessage: number;
  readonly residentBytes: number;
}

async function runProgram(
  { warmupMs, measureMs, dataRoot }: InProcessOptions,
  name: InProcessCase,
  durability: Durability,
): Promise<Result> {
  const file = fileURLToPath(new URL('./program.js', import.meta.url));
  const folder = durability === 'memory' ? undefined : mkdtempSync(join(dataRoot, 'dovecote-bench-'));
  try {
    const argv = [file, name, String(warmupMs), String(measureMs), durability, ...(folder === undefined ? [] : [folder])];
    const { stdout } = await promisify(execFile)(process.execPath, argv);
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as Result;
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}
