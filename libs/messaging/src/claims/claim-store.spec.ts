import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { type Clock, realGround } from '@dovecote/ground';
import { type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import { brokenStore, storeDefects } from './broken-claim-stores.js';
import { type ClaimStoreCase, type ClaimStoreSubject, claimStoreContract } from './claim-store-contract.js';
import type { Claim, ClaimStore } from './claim-store.js';
import { FolderClaimStore } from './folder-claim-store.js';
import { MemoryClaimStore } from './memory-claim-store.js';

function inMemory(): ClaimStoreSubject & { readonly store: MemoryClaimStore } {
  const clock = new JumpingClock();
  return {
    store: new MemoryClaimStore(clock),
    now: () => clock.now(),
    pass: (ms) => clock.jump(ms),
    close: () => Promise.resolve(),
  };
}

interface FolderSubject extends ClaimStoreSubject {
  readonly folder: string;
}

function inFolder(): FolderSubject {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-claims-'));
  const clock = new JumpingClock();
  const open = (): ClaimStore => new FolderClaimStore(join(folder, 'claims'), { ...realGround(), clock });
  return {
    folder: join(folder, 'claims'),
    store: open(),
    now: () => clock.now(),
    pass: (ms) => clock.jump(ms),
    reopen: () => Promise.resolve(open()),
    close: () => Promise.resolve(rmSync(folder, { recursive: true })),
  };
}

/** On a disk that forgets what was not synced: reopening is a loss of power. */
function onSimulatedDisk(world: SimulatedGround): ClaimStoreSubject {
  let aheadMs = 0;
  const ahead = (clock: Clock): Clock => Object.create(clock, { now: { value: () => clock.now() + aheadMs } }) as Clock;
  const open = (): ClaimStore => {
    const { ground } = world.startProcess();
    return new FolderClaimStore('/claims', { ...ground, clock: ahead(ground.clock) });
  };
  return {
    store: open(),
    now: () => world.clock.now() + aheadMs,
    pass: (ms) => void (aheadMs += ms),
    reopen: () => {
      world.crash({ power: true });
      return Promise.resolve(open());
    },
    close: () => Promise.resolve(),
  };
}

describe('the claim store in memory', () => {
  keeps(claimStoreContract(() => Promise.resolve(inMemory())));

  it('has room for so much, and says so; what is past its time makes room', async () => {
    const clock = new JumpingClock();
    const store = new MemoryClaimStore(clock, 100);
    await store.put(Buffer.alloc(60), claim(clock.now() + 1_000));
    await expect(store.put(Buffer.alloc(60), claim(clock.now() + 1_000))).rejects.toThrow('has 60 of 100 bytes already');
    clock.jump(2_000);
    await expect(store.put(Buffer.alloc(60), claim(clock.now() + 1_000))).resolves.toContain('claim:memory/');
  });
});

describe('the claim store in a folder', () => {
  keeps(claimStoreContract(() => Promise.resolve(inFolder())));

  it('removes the files of claims past their time, and those that were never finished', async () => {
    const { store, folder, now, pass, close } = inFolder();
    await store.put(Buffer.from('short'), claim(now() + 1_000));
    writeFileSync(join(folder, `${now() + 1_000}-00000000-0190a0a0-0000-7000-8000-000000000000.part`), 'half');
    writeFileSync(join(folder, 'notes.txt'), "somebody's own");
    pass(7_200_000);
    const reference = await store.put(Buffer.from('long'), claim(now() + 1_000));
    expect(readdirSync(folder).sort()).toEqual([reference.replace('claim:folder/', ''), 'notes.txt'].sort());
    await close();
  });

  it('notices a payload that is not what was put', async () => {
    const { store, folder, now, close } = inFolder();
    const reference = await store.put(Buffer.from('whole'), claim(now() + 1_000));
    writeFileSync(join(folder, reference.replace('claim:folder/', '')), 'whore');
    await expect(store.get(reference)).rejects.toThrow('is damaged: its sum is not that in its name');
    await close();
  });
});

describe('the claim store on a disk that forgets what was not synced', () => {
  const names = claimStoreContract(() => Promise.resolve(inMemory())).map(({ name }) => name);

  it.each(names)('%s', async (wanted) => {
    const world = simulatedGround(7);
    const cases = claimStoreContract(() => Promise.resolve(onSimulatedDisk(world)));
    await expect(world.clock.drive(cases.find(({ name }) => name === wanted)!.run())).resolves.toBeUndefined();
  });

  it('has all that it promised after a loss of power at any moment', async () => {
    let cut = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const world = simulatedGround(seed);
      const promised = await world.clock.drive(cutShort(world));
      const store = new FolderClaimStore('/claims', world.startProcess().ground);
      for (const [reference, payload] of promised) {
        expect([seed, (await world.clock.drive(store.get(reference)))?.toString()]).toEqual([seed, payload]);
      }
      if (promised.size < PUTS) cut += 1;
    }
    expect(cut).toBeGreaterThan(100);
  });
});

const PUTS = 8;

/** Puts one after the other until the power goes; what was promised by then. */
async function cutShort(world: SimulatedGround): Promise<ReadonlyMap<string, string>> {
  const { ground } = world.startProcess();
  const store = new FolderClaimStore('/claims', ground);
  const promised = new Map<string, string>();
  const puts = async (): Promise<void> => {
    for (let index = 0; index < PUTS; index++) {
      const payload = `payload ${index} `.repeat(1 + index * 100);
      promised.set(await store.put(Buffer.from(payload), claim(world.clock.now() + 86_400_000)), payload);
    }
  };
  puts().catch(() => undefined);
  await world.clock.pause(world.random.below(60));
  world.crash({ power: true });
  return new Map(promised);
}

describe('the contract suite notices a claim store that', () => {
  it.each(Object.entries(storeDefects))('%s', async (_name, { defect, failing }) => {
    const guilty = claimStoreContract(() => Promise.resolve(brokenStore(inFolder(), defect))).filter(({ name }) => name === failing);
    expect(guilty).toHaveLength(1);
    await expect(guilty[0]!.run()).rejects.toThrow(/./);
  });

  it('has no defect: nothing', async () => {
    for (const { run } of claimStoreContract(() => Promise.resolve(brokenStore(inFolder(), () => ({})))))
      await expect(run()).resolves.toBeUndefined();
  });
});

function claim(keepUntilMs: number): Claim {
  return { messageId: 'm-1', type: 'orders.order-placed', contentType: 'application/json', keepUntilMs };
}

function keeps(cases: readonly ClaimStoreCase[]): void {
  it.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
}
