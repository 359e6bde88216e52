/**
 * Who may come to the daemon over Kafka's protocol, and what they may do there: TLS with passwords and with client certificates, certificates that change, and the permissions
 * of `/`, by clients that know nothing of us.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestAuthority, type TestCertificate } from '@dovecote/ground/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  Admin as PlatformaticAdmin,
  Consumer as PlatformaticConsumer,
  Producer as PlatformaticProducer,
  stringSerializers,
} from '@platformatic/kafka';
import { Kafka, type KafkaConfig, logLevel, Partitioners, type Producer } from 'kafkajs';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

/** Of kafkajs; they go before the daemon does, so that nobody looks for it afterwards. */
const connected: { disconnect(): Promise<void> }[] = [];

afterEach(async () => {
  for (const client of connected.splice(0)) await client.disconnect();
  await cleanUp();
});

const plain = (username: string, password: string): { mechanism: 'plain'; username: string; password: string } => ({
  mechanism: 'plain',
  username,
  password,
});

function kafkaAt(port: number, config: Partial<KafkaConfig>): Kafka {
  return new Kafka({ clientId: 'js', brokers: [`127.0.0.1:${port}`], logLevel: logLevel.NOTHING, retry: { retries: 0 }, ...config });
}

/** The names of the topics that a newcomer sees. */
async function enter(kafka: Kafka): Promise<readonly string[]> {
  const admin = kafka.admin();
  connected.push(admin);
  await admin.connect();
  return (await admin.listTopics()).sort();
}

async function connectedProducer(kafka: Kafka): Promise<Producer> {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  connected.push(producer);
  return producer;
}

/** The refusal as @platformatic/kafka has it: somewhere below what it throws. */
async function refusalOf(asked: Promise<unknown>): Promise<string> {
  const codes: string[] = [];
  const collect = (error: { readonly apiId?: string; readonly cause?: unknown; readonly errors?: readonly unknown[] }): void => {
    if (error.apiId !== undefined) codes.push(error.apiId);
    for (const below of [error.cause, ...(error.errors ?? [])]) if (below instanceof Error) collect(below as typeof error);
  };
  await asked.then(
    () => codes.push('nothing was refused'),
    (error: Error) => collect(error as Parameters<typeof collect>[0]),
  );
  return codes.join(', ');
}

/** Reads a topic from its beginning; `heard` resolves with the value that ends with this. Rejects where the consumer ends by itself. */
async function startConsumer(kafka: Kafka, groupId: string, topic: string): Promise<{ heard(end: string): Promise<string> }> {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  connected.push(consumer);
  const values: string[] = [];
  let [woken, refused]: [() => void, (error: Error) => void] = [() => undefined, () => undefined];
  let crash: Error | undefined;
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    crash = payload.error;
    refused(payload.error);
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: ({ message }) => {
      values.push(String(message.value));
      woken();
      return Promise.resolve();
    },
  });
  const heard = async (end: string): Promise<string> => {
    for (;;) {
      const value = values.find((each) => each.endsWith(end));
      if (value !== undefined) return value;
      if (crash !== undefined) throw crash;
      await new Promise<void>((resolve, reject) => ([woken, refused] = [resolve, reject]));
    }
  };
  return { heard };
}

describe('Kafka over TLS', () => {
  const [authority, clients] = [new TestAuthority('Servers'), new TestAuthority('Clients')];

  interface Place {
    readonly daemon: DaemonProcess;
    readonly folder: string;
    readonly port: number;
  }

  async function listening(more: readonly string[] = []): Promise<Place> {
    const folder = temporaryFolder();
    write(folder, authority.vouchFor('dove'));
    writeFileSync(join(folder, 'clients.pem'), clients.certificate);
    const tls = ['--tls-certificate', join(folder, 'certificate.pem'), '--tls-key', join(folder, 'key.pem')];
    const believed = ['--tls-authorities', join(folder, 'clients.pem')];
    const listeners = ['--amqp-port', '0', '--kafka-listener', 'kafkas://127.0.0.1:0?login=yes'];
    const settings = ['--durability', 'memory', '--kafka-config', 'group.initial.rebalance.delay.ms=0'];
    const daemon = await DaemonProcess.listening([...settings, ...listeners, ...tls, ...believed, ...more]);
    return { daemon, folder, port: Number(/Kafka over TLS listening on .*:(\d+)\n/.exec(daemon.stdout)?.[1]) };
  }

  function write(folder: string, { certificate, key }: TestCertificate): void {
    writeFileSync(join(folder, 'certificate.pem'), certificate);
    writeFileSync(join(folder, 'key.pem'), key);
  }

  const withPassword = (ca = authority.certificate): Partial<KafkaConfig> => ({ ssl: { ca: [ca] }, sasl: plain('guest', 'guest') });

  it('is spoken with whoever believes the authority and logs in, and with nobody else', async () => {
    const { port } = await listening();
    const kafka = kafkaAt(port, withPassword());
    const producer = await connectedProducer(kafka);
    const value = `${'x'.repeat(900_000)}the end`;
    await producer.send({ topic: 't', messages: [{ value }] });
    const consumer = await startConsumer(kafka, 'g', 't');
    expect(await consumer.heard('the end')).toBe(value);
    const entry = (config: Partial<KafkaConfig>): Promise<readonly string[]> => enter(kafkaAt(port, config));
    await expect(entry(withPassword(clients.certificate))).rejects.toThrow(/certificate|self.signed/i);
    await expect(entry({ sasl: plain('guest', 'guest') })).rejects.toThrow(/closed|timeout|ECONNRESET|EPIPE/i);
    await expect(entry({ ...withPassword(), sasl: plain('guest', 'wrong') })).rejects.toThrow('SASL PLAIN authentication failed');
    await expect(entry({ ssl: { ca: [authority.certificate] } })).rejects.toThrow(/closed/i);
  });

  it('lets clients in by their certificate, as the user whose name it bears', async () => {
    const file = join(temporaryFolder(), 'dovecote.json');
    const permissions = [{ virtualHost: '/', configure: '^adas', write: '^adas', read: '^adas' }];
    const users = [
      { name: 'ada', password: 'unused', permissions },
      { name: 'guest', password: 'guest' },
    ];
    writeFileSync(file, JSON.stringify({ users }));
    const { port } = await listening(['--config', file]);
    const sslOf = (name: string, who = clients): { ca: string[]; cert: string; key: string } => {
      const { certificate: cert, key } = who.vouchFor(name);
      return { ca: [authority.certificate], cert, key };
    };
    const ada = kafkaAt(port, { ssl: sslOf('ada') });
    const producer = await connectedProducer(ada);
    await producer.send({ topic: 'adas-own', messages: [{ value: 'hers' }] });
    await expect(producer.send({ topic: 'another', messages: [{ value: 'not hers' }] })).rejects.toThrow('Not authorized to access topic');
    const platformatic = { clientId: 'p', bootstrapBrokers: [`127.0.0.1:${port}`], tls: sslOf('ada') };
    const admin = new PlatformaticAdmin(platformatic);
    expect(await admin.listTopics()).toEqual(['adas-own']);
    await admin.close();
    // A name that no user has is not let in by the certificate, and may log in.
    await expect(enter(kafkaAt(port, { ssl: sslOf('eve') }))).rejects.toThrow(/closed/i);
    expect(await enter(kafkaAt(port, { ssl: sslOf('eve'), sasl: plain('guest', 'guest') }))).toEqual(['adas-own']);
    // An authority that is not believed.
    await expect(enter(kafkaAt(port, { ssl: sslOf('ada', authority) }))).rejects.toThrow(/closed|ECONNRESET|EPIPE|alert/i);
  });

  it('takes a new certificate at SIGHUP, while producers and consumers stay connected', async () => {
    const { daemon, folder, port } = await listening();
    const kafka = kafkaAt(port, withPassword());
    const producer = await connectedProducer(kafka);
    await producer.send({ topic: 't', messages: [{ value: 'before' }] });
    const consumer = await startConsumer(kafka, 'g', 't');
    await consumer.heard('before');
    const others = new TestAuthority('Others');
    write(folder, others.vouchFor('dove'));
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.said('stderr', /the certificate was read again/);
    await expect(enter(kafkaAt(port, withPassword()))).rejects.toThrow(/certificate|issuer/i);
    // These believe the old authority alone: they could not have come again.
    await producer.send({ topic: 't', messages: [{ value: 'after' }] });
    expect(await consumer.heard('after')).toBe('after');
    const newcomer = await startConsumer(kafkaAt(port, withPassword(others.certificate)), 'h', 't');
    expect(await newcomer.heard('after')).toBe('after');
  });
});

describe('the permissions of / hold for Kafka clients', () => {
  const ann = { virtualHost: '/', configure: '^mine', write: '^(mine|in$)', read: '^(mine|out$|readers$)' };

  interface Place {
    readonly daemon: DaemonProcess;
    readonly kafka: Kafka;
    /** The options of @platformatic/kafka. */
    readonly base: {
      clientId: string;
      bootstrapBrokers: string[];
      sasl: { mechanism: 'PLAIN'; username: string; password: string };
      retries: number;
    };
  }

  async function open(): Promise<Place> {
    const folder = temporaryFolder();
    const file = join(folder, 'dovecote.json');
    const users = [
      { name: 'ann', password: 'a', permissions: [ann] },
      { name: 'root', password: 'r', tags: ['administrator'] },
    ];
    writeFileSync(file, JSON.stringify({ users }));
    const ports = ['--amqp-port', '0', '--management-port', '0', '--kafka-port', '0', '--kafka-login', 'yes'];
    const daemon = await DaemonProcess.listening([
      ...['--config', file, '--data', join(folder, 'data'), '--durability', 'os', ...ports],
      ...['--kafka-config', 'group.initial.rebalance.delay.ms=0'],
    ]);
    const root = kafkaAt(daemon.kafkaPort, { sasl: plain('root', 'r') }).admin();
    connected.push(root);
    await root.connect();
    await root.createTopics({ topics: ['in', 'out', 'secret'].map((topic) => ({ topic, numPartitions: 1 })) });
    const base = {
      clientId: 'platformatic',
      bootstrapBrokers: [`127.0.0.1:${daemon.kafkaPort}`],
      sasl: { mechanism: 'PLAIN' as const, username: 'ann', password: 'a' },
      retries: 0,
    };
    return { daemon, kafka: kafkaAt(daemon.kafkaPort, { sasl: plain('ann', 'a') }), base };
  }

  it('to kafkajs: who may write writes, who may read reads, and a topic or group of others is refused', async () => {
    const { kafka } = await open();
    const producer = await connectedProducer(kafka);
    const send = (topic: string): Promise<unknown> => producer.send({ topic, messages: [{ value: topic }] });
    await send('in');
    await send('mine-made-by-this');
    await expect(send('out')).rejects.toThrow('Not authorized to access topic');
    await expect(send('secret')).rejects.toThrow('Not authorized to access topic');
    expect(await enter(kafka)).toEqual(['in', 'mine-made-by-this', 'out']);
    const admin = kafka.admin();
    connected.push(admin);
    await admin.connect();
    await expect(admin.fetchTopicMetadata({ topics: ['secret'] })).rejects.toThrow('Not authorized to access topic');
    await expect(admin.createTopics({ topics: [{ topic: 'others' }] })).rejects.toThrow('Topic creation errors');
    await expect(admin.deleteTopics({ topics: ['in'] })).rejects.toThrow('Not authorized to access topic');
    expect(await (await startConsumer(kafka, 'readers', 'mine-made-by-this')).heard('this')).toBe('mine-made-by-this');
    const stranger = startConsumer(kafka, 'others', 'mine-made-by-this').then((consumer) => consumer.heard('this'));
    await expect(stranger).rejects.toThrow('Failed to find group coordinator'); // kafkajs's words for it: nobody tells it who that is
    await expect(startConsumer(kafka, 'readers', 'secret')).rejects.toThrow('Not authorized to access topic');
  });

  it('to @platformatic/kafka', async () => {
    const { base } = await open();
    const producer = new PlatformaticProducer({ ...base, serializers: stringSerializers });
    const send = (topic: string): Promise<unknown> => producer.send({ messages: [{ topic, value: topic }] });
    await send('in');
    expect(await refusalOf(send('out'))).toBe('TOPIC_AUTHORIZATION_FAILED');
    expect(await refusalOf(send('secret'))).toBe('TOPIC_AUTHORIZATION_FAILED');
    await producer.close();
    const admin = new PlatformaticAdmin(base);
    expect([...(await admin.listTopics())].sort()).toEqual(['in', 'out']);
    expect(await refusalOf(admin.createTopics({ topics: ['others'] }))).toBe('TOPIC_AUTHORIZATION_FAILED');
    await admin.close();
    const consumer = new PlatformaticConsumer({ ...base, groupId: 'others' });
    expect(await refusalOf(consumer.consume({ topics: ['out'] }))).toBe('GROUP_AUTHORIZATION_FAILED');
    consumer.close(true, () => undefined);
  });

  it('and what is taken away is refused from then on, over a connection that was open before', async () => {
    const { daemon } = await open();
    const management = Number(/management listening on .*:(\d+)\n/.exec(daemon.stdout)?.[1]);
    const put = async (path: string, body: object): Promise<boolean> => {
      const headers = { authorization: `Basic ${Buffer.from('root:r').toString('base64')}`, 'content-type': 'application/json' };
      return (await fetch(`http://127.0.0.1:${management}/api/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })).ok;
    };
    expect(await put('users/zoe', { password: 'z', tags: '' })).toBe(true);
    expect(await put('permissions/%2F/zoe', { configure: '', write: '^in$', read: '^in$' })).toBe(true);
    const producer = await connectedProducer(kafkaAt(daemon.kafkaPort, { sasl: plain('zoe', 'z') }));
    await producer.send({ topic: 'in', messages: [{ value: 'allowed' }] });
    expect(await put('permissions/%2F/zoe', { configure: '', write: '^out$', read: '^in$' })).toBe(true);
    await expect(producer.send({ topic: 'in', messages: [{ value: 'refused' }] })).rejects.toThrow('Not authorized to access topic');
    await producer.send({ topic: 'out', messages: [{ value: 'allowed now' }] });
  });
});
