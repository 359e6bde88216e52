/**
 * Our messaging beside what else a Nest application can take, on one broker, at equal promises: what a message costs the client that publishes and the one
 * that handles, how many go through, and what becomes of a message that cannot be handled.
 */
import { setTimeout as pass } from 'node:timers/promises';
import { startDaemon as startAmqp } from '../amqp/server.js';
import { startDaemon as startKafka } from '../kafka/server.js';
import { describeMachine, formatTable, formatValue } from '../report.js';
import { median } from '../statistics.js';
import { HARMLESS } from './client-program.js';
import { CONTENDERS, type Contender, type ContenderName, type Protocol } from './contenders.js';
import { leftOverAmqp, leftOverKafka } from './left.js';
import { type Poisoned, poison } from './poison.js';
import { type Throughput, measureThroughput } from './throughput.js';
import type { Stretch } from '../sides.js';

export const TRANSPORT_CASES = ['throughput', 'throws', 'kills'] as const;
export type TransportCase = (typeof TRANSPORT_CASES)[number];

export interface TransportsOptions {
  readonly cases: readonly TransportCase[];
  readonly contenders: readonly ContenderName[];
  readonly rounds: number;
  readonly stretch: Stretch;
  readonly poisonMs: number;
  readonly durability: 'os' | 'fsync';
  readonly daemon: { readonly file: string; readonly dataRoot: string };
  /** Brokers that run already, as `host:port` or `user:password@host:port`; ours is started for the others. */
  readonly brokers: Readonly<Partial<Record<Protocol, string>>>;
  readonly progress: (line: string) => void;
}

export interface TransportsReport {
  readonly text: string;
  readonly failures: readonly string[];
  readonly results: readonly Result[];
}

type Result = { readonly contender: string; readonly caseName: TransportCase } & (
  { readonly rounds: readonly Throughput[] } | { readonly poisoned: Poisoned }
);

interface Found {
  readonly throughput: Throughput[];
  readonly poisoned: Partial<Record<'throws' | 'kills', Poisoned>>;
}

export async function runTransportsBenchmark(options: TransportsOptions): Promise<TransportsReport> {
  const failures: string[] = [];
  const sections: string[] = [];
  const results: Result[] = [];
  for (const protocol of ['amqp', 'kafka'] as const) {
    const contenders = options.contenders.map((name) => CONTENDERS[name]).filter((one: Contender) => one.protocol === protocol);
    if (contenders.length === 0) continue;
    const broker = await openBroker(protocol, options);
    try {
      for (const one of contenders as readonly Contender[]) await one.prepare?.();
      const found = await compare(protocol, contenders, broker.host, options, failures);
      sections.push(`${broker.name}\n${tableOf(found, options)}`);
      results.push(...[...found].flatMap(([contender, one]) => resultsOf(contender, one)));
    } finally {
      await broker.stop();
    }
  }
  const head = `transports, on ${describeMachine()}`;
  const voids = failures.map((failure) => `VOID: ${failure}`);
  return { text: [head, '', ...sections, ...voids].join('\n'), failures, results };
}

interface OpenBroker {
  readonly name: string;
  readonly host: string;
  stop(): Promise<void>;
}

async function openBroker(protocol: Protocol, { brokers, daemon, durability }: TransportsOptions): Promise<OpenBroker> {
  const given = brokers[protocol];
  if (given !== undefined) return { name: `the broker at ${given}`, host: given, stop: async () => undefined };
  const name = `our daemon, ${durability}`;
  if (protocol === 'kafka') {
    const server = await startKafka(daemon, durability);
    return { name: `${name}, over Kafka`, host: `${server.at.host}:${server.at.port}`, stop: () => server.stop() };
  }
  const server = await startAmqp(daemon, durability);
  const { user, password, host, port } = server.url;
  return { name: `${name}, over AMQP`, host: `${user}:${password}@${host}:${port}`, stop: () => server.stop() };
}

/** Whoever goes first changes from round to round. */
async function compare(
  protocol: Protocol,
  contenders: readonly Contender[],
  host: string,
  options: TransportsOptions,
  failures: string[],
): Promise<ReadonlyMap<string, Found>> {
  const { cases, rounds, stretch, poisonMs, progress } = options;
  const run = Date.now().toString(36);
  const found = new Map<string, Found>(contenders.map(({ name }) => [name, { throughput: [], poisoned: {} }]));
  let count = 0;
  const attempt = async (what: string, contender: Contender, measure: (name: string, into: Found) => Promise<string>): Promise<void> => {
    try {
      progress(`${contender.name}, ${what}: ${await measure(`bench-${run}-${++count}`, found.get(contender.name)!)}`);
    } catch (error) {
      failures.push(`${contender.name}, ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  for (let round = 0; cases.includes('throughput') && round < rounds; round++) {
    for (const contender of rotated(contenders, round)) {
      await attempt(`round ${round + 1}`, contender, async (name, { throughput }) => {
        const one = await measureThroughput(contender, host, name, stretch);
        throughput.push(one);
        return `${Math.round(one.publishedPerSecond)}/s at ${one.publishCpuUs.toPrecision(3)} µs, ${Math.round(one.handledPerSecond)}/s at ${one.handleCpuUs.toPrecision(3)} µs`;
      });
    }
  }
  const countLeft = (contender: Contender, name: string): Promise<string> =>
    protocol === 'amqp' ? leftOverAmqp(host, contender, name) : leftOverKafka(host, contender, name);
  for (const kind of ['throws', 'kills'] as const) {
    for (const contender of cases.includes(kind) ? contenders : []) {
      await attempt(kind, contender, async (name, { poisoned }) => {
        const one = await poison(contender, host, name, kind, () => pass(poisonMs), countLeft);
        poisoned[kind] = one;
        return `${one.times} times, ${one.harmless} of ${HARMLESS} others, left ${one.left}`;
      });
    }
  }
  return found;
}

function rotated<Item>(items: readonly Item[], by: number): readonly Item[] {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

function tableOf(found: ReadonlyMap<string, Found>, { cases, poisonMs }: TransportsOptions): string {
  const all = [...found.values()];
  const rows: string[][] = [['', ...found.keys()]];
  const figure = (title: string, value: (one: Throughput) => number): void =>
    void rows.push([title, ...all.map(({ throughput }) => formatValue(median(throughput.map(value))))]);
  if (cases.includes('throughput')) {
    figure('CPU to publish one, µs', ({ publishCpuUs }) => publishCpuUs);
    figure('CPU to handle one, µs', ({ handleCpuUs }) => handleCpuUs);
    figure('published, 1/s', ({ publishedPerSecond }) => publishedPerSecond);
    figure('handled meanwhile, 1/s', ({ handledPerSecond }) => handledPerSecond);
  }
  for (const kind of ['throws', 'kills'] as const) {
    if (!cases.includes(kind)) continue;
    const cell = (tell: (one: Poisoned) => string): string[] =>
      all.map(({ poisoned }) => (poisoned[kind] === undefined ? '-' : tell(poisoned[kind])));
    const what = kind === 'throws' ? 'handler throws' : 'process ends';
    rows.push([`${what}: times in ${poisonMs / 1000} s`, ...cell(({ times }) => String(times))]);
    rows.push([`${what}: others handled`, ...cell(({ harmless }) => `${harmless} of ${HARMLESS}`)]);
    rows.push([`${what}: afterwards in`, ...cell(({ left }) => left)]);
  }
  return `${formatTable(rows)}\n`;
}

function resultsOf(contender: string, { throughput, poisoned }: Found): Result[] {
  const results: Result[] = throughput.length === 0 ? [] : [{ contender, caseName: 'throughput', rounds: throughput }];
  for (const kind of ['throws', 'kills'] as const) {
    if (poisoned[kind] !== undefined) results.push({ contender, caseName: kind, poisoned: poisoned[kind] });
  }
  return results;
}
