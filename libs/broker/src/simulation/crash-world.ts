/**
 * For tests: a broker with a door for Kafka clients on a simulated machine that may be killed or lose its power, and clients on its network that write requests from
 * the server's own tables. Runs only while it is driven.
 */
import type { Network, Socket } from '@dovecote/ground';
import { type SimulatedGround, simulatedGround, type SimulatedProcess } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { BrokerOptions } from '../engine/options.js';
import { produce } from '../kafka/apis/00-produce.js';
import { fetchRecords } from '../kafka/apis/01-fetch.js';
import { metadata } from '../kafka/apis/03-metadata.js';
import { offsetCommit } from '../kafka/apis/08-offset-commit.js';
import { offsetFetch } from '../kafka/apis/09-offset-fetch.js';
import { initProducerId } from '../kafka/apis/22-init-producer-id.js';
import { Cursor } from '../kafka/cursor.js';
import { frameOf, type Spoken } from '../kafka/kafka-world.js';
import { recordsOf } from '../kafka/record-batch.js';
import { RequestFrames } from '../kafka/request-frames.js';
import type { Read, Struct, Write } from '../kafka/schema.js';

/** A client on the simulated network. Whoever waits when the connection goes is refused. */
export class CrashClient {
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

  static async connect(network: Network, port: number): Promise<CrashClient> {
    return new CrashClient(await network.connect({ host: '127.0.0.1', port }));
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

  /** Goes away without a word. */
  leave(): void {
    this.socket.destroy();
    for (const { refuse } of this.waiting.splice(0)) refuse(new Error('the client left'));
  }

  async newProducer(): Promise<number> {
    const { errorCode, producerId } = await this.ask(initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 1 });
    if (errorCode !== 0) throw new Error(`refused with ${errorCode}`);
    return producerId;
  }

  async makeTopic(name: string): Promise<void> {
    const topics = [{ name, topicId: '' }];
    const answer = await this.ask(metadata, 4, {
      topics,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    if (answer.topics[0]!.errorCode !== 0) throw new Error(`refused with ${answer.topics[0]!.errorCode}`);
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

export class CrashWorld {
  readonly machine: SimulatedGround;
  process: SimulatedProcess;
  broker: Broker | undefined;

  constructor(seed: number) {
    this.machine = simulatedGround(seed);
    this.process = this.machine.startProcess();
  }

  async open(options: Partial<BrokerOptions> = {}): Promise<CrashClient> {
    const kafka = { port: 9092, offsetsPartitionCount: 2, partitionCount: 2 };
    const { ground } = this.process;
    this.broker = await this.machine.clock.drive(Broker.open({ data: '/data', ground, kafka, ...options }));
    return this.client();
  }

  /** Syncs take far longer than anything else from now on, until a crash: whoever does not wait for the disk answers before it. */
  slowSyncs(): void {
    const { disk } = this.process.ground;
    disk.pace = { ...disk.pace, syncMs: [500, 600] };
  }

  client(): Promise<CrashClient> {
    return this.machine.clock.drive(CrashClient.connect(this.machine.network, this.broker!.kafkaPort!));
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
