import type { Scenario, SeededRandom, SimulatedGround, SimulatedProcess } from '@dovecote/ground/testing';
import type { CodedError } from '../errors.js';
import type { Partition } from '../log/log.js';
import type { OpenLog } from '../log/open-log.js';
import { type Sabotage, watchedGround } from './faulty-ground.js';
import { JournaledLog } from './journaled-log.js';
import { batchOf, drawSize, fail, type ModelBatch, type ModelProducer, PartitionModel, type Sent } from './log-model.js';

/**
 * The partitioned log on a simulated machine: producers that send again what was not answered, transactions, crashes, and a plain list to compare with.
 *
 * Under `fsync` the power may go at any moment; under `os` only the process. Whatever was answered or seen must be there afterwards, once, and in order.
 */
export type LogAction =
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
  | { readonly do: 'delete'; readonly partition: number; readonly share: number }
  | { readonly do: 'crash'; readonly power: boolean; readonly lose: string | undefined }
  | { readonly do: 'restart' }
  | { readonly do: 'checkpoint' }
  | { readonly do: 'fail'; readonly operation: 'sync' | 'write'; readonly nth: number }
  | { readonly do: 'fill'; readonly bytes: number }
  | { readonly do: 'free' }
  | { readonly do: 'jump'; readonly hours: number }
  | { readonly do: 'wait'; readonly ms: number };

export const logScenarioNames = ['log-power-cuts', 'log-process-kills', 'log-full-disk'] as const;
export type LogScenarioName = (typeof logScenarioNames)[number];

const data = '/data';
const folder = `${data}/log`;
const partitionCount = 2;
const patienceMs = 3000;
/** Files that follow from the batches: losing one costs a scan. */
const hints = [
  '.index',
  '.timeindex',
  '.txnindex',
  '.snapshot',
  '.window',
  'leader-epoch-checkpoint',
  'recovery-point-offset-checkpoint',
  'index-checkpoint',
];

export function logScenario(name: LogScenarioName, sabotage: Sabotage = 'none'): Scenario<LogWorld, LogAction> {
  return {
    name,
    draw: (random) => draw(name, random),
    begin: async (machine) => {
      const world = new LogWorld(machine, name === 'log-process-kills' ? 'os' : 'fsync', sabotage);
      await world.begin();
      return world;
    },
    act: (world, action) => world.act(action),
    check: (world) => world.check(),
  };
}

function draw(name: LogScenarioName, random: SeededRandom): LogAction {
  const partition = random.below(partitionCount);
  const dice = random.below(100);
  if (dice < 8)
    return {
      do: 'crash',
      power: name !== 'log-process-kills' && random.chance(0.7),
      lose: random.chance(0.3) ? hints[random.below(hints.length)] : undefined,
    };
  if (dice < 11) return { do: 'restart' };
  if (dice < 14) return { do: 'checkpoint' };
  if (dice < 16 && name === 'log-power-cuts')
    return { do: 'fail', operation: random.chance(0.8) ? 'sync' : 'write', nth: 1 + random.below(6) };
  if (dice < 20 && name === 'log-full-disk') return random.chance(0.5) ? { do: 'fill', bytes: random.below(30_000) } : { do: 'free' };
  if (dice < 22) return { do: 'delete', partition, share: random.between(0, 1) };
  if (dice < 24) return { do: 'jump', hours: random.below(40) - 20 };
  if (dice < 34) return { do: 'look', partition };
  if (dice < 42) return { do: 'end', partition, producer: random.below(2), commit: random.chance(0.5) };
  if (dice < 62) return { do: 'wait', ms: random.chance(0.1) ? random.below(3000) : random.between(0, 15) };
  return {
    do: 'append',
    partition,
    producer: random.below(4) - 2,
    count: 1 + random.below(4),
    bytes: drawSize(random),
    transactional: random.chance(0.4),
  };
}

export class LogWorld {
  private readonly models = Array.from({ length: partitionCount }, () => new PartitionModel());
  private process: SimulatedProcess | undefined;
  private opened: JournaledLog | undefined;
  private life = 0;
  private nextId = 1;
  private failure: CodedError | undefined;
  private hasFailedDisk = false;
  /** It was told to close: on a disk that is full then, or fails, it ends as if it had crashed. */
  private isClosing = false;
  private hasTopic = false;

  constructor(
    private readonly machine: SimulatedGround,
    private readonly durability: 'os' | 'fsync',
    private readonly sabotage: Sabotage,
  ) {}

  async begin(): Promise<void> {
    await this.open();
    await this.log!.createTopic('t', {
      partitionCount,
      configs: { 'internal.segment.bytes': '16384', 'index.interval.bytes': '300', 'segment.ms': '36000000' },
    });
    this.hasTopic = true;
  }

  async act(action: LogAction): Promise<void> {
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
    switch (action.do) {
      case 'restart':
        return this.restart();
      case 'checkpoint':
        return this.patiently(this.log!.checkpoint());
      case 'append':
        return this.append(action);
      case 'end':
        return this.endTransaction(action);
      case 'look':
        return this.look(action.partition);
      case 'delete':
        return this.deleteRecords(action);
    }
  }

  async check(): Promise<void> {
    this.machine.faults.clear();
    await this.machine.clock.pause(2 * patienceMs);
    await this.ready();
    await this.crash({ power: this.durability === 'fsync', lose: undefined });
    await this.ready();
    for (const [number, model] of this.models.entries()) {
      const partition = this.partition(number);
      for (const producer of model.producers) {
        while (producer.unanswered.length > 0 || producer.ending !== undefined) await this.machine.clock.pause(50);
        if (model.isOpen(producer.producerId)) this.mark(model, partition, producer, 'commit');
      }
    }
    await this.machine.clock.pause(patienceMs);
    await this.restart();
    await this.ready();
    for (const [number, model] of this.models.entries()) {
      await model.compareCommitted(this.partition(number));
      const ids = model.batches.filter(({ ends }) => ends === undefined).map(({ id }) => id);
      if (new Set(ids).size !== ids.length) fail(`a batch is in partition ${number} twice`);
    }
  }

  private append(action: LogAction & { readonly do: 'append' }): void {
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
    const { life } = this;
    const outcome = partition.append(batchOf(sent, producer?.producerId ?? -1, this.machine.clock.now()));
    if (!outcome.isAppended) {
      // Refused by a full disk: a producer sends it again, and whoever does not is not answered.
      if (outcome.reason !== 'storage') fail(`batch ${sent.id} was refused: ${outcome.message}`);
      return producer === undefined ? undefined : this.sendLater(model, partition, producer);
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
    this.log!.afterCommit((error) => {
      if (this.life !== life || error !== undefined) return;
      appended.isAcked = true;
      if (partition.highWatermark < appended.next) fail(`batch ${sent.id} is answered and not visible`);
      if (producer !== undefined) producer.unanswered = producer.unanswered.filter(({ id }) => id !== sent.id);
    });
  }

  /** One attempt at a time, as a client does. */
  private sendLater(model: PartitionModel, partition: Partition, producer: ModelProducer): void {
    const { life } = this;
    if (producer.hasTimer) return;
    producer.hasTimer = true;
    this.machine.clock.after(200, () => {
      producer.hasTimer = false;
      if (this.life === life) this.sendAgain(model, partition, producer);
    });
  }

  private sendAgain(model: PartitionModel, partition: Partition, producer: ModelProducer): void {
    for (const sent of producer.unanswered) this.send(model, partition, sent, producer);
    if (producer.ending === undefined || producer.unanswered.length > 0) return;
    if (model.isOpen(producer.producerId)) this.mark(model, partition, producer, producer.ending);
    else producer.ending = undefined;
  }

  private endTransaction(action: LogAction & { readonly do: 'end' }): void {
    const model = this.models[action.partition]!;
    const producer = model.producers[action.producer]!;
    // A coordinator writes the marker when everything of the transaction was answered.
    if (producer.unanswered.length > 0 || producer.ending !== undefined || !model.isOpen(producer.producerId)) return;
    this.mark(model, this.partition(action.partition), producer, action.commit ? 'commit' : 'abort');
  }

  private mark(model: PartitionModel, partition: Partition, producer: ModelProducer, ends: 'commit' | 'abort'): void {
    const { life } = this;
    const { producerId } = producer;
    producer.ending = ends;
    const outcome = partition.appendMarker({ producerId, producerEpoch: 0, coordinatorEpoch: 0, isCommit: ends === 'commit' });
    if (!outcome.isAppended) {
      if (outcome.reason !== 'storage') fail(`a marker was refused: ${outcome.message}`);
      return this.sendLater(model, partition, producer);
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
    this.log!.afterCommit((error) => {
      if (this.life !== life || error !== undefined) return;
      marker.isAcked = true;
      producer.ending = undefined;
    });
  }

  private async look(number: number): Promise<void> {
    const model = this.models[number]!;
    const partition = this.partition(number);
    model.look(partition);
    const { life } = this;
    const compared = model.compareCommitted(partition);
    await this.patiently(
      compared.catch((error: unknown) => {
        if (this.life === life && this.failure === undefined) throw error;
      }),
    );
  }

  private async deleteRecords(action: LogAction & { readonly do: 'delete' }): Promise<void> {
    const model = this.models[action.partition]!;
    const partition = this.partition(action.partition);
    const { logStartOffset, highWatermark } = partition;
    const wanted = logStartOffset + Math.floor(action.share * (highWatermark - logStartOffset) * 0.3);
    const { life } = this;
    const deleted = partition.deleteRecordsBefore(wanted).then((start) => {
      if (this.life === life && typeof start === 'number') model.start = Math.max(model.start, start);
    });
    await this.patiently(deleted.catch(() => undefined));
  }

  private get log(): OpenLog | undefined {
    return this.opened?.log;
  }

  private partition(number: number): Partition {
    return this.log!.topic('t')!.partitions[number]!;
  }

  private async crash({ power, lose }: { readonly power: boolean; readonly lose: string | undefined }): Promise<void> {
    if (this.log !== undefined) for (const [number, model] of this.models.entries()) model.look(this.partition(number));
    this.machine.crash({ power });
    this.endLife();
    if (lose !== undefined) await this.lose(lose);
  }

  /** Somebody removes files by hand. */
  private async lose(suffix: string): Promise<void> {
    const { disk } = this.machine;
    for (const name of await disk.list(folder)) {
      if (name.endsWith(suffix)) await disk.remove(`${folder}/${name}`);
      if (!/^t-\d+$/.test(name)) continue;
      for (const file of await disk.list(`${folder}/${name}`)) if (file.endsWith(suffix)) await disk.remove(`${folder}/${name}/${file}`);
    }
  }

  private async restart(): Promise<void> {
    const process = this.process!;
    for (const [number, model] of this.models.entries()) model.look(this.partition(number));
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
    for (let attempt = 0; this.log === undefined; attempt++) {
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
    if (this.log!.topic('t') === undefined) {
      if (this.hasTopic) fail('the topic is lost');
      return;
    }
    for (const [number, model] of this.models.entries()) {
      const partition = this.partition(number);
      // A batch sent again may meet a failing disk while the next partition is read: then nobody answers any more.
      await this.patiently(model.compare(partition));
      if (this.life !== life) return;
      for (const producer of model.producers) {
        producer.hasTimer = false;
        this.sendAgain(model, partition, producer);
      }
    }
  }

  private ended(life: number, error: CodedError): void {
    if (life !== this.life || this.isClosing) return;
    if (!this.hasFailedDisk) fail(`the log ended by itself: ${error.message}`);
    this.failure = error;
    for (const [number, model] of this.models.entries()) if (this.log !== undefined) model.look(this.partition(number));
    this.process!.kill();
    this.endLife();
  }

  private async patiently(work: Promise<unknown>): Promise<void> {
    await Promise.race([work, this.machine.clock.pause(patienceMs)]);
  }
}
