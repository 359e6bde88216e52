/** The broker in a test, used as its user uses it: amqplib, and nothing of ours but `startBroker`. */
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type ChannelModel, type ConfirmChannel, connect, type Message } from 'amqplib';
import { startBroker, type TestBroker, type TestBrokerOptions } from './index.js';

const started: TestBroker[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const broker of started.splice(0)) await broker.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('startBroker', () => {
  it('gives a broker to whom amqplib can talk, and whom the test can look into', async () => {
    const broker = await start();
    expect(broker.url).toBe(`amqp://guest:guest@127.0.0.1:${broker.port}`);
    const { connection, channel } = await open(broker.url);
    await channel.assertQueue('orders');
    channel.sendToQueue('orders', Buffer.from('one'));
    await channel.waitForConfirms();
    expect(broker.broker.durability).toBe('memory');
    expect(broker.broker.inspect()).toMatchObject({ connectionCount: 1, queues: [{ name: 'orders', messageCount: 1 }] });
    expect(((await channel.get('orders')) as Message).content.toString()).toBe('one');
    await connection.close();
  });

  it('starts as many as one likes, each alone', async () => {
    const brokers = await Promise.all([start(), start(), start()]);
    expect(new Set(brokers.map(({ port }) => port)).size).toBe(3);
    await brokers[0].broker.session().declareQueue('here');
    expect(brokers.map(({ broker }) => broker.inspect().queues.length)).toEqual([1, 0, 0]);
  });

  it('listens for Kafka clients too', async () => {
    const { kafka } = await start();
    const socket = createConnection(Number(kafka.split(':')[1]), '127.0.0.1');
    socket.write(Buffer.from('0000000a' + '00120000' + '00000007' + 'ffff', 'hex')); // ApiVersions, the first thing that every client says
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect([answer.readInt32BE(4), answer.readInt16BE(8), answer.readInt32BE(10)]).toEqual([7, 0, 30]);
  });

  it('writes any name and password into the url', async () => {
    const { url } = await start({ users: [{ name: 'an/n', password: 'p@ss:w%rd' }] });
    expect(url).toContain('an%2Fn:p%40ss%3Aw%25rd@');
    await (await open(url)).connection.close();
  });

  it('leaves nothing open behind stop, not even while a client is connected', async () => {
    const before = process.getActiveResourcesInfo().filter(isSocket).length;
    const broker = await startBroker();
    const { connection } = await open(broker.url);
    const told = new Promise((resolve) => connection.once('close', resolve));
    await Promise.all([broker.stop(), broker.stop()]);
    await told;
    await expect(connect(broker.url)).rejects.toThrow('ECONNREFUSED');
    expect(process.getActiveResourcesInfo().filter(isSocket)).toHaveLength(before);
  });

  it('is stopped at the end of `await using`', async () => {
    const broker = await startBroker();
    await broker[Symbol.asyncDispose]();
    await broker.broker.ended;
    await expect(connect(broker.url)).rejects.toThrow('ECONNREFUSED');
  });

  it('keeps its messages in a data folder, and takes the place of the last one, when it is told to', async () => {
    const data = mkdtempSync(join(tmpdir(), 'dovecote-testing-'));
    folders.push(data);
    const first = await startBroker({ data });
    const before = await open(first.url);
    await before.channel.assertQueue('kept');
    before.channel.sendToQueue('kept', Buffer.from('still here'), { persistent: true });
    await before.channel.waitForConfirms();
    await first.stop();
    const second = await start({ data, port: first.port, durability: 'os' });
    expect(second.url).toBe(first.url);
    const after = await open(second.url);
    expect(((await after.channel.get('kept')) as Message).content.toString()).toBe('still here');
    await after.connection.close();
  });

  it('says what is missing when it shall keep messages and has no folder', async () => {
    await expect(startBroker({ durability: 'fsync' })).rejects.toThrow("Durability 'fsync' needs a data folder");
  });
});

async function start(options?: TestBrokerOptions): Promise<TestBroker> {
  const broker = await startBroker(options);
  started.push(broker);
  return broker;
}

async function open(url: string): Promise<{ readonly connection: ChannelModel; readonly channel: ConfirmChannel }> {
  const connection = await connect(url, { noDelay: true });
  connection.on('error', () => undefined);
  return { connection, channel: await connection.createConfirmChannel() };
}

function isSocket(resource: string): boolean {
  return resource === 'TCPServerWrap' || resource === 'TCPSocketWrap';
}
