/**
 * The load generator of the Kafka benchmark: what it writes is understood by a broker, what it reads is taken apart right at every split, and a server that is wrong is noticed.
 */
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { describe, expect, it } from '@jest/globals';
import { fetchAnswer, produceAnswer } from './answers.js';
import { KafkaConnection, parseAddress } from './connection.js';
import { Fetcher } from './fetcher.js';
import { Producer } from './producer.js';
import { type Expected, type FetchedRecords, ResponseScanner } from './response-scanner.js';
import { awaitCoordinator, createTopic } from './topic.js';
import { commitRequest, deleteTopicRequest, fetchRequest, fullBatch, i64, metadataRequest, produceRequest, recordBatch } from './wire.js';

function batchAt(offset: number, count: number, valueBytes = 20): Buffer {
  const batch = recordBatch(count, valueBytes, 1);
  i64(offset).copy(batch);
  return batch;
}

/** What a scanner makes of chunks. */
function scan(chunks: readonly Buffer[], expected: readonly ((told: (what: unknown) => void) => Expected)[]): unknown[] {
  const told: unknown[] = [];
  let n = 0;
  const scanner = new ResponseScanner(() => expected[n++ % expected.length]!((what) => told.push(what)));
  for (const chunk of chunks) scanner.push(chunk, chunk.length);
  return told;
}

const fetchOf =
  (topic: string, offset: number) =>
  (told: (what: FetchedRecords) => void): Expected => ({ kind: 'fetch', topic, offset, take: told });
const small = (told: (what: unknown) => void): Expected => ({
  kind: 'small',
  take: (bytes, at, length) => told(bytes.toString('hex', at, at + length)),
});

describe('reading answers', () => {
  it('gives the same whatever the chunks are', () => {
    const records = Buffer.concat([batchAt(7, 3), batchAt(10, 2, 3000), batchAt(12, 1).subarray(0, 40)]);
    const answers = Buffer.concat([
      produceAnswer('t', 5).bytes,
      fetchAnswer('topic', records).bytes,
      produceAnswer('t', 6).bytes,
      fetchAnswer('topic', Buffer.alloc(0)).bytes,
    ]);
    const expected = [small, fetchOf('topic', 8), small, fetchOf('topic', 12)];
    const whole = scan([answers], expected);
    const bytes = batchAt(7, 3).length + batchAt(10, 2, 3000).length;
    expect(whole).toEqual([
      produceAnswer('t', 5).bytes.toString('hex', 4),
      { records: 4, bytes, nextOffset: 12 },
      produceAnswer('t', 6).bytes.toString('hex', 4),
      { records: 0, bytes: 0, nextOffset: 12 },
    ]);
    for (let at = 1; at < answers.length; at++) expect(scan([answers.subarray(0, at), answers.subarray(at)], expected)).toEqual(whole);
    expect(
      scan(
        Array.from(answers, (byte) => Buffer.from([byte])),
        expected,
      ),
    ).toEqual(whole);
  });

  it('throws where records are missing, doubled or refused', () => {
    const gap = fetchAnswer('t', Buffer.concat([batchAt(0, 2), batchAt(3, 1)])).bytes;
    expect(() => scan([gap], [fetchOf('t', 0)])).toThrow('records from 3 on came where 2 was to come');
    expect(() => scan([fetchAnswer('t', batchAt(5, 1)).bytes], [fetchOf('t', 4)])).toThrow('lost, doubled or out of order');
    expect(() => scan([fetchAnswer('t', Buffer.alloc(0), 3).bytes], [fetchOf('t', 4)])).toThrow('refused a fetch of t: error 3');
  });
});

describe('what the generator writes', () => {
  it('is as many records as fit into a batch', () => {
    const { batch, records } = fullBatch(1024, 131_072, Date.now());
    expect(batch.length).toBeLessThanOrEqual(131_072);
    expect(recordBatch(records + 1, 1024, 0).length).toBeGreaterThan(131_072);
    expect(batch.readInt32BE(57)).toBe(records);
  });

  it('names its partition and leaves room for the offset', () => {
    const fetch = fetchRequest('t', 3, { maxWaitMs: 1, minBytes: 1, bytesMax: 9 });
    expect(fetch.bytes.readInt32BE(fetch.offsetAt - 8)).toBe(3);
    expect(fetch.bytes.readBigInt64BE(fetch.offsetAt)).toBe(0n);
    expect(produceRequest('t', 3, Buffer.from('batch')).indexOf('batch')).toBeGreaterThan(0);
  });
});

describe('the producer', () => {
  const answeringWith = (offsets: (n: number) => number) => {
    let answers: Expected | undefined;
    const connection = {
      expect: (next: () => Expected) => (answers = next()),
      socket: { write: () => undefined },
    } as unknown as KafkaConnection;
    const batch = recordBatch(2, 10, 0);
    const producer = new Producer(connection, { topic: 't', partitions: [4, 9], batch, recordsEach: 2, inFlightMax: 3 });
    const answer = (n: number): void => {
      const { bytes } = produceAnswer('t', offsets(n));
      if (answers?.kind === 'small') answers.take(bytes, 4, bytes.length - 4);
    };
    return { producer, answer };
  };

  it('keeps so many in flight, in turn, and sees to it that each partition grows without a hole', () => {
    const { producer, answer } = answeringWith((n) => Math.floor(n / 2) * 2);
    producer.start(7);
    expect(producer.inFlight).toBe(3);
    for (let n = 0; n < 7; n++) {
      answer(n);
      producer.pump();
    }
    expect([producer.inFlight, producer.answered, producer.records, producer.answerMs.count]).toEqual([0, 7, 14, 7]);
  });

  it('throws when records were appended where they should not be', () => {
    const { producer, answer } = answeringWith(() => 0);
    producer.start(4);
    answer(0);
    answer(1);
    expect(() => answer(2)).toThrow('records of partition 4 were appended at 0 instead of 2');
  });
});

describe('the generator beside a broker', () => {
  it('is understood: topics, batches, fetches, groups', async () => {
    const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, kafka: { port: 0 }, ground: realGround() });
    const at = { host: '127.0.0.1', port: broker.kafkaPort! };
    const [control, outgoing, incoming] = [await KafkaConnection.open(at), await KafkaConnection.open(at), await KafkaConnection.open(at)];
    try {
      await createTopic(control, 'load', 2, { 'retention.ms': '100000' });
      const { batch, records } = fullBatch(100, 20_000, Date.now());
      const producer = new Producer(outgoing, { topic: 'load', partitions: [0, 1], batch, recordsEach: records, inFlightMax: 5 });
      producer.start(200);
      await outgoing.socket.until('all was answered', () => producer.answered === 200);
      const fetcher = new Fetcher(incoming, { topic: 'load', partition: 1, maxWaitMs: 100, minBytes: 1, bytesMax: 300_000 });
      fetcher.start();
      await incoming.socket.until('all was fetched', () => fetcher.records === 100 * records);
      await fetcher.finish();
      expect([fetcher.offset, fetcher.bytes]).toEqual([100 * records, 100 * batch.length]);

      await awaitCoordinator(control, 'group');
      const committed = await control.call(commitRequest('group', 'load', 1, 7));
      expect(committed.readInt16BE(committed.length - 2)).toBe(0);
      expect((await control.call(metadataRequest(['load']))).includes('load')).toBe(true);
      const deleted = await control.call(deleteTopicRequest('load'));
      expect(deleted.readInt16BE(deleted.length - 2)).toBe(0);
      await expect(createTopic(control, 'no/name', 1, {})).rejects.toThrow('did not make the topic no/name: error 17');
    } finally {
      for (const connection of [control, outgoing, incoming]) connection.close();
      await broker.close();
    }
  });
});

describe('an address', () => {
  it('is read, and refused with a sentence', () => {
    expect(parseAddress('kafka:9092')).toEqual({ host: 'kafka', port: 9092 });
    expect(parseAddress('kafka://127.0.0.1:1')).toEqual({ host: '127.0.0.1', port: 1 });
    for (const wrong of ['kafka', 'http://kafka:1', ':1', '']) expect(() => parseAddress(wrong)).toThrow('no address of a Kafka broker');
  });
});
