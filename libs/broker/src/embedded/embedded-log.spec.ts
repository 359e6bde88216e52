/** The log from inside the process: what its user appends, reads and shares, over a log in memory and a clock that stands still. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { KafkaWorld } from '../kafka/kafka-world.js';
import { MemoryLog } from '../kafka/memory-log.js';
import { SeededRandom } from '@dovecote/ground/testing';
import { recordsOf } from '../kafka/record-batch.js';
import { fetchRecords } from '../kafka/apis/01-fetch.js';
import { encodeBatch, sealRecords } from '../log/records.js';
import { BatchBuilder } from './batch-builder.js';
import type { LogReader, OutgoingRecord } from './broker-log.js';
import { EmbeddedLog } from './embedded-log.js';
import { decodeBatches, type LogBatch } from './log-batch.js';
import { murmur2, partitionOfKey } from './partitioner.js';

let world: KafkaWorld;
let log: EmbeddedLog;

async function open(options: Parameters<typeof KafkaWorld.open>[0] = {}): Promise<void> {
  world = await KafkaWorld.open(options);
  log = new EmbeddedLog(world.server);
}

afterEach(() => world.server.abort());

const drive = <T>(promise: Promise<T>): Promise<T> => world.clock.drive(promise);
const values = (batch: LogBatch): string[] => batch.records.map(({ value }) => String(value));
const append = (topic: string, ...texts: readonly string[]) =>
  drive(
    log.append(
      topic,
      texts.map((value) => ({ value })),
    ),
  );

async function rest(reader: LogReader): Promise<string[]> {
  const all: string[] = [];
  for (;;) {
    const { done, value } = await drive(reader.next());
    if (done === true) return all;
    all.push(...values(value as LogBatch));
  }
}

describe('topics', () => {
  it('are made, listed, grown, changed and deleted', async () => {
    await open();
    const made = await drive(log.createTopic('orders', { partitionCount: 2, configs: { 'retention.ms': '1000' } }));
    expect(made).toMatchObject({ name: 'orders', partitionCount: 2, isInternal: false });
    expect(log.topics.map(({ name }) => name)).toEqual(['orders']);
    await drive(log.addPartitions('orders', 3));
    await drive(log.alterConfigs('orders', { 'retention.ms': null, 'cleanup.policy': 'compact' }));
    expect(log.topic('orders')).toEqual({ ...made, partitionCount: 3 });
    expect(log.configs('orders')).toMatchObject({ 'retention.ms': '604800000', 'cleanup.policy': 'compact' });
    await expect(log.createTopic('orders')).rejects.toMatchObject({ code: 'topic-exists' });
    await drive(log.deleteTopic('orders'));
    expect([log.topic('orders'), log.topics]).toEqual([undefined, []]);
    await expect(log.append('orders', [{ value: 'x' }])).rejects.toMatchObject({ code: 'no-topic' });
    expect(() => log.bounds('orders', 0)).toThrow('create it first');
  });
});

describe('appending', () => {
  it("resolves when the commit has the records, and puts each key where Kafka's clients would", async () => {
    await open({ commitsByHand: true });
    await log.createTopic('t', { partitionCount: 64 });
    let isDone = false;
    const appended = log.append('t', [
      { key: 'a', value: '1' },
      { key: 'b', value: '2' },
      { key: 'a', value: '3' },
      { value: '4', partition: 63 },
    ]);
    void appended.then(() => (isDone = true));
    await world.settle();
    expect([isDone, log.bounds('t', 63).latest]).toEqual([false, 0]);
    world.log.commit();
    expect(await appended).toEqual([
      { partition: partitionOfKey(Buffer.from('a'), 64), baseOffset: 0, recordCount: 2 },
      { partition: partitionOfKey(Buffer.from('b'), 64), baseOffset: 0, recordCount: 1 },
      { partition: 63, baseOffset: 0, recordCount: 1 },
    ]);
    // Known answers of Kafka's own hash.
    expect(['', '21', 'foobar', 'a-little-bit-long-string'].map((key) => murmur2(Buffer.from(key)) | 0)).toEqual([
      275_646_681, -973_932_308, -790_332_482, -985_981_536,
    ]);
  });

  it('carries keys, values, headers and times as they are, and what Kafka clients read is the same', async () => {
    await open();
    await drive(log.createTopic('t'));
    const records: OutgoingRecord[] = [
      { key: 'ключ', value: Buffer.from([0, 255]), headers: { a: 'ä', none: null }, timestamp: 5 },
      {
        key: null,
        value: null,
        headers: [
          { key: 'x', value: '1' },
          { key: 'x', value: Buffer.from('2') },
        ],
        timestamp: 2 ** 41,
      },
      { value: '', timestamp: 7 },
    ];
    await drive(log.append('t', records));
    const reader = log.read('t', 0);
    const { value: batch } = (await drive(reader.next())) as { value: LogBatch };
    const [first, second, third] = batch.records;
    expect([first!.key!.toString(), first!.value, first!.timestamp, first!.offset]).toEqual(['ключ', Buffer.from([0, 255]), 5, 0]);
    expect([first!.header('a')!.toString(), first!.header('none'), first!.header('b')]).toEqual(['ä', null, undefined]);
    expect([second!.key, second!.value, second!.timestamp, String(second!.header('x')), second!.headers.length]).toEqual([
      null,
      null,
      2 ** 41,
      '2',
      2,
    ]);
    expect([third!.key, third!.value!.length, third!.headers]).toEqual([null, 0, []]);
    expect([batch.nextOffset, batch.end]).toEqual([3, 3]);
    const topics = [{ topic: 't', topicId: '', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1e6 }] }];
    const fetched = await world.client().ask(fetchRecords, 11, { maxWaitMs: 0, minBytes: 1, topics, forgottenTopicsData: [], rackId: '' });
    expect([...recordsOf(fetched.responses[0]!.partitions[0]!.records!)].map(({ timestamp }) => timestamp)).toEqual([5, 2 ** 41, 7]);
  });

  it('makes as many batches as it takes, and says which record is too large after the others are safe', async () => {
    await open();
    await drive(log.createTopic('t', { configs: { 'max.message.bytes': '1000' } }));
    const runs = await drive(
      log.append(
        't',
        Array.from({ length: 10 }, () => ({ value: 'x'.repeat(300) })),
      ),
    );
    expect(runs.map(({ baseOffset, recordCount }) => [baseOffset, recordCount])).toEqual([
      [0, 3],
      [3, 3],
      [6, 3],
      [9, 1],
    ]);
    const refused = drive(log.append('t', [{ value: 'small' }, { value: 'x'.repeat(2000) }]));
    await expect(refused).rejects.toMatchObject({ code: 'message-too-large' });
    expect(log.bounds('t', 0)).toEqual({ earliest: 0, latest: 11 });
    await expect(log.append('t', [{ value: 'x', partition: 9 }])).rejects.toThrow("There is no partition 9 of 't'");
  });

  it.each(['uncompressed', 'gzip', 'snappy', 'lz4'] as const)('compresses with %s, and reads it back', async (compression) => {
    await open();
    await drive(log.createTopic('t'));
    await drive(
      log.append(
        't',
        [
          { key: 'k', value: 'one' },
          { value: 'two', headers: { h: 'v' } },
        ],
        { compression },
      ),
    );
    const reader = log.read('t', 0, { until: 'end' });
    expect(await rest(reader)).toEqual(['one', 'two']);
  });

  it('waits when too much is uncommitted, in the order of the calls', async () => {
    await open({ commitsByHand: true, limits: { uncommittedBytesMax: 10 } });
    await log.createTopic('t');
    const all = ['a', 'b', 'c'].map((value) => log.append('t', [{ value }]));
    await world.settle();
    expect(world.log.topic('t')!.partitions[0]!.logEndOffset).toBe(1);
    for (let turn = 0; turn < 6; turn++) {
      world.log.commit();
      await world.settle();
    }
    expect((await Promise.all(all)).map(([run]) => run!.baseOffset)).toEqual([0, 1, 2]);
  });

  it('leaves what belongs to the broker alone', async () => {
    await open();
    await drive(log.createTopic('t'));
    await drive(log.commitOffsets('g', [{ topic: 't', partition: 0, offset: 0 }]));
    await expect(log.append('__consumer_offsets', [{ value: 'x' }])).rejects.toThrow('belongs to the broker');
    await expect(log.deleteTopic('__consumer_offsets')).rejects.toThrow('belongs to the broker');
  });
});

describe('reading', () => {
  it('gives what was there, waits for more, and ends where it is told to', async () => {
    await open();
    await drive(log.createTopic('t'));
    await append('t', 'a', 'b', 'c');
    expect(await rest(log.read('t', 0, { until: 'end' }))).toEqual(['a', 'b', 'c']);
    expect(await rest(log.read('t', 0, { from: 1, until: 2 }))).toEqual(['b']);
    const tail = log.read('t', 0, { from: 'latest' });
    const next = tail.next();
    await append('t', 'd');
    expect(values((await drive(next)).value as LogBatch)).toEqual(['d']);
    tail.seek(1);
    expect(values((await drive(tail.next())).value as LogBatch)).toEqual(['b', 'c', 'd']);
    const waiting = log.read('t', 0, { from: 'latest' });
    const never = waiting.next();
    await world.settle();
    await waiting.return();
    expect(await drive(never)).toEqual({ done: true, value: undefined });
  });

  it('begins at a time, and finds the offset of one', async () => {
    await open();
    await drive(log.createTopic('t'));
    await drive(
      log.append(
        't',
        [100, 200, 300].map((timestamp) => ({ value: String(timestamp), timestamp })),
      ),
    );
    expect(await drive(log.offsetForTime('t', 0, 150))).toEqual({ offset: 1, timestamp: 200 });
    expect(await drive(log.offsetForTime('t', 0, 301))).toBeUndefined();
    expect(await rest(log.read('t', 0, { from: { timestamp: 250 }, until: 'end' }))).toEqual(['300']);
  });

  it('says so when the place is gone, and takes records away below an offset', async () => {
    await open();
    await drive(log.createTopic('t'));
    await append('t', 'a', 'b');
    expect(await drive(log.deleteRecordsBefore('t', 0, 1))).toBe(1);
    expect(log.bounds('t', 0)).toEqual({ earliest: 1, latest: 2 });
    await expect(drive(log.read('t', 0, { from: 0 }).next())).rejects.toMatchObject({ code: 'offset-out-of-range' });
    await expect(drive(log.deleteRecordsBefore('t', 0, 5))).rejects.toMatchObject({ code: 'offset-out-of-range' });
  });

  it('tells who watches, once for each commit', async () => {
    await open();
    await drive(log.createTopic('t'));
    const ends: number[] = [];
    const stop = log.watch('t', 0, (end) => ends.push(end));
    await append('t', 'a', 'b');
    await append('t', 'c');
    stop();
    await append('t', 'd');
    expect(ends).toEqual([2, 3]);
  });

  it('gives the records before one that cannot be read, then says what is wrong and how to go on', async () => {
    await open();
    await drive(log.createTopic('t'));
    await append('t', 'good');
    const garbage = sealRecords(Buffer.from('no gzip'), headOf(1));
    world.log.topic('t')!.partitions[0]!.append(garbage);
    await append('t', 'after');
    const reader = log.read('t', 0);
    expect(values((await drive(reader.next())).value as LogBatch)).toEqual(['good']);
    await expect(drive(reader.next())).rejects.toThrow('offset 1 to 1 cannot be read');
    await expect(drive(reader.next())).rejects.toMatchObject({ code: 'unreadable-records' });
    reader.seek(2);
    expect(values((await drive(reader.next())).value as LogBatch)).toEqual(['after']);
  });

  it('passes over transactions that were aborted, and over their marks', () => {
    const batch = (offset: number, producerId: number, attributes: number, key: Buffer | null = null): Buffer => {
      const bytes = encodeBatch([{ key, value: Buffer.from(`${producerId}@${offset}`), timestamp: 1 }], { producerId, attributes });
      bytes.writeBigInt64BE(BigInt(offset), 0);
      return bytes;
    };
    const [transactional, control] = [0x10, 0x30];
    const [abort, commit] = [Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 1])];
    const parts = [
      ...[batch(0, 7, transactional), batch(1, 8, transactional), batch(2, 7, control, abort), batch(3, 8, control, commit)],
      ...[batch(4, 7, transactional), batch(5, 7, control, commit), batch(6, -1, 0)],
    ];
    const { records, nextOffset } = decodeBatches(
      { parts: [Buffer.concat(parts)], bytes: 0, aborted: [{ producerId: 7, firstOffset: 0 }] },
      0,
    );
    expect(records.map(({ value }) => String(value))).toEqual(['8@1', '7@4', '-1@6']);
    expect(nextOffset).toBe(7);
  });

  it('reads back what the builder made, whatever is in it', async () => {
    await open();
    const random = new SeededRandom('records');
    const run = (): Buffer | null => (random.below(4) === 0 ? null : random.bytes(random.below(200)));
    for (let round = 0; round < 100; round++) {
      const records = Array.from({ length: 1 + random.below(20) }, () => ({
        key: run(),
        value: run(),
        timestamp: random.below(2) === 0 ? random.below(1000) : 2 ** 42 + random.below(1000),
        headers: Array.from({ length: random.below(3) }, (_, i) => ({ key: `h${i}`, value: run() })),
      }));
      const memory = new MemoryLog(random, undefined);
      const topic = await memory.createTopic('t', { partitionCount: 1 });
      const builder = new BatchBuilder(1e6, 0);
      for (const record of records) expect(builder.add(record)).toBe(true);
      const bytes = builder.finish(0);
      expect(bytes).toEqual(encodeBatch(records));
      topic.partitions[0]!.append(bytes);
      memory.commit();
      const outcome = await topic.partitions[0]!.read(0, { isolation: 'read-committed', bytesMax: 1, atLeastOne: true });
      if (typeof outcome === 'string') throw new Error(outcome);
      const read = decodeBatches(outcome, 0).records.map(({ key, value, timestamp, headers }) => ({ key, value, timestamp, headers }));
      expect(read).toEqual(records);
    }
  });
});

describe('the offsets of groups', () => {
  it('are committed and read without being a member, with their metadata', async () => {
    await open();
    await drive(log.createTopic('t', { partitionCount: 2 }));
    await drive(log.commitOffsets('g', [{ topic: 't', partition: 1, offset: 5, metadata: 'why' }]));
    expect(log.committedOffsets('g')).toMatchObject([{ topic: 't', partition: 1, offset: 5, metadata: 'why' }]);
    await expect(log.commitOffsets('g', [{ topic: 't', partition: 2, offset: 0 }])).rejects.toMatchObject({ code: 'no-topic' });
    await expect(log.commitOffsets('g', [{ topic: 't', partition: 0, offset: 0, metadata: 'x'.repeat(5000) }])).rejects.toThrow(
      'at most 4096',
    );
    await drive(log.deleteGroup('g'));
    expect(log.committedOffsets('g')).toEqual([]);
    await log.deleteGroup('unknown');
  });

  it('are gone with their topic when its deletion resolves, those too whose commit was under way', async () => {
    await open();
    await drive(log.createTopic('t', { partitionCount: 2 }));
    await drive(log.createTopic('other'));
    const place = (topic: string, partition: number) => ({ topic, partition, offset: 5 });
    await drive(log.commitOffsets('g', [place('t', 0), place('other', 0)]));
    void log.commitOffsets('g', [place('t', 1)]);
    await drive(log.deleteTopic('t'));
    expect(log.committedOffsets('g')).toMatchObject([place('other', 0)]);
  });
});

/** Of one record, compressed with gzip. */
function headOf(count: number): Parameters<typeof sealRecords>[1] {
  const none = { producerId: -1, producerEpoch: -1, baseSequence: -1, leaderEpoch: -1, baseTimestamp: 1, maxTimestamp: 1 };
  return { ...none, baseOffset: 0, lastOffsetDelta: count - 1, count, attributes: 1 };
}
