/**
 * What the load generator itself can do and costs: the same code against a server that does nothing.
 *
 * A figure of a broker that comes near its ceiling says more about the generator than about the broker.
 */
import { fileURLToPath } from 'node:url';
import { KafkaConnection } from './connection.js';
import { Fetcher } from './fetcher.js';
import { batchOf, type ProduceShape } from './load.js';
import type { Stretch } from '../sides.js';
import { Producer } from './producer.js';
import type { Figure } from '../figure.js';
import { ListeningProgram } from '../listening-program.js';

const topic = 'ceiling';
const fetchBytes = 1024 * 1024;

export async function measureCeiling(batched: ProduceShape, single: ProduceShape, stretch: Stretch): Promise<Figure[]> {
  const producing = async (what: string, shape: ProduceShape): Promise<Figure[]> =>
    measureAgainst(what, shape, stretch, (connections, batch, recordsEach) => {
      const producers = connections.map(
        (connection) => new Producer(connection, { topic, partitions: [0], batch, recordsEach, inFlightMax: shape.inFlightMax }),
      );
      for (const producer of producers) producer.start();
      return () => producers.reduce((sum, { records }) => sum + records, 0);
    });
  const fetching = measureAgainst('fetching batches', { ...batched, connections: 1 }, stretch, ([connection]) => {
    const fetcher = new Fetcher(connection!, { topic, partition: 0, maxWaitMs: 500, minBytes: 1, bytesMax: fetchBytes });
    fetcher.start();
    return () => fetcher.records;
  });
  return [...(await fetching), ...(await producing('producing batches', batched)), ...(await producing('one record a request', single))];
}

async function measureAgainst(
  what: string,
  shape: ProduceShape,
  stretch: Stretch,
  start: (connections: readonly KafkaConnection[], batch: Buffer, records: number) => () => number,
): Promise<Figure[]> {
  const { batch, records } = batchOf(shape);
  const file = fileURLToPath(new URL('./ceiling-server.js', import.meta.url));
  const given = [topic, String(records), String(batch.length), String(fetchBytes)];
  const program = await ListeningProgram.start({ file, arguments: given, portLine: /listening on \S+:(\d+)\s*\n/ });
  const at = { host: '127.0.0.1', port: program.port };
  const connections = Array.from({ length: shape.connections }, () => KafkaConnection.openBare(at));
  try {
    const count = start(connections, batch, records);
    const pass = (durationMs: number): Promise<void> => Promise.race(connections.map(({ socket }) => socket.pass(durationMs)));
    await pass(stretch.warmupMs);
    const before = { records: count(), at: performance.now(), cpu: process.cpuUsage() };
    await pass(stretch.measureMs);
    const measured = count() - before.records;
    const cpu = process.cpuUsage(before.cpu);
    return [
      { name: `${what}: records`, unit: '1/s', value: measured / ((performance.now() - before.at) / 1000) },
      { name: `${what}: generator CPU per record`, unit: 'µs', value: (cpu.user + cpu.system) / measured },
    ];
  } finally {
    for (const connection of connections) connection.close();
    await program.stop();
  }
}
