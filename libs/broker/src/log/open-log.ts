import type { Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Log } from './log.js';

/** How a log is opened. The engine does it; a test may. */
export interface LogOptions {
  readonly ground: Ground;
  /** The log's own folder, which nobody else touches; undefined keeps everything in memory. */
  readonly directory: string | undefined;
  readonly durability: 'memory' | 'os' | 'fsync';
  /** Broker-wide defaults of topic configs, under the topic's names. */
  readonly configs?: Readonly<Record<string, string>>;
  /** Takes a line for the operator now and then. */
  readonly log?: (line: string) => void;
  /** Called once when the disk failed for good: everything waiting was failed before. */
  readonly failed?: (error: CodedError) => void;
}

export interface OpenLog extends Log {
  /** Commits what was appended, writes what makes the next opening quick, and lets the files go. */
  close(): Promise<void>;
  /** Lets go at once, as a crash would. */
  abandon(): Promise<void>;
}

/** Recovers what is in the folder. Rejects with a CodedError: `data-damaged`, `data-folder-unusable`, `disk-full`, `invalid-config`. */
export async function openLog(_options: LogOptions): Promise<OpenLog> {
  throw new CodedError('not-implemented', 'The partitioned log is not built yet');
}
