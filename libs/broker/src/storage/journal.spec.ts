/** The journal and its recovery, under a disk that tears and fails. */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { CodedError } from '../errors.js';
import { batchHeadBytes, sealBatch } from './batch.js';
import { fileHeadBytes, journalFileName } from './journal-file.js';
import { Owner, type OwnerOptions, World, batches, written, directory } from './journal-world.js';

const [first, second] = [1, 2].map((number) => journalFileName(number)) as [string, string];

describe('one commit at a time', () => {
  it('takes what is appended meanwhile together, with one write and one sync each', async () => {
    const world = new World(1);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    owner.define(1);
    owner.journal.seal();
    const before = owner.commits;
    for (let id = 1; id <= 500; id++) {
      owner.keep(id, 1);
      owner.journal.seal();
    }
    expect(owner.committedCount).toBe(0);
    await world.settle();
    expect(owner.commits - before).toBe(2);
    expect(owner.committedCount).toBe(501);
    expect(batches(await world.read(first)).length).toBe(3);
    const writes = world.machine.trace.recent().filter((line) => line.includes('write ') || line.includes('sync of'));
    expect(writes.slice(-4).map((line) => line.replace(/.*: (write|sync).*/, '$1'))).toEqual(['write', 'sync', 'write', 'sync']);
  });

  it('writes records that are longer than a chunk of memory, and gives all memory back', async () => {
    const world = new World(2);
    const owner = await world.open({ durability: 'fsync', fileBytesMax: 8 << 20 });
    owner.define(1);
    for (let id = 1; id <= 8; id++) owner.keep(id, 1, id % 2 === 0 ? 3_000_000 : 700_000);
    owner.journal.seal();
    await world.settle();
    world.crash(true);
    const reader = await world.open({ durability: 'fsync', fileBytesMax: 8 << 20 });
    expect(reader.state.toString()).toBe(owner.state.toString());
    expect(reader.arena.bytesInUse).toBeGreaterThan(8 * 700_000);
    for (const id of [...reader.chunks.keys()]) reader.forget(id);
    reader.journal.seal();
    await world.settle();
    expect(reader.arena.bytesInUse).toBe(1 << 20); // the one that is being filled
    for (const id of [...owner.chunks.keys()]) owner.forget(id);
    expect(owner.arena.bytesInUse).toBe(owner.journal.chunk.bytes.length);
  });

  it('commits on closing what was only acknowledged while the last commit was under way', async () => {
    const world = new World(3);
    const owner = await world.open({ durability: 'os' });
    owner.define(1);
    owner.keep(1, 1);
    owner.keep(2, 1);
    owner.journal.seal();
    owner.forget(1);
    await world.drive(owner.journal.close());
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe('topics 1 kept 2@1');
  });
});

describe('a torn tail', () => {
  it('is cut at every byte of the last batch, and everything before it is there', async () => {
    const { world, states } = await written(3, { durability: 'fsync' });
    const whole = await world.read(first);
    const last = batches(whole).at(-1)!;
    for (let end = last.start; end <= last.end; end++) {
      const other = new World(`cut at ${end}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      await other.write(first, whole.subarray(0, end));
      const owner = await other.open({ durability: 'fsync' });
      expect(owner.state.toString()).toBe(end === last.end ? states[3] : states[2]);
      owner.keep(100, 1);
      owner.journal.seal();
      await other.settle();
      other.crash(true);
      expect((await other.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
    }
  });

  it('is cut when any byte of the last batch is another one, and is damage in any batch that was synced', async () => {
    const { world, states } = await written(3, { durability: 'fsync' });
    const whole = await world.read(first);
    const last = batches(whole).at(-1)!;
    const outcomes = { cut: 0, damaged: 0 };
    for (let at = 0; at < whole.length; at++) {
      const other = new World(`flipped at ${at}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 0x40;
      await other.write(first, bytes);
      const outcome = await other.open({ durability: 'fsync' }).catch((error: unknown) => error);
      if (at >= last.start) {
        assert(outcome instanceof Owner);
        expect(outcome.state.toString()).toBe(states[2]);
        outcomes.cut++;
      } else {
        // A version that is not known yet, or damage: never silence.
        const error = outcome as CodedError;
        expect(['data-damaged', 'data-folder-unusable']).toContain(error.code);
        expect(error.message).toContain(first);
        outcomes.damaged++;
      }
    }
    expect(outcomes).toEqual({ cut: last.end - last.start, damaged: last.start });
  });

  it.each([0, 10, 60])('right behind a new file, %d bytes into it, is no damage at any later opening', async (bytes) => {
    const world = new World('behind a new file');
    const options: OwnerOptions = { durability: 'fsync', fileBytesMax: 4096 };
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; (await world.files()).length < 3; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    for (const name of (await world.files()).slice(2)) await world.drive(world.machine.disk.remove(`${directory}/${name}`));
    await world.write(second, (await world.read(second)).subarray(0, fileHeadBytes + bytes));
    const states: string[] = [];
    for (let opening = 0; opening < 4; opening++) {
      world.crash(opening % 2 === 0);
      const next = await world.open(options);
      states.push(next.state.toString());
      await world.settle();
    }
    expect(new Set(states).size).toBe(1);
    expect(states[0]).toContain('1@1,2@1');
  });

  it('is not mended by what a publisher wrote into it', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    const whole = await world.read(first);
    const forged = Buffer.alloc(batchHeadBytes);
    // The best forgery without the salt: it says that everything was synced and that no file is needed.
    sealBatch(forged, 0, forged.length, { oldestFile: 1000, sequence: 1000, durable: 999 }, 0);
    const torn = Buffer.concat([whole, whole.subarray(batches(whole)[0]!.start, batches(whole)[0]!.start + 40), forged]);
    await world.write(first, torn);
    world.crash(false);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
  });
});

describe('a sync that fails', () => {
  it('ends the journal with a sentence, and nothing is committed after it', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    world.crash(false);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fail('sync', { path: '.log' });
    owner.keep(50, 1);
    owner.journal.seal();
    await world.settle();
    const committed = owner.commits;
    expect(owner.failure?.code).toBe('storage-failed');
    expect(owner.failure?.message).toMatch(/^Syncing .*\.log failed: .* Check the disk, then start the broker again$/);
    owner.keep(51, 1);
    owner.journal.seal();
    await world.settle();
    expect(owner.commits).toBe(committed);
    expect(owner.committedCount).toBe(0);
    await expect(world.drive(owner.journal.close())).rejects.toThrow(owner.failure!.message);
  });

  it('makes the next opening copy what lies behind the last good one, and sync the copy, before anybody is served', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const { machine } = world;
    machine.crash({ power: false });
    world.process = machine.startProcess();
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    machine.faults.fail('sync', { path: '.log' });
    owner.keep(50, 1);
    owner.journal.seal();
    await world.settle();
    await world.drive(owner.journal.abandon());
    const from = machine.trace.recent().length;
    const next = await world.open({ durability: 'fsync' });
    const lines = machine.trace.recent().slice(from > 190 ? 0 : from);
    const served = next.state.toString();
    const steps = lines
      .map((line) => /(create|write|sync|rename|sync folder) .*journal\S*/.exec(line)?.[0] ?? '')
      .filter((step) => step !== '');
    const copied = steps.findIndex((step) => step.startsWith('write') && step.endsWith('.new'));
    expect(copied).toBeGreaterThanOrEqual(0);
    const wanted = [/^write .*\.new$/, /^sync of .*\.new$/, /^rename .*\.new/, /^sync folder/];
    const places = wanted.map((pattern) => steps.findIndex((step) => pattern.test(step)));
    expect(places.every((place, i) => place >= 0 && (i === 0 || place > places[i - 1]!))).toBe(true);
    // The copy is what survives now, whatever becomes of the pages that were never written.
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(served);
  });
});
