import type { Clock, Random } from '@dovecote/ground';
import type { Log, Topic } from '../log/log.js';
import type { Api } from './api.js';
import type { Connection } from './connection.js';
import type { Deadlines } from './deadlines.js';
import type { FetchMemory } from './fetch-memory.js';
import type { FetchSessions } from './fetch-sessions.js';
import type { GroupCoordinator } from './groups/coordinator.js';
import type { KafkaLimits } from './limits.js';
import type { Authenticator } from './login.js';
import type { Writer } from './writer.js';

/** How the server presents itself; what of it does not say more is Kafka's default. */
export interface KafkaSettings {
  readonly nodeId: number;
  /** Whether asking for metadata of a topic makes it (auto.create.topics.enable). */
  readonly createsTopics: boolean;
  /** num.partitions. */
  readonly partitionCount: number;
  /** There is one replica. A topic that asks for more is refused, or given one. */
  readonly replication: 'refuse' | 'one-for-all';
  /** group.initial.rebalance.delay.ms: how long the first member of a group waits for others. */
  readonly initialRebalanceDelayMs: number;
  /** offsets.topic.num.partitions; holds when the topic is made. */
  readonly offsetsPartitionCount: number;
  /** offsets.retention.minutes, in milliseconds. */
  readonly offsetsRetentionMs: number;
}

/** What every request may need of the server that it came to. Made by the server; nothing of it survives a crash but what the log keeps. */
export interface KafkaNode {
  readonly settings: KafkaSettings;
  readonly limits: KafkaLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly deadlines: Deadlines;
  readonly authenticator: Authenticator;
  readonly apis: ReadonlyMap<number, Api>;
  /** One for all: an answer is written in one go. */
  readonly writer: Writer;
  readonly groups: GroupCoordinator;
  readonly fetchSessions: FetchSessions;
  readonly fetchMemory: FetchMemory;
  /** Resolves to the topic, made if it was not there. Rejects as `createTopic` does. */
  autoCreate(name: string): Promise<Topic>;
  /** Takes a line for the operator. */
  report(line: string): void;
  /** Whether the connection must wait because too much is not committed; it is pumped when that is over. */
  waitForRoom(connection: Connection): boolean;
}
