import type { Scenario, SeededRandom, SimulatedGround, SimulatedProcess } from '@dovecote/ground/testing';
import type { CodedError } from '../errors.js';
import type { Partition } from '../log/log.js';
import type { OpenLog } from '../log/open-log.js';
import { type Sabotage, watchedGround } from './faulty-ground.js';
import { JournaledLog } from './journaled-log.js';
import { drawSize, fail } from './log-model.js';
import { describeTopic, encodeSent, KeyedPartition, type ModelTopic, type SentBatch } from './log-topics-model.js';

/**
 * Topics that come, grow, change and go on a simulated machine, with producers that send again, readers from anywhere, retention and compaction, through crashes; and a plain
 * model to compare with. One of the topics is compacted, as the one with the offsets of groups is: what was said last of a key is never taken back.
 *
 * A decision that was under way at a crash may hold or not; everything that was answered or seen holds.
 */
export type TopicAction =
  | {
      readonly do: 'produce';
      readonly topic: string;
      readonly partition: number;
      readonly keys: readonly number[];
      readonly bytes: number;
      readonly idempotent: boolean;
      readonly tombstone: boolean;
      /** The answer gets lost on its way: it is sent again some time. */
      readonly isUnheard: boolean;
    }
  | { readonly do: 'fetch'; readonly topic: string; readonly partition: number; readonly share: number }
  | { readonly do: 'delete-records'; readonly topic: string; readonly partition: number; readonly share: number }
  | { readonly do: 'create'; readonly topic: string; readonly partitions: number; readonly config: number }
  | { readonly do: 'drop' | 'grow'; readonly topic: string }
  | { readonly do: 'alter'; readonly topic: string; readonly config: number }
  | { readonly do: 'retention' | 'compaction' | 'checkpoint' | 'restart' | 'free' }
  | { readonly do: 'crash'; readonly power: boolean; readonly lose: string | undefined }
  | { readonly do: 'fail'; readonly operation: 'sync' | 'write'; readonly nth: number }
  | { readonly do: 'fill'; readonly bytes: number }
  | { readonly do: 'jump'; readonly hours: number }
  | { readonly do: 'wait'; readonly ms: number };

export const topicScenarioNames = ['log-topics', 'log-topics-kills', 'log-topics-full-disk'] as const;
export type TopicScenarioName = (typeof topicScenarioNames)[number];

const data = '/data';
const folder = `${data}/log`;
const names = ['a', 'b', 'compacted'];
const patienceMs = 3000;
const producerId = 9;
/** Files that follow from others: losing one costs a scan. */
const hints = [
  '.index',
  '.timeindex',
  '.snapshot',
  '.window',
  'leader-epoch-checkpoint',
  'recovery-point-offset-checkpoint',
  'index-checkpoint',
];
const basis = {
  'internal.segment.bytes': '16384',
  'index.interval.bytes': '300',
  'min.cleanable.dirty.ratio': '0.05',
  'delete.retention.ms': '3600000',
};
/** What is changed of them. */
const variants: readonly Readonly<Record<string, string>>[] = [
  { 'retention.bytes': '-1', 'retention.ms': '-1' },
  { 'retention.bytes': '12000', 'retention.ms': '-1' },
  { 'retention.bytes': '-1', 'retention.ms': '7200000' },
];
const configNames = ['retention.bytes', 'retention.ms', 'cleanup.policy'];

export function topicScenario(name: TopicScenarioName, sabotage: Sabotage = 'none'): Scenario<TopicWorld, TopicAction> {
  return {
    name,
    draw: (random) => draw(name, random),
    begin: async (machine) => {
      const world = new TopicWorld(machine, name === 'log-topics-kills' ? 'os' : 'fsync', sabotage);
      await world.begin();
      return world;
    },
    act: (world, action) => world.act(action),
    check: (world) => world.check(),
  };
}

function draw(name: TopicScenarioName, random: SeededRandom): TopicAction {
  const topic = names[random.below(names.length)]!;
  const partition = random.below(3);
  let left = random.below(100);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(6)) {
    const lose = random.chance(0.3) ? hints[random.below(hints.length)] : undefined;
    return { do: 'crash', power: name !== 'log-topics-kills' && random.chance(0.7), lose };
  }
  if (falls(4)) return { do: 'restart' };
  if (falls(4)) return { do: 'checkpoint' };
  if (falls(4)) return { do: random.chance(0.6) ? 'compaction' : 'retention' };
  if (falls(2) && name === 'log-topics') return { do: 'fail', operation: random.chance(0.8) ? 'sync' : 'write', nth: 1 + random.below(6) };
  if (falls(5) && name === 'log-topics-full-disk') return random.chance(0.5) ? { do: 'fill', bytes: random.below(30_000) } : { do: 'free' };
  if (falls(3)) return { do: 'delete-records', topic, partition, share: random.between(0, 1) };
  if (falls(3)) return { do: 'jump', hours: random.below(8) - 4 };
  if (falls(4)) return { do: 'create', topic, partitions: 1 + random.below(3), config: random.below(variants.length) };
  if (falls(1)) return { do: 'drop', topic };
  if (falls(2)) return { do: 'grow', topic };
  if (falls(2)) return { do: 'alter', topic, config: random.below(variants.length) };
  if (falls(10)) return { do: 'fetch', topic, partition, share: random.between(0, 1) };
  if (falls(12)) return { do: 'wait', ms: random.chance(0.1) ? random.below(3000) : random.between(0, 15) };
  return {
    do: 'produce',
    topic,
    partition,
    keys: Array.from({ length: 1 + random.below(4) }, () => random.below(6)),
    bytes: drawSize(random),
    idempotent: random.chance(0.6),
    tombstone: random.chance(0.1),
    isUnheard: random.chance(0.15),
  };
}

export class TopicWorld {
  private readonly topics = new Map<string, ModelTopic>();
  /** What else may be true of a topic, because nobody was told how a decision about it ended. */
  private readonly uncertain = new Map<string, ModelTopic | undefined>();
  private process: SimulatedProcess | undefined;
  private opened: JournaledLog | undefined;
  private life = 0;
  private nextValue = 1;
  private failure: CodedError | undefined;
  private hasFailedDisk = false;
  private isClosing = false;

  constructor(
    private readonly machine: SimulatedGround,
    private readonly durability: 'os' | 'fsync',
    private readonly sabotage: Sabotage,
  ) {}

  async begin(): Promise<void> {
    await this.open();
    for (const name of names) await this.create(name, 2, 0);
  }

  async act(action: TopicAction): Promise<void> {
    const { machine } = this;
    switch (action.do) {
      case 'wait':
        return machine.clock.pause(action.ms);
      case 'fail':
        return machine.faults.fail(action.operation, { nth: action.nth, path: '.log' });
      case 'fill':
        return machine.faults.fillUpAfter(action.bytes);
      case 'free':
        return machine.faults.freeUp();
      case 'jump':
        return machine.clock.setWallClock(machine.clock.now() + action.hours * 3_600_000);
      case 'crash':
        return this.crash(action);
    }
    await this.ready();
    const log = this.log!;
    switch (action.do) {
      case 'restart':
        return this.restart();
      case 'checkpoint':
        return this.patiently(log.checkpoint());
      case 'retention':
        return this.patiently(log.dropOld());
      case 'compaction':
        return this.patiently(log.compact());
      case 'create':
        return this.create(action.topic, action.partitions, action.config);
      case 'drop':
        return this.decide(action.topic, undefined, () => log.deleteTopic(action.topic));
      case 'grow':
        return this.grow(action.topic);
      case 'alter':
        return this.alter(action.topic, action.config);
      case 'produce':
        return this.produce(action);
      case 'fetch':
        return this.fetch(action);
      case 'delete-records':
        return this.deleteRecords(action);
    }
  }

  async check(): Promise<void> {
    this.machine.faults.clear();
    await this.machine.clock.pause(2 * patienceMs);
    await this.ready();
    await this.crash({ power: this.durability === 'fsync', lose: undefined });
    await this.ready();
    for (const { model, partition, topic } of this.pairs()) {
      await this.machine.clock.pause(patienceMs);
      this.sendAgain(topic.name, model, partition);
      while (model.unanswered.length > 0) await this.machine.clock.pause(50);
    }
    await this.log!.compact();
    await this.restart();
    await this.ready();
    for (const { model, partition, topic } of this.pairs()) {
      await model.compare(partition, partition.logStartOffset, isCompacted(topic));
      // A last one goes behind everything: nothing stands in its way.
      this.send(
        topic.name,
        model,
        partition,
        { sequence: -1, records: [{ key: 'last', value: this.nextValue++ }], bytes: 5, isUnheard: false },
        -1,
      );
    }
    await this.machine.clock.pause(patienceMs);
    for (const { model, partition } of this.pairs()) if (partition.highWatermark !== model.end) fail('the log does not go on after all');
  }

  private async create(name: string, partitions: number, config: number): Promise<void> {
    if (this.topics.has(name)) return;
    const policy = name === 'compacted' ? { 'cleanup.policy': 'compact' } : { 'cleanup.policy': 'delete' };
    const configs = { ...basis, ...policy, ...variants[config] };
    const made: ModelTopic = { name, id: undefined, configs, partitions: Array.from({ length: partitions }, () => partitionOf(configs)) };
    await this.decide(name, made, () => this.log!.createTopic(name, { partitionCount: partitions, configs }));
  }

  private async grow(name: string): Promise<void> {
    const topic = this.topics.get(name);
    if (topic === undefined || topic.partitions.length >= 5) return;
    const grown = { ...topic, partitions: [...topic.partitions, partitionOf(topic.configs)] };
    await this.decide(name, grown, () => this.log!.addPartitions(name, grown.partitions.length));
  }

  private async alter(name: string, config: number): Promise<void> {
    const topic = this.topics.get(name);
    if (topic === undefined) return;
    const changes = Object.entries(variants[config]!).map(([key, value]) => ({ name: key, operation: 'set' as const, value }));
    const configs = { ...topic.configs, ...variants[config] };
    if (isDropping(configs)) for (const partition of topic.partitions) partition.startMax = Infinity;
    await this.decide(name, { ...topic, configs }, () => this.log!.alterConfigs(name, changes));
  }

  /** `after` is what holds once `work` has ended well, and may hold where nobody knows how it ended. */
  private async decide(name: string, after: ModelTopic | undefined, work: () => Promise<unknown>): Promise<void> {
    const { life } = this;
    if (this.uncertain.has(name) || (after === undefined && !this.topics.has(name))) return;
    this.uncertain.set(name, after);
    const decided = work().then(
      () => {
        if (this.life === life) this.settle(name, after);
      },
      // On a full disk it may be there after a crash all the same.
      () => undefined,
    );
    await this.patiently(decided);
  }

  private settle(name: string, topic: ModelTopic | undefined): void {
    this.uncertain.delete(name);
    if (topic === undefined) this.topics.delete(name);
    else {
      topic.id = this.log!.topic(name)!.id;
      this.topics.set(name, topic);
    }
  }

  private produce({
    topic: name,
    partition: number,
    keys,
    bytes,
    idempotent,
    tombstone,
    isUnheard,
  }: TopicAction & { readonly do: 'produce' }): void {
    const pair = this.pair(name, number);
    if (pair === undefined) return;
    const { model, partition } = pair;
    if (idempotent && model.hasTimer) return;
    if (idempotent && model.unanswered.length >= 5) return this.sendAgain(name, model, partition);
    const records = keys.map((key) => ({ key: `k${key}`, value: tombstone ? null : this.nextValue++ }));
    const sent: SentBatch = { sequence: idempotent ? model.nextSequence : -1, records, bytes, isUnheard };
    if (idempotent) {
      model.nextSequence += records.length;
      model.unanswered.push(sent);
    }
    this.send(name, model, partition, sent, idempotent ? producerId : -1);
  }

  private send(name: string, model: KeyedPartition, partition: Partition, sent: SentBatch, producer: number): void {
    const { life } = this;
    const outcome = partition.append(encodeSent(sent, producer, this.machine.clock.now()));
    if (!outcome.isAppended) {
      if (outcome.reason !== 'storage' && outcome.reason !== 'removed') fail(`a batch was refused: ${outcome.message}`);
      if (producer >= 0) this.sendLater(name, model, partition);
      return;
    }
    const known = producer < 0 ? undefined : model.appended.get(sent.sequence);
    if (outcome.isDuplicate !== (known !== undefined))
      fail(
        `the batch ${sent.sequence} of the producer is ${known === undefined ? 'new and called a duplicate' : 'appended a second time'}`,
      );
    if (known === undefined) {
      if (outcome.baseOffset !== model.end) fail(`a batch got offset ${outcome.baseOffset}, ${model.end} was to come`);
      model.add(outcome.baseOffset, sent.records);
      if (producer >= 0) model.appended.set(sent.sequence, outcome.baseOffset);
    } else if (known !== outcome.baseOffset) fail(`a batch has offset ${known}, as a duplicate ${outcome.baseOffset}`);
    const end = outcome.lastOffset + 1;
    this.log!.afterCommit((error) => {
      if (this.life !== life || error !== undefined || this.topics.get(name)?.partitions.includes(model) !== true) return;
      if (partition.highWatermark < end && this.log!.topic(name)?.partitions[partition.number] === partition)
        fail(`a batch is answered and not visible`);
      model.promised = Math.max(model.promised, end);
      if (sent.isUnheard) [sent.isUnheard, sent.isSafe] = [false, true];
      else model.unanswered = model.unanswered.filter((each) => each !== sent);
    });
  }

  private sendLater(name: string, model: KeyedPartition, partition: Partition): void {
    const { life } = this;
    if (model.hasTimer) return;
    model.hasTimer = true;
    this.machine.clock.after(200, () => {
      model.hasTimer = false;
      if (this.life === life) this.sendAgain(name, model, partition);
    });
  }

  private sendAgain(name: string, model: KeyedPartition, partition: Partition): void {
    for (const sent of [...model.unanswered]) this.send(name, model, partition, sent, producerId);
  }

  private async fetch({ topic: name, partition: number, share }: TopicAction & { readonly do: 'fetch' }): Promise<void> {
    const pair = this.pair(name, number);
    if (pair === undefined) return;
    const { model, partition, topic } = pair;
    model.look(partition);
    const { logStartOffset, highWatermark } = partition;
    const from = logStartOffset + Math.floor(share * (highWatermark - logStartOffset));
    const { life } = this;
    const compared = model.compare(partition, from, isCompacted(topic)).catch((error: unknown) => {
      if (this.life === life && this.failure === undefined) throw error;
    });
    await this.patiently(compared);
  }

  private async deleteRecords({ topic: name, partition: number, share }: TopicAction & { readonly do: 'delete-records' }): Promise<void> {
    const pair = this.pair(name, number);
    if (pair === undefined) return;
    const { model, partition } = pair;
    const { logStartOffset, highWatermark } = partition;
    const wanted = logStartOffset + Math.floor(share * (highWatermark - logStartOffset) * 0.5);
    model.startMax = Math.max(model.startMax, wanted);
    const { life } = this;
    const deleted = partition.deleteRecordsBefore(wanted).then((start) => {
      if (this.life === life && typeof start === 'number') model.start = Math.max(model.start, start);
    });
    await this.patiently(deleted.catch(() => undefined));
  }

  private *pairs() {
    for (const topic of this.topics.values()) {
      for (const number of topic.partitions.keys()) {
        const pair = this.pair(topic.name, number);
        if (pair !== undefined) yield pair;
      }
    }
  }

  private pair(name: string, number: number) {
    const topic = this.topics.get(name);
    const model = topic?.partitions[number];
    const partition = this.log?.topic(name)?.partitions[number];
    return topic === undefined || model === undefined || partition === undefined ? undefined : { topic, model, partition };
  }

  private get log(): OpenLog | undefined {
    return this.opened?.log;
  }

  private look(): void {
    for (const { model, partition } of this.pairs()) model.look(partition);
  }

  private async crash({ power, lose }: { readonly power: boolean; readonly lose: string | undefined }): Promise<void> {
    if (this.opened !== undefined) this.look();
    this.machine.crash({ power });
    this.endLife();
    if (lose === undefined) return;
    await this.lose(lose);
    // Nobody knows any more what a producer has sent whose records are deleted: it does not send them again.
    if (lose === '.snapshot' || lose === '.window')
      for (const { partitions } of this.topics.values())
        for (const model of partitions) model.unanswered = model.unanswered.filter(({ isSafe }) => isSafe !== true);
  }

  /** Somebody removes files by hand. */
  private async lose(suffix: string): Promise<void> {
    const { disk } = this.machine;
    for (const name of await disk.list(folder)) {
      if (name.endsWith(suffix)) await disk.remove(`${folder}/${name}`);
      if (!/-\d+$/.test(name)) continue;
      for (const file of await disk.list(`${folder}/${name}`)) if (file.endsWith(suffix)) await disk.remove(`${folder}/${name}/${file}`);
    }
  }

  private async restart(): Promise<void> {
    const process = this.process!;
    this.look();
    this.isClosing = true;
    await this.patiently(this.opened!.close().catch(() => undefined));
    if (process.isRunning) process.kill();
    this.endLife();
  }

  private endLife(): void {
    this.opened = undefined;
    this.isClosing = false;
    this.life++;
  }

  private async ready(): Promise<void> {
    for (let attempt = 0; this.opened === undefined; attempt++) {
      if (attempt === 6) fail(`the log does not open: ${this.failure?.message}`);
      if (attempt > 1) this.machine.faults.clear();
      await this.open();
    }
  }

  private async open(): Promise<void> {
    const life = ++this.life;
    const process = this.machine.startProcess();
    this.process = process;
    this.failure = undefined;
    this.hasFailedDisk = false;
    const ground = watchedGround(process.ground, this.sabotage, () => (this.hasFailedDisk = true));
    const failed = (error: CodedError): void => this.ended(life, error);
    try {
      const opened = await JournaledLog.open({
        ground,
        data,
        durability: this.durability,
        journalFileBytesMax: 8_000,
        aloneBytesMin: 6_000,
        failed,
      });
      if (this.life !== life) return;
      this.opened = opened;
    } catch (error) {
      process.kill();
      this.failure = error as CodedError;
      if (!this.hasFailedDisk && this.failure.code !== 'disk-full') throw error;
      if (this.failure.code === 'disk-full') this.machine.faults.freeUp();
      return;
    }
    this.compareDefinitions();
    for (const { model, partition } of this.pairs()) model.cutTo(partition);
    for (const { topic, model, partition } of this.pairs()) {
      const compared = model.compare(partition, partition.logStartOffset, isCompacted(topic)).catch((error: unknown) => {
        if (this.life === life && this.failure === undefined) throw error;
      });
      await this.patiently(compared);
      if (this.life !== life) return;
      model.hasTimer = false;
      this.sendAgain(topic.name, model, partition);
    }
  }

  /** What was decided is there, and where a decision was under way, one of both. */
  private compareDefinitions(): void {
    for (const name of names) {
      const found = this.log!.topic(name);
      const said = describeTopic(found, configNames);
      const before = this.topics.get(name);
      const after = this.uncertain.get(name);
      if (this.uncertain.has(name) && said === describeTopic(after, configNames)) this.settle(name, after);
      else if (said !== describeTopic(before, configNames))
        fail(`topic ${name} is lost or changed: it has ${said}, ${describeTopic(before, configNames)} was promised`);
      this.uncertain.delete(name);
      if (found !== undefined && this.topics.get(name)!.id !== found.id) fail(`topic ${name} has another id than it had`);
    }
  }

  private ended(life: number, error: CodedError): void {
    if (life !== this.life || this.isClosing) return;
    if (!this.hasFailedDisk) fail(`the log ended by itself: ${error.message}`);
    this.failure = error;
    if (this.opened !== undefined) this.look();
    this.process!.kill();
    this.endLife();
  }

  private async patiently(work: Promise<unknown>): Promise<void> {
    await Promise.race([work, this.machine.clock.pause(patienceMs)]);
  }
}

function isCompacted(topic: ModelTopic): boolean {
  return topic.configs['cleanup.policy'] === 'compact';
}

function isDropping(configs: Readonly<Record<string, string>>): boolean {
  return configs['cleanup.policy'] === 'delete' && (configs['retention.bytes'] !== '-1' || configs['retention.ms'] !== '-1');
}

function partitionOf(configs: Readonly<Record<string, string>>): KeyedPartition {
  const partition = new KeyedPartition();
  if (isDropping(configs)) partition.startMax = Infinity;
  return partition;
}
