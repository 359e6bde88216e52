import type { Clock, Network, TlsTrust } from '@dovecote/ground';
import { metadata } from '../kafka/apis/03-metadata.js';
import { findCoordinator } from '../kafka/apis/10-find-coordinator.js';
import { errorCodes } from '../kafka/error-codes.js';
import type { Read, Struct, Write } from '../kafka/schema.js';
import { type Asked, KafkaConnection, type KafkaLogin } from './kafka-connection.js';
import { KafkaClientError } from './kafka-client-error.js';

export interface KafkaClientOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** Brokers to begin with; the first that answers says who else there is. */
  readonly bootstrap: readonly { readonly host: string; readonly port: number }[];
  readonly login?: KafkaLogin;
  readonly tls?: TlsTrust;
  readonly clientId?: string;
  /** How long an answer may take. Default: 30,000. */
  readonly timeoutMs?: number;
}

export interface TopicDescription {
  readonly name: string;
  readonly id: string;
  readonly isInternal: boolean;
  readonly partitions: readonly {
    readonly partition: number;
    readonly leader: number;
    readonly leaderEpoch: number;
    readonly replicas: readonly number[];
    readonly inSync: readonly number[];
  }[];
}

/**
 * Speaks to a Kafka cluster, ours or another: finds who leads a partition and who keeps a group, and asks them in the newest version
 * that both sides know. The tables of requests are those of the server. For tools: it repeats nothing that failed. Keeps nothing.
 */
export class KafkaClient {
  private readonly nodes = new Map<number, { readonly host: string; readonly port: number }>();
  private readonly connections = new Map<string, Promise<KafkaConnection>>();
  private controllerId = -1;
  clusterId = '';

  private constructor(
    private readonly options: KafkaClientOptions,
    private readonly first: KafkaConnection,
  ) {}

  /** Rejects with a KafkaClientError `unreachable` or `refused-login`. */
  static async connect(options: KafkaClientOptions): Promise<KafkaClient> {
    let failure: unknown;
    for (const address of options.bootstrap) {
      try {
        const client = new KafkaClient(options, await openTo(options, address));
        await client.topics([]);
        return client;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** All topics, or those named; one that is not there is left out. */
  async topics(
    names?: readonly string[],
    { mayCreate = false }: { readonly mayCreate?: boolean } = {},
  ): Promise<readonly TopicDescription[]> {
    const topics = names?.map((name) => ({ name, topicId: noTopicId })) ?? null;
    const nothingElse = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false };
    const answer = await this.first.ask(metadata, { topics, allowAutoTopicCreation: mayCreate, ...nothingElse });
    for (const { nodeId, host, port } of answer.brokers) this.nodes.set(nodeId, { host, port });
    this.controllerId = answer.controllerId;
    this.clusterId = answer.clusterId ?? '';
    const found = answer.topics.filter(
      ({ errorCode }) => errorCode !== errorCodes.unknownTopicOrPartition && errorCode !== leaderNotAvailable,
    );
    for (const { errorCode, name } of found) checkAnswer(errorCode, `the topic '${name}'`);
    return found.map(({ name, topicId, isInternal, partitions }) => ({
      name: name ?? '',
      id: topicId,
      isInternal,
      partitions: partitions
        .map((one) => ({
          partition: one.partitionIndex,
          leader: one.leaderId,
          leaderEpoch: one.leaderEpoch,
          replicas: one.replicaNodes,
          inSync: one.isrNodes,
        }))
        .sort((one, other) => one.partition - other.partition),
    }));
  }

  /** One topic, which must be there, or is made where `mayCreate`: that takes a moment with some clusters. */
  async topic(name: string, { mayCreate = false }: { readonly mayCreate?: boolean } = {}): Promise<TopicDescription> {
    let [topic] = await this.topics([name], { mayCreate });
    for (let attempt = 0; topic === undefined && mayCreate && attempt < 20; attempt++) {
      await new Promise<void>((resolve) => void this.options.clock.after(100, resolve));
      [topic] = await this.topics([name], { mayCreate });
    }
    if (topic === undefined) throw new KafkaClientError('refused', `There is no topic '${name}'`, {}, errorCodes.unknownTopicOrPartition);
    return topic;
  }

  get brokers(): readonly { readonly id: number; readonly host: string; readonly port: number }[] {
    return [...this.nodes].map(([id, address]) => ({ id, ...address }));
  }

  /** Asks whoever leads the cluster, for what changes it. */
  async askController<Q extends Struct, A extends Struct>(api: Asked<Q, A>, request: Write<Q>): Promise<Read<A>> {
    return (await this.node(this.controllerId)).ask(api, request);
  }

  async ask<Q extends Struct, A extends Struct>(node: number, api: Asked<Q, A>, request: Write<Q>, timeoutMs?: number): Promise<Read<A>> {
    return (await this.node(node)).ask(api, request, timeoutMs);
  }

  /** Says something that has no answer. */
  async tell<Q extends Struct, A extends Struct>(node: number, api: Asked<Q, A>, request: Write<Q>): Promise<void> {
    (await this.node(node)).tell(api, request);
  }

  /** The broker that keeps a group. */
  async coordinatorOf(group: string): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.first.ask(findCoordinator, { key: group, keyType: 0, coordinatorKeys: [group] });
      const [said = answer] = answer.coordinators;
      // A cluster that has kept no group yet makes room for them now.
      if (said.errorCode === errorCodes.coordinatorNotAvailable && attempt < 20) {
        await new Promise<void>((resolve) => void this.options.clock.after(250, resolve));
        continue;
      }
      checkAnswer(said.errorCode, `the group '${group}'`, said.errorMessage);
      this.nodes.set(said.nodeId, { host: said.host, port: said.port });
      return said.nodeId;
    }
  }

  async close(): Promise<void> {
    this.first.close();
    for (const connection of this.connections.values()) (await connection.catch(() => undefined))?.close();
  }

  /** A connection for each broker, made when it is first needed; another one where it was lost. */
  private async node(id: number): Promise<KafkaConnection> {
    const address = this.nodes.get(id);
    if (address === undefined) return this.first;
    const key = `${address.host}:${address.port}`;
    const there = this.connections.get(key);
    const opening = there ?? openTo(this.options, address);
    this.connections.set(key, opening); // before anything is waited for: who asks meanwhile shares it
    const connection = await opening.catch((error: unknown) => {
      this.connections.delete(key);
      throw error;
    });
    if (!connection.isClosed) return connection;
    if (this.connections.get(key) === opening) this.connections.delete(key);
    return this.node(id);
  }
}

/** Of a topic that is being made. */
const leaderNotAvailable = 5;
/** Asks by name. */
export const noTopicId = 'AAAAAAAAAAAAAAAAAAAAAA';
const nameOfCode = new Map<number, string>(Object.entries(errorCodes).map(([name, code]) => [code, name]));

/** Throws a KafkaClientError `refused` for every number but 0. */
export function checkAnswer(errorCode: number, about: string, errorMessage?: string | null): void {
  if (errorCode === 0) return;
  const name = (nameOfCode.get(errorCode) ?? `error ${errorCode}`).replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  const said = errorMessage === undefined || errorMessage === null || errorMessage === '' ? '' : `: ${errorMessage}`;
  throw new KafkaClientError('refused', `${about}: ${name}${said}`, {}, errorCode);
}

function openTo(options: KafkaClientOptions, address: { readonly host: string; readonly port: number }): Promise<KafkaConnection> {
  const { network, clock, login, tls, clientId = 'dovecote', timeoutMs = 30_000 } = options;
  return KafkaConnection.open({ network, clock, login, clientId, timeoutMs, to: { ...address, ...(tls === undefined ? {} : { tls }) } });
}
