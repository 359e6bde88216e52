/**
 * What the Kafka transport needs of a client library, and all it sees of one. Offsets are numbers: a partition would take centuries to pass 2^53.
 *
 * Answers carry Kafka's error codes as they came; a promise rejects where no answer came, or one that says nothing about a part (`KafkaFailure`).
 */
export interface KafkaClient {
  /** Reaches the cluster. */
  connect(): Promise<void>;
  /** The topics among `names` that exist, or all of them, as the cluster knows them now. */
  topics(names?: readonly string[]): Promise<ReadonlyMap<string, KafkaTopic>>;
  /** What holds for each topic under the names of `configs`: its own value, or the cluster's. Those that may not be asked for are left out. */
  topicConfigs(topics: readonly Pick<NewTopic, 'name' | 'configs'>[]): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>>;
  /** Those that exist already are left as they are. */
  createTopics(
    topics: readonly NewTopic[],
  ): Promise<readonly { readonly name: string; readonly code: number; readonly reason: string | undefined }[]>;
  /**
   * Resolves when the cluster has all of them, as safely as `acks` says; in order within a partition. Rejects when it is not known whether it has, and for
   * which: who sends again may send twice. One call at a time.
   */
  produce(records: readonly OutgoingRecord[]): Promise<void>;
  /** `fromMs`: -2 for the oldest offset there is, -1 for the next one to be written, else the first at or after that time (-1 when there is none). */
  offsets(topic: string, partitions: readonly number[], fromMs: number): Promise<ReadonlyMap<number, number>>;
  /** For one who reads: nobody else's waiting is in its way. */
  fetcher(): KafkaFetcher;
  /** The same for a member of a group. */
  group(name: string): KafkaGroupCalls;
  close(): Promise<void>;
}

export interface KafkaFetcher {
  /** Waits up to `waitMs` for something to read. One call at a time for each node. */
  fetch(node: number, positions: readonly FetchPosition[], waitMs: number): Promise<readonly FetchedPartition[]>;
  close(): Promise<void>;
}

/** What a member says to the coordinator of its group; who that is, is found out by itself. */
export interface KafkaGroupCalls {
  join(request: JoinRequest): Promise<JoinAnswer>;
  sync(request: SyncRequest): Promise<{ readonly code: number; readonly assignment: Buffer }>;
  heartbeat(member: GroupMembership): Promise<number>;
  leave(member: GroupMembership): Promise<void>;
  /** The code of the first partition that was refused, or 0. */
  commit(member: GroupMembership, offsets: readonly CommittedOffset[]): Promise<number>;
  /** Those that were never committed are left out. */
  committed(partitions: readonly TopicPartition[]): Promise<readonly CommittedOffset[]>;
  /** The next call asks anew who the coordinator is. */
  forgetCoordinator(): void;
  close(): Promise<void>;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface KafkaTopic {
  readonly id: string;
  /** By partition: its leader's node, -1 where there is none now. */
  readonly partitions: readonly { readonly leader: number; readonly leaderEpoch: number; readonly replicas: number }[];
}

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  /** -1: what the cluster thinks right. */
  readonly replicationFactor: number;
  readonly configs: Readonly<Record<string, string>>;
}

export interface OutgoingRecord {
  readonly topic: string;
  readonly key: Buffer | undefined;
  /** Without a value it is a tombstone. */
  readonly value: Buffer | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** By the key where it is not given, as Kafka's own client does; by turns where there is no key. */
  readonly partition?: number;
}

export interface FetchPosition extends TopicPartition {
  readonly topicId: string;
  readonly offset: number;
}

export interface FetchedPartition extends TopicPartition {
  readonly code: number;
  readonly highWatermark: number;
  /** Where the next fetch goes on, past what is no record. */
  readonly nextOffset: number;
  readonly records: readonly IncomingRecord[];
}

export interface IncomingRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<string, string>;
}

export interface GroupMembership {
  /** Empty, with generation -1, for who is no member: such a commit is taken while the group has none. */
  readonly memberId: string;
  readonly generation: number;
}

export interface JoinRequest {
  readonly memberId: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocol: string;
  readonly metadata: Buffer;
}

export interface JoinAnswer {
  readonly code: number;
  readonly generation: number;
  readonly memberId: string;
  readonly leader: string;
  /** For the leader alone. */
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[];
}

export interface SyncRequest extends GroupMembership {
  readonly protocol: string;
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[];
}

export interface CommittedOffset extends TopicPartition {
  readonly offset: number;
  readonly metadata: string;
}

/** Kafka's own numbers, as far as they are told apart here. */
export const kafkaCodes = {
  unknown: -1,
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  invalidTopic: 17,
  recordListTooLarge: 18,
  illegalGeneration: 22,
  inconsistentProtocol: 23,
  unknownMember: 25,
  rebalanceInProgress: 27,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  clusterAuthorizationFailed: 31,
  unsupportedVersion: 35,
  topicExists: 36,
  saslFailed: 58,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  memberIdRequired: 79,
  groupIsFull: 81,
  invalidRecord: 87,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
} as const;

/** No usable answer. `code` is Kafka's where it said one. */
export class KafkaFailure extends Error {
  override readonly name = 'KafkaFailure';
  constructor(
    message: string,
    readonly code: number | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
