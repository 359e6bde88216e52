/** The files of a journal as they come and go, and a disk that is full. */
import { describe, expect, it } from '@jest/globals';
import { crc32, type DiskFile, type OpenMode } from '@dovecote/ground';
import { DiskFaults, FaultyDisk } from '@dovecote/ground/testing';
import { journalFileName } from './journal-file.js';
import { Owner, type OwnerOptions, World, refusal, batches, written, directory } from './journal-world.js';

const [first, second, third] = [1, 2, 3].map((number) => journalFileName(number)) as [string, string, string];

describe('files', () => {
  const options: OwnerOptions = { durability: 'fsync', fileBytesMax: 4096 };

  /** Keeps and forgets so much that the journal goes through several files; number 1 stays kept. */
  async function rolled(world: World, rounds: number): Promise<Owner> {
    const owner = await world.open(options);
    if (!owner.state.topics.has(1)) owner.define(1);
    for (let id = 1000; id < 1000 + rounds; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
      owner.forget(id);
    }
    owner.journal.seal();
    await world.settle();
    return owner;
  }

  it('go when nothing in them is needed, and only once a commit has said so', async () => {
    const world = new World(5);
    const owner = await rolled(world, 40);
    const files = await world.files();
    expect(files.length).toBeLessThan(5);
    expect(Number.parseInt(files[0]!, 10)).toBeGreaterThan(5);
    const removals = world.machine.trace.recent().flatMap((line, at, lines) => {
      if (!/remove .*\.log$/.test(line)) return [];
      return [lines.slice(0, at).findLastIndex((other) => /sync of .*\.log$/.test(other))];
    });
    expect(removals.length).toBeGreaterThan(0);
    expect(removals.every((synced) => synced >= 0)).toBe(true);
    world.crash(true);
    expect((await world.open(options)).state.toString()).toBe(owner.state.toString());
  });

  it('stay while an old record is kept, through any number of openings, and its topic is known', async () => {
    const world = new World(6);
    let owner = await world.open(options);
    owner.define(7);
    owner.keep(1, 7);
    owner.journal.seal();
    await world.settle();
    for (let round = 0; round < 12; round++) {
      world.crash(round % 2 === 0);
      owner = await rolled(world, 6);
      expect(owner.state.kept.get(1)).toBe(7);
    }
    owner.forget(1);
    owner.journal.seal();
    await world.settle();
    owner.keep(2, 7);
    owner.journal.seal();
    await world.settle();
    expect((await world.files()).length).toBeLessThan(4);
  });

  it('may be half removed by a crash: whichever of the unneeded are left are no obstacle', async () => {
    const world = new World(7);
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; id <= 16; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    const full = await world.contents();
    expect(full.length).toBeGreaterThan(3);
    for (let id = 1; id <= 15; id++) owner.forget(id);
    owner.journal.seal();
    await world.settle();
    owner.define(2);
    owner.journal.seal();
    await world.settle();
    const needed = await world.contents();
    const gone = full.filter(([name]) => !needed.some(([other]) => other === name));
    expect(gone.length).toBeGreaterThan(2);
    for (let some = 0; some < 1 << gone.length; some++) {
      const other = new World(`left ${some}`);
      await other.drive(other.machine.disk.makeDirectory(directory));
      const left = gone.filter((_, i) => (some & (1 << i)) !== 0);
      for (const [name, bytes] of [...left, ...needed]) await other.write(name, bytes);
      expect((await other.open(options)).state.toString()).toBe(owner.state.toString());
      await other.settle();
      const names = await other.files();
      expect(left.every(([name]) => !names.includes(name))).toBe(true);
    }
  });

  it.each(['first', 'middle', 'last'])('are missed when the %s needed one is not there', async (which) => {
    const world = new World(8);
    const owner = await world.open(options);
    owner.define(1);
    for (let id = 1; id <= 16; id++) {
      owner.keep(id, 1, 1000);
      owner.journal.seal();
      await world.settle();
    }
    const names = (await world.files()).filter((name) => name !== third);
    const name = which === 'first' ? first : which === 'middle' ? second : names.at(-2)!;
    await world.drive(world.machine.disk.remove(`${directory}/${name}`));
    world.crash(false);
    const error = await refusal(world.open(options));
    expect(error.code).toBe('data-damaged');
    expect(error.message).toContain(name);
    expect(error.message).toContain('is missing although it is still needed');
  });

  it('that are not ours are left alone, and a copy that was never finished is thrown away', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    await world.write('0000000000000009.log.new', Buffer.from('half a copy'));
    await world.write('notes.txt', Buffer.from('mine'));
    world.crash(false);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
    const names = await world.files();
    expect(names).toContain('notes.txt');
    expect(names).not.toContain('0000000000000009.log.new');
  });

  it('of a newer version are refused with a sentence', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const bytes = await world.read(first);
    bytes.writeUInt32BE(2, 8);
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 24)), 24);
    await world.write(first, bytes);
    world.crash(false);
    const error = await refusal(world.open({ durability: 'fsync' }));
    expect(error.code).toBe('data-folder-unusable');
    expect(error.message).toContain('newer version');
  });

  it('are not half opened: a refused opening leaves no file open', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    const whole = await world.read(first);
    whole[batches(whole)[0]!.start + 40]! ^= 1;
    await world.write(first, whole);
    let openFiles = 0;
    class CountingDisk extends FaultyDisk {
      override async open(path: string, mode: OpenMode): Promise<DiskFile> {
        const file = await super.open(path, mode);
        openFiles++;
        const close = file.close.bind(file);
        return Object.assign(file, { close: () => close().then(() => void openFiles--) });
      }
    }
    const { disk, clock, random } = world.process.ground;
    const counting = new CountingDisk(disk, new DiskFaults(), random);
    await refusal(world.drive(Owner.open({ disk: counting, clock, random }, { durability: 'fsync' })));
    expect(openFiles).toBe(0);
  });
});

describe('a full disk', () => {
  it('stops commits until there is space, tells, and loses nothing', async () => {
    const { world } = await written(1, { durability: 'fsync' });
    world.crash(false);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fillUpAfter(100);
    owner.keep(50, 1, 4000);
    owner.journal.seal();
    await world.machine.clock.advance(5000);
    owner.keep(51, 1, 4000);
    owner.journal.seal();
    await world.machine.clock.advance(5000);
    expect(owner.committedCount).toBe(0);
    expect(owner.failure).toBeUndefined();
    expect(owner.fullReasons.at(-1)).toContain('full');
    world.machine.faults.freeUp();
    await world.machine.clock.advance(1100);
    await world.settle();
    expect(owner.committedCount).toBe(2);
    expect(owner.fullReasons.at(-1)).toBeUndefined();
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
  });

  it('at the moment at which a file is to be begun only makes the old one longer', async () => {
    const world = new World(11);
    const owner = await world.open({ durability: 'fsync', fileBytesMax: 4096 });
    owner.define(1);
    const { faults } = world.machine;
    for (let id = 1; id <= 12; id++) {
      owner.keep(id, 1, 600);
      owner.journal.seal();
      if (id === 3) faults.fillUpAfter(700); // room for the record, none for the head of a file
      await world.machine.clock.advance(900);
      if (id === 3) faults.freeUp();
      await world.machine.clock.advance(1100);
    }
    expect(owner.failure).toBeUndefined();
    expect(owner.committedCount).toBe(13);
    expect((await world.files()).length).toBeGreaterThan(1);
    world.crash(true);
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(owner.state.toString());
  });

  it('at the opening is an error of the disk, and the folder opens when there is space', async () => {
    const { world, states } = await written(2, { durability: 'fsync' });
    world.crash(false);
    world.machine.faults.fillUpAfter(10);
    await expect(world.open({ durability: 'fsync' })).rejects.toMatchObject({ code: 'full' });
    world.machine.faults.freeUp();
    expect((await world.open({ durability: 'fsync' })).state.toString()).toBe(states[2]);
  });

  it('at the end is a refusal to close well, not a silence', async () => {
    const world = new World(12);
    const owner = await world.open({ durability: 'fsync' });
    await world.settle();
    world.machine.faults.fillUpAfter(10);
    owner.define(1);
    await expect(world.drive(owner.journal.close())).rejects.toMatchObject({ code: 'storage-failed' });
  });
});
