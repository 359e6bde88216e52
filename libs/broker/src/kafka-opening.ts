import type { Ground } from '@dovecote/ground';
import type { CodedError } from './errors.js';
import type { KafkaOptions, Durability } from './engine/options.js';
import type { KafkaSettings } from './kafka/kafka-node.js';
import type { Authenticator } from './kafka/login.js';
import { KafkaServer } from './kafka/server.js';
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
 * The partitioned log and the server that stands on it, opened and closed together. What survives a crash is what the log keeps.
 *
 * Loaded for the first who needs it, because a broker without topics should not pay for them.
 */
export class OpenKafka {
  private constructor(
    private readonly log: OpenLog,
    readonly server: KafkaServer,
  ) {}

  /** Rejects with the CodedError that the log rejects with, and leaves nothing open. */
  static async open(opening: KafkaOpening): Promise<OpenKafka> {
    const { ground, directory, durability, options, limits, report, failed } = opening;
    const { topicConfigs } = options;
    const log = await openLog({
      ground,
      directory,
      durability,
      ...(topicConfigs === undefined ? {} : { configs: topicConfigs }),
      log: report,
      failed,
    });
    try {
      const { clock, random } = ground;
      const server = await KafkaServer.open({
        clock,
        random,
        log,
        authenticator: opening.authenticator,
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
  const names = ['createsTopics', 'partitionCount', 'replication', 'initialRebalanceDelayMs', 'offsetsPartitionCount'] as const;
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
}
