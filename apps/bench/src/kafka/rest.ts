/**
 * What a server weighs and takes when nobody works with it: starting, resting, a thousand connections that only stay, and coming back after `kill -9`.
 */
import { setTimeout as pass } from 'node:timers/promises';
import { KafkaConnection } from './connection.js';
import { Fetcher } from './fetcher.js';
import { batchOf, type ProduceShape, withConnections } from './load.js';
import { Producer } from './producer.js';
import { type KafkaServer, startDaemon } from './server.js';
import type { DaemonOptions } from '../sides.js';
import { createTopic } from './topic.js';
import { deleteTopicRequest, metadataRequest } from './wire.js';
import type { Figure } from '../figure.js';
import { readProcessTree } from '../process-tree.js';

/** Long enough for what a start leaves to be collected. */
const settleMs = 1000;
const fillMsMax = 600_000;

/** The daemon with both protocols until a Kafka client is answered, then at rest. */
export async function measureDaemonStart(options: DaemonOptions): Promise<Figure[]> {
  const begin = performance.now();
  const server = await startDaemon(options, 'fsync');
  try {
    (await KafkaConnection.open(server.at)).close();
    const startMs = performance.now() - begin;
    await pass(settleMs);
    return [startFigure(startMs), memoryFigure('idle memory', server.pid)];
  } finally {
    await server.stop();
  }
}

export function startFigure(value: number | undefined): Figure {
  return { name: 'start to first answer', unit: 'ms', value };
}

export function memoryFigure(name: string, pid: number | undefined): Figure {
  const usage = pid === undefined ? undefined : readProcessTree(pid);
  return { name, unit: 'MB', value: usage && usage.residentBytes / 1e6 };
}

/** Connections that said who they are and asked for the brokers, and then nothing. */
export async function measureIdleConnections(server: KafkaServer, count: number): Promise<Figure[]> {
  const before = memoryFigure('memory without them', server.pid);
  const connections: KafkaConnection[] = [];
  try {
    for (let n = 0; n < count; n++) {
      const connection = await KafkaConnection.open(server.at, 1024);
      connections.push(connection);
      await connection.call(metadataRequest([]));
    }
    await pass(settleMs);
    const after = memoryFigure('memory with them', server.pid);
    const each = before.value !== undefined && after.value !== undefined ? ((after.value - before.value) * 1000) / count : undefined;
    return [before, after, { name: 'memory per connection', unit: 'kB', value: each }];
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** Fills a log, kills the server, and tells how long it takes until the last record can be read again. The server that came back is handed to `cameBack`. */
export async function measureRecovery(
  server: KafkaServer,
  shape: ProduceShape,
  logBytes: number,
  cameBack: (server: KafkaServer) => void,
): Promise<Figure[]> {
  if (server.restart === undefined) throw new Error('nobody knows how to kill and restart this server');
  const topic = `dovecote-bench-${process.pid}-${Math.round(performance.now())}`;
  const { batch, records } = batchOf(shape);
  const requests = Math.ceil(logBytes / batch.length);
  await withConnections(server, 2, async ([control, outgoing]) => {
    await createTopic(control!, topic, 1, server.topicConfigs(shape.durability));
    const producer = new Producer(outgoing!, { topic, partitions: [0], batch, recordsEach: records, inFlightMax: shape.inFlightMax });
    producer.start(requests);
    await outgoing!.socket.until('the log was filled', () => producer.answered === requests, fillMsMax);
    return [];
  });
  const begin = performance.now();
  const again = await server.restart();
  cameBack(again);
  const listensMs = performance.now() - begin;
  return withConnections(again, 2, async ([control, incoming]) => {
    const last = requests * records - 1;
    const fetcher = new Fetcher(incoming!, { topic, partition: 0, maxWaitMs: 100, minBytes: 1, bytesMax: batch.length * 2 });
    fetcher.offset = last;
    fetcher.start();
    await incoming!.socket.until('the last record came', () => fetcher.records > 0, fillMsMax);
    const readMs = performance.now() - begin;
    await fetcher.finish();
    if (fetcher.offset !== last + 1) throw new Error(`the log ends at ${fetcher.offset} after the kill, ${last + 1} were acknowledged`);
    await control!.call(deleteTopicRequest(topic));
    return [
      { name: 'kill to listening', unit: 'ms', value: listensMs },
      { name: 'kill to the last record read', unit: 'ms', value: readMs },
      memoryFigure('memory then', again.pid),
    ];
  });
}
