/**
 * A contender at work: one process publishes with 1,000 under way, one handles, and both tell their processor time. What was confirmed and not handled a
 * while after the last publish is lost, and makes the case void.
 */
import { setTimeout as pass } from 'node:timers/promises';
import { ClientProcess } from './client-process.js';
import type { Usage } from './client-program.js';
import type { Contender } from './contenders.js';
import type { Stretch } from '../sides.js';

export interface Throughput {
  readonly publishedPerSecond: number;
  readonly handledPerSecond: number;
  readonly publishCpuUs: number;
  readonly handleCpuUs: number;
}

const DRAIN_MS_MAX = 120_000;

export async function measureThroughput(contender: Contender, host: string, name: string, stretch: Stretch): Promise<Throughput> {
  const settings = { at: contender.at(host), name, poison: 'kills' } as const;
  const handler = await ClientProcess.start(contender.file, { ...settings, role: 'handle' });
  const publisher = await ClientProcess.start(contender.file, { ...settings, role: 'publish' });
  try {
    await publisher.ask('pump');
    await pass(stretch.warmupMs);
    const before = await Promise.all([publisher.ask('usage'), handler.ask('usage')]);
    await pass(stretch.measureMs);
    const after = await Promise.all([publisher.ask('usage'), handler.ask('usage')]);
    const published = await publisher.ask('rest');
    await drained(handler, published.count);
    return {
      publishedPerSecond: perSecond(before[0], after[0]),
      handledPerSecond: perSecond(before[1], after[1]),
      publishCpuUs: cpuPerMessage(before[0], after[0]),
      handleCpuUs: cpuPerMessage(before[1], after[1]),
    };
  } finally {
    await Promise.all([publisher.kill(), handler.kill()]);
  }
}

async function drained(handler: ClientProcess, published: number): Promise<void> {
  const deadlineMs = performance.now() + DRAIN_MS_MAX;
  for (;;) {
    const { count } = await handler.ask('usage');
    if (count === published) return;
    if (count > published) throw new Error(`${count} were handled of ${published} that were published`);
    if (performance.now() > deadlineMs) throw new Error(`${published - count} of ${published} were not handled`);
    await pass(100);
  }
}

function perSecond(before: Usage, after: Usage): number {
  return (after.count - before.count) / ((after.atMs - before.atMs) / 1000);
}

function cpuPerMessage(before: Usage, after: Usage): number {
  return (after.cpuUs - before.cpuUs) / (after.count - before.count);
}
