import { describe, expect, it } from '@jest/globals';
import { realGround } from '@dovecote/ground';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '../broker.js';
import { folderOfKafka } from './folder-of-kafka.js';
import { type OpenLog, openLog } from './open-log.js';
import { BatchHead } from './record-batch.js';
import { encodeBatch } from './records.js';

/** Kafka's files, both ways: we open what Kafka wrote; and where Kafka's jars are at hand (KAFKA_JARS names their folder), its tools read what we wrote. */
const jars = process.env['KAFKA_JARS'];
const onKafka = jars === undefined ? it.skip : it;

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-log-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function open(folder: string): Promise<OpenLog> {
  return openLog({ ground: realGround(), directory: folder, durability: 'fsync' });
}

function committed(log: OpenLog): Promise<void> {
  return new Promise((resolve, reject) => log.afterCommit((error) => (error === undefined ? resolve() : reject(error))));
}

describe('a folder that Kafka wrote', () => {
  it('is opened, with its batches, its producers and its times', async () => {
    await inFolder(async (folder) => {
      mkdirSync(join(folder, 'topics'));
      mkdirSync(join(folder, 't1-0'));
      const definition = { version: 1, name: 't1', id: 'AZz0hmGnR8KwgAHE59HJCw', partitions: 1, isInternal: false, configs: {} };
      writeFileSync(join(folder, 'topics/t1.json'), JSON.stringify(definition));
      for (const [name, bytes] of Object.entries(folderOfKafka)) writeFileSync(join(folder, 't1-0', name), Buffer.from(bytes, 'base64'));
      writeFileSync(join(folder, 'recovery-point-offset-checkpoint'), '0\n1\nt1 0 16\n');
      const log = await open(folder);
      const partition = log.topic('t1')!.partitions[0]!;
      expect([partition.logEndOffset, partition.lastStableOffset]).toEqual([16, 16]);
      const read = await partition.read(0, { isolation: 'read-committed', bytesMax: 10_000, atLeastOne: true });
      if (typeof read === 'string') throw new Error(read);
      expect([read.bytes, read.aborted]).toEqual([1153, []]);
      expect([0, 144, 257, 376, 494].map((at) => new BatchHead().read(read.parts[0]!, at).codec)).toEqual([0, 1, 2, 3, 4]);
      expect(partition.producers().find(({ producerId }) => producerId === 5)).toMatchObject({
        producerEpoch: 2,
        lastSequence: -1,
        coordinatorEpoch: 0,
      });
      expect(partition.producers().find(({ producerId }) => producerId === 4)).toMatchObject({ producerEpoch: 0, lastSequence: 1 });
      expect(await partition.maxTimestamp()).toEqual({ offset: 15, timestamp: 1795260233216, leaderEpoch: 0 });
      expect(await log.takeProducerId()).toBeGreaterThan(5);
      await log.close();
    });
  });
});

describe('what we wrote', () => {
  const dump = (...args: readonly string[]): string => {
    const java = ['-cp', `${jars}/*`, 'org.apache.kafka.tools.DumpLogSegments', ...args];
    const { stdout, stderr, status } = spawnSync('java', java, { encoding: 'latin1', maxBuffer: 1 << 28 });
    expect([status, stderr.split('\n').filter((line) => /exception/i.test(line))]).toEqual([0, []]);
    return stdout;
  };

  onKafka(
    'is read by it in every compression, and after a compaction',
    async () => {
      await inFolder(async (folder) => {
        const log = await open(folder);
        const names = ['gzip', 'snappy', 'lz4', 'zstd', 'compacted'];
        for (const name of names) {
          const compacted = { 'cleanup.policy': 'compact', 'internal.segment.bytes': '8192', 'min.cleanable.dirty.ratio': '0.1' };
          const configs: Record<string, string> = name === 'compacted' ? compacted : { 'compression.type': name };
          const { partitions } = await log.createTopic(name, { partitionCount: 1, configs });
          for (let index = 0; index < 100; index++) {
            const timestamp = realGround().clock.now();
            const records = Array.from({ length: 4 }, (_, place) => ({
              key: Buffer.from(`k${(index * 3 + place) % 17}`),
              value: index % 9 === 0 ? null : Buffer.from(`value ${index * 7919} `.repeat(place * 6)),
              timestamp,
            }));
            expect(partitions[0]!.append(encodeBatch(records)).isAppended).toBe(true);
          }
          await committed(log);
        }
        await log.compact();
        await log.close();
        for (const name of names) {
          const at = join(folder, `${name}-0`);
          const files = readdirSync(at).map((file) => join(at, file));
          const logs = files.filter((file) => file.endsWith('.log')).join(',');
          const printed = dump('--deep-iteration', '--print-data-log', '--files', logs);
          expect(printed).not.toMatch(/isvalid: false|Found \d+ invalid/);
          expect(printed).toContain(`compresscodec: ${name === 'compacted' ? 'none' : name} `);
          const records = printed.match(/^\| offset: /gm)!.length;
          if (name === 'compacted') expect([printed.includes('deleteHorizonMs: OptionalLong['), records < 200]).toEqual([true, true]);
          else expect(records).toBe(400);
        }
      });
    },
    60_000,
  );

  onKafka(
    'is read by the dump tool of Kafka without a complaint',
    async () => {
      await inFolder(async (folder) => {
        const log = await open(folder);
        const { partitions } = await log.createTopic('t', { partitionCount: 1, configs: { 'segment.bytes': '1048576' } });
        const [partition] = partitions;
        let sequence = 0;
        for (let index = 0; index < 2000; index++) {
          const timestamp = realGround().clock.now() - 60_000 + ((index * 7919) % 50_000);
          const records = Array.from({ length: 1 + (index % 4) }, () => ({
            key: Buffer.from(`k${index}`),
            value: Buffer.alloc(300, index),
            timestamp,
          }));
          const isTransactional = index % 3 === 0;
          const settings = { producerId: 7, producerEpoch: 0, baseSequence: sequence, attributes: 0x10 };
          expect(partition!.append(encodeBatch(records, isTransactional ? settings : {})).isAppended).toBe(true);
          if (isTransactional) sequence += records.length;
          if (index % 30 === 0)
            partition!.appendMarker({ producerId: 7, producerEpoch: 0, coordinatorEpoch: 3, isCommit: index % 60 === 0 });
          if (index % 100 === 0) await committed(log);
        }
        await log.checkpoint();
        await log.close();
        const at = join(folder, 't-0');
        const files = (suffix: string): string =>
          readdirSync(at)
            .filter((name) => name.endsWith(suffix))
            .map((name) => join(at, name))
            .join(',');
        const printed = dump('--deep-iteration', '--print-data-log', '--files', files('.log'));
        expect(printed.match(/isvalid: true/g)!.length).toBe(2000 + 67);
        expect(printed).not.toMatch(/isvalid: false|Found \d+ invalid/);
        // "-1 is followed by 500" it says of every segment that does not begin at 0, of Kafka's own too.
        expect(printed.match(/^ *\d+ is followed by \d+/gm)).toBeNull();
        for (const check of ['--index-sanity-check', '--verify-index-only'])
          expect(dump(check, '--files', `${files('.index')},${files('.timeindex')}`)).not.toMatch(/mismatch|invalid|Out of order|corrupt/i);
        expect(dump('--files', files('.snapshot'))).toContain('producerId: 7 producerEpoch: 0 coordinatorEpoch: 3');
        expect(dump('--files', files('.txnindex'))).toMatch(/producerId: 7 firstOffset: \d+ lastOffset: \d+/);
      });
    },
    60_000,
  );

  onKafka(
    'is read by it where groups keep their offsets',
    async () => {
      await inFolder(async (folder) => {
        const broker = await Broker.open({ data: folder, kafka: { listeners: [], offsetsPartitionCount: 1 } });
        const log = await broker.log();
        await log.createTopic('orders', { partitionCount: 2 });
        for (let offset = 1; offset <= 50; offset++) {
          await log.commitOffsets('billing', [{ topic: 'orders', partition: offset % 2, offset, metadata: `m${offset}` }]);
        }
        await broker.close();
        const at = join(folder, 'log/__consumer_offsets-0');
        const logs = readdirSync(at).filter((name) => name.endsWith('.log'));
        const printed = dump('--offsets-decoder', '--files', logs.map((name) => join(at, name)).join(','));
        expect(printed).not.toMatch(/isvalid: false|Found \d+ invalid/);
        expect(printed).toMatch(/"group":"billing","topic":"orders","partition":0.*"offset":50,.*"metadata":"m50"/);
      });
    },
    60_000,
  );
});
