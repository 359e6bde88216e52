import type { Scenario, SeededRandom } from '@dovecote/ground/testing';
import type { Partition } from '../log/log.js';
import type { Sabotage } from './faulty-ground.js';
import { batchOf, drawSize, fail, type ModelBatch, type ModelProducer, PartitionModel, type Sent } from './log-model.js';
import { type LogGuest, type LogWorld, patienceMs, scenarioOfLog, type Trouble, type TroubleKind } from './log-world.js';

/**
 * Producers that send again what was not answered, and transactions, against a plain list.
 *
 * Whatever was answered or seen must be there after a crash, once, and in order.
 */
type Action =
  | {
      readonly do: 'append';
      readonly partition: number;
      readonly producer: number;
      readonly count: number;
      readonly bytes: number;
      readonly transactional: boolean;
    }
  | { readonly do: 'end'; readonly partition: number; readonly producer: number; readonly commit: boolean }
  | { readonly do: 'look'; readonly partition: number }
  | { readonly do: 'delete'; readonly partition: number; readonly share: number };

const troubles = { 'log-power-cuts': 'power-cuts', 'log-process-kills': 'kills', 'log-full-disk': 'full-disk' } as const satisfies Record<
  string,
  TroubleKind
>;
export type LogScenarioName = keyof typeof troubles;
export const logScenarioNames = Object.keys(troubles) as LogScenarioName[];

const partitionCount = 2;

export function logScenario(name: LogScenarioName, sabotage: Sabotage = 'none'): Scenario<LogWorld<Action>, Action | Trouble> {
  return scenarioOfLog(name, { trouble: troubles[name], sabotage }, draw, (world) => new Producers(world));
}

function draw(random: SeededRandom): Action {
  const partition = random.below(partitionCount);
  let left = random.below(64);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(2)) return { do: 'delete', partition, share: random.between(0, 1) };
  if (falls(12)) return { do: 'look', partition };
  if (falls(10)) return { do: 'end', partition, producer: random.below(2), commit: random.chance(0.5) };
  return {
    do: 'append',
    partition,
    producer: random.below(4) - 2,
    count: 1 + random.below(4),
    bytes: drawSize(random),
    transactional: random.chance(0.4),
  };
}

class Producers implements LogGuest<Action> {
  private readonly models = Array.from({ length: partitionCount }, () => new PartitionModel());
  private nextId = 1;
  private hasTopic = false;

  constructor(private readonly world: LogWorld<Action>) {}

  async begin(): Promise<void> {
    await this.world.log!.createTopic('t', {
      partitionCount,
      configs: { 'internal.segment.bytes': '16384', 'index.interval.bytes': '300', 'segment.ms': '36000000' },
    });
    this.hasTopic = true;
  }

  act(action: Action): Promise<void> | void {
    switch (action.do) {
      case 'append':
        return this.append(action);
      case 'end':
        return this.endTransaction(action);
      case 'look':
        return this.read(action.partition);
      case 'delete':
        return this.deleteRecords(action);
    }
  }

  async opened(): Promise<void> {
    const { life, log } = this.world;
    if (log!.topic('t') === undefined) {
      if (this.hasTopic) fail('the topic is lost');
      return;
    }
    for (const [number, model] of this.models.entries()) {
      const partition = this.partition(number);
      await this.world.held(model.compare(partition));
      if (this.world.life !== life) return;
      for (const producer of model.producers) {
        producer.hasTimer = false;
        this.sendAgain(model, partition, producer);
      }
    }
  }

  look(): void {
    for (const [number, model] of this.models.entries()) model.look(this.partition(number));
  }

  async finish(): Promise<void> {
    const { clock } = this.world.machine;
    for (const [number, model] of this.models.entries()) {
      const partition = this.partition(number);
      for (const producer of model.producers) {
        while (producer.unanswered.length > 0 || producer.ending !== undefined) await clock.pause(50);
        if (model.isOpen(producer.producerId)) this.mark(model, partition, producer, 'commit');
      }
    }
    await clock.pause(patienceMs);
  }

  async compare(): Promise<void> {
    for (const [number, model] of this.models.entries()) {
      await model.compareCommitted(this.partition(number));
      const ids = model.batches.filter(({ ends }) => ends === undefined).map(({ id }) => id);
      if (new Set(ids).size !== ids.length) fail(`a batch is in partition ${number} twice`);
    }
  }

  private append(action: Action & { readonly do: 'append' }): void {
    const model = this.models[action.partition]!;
    const partition = this.partition(action.partition);
    const { count, bytes } = action;
    const id = this.nextId++;
    if (action.producer < 0) {
      const sent: Sent = { id, sequence: -1, count, bytes, isTransactional: false };
      return this.send(model, partition, sent, undefined);
    }
    const producer = model.producers[action.producer]!;
    // As a client does: five requests under way, and nothing new while an old one must be sent again.
    if (producer.unanswered.length >= 5 || producer.ending !== undefined || producer.hasTimer) return;
    const isOpen = model.isOpen(producer.producerId) || producer.unanswered.some((sent) => sent.isTransactional);
    const isTransactional = action.transactional || isOpen;
    const sent: Sent = { id, sequence: producer.nextSequence, count, bytes, isTransactional };
    producer.nextSequence += count;
    producer.unanswered.push(sent);
    this.send(model, partition, sent, producer);
  }

  private send(model: PartitionModel, partition: Partition, sent: Sent, producer: ModelProducer | undefined): void {
    const { life } = this.world;
    const outcome = partition.append(batchOf(sent, producer?.producerId ?? -1, this.world.machine.clock.now()));
    if (!outcome.isAppended) {
      // Refused by a full disk: a producer sends it again, and whoever does not is not answered.
      if (outcome.reason !== 'storage') fail(`batch ${sent.id} was refused: ${outcome.message}`);
      return producer === undefined ? undefined : this.world.later(producer, () => this.sendAgain(model, partition, producer));
    }
    let batch = model.batches.find(({ id }) => id === sent.id);
    if (outcome.isDuplicate !== (batch !== undefined))
      fail(`batch ${sent.id} is ${batch === undefined ? 'new and called a duplicate' : 'appended a second time'}`);
    if (batch === undefined) {
      const { baseOffset: base, lastOffset } = outcome;
      if (base !== model.end) fail(`batch ${sent.id} got offset ${base}, ${model.end} was to come`);
      batch = {
        id: sent.id,
        base,
        next: lastOffset + 1,
        isAcked: false,
        producerId: sent.isTransactional ? producer!.producerId : undefined,
      };
      model.batches.push(batch);
    } else if (batch.base !== outcome.baseOffset) fail(`batch ${sent.id} has offset ${batch.base}, as a duplicate ${outcome.baseOffset}`);
    const appended = batch;
    this.world.log!.afterCommit((error) => {
      if (this.world.life !== life || error !== undefined) return;
      appended.isAcked = true;
      if (partition.highWatermark < appended.next) fail(`batch ${sent.id} is answered and not visible`);
      if (producer !== undefined) producer.unanswered = producer.unanswered.filter(({ id }) => id !== sent.id);
    });
  }

  private sendAgain(model: PartitionModel, partition: Partition, producer: ModelProducer): void {
    for (const sent of producer.unanswered) this.send(model, partition, sent, producer);
    if (producer.ending === undefined || producer.unanswered.length > 0) return;
    if (model.isOpen(producer.producerId)) this.mark(model, partition, producer, producer.ending);
    else producer.ending = undefined;
  }

  private endTransaction(action: Action & { readonly do: 'end' }): void {
    const model = this.models[action.partition]!;
    const producer = model.producers[action.producer]!;
    // A coordinator writes the marker when everything of the transaction was answered.
    if (producer.unanswered.length > 0 || producer.ending !== undefined || !model.isOpen(producer.producerId)) return;
    this.mark(model, this.partition(action.partition), producer, action.commit ? 'commit' : 'abort');
  }

  private mark(model: PartitionModel, partition: Partition, producer: ModelProducer, ends: 'commit' | 'abort'): void {
    const { life } = this.world;
    const { producerId } = producer;
    producer.ending = ends;
    const outcome = partition.appendMarker({ producerId, producerEpoch: 0, coordinatorEpoch: 0, isCommit: ends === 'commit' });
    if (!outcome.isAppended) {
      if (outcome.reason !== 'storage') fail(`a marker was refused: ${outcome.message}`);
      return this.world.later(producer, () => this.sendAgain(model, partition, producer));
    }
    const marker: ModelBatch = {
      id: -1 - outcome.baseOffset,
      base: outcome.baseOffset,
      next: outcome.lastOffset + 1,
      isAcked: false,
      producerId,
      ends,
    };
    model.batches.push(marker);
    this.world.log!.afterCommit((error) => {
      if (this.world.life !== life || error !== undefined) return;
      marker.isAcked = true;
      producer.ending = undefined;
    });
  }

  private async read(number: number): Promise<void> {
    const model = this.models[number]!;
    const partition = this.partition(number);
    model.look(partition);
    await this.world.held(model.compareCommitted(partition));
  }

  private async deleteRecords(action: Action & { readonly do: 'delete' }): Promise<void> {
    const partition = this.partition(action.partition);
    const { logStartOffset, highWatermark } = partition;
    const wanted = logStartOffset + Math.floor(action.share * (highWatermark - logStartOffset) * 0.3);
    await this.world.deleteRecords(this.models[action.partition]!, partition, wanted);
  }

  private partition(number: number): Partition {
    return this.world.log!.topic('t')!.partitions[number]!;
  }
}
