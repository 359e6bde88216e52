/** `dovecote consume`: records as text or JSON, from a place or in a group, as users of kafka-console-consumer and kcat -C expect. */
import type { Command } from 'commander';
import type { LogBatch } from '@dovecote/broker';
import type { FetchPlace, KafkaClient, TopicDescription } from '@dovecote/broker/kafka-client';
import { collect, type LogContext, logCommand, Progress, readCount, readTime, withClient } from './log-commands.js';
import { offsetsAt } from './offsets-command.js';
import { UsageError } from './passwords.js';
import { jsonFormat, readFormat, type RecordFormat } from './record-format.js';

interface Given {
  readonly partition?: readonly string[];
  readonly offset?: string;
  readonly count?: string;
  readonly exit?: boolean;
  readonly format?: string;
  readonly group?: string;
  readonly uncommitted?: boolean;
  readonly json?: boolean;
}

const maxWaitMs = 500;

export function addConsume(program: Command, context: LogContext): void {
  const consume = logCommand(program, 'consume <topics...>', 'prints records')
    .option('-p, --partition <number>', 'only this one, repeatable', collect)
    .option(
      '-o, --offset <place>',
      'beginning, end, an offset, -N for the last N, or @TIME (default: beginning; in a group where it has come to)',
    )
    .option('-c, --count <count>', 'stops after so many')
    .option('-e, --exit', 'stops at the end of what is there now')
    .option(
      '-f, --format <text>',
      '%s value, %k key, %t topic, %p partition, %o offset, %T timestamp, %h headers, %S and %K lengths (default: %s\\n)',
    )
    .option('-g, --group <name>', 'takes part in a group, and commits what was printed')
    .option('--uncommitted', 'also records of transactions that are open or were aborted');
  consume.action((names: readonly string[], given: Given) =>
    withClient(consume, context, async (client) => {
      const isJson = consume.optsWithGlobals<Given>().json === true;
      const format = isJson ? jsonFormat : readFormat(given.format ?? '%s\\n');
      const count = given.count === undefined ? Infinity : readCount(given.count, '--count', 1);
      if (given.group !== undefined && given.partition !== undefined)
        throw new UsageError('In a group the group says which partitions: leave out --partition');
      const topics = await Promise.all(names.map((name) => client.topic(name)));
      await new Consumption(client, context, topics, given, format, count).run();
    }),
  );
}

class Consumption {
  private left: number;
  private readonly ends = new Map<string, number>();
  private isStopped = false;
  /** Where the end is known. */
  private progress: Progress | undefined;

  constructor(
    private readonly client: KafkaClient,
    private readonly context: LogContext,
    private readonly topics: readonly TopicDescription[],
    private readonly given: Given,
    private readonly format: RecordFormat,
    count: number,
  ) {
    this.left = count;
    context.terminal.onStop(() => (this.isStopped = true));
  }

  async run(): Promise<void> {
    if (this.given.exit === true) await this.findEnds();
    if (this.given.group === undefined) await this.read(await this.places(), () => false);
    else await this.readInGroup(this.given.group);
  }

  private get isDone(): boolean {
    return this.left <= 0 || this.isStopped;
  }

  private get isReadCommitted(): boolean {
    return this.given.uncommitted !== true;
  }

  /** Prints until there is nothing left to print, or `isOver`. `printed` is told what was. */
  private async read(
    places: readonly FetchPlace[],
    isOver: () => boolean,
    printed?: (batches: readonly LogBatch[]) => Promise<void>,
  ): Promise<void> {
    const { PartitionFetcher, clock } = await import('@dovecote/broker/kafka-client');
    const fetcher = new PartitionFetcher(this.client, this.topics);
    if (this.given.exit === true) {
      const total = places.reduce((all, place) => all + Math.max(this.endOf(place) - place.offset, 0), 0);
      this.progress = new Progress('records', this.context.terminal, Math.min(total, this.left));
    }
    while (!this.isDone && !isOver()) {
      const wanted = places.filter((place) => place.offset < this.endOf(place));
      if (wanted.length === 0) {
        if (this.given.exit === true) return;
        await new Promise<void>((resolve) => void clock.after(maxWaitMs, resolve)); // a member for whom nothing is left waits for its turn
        continue;
      }
      const batches = await fetcher.fetch(wanted, { maxWaitMs, isReadCommitted: this.isReadCommitted });
      const done = batches.map((batch) => this.print(batch));
      await this.context.terminal.flush();
      await printed?.(done);
    }
  }

  /** What of the batch was printed. */
  private print(batch: LogBatch): LogBatch {
    const { topic, partition } = batch;
    const end = this.endOf(batch);
    const records = batch.records.filter(({ offset }) => offset < end).slice(0, Math.max(this.left, 0));
    this.context.terminal.say(records.map((record) => this.format({ topic, partition, record })).join(''));
    this.left -= records.length;
    this.progress?.add(records.length);
    const isWhole = records.length === batch.records.length;
    return {
      ...batch,
      records,
      nextOffset: isWhole ? batch.nextOffset : (records.at(-1)?.offset ?? (batch.records[0]?.offset ?? 0) - 1) + 1,
    };
  }

  private async readInGroup(group: string): Promise<void> {
    const { GroupSession, clock } = await import('@dovecote/broker/kafka-client');
    const session = new GroupSession(
      this.client,
      clock,
      group,
      this.topics.map(({ name }) => name),
    );
    try {
      while (!this.isDone) {
        const shared = await session.join();
        const starts = await this.places();
        const places = shared.map(({ topic, partition, offset }) => ({
          ...{ topic, partition },
          offset: offset >= 0 ? offset : (starts.find((one) => one.topic === topic && one.partition === partition)?.offset ?? 0),
        }));
        await this.read(
          places,
          () => session.isOver,
          (batches) => session.commit(batches.map(({ topic, partition, nextOffset: offset }) => ({ topic, partition, offset }))),
        );
        if (!session.isOver) return;
      }
    } finally {
      await session.leave();
    }
  }

  private endOf({ topic, partition }: { readonly topic: string; readonly partition: number }): number {
    return this.ends.get(`${topic}/${partition}`) ?? (this.given.exit === true ? 0 : Infinity);
  }

  private async findEnds(): Promise<void> {
    const ends = await offsetsAt(this.client, this.topics, 'latest', { isReadCommitted: this.isReadCommitted });
    for (const { topic, partition, offset } of ends) this.ends.set(`${topic}/${partition}`, offset);
  }

  /** Where it begins in each partition that is wanted. */
  private async places(): Promise<FetchPlace[]> {
    const { partition: chosen, offset: place = 'beginning' } = this.given;
    const numbers = chosen?.map((text) => readCount(text, '--partition'));
    const unknown = numbers?.find((number) =>
      this.topics.every(({ partitions }) => partitions.every(({ partition }) => partition !== number)),
    );
    if (unknown !== undefined) {
      const { KafkaClientError } = await import('@dovecote/broker/kafka-client');
      throw new KafkaClientError('refused', `There is no partition ${unknown}`);
    }
    const starts = await this.startsAt(place);
    return starts.filter(({ partition }) => numbers === undefined || numbers.includes(partition));
  }

  private async startsAt(place: string): Promise<FetchPlace[]> {
    const { client, topics } = this;
    if (place === 'beginning' || place === 'earliest') return [...(await offsetsAt(client, topics, 'earliest'))];
    if (place === 'end' || place === 'latest') return [...(await offsetsAt(client, topics, 'latest'))];
    if (place.startsWith('@')) return [...(await offsetsAt(client, topics, readTime(place.slice(1), '--offset @')))];
    if (/^-\d+$/.test(place)) {
      const [starts, ends] = await Promise.all([offsetsAt(client, topics, 'earliest'), offsetsAt(client, topics, 'latest')]);
      return ends.map((end, index) => ({ ...end, offset: Math.max(end.offset + Number(place), starts[index]!.offset) }));
    }
    const offset = readCount(place, '--offset');
    return (await offsetsAt(client, topics, 'earliest')).map((start) => ({ ...start, offset }));
  }
}
