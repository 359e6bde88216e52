/**
 * What a stretch of work cost the server and the load generator, from what can be read before and after it.
 */
import { availableParallelism } from 'node:os';
import type { Figure } from './figure.js';
import { readBusyUs, readProcessTree, type ProcessUsage } from './process-tree.js';
import type { Samples } from './statistics.js';

/** The figure that tells whether the machine was idle but for the benchmark. */
export const TAKEN_BY_OTHERS = 'taken by other processes';

/** A server whose cost is to be told; without a process of this machine it cannot be. */
export interface MeasuredServer {
  readonly pid: number | undefined;
}

export interface Snapshot {
  readonly at: number;
  readonly messages: number;
  readonly server: ProcessUsage | undefined;
  readonly ownCpuUs: number;
  readonly busyUs: number | undefined;
}

export function snapshot(server: MeasuredServer, messages: number): Snapshot {
  const own = process.cpuUsage();
  const usage = server.pid === undefined ? undefined : readProcessTree(server.pid);
  return { at: performance.now(), messages, server: usage, ownCpuUs: own.user + own.system, busyUs: readBusyUs() };
}

/** `what` is the noun that a message is counted by: one that was published, or one delivery of it. */
export function costs(before: Snapshot, after: Snapshot, what = 'message'): Figure[] {
  const messages = after.messages - before.messages;
  if (messages <= 0) throw new Error('no message came through while the clock ran');
  const elapsedUs = (after.at - before.at) * 1000;
  const serverCpuUs = before.server && after.server && after.server.cpuUs - before.server.cpuUs;
  const ownCpuUs = after.ownCpuUs - before.ownCpuUs;
  const figures: Figure[] = [
    { name: `${what.replace(/y$/, 'ie')}s`, unit: '1/s', value: messages / (elapsedUs / 1e6) },
    { name: `server CPU per ${what}`, unit: 'µs', value: serverCpuUs === undefined ? undefined : serverCpuUs / messages },
    { name: `generator CPU per ${what}`, unit: 'µs', value: ownCpuUs / messages, isContext: true },
    { name: 'server memory', unit: 'MB', value: after.server && after.server.residentBytes / 1e6 },
  ];
  if (serverCpuUs !== undefined && before.busyUs !== undefined && after.busyUs !== undefined) {
    const othersUs = Math.max(0, after.busyUs - before.busyUs - serverCpuUs - ownCpuUs);
    figures.push({
      name: TAKEN_BY_OTHERS,
      unit: '% of the machine',
      value: (100 * othersUs) / (elapsedUs * availableParallelism()),
      isContext: true,
    });
  }
  return figures;
}

export function latencies(name: string, samples: Samples): Figure[] {
  if (samples.count === 0) return [];
  return [
    { name: `${name}, p50`, unit: 'ms', value: samples.percentile(0.5) },
    { name: `${name}, p99`, unit: 'ms', value: samples.percentile(0.99) },
  ];
}
