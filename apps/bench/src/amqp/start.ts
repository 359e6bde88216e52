/**
 * From nothing to the first accepted connection, and what a server weighs when it has nothing to do; beside a Node process that
 * only listens, because nothing written for Node can be quicker or lighter than that.
 */
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { setTimeout as pass } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { productOf, startDaemon, type Durability } from './server.js';
import type { DaemonOptions } from '../sides.js';
import type { Figure } from '../figure.js';
import { ListeningProgram } from '../listening-program.js';
import { readProcessTree } from '../process-tree.js';

/** Long enough for what a start leaves to be collected. */
const SETTLE_MS = 1000;

export function startFigure(value: number | undefined): Figure {
  return { name: 'start to first accepted connection', unit: 'ms', value };
}

export function idleFigure(pid: number | undefined): Figure {
  const usage = pid === undefined ? undefined : readProcessTree(pid);
  return { name: 'idle memory', unit: 'MB', value: usage && usage.residentBytes / 1e6 };
}

/** The daemon until connection.open-ok, then at rest. */
export async function measureDaemonStart(options: DaemonOptions, durability: Durability): Promise<Figure[]> {
  const begin = performance.now();
  const server = await startDaemon(options, durability);
  try {
    await productOf(server.url);
    const startMs = performance.now() - begin;
    await pass(SETTLE_MS);
    return [startFigure(startMs), idleFigure(server.pid)];
  } finally {
    await server.stop();
  }
}

/** The bare listener until its first byte, then at rest. */
export async function measureBareStart(): Promise<Figure[]> {
  const file = fileURLToPath(new URL('../bare-listener.js', import.meta.url));
  const begin = performance.now();
  const program = await ListeningProgram.start({ file, arguments: [], portLine: /listening on \S+:(\d+)\s*\n/ });
  try {
    const socket = createConnection({ host: '127.0.0.1', port: program.port });
    await once(socket, 'data');
    const startMs = performance.now() - begin;
    socket.destroy();
    await pass(SETTLE_MS);
    return [startFigure(startMs), idleFigure(program.pid)];
  } finally {
    await program.stop();
  }
}
