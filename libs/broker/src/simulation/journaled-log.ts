import type { Ground } from '@dovecote/ground';
import { openStorage, type OpenStorage } from '../engine/open-storage.js';
import type { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import { openLog, type OpenLog } from '../log/open-log.js';

/** The partitioned log over the journal of a broker, as a broker opens and closes both, and nothing else of the broker. For tests. */
export interface JournaledLogOptions {
  readonly ground: Ground;
  /** The data folder; the log is in `log` in it. */
  readonly data: string;
  readonly durability: 'os' | 'fsync';
  readonly journalFileBytesMax?: number;
  readonly aloneBytesMin?: number;
  readonly configs?: Readonly<Record<string, string>>;
  readonly report?: (line: string) => void;
  readonly failed?: (error: CodedError) => void;
}

export class JournaledLog {
  private constructor(
    readonly log: OpenLog,
    readonly storage: OpenStorage,
  ) {}

  static async open(options: JournaledLogOptions): Promise<JournaledLog> {
    const {
      ground,
      data,
      durability,
      journalFileBytesMax = defaultLimits.journalFileBytesMax,
      aloneBytesMin,
      configs = {},
      report,
      failed = () => undefined,
    } = options;
    const log = report === undefined ? {} : { log: report };
    const alone = aloneBytesMin === undefined ? {} : { aloneBytesMin };
    const storage = await openStorage({ data, durability, ...log }, ground, { ...defaultLimits, journalFileBytesMax });
    const { journal, found } = storage;
    storage.onFailure(failed);
    try {
      const shared = { journal: journal!, found: found! };
      return new JournaledLog(
        await openLog({ ground, directory: `${data}/log`, durability, journal: shared, configs, failed, ...log, ...alone }),
        storage,
      );
    } catch (error) {
      await journal!.abandon();
      await storage.lock!.release();
      throw error;
    }
  }

  async close(): Promise<void> {
    try {
      await this.log.close();
      this.storage.hosts.appendClose();
      await this.storage.journal!.close();
    } finally {
      await this.storage.lock!.release();
    }
  }
}
