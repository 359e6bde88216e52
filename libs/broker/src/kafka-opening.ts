import type { Ground } from '@dovecote/ground';
import { EmbeddedLog } from './embedded/embedded-log.js';
import { CodedError } from './errors.js';
import type { KafkaOptions, Durability } from './engine/options.js';
import type { KafkaSettings } from './kafka/kafka-node.js';
import { type KafkaLimits, kafkaLimitsWith } from './kafka/limits.js';
import { UserRights } from './kafka/rights.js';
import type { AccessControl } from './engine/access-control.js';
import { KafkaServer } from './kafka/server.js';
import type { Limits } from './limits.js';
import { openLog, type LogOptions, type OpenLog } from './log/open-log.js';

/** What the log needs of the broker, which has claimed the folder already. */
export interface LogParts {
  readonly ground: Ground;
  /** The folder of the log; undefined keeps everything in memory. */
  readonly directory: string | undefined;
  readonly durability: Durability;
  /** The journal of the broker, and what a recovery found in it. */
  readonly journal: LogOptions['journal'];
  readonly report: (line: string) => void;
  /** The disk cannot be trusted any more: the broker ends. */
  readonly failed: (error: CodedError) => void;
}

export interface KafkaOpening extends LogParts {
  readonly options: KafkaOptions;
  readonly access: AccessControl;
  readonly limits: Limits;
}

/**
 * The partitioned log and the server that stands on it, opened and closed together. What survives a crash is what the log keeps.
 *
 * Loaded for the first who needs it, because a broker without topics should not pay for them.
 */
export class OpenKafka {
  /** The same log and groups for this process. */
  readonly embedded: EmbeddedLog;
  private readonly stopWatchingAccess: () => void;

  private constructor(
    private readonly log: OpenLog,
    readonly server: KafkaServer,
    access: AccessControl,
  ) {
    this.embedded = new EmbeddedLog(server);
    this.stopWatchingAccess = access.onChange((change) => {
      if (change.what === 'user-deleted') server.disconnect(change.user);
      else if (change.what === 'virtual-host-deleted' && change.virtualHost === '/') server.disconnect(undefined);
    });
  }

  /** Rejects with the CodedError that the log rejects with, and leaves nothing open. */
  static async open(opening: KafkaOpening): Promise<OpenKafka> {
    const { options, access, limits, report } = opening;
    const { topicConfigs } = options;
    const kafkaLimits = limitsOf(options, limits);
    const log = await openLog({ ...opening, log: report, ...(topicConfigs === undefined ? {} : { configs: topicConfigs }) });
    try {
      const { clock, random } = opening.ground;
      const server = await KafkaServer.open({
        clock,
        random,
        log,
        authenticator: {
          login: (user, password, remoteAddress) => access.login(user, password, remoteAddress),
          knows: (user, remoteAddress) => access.knows(user, remoteAddress),
          rightsOf: (user) => new UserRights(access, user),
        },
        settings: settingsOf(options),
        limits: kafkaLimits,
        report,
      });
      return new OpenKafka(log, server, access);
    } catch (error) {
      await log.abandon();
      throw error;
    }
  }

  /** Answers what is being committed, then lets connections and files go. Rejects when the last commit failed. */
  async close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    this.stopWatchingAccess();
    await this.embedded.close({ drainMs });
    await this.server.close({ drainMs });
    await this.log.close();
  }

  async abort(error: CodedError): Promise<void> {
    this.stopWatchingAccess();
    this.embedded.abort(error);
    await this.server.abort();
    await this.log.abandon();
  }
}

/** Brings what the journal has of the log to its segments, where nobody wants the log itself: the journal can forget it then. */
export async function settleLog(parts: LogParts): Promise<void> {
  const log = await openLog({ ...parts, log: parts.report });
  await log.settled();
  await log.close();
}

/** Rejected before anything is opened: a group that nobody can join is no setting. */
function limitsOf({ sessionTimeoutMsMin, sessionTimeoutMsMax }: KafkaOptions, limits: Limits): KafkaLimits {
  const all = kafkaLimitsWith(limits, {
    ...(sessionTimeoutMsMin === undefined ? {} : { sessionTimeoutMsMin }),
    ...(sessionTimeoutMsMax === undefined ? {} : { sessionTimeoutMsMax }),
  });
  if (all.sessionTimeoutMsMin <= all.sessionTimeoutMsMax) return all;
  throw new CodedError(
    'invalid-config',
    `No member could join a group: the least session timeout is ${all.sessionTimeoutMsMin} ms and the largest ${all.sessionTimeoutMsMax} ms. ` +
      'Lower group.min.session.timeout.ms (sessionTimeoutMsMin) or raise group.max.session.timeout.ms (sessionTimeoutMsMax)',
  );
}

/** Only what was said: the server knows the defaults. */
function settingsOf(options: KafkaOptions): Partial<KafkaSettings> {
  const names = ['nodeId', 'createsTopics', 'partitionCount', 'replication', 'initialRebalanceDelayMs', 'offsetsPartitionCount'] as const;
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
}
