import { type DiskLock, type Ground, realGround } from '@dovecote/ground';
import type { ExchangeType } from '../queues/exchange-type.js';
import { FoundBatches } from '../log/journaled-batches.js';
import { bytesOfLog, type InspectedLog, inspectLog, type InspectedTopic } from '../log/log-inspection.js';
import { type InspectedFile, isDenied, JournalInspection } from '../storage/inspection.js';
import { folderError } from '../storage/recovery.js';
import { CodedError } from '../errors.js';
import { Arena } from '../storage/arena.js';
import { JournalReader } from './journal-reader.js';

/**
 * `dovecote check`: what a data folder holds, and what is wrong with it, without a broker and without changing a byte.
 *
 * Journal and log are read by the code of recovery, so both judge alike: `opens` is false exactly where a broker with Kafka clients would
 * refuse. Beyond that every record and every batch is looked at, and the journal read once more to tell which bytes still live. Memory: a
 * piece of a file, a bit for each message that waits, and what the journal has of the log.
 */
export interface FolderCheck {
  readonly folder: string;
  /** Whether a broker would open it now. */
  readonly opens: boolean;
  /** The last owner closed it in order. */
  readonly wasClosed: boolean;
  /** What is wrong, the first `problemsMax` of `problemCount`. Empty for a whole folder. */
  readonly problems: readonly FolderProblem[];
  readonly problemCount: number;
  /** What is worth knowing and no fault: a torn tail, leftovers. */
  readonly notes: readonly string[];
  readonly files: readonly FileCheck[];
  /** By name, with the durable ones alone: nothing else is in a folder. */
  readonly queues: readonly QueueCheck[];
  /** Topics of the partitioned log; empty where it does not open. */
  readonly topics: readonly InspectedTopic[];
  readonly bytes: number;
}

export interface FolderProblem {
  /** Relative to the folder; undefined where it is no single file. */
  readonly file: string | undefined;
  /** Where in the file, in bytes from its beginning. */
  readonly byte: number | undefined;
  readonly what: string;
  readonly advice: string;
}

export interface FileCheck extends Omit<InspectedFile, 'path'> {
  /** Relative to the folder. */
  readonly file: string;
  readonly records: number;
  /** Bytes of message records in it that are still needed; the others are dead. Undefined where that could not be told. */
  readonly livingBytes: number | undefined;
}

export interface QueueCheck {
  readonly name: string;
  /** Absent for `/`. */
  readonly virtualHost?: string;
  /** Persistent messages that are there after an opening; those that were out with a consumer count too. */
  readonly messages: number;
}

export interface CheckFolderOptions {
  /** Exchange types of one's own, as the broker of this folder is given them. */
  readonly exchangeTypes?: readonly ExchangeType[];
  /** The machine. Default: the real one. */
  readonly ground?: Ground;
  /** Takes a line a second: how far the reading is, how fast, how long it will take. */
  readonly progress?: (line: string) => void;
}

export const problemsMax = 100;
const progressEveryMs = 1000;
const oneMiB = 1_048_576;

/** Rejects with a CodedError where it cannot be checked: no such folder, or a broker has it open. */
export async function checkFolder(folder: string, options: CheckFolderOptions = {}): Promise<FolderCheck> {
  const ground = options.ground ?? realGround();
  const { disk } = ground;
  if (!(await disk.exists(folder))) throw new CodedError('data-folder-unusable', `There is no folder ${folder}: nothing to check`);
  const notes: string[] = [];
  let lock: DiskLock | undefined;
  try {
    lock = await disk.lock(folder);
  } catch (error) {
    if (!isDenied(error)) throw folderError(folder, error);
    notes.push('The folder could not be locked, because it cannot be written to: nobody keeps a broker from changing it meanwhile');
  }
  try {
    return await new FolderReading(folder, ground, options, notes).run();
  } catch (error) {
    throw folderError(folder, error);
  } finally {
    await lock?.release();
  }
}

class FolderReading {
  private readonly problems: FolderProblem[] = [];
  private problemCount = 0;
  private readonly reader: JournalReader;
  private readonly inspection: JournalInspection;
  private readonly found: FoundBatches;
  private bytesRead = 0;
  private bytesToRead = 0;
  private toldMs: number;
  private readonly beganMs: number;

  constructor(
    private readonly folder: string,
    private readonly ground: Ground,
    private readonly options: CheckFolderOptions,
    private readonly notes: string[],
  ) {
    this.beganMs = this.toldMs = ground.clock.monotonicMs();
    const arena = new Arena();
    this.found = new FoundBatches(arena);
    this.reader = new JournalReader(ground, arena, options.exchangeTypes ?? [], this.found, ({ path, byte }, what, advice) =>
      this.note({ file: this.relative(path), byte, what, advice }),
    );
    this.inspection = new JournalInspection({
      disk: ground.disk,
      random: ground.random,
      arena,
      directory: `${folder}/journal`,
      replay: (chunk, offset, length) => this.reader.read(chunk, offset, length),
      piece: (path, position) => this.reader.beginPiece(path, position),
      progress: (bytes) => this.tell(bytes),
    });
  }

  async run(): Promise<FolderCheck> {
    const { inspection, reader } = this;
    try {
      this.bytesToRead = 2 * ((await this.journalBytes()) + (await this.logBytes()));
      await inspection.run();
      this.judge();
      const { queueCounts } = reader; // the second reading takes the messages away as it meets them
      const living = reader.refusal === undefined && inspection.refusal === undefined ? await this.countLiving() : undefined;
      const log = inspection.refusal === undefined ? await this.inspectLog() : { refusal: undefined, topics: [] };
      return this.result(queueCounts, living, log);
    } finally {
      await inspection.close();
    }
  }

  private async journalBytes(): Promise<number> {
    const { disk } = this.ground;
    const directory = `${this.folder}/journal`;
    if (!(await disk.exists(directory))) return 0;
    let bytes = 0;
    for (const name of await disk.list(directory)) {
      if (!name.endsWith('.log')) continue;
      const file = await disk.open(`${directory}/${name}`, 'read');
      bytes += await file.size();
      await file.close();
    }
    return bytes;
  }

  private async logBytes(): Promise<number> {
    const { disk } = this.ground;
    return (await disk.exists(this.logFolder)) ? bytesOfLog(disk, this.logFolder) : 0;
  }

  private get logFolder(): string {
    return `${this.folder}/log`;
  }

  private async inspectLog(): Promise<InspectedLog> {
    const { ground, found, logFolder } = this;
    if (!(await ground.disk.exists(logFolder)) && found.isEmpty) return { refusal: undefined, topics: [] };
    const log = await inspectLog({
      ground,
      directory: logFolder,
      found,
      problem: (path, byte, what, advice) => this.note({ file: this.relative(path), byte, what, advice }),
      note: (line) => this.notes.push(line),
      progress: (bytes) => this.tell(this.bytesRead + bytes),
    });
    if (log.refusal !== undefined) this.noteRefusal(log.refusal);
    return log;
  }

  private noteRefusal({ message }: CodedError): void {
    const [what, ...advice] = message.split(/(?<=\.) /);
    this.note({ file: undefined, byte: undefined, what: what!, advice: advice.join(' ') || restore });
  }

  private judge(): void {
    const { inspection, notes } = this;
    const { refusal, badRanges, files, unfinished, strangers } = inspection;
    // What a record was refused for was noted with its place.
    if (refusal !== undefined && refusal !== this.reader.refusal) this.noteRefusal(refusal);
    for (const { path, from, to, reads } of badRanges) {
      this.note({ file: this.relative(path), byte: from, what: `${to - from} bytes cannot be verified: ${reads}`, advice: restore });
    }
    for (const { path, believedBytes, rest } of refusal === undefined ? files : []) {
      if (rest !== undefined) {
        notes.push(`${this.relative(path)} ends at byte ${believedBytes}, the torn tail of a crash: ${rest}. Nothing confirmed is lost`);
      }
    }
    const leftovers = files.filter(({ state }) => state === 'unneeded').map(({ path }) => this.relative(path));
    if (leftovers.length > 0) notes.push(`Left over from a trimming, to be removed by the next opening: ${leftovers.join(', ')}`);
    if (unfinished.length > 0) notes.push(`Left by a recovery that did not end, to be removed by the next: ${unfinished.join(', ')}`);
    if (strangers.length > 0) notes.push(`In the journal's folder and not of it, and never touched: ${strangers.join(', ')}`);
    if (files.length === 0 && refusal === undefined) notes.push('There is no journal: a broker would begin with nothing');
  }

  /** Youngest first: of a message that was moved, the youngest place is the one that counts. */
  private async countLiving(): Promise<ReadonlyMap<string, number>> {
    const living = new Map<string, number>();
    for (const { path, state } of this.inspection.files.toReversed()) {
      if (state !== 'needed') continue;
      let bytes = 0;
      await this.inspection.readAgain(path, (piece, offset, length) => {
        if (this.reader.claim(piece, offset, length)) bytes += length;
      });
      living.set(path, bytes);
    }
    return living;
  }

  private result(queues: readonly QueueCheck[], living: ReadonlyMap<string, number> | undefined, log: InspectedLog): FolderCheck {
    const { reader, inspection, problems, problemCount, notes, folder } = this;
    const files = inspection.files.map(({ path, ...file }) => ({
      file: this.relative(path),
      ...file,
      records: reader.recordsOf(path),
      livingBytes: living === undefined ? undefined : (living.get(path) ?? 0),
    }));
    return {
      folder,
      opens: inspection.refusal === undefined && log.refusal === undefined,
      wasClosed: reader.wasClosed,
      problems,
      problemCount,
      notes,
      files,
      queues,
      topics: log.topics,
      bytes: files.reduce((total, { bytes }) => total + bytes, 0) + bytesOf(log.topics),
    };
  }

  private note(problem: FolderProblem): void {
    this.problemCount++;
    if (this.problems.length < problemsMax) this.problems.push(problem);
  }

  private relative(path: string): string {
    return path.startsWith(`${this.folder}/`) ? path.slice(this.folder.length + 1) : path;
  }

  private tell(bytes: number): void {
    // A recovery says how much it has read in all, a second reading how much it has just read.
    this.bytesRead = bytes > this.bytesRead ? bytes : this.bytesRead + bytes;
    const now = this.ground.clock.monotonicMs();
    if (now - this.toldMs < progressEveryMs) return;
    this.toldMs = now;
    const seconds = (now - this.beganMs) / 1000;
    const rate = this.bytesRead / seconds;
    const left = Math.ceil(Math.max(this.bytesToRead - this.bytesRead, 0) / rate);
    const percent = Math.min(Math.floor((100 * this.bytesRead) / Math.max(this.bytesToRead, 1)), 99);
    this.options.progress?.(`${percent} % read, ${Math.round(rate / oneMiB)} MiB/s, about ${left} s left`);
  }
}

function bytesOf(topics: readonly InspectedTopic[]): number {
  return topics.reduce((total, { partitions }) => total + partitions.reduce((sum, { bytes }) => sum + bytes, 0), 0);
}

const restore = 'Restore the data folder from a copy, or move it away to start with an empty one';
