/**
 * The order of the AMQP benchmark: which cases, under which promises, ours and the peer in turn, round after round.
 */
import { measureCeiling } from './ceiling.js';
import { measureBareConnections, measureConnections } from './connections-load.js';
import { measureBacklog, measureMillions, measureOpenLoop, measureSteady, type LoadShape } from './load.js';
import { measureRouted } from './routed-load.js';
import { deadLetters, fanOut, headersOne, manyQueues, oneQueue, priorities, topicFew, topicMany, type Topology } from './topology.js';
import { attachPeer, startDaemon, startPeer, type AmqpServer, type Durability } from './server.js';
import { idleFigure, measureBareStart, measureDaemonStart, startFigure } from './start.js';
import type { Figure } from '../figure.js';
import type { Report } from '../report.js';
import { ceilingStretch, Sides, type SidesOptions } from '../sides.js';
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

export interface AmqpBenchmarkOptions extends SidesOptions<CaseName, Durability> {
  readonly backlogMessages: number;
  readonly bodyBytes: number;
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
const tenMillion = 10_000_000;
export async function runAmqpBenchmark(options: AmqpBenchmarkOptions): Promise<Report> {
  const run = new AmqpBenchmark(options);
  return run.report();
}

class AmqpBenchmark {
  private readonly sides: Sides<AmqpServer>;
  private readonly peerRates = new Map<Durability, number>();

  constructor(private readonly options: AmqpBenchmarkOptions) {
    this.sides = new Sides(options);
  }

  report(): Promise<Report> {
    const { bodyBytes, backlogMessages } = this.options;
    return this.sides.report<Task>({
      benchmark: 'AMQP 0-9-1',
      peerOption: 'URL',
      unmeasured: 'its idle memory is what earlier work left',
      options: { bodyBytes, backlogMessages },
      attach: attachPeer,
      start: startPeer,
      ceiling: () => measureCeiling(bodyBytes, ceilingStretch),
      measureStarts: () => this.measureStarts(),
      tasks: this.tasks(),
      measureRound: (task, round) => this.measureRound(task, round),
    });
  }

  private async measureStarts(): Promise<void> {
    const { daemon, rounds } = this.options;
    const { gathered } = this.sides;
    const title = { caseTitle: 'start and rest', promise: '' };
    for (let round = 1; round <= rounds; round++) {
      await gathered.take('bare', { ...title, round }, measureBareStart);
      if (daemon) await gathered.take('ours', { ...title, round }, async () => measureDaemonStart(daemon, 'fsync'));
    }
    await this.sides.takePeerStart(title.caseTitle, ({ startMs, server }) => [startFigure(startMs), idleFigure(server.pid)]);
  }

  private async measureRound(task: Task, round: number): Promise<void> {
    const { daemon } = this.options;
    const { gathered, peer } = this.sides;
    const measureOurs = async (): Promise<Figure[]> => {
      const server = await startDaemon(daemon!, task.durability);
      try {
        return await task.measure(server);
      } finally {
        await server.stop();
      }
    };
    const compared = { caseTitle: task.caseTitle, promise: PROMISES[task.durability], round };
    if (task.measureBare) await gathered.take('bare', compared, task.measureBare);
    await gathered.takeBoth(compared, daemon && measureOurs, peer && (async () => task.measure(peer.server)));
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
    const { peer } = this.sides;
    if (peer === undefined) return RATE_WITHOUT_PEER;
    const known = this.peerRates.get(shape.durability);
    if (known !== undefined) return known;
    const promise = PROMISES[shape.durability];
    const measured = this.sides.gathered.measurements.filter(
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
