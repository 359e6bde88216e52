/**
 * A process that embeds a broker and does to its log what its parent asks, for the test that kills it. Keeps nothing but the data folder.
 *
 * What it says is in the pipe before it goes on, so that its parent hears it although the process is killed.
 */
import { Broker, type BrokerLog } from '@dovecote/broker';
import type { EmbeddingOptions, Question, ReadRecord, Saying } from './embedding-process.js';

const { data, durability, limits, reader } = JSON.parse(process.argv[2]!) as EmbeddingOptions;
const broker = await Broker.open({ data, durability, limits, kafka: { port: 0, initialRebalanceDelayMs: 0 } });
const log = await broker.log();
process.once('disconnect', () => process.exit());
process.on('message', (question) => void answer(question as Question));
await say({ kind: 'open', kafkaPort: broker.kafkaPort! });

async function answer({ id, verb, args }: Question): Promise<void> {
  try {
    await say({ kind: 'answer', id, value: await answerTo(verb, args) });
  } catch (error) {
    await say({ kind: 'refusal', id, reason: error instanceof Error ? error.message : String(error) });
  }
}

async function answerTo(verb: Question['verb'], args: readonly unknown[]): Promise<unknown> {
  if (verb === 'topics') return log.topics;
  if (verb === 'readFrom') return readFrom(...(args as [string, number, number]));
  if (verb === 'follow') return follow();
  return (log[verb] as (...given: readonly unknown[]) => unknown)(...args);
}

async function readFrom(topic: string, partition: number, from: number): Promise<readonly ReadRecord[]> {
  const found: ReadRecord[] = [];
  const { latest } = log.bounds(topic, partition);
  if (latest === from) return found;
  for await (const { records } of log.read(topic, partition, { from, until: 'end' }))
    for (const { offset, value } of records) found.push({ offset, value: value?.toString('latin1') ?? '' });
  return found;
}

async function follow(): Promise<void> {
  let member: Awaited<ReturnType<BrokerLog['join']>>;
  await log.join(reader.group, {
    topics: reader.topics,
    bytesMax: 16 * 1024,
    assigned: (_, joined) => void (member = joined),
    receive: async ({ topic, partition, records, nextOffset }) => {
      await say({ kind: 'saw', topic, partition, from: records[0]?.offset ?? nextOffset, next: nextOffset });
      await member.commit([{ topic, partition, offset: nextOffset }]);
      await say({ kind: 'committed', topic, partition, offset: nextOffset });
    },
    failed: (error) => void say({ kind: 'member-failed', reason: error instanceof Error ? error.message : String(error) }),
  });
}

function say(saying: Saying): Promise<void> {
  return new Promise((resolve) => process.send!(saying, () => resolve()));
}
