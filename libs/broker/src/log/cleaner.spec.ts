import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { SeededRandom, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { compress, decompress } from './compression.js';
import type { Partition } from './log.js';
import { type OpenLog, openLog } from './open-log.js';
import { BatchHead, batchHeadBytes } from './record-batch.js';
import { encodeBatch, headFields, RecordCursor, type RecordContent, sealRecords } from './records.js';

/** Compaction, against a plain map of keys: whatever is taken away, who reads everything ends up with the same. */
const configs = {
  'cleanup.policy': 'compact',
  'internal.segment.bytes': '4096',
  'index.interval.bytes': '300',
  'min.cleanable.dirty.ratio': '0.1',
  'delete.retention.ms': '60000',
};

class World {
  readonly random: SeededRandom;
  readonly machine: SimulatedGround;
  log!: OpenLog;
  /** Offset and value of the last record of each key that was answered; null: a tombstone. */
  readonly model = new Map<string, { readonly offset: number; readonly value: string | null }>();
  private sequence = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.machine = simulatedGround(seed);
  }

  drive<Answer>(work: Promise<Answer>): Promise<Answer> {
    return this.machine.clock.drive(work);
  }

  async open(): Promise<void> {
    this.log = await this.drive(openLog({ ground: this.machine.startProcess().ground, directory: '/log', durability: 'fsync' }));
    if (this.log.topic('t') === undefined) await this.drive(this.log.createTopic('t', { partitionCount: 1, configs }));
  }

  get partition(): Partition {
    return this.log.topic('t')!.partitions[0]!;
  }

  async committed(): Promise<void> {
    await this.drive(
      new Promise<void>((resolve, reject) => this.log.afterCommit((error) => (error === undefined ? resolve() : reject(error)))),
    );
  }

  /** A batch of a few keys, packed or not, by a producer or not; aborted ones never count. */
  async append(kind: 'plain' | 'idempotent' | 'committed' | 'aborted'): Promise<void> {
    const { random } = this;
    const records: RecordContent[] = Array.from({ length: 1 + random.below(4) }, () => ({
      key: Buffer.from(`key ${random.below(25)}`),
      value: random.chance(0.2) ? null : Buffer.from(`value ${random.below(10_000)} ${'x'.repeat(random.below(100))}`),
      timestamp: this.machine.clock.now(),
      headers: random.chance(0.2) ? [{ key: 'h', value: Buffer.from('v') }] : [],
    }));
    const isTransactional = kind === 'committed' || kind === 'aborted';
    const producer =
      kind === 'plain' ? {} : { producerId: 5, producerEpoch: 0, baseSequence: this.sequence, attributes: isTransactional ? 0x10 : 0 };
    const outcome = this.partition.append(packed(encodeBatch(records, producer), random.below(5)));
    if (!outcome.isAppended) throw new Error(outcome.message);
    if (kind !== 'plain') this.sequence += records.length;
    if (isTransactional) {
      const marker = { producerId: 5, producerEpoch: 0, coordinatorEpoch: 0, isCommit: kind === 'committed' };
      assert.ok(this.partition.appendMarker(marker).isAppended);
    }
    if (kind === 'aborted') return;
    for (const [index, { key, value }] of records.entries())
      this.model.set(key!.toString(), { offset: outcome.baseOffset + index, value: value === null ? null : Buffer.from(value).toString() });
  }

  /** Everything as a reader of committed records sees it: offset, key, value. */
  async read(): Promise<{ readonly offset: number; readonly key: string; readonly value: string | null; readonly timestamp: number }[]> {
    const found: { offset: number; key: string; value: string | null; timestamp: number }[] = [];
    const { partition } = this;
    let last = -1;
    for (let offset = partition.logStartOffset; offset < partition.lastStableOffset;) {
      const read = await this.drive(
        Promise.resolve(partition.read(offset, { isolation: 'read-committed', bytesMax: 1500, atLeastOne: true })),
      );
      if (typeof read === 'string') throw new Error(read);
      // Behind the last batch there may be nothing but what was taken away.
      if (read.parts.length === 0) break;
      const aborted = [...read.aborted!].sort((one, other) => one.firstOffset - other.firstOffset);
      let isAborting = false;
      for (const part of read.parts) {
        for (let at = 0; at < part.length;) {
          const head = new BatchHead().read(part, at);
          assert.ok(head.baseOffset > last);
          while (aborted.length > 0 && aborted[0]!.firstOffset <= head.baseOffset) isAborting = aborted.shift() !== undefined;
          if (head.isControl) isAborting = false;
          else if (head.count > 0 && !(head.isTransactional && isAborting))
            found.push(...recordsOf(part.subarray(at, at + head.bytes), head));
          last = head.lastOffset;
          offset = head.nextOffset;
          at += head.bytes;
        }
      }
    }
    return found;
  }

  async check(tombstonesMayBeGone: boolean): Promise<number> {
    const records = await this.read();
    const latest = new Map<string, { readonly offset: number; readonly value: string | null }>();
    for (const { offset, key, value } of records) latest.set(key, { offset, value });
    for (const [key, expected] of this.model) {
      if (expected.value === null && tombstonesMayBeGone && latest.get(key) === undefined) continue;
      assert.deepEqual([key, latest.get(key)?.offset, latest.get(key)?.value], [key, expected.offset, expected.value]);
    }
    assert.ok(latest.size <= this.model.size);
    return records.length;
  }
}

function packed(plain: Buffer, codec: number): Buffer {
  const head = new BatchHead().read(plain, 0);
  return sealRecords(compress(codec, plain.subarray(batchHeadBytes), 3), { ...headFields(head), attributes: head.attributes | codec });
}

function* recordsOf(batch: Buffer, head: BatchHead) {
  const payload = decompress(head.codec, batch.subarray(batchHeadBytes));
  const cursor = new RecordCursor(payload, 0, payload.length);
  while (cursor.next()) {
    const value = cursor.value === null ? null : cursor.value.toString();
    yield {
      offset: head.baseOffset + cursor.offsetDelta,
      key: cursor.key!.toString(),
      value,
      timestamp: head.baseTimestamp + cursor.timestampDelta,
    };
  }
}

const kinds = ['plain', 'plain', 'idempotent', 'committed', 'aborted'] as const;

describe('compaction', () => {
  it.each([1, 2, 3, 4, 5, 6])('keeps the last record of each key, whatever came and however often it ran: seed %d', async (seed) => {
    const world = new World(seed);
    await world.open();
    for (let round = 0; round < 8; round++) {
      for (let index = 0; index < 60; index++) await world.append(kinds[world.random.below(kinds.length)]!);
      await world.committed();
      const before = await world.check(round > 3);
      const size = world.partition.sizeBytes;
      await world.drive(world.log.compact());
      const after = await world.check(round > 3);
      expect(after).toBeLessThan(before);
      expect(world.partition.sizeBytes).toBeLessThan(size);
      if (round === 3) await world.drive(world.machine.clock.pause(61_000));
      if (round % 3 === 2) {
        await world.drive(world.log.close());
        await world.open();
        expect(await world.check(round > 3)).toBe(after);
      }
    }
  });

  it('keeps tombstones as long as they must be seen, and their times', async () => {
    const world = new World(1);
    await world.open();
    const born = world.machine.clock.now();
    const put = async (key: string, value: string | null): Promise<void> => {
      const batch = encodeBatch([
        { key: Buffer.from(key), value: value === null ? null : Buffer.from(value), timestamp: world.machine.clock.now() },
      ]);
      expect(world.partition.append(batch).isAppended).toBe(true);
      await world.committed();
    };
    /** Enough of another key to begin a new segment. */
    const push = async (): Promise<void> => {
      for (let index = 0; index < 8; index++) await put('other', 'x'.repeat(900));
    };
    await put('gone', 'soon');
    await put('gone', null);
    await push();
    await world.drive(world.log.compact());
    expect((await world.read()).filter(({ key }) => key === 'gone')).toEqual([
      { offset: 1, key: 'gone', value: null, timestamp: expect.closeTo(born, -3) },
    ]);
    await push();
    await world.drive(world.log.compact());
    expect((await world.read()).some(({ key }) => key === 'gone')).toBe(true);
    await world.drive(world.machine.clock.pause(61_000));
    await push();
    await world.drive(world.log.compact());
    expect((await world.read()).some(({ key }) => key === 'gone')).toBe(false);
  });

  it('leaves alone what is active, too young, undecided or not dirty enough', async () => {
    const world = new World(2);
    await world.open();
    await world.append('plain');
    await world.committed();
    const filled = async (): Promise<void> => {
      for (let index = 0; index < 60; index++) await world.append('plain');
      await world.committed();
    };
    const open = encodeBatch([{ key: Buffer.from('key 1'), value: Buffer.from('open'), timestamp: world.machine.clock.now() }], {
      producerId: 9,
      producerEpoch: 0,
      baseSequence: 0,
      attributes: 0x10,
    });
    expect(world.partition.append(open).isAppended).toBe(true);
    await filled();
    const untouched = async (): Promise<void> => {
      const size = world.partition.sizeBytes;
      await world.drive(world.log.compact());
      expect(world.partition.sizeBytes).toBe(size);
    };
    await untouched();
    world.partition.appendMarker({ producerId: 9, producerEpoch: 0, coordinatorEpoch: 0, isCommit: true });
    await world.committed();
    const alter = (name: string, value: string): Promise<void> =>
      world.drive(world.log.alterConfigs('t', [{ name, operation: 'set', value }]));
    await alter('min.compaction.lag.ms', '3600000');
    await untouched();
    await alter('min.compaction.lag.ms', '0');
    await alter('min.cleanable.dirty.ratio', '1');
    await untouched();
    await alter('max.compaction.lag.ms', '1000');
    await world.drive(world.machine.clock.pause(2000));
    const size = world.partition.sizeBytes;
    await world.drive(world.log.compact());
    expect(world.partition.sizeBytes).toBeLessThan(size);
  });

  it('survives a crash at any moment of it', async () => {
    let interrupted = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const world = new World(seed);
      await world.open();
      for (let index = 0; index < 80; index++) await world.append(kinds[world.random.below(kinds.length)]!);
      await world.committed();
      const compacting = world.log.compact();
      compacting.catch(() => undefined);
      const steps = world.random.below(150);
      for (let step = 0; step < steps; step++) {
        world.machine.clock.step();
        await new Promise<void>((resolve) => process.nextTick(resolve));
        await Promise.resolve();
      }
      world.machine.crash({ power: world.random.chance(0.7) });
      await world.open();
      const before = await world.check(false);
      await world.drive(world.log.compact());
      if ((await world.check(false)) < before) interrupted++;
      const names = await world.drive(world.machine.disk.list('/log/t-0'));
      expect(names.filter((name) => /\.(?:cleaned|swap)$/.test(name))).toEqual([]);
    }
    expect(interrupted).toBeGreaterThan(10);
  });

  it('goes on with the sequence of a producer whose last batch was overwritten', async () => {
    const world = new World(3);
    await world.open();
    await world.append('idempotent');
    for (let index = 0; index < 120; index++) await world.append('plain');
    await world.committed();
    await world.drive(world.log.compact());
    world.machine.crash({ power: false });
    for (const name of await world.drive(world.machine.disk.list('/log/t-0')))
      if (name.endsWith('.snapshot')) await world.drive(world.machine.disk.remove(`/log/t-0/${name}`));
    await world.open();
    await world.append('idempotent');
    expect(world.partition.producers()[0]!.producerId).toBe(5);
  });
});
