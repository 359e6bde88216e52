/**
 * The order of the Kafka benchmark: which cases, under which promises, ours and the peer in turn, round after round.
 */
import { setTimeout as pass } from 'node:timers/promises';
import { measureCeiling } from './ceiling.js';
import { measureFetch, measureLatency, measureProduce, measureTailing, type ProduceShape, type Stretch } from './load.js';
import { measureDaemonStart, measureIdleConnections, measureRecovery, memoryFigure, startFigure } from './rest.js';
import {
  attachPeer,
  type DaemonOptions,
  type KafkaServer,
  type LogDurability,
  type Peer,
  requireDaemon,
  startDaemon,
  startPeer,
} from './server.js';
import { Comparison } from '../comparison.js';
import type { Figure } from '../figure.js';
import type { Report } from '../report.js';

export const KAFKA_CASES = ['start', 'produce', 'fetch', 'single', 'latency', 'partitions', 'tailing', 'idle', 'recovery'] as const;
export type KafkaCase = (typeof KAFKA_CASES)[number];

export interface KafkaBenchmarkOptions {
  readonly cases: readonly KafkaCase[];
  readonly durabilities: readonly LogDurability[];
  readonly rounds: number;
  readonly stretch: Stretch;
  /** What `fetch` reads over and over. */
  readonly logBytes: number;
  /** What `recovery` fills the log with before the kill. */
  readonly recoveryBytes: number;
  /** undefined measures only the peer. */
  readonly daemon: DaemonOptions | undefined;
  readonly peer: { readonly address: string; readonly pid: number | undefined } | { readonly script: string } | undefined;
  /** Told what is being done, a line at a time. */
  readonly progress: (line: string) => void;
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
/** Idle memory is read when what the peer's own start left has been collected. */
const peerSettleMs = 3000;
/** The stand-in server needs no warming up beyond this, and its figures hardly vary. */
const ceilingStretch: Stretch = { warmupMs: 500, measureMs: 1500 };
const idleConnections = 1000;

export async function runKafkaBenchmark(options: KafkaBenchmarkOptions): Promise<Report> {
  return new KafkaBenchmark(options).report();
}

class KafkaBenchmark {
  private readonly gathered: Comparison;
  private peer: Peer | undefined;

  constructor(private readonly options: KafkaBenchmarkOptions) {
    this.gathered = new Comparison(options.progress);
  }

  async report(): Promise<Report> {
    const { cases, rounds, daemon, stretch, logBytes, recoveryBytes } = this.options;
    if (daemon) requireDaemon(daemon);
    await this.findPeer();
    try {
      const ceiling = { caseTitle: 'generator ceiling', promise: '', round: 1 };
      await this.gathered.take('bare', ceiling, async () => measureCeiling(batchedShape('os'), singleShape('os'), ceilingStretch));
      if (cases.includes('start')) await this.measureStarts();
      for (const task of this.tasks()) for (let round = 1; round <= rounds; round++) await this.measureRound(task, round);
    } finally {
      await this.peer?.server.stop();
    }
    this.gathered.noteDisturbance();
    const { notes, failures, measurements } = this.gathered;
    return {
      benchmark: 'Kafka',
      ours: daemon ? 'the daemon of this repository' : 'not measured',
      peer: this.peer?.name,
      options: { rounds, ...stretch, logBytes, recoveryBytes },
      notes,
      failures,
      measurements,
    };
  }

  private async findPeer(): Promise<void> {
    const { peer } = this.options;
    const { notes } = this.gathered;
    if (!peer) {
      notes.push('no peer: give one with --peer HOST:PORT or --peer-script FILE');
      return;
    }
    this.peer = 'script' in peer ? await startPeer(peer.script) : await attachPeer(peer.address, peer.pid);
    if (this.peer.server.pid === undefined)
      notes.push('the process of the peer is not known, so its processor time and memory are left out');
    if (this.peer.startMs === undefined)
      notes.push(
        'the peer was running before: its start was not measured, its idle memory is what earlier work left, and it is not killed',
      );
  }

  private async measureStarts(): Promise<void> {
    const { daemon, rounds } = this.options;
    const title = { caseTitle: 'start and rest, both protocols open', promise: '' };
    if (daemon)
      for (let round = 1; round <= rounds; round++)
        await this.gathered.take('ours', { ...title, round }, async () => measureDaemonStart(daemon));
    const { peer } = this;
    if (!peer) return;
    await this.gathered.take('peer', { ...title, round: 1 }, async () => {
      await pass(peerSettleMs);
      return [startFigure(peer.startMs), memoryFigure('idle memory', peer.server.pid)];
    });
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
    const measurePeer = async (): Promise<Figure[]> =>
      task.measure(this.peer!.server, (again) => (this.peer = { ...this.peer!, server: again }));
    await this.gathered.takeBoth(
      { caseTitle: task.caseTitle, promise: promises[task.durability], round },
      daemon && measureOurs,
      this.peer && measurePeer,
    );
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
