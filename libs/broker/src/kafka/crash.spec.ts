/** The whole broker with Kafka clients on a simulated machine: what was acknowledged, what was seen, and what of it is there after the end. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { KafkaOptions } from '../engine/options.js';
import type { CodedError } from '../errors.js';
import { encodeBatch } from '../log/records.js';
import { joinGroup } from './apis/11-join-group.js';
import { initProducerId } from './apis/22-init-producer-id.js';
import { type CrashClient, CrashWorld } from '../simulation/crash-world.js';

/** An idempotent producer that knows nothing but what it was told. */
async function produceUntilCut(client: CrashClient, partition: number, acknowledged: string[], attempted: string[]): Promise<void> {
  const { producerId } = await client.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
  for (let sequence = 0; sequence < 10_000; sequence++) {
    const value = `${producerId}/${partition}/${sequence}`;
    attempted.push(value);
    const records = encodeBatch([{ key: null, value: Buffer.from(value), timestamp: -1 }], {
      producerId,
      producerEpoch: 0,
      baseSequence: sequence,
    });
    // Sent twice now and then, as after an answer that was lost: it must be there once.
    if (sequence % 5 === 4) void client.produce('t', partition, Buffer.from(records)).catch(() => undefined);
    await client.produce('t', partition, records);
    acknowledged.push(value);
  }
}

/** Sees what it can, and says how far it has come. */
async function consumeUntilCut(client: CrashClient, seen: string[], commits: number[]): Promise<void> {
  for (;;) {
    for (const { value } of await client.fetch('t', 0, seen.length, 20)) seen.push(value);
    await client.commit('g', 't', seen.length);
    commits.push(await client.committed('g', 't'));
  }
}

async function runUntilCut(seed: number, power: boolean): Promise<number> {
  const random = new SeededRandom(`crash ${seed}`);
  const world = new CrashWorld(seed);
  const client = await world.open();
  await world.drive(client.makeTopic('t'));
  const acknowledged: string[][] = [[], []];
  const attempted: string[][] = [[], []];
  const seen: string[] = [];
  const commits: number[] = [];
  const ends: Promise<void>[] = [];
  for (const partition of [0, 1, 0]) {
    ends.push(produceUntilCut(await world.client(), partition, acknowledged[partition]!, attempted[partition]!).catch(() => undefined));
  }
  ends.push(consumeUntilCut(await world.client(), seen, commits).catch(() => undefined));
  for (let life = 0; life < 3; life++) {
    await world.machine.clock.advance(10 + random.below(200));
    world.crash(power);
    await world.drive(Promise.all(ends.splice(0)));
    const again = await world.open();
    const kept = [await world.drive(again.readAll('t', 0)), await world.drive(again.readAll('t', 1))];
    for (const partition of [0, 1]) {
      const values = kept[partition]!;
      expect(new Set(values).size).toBe(values.length);
      expect(values).toEqual(expect.arrayContaining(acknowledged[partition]!));
      for (const producer of new Set(values.map(producerOf))) {
        const own = values.filter((value) => producerOf(value) === producer);
        expect(own).toEqual(attempted[partition]!.filter((value) => producerOf(value) === producer).slice(0, own.length));
      }
    }
    expect(kept[0]!.slice(0, seen.length)).toEqual(seen);
    expect(await world.drive(again.committed('g', 't'))).toBeGreaterThanOrEqual(commits.at(-1) ?? -1);
    ends.push(produceUntilCut(await world.client(), 0, acknowledged[0]!, attempted[0]!).catch(() => undefined));
    ends.push(consumeUntilCut(await world.client(), seen, commits).catch(() => undefined));
  }
  world.crash(power);
  await world.drive(Promise.all(ends));
  return acknowledged[0]!.length + acknowledged[1]!.length;
}

const producerOf = (value: string): string => value.split('/')[0]!;

describe('a broker with Kafka clients', () => {
  it('loses nothing that was acknowledged, repeats nothing and takes back nothing that was seen, through losses of power by seed', async () => {
    let count = 0;
    for (let seed = 1; seed <= 6; seed++) count += await runUntilCut(seed, true);
    expect(count).toBeGreaterThan(250);
  });

  it('nor when it is killed', async () => {
    let count = 0;
    for (let seed = 101; seed <= 103; seed++) count += await runUntilCut(seed, false);
    expect(count).toBeGreaterThan(100);
  });

  it('is closed in order, opened again, and refuses the folder to a second one meanwhile', async () => {
    const world = new CrashWorld(1);
    const client = await world.open();
    await world.drive(client.makeTopic('t'));
    expect(await world.drive(client.produce('t', 0, encodeBatch([{ key: null, value: Buffer.from('kept'), timestamp: -1 }])))).toBe(0);
    await expect(world.drive(Broker.open({ data: '/data', ground: world.process.ground, kafka: { port: 0 } }))).rejects.toMatchObject({
      code: 'data-folder-locked',
    });
    await world.drive(world.broker!.close());
    const again = await world.open();
    expect(await world.drive(again.readAll('t', 0))).toEqual(['kept']);
    await world.drive(world.broker!.close());
  });

  it('says that the disk is full where it does not open for that, wherever it was met, and opens when there is space', async () => {
    const world = new CrashWorld(1);
    const client = await world.open();
    await world.drive(client.makeTopic('t'));
    await world.drive(client.produce('t', 0, encodeBatch([{ key: null, value: Buffer.from('kept'), timestamp: -1 }])));
    const codes = new Set<string>();
    for (let bytes = 0; bytes < 600; bytes += 20) {
      world.crash(true);
      world.machine.faults.fillUpAfter(bytes);
      await world.open().catch(({ code }: CodedError) => codes.add(code));
      world.process.kill();
    }
    expect([...codes]).toEqual(['disk-full']);
    world.crash(true);
    world.machine.faults.freeUp();
    expect(await world.drive((await world.open()).readAll('t', 0))).toEqual(['kept']);
  });

  it.each(['write', 'sync', 'syncDirectory'] as const)(
    'makes its log for the next client where a %s failed for the first',
    async (operation) => {
      const world = new CrashWorld(1);
      const first = await world.open();
      world.machine.faults.fail(operation, { path: '/data/log' });
      await expect(world.drive(first.makeTopic('t'))).rejects.toThrow('closed');
      const second = await world.client();
      await world.drive(second.makeTopic('t'));
      await world.drive(second.produce('t', 0, encodeBatch([{ key: null, value: Buffer.from('kept'), timestamp: -1 }])));
      world.crash(true);
      expect(await world.drive((await world.open()).readAll('t', 0))).toEqual(['kept']);
    },
  );

  it('keeps nothing under memory, listens where it is told to, and says what is missing', async () => {
    const world = new CrashWorld(1);
    const { ground } = world.process;
    const broker = await world.drive(Broker.open({ ground, kafka: { port: 0 } }));
    expect(broker.kafkaPort).toBeGreaterThan(0);
    await world.drive(broker.close());
    expect(await world.drive(ground.disk.exists('/log'))).toBe(false);
    await expect(world.drive(Broker.open({ ground, kafka: { port: 0, host: '0.0.0.0' } }))).rejects.toThrow('nobody can come to 0.0.0.0');
    const advertised = { host: 'pigeons.example', port: 9092 };
    const open = await world.drive(Broker.open({ ground, kafka: { port: 9093, host: '0.0.0.0', advertised } }));
    expect(open.inspect().connectionCount).toBe(0);
    const log: string[] = [];
    const kafka = { port: 9093, mayBeTaken: true };
    const without = await world.drive(Broker.open({ ground, kafka, log: (line) => log.push(line) }));
    expect([without.kafkaPort, log]).toEqual([undefined, [expect.stringMatching(/^Kafka clients are not listened for: .*9093/)]]);
    await world.drive(without.close());
    await world.drive(open.close());
  });

  it('takes the session timeouts that it is told to, and says where no member could join', async () => {
    const world = new CrashWorld(1);
    const protocols = [{ name: 'p', metadata: Buffer.alloc(0) }];
    const join = { groupId: 'g', rebalanceTimeoutMs: 1000, memberId: '', protocolType: 'consumer', protocols };
    const joined = async (sessionTimeoutMs: number, settings: Partial<KafkaOptions>): Promise<number> => {
      const client = await world.open({ kafka: { port: 9092, ...settings } });
      const { errorCode } = await world.drive(client.ask(joinGroup, 3, { ...join, sessionTimeoutMs }));
      await world.drive(world.broker!.close());
      return errorCode;
    };
    expect(await joined(1000, {})).toBe(26);
    expect(await joined(1000, { sessionTimeoutMsMin: 1000 })).toBe(0);
    expect(await joined(20_000, { sessionTimeoutMsMax: 10_000 })).toBe(26);
    const unusable = world.open({ kafka: { port: 9092, sessionTimeoutMsMin: 2_000_000 } });
    await expect(unusable).rejects.toThrow(/least session timeout is 2000000 ms and the largest 1800000 ms/);
  });
});
