/**
 * The order of the Kafka benchmark: which cases, under which promises, ours and the peer in turn, round after round.
 */
import { measureCeiling } from './ceiling.js';
import { measureFetch, measureLatency, measureProduce, measureTailing, type ProduceShape } from './load.js';
import { measureDaemonStart, measureIdleConnections, measureRecovery, memoryFigure, startFigure } from './rest.js';
import { attachPeer, type KafkaServer, type LogDurability, startDaemon, startPeer } from './server.js';
import type { Figure } from '../figure.js';
import type { Report } from '../report.js';
import { ceilingStretch, Sides, type SidesOptions } from '../sides.js';

export const KAFKA_CASES = ['start', 'produce', 'fetch', 'single', 'latency', 'partitions', 'tailing', 'idle', 'recovery'] as const;
export type KafkaCase = (typeof KAFKA_CASES)[number];

export interface KafkaBenchmarkOptions extends SidesOptions<KafkaCase, LogDurability> {
  /** What `fetch` reads over and over. */
  readonly logBytes: number;
  /** What `recovery` fills the log with before the kill. */
  readonly recoveryBytes: number;
}

interface Task {
  readonly caseTitle: string;
  readonly durability: LogDurability;
  measure(server: KafkaServer, cameBack: (server: KafkaServer) => void): Promise<Figure[]>;
}

const promises: Readonly<Record<LogDurability, string>> = {
  os: "B: os, survives the process; peer: Kafka's default",
  fsync: 'C: fsync, survives power loss; peer: flush.messages=1',
};
const idleConnections = 1000;

export async function runKafkaBenchmark(options: KafkaBenchmarkOptions): Promise<Report> {
  return new KafkaBenchmark(options).report();
}

class KafkaBenchmark {
  private readonly sides: Sides<KafkaServer>;

  constructor(private readonly options: KafkaBenchmarkOptions) {
    this.sides = new Sides(options);
  }

  report(): Promise<Report> {
    const { logBytes, recoveryBytes } = this.options;
    return this.sides.report<Task>({
      benchmark: 'Kafka',
      peerOption: 'HOST:PORT',
      unmeasured: 'its idle memory is what earlier work left, and it is not killed',
      options: { logBytes, recoveryBytes },
      attach: attachPeer,
      start: startPeer,
      ceiling: () => measureCeiling(batchedShape('os'), singleShape('os'), ceilingStretch),
      measureStarts: () => this.measureStarts(),
      tasks: this.tasks(),
      measureRound: (task, round) => this.measureRound(task, round),
    });
  }

  private async measureStarts(): Promise<void> {
    const { daemon, rounds } = this.options;
    const caseTitle = 'start and rest, both protocols open';
    if (daemon)
      for (let round = 1; round <= rounds; round++)
        await this.sides.gathered.take('ours', { caseTitle, promise: '', round }, async () => measureDaemonStart(daemon));
    await this.sides.takePeerStart(caseTitle, ({ startMs, server }) => [startFigure(startMs), memoryFigure('idle memory', server.pid)]);
  }

  private async measureRound(task: Task, round: number): Promise<void> {
    const { daemon } = this.options;
    const measureOurs = async (): Promise<Figure[]> => {
      let server = await startDaemon(daemon!, task.durability);
      try {
        return await task.measure(server, (again) => (server = again));
      } finally {
        await server.stop();
      }
    };
    const { sides } = this;
    const measurePeer = async (): Promise<Figure[]> =>
      task.measure(sides.peer!.server, (again) => (sides.peer = { ...sides.peer!, server: again }));
    const compared = { caseTitle: task.caseTitle, promise: promises[task.durability], round };
    await sides.gathered.takeBoth(compared, daemon && measureOurs, sides.peer && measurePeer);
  }

  private tasks(): Task[] {
    const { cases, durabilities, stretch, logBytes, recoveryBytes } = this.options;
    const tasks: Task[] = [];
    const add = (name: KafkaCase, caseTitle: string, durability: LogDurability, measure: Task['measure']): void => {
      if (cases.includes(name) && durabilities.includes(durability)) tasks.push({ caseTitle, durability, measure });
    };
    // First of all: a peer comes back to everything that stands in its folder, and what other cases left would count in.
    for (const durability of ['os', 'fsync'] as const) {
      add('recovery', `recovery of ${(recoveryBytes / 1e9).toFixed(1)} GB after kill -9`, durability, (server, cameBack) =>
        measureRecovery(server, batchedShape(durability), recoveryBytes, cameBack),
      );
    }
    for (const durability of ['os', 'fsync'] as const) {
      const [batched, single] = [batchedShape(durability), singleShape(durability)];
      add('produce', '1 KiB records in 128 KiB batches, acks=all, 5 in flight', durability, (server) =>
        measureProduce(server, batched, stretch),
      );
      // Where it was synced says nothing of how it is read.
      if (durability === 'os') {
        add('fetch', 'fetch of 1 KiB records in 128 KiB batches, 1 MiB at a time', durability, (server) =>
          measureFetch(server, batched, logBytes, stretch),
        );
      }
      add('single', 'one record of 100 bytes a request, 5 in flight on 16 connections', durability, (server) =>
        measureProduce(server, single, stretch),
      );
      add('latency', 'one record at a time, produced to fetched', durability, (server) => measureLatency(server, single, stretch));
      add('partitions', 'one record a request, to 1,000 partitions in turn, 5 in flight on 16 connections', durability, (server) =>
        measureProduce(server, { ...single, partitions: 1000 }, stretch),
      );
      add('tailing', '50 groups tail one topic of 500 records a second', durability, (server) =>
        measureTailing(server, { ...single, groups: 50, ratePerS: 500 }, stretch),
      );
      if (durability === 'os')
        add('idle', '1,000 idle connections', durability, (server) => measureIdleConnections(server, idleConnections));
    }
    return tasks;
  }
}

function batchedShape(durability: LogDurability): ProduceShape {
  return { durability, recordBytes: 1024, batchBytesMax: 131_072, inFlightMax: 5, connections: 1, partitions: 1 };
}

function singleShape(durability: LogDurability): ProduceShape {
  return { durability, recordBytes: 100, inFlightMax: 5, connections: 16, partitions: 16 };
}
