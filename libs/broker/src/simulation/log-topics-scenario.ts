import type { Scenario, SeededRandom } from '@dovecote/ground/testing';
import type { Partition } from '../log/log.js';
import type { Sabotage } from './faulty-ground.js';
import { drawSize, fail } from './log-model.js';
import { describeTopic, encodeSent, KeyedPartition, type ModelTopic, type SentBatch } from './log-topics-model.js';
import { type LogGuest, type LogWorld, patienceMs, scenarioOfLog, type Trouble, type TroubleKind } from './log-world.js';

/**
 * Topics that come, grow, change and go, with producers that send again, readers from anywhere, retention and compaction, against a plain model. One of the topics is
 * compacted, as the one with the offsets of groups is: what was said last of a key is never taken back.
 *
 * A decision that was under way at a crash may hold or not; everything that was answered or seen holds.
 */
type Action =
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
  | { readonly do: 'retention' | 'compaction' };

const troubles = { 'log-topics': 'power-cuts', 'log-topics-kills': 'kills', 'log-topics-full-disk': 'full-disk' } as const satisfies Record<
  string,
  TroubleKind
>;
export type TopicScenarioName = keyof typeof troubles;
export const topicScenarioNames = Object.keys(troubles) as TopicScenarioName[];

const names = ['a', 'b', 'compacted'];
const producerId = 9;
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

export function topicScenario(name: TopicScenarioName, sabotage: Sabotage = 'none'): Scenario<LogWorld<Action>, Action | Trouble> {
  return scenarioOfLog(name, { trouble: troubles[name], sabotage }, draw, (world) => new Topics(world));
}

function draw(random: SeededRandom): Action {
  const topic = names[random.below(names.length)]!;
  const partition = random.below(3);
  let left = random.below(64);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(4)) return { do: random.chance(0.6) ? 'compaction' : 'retention' };
  if (falls(3)) return { do: 'delete-records', topic, partition, share: random.between(0, 1) };
  if (falls(4)) return { do: 'create', topic, partitions: 1 + random.below(3), config: random.below(variants.length) };
  if (falls(1)) return { do: 'drop', topic };
  if (falls(2)) return { do: 'grow', topic };
  if (falls(2)) return { do: 'alter', topic, config: random.below(variants.length) };
  if (falls(10)) return { do: 'fetch', topic, partition, share: random.between(0, 1) };
  return {
    do: 'produce',
    topic,
    partition,
    keys: Array.from({ length: 1 + random.below(4) }, () => random.below(6)),
    // Often two of the same length, which could be taken for one another.
    bytes: random.chance(0.3) ? 50 : drawSize(random),
    idempotent: random.chance(0.6),
    tombstone: random.chance(0.1),
    isUnheard: random.chance(0.15),
  };
}

class Topics implements LogGuest<Action> {
  private readonly topics = new Map<string, ModelTopic>();
  /** What else may be true of a topic, because nobody was told how a decision about it ended. */
  private readonly uncertain = new Map<string, ModelTopic | undefined>();
  private nextValue = 1;

  constructor(private readonly world: LogWorld<Action>) {}

  async begin(): Promise<void> {
    for (const name of names) await this.create(name, 2, 0);
  }

  act(action: Action): Promise<void> | void {
    const log = this.world.log!;
    switch (action.do) {
      case 'retention':
        return this.world.patiently(log.dropOld());
      case 'compaction':
        return this.world.patiently(log.compact());
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

  async opened(): Promise<void> {
    const { life } = this.world;
    this.compareDefinitions();
    for (const { model, partition } of this.pairs()) model.cutTo(partition);
    for (const { topic, model, partition } of this.pairs()) {
      await this.world.held(model.compare(partition, partition.logStartOffset, isCompacted(topic)));
      if (this.world.life !== life) return;
      model.hasTimer = false;
      this.sendAgain(topic.name, model, partition);
    }
  }

  look(): void {
    for (const { model, partition } of this.pairs()) model.look(partition);
  }

  filesLost(suffix: string): void {
    // Nobody knows any more what a producer has sent whose records are deleted: it does not send them again.
    if (suffix !== '.snapshot' && suffix !== '.window') return;
    for (const { partitions } of this.topics.values())
      for (const model of partitions) model.unanswered = model.unanswered.filter(({ isSafe }) => isSafe !== true);
  }

  async finish(): Promise<void> {
    const { clock } = this.world.machine;
    for (const { model, partition, topic } of this.pairs()) {
      await clock.pause(patienceMs);
      this.sendAgain(topic.name, model, partition);
      while (model.unanswered.length > 0) await clock.pause(50);
    }
    await this.world.log!.compact();
  }

  async compare(): Promise<void> {
    for (const { model, partition, topic } of this.pairs()) {
      await model.compare(partition, partition.logStartOffset, isCompacted(topic));
      // A last one goes behind everything: nothing stands in its way.
      const records = [{ key: 'last', value: this.nextValue++ }];
      this.send(topic.name, model, partition, { sequence: -1, number: -1, records, bytes: 5, isUnheard: false }, -1);
    }
    await this.world.machine.clock.pause(patienceMs);
    for (const { model, partition } of this.pairs()) if (partition.highWatermark !== model.end) fail('the log does not go on after all');
  }

  private async create(name: string, partitions: number, config: number): Promise<void> {
    if (this.topics.has(name)) return;
    const policy = name === 'compacted' ? { 'cleanup.policy': 'compact' } : { 'cleanup.policy': 'delete' };
    const configs = { ...basis, ...policy, ...variants[config] };
    const made: ModelTopic = { name, id: undefined, configs, partitions: Array.from({ length: partitions }, () => partitionOf(configs)) };
    await this.decide(name, made, () => this.world.log!.createTopic(name, { partitionCount: partitions, configs }));
  }

  private async grow(name: string): Promise<void> {
    const topic = this.topics.get(name);
    if (topic === undefined || topic.partitions.length >= 5) return;
    const grown = { ...topic, partitions: [...topic.partitions, partitionOf(topic.configs)] };
    await this.decide(name, grown, () => this.world.log!.addPartitions(name, grown.partitions.length));
  }

  private async alter(name: string, config: number): Promise<void> {
    const topic = this.topics.get(name);
    if (topic === undefined) return;
    const changes = Object.entries(variants[config]!).map(([key, value]) => ({ name: key, operation: 'set' as const, value }));
    const configs = { ...topic.configs, ...variants[config] };
    if (isDropping(configs)) for (const partition of topic.partitions) partition.startMax = Infinity;
    await this.decide(name, { ...topic, configs }, () => this.world.log!.alterConfigs(name, changes));
  }

  /** `after` is what holds once `work` has ended well, and may hold where nobody knows how it ended. */
  private async decide(name: string, after: ModelTopic | undefined, work: () => Promise<unknown>): Promise<void> {
    const { life } = this.world;
    if (this.uncertain.has(name) || (after === undefined && !this.topics.has(name))) return;
    this.uncertain.set(name, after);
    const decided = work().then(
      () => {
        if (this.world.life === life) this.settle(name, after);
      },
      // On a full disk it may be there after a crash all the same.
      () => undefined,
    );
    await this.world.patiently(decided);
  }

  private settle(name: string, topic: ModelTopic | undefined): void {
    this.uncertain.delete(name);
    if (topic === undefined) this.topics.delete(name);
    else {
      topic.id = this.world.log!.topic(name)!.id;
      this.topics.set(name, topic);
    }
  }

  private produce(action: Action & { readonly do: 'produce' }): void {
    const { topic: name, keys, bytes, idempotent, tombstone, isUnheard } = action;
    const pair = this.pair(name, action.partition);
    if (pair === undefined) return;
    const { model, partition } = pair;
    if (idempotent && model.hasTimer) return;
    if (idempotent && model.mustWait) return this.sendAgain(name, model, partition);
    const records = keys.map((key) => ({ key: `k${key}`, value: tombstone ? null : this.nextValue++ }));
    const [sequence, batch] = idempotent ? [model.nextSequence, model.sentCount] : [-1, -1];
    const sent: SentBatch = { sequence, number: batch, records, bytes, isUnheard };
    if (idempotent) {
      model.sentCount++;
      model.nextSequence += records.length;
      model.unanswered.push(sent);
    }
    this.send(name, model, partition, sent, idempotent ? producerId : -1);
  }

  private send(name: string, model: KeyedPartition, partition: Partition, sent: SentBatch, producer: number): void {
    const { life } = this.world;
    const outcome = partition.append(encodeSent(sent, producer, this.world.machine.clock.now()));
    if (!outcome.isAppended) {
      if (outcome.reason !== 'storage' && outcome.reason !== 'removed') fail(`a batch was refused: ${outcome.message}`);
      if (producer >= 0) this.world.later(model, () => this.sendAgain(name, model, partition));
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
    this.world.log!.afterCommit((error) => {
      if (this.world.life !== life || error !== undefined || this.topics.get(name)?.partitions.includes(model) !== true) return;
      if (partition.highWatermark < end && this.world.log!.topic(name)?.partitions[partition.number] === partition)
        fail(`a batch is answered and not visible`);
      model.promised = Math.max(model.promised, end);
      if (sent.isUnheard) [sent.isUnheard, sent.isSafe] = [false, true];
      else model.unanswered = model.unanswered.filter((each) => each !== sent);
    });
  }

  private sendAgain(name: string, model: KeyedPartition, partition: Partition): void {
    for (const sent of [...model.unanswered]) this.send(name, model, partition, sent, producerId);
  }

  private async fetch({ topic: name, partition: number, share }: Action & { readonly do: 'fetch' }): Promise<void> {
    const pair = this.pair(name, number);
    if (pair === undefined) return;
    const { model, partition, topic } = pair;
    model.look(partition);
    const { logStartOffset, highWatermark } = partition;
    const from = logStartOffset + Math.floor(share * (highWatermark - logStartOffset));
    await this.world.held(model.compare(partition, from, isCompacted(topic)));
  }

  private async deleteRecords({ topic: name, partition: number, share }: Action & { readonly do: 'delete-records' }): Promise<void> {
    const pair = this.pair(name, number);
    if (pair === undefined) return;
    const { model, partition } = pair;
    const { logStartOffset, highWatermark } = partition;
    const wanted = logStartOffset + Math.floor(share * (highWatermark - logStartOffset) * 0.5);
    model.startMax = Math.max(model.startMax, wanted);
    await this.world.deleteRecords(model, partition, wanted);
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
    const partition = this.world.log?.topic(name)?.partitions[number];
    return topic === undefined || model === undefined || partition === undefined ? undefined : { topic, model, partition };
  }

  /** What was decided is there, and where a decision was under way, one of both. */
  private compareDefinitions(): void {
    for (const name of names) {
      const found = this.world.log!.topic(name);
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
