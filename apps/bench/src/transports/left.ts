/** Where a contender's messages are when nobody has them out: counted on the broker, not asked of the contender. */
import { Kafka, logLevel } from 'kafkajs';
import type { Contender } from './contenders.js';

/** Of each queue, how many messages are in it. */
export async function leftOverAmqp(host: string, contender: Contender, name: string): Promise<string> {
  const { connect } = await import('amqplib');
  const connection = await connect(`amqp://${host}`);
  const channel = await connection.createChannel();
  const counts: [string, number][] = [];
  for (const [place, queue] of Object.entries(contender.places(name))) counts.push([place, (await channel.checkQueue(queue)).messageCount]);
  await connection.close();
  return told(counts);
}

/** Of each topic that the group commits in, how many records are behind what it committed; of the dead letters, how many there are. */
export async function leftOverKafka(host: string, contender: Contender, name: string): Promise<string> {
  const admin = new Kafka({ clientId: name, brokers: [host], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const counts: [string, number][] = [];
  for (const [place, topic] of Object.entries(contender.places(name))) {
    const ends = await admin.fetchTopicOffsets(topic).catch(() => []);
    const committed = place === 'dead letters' ? [] : ((await admin.fetchOffsets({ groupId: name, topics: [topic] }))[0]?.partitions ?? []);
    let count = 0;
    for (const { partition, high, low } of ends) {
      const offset = Number(committed.find((one) => one.partition === partition)?.offset ?? -1);
      count += Number(high) - (offset < 0 ? Number(low) : offset);
    }
    counts.push([place, count]);
  }
  await admin.disconnect();
  return told(counts);
}

function told(counts: readonly (readonly [string, number])[]): string {
  const some = counts.filter(([, count]) => count > 0);
  return some.length === 0 ? 'nowhere' : some.map(([place, count]) => `${place}: ${count}`).join(', ');
}
