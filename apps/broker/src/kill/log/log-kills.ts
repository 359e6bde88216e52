/**
 * Kills a process that embeds a broker again and again while its log is written, read and changed, opens the folder in another one each time, and says
 * whether a promise was broken.
 *
 * The moments come from the seed, counted in acknowledgements and not in time; the operating system's own timing is in them all the same, so the same seed
 * makes the same plan but not the same run.
 */
import { SeededRandom } from '@dovecote/ground/testing';
import type { TopicPartition } from '@dovecote/broker';
import { EmbeddingProcess, type EmbeddingOptions, type Saying } from './embedding-process.js';
import { type LineFaults, LineLedger } from './line-ledger.js';
import { type OffsetFaults, OffsetLedger } from './offset-ledger.js';
import { TopicChanges } from './topic-changes.js';
import { appendAgainAndAgain, type Hearer, IdempotentProducer, recordOf, untilEnded } from './writers.js';

export interface LogKillOptions {
  readonly data: string;
  readonly durability: 'os' | 'fsync';
  readonly seed: number;
  readonly kills: number;
  readonly say: (line: string) => void;
}

export interface LogVerdict extends LineFaults, OffsetFaults {
  readonly appended: number;
  readonly acknowledged: number;
  readonly found: number;
  readonly commits: number;
  readonly changes: number;
  /** Topics, configs and groups that are not as their last change left them. */
  readonly unlike: readonly string[];
  /** What was refused although nothing was wrong with it. */
  readonly refused: readonly string[];
}

export function isClean({ lost, misplaced, foreign, takenBack, skipped, unlike, refused }: LogVerdict): boolean {
  return [lost, misplaced, foreign, takenBack, skipped, unlike, refused].every((faults) => faults.length === 0);
}

const acknowledgementsMax = 500;
/** One opening in so many is killed before it is done. */
const openingsPerInterruption = 4;
const appended = { topic: 'appended', lines: ['ann', 'bob', 'cleo'] };
const produced = { topic: 'produced', lines: ['dora', 'ed'] };
const places: readonly TopicPartition[] = [appended, produced].flatMap(({ topic, lines }) =>
  lines.map((_, partition) => ({ topic, partition })),
);
const readers = 'readers';
/** Has no members: offsets are committed by hand. */
const byHand = 'by-hand';
const configs = { 'segment.bytes': String(1024 * 1024), 'retention.ms': '-1' };

/** Resolves when everything was read after the last opening. */
export async function killLogAgainAndAgain(options: LogKillOptions): Promise<LogVerdict> {
  const load = new LogLoad(options);
  const random = new SeededRandom(options.seed);
  for (let kill = 1; kill <= options.kills; kill++) {
    if (random.below(openingsPerInterruption) === 0) await interruptOpening(options, random);
    const process = await EmbeddingProcess.open(embedding(options, random));
    await load.lookAround(process);
    const ended = load.start(process);
    await load.acknowledgedMore(1 + random.below(acknowledgementsMax));
    await process.kill();
    await ended;
    if (load.verdict.refused.length > 0) return load.verdict; // what comes after it means nothing
    options.say(`kill ${kill} of ${options.kills}: ${JSON.stringify(load.lines.counts)}`);
  }
  const process = await EmbeddingProcess.open(embedding(options, random));
  await load.lookAround(process);
  const ended = load.start(process);
  await load.acknowledgedMore(1);
  load.isStopping = true;
  await ended;
  await load.readersDone(process);
  await load.lookAround(process);
  await load.lookAgain(process);
  await process.kill();
  return load.verdict;
}

/** Now and then the journal is so short that all of it is on its way to the segments all the time. */
function embedding({ data, durability }: LogKillOptions, random: SeededRandom): EmbeddingOptions {
  const limits = random.below(2) === 0 ? {} : { journalFileBytesMax: 64 * 1024, journalSlackBytes: 1 };
  return { data, durability, limits, reader: { group: readers, topics: [appended.topic, produced.topic] } };
}

/** A recovery that is killed must leave the folder as good as it was. */
async function interruptOpening(options: LogKillOptions, random: SeededRandom): Promise<void> {
  const process = new EmbeddingProcess(embedding(options, random));
  for (let turn = random.below(20_000); turn > 0; turn--) await new Promise<void>((resolve) => setImmediate(resolve));
  await process.kill();
}

/** Everything that goes on in one process after the other, and what was promised about it. */
class LogLoad implements Hearer {
  readonly lines = new LineLedger();
  /** Nothing new is begun. */
  isStopping = false;
  private readonly offsets = new OffsetLedger();
  private readonly changes: TopicChanges;
  private readonly producers: readonly IdempotentProducer[];
  private readonly random: SeededRandom;
  private readonly refusals: string[] = [];
  private acknowledgements = 0;
  private waiting: () => void = () => undefined;

  constructor({ seed }: LogKillOptions) {
    this.random = new SeededRandom(`load ${seed}`);
    this.changes = new TopicChanges(this.random.fork('changes'));
    appended.lines.forEach((line, partition) => this.lines.add(line, { topic: appended.topic, partition, isRepeated: false }));
    this.producers = produced.lines.map((line, partition) => {
      this.lines.add(line, { topic: produced.topic, partition, isRepeated: true });
      return new IdempotentProducer({ topic: produced.topic, partition, line }, this.lines, this.random.fork(line), this);
    });
  }

  acknowledged(): void {
    this.acknowledgements++;
    this.waiting();
  }

  refused(reason: string): void {
    this.refusals.push(reason);
    this.waiting();
  }

  /** Resolves when so much more was acknowledged, of whatever kind, or something was refused. */
  async acknowledgedMore(count: number): Promise<void> {
    const enough = this.acknowledgements + count;
    await this.until(() => this.acknowledgements >= enough);
  }

  /** Compares what is there with what was promised. In an empty folder: makes the topics. */
  async lookAround(process: EmbeddingProcess): Promise<void> {
    const there = new Set((await process.topics()).map(({ name }) => name));
    for (const { topic, lines } of [appended, produced]) {
      if (this.acknowledgements > 0 || there.has(topic)) continue;
      await process.ask('createTopic', topic, { partitionCount: lines.length, configs });
    }
    for (const { topic, partition } of places) {
      const records = await process.readFrom(topic, partition, this.lines.end(topic, partition));
      this.lines.find(topic, partition, records.map(recordOf));
    }
    this.lines.endLife();
    for (const group of [readers, byHand]) {
      const committed = await process.ask('committedOffsets', group);
      for (const place of places) {
        const found = committed.find(({ topic, partition }) => topic === place.topic && partition === place.partition);
        this.offsets.find(group, nameOf(place), found?.offset);
      }
    }
    await this.changes.find(process);
  }

  /** Everything that was ever found must be there still. */
  async lookAgain(process: EmbeddingProcess): Promise<void> {
    for (const { topic, partition } of places)
      this.lines.findAgain(topic, partition, (await process.readFrom(topic, partition, 0)).map(recordOf));
  }

  /** Resolves when the process has ended, or everything has stopped. */
  async start(process: EmbeddingProcess): Promise<void> {
    process.heard = (saying) => this.hear(saying);
    const [ledger, random] = [this.lines, this.random];
    await Promise.all([
      process.follow().catch(() => undefined),
      appendAgainAndAgain(process, appended.topic, appended.lines, { ledger, random, hearer: this }),
      ...this.producers.map((producer) => producer.run(process.kafkaPort)),
      untilEnded(this, [() => this.commitByHand(process), () => this.changeTopics(process)]),
    ]);
  }

  /** Resolves when the group has committed everything. */
  async readersDone(process: EmbeddingProcess): Promise<void> {
    for (const place of places) {
      const { latest } = await process.ask('bounds', place.topic, place.partition);
      await this.until(() => this.offsets.committed(readers, nameOf(place)) === latest);
    }
  }

  get verdict(): LogVerdict {
    return {
      ...this.lines.counts,
      commits: this.offsets.commitCount,
      changes: this.changes.count,
      ...this.lines.faults,
      ...this.offsets.faults,
      unlike: this.changes.unlike,
      refused: this.refusals,
    };
  }

  private async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue() && this.refusals.length === 0) await new Promise<void>((resolve) => (this.waiting = resolve));
  }

  private async commitByHand(process: EmbeddingProcess): Promise<void> {
    const chosen = places.filter(() => this.random.below(2) === 0);
    const offsets = chosen.map((place) => {
      const offset = this.offsets.committed(byHand, nameOf(place)) + 1 + this.random.below(10);
      this.offsets.ask(byHand, nameOf(place), offset);
      return { ...place, offset };
    });
    await process.ask('commitOffsets', byHand, offsets);
    for (const { offset, ...place } of offsets) this.offsets.acknowledge(byHand, nameOf(place), offset);
    this.acknowledged();
  }

  private async changeTopics(process: EmbeddingProcess): Promise<void> {
    await this.changes.next(process);
    this.acknowledged();
  }

  private hear(saying: Saying): void {
    if (saying.kind === 'saw') {
      this.offsets.give(readers, nameOf(saying), saying.from, saying.next);
      this.offsets.ask(readers, nameOf(saying), saying.next);
    } else if (saying.kind === 'committed') {
      this.offsets.acknowledge(readers, nameOf(saying), saying.offset);
      this.acknowledged();
    } else if (saying.kind === 'member-failed') this.refused(`the member of '${readers}': ${saying.reason}`);
  }
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`;
}
