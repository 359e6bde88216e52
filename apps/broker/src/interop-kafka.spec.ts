/**
 * Kafka clients that know nothing of us against the daemon: kafkajs and @platformatic/kafka, over what most programs do with them. Those of other
 * languages are in the specs of their language; whole suites of theirs run by `npm run suites -- kafka`.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Admin as PlatformaticAdmin,
  Consumer,
  MessagesStreamModes,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka';
import { CompressionTypes, type EachMessagePayload, Kafka, logLevel, Partitioners } from 'kafkajs';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

const settings = ['--kafka-config', 'node.id=7', '--kafka-login', 'yes', '--user', 'ann:secret'];
const folder = temporaryFolder();
let daemon: DaemonProcess;
let kafkaPort: number;

/** The port stays, so that clients find it again when it comes back. */
async function start(port: number): Promise<void> {
  daemon = await DaemonProcess.listening([
    '--data',
    folder,
    '--amqp-port',
    '0',
    '--kafka-port',
    String(port),
    '--durability',
    'os',
    ...settings,
  ]);
  kafkaPort = daemon.kafkaPort;
}

beforeAll(() => start(0));
afterAll(cleanUp);

const values = (count: number): readonly string[] => Array.from({ length: count }, (_, number) => `${number}`);

describe('kafkajs', () => {
  const client = (password = 'secret'): Kafka =>
    new Kafka({
      clientId: 'kafkajs',
      brokers: [`127.0.0.1:${kafkaPort}`],
      logLevel: logLevel.NOTHING,
      sasl: { mechanism: 'plain', username: 'ann', password },
      retry: { retries: 2 },
    });

  it('makes a topic, produces compressed, consumes in a group and commits', async () => {
    const kafka = client();
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'js', numPartitions: 1 }] });
    expect((await admin.describeCluster()).brokers).toEqual([{ nodeId: 7, host: '127.0.0.1', port: kafkaPort }]);
    const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    const messages = values(50).map((value) => ({ key: 'k', value, headers: { h: 'x' } }));
    await producer.send({ topic: 'js', compression: CompressionTypes.GZIP, messages });
    await producer.disconnect();
    const consumer = kafka.consumer({ groupId: 'js-group' });
    await consumer.connect();
    await consumer.subscribe({ topics: ['js'], fromBeginning: true });
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      const eachMessage = ({ message }: EachMessagePayload): Promise<void> => {
        seen.push(`${String(message.value)}${String(message.headers?.['h'])}`);
        if (seen.length === 50) resolve();
        return Promise.resolve();
      };
      void consumer.run({ eachMessage });
    });
    expect(seen).toEqual(values(50).map((value) => `${value}x`));
    await consumer.disconnect();
    const [offsets] = await admin.fetchOffsets({ groupId: 'js-group', topics: ['js'] });
    expect(offsets!.partitions).toMatchObject([{ partition: 0, offset: '50' }]);
    expect((await admin.describeGroups(['js-group'])).groups[0]!.state).toBe('Empty');
    await admin.disconnect();
  });

  it('is told that its password is wrong, and that a topic cannot be called so', async () => {
    await expect(client('wrong').admin().connect()).rejects.toThrow('SASL PLAIN authentication failed');
    const admin = client().admin();
    await admin.connect();
    await expect(admin.createTopics({ topics: [{ topic: 'a b' }] })).rejects.toThrow('Topic creation errors');
    await admin.disconnect();
  });
});

describe('@platformatic/kafka', () => {
  const base = () => ({
    clientId: 'platformatic',
    bootstrapBrokers: [`127.0.0.1:${kafkaPort}`],
    sasl: { mechanism: 'PLAIN' as const, username: 'ann', password: 'secret' },
  });

  it('reads what kafkajs wrote and what it wrote itself, after the daemon was killed and is back', async () => {
    const producer = new Producer({ ...base(), idempotent: true, serializers: stringSerializers });
    await producer.send({ messages: values(20).map((value) => ({ topic: 'js', key: 'k', value: `${value}y` })) });
    await producer.close();
    await daemon.kill();
    await start(kafkaPort);
    const admin = new PlatformaticAdmin(base());
    expect(await admin.listTopics()).toEqual(['js']);
    const consumer = new Consumer({ ...base(), groupId: 'platformatic-group', deserializers: stringDeserializers });
    const stream = await consumer.consume({ topics: ['js'], mode: MessagesStreamModes.EARLIEST, autocommit: false });
    const seen: string[] = [];
    for await (const message of stream) {
      seen.push(message.value ?? '');
      if (seen.length < 70) continue;
      await message.commit();
      break;
    }
    expect(seen).toEqual([...values(50), ...values(20).map((value) => `${value}y`)]);
    await stream.close();
    await consumer.close();
    const [group] = await admin.listConsumerGroupOffsets({ groups: ['platformatic-group'] });
    expect(group!.topics[0]!.partitions[0]!.committedOffset).toBe(70n);
    await admin.close();
  });
});
