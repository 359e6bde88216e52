import { beforeEach, describe, expect, it } from '@jest/globals';
import { crc32, type Disk, type DiskFile, type OpenMode } from '@dovecote/ground';
import { DiskFaults, FaultyDisk, SeededRandom, type SimulatedDisk, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import { JournaledLog } from '../simulation/journaled-log.js';
import type { Partition } from './log.js';
import { OpenFiles } from './open-files.js';
import { type OpenLog, openLog } from './open-log.js';
import { BatchHead } from './record-batch.js';
import { encodeBatch } from './records.js';

/** What an opening makes of a folder that a crash, or somebody's hand, left behind. */
let machine: SimulatedGround;
let reports: string[];
const folder = '/data/log';
const logFile = `${folder}/t-0/00000000000000000000.log`;

function drive<Answer>(work: Promise<Answer>): Promise<Answer> {
  return machine.clock.drive(work);
}

async function open(durability: 'os' | 'fsync' = 'fsync'): Promise<OpenLog> {
  return drive(openLog({ ground: machine.startProcess().ground, directory: folder, durability, log: (line) => reports.push(line) }));
}

async function openJournaled(journalFileBytesMax = 1 << 20): Promise<JournaledLog> {
  return drive(JournaledLog.open({ ground: machine.startProcess().ground, data: '/data', durability: 'fsync', journalFileBytesMax }));
}

async function fill(log: OpenLog, count: number, configs: Record<string, string> = {}): Promise<void> {
  if (log.topic('t') === undefined) await drive(log.createTopic('t', { partitionCount: 1, configs }));
  for (let index = 0; index < count; index++) {
    log
      .topic('t')!
      .partitions[0]!.append(encodeBatch([{ key: null, value: Buffer.alloc(40 + index, index), timestamp: machine.clock.now() }]));
  }
  await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
}

async function bytesOf(path: string): Promise<Buffer> {
  const file = await drive(machine.disk.open(path, 'read'));
  const bytes = Buffer.alloc(await drive(file.size()));
  await drive(file.read(bytes, 0));
  await drive(file.close());
  return bytes;
}

async function put(path: string, bytes: Buffer): Promise<void> {
  if (await drive(machine.disk.exists(path))) await drive(machine.disk.remove(path));
  const file = await drive(machine.disk.open(path, 'create'));
  await drive(new Promise((resolve) => file.write([bytes], 0, resolve)));
  await drive(new Promise((resolve) => file.sync(resolve)));
  await drive(file.close());
  await drive(machine.disk.syncDirectory(path.slice(0, path.lastIndexOf('/'))));
}

/** Counts what is read of the batches, and what is synced. */
class CountingDisk extends FaultyDisk {
  bytesRead = 0;
  syncs: string[] = [];

  constructor(inner: Disk) {
    super(inner, new DiskFaults(), new SeededRandom(1));
  }

  override async open(path: string, mode: OpenMode): Promise<DiskFile> {
    const file = await super.open(path, mode);
    const read = file.read.bind(file);
    file.read = async (into, position) => {
      const length = await read(into, position);
      if (path.endsWith('.log')) this.bytesRead += length;
      return length;
    };
    const sync = file.sync.bind(file);
    file.sync = (done) => {
      this.syncs.push(path);
      sync(done);
    };
    return file;
  }
}

async function readBases(partition: Partition): Promise<number[]> {
  const bases: number[] = [];
  for (let offset = partition.logStartOffset; offset < partition.highWatermark;) {
    const read = await drive(Promise.resolve(partition.read(offset, { isolation: 'read-uncommitted', bytesMax: 500, atLeastOne: true })));
    if (typeof read === 'string' || read.parts.length === 0) throw new Error(`nothing at ${offset}`);
    for (const part of read.parts) {
      for (let at = 0; at < part.length;) {
        const head = new BatchHead().read(part, at);
        bases.push(head.baseOffset);
        offset = head.nextOffset;
        at += head.bytes;
      }
    }
  }
  return bases;
}

beforeEach(() => {
  machine = simulatedGround(1);
  reports = [];
});

describe('a producer whose records are deleted', () => {
  const from = (baseSequence: number): Buffer =>
    encodeBatch([{ key: null, value: Buffer.from('v'), timestamp: 1 }], { producerId: 9, producerEpoch: 0, baseSequence });
  const appendTwo = async (log: OpenLog): Promise<Partition> => {
    await fill(log, 0);
    const partition = log.topic('t')!.partitions[0]!;
    for (const sequence of [0, 1]) partition.append(from(sequence));
    await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
    return partition;
  };
  const expectKnown = (log: OpenLog): void => {
    for (const sequence of [0, 1])
      expect(log.topic('t')!.partitions[0]!.append(from(sequence))).toMatchObject({ isDuplicate: true, baseOffset: sequence });
  };

  it.each([
    ['fsync', 'is closed'],
    ['fsync', 'is killed'],
    ['fsync', 'loses its power'],
    ['os', 'is closed'],
    ['os', 'is killed'],
  ] as const)('is known although nothing is left: under %s, to a broker that %s', async (durability, end) => {
    const log = await open(durability);
    expect(await drive((await appendTwo(log)).deleteRecordsBefore(-1))).toBe(2);
    await drive(log.settled());
    if (end === 'is closed') await drive(log.close());
    else machine.crash({ power: end === 'loses its power' });
    expectKnown(await open(durability));
  });

  it('is known where the deleted records were only in the journal when the power went, through another such end too', async () => {
    expect(await drive((await appendTwo((await openJournaled()).log)).deleteRecordsBefore(1))).toBe(1);
    for (let round = 0; round < 2; round++) {
      machine.crash({ power: true });
      const { log } = await openJournaled();
      expect(log.topic('t')!.partitions[0]!.logStartOffset).toBe(1);
      expectKnown(log);
    }
  });
});

describe('a torn tail', () => {
  it('is cut at whatever byte of the last batch the crash came, and what follows goes on behind', async () => {
    const log = await open();
    await fill(log, 3);
    const whole = await bytesOf(logFile);
    machine.crash({ power: false });
    const lengths: number[] = [];
    for (let at = 0; at < whole.length; at += new BatchHead().read(whole, at).bytes) lengths.push(at);
    const third = lengths[2]!;
    for (let cut = third; cut < whole.length; cut += 1) {
      await put(logFile, whole.subarray(0, cut));
      const again = await open();
      const partition = again.topic('t')!.partitions[0]!;
      expect([cut, partition.highWatermark, partition.sizeBytes]).toEqual([cut, 2, third]);
      machine.crash({ power: false });
    }
    await put(logFile, whole.subarray(0, third + 7));
    const last = await open();
    await fill(last, 1);
    expect(await readBases(last.topic('t')!.partitions[0]!)).toEqual([0, 1, 2]);
  });

  it('is cut where a bit was lost in it, or zeros stand behind it', async () => {
    const log = await open();
    await fill(log, 3);
    const whole = await bytesOf(logFile);
    machine.crash({ power: false });
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 5]! ^= 0x10;
    for (const bytes of [flipped, Buffer.concat([whole.subarray(0, whole.length - 20), Buffer.alloc(3000)])]) {
      await put(logFile, bytes);
      const partition = (await open()).topic('t')!.partitions[0]!;
      expect(partition.highWatermark).toBe(2);
      machine.crash({ power: false });
    }
    await put(logFile, Buffer.concat([whole, Buffer.alloc(3000)]));
    expect((await open()).topic('t')!.partitions[0]!.highWatermark).toBe(3);
    expect(reports.join('\n')).toContain('is cut away');
  });

  it('is damage where everything was on the disk for certain', async () => {
    const log = await open();
    await fill(log, 3);
    await drive(log.close());
    const whole = await bytesOf(logFile);
    await put(logFile, whole.subarray(0, whole.length - 1));
    const refusal = await open().then(
      () => 'opened',
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );
    expect(refusal).toMatch(/^data-damaged: .*t-0.*below offset 3 was on the disk.*Restore/);
  });
});

describe('files lost by hand', () => {
  const configs = { 'internal.segment.bytes': '2048', 'index.interval.bytes': '100' };

  it.each([
    '.index',
    '.timeindex',
    '.snapshot',
    '.window',
    'leader-epoch-checkpoint',
    'partition.metadata',
    'recovery-point-offset-checkpoint',
    'index-checkpoint',
    '.kafka_cleanshutdown',
    'log-start-offset-checkpoint',
  ])('are made again: %s', async (suffix) => {
    for (const isClean of [true, false]) {
      machine = simulatedGround(2);
      const log = await open();
      await fill(log, 50, configs);
      const before = log.topic('t')!.partitions[0]!;
      const time = await drive(before.maxTimestamp());
      if (isClean) await drive(log.close());
      else machine.crash({ power: false });
      for (const at of [folder, `${folder}/t-0`])
        for (const name of await drive(machine.disk.list(at))) if (name.endsWith(suffix)) await drive(machine.disk.remove(`${at}/${name}`));
      const partition = (await open()).topic('t')!.partitions[0]!;
      expect(await readBases(partition)).toEqual(Array.from({ length: 50 }, (_, index) => index));
      expect(await drive(partition.maxTimestamp())).toEqual(time);
    }
  });

  it('refuses to go on without the folder of a partition that held something', async () => {
    const log = await open();
    await fill(log, 3);
    await drive(log.close());
    await drive(machine.disk.rename(`${folder}/t-0`, '/elsewhere'));
    await expect(open()).rejects.toMatchObject({ code: 'data-damaged' });
    await drive(machine.disk.rename('/elsewhere', `${folder}/t-0`));
    expect((await open()).topic('t')!.partitions[0]!.highWatermark).toBe(3);
  });

  it('keeps a folder of no topic aside, and another one of the same name too', async () => {
    for (let count = 1; count <= 2; count++) {
      const log = await open();
      await fill(log, 3);
      await drive(log.close());
      // As after a deletion that a crash came into.
      await drive(machine.disk.remove(`${folder}/topics/t.json`));
      const again = await open();
      expect([...again.topics]).toEqual([]);
      await drive(again.close());
      const aside = (await drive(machine.disk.list(folder))).filter((name) => name.startsWith('t-0'));
      expect(aside).toEqual(Array.from({ length: count }, () => expect.stringMatching(/^t-0\.[0-9a-f]{32}-stray$/)));
    }
    expect(reports.join('\n')).toContain('belongs to no topic');
  });
});

describe('what an opening costs', () => {
  it('reads only what lies behind the last checkpoint', async () => {
    const log = await open();
    await fill(log, 300);
    await drive(log.checkpoint());
    await fill(log, 2);
    const size = log.topic('t')!.partitions[0]!.sizeBytes;
    machine.crash({ power: false });
    const { ground } = machine.startProcess();
    const counting = new CountingDisk(ground.disk);
    const again = await drive(openLog({ ground: { ...ground, disk: counting }, directory: folder, durability: 'fsync' }));
    expect(again.topic('t')!.partitions[0]!.highWatermark).toBe(302);
    expect(again.topic('t')!.partitions[0]!.leaderEpoch).toBe(0);
    expect(counting.bytesRead).toBeGreaterThan(0);
    expect(counting.bytesRead).toBeLessThan(size / 2);
  });

  it('is told once a second where it is long', async () => {
    const log = await open();
    const { partitions } = await drive(log.createTopic('many', { partitionCount: 40 }));
    for (const partition of partitions) {
      for (let index = 0; index < 3; index++)
        partition.append(encodeBatch([{ key: null, value: Buffer.alloc(500, index), timestamp: machine.clock.now() }]));
    }
    await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
    machine.crash({ power: false });
    const { ground } = machine.startProcess();
    (ground.disk as SimulatedDisk).pace = { quickMs: [200, 300], syncMs: [1, 2], hiccupShare: 0, hiccupMs: [0, 0] };
    reports = [];
    await drive(openLog({ ground, directory: folder, durability: 'fsync', log: (line) => reports.push(line) }));
    expect(reports.length).toBeGreaterThan(1);
    const percents = reports.map((line) => Number(/^Recovering: (\d+) % of 1 MiB read, \d+ records a second, \d+ s left$/.exec(line)?.[1]));
    expect(percents).toEqual([...percents].sort((one, other) => one - other));
    expect(Math.max(...percents)).toBeLessThanOrEqual(100);
  });

  it('says by a new epoch that records may have been taken back, under `os` only', async () => {
    const log = await open('os');
    await fill(log, 3);
    machine.crash({ power: false });
    const partition = (await open('os')).topic('t')!.partitions[0]!;
    expect(partition.leaderEpoch).toBe(1);
    expect(partition.endOfEpoch(0)).toEqual({ epoch: 0, endOffset: 3 });
    expect(partition.endOfEpoch(1)).toEqual({ epoch: 1, endOffset: 3 });
    expect(partition.endOfEpoch(2)).toEqual({ epoch: -1, endOffset: -1 });
  });
});

describe('what many partitions commit at once', () => {
  it('is on the disk with one sync, and in the segments after a crash', async () => {
    const log = (await openJournaled()).log;
    const { partitions } = await drive(log.createTopic('many', { partitionCount: 20 }));
    for (let round = 0; round < 3; round++) {
      for (const partition of partitions)
        partition.append(encodeBatch([{ key: null, value: Buffer.alloc(100, round), timestamp: machine.clock.now() }]));
      await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
    }
    expect(await readBases(partitions[7]!)).toEqual([0, 1, 2]);
    expect(await drive(machine.disk.exists(`${folder}/many-7/00000000000000000000.log`))).toBe(false);
    machine.crash({ power: true });
    const again = (await openJournaled()).log;
    for (const partition of again.topic('many')!.partitions) expect(await readBases(partition)).toEqual([0, 1, 2]);
    // And from the segments alone: the journal was begun anew.
    machine.crash({ power: true });
    expect(await readBases((await open()).topic('many')!.partitions[19]!)).toEqual([0, 1, 2]);
  });

  it('shares its sync with the messages of queues', async () => {
    const { ground } = machine.startProcess();
    const disk = new CountingDisk(ground.disk);
    const broker = await drive(Broker.open({ data: '/data', ground: { ...ground, disk } }));
    const session = broker.session();
    await drive(session.declareQueue('q', { durable: true }));
    const log = await drive(broker.log());
    await drive(log.createTopic('t', { partitionCount: 3 }));
    disk.syncs = [];
    const message = { exchange: '', routingKey: 'q', body: Buffer.from('m'), properties: { deliveryMode: 2 as const } };
    const records = [0, 1, 2].map((partition) => ({ partition, value: `r${partition}` }));
    await drive(Promise.all([session.publish(message), log.append('t', records)]));
    expect(disk.syncs).toEqual(['/data/journal/0000000000000001.log']);
    machine.crash({ power: true });
    const again = await drive(Broker.open({ data: '/data', ground: machine.startProcess().ground, log: () => undefined }));
    expect(again.inspect().queues).toMatchObject([{ name: 'q', messageCount: 1 }]);
    const found = await drive(again.log());
    expect([0, 1, 2].map((partition) => found.bounds('t', partition).latest)).toEqual([1, 1, 1]);
  });

  it('is read once from the files of an older version, which go then', async () => {
    const log = await open();
    const { partitions, idBytes } = await drive(log.createTopic('many', { partitionCount: 2 }));
    const batches = [0, 1].map((number) => {
      const batch = encodeBatch([{ key: null, value: Buffer.alloc(100, number), timestamp: machine.clock.now() }]);
      partitions[0]!.append(Buffer.from(batch));
      batch.writeBigInt64BE(BigInt(number), 0);
      return batch;
    });
    const before = await drive(Promise.resolve(partitions[0]!.read(0, { isolation: 'read-uncommitted', bytesMax: 0, atLeastOne: false })));
    expect(before).toMatchObject({ bytes: 0 });
    machine.crash({ power: true });
    await drive(machine.disk.makeDirectory(`${folder}/commits`));
    await put(
      `${folder}/commits/0000000000000001.log`,
      oldCommitFile(batches.map((batch, offset) => ({ topicId: idBytes, partition: 1, offset, batch }))),
    );
    const again = await open();
    expect(await readBases(again.topic('many')!.partitions[1]!)).toEqual([0, 1]);
    expect(await drive(machine.disk.exists(`${folder}/commits`))).toBe(false);
    machine.crash({ power: true });
    expect(await readBases((await open()).topic('many')!.partitions[1]!)).toEqual([0, 1]);
  });

  it('goes with the journal file when the segments have it', async () => {
    const { log, storage } = await openJournaled(4096);
    const { partitions } = await drive(log.createTopic('many', { partitionCount: 3 }));
    for (let round = 0; round < 60; round++) {
      for (const partition of partitions)
        partition.append(encodeBatch([{ key: null, value: Buffer.alloc(100, round), timestamp: machine.clock.now() }]));
      await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
      await drive(machine.clock.pause(20));
    }
    expect(storage.journal!.fileCount).toBeLessThanOrEqual(3);
    expect(await drive(machine.disk.list('/data/journal'))).not.toContain('0000000000000001.log');
    machine.crash({ power: true });
    const again = (await openJournaled(4096)).log;
    for (const partition of again.topic('many')!.partitions) expect(await readBases(partition)).toHaveLength(60);
  });

  it('is not in the way of a broker that is opened without Kafka, and is not lost by it', async () => {
    const { log } = await openJournaled();
    const { partitions } = await drive(log.createTopic('many', { partitionCount: 3 }));
    partitions[2]!.append(encodeBatch([{ key: null, value: Buffer.alloc(100), timestamp: machine.clock.now() }]));
    await drive(new Promise<void>((resolve) => log.afterCommit(() => resolve())));
    machine.crash({ power: true });
    const broker = await drive(Broker.open({ data: '/data', ground: machine.startProcess().ground, log: () => undefined }));
    await drive(broker.close());
    expect(await readBases((await openJournaled()).log.topic('many')!.partitions[2]!)).toEqual([0]);
  });
});

/** What an older version wrote of commits of several partitions. */
function oldCommitFile(entries: readonly { topicId: Buffer; partition: number; offset: number; batch: Buffer }[]): Buffer {
  const salt = 77;
  const head = Buffer.alloc(16);
  head.write('DOVELOGC', 'latin1');
  head.writeUInt32BE(1, 8);
  head.writeUInt32BE(salt, 12);
  const commits = entries.map(({ topicId, partition, offset, batch }) => {
    const bytes = Buffer.alloc(16 + 32 + batch.length);
    bytes.writeUInt32BE(0xd04e106c, 0);
    bytes.writeUInt32BE(bytes.length, 4);
    bytes.writeUInt32BE(1, 12);
    topicId.copy(bytes, 16);
    bytes.writeUInt32BE(partition, 32);
    bytes.writeBigInt64BE(BigInt(offset), 36);
    bytes.writeUInt32BE(batch.length, 44);
    batch.copy(bytes, 48);
    bytes.writeUInt32BE(crc32(bytes.subarray(12), salt), 8);
    return bytes;
  });
  return Buffer.concat([head, ...commits]);
}

describe('more files than may be open', () => {
  it('opens each when it is needed, and none is closed under who uses it', async () => {
    const { disk } = machine.startProcess().ground;
    await drive(disk.makeDirectory('/files'));
    const files = new OpenFiles(disk, 2);
    const paths = ['a', 'b', 'c', 'd', 'e'].map((name) => `/files/${name}`);
    for (let round = 0; round < 3; round++) {
      const pinned = await drive(Promise.all([...paths, ...paths].map((path) => files.pin(path, round === 0 ? 'create' : 'edit'))));
      for (const [index, file] of pinned.entries()) {
        await drive(
          new Promise<void>((resolve, reject) =>
            file.handle.write([Buffer.from([index])], index, (error) => (error === undefined ? resolve() : reject(error))),
          ),
        );
      }
      for (const file of pinned) files.unpin(file);
      expect(paths.filter((path) => files.pinOpen(path) !== undefined)).toHaveLength(2);
      for (const path of paths) {
        const file = files.pinOpen(path);
        // Once for the look before, once for this one.
        if (file !== undefined) for (let pins = file.pins; pins > 0; pins--) files.unpin(file);
      }
    }
    await drive(files.closeAll());
  });
});

describe('memory', () => {
  it('runs the same over no disk at all', async () => {
    const log = await drive(openLog({ ground: machine.startProcess().ground, directory: undefined, durability: 'memory' }));
    await fill(log, 40, { 'internal.segment.bytes': '2048' });
    const partition = log.topic('t')!.partitions[0]!;
    expect(await readBases(partition)).toHaveLength(40);
    expect(log.directory).toBeUndefined();
    await drive(log.checkpoint());
    await drive(partition.deleteRecordsBefore(20));
    await drive(log.deleteTopic('t'));
    await drive(log.close());
    expect(await drive(machine.disk.list('/'))).toEqual([]);
  });
});

describe('a file of which the name is not on the disk yet', () => {
  // What is not synced may be lost or not: by seed.
  const seeds = Array.from({ length: 100 }, (_, seed) => seed);

  it('gets it there before what is written to it counts, where an earlier life made the file', async () => {
    for (const seed of seeds) {
      machine = simulatedGround(seed);
      await fill(await open(), 0);
      await drive(machine.disk.open(logFile, 'create'));
      machine.crash({ power: false });
      await fill(await open(), 1);
      machine.crash({ power: true });
      expect([seed, await readBases((await open()).topic('t')!.partitions[0]!)]).toEqual([seed, [0]]);
    }
  });

  it('has it there under os when a checkpoint says that its records are', async () => {
    for (const seed of seeds) {
      machine = simulatedGround(seed);
      const log = await open('fsync');
      await fill(log, 0);
      machine.crash({ power: false });
      const other = await open('os');
      await fill(other, 1);
      await drive(other.close());
      machine.crash({ power: true });
      const again = await drive(
        openLog({ ground: machine.startProcess().ground, directory: folder, durability: 'os' }).catch((error: Error) => error.message),
      );
      expect([seed, typeof again === 'string' ? again : 'opens']).toEqual([seed, 'opens']);
    }
  });
});
