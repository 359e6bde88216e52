import type { Clock, Random, Socket, Timer } from '@dovecote/ground';
import type { Limits } from '../limits.js';
import type { Log, Topic } from '../log/log.js';
import { apis } from './apis.js';
import { Connection } from './connection.js';
import { Deadlines } from './deadlines.js';
import { FetchMemory } from './fetch-memory.js';
import { FetchSessions } from './fetch-sessions.js';
import { GroupCoordinator } from './groups/coordinator.js';
import type { KafkaNode, KafkaSettings } from './kafka-node.js';
import { type KafkaLimits, kafkaLimitsWith } from './limits.js';
import type { ListenerView } from './listener-view.js';
import { anonymous, type Authenticator } from './login.js';
import { Writer } from './writer.js';

export interface KafkaServerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly authenticator: Authenticator;
  readonly settings?: Partial<KafkaSettings>;
  readonly limits: Limits | KafkaLimits;
  /** Takes a line for the operator: refused logins, broken clients. */
  readonly report: (line: string) => void;
}

/** One connection, for inspection. */
export interface KafkaConnectionSnapshot {
  /** Address and port of the client. */
  readonly name: string;
  readonly user: string;
  /** What the client's library calls itself. */
  readonly software: string;
}

const defaultSettings: KafkaSettings = {
  nodeId: 1,
  createsTopics: true,
  partitionCount: 1,
  replication: 'refuse',
  // As the settings that Kafka is shipped with say for development, not the 3,000 of its code: a service that starts would have to wait that long for its first message.
  initialRebalanceDelayMs: 0,
  offsetsPartitionCount: 50,
  offsetsRetentionMs: 7 * 24 * 3_600_000,
};

const sweepEveryMs = 10_000;

/**
 * Answers Kafka clients and keeps their connections; the doors they come through are not its own. SUPPORT.md says what is answered to what.
 *
 * Nothing of it survives a crash but what the log keeps: records, topics, and the groups with their offsets in `__consumer_offsets`,
 * which are read back when the server opens.
 */
export class KafkaServer implements KafkaNode {
  readonly settings: KafkaSettings;
  readonly limits: KafkaLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly authenticator: Authenticator;
  readonly apis = apis;
  readonly writer = new Writer();
  readonly deadlines: Deadlines;
  readonly fetchSessions: FetchSessions;
  readonly fetchMemory: FetchMemory;
  readonly groups: GroupCoordinator;
  readonly report: (line: string) => void;
  private readonly open = new Set<Connection>();
  private readonly blocked = new Set<Connection>();
  private readonly creating = new Map<string, Promise<Topic>>();
  private sweeping: Timer;
  private isClosing = false;
  private isWaitingForRoom = false;
  private allGone: (() => void) | undefined;

  private constructor(private readonly options: KafkaServerOptions) {
    this.settings = { ...defaultSettings, ...options.settings };
    this.limits = 'pipelinedRequestsMax' in options.limits ? options.limits : kafkaLimitsWith(options.limits);
    this.clock = options.clock;
    this.random = options.random;
    this.log = options.log;
    this.authenticator = options.authenticator;
    this.report = options.report;
    this.deadlines = new Deadlines(options.clock);
    this.fetchSessions = new FetchSessions(options.random, this.limits.fetchSessionsMax);
    this.fetchMemory = new FetchMemory(this.limits.unsentFetchesBytesMax);
    this.groups = new GroupCoordinator(this);
    this.sweeping = this.clock.after(sweepEveryMs, () => this.sweep());
  }

  /** Reads the groups back. Rejects with a CodedError `data-damaged`. */
  static async open(options: KafkaServerOptions): Promise<KafkaServer> {
    const server = new KafkaServer(options);
    try {
      await server.groups.load();
    } catch (error) {
      server.stop();
      throw error;
    }
    return server;
  }

  get connections(): readonly KafkaConnectionSnapshot[] {
    return [...this.open].map(({ name, login, software }) => ({ name, user: login.user, software }));
  }

  /** A client has come in through a door. */
  accept(socket: Socket, door: ListenerView): void {
    if (this.isClosing || this.open.size >= this.limits.connectionsMax) {
      const why = `the limit of ${this.limits.connectionsMax} connections is reached`;
      if (!this.isClosing) this.report(`a connection from ${socket.remoteAddress} was closed: ${why}`);
      socket.destroy();
      return;
    }
    const gone = (connection: Connection): void => {
      this.open.delete(connection);
      this.blocked.delete(connection);
      this.fetchSessions.forget(connection);
      if (this.open.size === 0) this.allGone?.();
    };
    this.open.add(new Connection(socket, door, this, gone));
  }

  /** Cuts off who is logged in under this name, or (undefined) under any. */
  disconnect(user: string | undefined): void {
    for (const connection of [...this.open]) {
      const { login } = connection;
      if (login.user !== anonymous && (user === undefined || login.user === user)) connection.destroy();
    }
  }

  /** Takes no more connections and ends those there are; what is being committed is answered first. After `drainMs` they are cut. */
  close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    const drained = new Promise<void>((resolve) => this.log.afterCommit(() => resolve()));
    return this.end(drained, drainMs);
  }

  /** The broker cannot go on: Kafka's protocol has no word for it, so that the connections are cut. */
  abort(): Promise<void> {
    return this.end(Promise.resolve(), 0);
  }

  autoCreate(name: string): Promise<Topic> {
    const there = this.log.topic(name);
    if (there !== undefined) return Promise.resolve(there);
    let creating = this.creating.get(name);
    if (creating === undefined) {
      creating = this.log.createTopic(name, { partitionCount: this.settings.partitionCount }).finally(() => this.creating.delete(name));
      this.creating.set(name, creating);
    }
    return creating;
  }

  waitForRoom(connection: Connection): boolean {
    if (this.log.uncommittedBytes <= this.limits.uncommittedBytesMax) return false;
    this.blocked.add(connection);
    if (!this.isWaitingForRoom) {
      this.isWaitingForRoom = true;
      this.log.afterCommit(() => this.letGoOn());
    }
    return true;
  }

  private letGoOn(): void {
    this.isWaitingForRoom = false;
    const waiting = [...this.blocked];
    this.blocked.clear();
    for (const connection of waiting) connection.pump();
  }

  /** Closes what nobody uses: one look at everybody now and then instead of a timer for each. */
  private sweep(): void {
    const now = this.deadlines.nowMs;
    const { idleTimeoutMs, slowRequestTimeoutMs, loginTimeoutMs } = this.limits;
    for (const connection of this.open) {
      if (now - connection.insideSinceMs > slowRequestTimeoutMs) {
        this.report(`${connection.name}: a request did not come whole within ${slowRequestTimeoutMs} ms, closed`);
        connection.destroy();
      } else if (connection.isIdleSince(now - (connection.login.isDone ? idleTimeoutMs : loginTimeoutMs))) connection.destroy();
    }
    this.sweeping = this.clock.after(sweepEveryMs, () => this.sweep());
  }

  private stop(): void {
    this.isClosing = true;
    this.sweeping.cancel();
    this.groups.close();
    this.deadlines.close();
  }

  private async end(drained: Promise<void>, drainMs: number): Promise<void> {
    this.stop();
    if (this.open.size === 0) return;
    const gone = new Promise<void>((resolve) => (this.allGone = resolve));
    const cut = this.clock.after(drainMs, () => {
      for (const connection of this.open) connection.destroy();
    });
    await Promise.race([drained, gone]);
    for (const connection of this.open) connection.end();
    await gone;
    cut.cancel();
  }
}
