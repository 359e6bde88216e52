/**
 * Steady loads on a topic of their own, and what they cost the server over a stretch of time.
 *
 * Every answer is looked at: records that were refused, or appended or fetched out of their place, make the figures void.
 */
import { KafkaConnection } from './connection.js';
import { Fetcher } from './fetcher.js';
import { Producer } from './producer.js';
import type { KafkaServer, LogDurability } from './server.js';
import { awaitCoordinator, withTopic } from './topic.js';
import { commitRequest, fullBatch, recordBatch } from './wire.js';
import { costs, latencies, snapshot } from '../costs.js';
import type { Figure } from '../figure.js';
import type { Stretch } from '../sides.js';
import { Samples } from '../statistics.js';

export interface ProduceShape {
  readonly durability: LogDurability;
  readonly recordBytes: number;
  /** Undefined sends one record a request. */
  readonly batchBytesMax?: number;
  readonly inFlightMax: number;
  readonly connections: number;
  /** Each connection writes to its share of them, in turn. */
  readonly partitions: number;
}

const batchFetch = { maxWaitMs: 500, minBytes: 1, bytesMax: 1024 * 1024 };

export async function measureProduce(server: KafkaServer, shape: ProduceShape, stretch: Stretch): Promise<Figure[]> {
  return withTopic(server, shape.durability, shape.partitions, async (topic) =>
    withConnections(server, shape.connections, async (connections) => {
      const { batch, records } = batchOf(shape);
      const producers = connections.map((connection, n) => {
        const partitions = Array.from({ length: shape.partitions }, (_, partition) => partition).filter(
          (partition) => partition % shape.connections === n,
        );
        return new Producer(connection, { topic, partitions, batch, recordsEach: records, inFlightMax: shape.inFlightMax });
      });
      const count = (): number => producers.reduce((sum, producer) => sum + producer.records, 0);
      for (const producer of producers) producer.start();
      // The first record of a partition makes its files: that is not what is measured.
      for (const [n, { socket }] of connections.entries())
        await socket.until('all partitions were written', () => producers[n]!.hasBeenRound, 120_000);
      const figures = await measure(server, connections, count, stretch, () => {
        for (const producer of producers) producer.answerMs.clear();
      });
      const answerMs = new Samples();
      for (const producer of producers) producer.answerMs.each((value) => answerMs.add(value));
      for (const producer of producers) await producer.finish();
      return [...figures, ...throughput(figures, batch.length / records), ...latencies('produced to answered', answerMs)];
    }),
  );
}

/** Reads what was produced before, over and over: more than the server keeps of it itself, and less than the page cache does. */
export async function measureFetch(server: KafkaServer, shape: ProduceShape, logBytes: number, stretch: Stretch): Promise<Figure[]> {
  return withTopic(server, shape.durability, 1, async (topic) =>
    withConnections(server, 2, async ([outgoing, incoming]) => {
      const { batch, records } = batchOf(shape);
      const requests = Math.ceil(logBytes / batch.length);
      const producer = new Producer(outgoing!, { topic, partitions: [0], batch, recordsEach: records, inFlightMax: shape.inFlightMax });
      producer.start(requests);
      await outgoing!.socket.until('the log was filled', () => producer.answered === requests, 120_000);
      const fetcher = new Fetcher(incoming!, { ...batchFetch, topic, partition: 0, turnsAt: requests * records });
      fetcher.start();
      const figures = await measure(server, [incoming!], () => fetcher.records, stretch);
      await fetcher.finish();
      return [...figures, ...throughput(figures, batch.length / records)];
    }),
  );
}

/** One record at a time, from when it is written into the socket until a consumer that waits for it has it. */
export async function measureLatency(server: KafkaServer, shape: ProduceShape, stretch: Stretch): Promise<Figure[]> {
  return withTopic(server, shape.durability, 1, async (topic) =>
    withConnections(server, 2, async ([outgoing, incoming]) => {
      const fetchedMs = new Samples();
      let writtenAt = 0;
      const room = (): number => (fetcher.records === producer.records ? 1 : 0);
      const producer: Producer = new Producer(outgoing!, { topic, partitions: [0], ...oneRecord(shape), inFlightMax: 1, room });
      const write = (): void => {
        if (fetcher.records !== producer.records) return;
        writtenAt = performance.now();
        producer.pump();
      };
      // The next one leaves when this one was answered and fetched, in whichever order.
      outgoing!.onChunkEnd = write;
      incoming!.onChunkEnd = write;
      const onRecords = (): void => fetchedMs.add(performance.now() - writtenAt);
      const fetcher: Fetcher = new Fetcher(incoming!, { ...batchFetch, topic, partition: 0, onRecords });
      fetcher.start();
      await incoming!.socket.pass(100);
      writtenAt = performance.now();
      producer.start();
      const figures = await measure(
        server,
        [outgoing!, incoming!],
        () => fetcher.records,
        stretch,
        () => {
          producer.answerMs.clear();
          fetchedMs.clear();
        },
      );
      await producer.finish();
      await fetcher.finish();
      return [...figures, ...latencies('produced to answered', producer.answerMs), ...latencies('produced to fetched', fetchedMs)];
    }),
  );
}

export interface TailingShape extends ProduceShape {
  readonly groups: number;
  readonly ratePerS: number;
}

const commitEveryMs = 1000;

/**
 * Groups that keep up with one topic: each fetches every record as it comes and commits its offset once a second. An open loop: the time of a record counts from when
 * it was due. What a delivery costs is the server's processor time over all deliveries, producing and committing included.
 */
export async function measureTailing(server: KafkaServer, shape: TailingShape, stretch: Stretch): Promise<Figure[]> {
  const { groups, ratePerS } = shape;
  return withTopic(server, shape.durability, 1, async (topic) =>
    withConnections(server, 2 + groups, async ([outgoing, control, ...incoming]) => {
      await awaitCoordinator(control!, topic);
      const beganAt = performance.now();
      const dueAt = (n: number): number => beganAt + (n * 1000) / ratePerS;
      const room = (): number => Math.floor(((performance.now() - beganAt) * ratePerS) / 1000) - producer.answered - producer.inFlight;
      const producer: Producer = new Producer(outgoing!, { topic, partitions: [0], ...oneRecord(shape), inFlightMax: 1000, room, dueAt });
      const fetchedMs = new Samples();
      const fetchers: Fetcher[] = incoming.map((connection) => {
        const onRecords = ({ records, nextOffset }: { records: number; nextOffset: number }): void => {
          const now = performance.now();
          for (let n = nextOffset - records; n < nextOffset; n++) fetchedMs.add(now - dueAt(n));
        };
        return new Fetcher(connection, { ...batchFetch, topic, partition: 0, onRecords });
      });
      for (const fetcher of fetchers) fetcher.start();
      control!.expect(() => ({ kind: 'small', take: () => undefined }));
      const committing = setInterval(() => {
        for (const [n, { offset }] of fetchers.entries()) control!.socket.write(commitRequest(`${topic}-${n}`, topic, 0, offset));
      }, commitEveryMs);
      producer.start();
      const pumping = setInterval(() => producer.pump(), 1);
      try {
        const count = (): number => fetchers.reduce((sum, { records }) => sum + records, 0);
        const figures = await measure(
          server,
          [outgoing!, control!, ...incoming],
          count,
          stretch,
          () => {
            producer.answerMs.clear();
            fetchedMs.clear();
          },
          'delivery',
        );
        await producer.finish();
        for (const fetcher of fetchers) await fetcher.finish();
        return [...figures, ...latencies('due to answered', producer.answerMs), ...latencies('due to fetched', fetchedMs)];
      } finally {
        clearInterval(committing);
        clearInterval(pumping);
      }
    }),
  );
}

/** Opens connections, hands them over, and closes them whatever happens. */
export async function withConnections(
  server: KafkaServer,
  count: number,
  use: (connections: readonly KafkaConnection[]) => Promise<Figure[]>,
): Promise<Figure[]> {
  const connections: KafkaConnection[] = [];
  try {
    for (let n = 0; n < count; n++) connections.push(await KafkaConnection.open(server.at));
    return await use(connections);
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function measure(
  server: KafkaServer,
  connections: readonly KafkaConnection[],
  count: () => number,
  stretch: Stretch,
  begin: () => void = () => undefined,
  what = 'record',
): Promise<Figure[]> {
  const pass = (durationMs: number): Promise<void> => Promise.race(connections.map(({ socket }) => socket.pass(durationMs)));
  await pass(stretch.warmupMs);
  begin();
  const before = snapshot(server, count());
  await pass(stretch.measureMs);
  return costs(before, snapshot(server, count()), what);
}

export function batchOf({ recordBytes, batchBytesMax }: ProduceShape): { readonly batch: Buffer; readonly records: number } {
  if (batchBytesMax === undefined) return { batch: recordBatch(1, recordBytes, Date.now()), records: 1 };
  return fullBatch(recordBytes, batchBytesMax, Date.now());
}

function oneRecord(shape: ProduceShape): { readonly batch: Buffer; readonly recordsEach: number } {
  return { batch: recordBatch(1, shape.recordBytes, Date.now()), recordsEach: 1 };
}

function throughput(figures: readonly Figure[], bytesPerRecord: number): Figure[] {
  const perSecond = figures.find(({ name }) => name === 'records')?.value;
  return [{ name: 'bytes', unit: 'MB/s', value: perSecond === undefined ? undefined : (perSecond * bytesPerRecord) / 1e6 }];
}
