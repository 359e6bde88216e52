import { type Disk, DiskError, type Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { partitionKey, readCheckpoint, readNumbers, topicOf } from './checkpoint-file.js';
import type { Journal } from '../storage/journal.js';
import { Progress } from '../storage/progress.js';
import { encodeKey, type FoundBatches, keyAt, runAll } from './journaled-batches.js';
import type { Log } from './log.js';
import { MemoryDisk } from './memory-disk.js';
import { readOldCommitFiles, removeOldCommitFiles } from './old-commit-files.js';
import { readWhole, removeIfThere, replaceFile } from './open-files.js';
import type { PartitionOpening } from './partition-recovery.js';
import type { PartitionLog } from './partition-log.js';
import { cleanMarker, drawId, indexSumsFile, nameAside, PartitionedLog, removeFolder } from './partitioned-log.js';
import { readInt64 } from './record-batch.js';
import type { IndexSums } from './segment.js';
import { checkValue } from './topic-config.js';
import { decodeDefinition, type TopicDefinition, TopicState } from './topics.js';

/** How a log is opened. The engine does it; a test may. */
export interface LogOptions {
  readonly ground: Ground;
  /** The log's own folder, which nobody else touches; undefined keeps everything in memory. */
  readonly directory: string | undefined;
  readonly durability: 'memory' | 'os' | 'fsync';
  /** Broker-wide defaults of topic configs, under the topic's names. */
  readonly configs?: Readonly<Record<string, string>>;
  /** The journal of the broker, through which partitions and queues share their syncs, and what a recovery found in it; without it each partition syncs alone. */
  readonly journal?: { readonly journal: Journal | undefined; readonly found: FoundBatches } | undefined;
  /** Of a partition that has so much for a commit the journal gets nothing: it is written to its segment at once. 256 KiB if not said. */
  readonly aloneBytesMin?: number;
  /** Takes a line for the operator now and then. */
  readonly log?: (line: string) => void;
  /** Called once when the disk failed for good: everything waiting was failed before. */
  readonly failed?: (error: CodedError) => void;
}

export interface OpenLog extends Log {
  /** Commits what was appended, writes what makes the next opening quick, and lets the files go. Rejects where the disk failed. */
  close(): Promise<void>;
  /** What an opening found in the journal is on the disk in the segments, where nothing failed. */
  settled(): Promise<void>;
  /** Lets go at once, as a crash would. */
  abandon(): Promise<void>;
  /** Takes away now what is too old or too much, as it is done every five minutes. */
  dropOld(): Promise<void>;
  /** Compacts now what is dirty enough, as it is done every fifteen seconds. */
  compact(): Promise<void>;
  /** Bounds now what the next opening after a crash has to read, as it is done every minute. */
  checkpoint(): Promise<void>;
}

/** Partitions that are opened at the same time. */
const openedAtOnce = 16;
/** What was put back goes to the segments when it is so much. */
const putBackBytesMax = 8 * 1024 * 1024;

/**
 * Recovers what is in the folder. Rejects with a CodedError: `data-damaged`, `data-folder-unusable`, `disk-full`, `invalid-config`, and leaves nothing
 * open. One owner at a time: the caller holds the lock.
 */
export async function openLog(options: LogOptions): Promise<OpenLog> {
  const log = await recoverLog(options);
  log.start();
  return log;
}

/** The same, without the work that goes on by itself. */
export async function recoverLog(options: LogOptions): Promise<PartitionedLog> {
  const { ground, durability, configs = {}, log = () => undefined, failed = () => undefined } = options;
  for (const [name, value] of Object.entries(configs)) checkValue(name, value);
  const kept = durability === 'memory' ? undefined : options.directory;
  const isKept = kept !== undefined;
  const disk = isKept ? ground.disk : new MemoryDisk(ground.clock);
  const directory = kept ?? '/memory';
  const isSynced = durability === 'fsync' && isKept;
  try {
    await disk.makeDirectory(`${directory}/topics`);
    const clusterId = await readOrMakeMeta(disk, directory, isSynced, ground);
    const { clock, random } = ground;
    const opened = new PartitionedLog({
      disk,
      clock,
      random,
      directory,
      isKept,
      isSynced,
      clusterId,
      configs,
      journal: options.journal?.journal,
      aloneBytesMin: options.aloneBytesMin,
      report: log,
      failed,
    });
    try {
      await new LogOpening(opened, durability === 'os', options.journal?.found).open();
    } catch (error) {
      await opened.abandon();
      throw error;
    }
    return opened;
  } catch (error) {
    throw openingError(directory, error);
  }
}

class LogOpening {
  private readonly disk: Disk;
  private readonly directory: string;
  private readonly progress: Progress;
  private bytesRead = 0;
  private bytesTotal = 0;

  constructor(
    private readonly log: PartitionedLog,
    private readonly mayHaveLost: boolean,
    private readonly found: FoundBatches | undefined,
  ) {
    this.disk = log.parts.disk;
    this.directory = log.parts.directory;
    this.progress = new Progress(log.parts.clock, log.parts.report);
  }

  private tell(bytes: number, records: number): void {
    this.bytesRead += bytes;
    this.progress.records += records;
    this.progress.tell(this.bytesRead, this.bytesTotal);
  }

  async open(): Promise<void> {
    const { log, disk, directory } = this;
    await log.producerIds.open();
    const isClean = await disk.exists(`${directory}/${cleanMarker}`);
    const definitions = await this.readDefinitions();
    // What a decision left that was cut short holds from now on: folders go by it.
    if (log.parts.isSynced) await disk.syncDirectory(log.topicsFolder);
    await this.sweep(definitions);
    const recoveryPoints = await readCheckpoint(disk, directory, 'recovery-point-offset-checkpoint');
    const logStarts = await readCheckpoint(disk, directory, 'log-start-offset-checkpoint');
    const cleanUpTo = await readCheckpoint(disk, directory, 'cleaner-offset-checkpoint');
    const known = new Set(definitions.map(({ name }) => name));
    for (const key of [...recoveryPoints.keys(), ...logStarts.keys(), ...cleanUpTo.keys()])
      if (!known.has(topicOf(key))) log.goneTopics.add(topicOf(key));
    for (const [key, offset] of cleanUpTo) if (known.has(topicOf(key))) log.cleanUpTo.set(key, offset);
    const indexSums = await readNumbers(disk, directory, indexSumsFile);
    const startsOf = await this.startsInJournal();
    const openings = new Map<string, PartitionOpening>();
    const looking: (() => Promise<void>)[] = [];
    const reading: (() => Promise<void>)[] = [];
    const finishing: (() => Promise<void>)[] = [];
    const holders: PartitionLog[] = [];
    for (const definition of definitions) {
      const topic = new TopicState(definition, log.parts.configs);
      const partitions: TopicState['partitions'][number][] = [];
      topic.partitions = partitions;
      log.adopt(topic);
      for (let number = 0; number < definition.partitions; number++) {
        const key = partitionKey(topic.name, number);
        const keyInJournal = keyAt(encodeKey(topic.idBytes, number), 0);
        const recoveryPoint = recoveryPoints.get(key) ?? 0;
        const journaledFrom = startsOf(keyInJournal);
        const opening = log.opening(topic, number, {
          // What the journal has kept at the end may have come to the segments or not.
          isClean: isClean && journaledFrom.every((offset) => offset < recoveryPoint),
          recoveryPoint,
          logStartOffset: logStarts.get(key) ?? 0,
          bumpEpoch: this.mayHaveLost,
          journaledFrom,
          indexSums: indexSums === undefined ? 'unknown' : sumsOf(indexSums.get(key)),
        });
        openings.set(keyInJournal, opening);
        looking.push(async () => {
          await this.mustHaveFolder(topic, number, recoveryPoint);
          const bytes = await opening.look();
          this.bytesTotal += bytes;
        });
        reading.push(() => opening.read((bytes, records) => this.tell(bytes, records)));
        finishing.push(async () => {
          const partition = await opening.finish();
          partitions[number] = partition;
          if ((this.found?.startsOf(keyInJournal).length ?? 0) > 0) holders.push(partition);
          for (const producerId of partition.producerStates.entries.keys()) log.producerIds.skip(producerId);
        });
      }
    }
    await runAll(looking, openedAtOnce);
    await runAll(reading, openedAtOnce);
    await this.putBack(openings);
    await runAll(finishing, openedAtOnce);
    await removeOldCommitFiles(disk, this.oldCommits);
    if (this.found !== undefined && this.keepsFound) log.keepFound(this.found, holders);
    else this.found?.release();
    // From here on the folder is in use: the next opening must not believe that it was closed in order.
    await removeIfThere(disk, `${directory}/${cleanMarker}`);
    if (log.parts.isSynced) await disk.syncDirectory(directory);
  }

  /** The journal goes on, and keeps what it has until that is on the disk. */
  private get keepsFound(): boolean {
    const { isSynced, journal } = this.log.parts;
    return isSynced && journal !== undefined;
  }

  private get oldCommits(): string {
    return `${this.directory}/commits`;
  }

  /** At which offsets begins what the journal, or an older version's files, have of each partition. */
  private async startsInJournal(): Promise<(key: string) => readonly number[]> {
    const old = new Map<string, number[]>();
    await readOldCommitFiles(this.disk, this.oldCommits, (bytes, at) => {
      const key = keyAt(bytes, at);
      const starts = old.get(key) ?? [];
      old.set(key, starts);
      starts.push(readInt64(bytes, at + 20));
    });
    return (key) => [...(old.get(key) ?? []), ...(this.found?.startsOf(key) ?? [])];
  }

  /** Gives the partitions what was committed and is not in their segments, in the order in which it was committed. */
  private async putBack(openings: ReadonlyMap<string, PartitionOpening>): Promise<void> {
    const written = new Set<PartitionOpening>();
    let bytesWritten = 0;
    let isKept = false;
    const take = (key: string, bytes: Buffer, start: number, end: number): void => {
      // Of a topic that was deleted nothing is kept.
      const opening = openings.get(key);
      const count = opening?.putBack(bytes, start, end, isKept) ?? 0;
      if (count > 0) written.add(opening!);
      bytesWritten += count;
    };
    const flush = async (): Promise<void> => {
      if (bytesWritten < putBackBytesMax) return;
      await runAll(
        [...written].map((opening) => () => opening.flush()),
        openedAtOnce,
      );
      written.clear();
      bytesWritten = 0;
    };
    await readOldCommitFiles(this.disk, this.oldCommits, (bytes, at, start, end) => take(keyAt(bytes, at), bytes, start, end));
    isKept = this.keepsFound;
    await this.found?.forEach(take, flush);
  }

  private async readDefinitions(): Promise<TopicDefinition[]> {
    const { disk, log } = this;
    const definitions: TopicDefinition[] = [];
    for (const name of await disk.list(log.topicsFolder)) {
      const path = `${log.topicsFolder}/${name}`;
      if (name.endsWith('.tmp')) {
        await removeIfThere(disk, path);
        continue;
      }
      const definition = decodeDefinition((await readWhole(disk, path))!.toString('utf8'));
      if (definition === undefined || `${definition.name}.json` !== name) {
        throw new CodedError(
          'data-damaged',
          `${path} is no definition of a topic that this version understands: restore it from a copy, or move it away together with the topic's folders`,
        );
      }
      definitions.push(definition);
    }
    return definitions;
  }

  /** Folders of deleted topics go; folders of no topic that hold something are kept aside. */
  private async sweep(definitions: readonly TopicDefinition[]): Promise<void> {
    const { disk, directory, log } = this;
    const known = new Map(definitions.map((definition) => [definition.name, definition]));
    for (const name of await disk.list(directory)) {
      const path = `${directory}/${name}`;
      if (name.endsWith('-delete')) {
        await removeFolder(disk, path);
        continue;
      }
      if (name.endsWith('.tmp')) {
        await removeIfThere(disk, path);
        continue;
      }
      const match = /^(.+)-(\d+)$/.exec(name);
      if (match === null || Number(match[2]) < (known.get(match[1]!)?.partitions ?? 0)) continue;
      if (!(await disk.exists(`${path}/partition.metadata`))) continue;
      const hasBatches = (await disk.list(path)).some((each) => each.endsWith('.log'));
      if (!hasBatches) await removeFolder(disk, path);
      else {
        // There may be one of an earlier topic of that name.
        const aside = `${directory}/${nameAside(name, 'stray', log.parts.random)}`;
        await disk.rename(path, aside);
        log.parts.report(`${path} belongs to no topic: it is kept as ${aside} and not read`);
      }
    }
  }

  private async mustHaveFolder(topic: TopicState, number: number, recoveryPoint: number): Promise<void> {
    const folder = this.log.partitionFolder(topic.name, number);
    const metadata = Buffer.from(`version: 0\ntopic_id: ${topic.id}`);
    if (await this.disk.exists(folder)) {
      if (!(await this.disk.exists(`${folder}/partition.metadata`)))
        await replaceFile(this.disk, folder, 'partition.metadata', metadata, false);
      return;
    }
    if (recoveryPoint > 0) {
      throw new CodedError(
        'data-damaged',
        `${folder} is missing and held ${recoveryPoint} records: restore it from a copy, or move topics/${topic.name}.json away to give the topic up`,
      );
    }
    await this.disk.makeDirectory(folder);
    await replaceFile(this.disk, folder, 'partition.metadata', metadata, false);
  }
}

function sumsOf(numbers: readonly number[] | undefined): IndexSums | undefined {
  if (numbers?.length !== 5) return undefined;
  const [baseOffset, offsetBytes, offsetSum, timeBytes, timeSum] = numbers as [number, number, number, number, number];
  return { baseOffset, offsetBytes, offsetSum, timeBytes, timeSum };
}

async function readOrMakeMeta(disk: Disk, directory: string, isSynced: boolean, { random }: Ground): Promise<string> {
  const bytes = await readWhole(disk, `${directory}/meta.properties`);
  const kept = bytes === undefined ? undefined : /^cluster\.id=(.+)$/m.exec(bytes.toString('latin1'))?.[1];
  if (kept !== undefined) return kept;
  const clusterId = drawId(random);
  const lines = ['node.id=1', `directory.id=${drawId(random)}`, 'version=1', `cluster.id=${clusterId}`, ''];
  await replaceFile(disk, directory, 'meta.properties', Buffer.from(lines.join('\n')), isSynced);
  return clusterId;
}

function openingError(directory: string, error: unknown): unknown {
  if (!(error instanceof DiskError)) return error;
  if (error.code === 'full')
    return new CodedError('disk-full', `The disk of ${directory} is full: free some space and start again. ${error.message}`, {
      cause: error,
    });
  return new CodedError('data-folder-unusable', `The log in ${directory} cannot be opened: ${error.message}`, { cause: error });
}
