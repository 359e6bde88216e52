/**
 * Checking a data folder from outside: it says what a broker would say, on whole folders, after every kind of crash, and over random
 * damage; it names what is wrong with records that no broker writes; and it changes nothing.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import type { Disk, Ground } from '@dovecote/ground';
import { SeededRandom, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import { CodedError } from '../errors.js';
import { recordKind } from '../queues/message-log.js';
import { batchHeadBytes, recordHeadBytes, sealBatch } from '../storage/batch.js';
import { encodeFileHead, fileHeadBytes, journalFileName } from '../storage/journal-file.js';
import { checkFolder, type FolderCheck } from './check-folder.js';
import type { Durability } from './options.js';

const data = '/data';
const journal = `${data}/journal`;
/** Seeds per test; more of them on demand. */
const runs = Number(process.env['CHECK_RUNS'] ?? 25);

type Files = ReadonlyMap<string, Buffer>;

async function readFiles(disk: Disk): Promise<Files> {
  const files = new Map<string, Buffer>();
  for (const name of await disk.list(journal)) {
    const file = await disk.open(`${journal}/${name}`, 'read');
    const bytes = Buffer.alloc(await file.size());
    await file.read(bytes, 0);
    await file.close();
    files.set(name, bytes);
  }
  return files;
}

async function writeFiles(disk: Disk, files: Files): Promise<void> {
  await disk.makeDirectory(journal);
  for (const [name, bytes] of files) {
    const file = await disk.open(`${journal}/${name}`, 'create');
    await new Promise<void>((resolve, reject) => file.write([bytes], 0, (error) => (error ? reject(error) : resolve())));
    await new Promise<void>((resolve, reject) => file.sync((error) => (error ? reject(error) : resolve())));
    await file.close();
  }
  await disk.syncDirectory(journal);
}

/** Small files, so that there are several of them and old ones go. */
function open(ground: Ground, durability: Durability): Promise<Broker> {
  return Broker.open({ data, ground, durability, limits: { journalFileBytesMax: 8192 }, log: () => undefined });
}

/** Some life of a broker: queues and bindings come and go, messages too. It is left open. */
async function live(machine: SimulatedGround, broker: Broker, random: SeededRandom): Promise<void> {
  const session = broker.session();
  await session.declareExchange('all', 'fanout', { durable: true });
  await session.declareExchange('later', 'x-delayed-message', { durable: true, arguments: { 'x-delayed-type': 'direct' } });
  for (const name of ['red', 'green', 'slow']) {
    const expires = name === 'green' ? { arguments: { 'x-message-ttl': 600_000 } } : {};
    await session.declareQueue(name, { durable: true, ...expires });
    await session.bindQueue(name, 'all', '');
    await session.bindQueue(name, 'later', name);
  }
  for (const name of ['red', 'green']) {
    await session.consume(name, { prefetch: 7 }, (delivery) => {
      if (random.chance(0.9)) delivery.acknowledge();
      else delivery.reject({ requeue: random.chance(0.5) });
    });
  }
  for (let step = 10 + random.below(60); step > 0; step--) {
    const exchange = random.chance(0.3) ? 'all' : '';
    const routingKey = ['red', 'green', 'slow', `short-${random.below(3)}`][random.below(4)]!;
    const body = Buffer.alloc(random.chance(0.05) ? 3000 : random.below(300), step);
    const properties = { deliveryMode: random.chance(0.8) ? (2 as const) : (1 as const), headers: { step } };
    if (random.chance(0.1)) {
      const delayed = { ...properties, headers: { 'x-delay': random.chance(0.5) ? 600_000 : 1 + random.below(20) } };
      session.publish({ exchange: 'later', routingKey: 'slow', body, properties: delayed }).catch(() => undefined);
    } else if (random.chance(0.2)) {
      const publish = ['red', 'slow', 'slow'].map((key) => ({ exchange: '', routingKey: key, body, properties }));
      session.transact({ publish }).catch(() => undefined);
    } else session.publish({ exchange, routingKey, body, properties }).catch(() => undefined);
    if (random.chance(0.1)) session.declareQueue(`short-${random.below(3)}`, { durable: random.chance(0.7) }).catch(() => undefined);
    if (random.chance(0.05)) session.deleteQueue(`short-${random.below(3)}`).catch(() => undefined);
    if (random.chance(0.05)) session.purgeQueue('slow').catch(() => undefined);
    if (random.chance(0.4)) await machine.clock.pause(random.between(0, 8));
  }
}

/** What a broker that died somehow left behind. */
async function leftBehind(seed: string): Promise<{ files: Files; durability: Durability; end: string }> {
  const machine = simulatedGround(seed);
  const random = new SeededRandom(seed).fork('life');
  const durability = random.chance(0.6) ? 'fsync' : 'os';
  const end = ['power', 'kill', 'close'][random.below(3)]!;
  for (let left = 1 + random.below(3); left > 0; left--) {
    const { ground } = machine.startProcess();
    const broker = await machine.clock.drive(open(ground, durability));
    await machine.clock.drive(live(machine, broker, random));
    if (left === 1 && end === 'close') await machine.clock.drive(broker.close());
    machine.crash({ power: end === 'power' });
  }
  return { files: await machine.clock.drive(readFiles(machine.disk)), durability, end };
}

/** Checks a copy of the files, opens it, and holds one against the other. */
async function judge(files: Files, durability: Durability): Promise<{ check: FolderCheck; broker: Broker | undefined }> {
  const machine = simulatedGround('judge');
  const { clock, disk } = machine;
  await clock.drive(writeFiles(disk, files));
  const check = await clock.drive(checkFolder(data, { ground: machine.startProcess().ground }));
  expect(await clock.drive(readFiles(disk))).toEqual(files);
  expect(await clock.drive(disk.exists(`${data}/lock`))).toBe(false);
  const opened = await clock.drive(
    open(machine.startProcess().ground, durability).then(
      (broker) => ({ broker, reason: undefined }),
      (reason: unknown) => ({ broker: undefined, reason }),
    ),
  );
  if (opened.reason !== undefined) assert(opened.reason instanceof CodedError);
  const shown = JSON.stringify(check, null, 1);
  assert.equal(check.opens, opened.broker !== undefined, `the broker says ${String(opened.reason)}, the check ${shown}`);
  if (!check.opens) assert(check.problems.length > 0, shown);
  if (opened.broker !== undefined && check.problemCount === 0) {
    const counts = opened.broker.inspect().queues.map(({ name, messageCount }) => ({ name, messages: messageCount }));
    expect(check.queues).toEqual(counts.sort((one, other) => (one.name < other.name ? -1 : 1)));
  }
  return { check, broker: opened.broker };
}

function damage(files: Map<string, Buffer>, random: SeededRandom): string {
  const names = [...files.keys()];
  const name = names[random.below(names.length)]!;
  const bytes = Buffer.from(files.get(name)!);
  const at = random.below(Math.max(bytes.length, 1));

  const length = Math.min(1 + random.below(400), bytes.length - at);
  const kind = ['flip', 'cut', 'zeros', 'remove', 'garbage', 'repeat', 'stranger', 'cut at a batch'][random.below(8)]!;
  if (kind === 'flip' && at < bytes.length) bytes[at]! ^= 1 << random.below(8);
  else if (kind === 'zeros') bytes.fill(0, at, at + length);
  else if (kind === 'repeat') bytes.copy(bytes, Math.max(at - length, 0), at, at + length);
  if (kind === 'remove') files.delete(name);
  else if (kind === 'cut') files.set(name, bytes.subarray(0, at));
  else if (kind === 'cut at a batch') {
    const mark = bytes.indexOf(Buffer.from('d04eba7c', 'hex'), at);
    files.set(name, bytes.subarray(0, Math.max(mark, 0)));
  } else if (kind === 'garbage') files.set(name, Buffer.concat([bytes, random.bytes(length)]));
  else files.set(name, bytes);
  if (kind === 'stranger')
    files
      .set(journalFileName(1 + random.below(9)), bytes)
      .set(`${name}.new`, bytes)
      .set('notes.txt', bytes);
  return `${kind} ${name} at ${at}`;
}

describe('a folder that a broker left', () => {
  it('is whole, however the broker ended, and holds what the next one finds', async () => {
    const ends = new Set<string>();
    for (let seed = 0; seed < runs; seed++) {
      const { files, durability, end } = await leftBehind(`left ${seed}`);
      const { check } = await judge(files, durability);
      expect(check.problems).toEqual([]);
      expect(check.wasClosed).toBe(end === 'close');
      for (const { state, livingBytes, believedBytes } of check.files) {
        if (state === 'needed') expect(livingBytes).toBeLessThanOrEqual(believedBytes);
      }
      ends.add(end);
    }
    expect(ends.size).toBe(3);
  }, 600_000);

  it('is judged as the broker judges it, whatever happened to its files', async () => {
    const outcomes = { opens: 0, refused: 0 };
    for (let seed = 0; seed < runs; seed++) {
      const random = new SeededRandom(`damage ${seed}`);
      const { files, durability } = await leftBehind(`damaged ${seed >> 2}`);
      const damaged = new Map(files);
      for (let count = 1 + random.below(2); count > 0 && damaged.size > 0; count--) damage(damaged, random);
      const { check } = await judge(damaged, durability);
      outcomes[check.opens ? 'opens' : 'refused']++;
    }
    expect(outcomes.opens).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
  }, 600_000);

  it.each([false, true])('names every range of a damaged file that cannot be verified, with old files gone: %p', async (isTrimmed) => {
    let files: Files = new Map();
    for (let seed = 1; files.size === 0 || files.has('0000000000000001.log') === isTrimmed; seed++)
      ({ files } = await leftBehind(`ranges ${seed}`));
    const damaged = new Map(files);
    const [name] = [...files.keys()].sort();
    const bytes = Buffer.from(files.get(name!)!);
    const mark = Buffer.from('d04eba7c', 'hex');
    const second = bytes.indexOf(mark, fileHeadBytes + 4);
    const third = bytes.indexOf(mark, second + 4);
    const fourth = bytes.indexOf(mark, third + 4);
    bytes[second + 40]! ^= 1;
    bytes[fourth + 40]! ^= 1;
    damaged.set(name!, bytes);
    const { check } = await judge(damaged, 'fsync');
    const places = check.problems.filter(({ byte }) => byte !== undefined).map(({ file, byte }) => `${file} ${byte}`);
    expect(places).toEqual([`journal/${name} ${second}`, `journal/${name} ${fourth}`]);
    expect(check.problems[0]!.what).toContain(`${name} is damaged at byte ${second}`);
    expect(check.problems[1]!.what).toBe(`${third - second} bytes cannot be verified: the sum of the batch there does not match its bytes`);
    expect(check.problems[1]!.advice).toContain('Restore');
  });

  it('tells living bytes from dead ones, and a torn tail from damage', async () => {
    const machine = simulatedGround('bytes');
    const { clock, disk } = machine;
    const { ground } = machine.startProcess();
    const broker = await clock.drive(Broker.open({ data, ground }));
    const session = broker.session();
    for (const name of ['kept', 'gone']) {
      await clock.drive(session.declareQueue(name, { durable: true }));
      const message = { exchange: '', routingKey: name, body: Buffer.alloc(1000), properties: { deliveryMode: 2 as const } };
      await clock.drive(session.publish(message));
    }
    await clock.drive(session.purgeQueue('gone'));
    await clock.drive(broker.close());
    const files = new Map(await clock.drive(readFiles(disk)));
    const [[name, bytes]] = [...files] as [[string, Buffer]];
    files.set(name, Buffer.concat([bytes, Buffer.alloc(100)]));
    const { check } = await judge(files, 'fsync');
    expect(check).toMatchObject({ opens: true, wasClosed: true, problemCount: 0, bytes: bytes.length + 100 });
    expect(check.queues).toEqual([
      { name: 'gone', messages: 0 },
      { name: 'kept', messages: 1 },
    ]);
    expect(check.files).toMatchObject([{ file: `journal/${name}`, state: 'needed', believedBytes: bytes.length }]);
    const { livingBytes } = check.files[0]!;
    expect(livingBytes).toBeGreaterThan(1000);
    expect(livingBytes).toBeLessThan(1100);
    expect(check.notes.join()).toContain(
      `ends at byte ${bytes.length}, the torn tail of a crash: zeros follow (100 bytes to the end of the file)`,
    );
  });

  it('is not touched while a broker has it, and must be there', async () => {
    const machine = simulatedGround('in use');
    const { clock } = machine;
    await clock.drive(Broker.open({ data, ground: machine.startProcess().ground }));
    const { ground } = machine.startProcess();
    await expect(clock.drive(checkFolder(data, { ground }))).rejects.toMatchObject({ code: 'data-folder-locked' });
    await expect(clock.drive(checkFolder('/nowhere', { ground }))).rejects.toMatchObject({ code: 'data-folder-unusable' });
  });
});

describe('records that no broker writes', () => {
  const number = (bytes: number, value: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUIntBE(value, 0, bytes);
    return buffer;
  };
  const definition = (value: object): Buffer => Buffer.concat([number(1, recordKind.definition), Buffer.from(JSON.stringify(value))]);
  const image = Buffer.from(
    '000171' + '00ce' + '020000' + '0000000f' + '003c0000' + '0000000000000002' + '100002' + 'ce' + '030000' + '00000002' + '6869' + 'ce',
    'hex',
  );
  const message = (queue: number, sequence: number, content = image): Buffer =>
    Buffer.concat([number(1, recordKind.message), number(4, 1), number(4, queue), number(6, sequence), content]);
  const settled = (queue: number, first: number, count: number): Buffer =>
    Buffer.concat([number(1, recordKind.settled), number(4, queue), number(6, first), number(4, count)]);
  const queue = { id: 1, name: 'q', durable: true, exclusive: false, autoDelete: false };
  const checkpoint = { do: 'checkpoint', nextQueueId: 2, exchanges: [], queues: [{ queue, nextSequence: 1 }], bindings: [] };

  function journalOf(records: readonly Buffer[]): { files: Files; places: readonly number[] } {
    const places: number[] = [];
    const parts = [encodeFileHead({ number: 1, beginsWithCheckpoint: true, salt: 7 }), Buffer.alloc(batchHeadBytes)];
    let at = fileHeadBytes + batchHeadBytes;
    for (const record of records) {
      parts.push(number(4, record.length), record);
      places.push(at + recordHeadBytes);
      at += recordHeadBytes + record.length;
    }
    const bytes = Buffer.concat(parts);
    sealBatch(bytes, fileHeadBytes, bytes.length, { oldestFile: 1, sequence: 1, durable: 0 }, 7);
    return { files: new Map([[journalFileName(1), bytes]]), places };
  }

  async function problemsOf(records: readonly Buffer[]): Promise<{ check: FolderCheck; places: readonly number[] }> {
    const { files, places } = journalOf(records);
    const machine = simulatedGround('records');
    await machine.clock.drive(writeFiles(machine.disk, files));
    return { check: await machine.clock.drive(checkFolder(data, { ground: machine.startProcess().ground })), places };
  }

  it('are named by file and byte, and do not keep a broker from opening', async () => {
    const begins = definition(checkpoint);
    const torn = Buffer.from(image);
    torn[torn.length - 1] = 0;
    const cases: readonly (readonly [record: Buffer, what: RegExp])[] = [
      [message(9, 1), /A message went to queue 9, which is not declared then/],
      [settled(9, 1, 1), /Messages are settled in queue 9/],
      [settled(1, 3, 4), /Messages 3 to 6 of queue 'q' are settled, and the last that came is 2/],
      [message(1, 2), /Message 2 of queue 'q' comes after message 2/],
      [message(1, 3, torn), /content of a message cannot be read: its body is not one frame/],
      [message(1, 3, image.subarray(0, 20)), /cannot be read: it ends before its header/],
      [Buffer.concat([number(1, recordKind.message), number(4, 0), image]), /went to no queue/],
      [Buffer.concat([number(1, recordKind.message), number(4, 0xffff), image]), /for 65535 queues is cut short/],
      [settled(1, 1, 0), /settles nothing/],
      [number(1, recordKind.delivered), /1 bytes and not 11/],
      [Buffer.alloc(0), /a record is empty/],
      [definition({ ...checkpoint, queues: [] }), /A checkpoint lacks a declared queue: .*"q"/],
      [definition({ ...checkpoint, queues: [{ queue, nextSequence: 2 }] }), /counts queue 'q' up to 1, and message 2 came before it/],
    ];
    for (const [record, what] of cases) {
      const { check, places } = await problemsOf([begins, message(1, 1), message(1, 2), record]);
      expect(check.problems[0]?.what).toMatch(what);
      expect(check.problems[0]).toMatchObject({ file: 'journal/0000000000000001.log', byte: places[3] });
      expect(check.opens).toBe(true);
    }
  });

  it('are refused as a broker refuses them where it cannot pass over them', async () => {
    const cases: readonly (readonly [record: Buffer, what: RegExp])[] = [
      [Buffer.from([200, 1, 2]), /A newer version of Dovecote wrote a record of kind 200/],
      [Buffer.concat([number(1, recordKind.definition), Buffer.from('{')]), /A definition cannot be used: .*JSON/],
      [definition({ do: 'declare-exchange', exchange: { name: 'x', type: 'x-own', durable: true } }), /type 'x-own'/],
    ];
    for (const [record, what] of cases) {
      const records = [definition(checkpoint), record];
      const { check, places } = await problemsOf(records);
      expect(check.problems).toHaveLength(1);
      expect(check.problems[0]!.what).toMatch(what);
      expect(check.problems[0]!.byte).toBe(places[1]);
      expect((await judge(journalOf(records).files, 'fsync')).check.opens).toBe(false);
    }
  });
});
