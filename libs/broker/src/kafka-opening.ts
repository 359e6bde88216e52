import type { Ground } from '@dovecote/ground';
import { CodedError } from './errors.js';
import type { KafkaOptions, Durability } from './engine/options.js';
import type { KafkaSettings } from './kafka/kafka-node.js';
import type { Authenticator } from './kafka/login.js';
import { type KafkaConnectionSnapshot, KafkaServer } from './kafka/server.js';
import type { Limits } from './limits.js';
import { openLog, type OpenLog } from './log/open-log.js';

/** What the broker hands over; it has claimed the folder already. */
export interface KafkaOpening {
  readonly ground: Ground;
  /** The folder of the log; undefined keeps everything in memory. */
  readonly directory: string | undefined;
  readonly durability: Durability;
  readonly options: KafkaOptions;
  readonly authenticator: Authenticator;
  readonly limits: Limits;
  readonly report: (line: string) => void;
  /** The disk cannot be trusted any more: the broker ends. */
  readonly failed: (error: CodedError) => void;
}

/**
 * The partitioned log and its Kafka server, opened and closed together.
 *
 * Loaded only where somebody asks for it: a broker without Kafka pays nothing. What survives a crash is what the log keeps.
 */
export class OpenKafka {
  private constructor(
    private readonly log: OpenLog,
    private readonly server: KafkaServer,
  ) {}

  /** Rejects with a CodedError and leaves nothing open: `invalid-argument`, `port-unusable`, and what the log rejects with. */
  static async open(opening: KafkaOpening): Promise<OpenKafka> {
    const { ground, directory, durability, options, limits, report, failed } = opening;
    const { host = '127.0.0.1', port, advertised, topicConfigs } = options;
    if (advertised === undefined && (host === '0.0.0.0' || host === '::')) {
      throw new CodedError(
        'invalid-argument',
        `Kafka clients are told where to come, and nobody can come to ${host}: say under which address they reach this broker (\`advertised\`)`,
      );
    }
    const log = await openLog({
      ground,
      directory,
      durability,
      ...(topicConfigs === undefined ? {} : { configs: topicConfigs }),
      log: report,
      failed,
    });
    try {
      const { network, clock, random } = ground;
      const server = await KafkaServer.listen({
        network,
        clock,
        random,
        log,
        authenticator: opening.authenticator,
        needsLogin: options.login ?? !/^(127\.|::1$|localhost$)/.test(host),
        at: { host, port },
        settings: settingsOf(options),
        limits,
        report,
      });
      return new OpenKafka(log, server);
    } catch (error) {
      await log.abandon();
      throw error;
    }
  }

  get port(): number {
    return this.server.port;
  }

  get connections(): readonly KafkaConnectionSnapshot[] {
    return this.server.connections;
  }

  /** Answers what is being committed, then lets connections and files go. Rejects when the last commit failed. */
  async close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    await this.server.close({ drainMs });
    await this.log.close();
  }

  async abort(): Promise<void> {
    await this.server.abort();
    await this.log.abandon();
  }
}

/** Only what was said: the server knows the defaults. */
function settingsOf(options: KafkaOptions): Partial<KafkaSettings> {
  const names = [
    'advertised',
    'createsTopics',
    'partitionCount',
    'replication',
    'initialRebalanceDelayMs',
    'offsetsPartitionCount',
  ] as const;
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
}
