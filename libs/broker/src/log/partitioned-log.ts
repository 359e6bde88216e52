import { type Clock, type Disk, DiskError, type Random, type Timer } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Journal } from '../storage/journal.js';
import { type PartitionOffsets, partitionKey, writeCheckpoint, writeNumbers } from './checkpoint-file.js';
import { type Cleanable, cleanableOf, Cleaning } from './cleaner.js';
import { Commits } from './commits.js';
import { Housekeeping } from './housekeeping.js';
import { type FoundBatches, JournaledBatches, runAll } from './journaled-batches.js';
import type { CommitWaiter, Log, Topic, TopicSettings } from './log.js';
import { OpenFiles, removeIfThere, replaceFile } from './open-files.js';
import type { PartitionLog, PartitionWorld } from './partition-log.js';
import { PartitionOpening, type RecoveryHints } from './partition-recovery.js';
import { ProducerIds } from './producer-ids.js';
import { plannedStart } from './retention.js';
import { isGone } from './segment-reader.js';
import { LoadedIndexes } from './segment.js';
import { TailBudget } from './tail.js';
import {
  changeConfigs,
  type ConfigChange,
  type ConfigEntry,
  type ConfigValues,
  describeConfigs,
  parseTopicConfig,
} from './topic-config.js';
import { checkTopicName, collidingName, encodeDefinition, partitionsMax, type TopicDefinition, TopicState } from './topics.js';

/**
 * All topics of a broker, in one folder:
 *
 *   meta.properties, producer-ids                who this log is, and which producer ids were handed out
 *   topics/<name>.json                           what is decided about each topic
 *   recovery-point-offset-checkpoint             up to where each partition is on the disk for certain
 *   index-checkpoint                             the sums of the active segments' indexes
 *   log-start-offset-checkpoint                  where each begins, if its first records were deleted
 *   .kafka_cleanshutdown                         the last owner closed it in order
 *   <topic>-<partition>/                         see partition-log.ts
 *
 * The layout is Kafka's but for `topics` and `producer-ids`, which Kafka keeps in its metadata log. Made by `openLog`.
 */
export interface LogParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly directory: string;
  /** Whether anything outlives the process. */
  readonly isKept: boolean;
  readonly isSynced: boolean;
  readonly clusterId: string;
  readonly configs: ConfigValues;
  /** Where commits of many partitions are written together; undefined where nothing is synced, and each is synced alone without it. */
  readonly journal: Journal | undefined;
  readonly aloneBytesMin?: number | undefined;
  readonly report: (line: string) => void;
  readonly failed: (error: CodedError) => void;
}

/** Open at once; the rest of a thousand partitions' files are opened when they are needed. */
const openFilesMax = 512;
/** A full segment's indexes take some 2 to 5 MiB. */
const loadedIndexesMax = 32;
const tailBytesMax = 64 * 1024 * 1024;
const retentionEveryMs = 5 * 60_000;
const checkpointEveryMs = 60_000;
const cleanEveryMs = 15_000;
/** Partitions that are written down at the same time, beside commits, which need the disk too; and where nobody else needs it. */
const checkpointedAtOnce = 2;
const closedAtOnce = 16;
/** Partitions that are made at the same time. */
const madeAtOnce = 16;
const producerExpiryMs = 24 * 3_600_000;

export class PartitionedLog implements Log {
  readonly commits: Commits;
  readonly world: PartitionWorld;
  readonly producerIds: ProducerIds;
  readonly #topics = new Map<string, TopicState>();
  readonly #byId = new Map<string, TopicState>();
  private readonly batches: JournaledBatches | undefined;
  private readonly files: OpenFiles;
  private readonly housekeeping: Housekeeping;
  /** Definitions change one after the other. */
  private defining: Promise<unknown> = Promise.resolve();
  private readonly timers = new Set<Timer>();
  private isSettling = false;
  private startsAreSaved: Promise<void> | undefined;
  private savingStarts: Promise<void> = Promise.resolve();
  private savingPoints: Promise<void> = Promise.resolve();
  private compacting: Promise<void> | undefined;
  /** Topics that are gone, and of which the checkpoint files may still speak: another one of the name must not be taken for them. */
  readonly goneTopics = new Set<string>();
  /** Up to where each partition is compacted. */
  readonly cleanUpTo = new Map<string, number>();
  private isClosing = false;

  constructor(readonly parts: LogParts) {
    const { clock, disk, random, isSynced, journal, report } = parts;
    const budget = new TailBudget(tailBytesMax);
    this.batches = isSynced && journal !== undefined ? new JournaledBatches(journal, () => this.saveRecoveryPoints()) : undefined;
    const events = {
      committed: () => budget.trim(),
      journaled: () => this.settleOld(),
      full: (reason: string | undefined) =>
        report(
          reason === undefined
            ? 'The disk of the log has space again'
            : `The disk of the log is full: records are refused until there is space. ${reason}`,
        ),
      failed: (error: CodedError) => parts.failed(error),
    };
    this.commits = new Commits(clock, events, this.batches, parts.aloneBytesMin);
    if (this.batches !== undefined) journal!.join(this.commits);
    this.files = new OpenFiles(disk, openFilesMax);
    this.housekeeping = new Housekeeping(this.commits, report);
    this.producerIds = new ProducerIds(disk, parts.directory, isSynced);
    const { commits, housekeeping, files } = this;
    const loaded = new LoadedIndexes(loadedIndexesMax);
    this.world = {
      disk,
      clock,
      random,
      files,
      loaded,
      commits,
      housekeeping,
      budget,
      isSynced,
      saveLogStarts: () => this.orEnd('Deleting records', () => this.saveLogStarts()),
      saveRecoveryPoints: () => this.saveRecoveryPoints(),
    };
  }

  get directory(): string | undefined {
    return this.parts.isKept ? this.parts.directory : undefined;
  }

  get clusterId(): string {
    return this.parts.clusterId;
  }

  freeBytes(): Promise<number> {
    return this.parts.disk.freeBytes(this.parts.directory);
  }

  get topics(): Iterable<Topic> {
    return this.#topics.values();
  }

  topic(name: string): TopicState | undefined {
    return this.#topics.get(name);
  }

  topicById(id: string): TopicState | undefined {
    return this.#byId.get(id);
  }

  describeConfigs(configs: ConfigValues): readonly ConfigEntry[] {
    return describeConfigs(configs, this.parts.configs);
  }

  checkTopic(name: string, settings: TopicSettings): CodedError | undefined {
    const wrongName = checkTopicName(name);
    if (wrongName !== undefined) return wrongName;
    if (this.#topics.has(name)) return new CodedError('topic-exists', `Topic '${name}' already exists.`);
    const colliding = collidingName(name, this.#topics.keys());
    if (colliding !== undefined) return new CodedError('invalid-topic', `Topic '${name}' collides with existing topic: ${colliding}`);
    const wrongCount = checkPartitionCount(settings.partitionCount);
    if (wrongCount !== undefined) return wrongCount;
    try {
      parseTopicConfig(settings.configs ?? {}, this.parts.configs);
      return undefined;
    } catch (error) {
      if (error instanceof CodedError) return error;
      throw error;
    }
  }

  createTopic(name: string, settings: TopicSettings): Promise<Topic> {
    return this.define(`Making topic ${name}`, async () => {
      const refused = this.checkTopic(name, settings);
      if (refused !== undefined) throw refused;
      const { partitionCount, configs = {}, isInternal = false } = settings;
      const id = drawId(this.parts.random);
      const definition: TopicDefinition = { version: 1, name, id, partitions: partitionCount, isInternal, configs: { ...configs } };
      const topic = new TopicState(definition, this.parts.configs);
      if (this.goneTopics.has(name)) await this.forgetGone();
      const partitions = await this.makePartitions(topic, 0, partitionCount);
      await this.saveDefinition(definition);
      topic.partitions = partitions;
      this.adopt(topic);
      return topic;
    });
  }

  deleteTopic(name: string, takeAlso?: () => void): Promise<void> {
    return this.define(`Deleting topic ${name}`, async () => {
      const topic = this.mustHave(name);
      await removeIfThere(this.parts.disk, `${this.topicsFolder}/${name}.json`);
      if (this.parts.isSynced) await this.parts.disk.syncDirectory(this.topicsFolder);
      this.goneTopics.add(name);
      this.#topics.delete(name);
      this.#byId.delete(topic.id);
      for (const partition of topic.partitions) {
        partition.remove();
        this.cleanUpTo.delete(partitionKey(name, partition.number));
      }
      for (const partition of topic.partitions) await this.setAside(partition.folder);
      takeAlso?.();
    });
  }

  addPartitions(name: string, partitionCount: number): Promise<void> {
    return this.define(`Adding partitions to topic ${name}`, async () => {
      const topic = this.mustHave(name);
      const before = topic.partitions.length;
      if (partitionCount <= before) {
        throw new CodedError(
          'invalid-partitions',
          `Topic ${name} has ${before} partitions, it cannot have ${partitionCount} instead: they only become more`,
        );
      }
      const wrongCount = checkPartitionCount(partitionCount);
      if (wrongCount !== undefined) throw wrongCount;
      const added = await this.makePartitions(topic, before, partitionCount);
      const definition = { ...topic.definition, partitions: partitionCount };
      await this.saveDefinition(definition);
      topic.redefine(definition);
      topic.partitions = [...topic.partitions, ...added];
    });
  }

  alterConfigs(name: string, changes: readonly ConfigChange[], { validateOnly = false } = {}): Promise<void> {
    return this.define(`Changing the configs of topic ${name}`, async () => {
      const topic = this.mustHave(name);
      const configs = changeConfigs(topic.definition.configs, changes, this.parts.configs);
      if (validateOnly) return;
      const definition = { ...topic.definition, configs };
      await this.saveDefinition(definition);
      topic.redefine(definition);
    });
  }

  takeProducerId(): Promise<number> {
    return this.define('Taking producer ids', () => this.producerIds.take());
  }

  afterCommit(done: CommitWaiter | ((error: CodedError | undefined) => void)): void {
    this.commits.afterCommit(done);
  }

  get uncommittedBytes(): number {
    return this.commits.uncommittedBytes;
  }

  get fullReason(): string | undefined {
    return this.commits.fullReason;
  }

  /** A topic that was found in the folder, or just made. */
  adopt(topic: TopicState): void {
    this.#topics.set(topic.name, topic);
    this.#byId.set(topic.id, topic);
  }

  get topicsFolder(): string {
    return `${this.parts.directory}/topics`;
  }

  partitionFolder(topic: string, partition: number): string {
    return `${this.parts.directory}/${topic}-${partition}`;
  }

  opening(topic: TopicState, number: number, hints: RecoveryHints): PartitionOpening {
    return new PartitionOpening(topic, number, this.partitionFolder(topic.name, number), this.world, hints, this.parts.report);
  }

  /** Begins the work that goes on by itself. */
  start(): void {
    this.every(retentionEveryMs, () => this.dropOld());
    this.every(checkpointEveryMs, () => this.checkpoint());
    this.every(cleanEveryMs, () => this.compact());
    this.settleOld();
  }

  /** Takes away what is too old or too much. */
  async dropOld(): Promise<void> {
    const now = this.parts.clock.now();
    const shorter: { readonly partition: PartitionLog; readonly start: number }[] = [];
    for (const partition of this.partitions()) {
      partition.producerStates.expire(now - producerExpiryMs);
      const start = plannedStart(partition, now);
      if (start <= partition.logStartOffset) continue;
      partition.plannedStart = start;
      shorter.push({ partition, start });
    }
    if (shorter.length === 0) return;
    await this.housekeeping.run('Removing old segments', async () => {
      await this.saveLogStarts();
      for (const { partition, start } of shorter) partition.beginAt(start, `Removing old segments of ${partition.folder}`);
    });
    await this.housekeeping.settled();
  }

  /** What is committed needs no recovery after this. */
  async checkpoint(): Promise<void> {
    const changed = [...this.partitions()].filter((partition) => partition.hasNews);
    if (changed.length === 0) return;
    await this.housekeeping.run('Writing a checkpoint', async () => {
      // A closing log does it once more, and more at once.
      const work = changed.map((partition) => () => (this.isClosing ? Promise.resolve() : partition.checkpoint()));
      await runAll(work, checkpointedAtOnce);
      await this.saveRecoveryPoints();
    });
  }

  /** Compacts what is dirty enough, the dirtiest first. */
  async compact(): Promise<void> {
    this.compacting ??= this.compactAll().finally(() => (this.compacting = undefined));
    return this.compacting;
  }

  private async compactAll(): Promise<void> {
    // Only what a checkpoint covers is compacted: one may be on its way.
    await this.housekeeping.settled();
    const now = this.parts.clock.now();
    const cleanable: Cleanable[] = [];
    for (const partition of this.partitions()) {
      const found = cleanableOf(partition, this.cleanUpTo.get(partitionKey(partition.topic.name, partition.number)) ?? 0, now);
      if (found !== undefined) cleanable.push(found);
    }
    for (const each of cleanable.sort((one, other) => other.dirtyRatio - one.dirtyRatio)) {
      if (this.isClosing || this.commits.failure !== undefined) return;
      const { topic, number, folder } = each.partition;
      try {
        this.cleanUpTo.set(
          partitionKey(topic.name, number),
          await new Cleaning(
            each,
            this.parts.clock,
            () => !this.isClosing && this.commits.failure === undefined && !each.partition.isRemoved,
          ).run(),
        );
        await this.saveCleanUpTo();
      } catch (error) {
        if (this.isClosing || each.partition.isRemoved || isGone(error)) continue;
        if (error instanceof DiskError && error.code !== 'full') return this.commits.fail(`Compacting ${folder} failed`, error);
        this.parts.report(
          `${folder} could not be compacted and is tried again later: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
  }

  async close(): Promise<void> {
    await this.stop();
    if (this.commits.failure !== undefined) throw this.commits.failure;
    await this.allCommitted();
    await this.housekeeping.run('Closing the log', async () => {
      const closing = [...this.partitions()].map((partition) => () => partition.checkpoint(true));
      await runAll(closing, closedAtOnce);
      await this.saveRecoveryPoints();
      const { disk, directory, isSynced } = this.parts;
      await replaceFile(disk, directory, cleanMarker, Buffer.from('{"version":0,"brokerEpoch":-1}'), isSynced);
      this.batches?.close();
    });
    const { failure } = this.commits;
    this.commits.end(new CodedError('closed', 'The log is closed: open it again'));
    this.parts.journal?.leave(this.commits);
    await this.files.closeAll();
    if (failure !== undefined) throw failure;
  }

  settled(): Promise<void> {
    return this.housekeeping.settled();
  }

  async abandon(): Promise<void> {
    this.commits.end(new CodedError('closed', 'The log is closed: open it again'));
    this.parts.journal?.leave(this.commits);
    await this.stop();
    await this.files.closeAll();
  }

  /** What the journal has of these partitions from before is brought to the disk while they are used; the journal keeps it so long. */
  keepFound(found: FoundBatches, holders: readonly PartitionLog[]): void {
    this.batches!.adopt(found, holders);
  }

  /** The journal has left a file behind: what is in it goes to the segments. */
  private settleOld(): void {
    const { batches } = this;
    if (batches?.hasOld !== true || this.isSettling) return;
    this.isSettling = true;
    void this.housekeeping
      .run('Bringing a file of the journal to the segments', () => batches.settleOld())
      .then(() => (this.isSettling = false));
  }

  /** Renames a folder out of the way, and empties it in the background. */
  async setAside(folder: string): Promise<void> {
    const { disk, directory, random, isSynced } = this.parts;
    await this.files.forgetFolder(folder);
    const aside = `${directory}/${nameAside(folder.slice(directory.length + 1), 'delete', random)}`;
    await disk.rename(folder, aside);
    if (isSynced) await disk.syncDirectory(directory);
    void this.housekeeping.run(`Removing ${folder}`, () => removeFolder(disk, aside));
  }

  private *partitions(): Generator<PartitionLog> {
    for (const topic of this.#topics.values()) yield* topic.partitions;
  }

  private async makePartitions(topic: TopicState, from: number, to: number): Promise<PartitionLog[]> {
    const { disk } = this.parts;
    const made: PartitionLog[] = [];
    const make = async (number: number): Promise<void> => {
      const folder = this.partitionFolder(topic.name, number);
      // Left over from a creation that a crash cut short.
      if (await disk.exists(folder)) await this.setAside(folder);
      await disk.makeDirectory(folder);
      await replaceFile(disk, folder, 'partition.metadata', Buffer.from(`version: 0\ntopic_id: ${topic.id}`), false);
      const opening = this.opening(topic, number, newPartition);
      await opening.look();
      await opening.read(() => undefined);
      made[number - from] = await opening.finish();
    };
    const work = Array.from({ length: to - from }, (_, index) => () => make(from + index));
    await runAll(work, madeAtOnce);
    return made;
  }

  /** Writes the checkpoint files without the topics that are gone. */
  private async forgetGone(): Promise<void> {
    await this.saveRecoveryPoints();
    await this.saveLogStarts();
    await this.saveCleanUpTo();
    this.goneTopics.clear();
  }

  private saveCleanUpTo(): Promise<void> {
    const { disk, directory, isSynced } = this.parts;
    return this.inTurn(() => writeCheckpoint(disk, directory, 'cleaner-offset-checkpoint', this.cleanUpTo, isSynced));
  }

  private saveDefinition(definition: TopicDefinition): Promise<void> {
    const { disk, isSynced } = this.parts;
    return replaceFile(disk, this.topicsFolder, `${definition.name}.json`, encodeDefinition(definition), isSynced);
  }

  private mustHave(name: string): TopicState {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw new CodedError('no-topic', `There is no topic '${name}'`);
    return topic;
  }

  private define<Answer>(what: string, work: () => Promise<Answer>): Promise<Answer> {
    const next = this.defining.then(() => {
      const failure = this.commits.failure ?? (this.isClosing ? new CodedError('closed', 'The log is being closed') : undefined);
      if (failure !== undefined) throw failure;
      return this.orEnd(what, work);
    });
    this.defining = next.catch(() => undefined);
    return next;
  }

  /** A full disk refuses what somebody asked for. After any other failure of it nobody knows what an opening would find: the log ends. */
  private async orEnd<Answer>(what: string, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      if (error.code === 'full') throw new CodedError('disk-full', `${what} failed: ${error.message}`, { cause: error });
      this.commits.fail(`${what} failed`, error);
      throw this.commits.failure;
    }
  }

  /** One write for all who ask while one is under way. */
  private saveLogStarts(): Promise<void> {
    this.startsAreSaved ??= this.savingStarts.then(async () => {
      this.startsAreSaved = undefined;
      if (this.commits.failure !== undefined) throw this.commits.failure;
      await this.saveOffsets('log-start-offset-checkpoint', (partition) => partition.plannedStart);
    });
    const { startsAreSaved } = this;
    this.savingStarts = startsAreSaved.catch(() => undefined);
    return startsAreSaved;
  }

  /** The files are written one after the other, whoever asks. */
  private inTurn(write: () => Promise<void>): Promise<void> {
    const written = this.savingPoints.then(write);
    this.savingPoints = written.catch(() => undefined);
    return written;
  }

  private saveRecoveryPoints(): Promise<void> {
    return this.inTurn(() => this.writeRecoveryPoints());
  }

  private async writeRecoveryPoints(): Promise<void> {
    const sums = new Map<string, readonly number[]>();
    for (const { topic, number, active } of this.partitions()) {
      if (active.indexSums === undefined) continue;
      const { baseOffset, offsetBytes, offsetSum, timeBytes, timeSum } = active.indexSums;
      sums.set(partitionKey(topic.name, number), [baseOffset, offsetBytes, offsetSum, timeBytes, timeSum]);
    }
    await writeNumbers(this.parts.disk, this.parts.directory, indexSumsFile, sums, this.parts.isSynced);
    const saved = [...this.partitions()].map((partition) => ({ partition, offset: partition.recoveryPoint }));
    await this.saveOffsets('recovery-point-offset-checkpoint', (partition) => partition.recoveryPoint);
    for (const { partition, offset } of saved) partition.savedRecoveryPoint = offset;
  }

  private async saveOffsets(name: string, offsetOf: (partition: PartitionLog) => number): Promise<void> {
    const offsets: Map<string, number> = new Map();
    for (const partition of this.partitions()) {
      const offset = offsetOf(partition);
      if (offset > 0) offsets.set(partitionKey(partition.topic.name, partition.number), offset);
    }
    const saved: PartitionOffsets = offsets;
    await writeCheckpoint(this.parts.disk, this.parts.directory, name, saved, this.parts.isSynced);
  }

  private every(ms: number, work: () => Promise<void>): void {
    const timer = this.parts.clock.after(ms, () => {
      this.timers.delete(timer);
      void work().then(() => {
        if (!this.isClosing) this.every(ms, work);
      });
    });
    this.timers.add(timer);
  }

  private async stop(): Promise<void> {
    this.isClosing = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    this.batches?.stop();
    await this.defining;
    await this.compacting;
    await this.housekeeping.settled();
  }

  private allCommitted(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.commits.afterCommit((error) => (error === undefined ? resolve() : reject(error)));
    });
  }
}

const newPartition: RecoveryHints = {
  ...{ isClean: true, bumpEpoch: false, recoveryPoint: 0, logStartOffset: 0 },
  ...{ journaledFrom: [], indexSums: undefined },
};

/** Of the indexes that are not synced: those of the active segments. */
export const indexSumsFile = 'index-checkpoint';
export const cleanMarker = '.kafka_cleanshutdown';

/** A name that nothing had before, for a folder that no partition reads any more. Cut off where it would be too long for a file. */
export function nameAside(folder: string, why: 'delete' | 'stray', random: Random): string {
  const mark = `.${random.bytes(16).toString('hex')}-${why}`;
  return `${folder.slice(0, 255 - mark.length)}${mark}`;
}

export async function removeFolder(disk: Disk, folder: string): Promise<void> {
  for (const name of await disk.list(folder)) await removeIfThere(disk, `${folder}/${name}`);
  await removeIfThere(disk, folder);
}

/** A UUID in Kafka's form: random, and never one that begins with a dash, which tools take for an option. */
export function drawId(random: Random): string {
  for (;;) {
    const bytes = random.bytes(16);
    bytes[6] = (bytes[6]! & 0x0f) | 0x40;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const id = bytes.toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

function checkPartitionCount(count: number): CodedError | undefined {
  if (!Number.isInteger(count) || count < 1)
    return new CodedError('invalid-partitions', `Number of partitions must be larger than 0, not ${count}`);
  if (count > partitionsMax) return new CodedError('invalid-partitions', `A topic has at most ${partitionsMax} partitions, not ${count}`);
  return undefined;
}
