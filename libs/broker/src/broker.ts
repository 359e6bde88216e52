import {
  type Ground,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  NetworkError,
  realGround,
  serveHttp,
  type TlsIdentity,
} from '@dovecote/ground';

import { type AmqpAddress, AmqpServer, type AmqpServerOptions } from './amqp/server.js';
import type { BrokerLog } from './embedded/broker-log.js';
import { CodedError } from './errors.js';
import { defaultLimits, type Limits } from './limits.js';
import type { ManagementApi } from './management/api.js';
import { managementBounds } from './management/limits.js';
import { Administration } from './engine/administration.js';
import type { BrokerSession } from './engine/in-process.js';
import { InProcessSession } from './engine/in-process-session.js';
import type { BrokerOptions, Durability, KafkaOptions } from './engine/options.js';
import { openStorage, type OpenStorage } from './engine/open-storage.js';
import { type KafkaAddress, KafkaDoors } from './kafka-doors.js';
import type { LogParts, OpenKafka } from './kafka-opening.js';

/** What is in a broker at one moment. */
export interface BrokerSnapshot {
  readonly queues: readonly QueueSnapshot[];
  /** `heldCount`: messages that an x-delayed-message exchange holds until they are due. */
  readonly exchanges: readonly { readonly name: string; readonly type: string; readonly heldCount: number }[];
  readonly connectionCount: number;
  /** Bytes of memory taken by messages. */
  readonly messageBytes: number;
}

export interface QueueSnapshot {
  readonly name: string;
  readonly isDurable: boolean;
  /** Waiting for a consumer. */
  readonly messageCount: number;
  /** Delivered and not yet acknowledged. */
  readonly unacknowledgedCount: number;
  readonly consumerCount: number;
}

/**
 * A message broker in this process, with or without sockets.
 *
 * One broker owns its data folder until it is closed or its process ends; a second one is refused. When it opens, everything that
 * was confirmed before is there again (see `Durability`), however the last owner ended. When its disk fails it ends by itself:
 * what waits is failed, connections are told, and `ended` resolves to the reason.
 */
export class Broker {
  /** Resolves when the broker is closed, to the error if it ended by itself. */
  readonly ended: Promise<CodedError | undefined>;
  /** Users, permissions and virtual hosts. */
  readonly administration: Administration;
  private resolveEnded: (error: CodedError | undefined) => void = () => undefined;
  private readonly sessions = new Set<InProcessSession>();
  private amqp: AmqpServer | undefined;
  private kafkaDoors: KafkaDoors | undefined;
  private openingKafka: Promise<OpenKafka> | undefined;
  private kafka: OpenKafka | undefined;
  private management: Listener | undefined;
  private closing: Promise<void> | undefined;
  private failure: CodedError | undefined;

  private constructor(
    private readonly ground: Ground,
    private readonly storage: OpenStorage,
    private readonly options: BrokerOptions,
    private readonly limits: Limits,
    private readonly report: (line: string) => void,
  ) {
    this.ended = new Promise((resolve) => (this.resolveEnded = resolve));
    storage.onFailure((error) => this.fail(error));
    storage.hosts.access.onChange((change) => {
      if (change.what === 'virtual-host-deleted') this.leave(change.virtualHost);
    });
    this.administration = new Administration(storage.hosts, ground.random, limits);
  }

  /** Rejects with a CodedError: folder in use or unusable, disk full, data damaged, port taken. */
  static async open(options: BrokerOptions = {}): Promise<Broker> {
    const ground = options.ground ?? realGround();
    const limits: Limits = { ...defaultLimits, ...options.limits };
    const broker = new Broker(ground, await openStorage(options, ground, limits), options, limits, options.log ?? warn);
    try {
      if (options.amqp !== undefined || broker.door !== undefined) await broker.listen(options.amqp ?? []);
      if (options.kafka !== undefined) await broker.listenForKafka(options.kafka);
      else if (broker.storage.found?.isEmpty === false) await (await import('./kafka-opening.js')).settleLog(broker.logParts);
      if (options.management !== undefined) await broker.listenForManagement(options.management);
      return broker;
    } catch (error) {
      // Why it did not open is the reason to tell, and not that it could not end in order either.
      await broker.close().catch(() => undefined);
      throw error;
    }
  }

  get durability(): Durability {
    return this.storage.durability;
  }

  /** Where AMQP clients connect; undefined without a socket. */
  get amqpPort(): number | undefined {
    return this.amqp?.port;
  }

  /** Where Kafka clients connect; undefined without a socket. */
  get kafkaPort(): number | undefined {
    return this.kafkaDoors?.addresses[0]?.port;
  }

  /** All addresses where Kafka clients connect, in the order in which they were asked for, with those that they are told. */
  get kafkaAddresses(): readonly KafkaAddress[] {
    return this.kafkaDoors?.addresses ?? [];
  }

  /** All addresses where AMQP clients connect, in the order in which they were asked for. */
  get amqpAddresses(): readonly AmqpAddress[] {
    return this.amqp?.addresses ?? [];
  }

  /** Other certificates for those who connect over TLS from now on. Throws a CodedError where they are no good; the old ones stay then. */
  renewCertificates(tls: TlsIdentity): void {
    try {
      this.amqp?.renewCertificates(tls);
      this.kafkaDoors?.renewCertificates(tls);
    } catch (error) {
      if (error instanceof NetworkError) throw new CodedError('port-unusable', error.message, { cause: error });
      throw error;
    }
  }

  /** Where the management API answers; undefined without it. */
  get managementPort(): number | undefined {
    return this.management?.port;
  }

  /** A way to publish and consume without a socket, in the virtual host `/` or another. It may do everything there. */
  session({ virtualHost = '/' }: { readonly virtualHost?: string } = {}): BrokerSession {
    if (this.closing !== undefined) throw new CodedError('closed', 'The broker is closed: open another one');
    const session: InProcessSession = new InProcessSession(this.storage.hosts.find(virtualHost), this.report, () =>
      this.sessions.delete(session),
    );
    this.sessions.add(session);
    return session;
  }

  /**
   * The partitioned log, for this process: topics, records and groups without a socket. It may do everything. Opened now if nobody needed it
   * before; rejects with a CodedError: `closed`, `data-damaged`, `data-folder-unusable`, `disk-full`, `invalid-config`.
   */
  async log(): Promise<BrokerLog> {
    if (this.closing !== undefined) throw new CodedError('closed', 'The broker is closed: open another one');
    return (await this.openLog()).embedded;
  }

  /** What is in one virtual host; connections and memory are those of the broker. */
  inspect({ virtualHost = '/' }: { readonly virtualHost?: string } = {}): BrokerSnapshot {
    const host = this.storage.hosts.find(virtualHost);
    const queues = [...host.queues].map((queue) => ({
      name: queue.name,
      isDurable: queue.settings.durable,
      messageCount: queue.messageCount,
      unacknowledgedCount: queue.unacknowledgedCount,
      consumerCount: queue.consumerCount,
    }));
    const exchanges = host.exchanges.settings.map(({ name, type }) => ({ name, type, heldCount: host.heldCount(name) }));
    return {
      queues,
      exchanges,
      connectionCount: (this.amqp?.connectionCount ?? 0) + (this.kafka?.server.connections.length ?? 0),
      messageBytes: this.storage.arena.bytesInUse,
    };
  }

  /** Tells the clients, commits what they were promised, and lets the folder go. Rejects when the last commit failed. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  /** A virtual host is deleted under the sessions in it. */
  private leave(virtualHost: string): void {
    const error = new CodedError('closed', `The virtual host '${virtualHost}' is deleted: open a session in another one`);
    for (const session of [...this.sessions]) if (session.virtualHost === virtualHost) session.fail(error);
  }

  /** The disk cannot be trusted any more. */
  private fail(error: CodedError): void {
    if (this.closing !== undefined) return;
    this.failure = error;
    this.closing = this.abandon(error);
  }

  private get door(): AmqpServerOptions['door'] {
    const { data, door = false } = this.options;
    const { doors } = this.ground;
    if (!door || doors === undefined || data === undefined || this.durability === 'memory') return undefined;
    return { doors, folder: data, about: { durability: this.durability } };
  }

  private async listen(amqp: NonNullable<BrokerOptions['amqp']>): Promise<void> {
    const listeners = 'port' in amqp ? [amqp] : amqp;
    this.amqp = await AmqpServer.listen({
      network: this.ground.network,
      clock: this.ground.clock,
      random: this.ground.random,
      hosts: this.storage.hosts,
      at: listeners.map(({ host = '127.0.0.1', ...listener }) => ({ host, ...listener })),
      door: this.door,
      limits: this.limits,
      log: (line) => this.say(line),
    });
  }

  /** What is in the log already is looked after from now on; a new one waits for the first who needs it, because loading it takes its time. */
  private async listenForKafka(options: KafkaOptions): Promise<void> {
    const {
      listeners = options.port === undefined ? [] : [{ ...options, port: options.port }],
      mayBeTaken = false,
      topicConfigs,
    } = options;
    const directory = this.logDirectory;
    const isThere = directory !== undefined && (await this.ground.disk.exists(directory));
    if (isThere || topicConfigs !== undefined) await this.openLog();
    const server = async (): Promise<OpenKafka['server']> => (await this.openLog()).server;
    try {
      this.kafkaDoors = await KafkaDoors.open({ network: this.ground.network, listeners, waitingMax: this.limits.connectionsMax, server });
    } catch (error) {
      const isTaken = error instanceof CodedError && error.cause instanceof NetworkError && error.cause.code === 'port-taken';
      if (!mayBeTaken || !isTaken) throw error;
      this.say(`Kafka clients are not listened for: ${error.message}`);
    }
  }

  private get logDirectory(): string | undefined {
    return this.options.data === undefined || this.durability === 'memory' ? undefined : `${this.options.data}/log`;
  }

  /** Opened once; where that fails it is said, and tried again for the next who needs it. */
  private openLog(): Promise<OpenKafka> {
    this.openingKafka ??= this.openKafka().catch((error: unknown) => {
      this.openingKafka = undefined;
      this.say(`The log cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    });
    return this.openingKafka;
  }

  private async openKafka(): Promise<OpenKafka> {
    const { OpenKafka: kafka } = await import('./kafka-opening.js');
    const { access } = this.storage.hosts;
    this.kafka = await kafka.open({ ...this.logParts, options: this.options.kafka ?? {}, access, limits: this.limits });
    return this.kafka;
  }

  private get logParts(): LogParts {
    const { journal, found } = this.storage;
    return {
      ground: this.ground,
      directory: this.logDirectory,
      durability: this.durability,
      journal: journal === undefined || found === undefined ? undefined : { journal, found },
      report: (line: string) => this.say(line),
      failed: (error: CodedError) => this.fail(error),
    };
  }

  /** The API is loaded when it is asked for the first time. */
  private async listenForManagement({
    port,
    host = '127.0.0.1',
    mayBeTaken = false,
  }: NonNullable<BrokerOptions['management']>): Promise<void> {
    const { hosts } = this.storage;
    const openedAt = this.ground.clock.monotonicMs();
    const log = (line: string): void => this.say(line);
    const context = {
      hosts,
      administration: this.administration,
      connections: () => this.amqp?.connections ?? [],
      limits: this.limits,
      uptimeMs: () => this.ground.clock.monotonicMs() - openedAt,
      listeners: () => this.listeners,
      log,
    };
    let api: Promise<ManagementApi> | undefined;
    const answer = async (request: HttpRequest): Promise<HttpResponse> => {
      api ??= import('./management/api.js').then(({ ManagementApi: Api }) => new Api(context));
      return (await api).answer(request);
    };
    const failed = (error: unknown): void => log(`management: a request failed: ${error instanceof Error ? error.stack : String(error)}`);
    try {
      this.management = await serveHttp(this.ground.network, { host, port }, answer, managementBounds, failed);
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      if (!mayBeTaken || error.code !== 'port-taken') throw new CodedError('port-unusable', error.message, { cause: error });
      log(`The management API does not listen: ${error.message}`);
    }
  }

  private say(line: string): void {
    this.options.log?.(line);
  }

  private get listeners(): readonly { readonly protocol: string; readonly host: string; readonly port: number }[] {
    const { management, amqp } = this;
    const ofAmqp = (amqp?.addresses ?? []).map(({ host, port, isTls }) => ({ protocol: isTls ? 'amqp/ssl' : 'amqp', host, port }));
    const ofKafka = this.kafkaAddresses.map(({ host, port, isTls }) => ({ protocol: isTls ? 'kafka/ssl' : 'kafka', host, port }));
    return [
      ...ofAmqp,
      ...ofKafka,
      ...(management === undefined ? [] : [{ protocol: 'http', host: management.host, port: management.port }]),
    ];
  }

  private async shutDown(): Promise<void> {
    try {
      await this.kafkaDoors?.close();
      await this.openingKafka?.catch(() => undefined);
      await this.kafka?.close({ drainMs: 1000 });
      await this.management?.close();
      await this.amqp?.close({ drainMs: 1000 });
      for (const session of this.sessions) await session.close();
      this.storage.hosts.appendClose();
      await this.storage.journal?.close();
    } catch (error) {
      if (error instanceof CodedError) this.failure = error;
      throw error;
    } finally {
      await this.storage.lock?.release();
      this.resolveEnded(this.failure);
    }
  }

  private async abandon(error: CodedError): Promise<void> {
    for (const session of this.sessions) session.fail(error);
    await this.kafkaDoors?.close();
    await this.openingKafka?.catch(() => undefined);
    await this.kafka?.abort(error);
    await this.management?.close();
    await this.amqp?.abort(error.message);
    await this.storage.journal?.abandon();
    await this.storage.lock?.release();
    this.resolveEnded(error);
  }
}

/** What nobody has asked to hear of and somebody should. */
function warn(line: string): void {
  process.emitWarning(line, 'DovecoteWarning');
}
