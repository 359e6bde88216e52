/**
 * The daemon on a disk that fills up and on one that fails: what it says, what it holds back, and that nothing confirmed is lost.
 *
 * The full disk is a small volume of memory, mounted where only one process sees it; that needs Linux and its user namespaces, and where there are none
 * the test says that it was skipped. The failing disk is a limit on the length of a file, which every Unix has.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type ChannelModel, type ConfirmChannel, connect, type Message } from 'amqplib';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

const megabyte = 1024 * 1024;
const canMount = spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
if (!canMount) process.stdout.write('SKIPPED: the tests of a full disk, because this system does not let us mount a small one\n');

const holders: ChildProcess[] = [];
afterEach(async () => {
  await cleanUp();
  for (const holder of holders.splice(0)) holder.kill('SIGKILL');
});

(canMount ? describe : describe.skip)('a disk that is full', () => {
  it('holds publishers back, lets consumers go on, and takes up where it stopped when there is space', async () => {
    const volume = await smallVolume(64);
    const filler = `${volume}/filler`;
    writeFileSync(filler, Buffer.alloc(62 * megabyte));
    const daemon = await DaemonProcess.listening(['--data', `${volume}/data`, '--amqp-port', '0', '--durability', 'os']);
    const { connection: publisher, channel } = await lastingUntilTheEnd(daemon.url);
    await channel.assertQueue('full');
    const reasons: string[] = [];
    publisher.on('blocked', (why: string) => reasons.push(why));
    const numbers = new NumberPublisher(channel, 'full');
    while (reasons.length === 0) await numbers.publish();
    expect(reasons[0]).toMatch(/full/);
    await daemon.said('stderr', /The disk of .* is full: publishers are held back until there is space/);
    expect(numbers.confirmed.length).toBeLessThan(numbers.published);

    const consumer = await lastingUntilTheEnd(daemon.url);
    const first = (await consumer.channel.get('full')) as Message;
    expect(first.content.readUInt32BE(0)).toBe(0);
    await consumer.connection.close(); // and it goes back

    const unblocked = once(publisher, 'unblocked');
    rmSync(filler);
    await unblocked;
    await channel.waitForConfirms();
    expect(numbers.confirmed).toEqual(Array.from({ length: numbers.published }, (_, number) => number));
    await daemon.kill();
    const next = await DaemonProcess.listening(['--data', `${volume}/data`, '--amqp-port', '0', '--durability', 'os']);
    expect(await numbersIn(next.url, 'full')).toEqual(numbers.confirmed);
  });

  it('is no place to start, and says so', async () => {
    const volume = await smallVolume(1);
    expect(() => writeFileSync(`${volume}/filler`, Buffer.alloc(2 * megabyte))).toThrow('ENOSPC');
    expect(statfsSync(volume).bavail).toBe(0);
    const daemon = new DaemonProcess(['--data', `${volume}/data`, '--amqp-port', '0', '--durability', 'os']);
    expect(await daemon.exited).toEqual({ code: 1, signal: null });
    expect(daemon.stderr).toMatch(/^dovecote: The disk of .*\/data is full: free some space and start again\n$/);
  });
});

describe('a disk that fails', () => {
  it('ends the daemon with a sentence, and what was confirmed is there at the next start', async () => {
    const data = temporaryFolder();
    const args = ['--data', data, '--amqp-port', '0', '--durability', 'os'];
    const daemon = await DaemonProcess.listening(args, 'ulimit -f 1024'); // files of half a megabyte, or of one: shells differ
    const { connection, channel } = await lastingUntilTheEnd(daemon.url);
    const closed = new Promise((resolve) => connection.once('close', resolve));
    await channel.assertQueue('failing');
    const numbers = new NumberPublisher(channel, 'failing');
    for (let number = 0; number < 400; number++) void numbers.publish();
    expect(await daemon.exited).toEqual({ code: 1, signal: null });
    expect(daemon.stderr).toMatch(/^dovecote: Writing to .*\.log failed: .* Check the disk, then start the broker again\n$/m);
    expect(daemon.stderr).not.toMatch(/^ +at /m);
    await closed;
    const { confirmed } = numbers;
    expect(confirmed.length).toBeLessThan(400);
    const next = await DaemonProcess.listening(args);
    const kept = await numbersIn(next.url, 'failing');
    expect(kept.slice(0, confirmed.length)).toEqual(confirmed);
  });
});

/** Publishes messages of 10 kB that are numbered from 0, and keeps the numbers of those that were confirmed. */
class NumberPublisher {
  published = 0;
  readonly confirmed: number[] = [];

  constructor(
    private readonly channel: ConfirmChannel,
    private readonly queue: string,
  ) {}

  /** Resolves in a later turn, whether it was confirmed by then or not. */
  publish(): Promise<void> {
    const number = this.published++;
    const body = Buffer.alloc(10_000);
    body.writeUInt32BE(number);
    this.channel.sendToQueue(this.queue, body, { persistent: true }, (error: unknown) => error === null && this.confirmed.push(number));
    return new Promise((resolve) => setImmediate(resolve));
  }
}

/** The path of an empty volume of so many megabytes, which goes with the test. */
async function smallVolume(megabytes: number): Promise<string> {
  const place = temporaryFolder();
  const script = `mount -t tmpfs -o size=${megabytes}m tmpfs ${place} && echo mounted && exec cat`;
  const holder = spawn('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  holders.push(holder);
  await once(holder.stdout, 'data');
  return `/proc/${holder.pid}/root${place}`;
}

/** A client that outlives its broker. */
async function lastingUntilTheEnd(url: string): Promise<{ readonly connection: ChannelModel; readonly channel: ConfirmChannel }> {
  const connection = await connect(url, { noDelay: true });
  connection.on('error', () => undefined);
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => undefined);
  return { connection, channel };
}

/** What stands in a queue, in its order. */
async function numbersIn(url: string, queue: string): Promise<readonly number[]> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  const numbers: number[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) break;
    numbers.push((message as Message).content.readUInt32BE(0));
  }
  await connection.close();
  return numbers;
}
