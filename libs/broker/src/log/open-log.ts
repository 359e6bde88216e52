import { type Disk, DiskError, type Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { partitionKey, readCheckpoint } from './checkpoint-file.js';
import { entryKey, readCommitFiles } from './commit-file.js';
import type { Log } from './log.js';
import { MemoryDisk } from './memory-disk.js';
import { readWhole, removeIfThere, replaceFile } from './open-files.js';
import { cleanMarker, drawId, PartitionedLog, removeFolder } from './partitioned-log.js';
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
  /** What is committed together for many partitions fills a file of so many bytes before it is brought to the segments; 64 MiB if not said. */
  readonly commitFileBytesMax?: number;
  /** Takes a line for the operator now and then. */
  readonly log?: (line: string) => void;
  /** Called once when the disk failed for good: everything waiting was failed before. */
  readonly failed?: (error: CodedError) => void;
}

export interface OpenLog extends Log {
  /** Commits what was appended, writes what makes the next opening quick, and lets the files go. Rejects where the disk failed. */
  close(): Promise<void>;
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
const openedAtOnce = 8;

/**
 * Recovers what is in the folder. Rejects with a CodedError: `data-damaged`, `data-folder-unusable`, `disk-full`, `invalid-config`, and leaves nothing
 * open. One owner at a time: the caller holds the lock.
 */
export async function openLog(options: LogOptions): Promise<OpenLog> {
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
      commitFileBytesMax: options.commitFileBytesMax,
      report: log,
      failed,
    });
    try {
      await new LogOpening(opened, durability === 'os').open();
    } catch (error) {
      await opened.abandon();
      throw error;
    }
    opened.start();
    return opened;
  } catch (error) {
    throw openingError(directory, error);
  }
}

class LogOpening {
  private readonly disk: Disk;
  private readonly directory: string;

  constructor(
    private readonly log: PartitionedLog,
    private readonly mayHaveLost: boolean,
  ) {
    this.disk = log.parts.disk;
    this.directory = log.parts.directory;
  }

  async open(): Promise<void> {
    const { log, disk, directory } = this;
    await log.producerIds.open();
    const isClean = await disk.exists(`${directory}/${cleanMarker}`);
    const definitions = await this.readDefinitions();
    await this.sweep(definitions);
    const recoveryPoints = await readCheckpoint(disk, directory, 'recovery-point-offset-checkpoint');
    const logStarts = await readCheckpoint(disk, directory, 'log-start-offset-checkpoint');
    const committed = await readCommitFiles(disk, `${directory}/commits`);
    for (const [key, offset] of await readCheckpoint(disk, directory, 'cleaner-offset-checkpoint')) log.cleanUpTo.set(key, offset);
    const work: (() => Promise<void>)[] = [];
    for (const definition of definitions) {
      const topic = new TopicState(definition, log.parts.configs);
      const partitions: TopicState['partitions'][number][] = [];
      topic.partitions = partitions;
      log.adopt(topic);
      for (let number = 0; number < definition.partitions; number++) {
        work.push(async () => {
          const key = partitionKey(topic.name, number);
          const recoveryPoint = recoveryPoints.get(key) ?? 0;
          await this.mustHaveFolder(topic, number, recoveryPoint);
          const hints = {
            isClean,
            recoveryPoint,
            logStartOffset: logStarts.get(key) ?? 0,
            bumpEpoch: this.mayHaveLost,
            committed: committed.get(entryKey(topic.idBytes, number)) ?? [],
          };
          const partition = await log.openPartition(topic, number, hints);
          partitions[number] = partition;
          for (const producerId of partition.producerStates.entries.keys()) log.producerIds.skip(producerId);
        });
      }
    }
    await runAll(work, openedAtOnce);
    // All of it is in the segments by now, and on the disk.
    if (log.commitFiles !== undefined) await log.commitFiles.start();
    else if (committed.size > 0)
      for (const name of await disk.list(`${directory}/commits`)) await removeIfThere(disk, `${directory}/commits/${name}`);
    // From here on the folder is in use: the next opening must not believe that it was closed in order.
    await removeIfThere(disk, `${directory}/${cleanMarker}`);
    if (log.parts.isSynced) await disk.syncDirectory(directory);
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
        await disk.rename(path, `${path}-stray`);
        log.parts.report(`${path} belongs to no topic: it is kept as ${path}-stray and not read`);
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

async function readOrMakeMeta(disk: Disk, directory: string, isSynced: boolean, { random }: Ground): Promise<string> {
  const bytes = await readWhole(disk, `${directory}/meta.properties`);
  const kept = bytes === undefined ? undefined : /^cluster\.id=(.+)$/m.exec(bytes.toString('latin1'))?.[1];
  if (kept !== undefined) return kept;
  const clusterId = drawId(random);
  const lines = ['node.id=1', `directory.id=${drawId(random)}`, 'version=1', `cluster.id=${clusterId}`, ''];
  await replaceFile(disk, directory, 'meta.properties', Buffer.from(lines.join('\n')), isSynced);
  return clusterId;
}

async function runAll(work: (() => Promise<void>)[], atOnce: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < work.length) await work[next++]!();
  };
  const settled = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const result of settled) if (result.status === 'rejected') throw result.reason;
}

function openingError(directory: string, error: unknown): unknown {
  if (!(error instanceof DiskError)) return error;
  if (error.code === 'full')
    return new CodedError('disk-full', `The disk of ${directory} is full: free some space and start again. ${error.message}`, {
      cause: error,
    });
  return new CodedError('data-folder-unusable', `The log in ${directory} cannot be opened: ${error.message}`, { cause: error });
}
