import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { crc32c, realGround } from '@dovecote/ground';
import { type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Appended, AppendOutcome, Partition, ReadBatches } from './log.js';
import { type OpenLog, openLog } from './open-log.js';
import { BatchHead, batchHeadBytes, writeInt64 } from './record-batch.js';
import { encodeBatch, headFields, sealRecords, type BatchSettings, type RecordContent } from './records.js';

/** The log over the simulated disk: what a protocol server may rely on. Crashes are in log-simulation.spec.ts and recovery.spec.ts. */
let machine: SimulatedGround;
let log: OpenLog;

async function drive<Answer>(work: Promise<Answer>): Promise<Answer> {
  return machine.clock.drive(work);
}

function committed(): Promise<void> {
  return drive(new Promise((resolve, reject) => log.afterCommit((error) => (error === undefined ? resolve() : reject(error)))));
}

async function topic(name: string, configs: Record<string, string> = {}): Promise<Partition> {
  const made = await drive(log.createTopic(name, { partitionCount: 1, configs }));
  return made.partitions[0]!;
}

function record(key: string | null, value: string | null, timestamp = machine.clock.now()): RecordContent {
  return { key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value), timestamp };
}

function batch(values: readonly string[], settings: BatchSettings = {}, timestamp?: number): Buffer {
  return encodeBatch(
    values.map((value) => record(value, value, timestamp)),
    settings,
  );
}

function accepted(outcome: AppendOutcome): Appended {
  if (!outcome.isAppended) throw new Error(`${outcome.reason}: ${outcome.message}`);
  return outcome;
}

function refused(outcome: AppendOutcome): string {
  return outcome.isAppended ? 'appended' : outcome.reason;
}

function heads(read: ReadBatches): BatchHead[] {
  const found: BatchHead[] = [];
  for (const part of read.parts) {
    for (let at = 0; at < part.length;) {
      const head = new BatchHead().read(part, at);
      expect(crc32c(part, 0, at + 21, at + head.bytes)).toBe(head.sum);
      found.push(head);
      at += head.bytes;
    }
  }
  return found;
}

async function read(
  partition: Partition,
  offset: number,
  bytesMax = 1_000_000,
  isolation: 'read-uncommitted' | 'read-committed' = 'read-uncommitted',
) {
  const outcome = await drive(Promise.resolve(partition.read(offset, { isolation, bytesMax, atLeastOne: true })));
  if (typeof outcome === 'string') throw new Error(outcome);
  return outcome;
}

async function offsets(partition: Partition, offset: number, bytesMax?: number): Promise<number[]> {
  return heads(await read(partition, offset, bytesMax)).map(({ baseOffset }) => baseOffset);
}

beforeEach(async () => {
  machine = simulatedGround(1);
  log = await drive(openLog({ ground: machine.startProcess().ground, directory: '/data/log', durability: 'fsync' }));
});

afterEach(async () => {
  await drive(log.abandon());
});

describe('appending', () => {
  it('gives offsets in place and shows nothing before it is committed', async () => {
    const partition = await topic('t');
    const bytes = batch(['a', 'b', 'c']);
    expect(accepted(partition.append(bytes))).toEqual({
      isAppended: true,
      isDuplicate: false,
      baseOffset: 0,
      lastOffset: 2,
      logAppendTimeMs: -1,
    });
    expect(accepted(partition.append(batch(['d']))).baseOffset).toBe(3);
    expect([partition.logEndOffset, partition.highWatermark]).toEqual([4, 0]);
    expect((await read(partition, 0)).bytes).toBe(0);
    await committed();
    expect(partition.highWatermark).toBe(4);
    expect(await offsets(partition, 0)).toEqual([0, 3]);
    expect(log.uncommittedBytes).toBe(0);
  });

  it('tells who watches once a commit, and when the topic goes', async () => {
    const partition = await topic('t');
    const told: string[] = [];
    partition.watch({ advanced: ({ highWatermark }) => told.push(`to ${highWatermark}`), removed: () => told.push('removed') });
    for (const value of ['a', 'b', 'c']) partition.append(batch([value]));
    await committed();
    expect(partition.committedBytes).toBe(partition.sizeBytes);
    await drive(log.deleteTopic('t'));
    expect(told).toEqual(['to 3', 'removed']);
    expect(refused(partition.append(batch(['d'])))).toBe('removed');
    expect(partition.read(0, { isolation: 'read-uncommitted', bytesMax: 1, atLeastOne: true })).toBe('removed');
    expect(await drive(machine.disk.list('/data/log'))).not.toContain('t-0');
  });

  it('refuses in the order and for the reasons of Kafka', async () => {
    const partition = await topic('t', { 'max.message.bytes': '2000' });
    const changed = (change: (bytes: Buffer) => void, seal = true): string => {
      const bytes = batch(['a', 'b']);
      change(bytes);
      if (seal) bytes.writeUInt32BE(crc32c(bytes, 0, 21), 17);
      return refused(partition.append(bytes));
    };
    expect(refused(partition.append(Buffer.alloc(30)))).toBe('corrupt-message');
    expect(changed((bytes) => (bytes[16] = 1))).toBe('invalid-record');
    expect(changed((bytes) => bytes.writeInt32BE(5000, 8))).toBe('corrupt-message');
    expect(refused(partition.append(Buffer.concat([batch(['a']), batch(['b'])])))).toBe('invalid-record');
    expect(changed((bytes) => writeInt64(bytes, 7, 0))).toBe('invalid-record');
    expect(refused(partition.append(batch(['x'.repeat(3000)])))).toBe('message-too-large');
    expect(changed((bytes) => (bytes[70]! ^= 1), false)).toBe('corrupt-message');
    expect(changed((bytes) => bytes.writeInt32BE(7, 57))).toBe('invalid-record');
    expect(changed((bytes) => bytes.writeInt32BE(-1, 23))).toBe('invalid-record');
    expect(changed((bytes) => bytes.writeUInt16BE(0x20, 21))).toBe('invalid-record');
    expect(changed((bytes) => bytes.writeUInt16BE(0x08, 21))).toBe('invalid-timestamp');
    expect(changed((bytes) => writeInt64(bytes, 3, 43))).toBe('invalid-record');
    expect(changed((bytes) => bytes.writeUInt16BE(7, 21))).toBe('unsupported-compression');
    const zstd = batch(['a']);
    zstd.writeUInt16BE(4, 21);
    expect(refused(partition.append(zstd, { mayBeZstd: false }))).toBe('unsupported-compression');
    expect(refused(partition.append(batch(['a'], {}, machine.clock.now() + 3_600_001)))).toBe('invalid-timestamp');
    expect(partition.logEndOffset).toBe(0);
    expect(accepted(partition.append(batch(['a'], {}, machine.clock.now() + 3_000_000))).baseOffset).toBe(0);
  });

  it('looks into the records where the topic demands it', async () => {
    const compacted = await topic('compacted', { 'cleanup.policy': 'compact' });
    const keyless = compacted.append(encodeBatch([record('a', 'a'), record(null, 'b'), record(null, 'c')]));
    expect(keyless).toMatchObject({ reason: 'invalid-record', records: [{ index: 1 }, { index: 2 }] });
    expect(accepted(compacted.append(compressed(['a', 'b'], 1))).lastOffset).toBe(1);
    const recent = await topic('recent', { 'message.timestamp.before.max.ms': '1000' });
    expect(refused(recent.append(batch(['a'], {}, machine.clock.now() - 2000)))).toBe('invalid-timestamp');
    const broken = batch(['a', 'b']);
    broken[batchHeadBytes] = 0x7e;
    broken.writeUInt32BE(crc32c(broken, 0, 21), 17);
    expect(refused(compacted.append(broken))).toBe('invalid-record');
  });

  it('compresses anew where the topic wants another compression', async () => {
    const partition = await topic('t', { 'compression.type': 'gzip' });
    accepted(partition.append(batch(['a', 'b'])));
    await committed();
    const [head] = heads(await read(partition, 0));
    expect([head!.codec, head!.count, head!.lastOffset]).toEqual([1, 2, 1]);
  });

  it('writes its own time where the topic wants that', async () => {
    const partition = await topic('t', { 'message.timestamp.type': 'LogAppendTime' });
    const now = machine.clock.now();
    expect(accepted(partition.append(batch(['a'], {}, 5))).logAppendTimeMs).toBe(now);
    await committed();
    const [head] = heads(await read(partition, 0));
    expect([head!.hasLogAppendTime, head!.maxTimestamp]).toEqual([true, now]);
    expect(await drive(partition.offsetForTimestamp(now, 'read-uncommitted'))).toEqual({ offset: 0, timestamp: now, leaderEpoch: 0 });
  });
});

function compressed(values: readonly string[], codec: number): Buffer {
  const plain = batch(values);
  const head = new BatchHead().read(plain, 0);
  return sealRecords(gzipSync(plain.subarray(batchHeadBytes)), { ...headFields(head), attributes: codec });
}

describe('idempotent producers', () => {
  const from = (producerEpoch: number, baseSequence: number, count = 1): Buffer =>
    batch(
      Array.from({ length: count }, (_, index) => `${baseSequence + index}`),
      { producerId: 9, producerEpoch, baseSequence },
    );

  it('answers a batch that was there with the offsets it has, five batches back, and after a restart too', async () => {
    let partition = await topic('t');
    for (let sequence = 0; sequence < 6; sequence++) accepted(partition.append(from(0, sequence)));
    for (let round = 0; round < 2; round++) {
      for (let sequence = 1; sequence < 6; sequence++)
        expect(partition.append(from(0, sequence))).toMatchObject({ isDuplicate: true, baseOffset: sequence, lastOffset: sequence });
      expect(refused(partition.append(from(0, 0)))).toBe('out-of-order-sequence');
      await committed();
      await reopen();
      partition = log.topic('t')!.partitions[0]!;
    }
    expect(partition.logEndOffset).toBe(6);
  });

  it('keeps gaps, old epochs and wrong beginnings out', async () => {
    const partition = await topic('t');
    accepted(partition.append(from(3, 70, 2)));
    expect(refused(partition.append(from(3, 73)))).toBe('out-of-order-sequence');
    accepted(partition.append(from(3, 72)));
    expect(refused(partition.append(from(2, 73)))).toBe('stale-producer-epoch');
    expect(refused(partition.append(from(4, 1)))).toBe('out-of-order-sequence');
    accepted(partition.append(from(4, 0)));
    expect(partition.producers()).toEqual([expect.objectContaining({ producerId: 9, producerEpoch: 4, lastSequence: 0 })]);
  });

  it('goes on at sequence 0 after 2^31 - 1', async () => {
    const partition = await topic('t');
    accepted(partition.append(from(0, 2 ** 31 - 2, 3)));
    expect(partition.producers()[0]!.lastSequence).toBe(0);
    accepted(partition.append(from(0, 1)));
  });
});

describe('transactions', () => {
  const data = (producerId: number, baseSequence: number): Buffer =>
    batch([`${producerId}-${baseSequence}`], { producerId, producerEpoch: 0, baseSequence, attributes: 0x10 });
  const end = (partition: Partition, producerId: number, isCommit: boolean): void => {
    accepted(partition.appendMarker({ producerId, producerEpoch: 0, coordinatorEpoch: 1, isCommit }));
  };

  it('holds back what is undecided, and says what was aborted', async () => {
    const partition = await topic('t');
    accepted(partition.append(data(1, 0))); // 0
    accepted(partition.append(data(2, 0))); // 1
    accepted(partition.append(batch(['plain']))); // 2
    await committed();
    expect([partition.highWatermark, partition.lastStableOffset]).toEqual([3, 0]);
    expect((await read(partition, 0, 1000, 'read-committed')).bytes).toBe(0);
    end(partition, 2, false); // 3
    expect(refused(partition.append(batch(['x'], { producerId: 1, producerEpoch: 0, baseSequence: 1 })))).toBe('invalid-transaction-state');
    await committed();
    expect(partition.lastStableOffset).toBe(0);
    const before = partition.stableBytes;
    end(partition, 1, true); // 4
    expect(partition.lastStableOffset).toBe(0);
    await committed();
    expect([partition.lastStableOffset, partition.stableBytes - before]).toEqual([5, partition.sizeBytes]);
    for (let round = 0; round < 2; round++) {
      const again = log.topic('t')!.partitions[0]!;
      expect((await read(again, 0, 100_000, 'read-committed')).aborted).toEqual([{ producerId: 2, firstOffset: 1 }]);
      expect((await read(again, 0, 100_000)).aborted).toBeUndefined();
      expect((await read(again, 4, 100_000, 'read-committed')).aborted).toEqual([]);
      await reopen();
    }
  });

  it('keeps a transaction open over a restart, and takes the end of one that is over', async () => {
    accepted((await topic('t')).append(data(1, 0)));
    await committed();
    await reopen();
    const partition = log.topic('t')!.partitions[0]!;
    expect(partition.lastStableOffset).toBe(0);
    expect(partition.producers()[0]!.openTransactionFirstOffset).toBe(0);
    end(partition, 1, true);
    end(partition, 1, true);
    await committed();
    expect(partition.lastStableOffset).toBe(3);
    expect(refused(partition.appendMarker({ producerId: 1, producerEpoch: 0, coordinatorEpoch: 0, isCommit: true }))).toBe(
      'stale-coordinator',
    );
  });
});

async function reopen(): Promise<void> {
  await drive(log.close());
  log = await drive(openLog({ ground: machine.startProcess().ground, directory: '/data/log', durability: 'fsync' }));
}

describe('reading', () => {
  const small = { 'internal.segment.bytes': '4096', 'index.interval.bytes': '200' };

  it('finds every offset from memory, from files, over segments and with any limit', async () => {
    let partition = await topic('t', small);
    const bases: number[] = [];
    for (let index = 0; index < 60; index++)
      bases.push(accepted(partition.append(batch(Array.from({ length: 1 + (index % 4) }, () => 'x'.repeat(index * 5))))).baseOffset);
    await committed();
    const holding = (offset: number): number => bases.findLastIndex((base) => base <= offset);
    for (let round = 0; round < 2; round++) {
      for (const bytesMax of [1, 300, 700, 5000]) {
        for (let offset = 0; offset < partition.logEndOffset; offset += 3) {
          const found = await read(partition, offset, bytesMax);
          const [first, ...rest] = heads(found).map(({ baseOffset }) => baseOffset);
          expect(first).toBe(bases[holding(offset)]);
          expect(rest).toEqual(bases.slice(holding(offset) + 1, holding(offset) + 1 + rest.length));
          expect(found.bytes <= bytesMax || rest.length === 0).toBe(true);
        }
      }
      await reopen();
      partition = log.topic('t')!.partitions[0]!;
    }
  });

  it('says where nothing is, and waits at the end', async () => {
    const partition = await topic('t');
    partition.append(batch(['a']));
    await committed();
    const options = { isolation: 'read-uncommitted', bytesMax: 100, atLeastOne: true } as const;
    expect(partition.read(1, options)).toMatchObject({ bytes: 0 });
    expect(partition.read(2, options)).toBe('offset-out-of-range');
    expect(partition.read(-1, options)).toBe('offset-out-of-range');
    expect(partition.read(0, { ...options, bytesMax: 10, atLeastOne: false })).toMatchObject({ bytes: 0 });
  });

  it('makes a wrong index anew when a read meets it', async () => {
    let partition = await topic('t', small);
    for (let index = 0; index < 40; index++) partition.append(batch(['x'.repeat(200)]));
    await committed();
    await drive(log.close());
    const path = '/data/log/t-0/00000000000000000000.index';
    const file = await drive(machine.disk.open(path, 'edit'));
    const wrong = Buffer.alloc(8);
    wrong.writeUInt32BE(1, 0);
    wrong.writeUInt32BE(100, 4);
    await drive(new Promise((resolve) => file.write([wrong], 0, resolve)));
    await drive(file.close());
    log = await drive(openLog({ ground: machine.startProcess().ground, directory: '/data/log', durability: 'fsync' }));
    partition = log.topic('t')!.partitions[0]!;
    for (let offset = 0; offset < 40; offset++) expect((await offsets(partition, offset, 1))[0]).toBe(offset);
  });

  it('finds records by their time, and the latest of all', async () => {
    let partition = await topic('t', small);
    const begin = machine.clock.now();
    for (let index = 0; index < 40; index++)
      partition.append(encodeBatch([record('a', 'x'.repeat(300), begin + index * 10), record('b', 'x', begin + index * 10 + 5)]));
    await committed();
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 40; index++) {
        expect(await drive(partition.offsetForTimestamp(begin + index * 10, 'read-uncommitted'))).toMatchObject({ offset: index * 2 });
        expect(await drive(partition.offsetForTimestamp(begin + index * 10 + 1, 'read-uncommitted'))).toMatchObject({
          offset: index * 2 + 1,
          timestamp: begin + index * 10 + 5,
        });
      }
      expect(await drive(partition.offsetForTimestamp(begin + 1000, 'read-uncommitted'))).toBeUndefined();
      expect(await drive(partition.maxTimestamp())).toEqual({ offset: 79, timestamp: begin + 395, leaderEpoch: 0 });
      await reopen();
      partition = log.topic('t')!.partitions[0]!;
    }
  });
});

describe('what goes', () => {
  it('deletes records below an offset for good', async () => {
    let partition = await topic('t', { 'internal.segment.bytes': '4096' });
    for (let index = 0; index < 40; index++) partition.append(batch(['x'.repeat(500)]));
    await committed();
    expect(await drive(partition.deleteRecordsBefore(41))).toBe('offset-out-of-range');
    expect(await drive(partition.deleteRecordsBefore(22))).toBe(22);
    expect(await drive(partition.deleteRecordsBefore(5))).toBe(22);
    expect(partition.read(21, { isolation: 'read-uncommitted', bytesMax: 1, atLeastOne: true })).toBe('offset-out-of-range');
    await reopen();
    partition = log.topic('t')!.partitions[0]!;
    expect([partition.logStartOffset, partition.logEndOffset]).toEqual([22, 40]);
    expect(await drive(partition.deleteRecordsBefore(-1))).toBe(40);
    expect(accepted(partition.append(batch(['y']))).baseOffset).toBe(40);
    await committed();
    await reopen();
    partition = log.topic('t')!.partitions[0]!;
    expect([partition.logStartOffset, partition.logEndOffset, partition.highWatermark]).toEqual([40, 41, 41]);
    expect(await offsets(partition, 40)).toEqual([40]);
  });

  it('drops whole segments by size and by time, the last one too', async () => {
    const bySize = await topic('size', { 'internal.segment.bytes': '4096', 'retention.bytes': '10000' });
    const byTime = await topic('time', { 'internal.segment.bytes': '4096', 'retention.ms': '1000' });
    const forever = await topic('forever', { 'internal.segment.bytes': '4096', 'retention.ms': '-1' });
    for (let index = 0; index < 40; index++) for (const each of [bySize, byTime, forever]) each.append(batch(['x'.repeat(500)]));
    await committed();
    await drive(log.dropOld());
    expect(bySize.sizeBytes).toBeGreaterThan(10_000 - 1);
    expect(bySize.sizeBytes).toBeLessThan(10_000 + 4096);
    expect(byTime.logStartOffset).toBe(0);
    await drive(machine.clock.pause(2000));
    await drive(log.dropOld());
    expect([byTime.logStartOffset, byTime.sizeBytes, byTime.highWatermark]).toEqual([40, 0, 40]);
    expect(forever.logStartOffset).toBe(0);
    expect(accepted(byTime.append(batch(['y']))).baseOffset).toBe(40);
    await committed();
    expect(await offsets(byTime, 40)).toEqual([40]);
    await drive(log.close());
    log = await drive(openLog({ ground: machine.startProcess().ground, directory: '/data/log', durability: 'fsync' }));
    expect(log.topic('time')!.partitions[0]!.logStartOffset).toBe(40);
  });
});

describe('topics', () => {
  it('keeps definitions, ids and configs over a restart', async () => {
    await drive(log.createTopic('a', { partitionCount: 3, configs: { 'retention.ms': '-1' } }));
    await drive(log.createTopic('__consumer_offsets', { partitionCount: 1, isInternal: true }));
    await drive(log.alterConfigs('a', [{ name: 'cleanup.policy', operation: 'append', value: 'compact' }]));
    await drive(log.addPartitions('a', 5));
    const { id } = log.topic('a')!;
    const { clusterId } = log;
    const producerId = await drive(log.takeProducerId());
    await reopen();
    const topicA = log.topicById(id)!;
    expect([topicA.name, topicA.partitions.length, topicA.idBytes.length, log.clusterId]).toEqual(['a', 5, 16, clusterId]);
    expect(topicA.config).toMatchObject({ isCompacted: true, isDeleted: true, retentionMs: Infinity, segmentBytes: 2 ** 30 });
    expect(log.topic('__consumer_offsets')!.isInternal).toBe(true);
    expect(await drive(log.takeProducerId())).toBeGreaterThan(producerId);
  });

  it('may have the longest name that Kafka allows, on a real disk too', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dovecote-log-'));
    const open = (): Promise<OpenLog> => openLog({ ground: realGround(), directory: folder, durability: 'os' });
    const name = 'x'.repeat(249);
    const first = await open();
    await first.createTopic(name, { partitionCount: 1 });
    await first.close();
    const second = await open();
    expect(second.topic(name)?.partitions).toHaveLength(1);
    await second.deleteTopic(name);
    await second.close();
    rmSync(folder, { recursive: true });
  });

  it('refuses with a code and a sentence', async () => {
    await drive(log.createTopic('a.b', { partitionCount: 1 }));
    const code = async (work: Promise<unknown>): Promise<unknown> =>
      drive(
        work.then(
          () => 'done',
          (error: { code: string }) => error.code,
        ),
      );
    expect(await code(log.createTopic('a.b', { partitionCount: 1 }))).toBe('topic-exists');
    expect(await code(log.createTopic('a_b', { partitionCount: 1 }))).toBe('invalid-topic');
    for (const name of ['', '.', '..', 'a/b', 'x'.repeat(250)])
      expect(await code(log.createTopic(name, { partitionCount: 1 }))).toBe('invalid-topic');
    for (const partitionCount of [0, -1, 1.5, 10_001])
      expect(await code(log.createTopic('c', { partitionCount }))).toBe('invalid-partitions');
    expect(await code(log.addPartitions('a.b', 1))).toBe('invalid-partitions');
    expect(await code(log.deleteTopic('none'))).toBe('no-topic');
    const wrong: Record<string, string>[] = [
      { 'no.such.config': '1' },
      { 'retention.ms': 'soon' },
      { 'max.message.bytes': '-7' },
      { 'cleanup.policy': 'burn' },
      { 'compression.type': 'zip' },
      { preallocate: 'yes' },
      { 'min.cleanable.dirty.ratio': '1.5' },
      { 'segment.bytes': '100' },
    ];
    for (const configs of wrong) expect(await code(log.createTopic('c', { partitionCount: 1, configs }))).toBe('invalid-config');
    const kept = await drive(log.createTopic('kept', { partitionCount: 1, configs: { 'cleanup.policy': '' } }));
    expect(kept.config).toMatchObject({ isDeleted: false, isCompacted: false });
    expect(await code(log.alterConfigs('a.b', [{ name: 'retention.ms', operation: 'append', value: '1' }]))).toBe('invalid-config');
    expect(await code(log.alterConfigs('a.b', [{ name: 'retention.ms', operation: 'set', value: 'x' }], { validateOnly: true }))).toBe(
      'invalid-config',
    );
  });

  it('is a new topic when it is made again', async () => {
    const first = await drive(log.createTopic('t', { partitionCount: 1 }));
    first.partitions[0]!.append(batch(['old']));
    await committed();
    await drive(log.deleteTopic('t'));
    const second = await drive(log.createTopic('t', { partitionCount: 1 }));
    expect(second.id).not.toBe(first.id);
    expect(second.partitions[0]!.logEndOffset).toBe(0);
    await reopen();
    expect([...log.topics].map(({ id }) => id)).toEqual([second.id]);
  });

  it('describes every config with where its value comes from', async () => {
    await drive(log.abandon());
    log = await drive(
      openLog({
        ground: machine.startProcess().ground,
        directory: '/data/log',
        durability: 'fsync',
        configs: { 'retention.bytes': '5000' },
      }),
    );
    const made = await drive(log.createTopic('t', { partitionCount: 1, configs: { 'retention.ms': '7' } }));
    const byName = new Map(made.describeConfigs().map((entry) => [entry.name, entry]));
    expect(byName.size).toBe(33);
    expect(byName.get('retention.ms')).toMatchObject({ value: '7', source: 'topic', type: 'long' });
    expect(byName.get('retention.bytes')).toMatchObject({
      value: '5000',
      source: 'broker',
      synonyms: [
        { name: 'log.retention.bytes', value: '5000', source: 'broker' },
        { name: 'log.retention.bytes', value: '-1', source: 'default' },
      ],
    });
    expect(byName.get('cleanup.policy')).toMatchObject({ value: 'delete', source: 'default' });
    expect(made.config.retentionBytes).toBe(5000);
  });
});

describe('a disk that fails', () => {
  it('refuses while it is full, and goes on afterwards', async () => {
    const partition = await topic('t');
    machine.faults.fillUpAfter(10);
    accepted(partition.append(batch(['a'])));
    let isCommitted = false;
    log.afterCommit(() => (isCommitted = true));
    await machine.clock.advance(3000);
    expect(isCommitted).toBe(false);
    expect(log.fullReason).toContain('full');
    expect(refused(partition.append(batch(['b'])))).toBe('storage');
    machine.faults.freeUp();
    await machine.clock.advance(3000);
    expect([isCommitted, partition.highWatermark, log.fullReason]).toEqual([true, 1, undefined]);
  });

  it('ends with a failed sync, and fails who waits', async () => {
    const partition = await topic('t');
    machine.faults.fail('sync', { path: '.log' });
    partition.append(batch(['a']));
    await expect(committed()).rejects.toMatchObject({ code: 'storage-failed' });
    expect(partition.highWatermark).toBe(0);
    expect(refused(partition.append(batch(['b'])))).toBe('storage');
    await expect(drive(log.close())).rejects.toMatchObject({ code: 'storage-failed' });
  });

  it.each([
    ['write', '/again-0/partition.metadata'],
    ['sync', '/topics/again.json'],
    ['syncDirectory', '/topics'],
  ] as const)('ends with a failed %s of %s, because an opening may find the topic or not', async (operation, path) => {
    await topic('t');
    machine.faults.fail(operation, { path });
    await expect(topic('again')).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringMatching(/^Making topic again failed: /),
    });
    await expect(topic('another')).rejects.toMatchObject({ code: 'storage-failed' });
  });

  it('takes no records for a topic that may be deleted', async () => {
    const partition = await topic('t');
    machine.faults.fail('syncDirectory', { path: '/topics' });
    await expect(drive(log.deleteTopic('t'))).rejects.toMatchObject({ code: 'storage-failed' });
    partition.append(batch(['a']));
    await expect(committed()).rejects.toMatchObject({ code: 'storage-failed' });
  });

  it('refuses a topic while it is full, and makes it when it is asked again', async () => {
    machine.faults.fillUpAfter(10);
    await expect(topic('t')).rejects.toMatchObject({ code: 'disk-full', retryable: true });
    machine.faults.freeUp();
    expect(accepted((await topic('t')).append(batch(['a']))).baseOffset).toBe(0);
  });

  it('refuses to delete records while it is full, and deletes them when it is asked again', async () => {
    const partition = await topic('t');
    partition.append(batch(['a', 'b']));
    await committed();
    machine.faults.fillUpAfter(3);
    await expect(drive(partition.deleteRecordsBefore(1))).rejects.toMatchObject({ code: 'disk-full' });
    expect(partition.logStartOffset).toBe(0);
    machine.faults.freeUp();
    expect(await drive(partition.deleteRecordsBefore(1))).toBe(1);
  });

  it('shows no start of a partition that is not written down yet', async () => {
    const partition = await topic('t');
    partition.append(batch(['a', 'b', 'c']));
    await committed();
    const first = partition.deleteRecordsBefore(1);
    await machine.clock.advance(0); // the first is being written
    const second = partition.deleteRecordsBefore(2);
    expect([await drive(first), partition.logStartOffset]).toEqual([1, 1]);
    expect(await drive(second)).toBe(2);
  });
});
