/**
 * Checking the partitioned log in a data folder from outside: it says what an opening would say, after every kind of end and over random damage, names the batch or
 * index that is wrong, and changes nothing.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import type { Disk } from '@dovecote/ground';
import { SeededRandom, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import { encodeBatch } from '../log/records.js';
import { JournaledLog } from '../simulation/journaled-log.js';
import { checkFolder, type FolderCheck } from './check-folder.js';
import type { Durability } from './options.js';

const data = '/data';
/** Seeds per test; more of them on demand. */
const runs = Number(process.env['CHECK_RUNS'] ?? 8);

/** By path below the data folder. */
type Files = ReadonlyMap<string, Buffer>;
type Kept = Exclude<Durability, 'memory'>;

async function readFiles(disk: Disk, folder = data, files = new Map<string, Buffer>()): Promise<Map<string, Buffer>> {
  for (const name of await disk.list(folder)) {
    const path = `${folder}/${name}`;
    const isFolder = await disk.list(path).then(
      () => true,
      () => false,
    );
    if (isFolder) await readFiles(disk, path, files);
    else {
      const file = await disk.open(path, 'read');
      const bytes = Buffer.alloc(await file.size());
      await file.read(bytes, 0);
      await file.close();
      files.set(path, bytes);
    }
  }
  return files;
}

async function writeFiles(disk: Disk, files: Files): Promise<void> {
  await disk.makeDirectory(`${data}/journal`);
  for (const [path, bytes] of files) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    await disk.makeDirectory(folder);
    const file = await disk.open(path, 'create');
    await new Promise<void>((resolve, reject) => file.write([bytes], 0, (error) => (error ? reject(error) : resolve())));
    await new Promise<void>((resolve, reject) => file.sync((error) => (error ? reject(error) : resolve())));
    await file.close();
    await disk.syncDirectory(folder);
  }
}

function open(machine: SimulatedGround, durability: Kept): Promise<JournaledLog> {
  return machine.clock.drive(
    JournaledLog.open({ ground: machine.startProcess().ground, data, durability, journalFileBytesMax: 8192, report: () => undefined }),
  );
}

const configs = { 'internal.segment.bytes': '4096', 'index.interval.bytes': '300' };

/** Some life of a log: producers, transactions, deleted records, compaction. */
async function live(machine: SimulatedGround, { log }: JournaledLog, random: SeededRandom): Promise<void> {
  const compacted = { ...configs, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.1' };
  if (log.topic('plain') === undefined) await log.createTopic('plain', { partitionCount: 3, configs });
  if (log.topic('compacted') === undefined) await log.createTopic('compacted', { partitionCount: 1, configs: compacted });
  for (let step = 20 + random.below(40); step > 0; step--) {
    const topic = log.topic(random.chance(0.7) ? 'plain' : 'compacted')!;
    const partition = topic.partitions[random.below(topic.partitions.length)]!;
    const producerId = random.chance(0.4) ? 5 : -1;
    const value = Buffer.alloc(random.chance(0.05) ? 3000 : random.below(300), step);
    const records = [{ key: Buffer.from(`k${random.below(9)}`), value, timestamp: machine.clock.now() }];
    const last = partition.producers().find((producer) => producer.producerId === producerId)?.lastSequence ?? -1;
    const isTransactional = producerId >= 0 && topic.name === 'plain';
    const settings = { producerId, producerEpoch: 0, baseSequence: last + 1, attributes: isTransactional ? 0x10 : 0 };
    partition.append(encodeBatch(records, producerId < 0 ? {} : settings));
    if (random.chance(0.2)) partition.appendMarker({ producerId: 5, producerEpoch: 0, coordinatorEpoch: 0, isCommit: random.chance(0.5) });
    if (random.chance(0.02)) await log.checkpoint();
    if (random.chance(0.02)) await log.compact();
    if (random.chance(0.02)) await partition.deleteRecordsBefore(Math.floor(partition.highWatermark / 2));
    if (random.chance(0.3)) await machine.clock.pause(random.between(0, 8));
  }
}

/** What a log that ended somehow left behind. */
async function leftBehind(seed: string): Promise<{ readonly files: Files; readonly durability: Kept }> {
  const machine = simulatedGround(seed);
  const random = new SeededRandom(seed).fork('life');
  const durability = random.chance(0.7) ? 'fsync' : 'os';
  for (let left = 1 + random.below(3); left > 0; left--) {
    const opened = await open(machine, durability);
    await machine.clock.drive(live(machine, opened, random));
    if (random.chance(0.4)) await machine.clock.drive(opened.close());
    machine.crash({ power: durability === 'fsync' && random.chance(0.5) });
  }
  return { files: await machine.clock.drive(readFiles(machine.disk)), durability };
}

/** Checks a copy of the files, opens it, and holds one against the other. */
async function judge(files: Files, durability: Kept): Promise<FolderCheck> {
  const machine = simulatedGround('judge');
  const { clock, disk } = machine;
  await clock.drive(writeFiles(disk, files));
  const check = await clock.drive(checkFolder(data, { ground: machine.startProcess().ground }));
  expect(await clock.drive(readFiles(disk))).toEqual(new Map(files));
  const opened = await open(machine, durability).then(
    (log) => ({ log, reason: undefined }),
    (reason: unknown) => ({ log: undefined, reason }),
  );
  if (opened.reason !== undefined) assert(opened.reason instanceof CodedError, String((opened.reason as Error).stack));
  assert.equal(check.opens, opened.log !== undefined, `the log says ${String(opened.reason)}, the check ${JSON.stringify(check, null, 1)}`);
  if (!check.opens) assert(check.problems.length > 0);
  else {
    const ends = [...opened.log!.log.topics].map(({ name, partitions }) => ({
      name,
      ends: partitions.map(({ logStartOffset, logEndOffset }) => [logStartOffset, logEndOffset]),
    }));
    expect(check.topics.map(({ name, partitions }) => ({ name, ends: partitions.map(({ start, end }) => [start, end]) }))).toEqual(ends);
  }
  return check;
}

function damage(files: Map<string, Buffer>, random: SeededRandom): void {
  const names = [...files.keys()].filter((name) => !name.endsWith('/lock'));
  const name = names[random.below(names.length)]!;
  const bytes = Buffer.from(files.get(name)!);
  const at = random.below(Math.max(bytes.length, 1));
  const length = Math.min(1 + random.below(400), bytes.length - at);
  const kind = ['flip', 'cut', 'zeros', 'remove', 'garbage', 'repeat', 'other'][random.below(7)]!;
  if (kind === 'remove') return void files.delete(name);
  if (kind === 'flip' && at < bytes.length) bytes[at]! ^= 1 << random.below(8);
  else if (kind === 'zeros') bytes.fill(0, at, at + length);
  else if (kind === 'repeat') bytes.copy(bytes, Math.max(at - length, 0), at, at + length);
  if (kind === 'cut') files.set(name, bytes.subarray(0, at));
  else if (kind === 'garbage') files.set(name, Buffer.concat([bytes, random.bytes(length)]));
  else if (kind === 'other') files.set(name, files.get(names[random.below(names.length)]!)!);
  else files.set(name, bytes);
}

describe('the log in a folder', () => {
  it('is whole, however its broker ended, and holds what the next one finds', async () => {
    for (let seed = 0; seed < runs; seed++) {
      const { files, durability } = await leftBehind(`left ${seed}`);
      const check = await judge(files, durability);
      expect(check.problems).toEqual([]);
      expect(check.topics.map(({ name }) => name)).toEqual(['compacted', 'plain']);
    }
  }, 600_000);

  it('is judged as an opening judges it, whatever happened to its files', async () => {
    const outcomes = { opens: 0, refused: 0, wrong: 0 };
    for (let seed = 0; seed < 6 * runs; seed++) {
      const random = new SeededRandom(`damage ${seed}`);
      const { files, durability } = await leftBehind(`damaged ${seed >> 4}`);
      const damaged = new Map(files);
      for (let count = 1 + random.below(2); count > 0; count--) damage(damaged, random);
      const check = await judge(damaged, durability);
      outcomes[check.opens ? 'opens' : 'refused']++;
      if (check.opens && check.problemCount > 0) outcomes.wrong++;
    }
    expect(outcomes.opens).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(outcomes.wrong).toBeGreaterThan(0);
  }, 600_000);

  it('names the batch whose sum is wrong, and the index that leads astray', async () => {
    const machine = simulatedGround('names');
    const { clock, disk } = machine;
    const opened = await open(machine, 'fsync');
    const topic = await clock.drive(opened.log.createTopic('t', { partitionCount: 1, configs }));
    for (let index = 0; index < 60; index++)
      topic.partitions[0]!.append(encodeBatch([{ key: null, value: Buffer.alloc(100), timestamp: clock.now() + index }]));
    await clock.drive(new Promise<void>((resolve) => opened.log.afterCommit(() => resolve())));
    await clock.drive(opened.log.checkpoint());
    await clock.drive(opened.close());
    const files = await clock.drive(readFiles(disk));
    const stem = `${data}/log/t-0/00000000000000000000`;
    const batches = Buffer.from(files.get(`${stem}.log`)!);
    batches[batches.readInt32BE(8) + 12 + 80]! ^= 1;
    const index = Buffer.from(files.get(`${stem}.index`)!);
    index[7]! ^= 1;
    const check = await judge(new Map([...files, [`${stem}.log`, batches], [`${stem}.index`, index]]), 'fsync');
    expect(check.problems).toMatchObject([
      { file: 'log/t-0/00000000000000000000.log', byte: batches.readInt32BE(8) + 12, what: expect.stringContaining('batch at offset 1') },
      { file: 'log/t-0/00000000000000000000.index', what: expect.stringContaining('where no batch begins') },
    ]);
    expect(check).toMatchObject({ opens: true, topics: [{ name: 't', partitions: [{ start: 0, end: 60, batches: 60 }] }] });
  });
});
