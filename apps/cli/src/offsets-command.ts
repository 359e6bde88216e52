/** `dovecote offsets`: where partitions begin and end, and which offset a moment has, as users of kafka-get-offsets expect. */
import type { Command } from 'commander';
import type { KafkaClient, TopicDescription } from '@dovecote/broker/kafka-client';
import { type LogContext, logCommand, readTime, show, withClient } from './log-commands.js';

export interface PartitionOffset {
  readonly topic: string;
  readonly partition: number;
  offset: number;
}

export function addOffsets(program: Command, context: LogContext): void {
  const offsets = logCommand(program, 'offsets <topics...>', 'the first and the next offset of each partition, or the offset of a moment')
    .option('-t, --time <time>', 'milliseconds since 1970, or a date such as 2026-11-28T10:00:00Z: the first record from then on')
    .option('--sum', 'how many records there are at most, topic by topic');
  offsets.action((names: readonly string[], { time, sum = false }: { time?: string; sum?: boolean }) =>
    withClient(offsets, context, async (client) => {
      const topics = await Promise.all(names.map((name) => client.topic(name)));
      if (time !== undefined) {
        const found = await offsetsAt(client, topics, readTime(time, '--time'));
        show(
          offsets,
          context,
          ['topic', 'partition', 'offset'],
          found.map((one) => ({ ...one })),
        );
        return;
      }
      const [starts, ends] = await Promise.all([offsetsAt(client, topics, 'earliest'), offsetsAt(client, topics, 'latest')]);
      const rows = starts.map(({ topic, partition, offset }, index) => ({
        topic,
        partition,
        earliest: offset,
        latest: ends[index]!.offset,
      }));
      if (!sum) {
        show(offsets, context, ['topic', 'partition', 'earliest', 'latest'], rows);
        return;
      }
      const records = (topic: string): number =>
        rows.filter((row) => row.topic === topic).reduce((all, { earliest, latest }) => all + latest - earliest, 0);
      show(
        offsets,
        context,
        ['topic', 'records'],
        names.map((topic) => ({ topic, records: records(topic) })),
      );
    }),
  );
}

/**
 * In every partition of the topics, in their order. A moment behind the last record is the end; where only what is committed counts, the end is before the
 * first transaction that is open.
 */
export async function offsetsAt(
  client: KafkaClient,
  topics: readonly TopicDescription[],
  place: 'earliest' | 'latest' | number,
  { isReadCommitted = false }: { readonly isReadCommitted?: boolean } = {},
): Promise<readonly PartitionOffset[]> {
  const { listOffsets, checkAnswer } = await import('@dovecote/broker/kafka-client');
  const timestamp = place === 'earliest' ? -2 : place === 'latest' ? -1 : place;
  const all = topics.flatMap(({ name, partitions }) => partitions.map(({ partition, leader }) => ({ topic: name, partition, leader })));
  const found = new Map<string, number>();
  for (const leader of new Set(all.map((one) => one.leader))) {
    const mine = all.filter((one) => one.leader === leader);
    const asked = [...new Set(mine.map(({ topic }) => topic))].map((name) => ({
      name,
      partitions: mine.filter(({ topic }) => topic === name).map(({ partition }) => ({ partitionIndex: partition, timestamp })),
    }));
    const isolationLevel = isReadCommitted ? 1 : 0;
    const answer = await client.ask(leader, listOffsets, { replicaId: -1, isolationLevel, topics: asked, timeoutMs: 30_000 });
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode, offset } of partitions) {
        checkAnswer(errorCode, `partition ${partitionIndex} of '${name}'`);
        found.set(`${name}/${partitionIndex}`, offset);
      }
    }
  }
  const isMissing = [...found.values()].some((offset) => offset < 0);
  const ends = isMissing && typeof place === 'number' ? await offsetsAt(client, topics, 'latest') : [];
  return all.map(({ topic, partition }, index) => {
    const offset = found.get(`${topic}/${partition}`) ?? -1;
    return { topic, partition, offset: offset < 0 ? (ends[index]?.offset ?? 0) : offset };
  });
}
