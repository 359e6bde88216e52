/**
 * The order of the AMQP benchmark: which cases, under which promises, ours and the peer in turn, round after round.
 */
import { setTimeout as pass } from 'node:timers/promises';
import { measureCeiling } from './ceiling.js';
import { measureBareConnections, measureConnections } from './connections-load.js';
import { measureBacklog, measureMillions, measureOpenLoop, measureSteady, type LoadShape, type Stretch } from './load.js';
import { measureRouted } from './routed-load.js';
import { deadLetters, fanOut, headersOne, manyQueues, oneQueue, priorities, topicFew, topicMany, type Topology } from './topology.js';
import {
  attachPeer,
  requireDaemon,
  startDaemon,
  startPeer,
  type AmqpServer,
  type DaemonOptions,
  type Durability,
  type Peer,
} from './server.js';
import { idleFigure, measureBareStart, measureDaemonStart, startFigure } from './start.js';
import { Comparison } from '../comparison.js';
import type { Figure } from '../figure.js';
import type { Report } from '../report.js';
import { median } from '../statistics.js';

export const CASE_NAMES = [
  'start',
  'transient',
  'confirmed',
  'alone',
  'backlog',
  'latency',
  'fan-out',
  'topic-few',
  'topic-many',
  'headers',
  'dead-letter',
  'ttl',
  'priority',
  'many-queues',
  'connections',
  'ten-million',
] as const;
export type CaseName = (typeof CASE_NAMES)[number];

export interface AmqpBenchmarkOptions {
  readonly cases: readonly CaseName[];
  readonly durabilities: readonly Durability[];
  readonly rounds: number;
  readonly stretch: Stretch;
  readonly backlogMessages: number;
  readonly bodyBytes: number;
  /** undefined measures only the peer. */
  readonly daemon: DaemonOptions | undefined;
  readonly peer: { readonly url: string; readonly pid: number | undefined } | { readonly script: string } | undefined;
  /** Told what is being done, a line at a time. */
  readonly progress: (line: string) => void;
}

interface Task {
  readonly caseTitle: string;
  readonly durability: Durability;
  measure(server: AmqpServer): Promise<Figure[]>;
  /** The same against a server without semantics. */
  readonly measureBare?: () => Promise<Figure[]>;
}

const PROMISES: Readonly<Record<Durability, string>> = {
  memory: 'A: memory; peer: classic queue, transient',
  os: 'B: os, survives the process; peer: durable classic queue',
  fsync: 'C: fsync, survives power loss; peer: one-node quorum queue',
};
/** Idle memory is read when what the peer's own start left has been collected. */
const PEER_SETTLE_MS = 3000;
const tenMillion = 10_000_000;
/** The stand-in servers need no warming up beyond this, and their figures hardly vary. */
const CEILING_STRETCH: Stretch = { warmupMs: 500, measureMs: 1500 };

export async function runAmqpBenchmark(options: AmqpBenchmarkOptions): Promise<Report> {
  const run = new AmqpBenchmark(options);
  return run.report();
}

class AmqpBenchmark {
  private readonly gathered: Comparison;
  private peer: Peer | undefined;
  private readonly peerRates = new Map<Durability, number>();

  constructor(private readonly options: AmqpBenchmarkOptions) {
    this.gathered = new Comparison(options.progress);
  }

  async report(): Promise<Report> {
    const { cases, rounds, daemon } = this.options;
    if (daemon) requireDaemon(daemon);
    await this.findPeer();
    try {
      const ceiling = { caseTitle: 'generator ceiling', promise: '', round: 1 };
      await this.gathered.take('bare', ceiling, async () => measureCeiling(this.options.bodyBytes, CEILING_STRETCH));
      if (cases.includes('start')) await this.measureStarts();
      for (const task of this.tasks()) for (let round = 1; round <= rounds; round++) await this.measureRound(task, round);
    } finally {
      await this.peer?.server.stop();
    }
    this.gathered.noteDisturbance();
    const { notes, failures, measurements } = this.gathered;
    const { stretch, bodyBytes, backlogMessages } = this.options;
    return {
      benchmark: 'AMQP 0-9-1',
      ours: daemon ? 'the daemon of this repository' : 'not measured',
      peer: this.peer?.name,
      options: { rounds, ...stretch, bodyBytes, backlogMessages },
      notes,
      failures,
      measurements,
    };
  }

  private async findPeer(): Promise<void> {
    const { peer } = this.options;
    if (!peer) {
      this.gathered.notes.push('no peer: give one with --peer URL or --peer-script FILE');
      return;
    }
    this.peer = 'script' in peer ? await startPeer(peer.script) : await attachPeer(peer.url, peer.pid);
    if (this.peer.server.pid === undefined)
      this.gathered.notes.push('the process of the peer is not known, so its processor time and memory are left out');
    if (this.peer.startMs === undefined)
      this.gathered.notes.push('the peer was running before: its start was not measured, its idle memory is what earlier work left');
  }

  private async measureStarts(): Promise<void> {
    const { daemon, rounds } = this.options;
    const title = { caseTitle: 'start and rest', promise: '' };
    for (let round = 1; round <= rounds; round++) {
      await this.gathered.take('bare', { ...title, round }, measureBareStart);
      if (daemon) await this.gathered.take('ours', { ...title, round }, async () => measureDaemonStart(daemon, 'fsync'));
    }
    const { peer } = this;
    if (!peer) return;
    await this.gathered.take('peer', { ...title, round: 1 }, async () => {
      await pass(PEER_SETTLE_MS);
      return [startFigure(peer.startMs), idleFigure(peer.server.pid)];
    });
  }

  private async measureRound(task: Task, round: number): Promise<void> {
    const { daemon } = this.options;
    const { peer } = this;
    const measureOurs = async (): Promise<Figure[]> => {
      const server = await startDaemon(daemon!, task.durability);
      try {
        return await task.measure(server);
      } finally {
        await server.stop();
      }
    };
    const compared = { caseTitle: task.caseTitle, promise: PROMISES[task.durability], round };
    if (task.measureBare) await this.gathered.take('bare', compared, task.measureBare);
    await this.gathered.takeBoth(compared, daemon && measureOurs, peer && (async () => task.measure(peer.server)));
  }

  private tasks(): Task[] {
    const { cases, durabilities, bodyBytes, stretch, backlogMessages } = this.options;
    const depthMax = 50_000;
    const inFlight = { ackEvery: 100, prefetch: 1000, isPersistent: true, bodyBytes };
    const tasks: Task[] = [];
    const add = (name: CaseName, caseTitle: string, durability: Durability, measure: Task['measure'], bare?: Task['measureBare']): void => {
      if (!cases.includes(name) || !durabilities.includes(durability)) return;
      tasks.push({ caseTitle, durability, measure, ...(bare === undefined ? {} : { measureBare: bare }) });
    };
    const transient: LoadShape = { durability: 'memory', isPersistent: false, bodyBytes, depthMax, prefetch: 0 };
    add('transient', 'transient, auto-ack, one queue', 'memory', async (server) => measureSteady(server, transient, stretch));
    for (const durability of ['os', 'fsync'] as const) {
      const confirmed: LoadShape = { ...inFlight, durability, depthMax, confirmsInFlightMax: 1000 };
      const alone: LoadShape = { ...confirmed, depthMax: 1, confirmsInFlightMax: 1, ackEvery: 1 };
      add('confirmed', CONFIRMED_TITLE, durability, async (server) => measureSteady(server, confirmed, stretch));
      add('alone', 'one persistent message at a time', durability, async (server) => measureSteady(server, alone, stretch));
      add('backlog', `backlog of ${backlogMessages.toLocaleString('en-US')} persistent messages`, durability, async (server) =>
        measureBacklog(server, confirmed, backlogMessages),
      );
      for (const kind of ['persistent', 'transient'] as const) {
        const shape: LoadShape = { ...confirmed, isPersistent: kind === 'persistent' };
        add('ten-million', `ten million ${kind} messages in one queue`, durability, async (server) =>
          measureMillions(server, shape, tenMillion),
        );
      }
      add('latency', "a steady rate, half of the peer's highest", durability, async (server) =>
        measureOpenLoop(server, { ...confirmed, ackEvery: 10 }, await this.openLoopRate(confirmed), stretch),
      );
      add('fan-out', 'fan-out to 10 queues, persistent, 1,000 confirms in flight, manual ack', durability, async (server) =>
        measureRouted(server, { ...confirmed, depthMax: 5000 }, fanOut(uniqueName(), 10), 'delivery', stretch),
      );
    }
    for (const { name, title, make } of ROUTED_CASES) {
      add(name, title, 'memory', async (server) =>
        measureRouted(server, { ...transient, depthMax: routedDepthMax }, make(uniqueName()), 'message', stretch),
      );
    }
    const connections = { connections: 1000, bodyBytes, heartbeatS: 60 };
    add(
      'connections',
      '1,000 connections with a message a second each, transient, auto-ack',
      'memory',
      async (server) => measureConnections(server, connections, stretch),
      async () => measureBareConnections(connections, stretch),
    );
    return tasks;
  }

  /** Half of what the peer takes at most; a round figure where there is no peer. */
  private async openLoopRate(shape: LoadShape): Promise<number> {
    const { peer } = this;
    if (peer === undefined) return RATE_WITHOUT_PEER;
    const known = this.peerRates.get(shape.durability);
    if (known !== undefined) return known;
    const promise = PROMISES[shape.durability];
    const measured = this.gathered.measurements.filter(
      ({ side, caseTitle, name, promise: under }) =>
        side === 'peer' && caseTitle === CONFIRMED_TITLE && name === 'messages' && under === promise,
    );
    const peak =
      median(measured.flatMap(({ value }) => value ?? [])) ??
      (await measureSteady(peer.server, shape, this.options.stretch)).find(({ name }) => name === 'messages')!.value!;
    const rate = Math.round(peak / 2);
    this.peerRates.set(shape.durability, rate);
    return rate;
  }
}

const CONFIRMED_TITLE = 'persistent, 1,000 confirms in flight, manual ack, one queue';
const RATE_WITHOUT_PEER = 20_000;
/** Some of these cost a thousand times what others do: their burst must pass in a part of the time that is measured, on a broker that needs milliseconds for one. */
const routedDepthMax = 500;

/** What a feature costs, beside the case `transient`. */
const ROUTED_CASES: readonly { readonly name: CaseName; readonly title: string; readonly make: (name: string) => Topology }[] = [
  { name: 'topic-few', title: 'topic exchange, 10,000 bindings with a wildcard, 100,000 keys, one fits', make: topicFew },
  { name: 'topic-many', title: 'topic exchange, 10,000 bindings, 100,000 keys, 1,000 fit and lead to 10 queues', make: topicMany },
  { name: 'headers', title: 'headers exchange, 1,000 bindings, one fits', make: headersOne },
  { name: 'dead-letter', title: 'each message dies in one queue and is consumed from another', make: deadLetters },
  { name: 'ttl', title: 'a queue whose messages live for a minute', make: (name) => oneQueue(name, { 'x-message-ttl': 60_000 }) },
  { name: 'priority', title: 'a queue with ten priorities', make: priorities },
  { name: 'many-queues', title: 'round robin to 10,000 queues', make: (name) => manyQueues(name, 10_000) },
];

function uniqueName(): string {
  return `dovecote-bench-${process.pid}-${Math.round(performance.now())}`;
}
