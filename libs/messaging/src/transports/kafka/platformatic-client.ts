/**
 * Kafka through @platformatic/kafka: its producer, its connections, and its requests one by one, because its own group consumer gives up partitions
 * before the handlers that run on them have ended. Keeps nothing but connections.
 *
 * The versions asked for are those of Kafka 3.1 and later. A broker answers a connection's requests one after the other, so whoever waits there has
 * connections of its own: a fetch waits for records, and a join for the other members. Two groups that joined over one connection, here and in another
 * process, could wait for each other.
 */
import type * as Library from '@platformatic/kafka';
import { MessagingError, reasonOf } from '../../errors.js';
import { recordsOf } from './fetched-records.js';
import type { KafkaAddress } from './kafka-address.js';
import {
  type CommittedOffset,
  type FetchPosition,
  type FetchedPartition,
  type GroupMembership,
  type JoinAnswer,
  type JoinRequest,
  type KafkaClient,
  KafkaFailure,
  type KafkaFetcher,
  type KafkaGroupCalls,
  type KafkaTopic,
  type NewTopic,
  type OutgoingRecord,
  type SyncRequest,
  type TopicPartition,
  kafkaCodes,
} from './kafka-client.js';

export interface PlatformaticSettings {
  readonly address: KafkaAddress;
  /** How the brokers name this client in their logs and quotas. */
  readonly clientId: string;
  readonly acks: 'all' | 'leader';
  readonly compression: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
}

type Address = KafkaAddress['brokers'][number];
type Connection = InstanceType<typeof Library.Connection>;
type Pool = InstanceType<typeof Library.ConnectionPool>;

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** A join waits until the other members have joined as well, which may take as long as they may take. */
const JOIN_TIMEOUT_MS = 330_000;
/** What one answer to a fetch may bring, of all partitions and of one. */
const FETCH_BYTES_MAX = 8 * 1024 * 1024;
const PARTITION_BYTES_MAX = 1024 * 1024;
const READ_COMMITTED = 1;
const GROUP_KEY = 0;
const TOPIC_RESOURCE = 2 as const;
const PROTOCOL_TYPE = 'consumer';

export class PlatformaticClient implements KafkaClient {
  readonly #calls: Pool;
  readonly #waiting = new Set<{ close(): Promise<void> }>();
  #producer: Library.Producer | undefined;
  /** By node, as the last answer about topics said. */
  #brokers: ReadonlyMap<number, Address> = new Map();
  #turn = 0;

  constructor(
    private readonly library: typeof Library,
    private readonly settings: PlatformaticSettings,
  ) {
    this.#calls = this.#pool(REQUEST_TIMEOUT_MS);
  }

  async connect(): Promise<void> {
    await this.#any();
  }

  async topics(names?: readonly string[]): Promise<ReadonlyMap<string, KafkaTopic>> {
    const { topics } = await this.#metadata(names);
    const found = new Map<string, KafkaTopic>();
    for (const { name, errorCode, topicId, isInternal, partitions } of topics) {
      if (
        name === null ||
        name === undefined ||
        isInternal ||
        (errorCode !== kafkaCodes.none && errorCode !== kafkaCodes.leaderNotAvailable)
      ) {
        if (errorCode === kafkaCodes.topicAuthorizationFailed) throw new KafkaFailure(`the topic ${name} may not be described`, errorCode);
        continue;
      }
      const shape = partitions.toSorted((one, other) => one.partitionIndex - other.partitionIndex);
      found.set(name, {
        id: topicId,
        partitions: shape.map(({ leaderId, leaderEpoch, replicaNodes }) => ({
          leader: leaderId,
          leaderEpoch,
          replicas: replicaNodes.length,
        })),
      });
    }
    return found;
  }

  async topicConfigs(topics: readonly Pick<NewTopic, 'name' | 'configs'>[]): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
    const asked = topics
      .map(({ name, configs }) => ({ resourceType: TOPIC_RESOURCE, resourceName: name, configurationKeys: Object.keys(configs) }))
      .filter(({ configurationKeys }) => configurationKeys.length > 0);
    if (asked.length === 0) return new Map();
    const { api } = this.library.describeConfigsV4;
    const { results } = await answered(api.async(await this.#any(), asked, false, false));
    const readable = results.filter(({ errorCode }) => errorCode === kafkaCodes.none);
    return new Map(
      readable.map(({ resourceName, configs }) => [resourceName, new Map(configs.map(({ name, value }) => [name, value ?? '']))]),
    );
  }

  async createTopics(topics: readonly NewTopic[]): Promise<readonly { name: string; code: number; reason: string | undefined }[]> {
    const { controllerId } = await this.#metadata([]);
    const controller = this.#brokers.get(controllerId);
    const connection = controller === undefined ? await this.#any() : await this.#calls.get(controller);
    const wanted = topics.map(({ name, partitions, replicationFactor, configs }) => ({
      name,
      numPartitions: partitions,
      replicationFactor,
      assignments: [],
      configs: Object.entries(configs).map(([config, value]) => ({ name: config, value })),
    }));
    const { api } = this.library.createTopicsV7;
    const answer = await answered(api.async(connection, wanted, REQUEST_TIMEOUT_MS, false));
    return answer.topics.map(({ name, errorCode, errorMessage }) => ({ name, code: errorCode, reason: errorMessage ?? undefined }));
  }

  async produce(records: readonly OutgoingRecord[]): Promise<void> {
    const producer = (this.#producer ??= this.#newProducer());
    try {
      await producer.send({ messages: records.map(toMessage) });
    } catch (error) {
      // Whether the cluster took it is not known, and the client would give the next batch the same sequence numbers: a broker that did take it would drop
      // that one as a repetition. A new producer has a new identity.
      this.#producer = undefined;
      producer.close().catch(() => undefined);
      throw failureOf(error);
    }
  }

  async offsets(topic: string, partitions: readonly number[], fromMs: number): Promise<ReadonlyMap<number, number>> {
    const { topics } = await this.#metadata([topic]);
    const found = new Map<number, number>();
    for (const [node, address] of this.#brokers) {
      const led =
        topics[0]?.partitions.filter(({ partitionIndex, leaderId }) => leaderId === node && partitions.includes(partitionIndex)) ?? [];
      if (led.length === 0) continue;
      const asked = led.map(({ partitionIndex }) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp: BigInt(fromMs) }));
      const { api } = this.library.listOffsetsV7;
      const connection = await this.#calls.get(address);
      const answer = await answered(api.async(connection, -1, READ_COMMITTED, [{ name: topic, partitions: asked }]));
      for (const { partitionIndex, errorCode, offset } of answer.topics[0]?.partitions ?? []) {
        if (errorCode !== kafkaCodes.none)
          throw new KafkaFailure(`the offsets of ${topic} ${partitionIndex} cannot be listed (${errorCode})`, errorCode);
        found.set(partitionIndex, Number(offset));
      }
    }
    const missing = partitions.find((partition) => !found.has(partition));
    if (missing !== undefined)
      throw new KafkaFailure(`the partition ${missing} of ${topic} has no leader now`, kafkaCodes.leaderNotAvailable);
    return found;
  }

  fetcher(): KafkaFetcher {
    return this.#opened(new PlatformaticFetcher(this.library, this.#pool(REQUEST_TIMEOUT_MS), (node) => this.#brokers.get(node)));
  }

  group(name: string): KafkaGroupCalls {
    return this.#opened(new PlatformaticGroup(this.library, name, this.#calls, this.#pool(JOIN_TIMEOUT_MS), () => this.#coordinator(name)));
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    await Promise.allSettled([producer?.close(), this.#calls.close(), ...[...this.#waiting].map((one) => one.close())]);
  }

  #opened<Part extends { close(): Promise<void> }>(part: Part): Part {
    this.#waiting.add(part);
    return part;
  }

  async #metadata(names?: readonly string[]) {
    const { api } = this.library.metadataV12;
    const answer = await answered(api.async(await this.#any(), names === undefined ? null : [...names], false, false));
    this.#brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    return answer;
  }

  async #coordinator(group: string): Promise<Address> {
    const { api } = this.library.findCoordinatorV4;
    const { coordinators } = await answered(api.async(await this.#any(), GROUP_KEY, [group]));
    const [coordinator] = coordinators;
    if (coordinator === undefined || coordinator.errorCode !== kafkaCodes.none) {
      throw new KafkaFailure(`the group ${group} has no coordinator now`, coordinator?.errorCode ?? kafkaCodes.coordinatorNotAvailable);
    }
    return { host: coordinator.host, port: coordinator.port };
  }

  async #any(): Promise<Connection> {
    try {
      return await this.#calls.getFirstAvailable([...this.settings.address.brokers]);
    } catch (error) {
      throw failureOf(error);
    }
  }

  #pool(requestTimeout: number): Pool {
    const { address, clientId } = this.settings;
    return new this.library.ConnectionPool(clientId, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout,
      maxInflights: 100,
      ...loginOf(address),
    });
  }

  /** Where Kafka's Java client would put it; what has no key goes round. */
  #partitionOf(key: Buffer | undefined): number {
    return (key === undefined ? this.#turn++ : this.library.murmur2(key)) & 0x7fffffff;
  }

  #newProducer(): Library.Producer {
    const { address, clientId, acks, compression } = this.settings;
    return new this.library.Producer({
      clientId,
      bootstrapBrokers: [...address.brokers],
      acks: acks === 'all' ? -1 : 1,
      idempotent: acks === 'all',
      compression,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retries: 2,
      retryDelay: 100,
      repeatOnStaleMetadata: true,
      partitioner: (_message, key) => this.#partitionOf(key),
      ...loginOf(address),
    });
  }
}

class PlatformaticFetcher implements KafkaFetcher {
  constructor(
    private readonly library: typeof Library,
    private readonly pool: Pool,
    private readonly find: (node: number) => Address | undefined,
  ) {}

  async fetch(node: number, positions: readonly FetchPosition[], waitMs: number): Promise<readonly FetchedPartition[]> {
    const broker = this.find(node);
    if (broker === undefined) throw new KafkaFailure(`the node ${node} is not in the cluster now`, kafkaCodes.notLeader);
    const topicNames = new Map(positions.map(({ topic, topicId }) => [topicId, topic]));
    const asked = [...topicNames.keys()].map((topicId) => ({
      topicId,
      partitions: positions
        .filter((position) => position.topicId === topicId)
        .map(({ partition, offset }) => ({
          partition,
          currentLeaderEpoch: -1,
          fetchOffset: BigInt(offset),
          lastFetchedEpoch: -1,
          partitionMaxBytes: PARTITION_BYTES_MAX,
        })),
    }));
    const { api } = this.library.fetchV13;
    const connection = await this.pool.get(broker);
    // Session 0 with epoch -1: no fetch session.
    const answer = await answered(api.async(connection, waitMs, 1, FETCH_BYTES_MAX, READ_COMMITTED, 0, -1, asked, [], ''));
    if (answer.errorCode !== kafkaCodes.none)
      throw new KafkaFailure(`the node ${node} refused to be read (${answer.errorCode})`, answer.errorCode);
    const offsetOf = new Map(positions.map(({ topicId, partition, offset }) => [`${topicId}/${partition}`, offset]));
    return answer.responses.flatMap(({ topicId, partitions }) =>
      partitions.map(({ partitionIndex, errorCode, highWatermark, abortedTransactions, records: batches = [] }) => ({
        topic: topicNames.get(topicId) ?? topicId,
        partition: partitionIndex,
        code: errorCode,
        highWatermark: Number(highWatermark),
        ...recordsOf(batches, offsetOf.get(`${topicId}/${partitionIndex}`) ?? 0, abortedTransactions),
      })),
    );
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}

class PlatformaticGroup implements KafkaGroupCalls {
  #coordinator: Promise<Address> | undefined;

  constructor(
    private readonly library: typeof Library,
    private readonly group: string,
    private readonly calls: Pool,
    private readonly joins: Pool,
    private readonly find: () => Promise<Address>,
  ) {}

  async join({ memberId, sessionTimeoutMs, rebalanceTimeoutMs, protocol, metadata }: JoinRequest): Promise<JoinAnswer> {
    const { api } = this.library.joinGroupV7;
    const protocols = [{ name: protocol, metadata }];
    const connection = await this.#connection(this.joins);
    const answer = await answered(
      api.async(connection, this.group, sessionTimeoutMs, rebalanceTimeoutMs, memberId, null, PROTOCOL_TYPE, protocols),
    );
    const members = answer.members.map((member) => ({ memberId: member.memberId, metadata: member.metadata ?? Buffer.alloc(0) }));
    return { code: answer.errorCode, generation: answer.generationId, memberId: answer.memberId ?? '', leader: answer.leader, members };
  }

  async sync({ generation, memberId, protocol, assignments }: SyncRequest) {
    const { api } = this.library.syncGroupV5;
    const connection = await this.#connection(this.joins);
    const answer = await answered(api.async(connection, this.group, generation, memberId, null, PROTOCOL_TYPE, protocol, [...assignments]));
    return { code: answer.errorCode, assignment: answer.assignment };
  }

  async heartbeat({ generation, memberId }: GroupMembership): Promise<number> {
    const { api } = this.library.heartbeatV4;
    return (await answered(api.async(await this.#connection(), this.group, generation, memberId, null))).errorCode;
  }

  async leave({ memberId }: GroupMembership): Promise<void> {
    const { api } = this.library.leaveGroupV4;
    await answered(api.async(await this.#connection(), this.group, [{ memberId, groupInstanceId: null }]));
  }

  async commit({ generation, memberId }: GroupMembership, offsets: readonly CommittedOffset[]): Promise<number> {
    const { api } = this.library.offsetCommitV8;
    const topics = byTopic(offsets, ({ partition, offset, metadata }) => ({
      partitionIndex: partition,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: -1,
      committedMetadata: metadata,
    }));
    const answer = await answered(api.async(await this.#connection(), this.group, generation, memberId, null, topics));
    return (
      answer.topics.flatMap(({ partitions }) => partitions).find(({ errorCode }) => errorCode !== kafkaCodes.none)?.errorCode ??
      kafkaCodes.none
    );
  }

  async committed(partitions: readonly TopicPartition[]): Promise<readonly CommittedOffset[]> {
    const { api } = this.library.offsetFetchV8;
    const topics = byTopic(partitions, ({ partition }) => partition).map(({ name, partitions: indexes }) => ({
      name,
      partitionIndexes: indexes,
    }));
    const answer = await answered(api.async(await this.#connection(), [{ groupId: this.group, memberEpoch: -1, topics }], true));
    const found = answer.groups[0];
    if (found === undefined || found.errorCode !== kafkaCodes.none) {
      throw new KafkaFailure(`the offsets of the group ${this.group} cannot be read (${found?.errorCode})`, found?.errorCode);
    }
    const offsets: CommittedOffset[] = [];
    for (const { name, partitions: parts } of found.topics) {
      for (const { partitionIndex, committedOffset, metadata, errorCode } of parts) {
        if (errorCode !== kafkaCodes.none)
          throw new KafkaFailure(`the offset of ${name} ${partitionIndex} cannot be read (${errorCode})`, errorCode);
        if (committedOffset >= 0n)
          offsets.push({ topic: name, partition: partitionIndex, offset: Number(committedOffset), metadata: metadata ?? '' });
      }
    }
    return offsets;
  }

  close(): Promise<void> {
    return this.joins.close();
  }

  forgetCoordinator(): void {
    this.#coordinator = undefined;
  }

  async #connection(pool = this.calls): Promise<Connection> {
    this.#coordinator ??= this.find();
    try {
      return await pool.get(await this.#coordinator);
    } catch (error) {
      this.#coordinator = undefined;
      throw failureOf(error);
    }
  }
}

/** An answer with error codes is an answer: each caller knows which of them it can live with. */
async function answered<Answer>(promise: Promise<Answer>): Promise<Answer> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && 'response' in error && typeof error.response === 'object' && error.response !== null)
      return error.response as Answer;
    throw failureOf(error);
  }
}

function failureOf(error: unknown): KafkaFailure | MessagingError {
  if (error instanceof KafkaFailure || error instanceof MessagingError) return error;
  return new KafkaFailure(lastReasonOf(error), codeOf(error), { cause: error });
}

/** Of errors within errors, what the last one says: the ones around it count how often it was tried. */
function lastReasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return lastReasonOf(error.errors.at(-1));
  return reasonOf(error);
}

/** The first code that says something: among those of the parts of a request there is one that only says that a part failed. */
function codeOf(error: unknown): number | undefined {
  if (error instanceof AggregateError) {
    const codes = (error.errors as unknown[]).map(codeOf).filter((code) => code !== undefined);
    if (codes.length > 0) return codes.find((code) => code !== kafkaCodes.unknown) ?? codes[0];
  }
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && error.code === 'PLT_KFK_AUTHENTICATION') return kafkaCodes.saslFailed;
  if ('code' in error && error.code === 'PLT_KFK_UNSUPPORTED_API') return kafkaCodes.unsupportedVersion;
  if ('apiCode' in error && typeof error.apiCode === 'number') return error.apiCode;
  return error.cause === undefined ? undefined : codeOf(error.cause);
}

function loginOf({ isTls, user, mechanism }: KafkaAddress) {
  return {
    ...(isTls ? { tls: {} } : {}),
    ...(user === undefined ? {} : { sasl: { mechanism, username: user.name, password: user.password } }),
  };
}

function toMessage({ topic, key, value, headers, partition }: OutgoingRecord): Library.MessageToProduce<Buffer, Buffer, Buffer, Buffer> {
  const bytes = new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]));
  return {
    topic,
    headers: bytes,
    ...(key === undefined ? {} : { key }),
    ...(value === undefined ? {} : { value }),
    ...(partition === undefined ? {} : { partition }),
  };
}

function byTopic<From extends TopicPartition, To>(
  parts: readonly From[],
  convert: (part: From) => To,
): { name: string; partitions: To[] }[] {
  const topics = new Map<string, To[]>();
  for (const part of parts) {
    const partitions = topics.get(part.topic);
    if (partitions === undefined) topics.set(part.topic, [convert(part)]);
    else partitions.push(convert(part));
  }
  return [...topics].map(([name, partitions]) => ({ name, partitions }));
}
