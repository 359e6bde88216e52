/** The whole broker with Kafka clients on a simulated machine: what was acknowledged, what was seen, and what of it is there after the end. */
import { describe, expect, it } from '@jest/globals';
import type { Network, Socket } from '@dovecote/ground';
import { SeededRandom, type SimulatedGround, simulatedGround, type SimulatedProcess } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { BrokerOptions, KafkaOptions } from '../engine/options.js';
import { encodeBatch } from '../log/records.js';
import { produce } from './apis/00-produce.js';
import { fetchRecords } from './apis/01-fetch.js';
import { metadata } from './apis/03-metadata.js';
import { offsetCommit } from './apis/08-offset-commit.js';
import { offsetFetch } from './apis/09-offset-fetch.js';
import { joinGroup } from './apis/11-join-group.js';
import { initProducerId } from './apis/22-init-producer-id.js';
import { Cursor } from './cursor.js';
import { frameOf, type Spoken } from './kafka-world.js';
import { recordsOf } from './record-batch.js';
import { RequestFrames } from './request-frames.js';
import type { Read, Struct, Write } from './schema.js';

/** A client on the simulated network. Whoever waits when the connection goes is refused. */
class Client {
  private readonly frames = new RequestFrames(() => 2 ** 30);
  private readonly waiting: { readonly answer: (frame: Buffer) => void; readonly refuse: (error: Error) => void }[] = [];
  private correlationId = 0;

  private constructor(private readonly socket: Socket) {
    socket.start({
      onData: (bytes) => {
        this.frames.push(bytes);
        for (let frame = this.frames.next(); frame !== undefined; frame = this.frames.next()) this.waiting.shift()!.answer(frame);
      },
      onDrain: () => undefined,
      onClose: () => {
        for (const { refuse } of this.waiting.splice(0)) refuse(new Error('closed'));
      },
    });
  }

  static async connect(network: Network, port: number): Promise<Client> {
    return new Client(await network.connect({ host: '127.0.0.1', port }));
  }

  ask<Q extends Struct, A extends Struct>(api: Spoken<Q, A>, version: number, request: Write<Q>): Promise<Read<A>> {
    this.socket.write(frameOf(api, version, request, ++this.correlationId));
    return new Promise((resolve, reject) => {
      this.waiting.push({
        refuse: reject,
        answer: (frame) => {
          const cursor = Cursor.over(frame);
          cursor.int32();
          if (api.codec.isFlexible(version)) cursor.skipTags();
          resolve(api.codec.readResponse(version)(cursor));
        },
      });
    });
  }

  async makeTopic(name: string): Promise<void> {
    const topics = [{ name, topicId: '' }];
    await this.ask(metadata, 4, { topics, includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false });
  }

  /** The offset that was acknowledged. Throws where it was refused. */
  async produce(topic: string, index: number, records: Buffer): Promise<number> {
    const topicData = [{ name: topic, topicId: '', partitionData: [{ index, records }] }];
    const answer = await this.ask(produce, 8, { transactionalId: null, acks: -1, timeoutMs: 1000, topicData });
    const [partition] = answer.responses[0]!.partitionResponses;
    if (partition!.errorCode !== 0) throw new Error(`refused with ${partition!.errorCode}`);
    return partition!.baseOffset;
  }

  async fetch(topic: string, partition: number, fetchOffset: number, maxWaitMs = 0): Promise<{ offset: number; value: string }[]> {
    const topics = [{ topic, topicId: '', partitions: [{ partition, fetchOffset, partitionMaxBytes: 1_000_000 }] }];
    const request = { maxWaitMs, minBytes: 1, topics, forgottenTopicsData: [], rackId: '' };
    const answer = await this.ask(fetchRecords, 11, request);
    const { errorCode, records } = answer.responses[0]!.partitions[0]!;
    if (errorCode !== 0) throw new Error(`refused with ${errorCode}`);
    return [...recordsOf(records ?? Buffer.alloc(0))]
      .filter(({ offset }) => offset >= fetchOffset)
      .map(({ offset, value }) => ({ offset, value: String(value) }));
  }

  async readAll(topic: string, partition: number): Promise<string[]> {
    const values: string[] = [];
    for (;;) {
      const read = await this.fetch(topic, partition, values.length);
      if (read.length === 0) return values;
      for (const { offset, value } of read) {
        if (offset !== values.length) throw new Error(`offset ${offset} stands where ${values.length} should`);
        values.push(value);
      }
    }
  }

  async commit(group: string, topic: string, offset: number): Promise<void> {
    const partitions = [{ partitionIndex: 0, committedOffset: offset, committedMetadata: 'm' }];
    const answer = await this.ask(offsetCommit, 7, { groupId: group, memberId: '', topics: [{ name: topic, partitions }] });
    if (answer.topics[0]!.partitions[0]!.errorCode !== 0) throw new Error('refused');
  }

  async committed(group: string, topic: string): Promise<number> {
    const answer = await this.ask(offsetFetch, 5, { groupId: group, topics: [{ name: topic, partitionIndexes: [0] }], groups: [] });
    return answer.topics[0]!.partitions[0]!.committedOffset;
  }
}

class World {
  readonly machine: SimulatedGround;
  process: SimulatedProcess;
  broker: Broker | undefined;

  constructor(seed: number) {
    this.machine = simulatedGround(seed);
    this.process = this.machine.startProcess();
  }

  async open(options: Partial<BrokerOptions> = {}): Promise<Client> {
    const kafka = { port: 9092, initialRebalanceDelayMs: 0, offsetsPartitionCount: 2, partitionCount: 2 };
    const { ground } = this.process;
    this.broker = await this.machine.clock.drive(Broker.open({ data: '/data', ground, kafka, ...options }));
    return this.client();
  }

  client(): Promise<Client> {
    return this.machine.clock.drive(Client.connect(this.machine.network, this.broker!.kafkaPort!));
  }

  drive<T>(work: Promise<T>): Promise<T> {
    return this.machine.clock.drive(work);
  }

  crash(power: boolean): void {
    this.machine.crash({ power });
    this.machine.network.cutAll();
    this.process = this.machine.startProcess();
  }
}

/** An idempotent producer that knows nothing but what it was told. */
async function produceUntilCut(client: Client, partition: number, acknowledged: string[], attempted: string[]): Promise<void> {
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
async function consumeUntilCut(client: Client, seen: string[], commits: number[]): Promise<void> {
  for (;;) {
    for (const { value } of await client.fetch('t', 0, seen.length, 20)) seen.push(value);
    await client.commit('g', 't', seen.length);
    commits.push(await client.committed('g', 't'));
  }
}

async function runUntilCut(seed: number, power: boolean): Promise<number> {
  const random = new SeededRandom(`crash ${seed}`);
  const world = new World(seed);
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
    const world = new World(1);
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

  it('keeps nothing under memory, listens where it is told to, and says what is missing', async () => {
    const world = new World(1);
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
    const world = new World(1);
    const protocols = [{ name: 'p', metadata: Buffer.alloc(0) }];
    const join = { groupId: 'g', rebalanceTimeoutMs: 1000, memberId: '', protocolType: 'consumer', protocols };
    const joined = async (sessionTimeoutMs: number, settings: Partial<KafkaOptions>): Promise<number> => {
      const client = await world.open({ kafka: { port: 9092, initialRebalanceDelayMs: 0, ...settings } });
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
