/**
 * A topic of its own for each measurement: made, waited for until all of its partitions can be written, and removed whatever happens.
 */
import { KafkaConnection } from './connection.js';
import type { KafkaServer, LogDurability } from './server.js';
import { createTopicRequest, deleteTopicRequest, i32, i64, request, text, u8 } from './wire.js';

/** A thousand partitions take a peer some seconds. */
const setUpMsMax = 120_000;

export async function withTopic<T>(
  server: KafkaServer,
  durability: LogDurability,
  partitions: number,
  use: (topic: string) => Promise<T>,
): Promise<T> {
  const topic = `dovecote-bench-${process.pid}-${Math.round(performance.now())}`;
  const control = await KafkaConnection.open(server.at);
  try {
    await createTopic(control, topic, partitions, server.topicConfigs(durability));
    return await use(topic);
  } finally {
    await control.call(deleteTopicRequest(topic), setUpMsMax).catch(() => undefined);
    control.close();
  }
}

export async function createTopic(
  control: KafkaConnection,
  topic: string,
  partitions: number,
  configs: Readonly<Record<string, string>>,
): Promise<void> {
  const made = await control.call(createTopicRequest(topic, partitions, configs), setUpMsMax);
  // throttle, one topic, its name
  const error = made.readInt16BE(4 + 4 + 2 + topic.length);
  if (error !== 0) throw new Error(`the server did not make the topic ${topic}: error ${error}`);
  await untilReady(control, topic, partitions);
}

/** A Kafka answers for a topic that was just made with errors for a while. */
async function untilReady(control: KafkaConnection, topic: string, partitions: number): Promise<void> {
  const before = performance.now();
  const wanted = Array.from({ length: partitions }, (_, partition) => [i32(partition), i64(-1)]).flat();
  const listOffsets = request(2, 1, false, i32(-1), i32(1), text(topic), i32(partitions), ...wanted);
  for (;;) {
    const answer = await control.call(listOffsets, setUpMsMax);
    const first = 4 + 2 + topic.length + 4;
    let ready = 0;
    for (let n = 0; n < partitions; n++) if (answer.readInt16BE(first + n * 22 + 4) === 0) ready++;
    if (ready === partitions) return;
    if (performance.now() - before > setUpMsMax) throw new Error(`${partitions - ready} partitions of ${topic} cannot be written`);
    await control.socket.pass(50);
  }
}

/** Asks for a coordinator until there is one: a Kafka makes the topic for the offsets only then. */
export async function awaitCoordinator(control: KafkaConnection, group: string): Promise<void> {
  const before = performance.now();
  for (;;) {
    const answer = await control.call(request(10, 1, false, text(group), u8(0)), setUpMsMax);
    const error = answer.readInt16BE(4);
    if (error === 0) return;
    if (performance.now() - before > setUpMsMax) throw new Error(`the server has no coordinator for groups: error ${error}`);
    await control.socket.pass(100);
  }
}
