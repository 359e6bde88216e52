/**
 * Strangers and broken clients on the daemon's port. Each gets the protocol's own error and costs it nothing that stays; the client beside them goes on.
 *
 * Slow tests wait for the daemon's own timers, which run from the beginning side by side.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ChannelModel, type ConfirmChannel, connect, type Message } from 'amqplib';
import { SeededRandom } from '@dovecote/ground/testing';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';
import { consume, declareQueue, frame, method, protocolHeader, publishHead, RawClient, startOk, tuneOk } from './raw-client.js';

const megabyte = 1024 * 1024;
let daemon: DaemonProcess;
let friend: ChannelModel;
let friendChannel: ConfirmChannel;
let slow: readonly RawClient[];

beforeAll(async () => {
  daemon = await DaemonProcess.listening(['--data', temporaryFolder(), '--amqp-port', '0', '--durability', 'os']);
  friend = await connect(daemon.url, { noDelay: true });
  friendChannel = await friend.createConfirmChannel();
  await friendChannel.assertQueue('friend');
  slow = await Promise.all(
    [undefined, protocolHeader.subarray(0, 3), protocolHeader, Buffer.concat([protocolHeader, startOk('guest', 'guest')])].map(slowClient),
  );
});
afterAll(async () => {
  await friend.close();
  await cleanUp();
});

describe('who does not speak AMQP', () => {
  it.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), /HTTP/],
    ['TLS', Buffer.from('160301020001000100fc0303', 'hex'), /TLS/],
    ['AMQP 1.0', Buffer.from('AMQP\x03\x01\0\0', 'latin1'), /1\.0/],
    ['noise', Buffer.from('0123456789', 'latin1'), /: /],
  ])('is told by %s what would be understood, and the operator is told too', async (_, bytes, line) => {
    const stranger = await RawClient.connect(daemon.port);
    stranger.send(bytes);
    await stranger.closed();
    expect(stranger.received).toEqual(protocolHeader);
    await daemon.said('stderr', line);
    await friendGoesOn();
  });
});

describe('who breaks the rules', () => {
  it.each([
    ['a wrong password', Buffer.concat([startOk('guest', 'wrong')]), undefined],
    ['an unknown mechanism', method(0, 10, 11, Buffer.from('\0\0\0\0\x05MAGIC\0\0\0\0\x05en_US', 'latin1')), 503],
    ['a frame larger than the handshake allows', Buffer.from([1, 0, 0, 0, 2, 0, 0]), 501],
    ['a frame of another channel', method(1, 20, 10, Buffer.from([0])), 505],
  ])('is refused for %s before it is logged in', async (_, bytes, code) => {
    const client = await RawClient.connect(daemon.port);
    client.send(protocolHeader, bytes);
    expect((await client.closeReason())?.code).toBe(code);
    await hangUp(client);
    await friendGoesOn();
  });

  it.each([['another virtual host', Buffer.from('\x02/x\0\0', 'latin1'), 530, 'vhost /x not found']])(
    'is refused %s',
    async (_, bytes, code, text) => {
      const client = await RawClient.connect(daemon.port);
      client.send(protocolHeader, startOk('guest', 'guest'), tuneOk(131_072, 60), method(0, 10, 40, bytes));
      expect(await client.closeReason()).toMatchObject({ method: '10.50', code, text: expect.stringContaining(text) });
      await hangUp(client);
    },
  );

  it.each([
    ['a frame above the limit', Buffer.from([1, 0, 1, 0, 3, 0, 0]), 501, 'FRAME_ERROR'],
    ['a frame of an unknown type', frame(7, 1, Buffer.from('hello')), 501, 'FRAME_ERROR'],
    [
      'a frame without its end',
      Buffer.concat([frame(1, 1, Buffer.from([0, 20, 0, 10])).subarray(0, 11), Buffer.from([0])]),
      501,
      'FRAME_ERROR',
    ],
    ['a body longer than announced', Buffer.concat([publishHead(1, 'friend', 10), frame(3, 1, Buffer.alloc(11))]), 501, 'FRAME_ERROR'],
    ['a method in the middle of a body', Buffer.concat([publishHead(1, 'friend', 10), declareQueue(1, 'x')]), 505, 'UNEXPECTED_FRAME'],
    ['a body without its head', frame(3, 1, Buffer.alloc(10)), 505, 'UNEXPECTED_FRAME'],
    ['an unknown method', method(1, 99, 99), 503, 'COMMAND_INVALID'],
    ['a channel that is not open', declareQueue(9, 'x'), 504, 'CHANNEL_ERROR'],
    ['a channel opened twice', method(1, 20, 10, Buffer.from([0])), 504, 'CHANNEL_ERROR'],
    ['arguments that end too soon', method(1, 50, 10, Buffer.from([0, 0, 200])), 501, 'FRAME_ERROR'],
  ])('loses the connection for %s', async (_, bytes, code, name) => {
    const client = await RawClient.open(daemon.port, { channels: 1 });
    client.send(bytes);
    expect(await client.closeReason()).toMatchObject({ method: '10.50', code, text: expect.stringMatching(`^${name} - .`) });
    await hangUp(client);
    await friendGoesOn();
  });

  it('loses the channel for a message above the limit, and nothing else', async () => {
    const client = await RawClient.open(daemon.port, { channels: 2 });
    client.send(publishHead(1, 'friend', 16 * megabyte + 1));
    for (let left = 16 * megabyte + 1; left > 0; left -= 100_000) client.send(frame(3, 1, Buffer.alloc(Math.min(left, 100_000))));
    expect(await client.closeReason()).toMatchObject({ method: '20.40', code: 406 });
    client.send(declareQueue(2, 'still here'));
    await client.answered('50.11');
    client.socket.destroy();
  });
});

describe('memory', () => {
  it('is not taken by messages that are announced and do not come', async () => {
    await settle();
    const before = daemon.residentBytes;
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(daemon.port, { channels: 50 })));
    for (const client of clients) {
      for (let channel = 1; channel <= 50; channel++) client.send(publishHead(channel, 'friend', 16 * megabyte));
    }
    await friendGoesOn();
    expect(daemon.residentBytes - before).toBeLessThan(128 * megabyte); // 16 GB were announced
    for (const client of clients) client.socket.destroy();
  });

  it('is not taken by a body that never ends', async () => {
    const client = await RawClient.open(daemon.port, { channels: 10 });
    const before = daemon.residentBytes;
    const part = frame(3, 1, Buffer.alloc(100_000));
    for (let channel = 1; channel <= 10; channel++) client.send(publishHead(channel, 'friend', 16 * megabyte));
    for (let sent = 0; sent < 150; sent++) {
      for (let channel = 1; channel <= 10; channel++) {
        part.writeUInt16BE(channel, 1);
        client.send(part);
      }
    }
    expect(await client.closeReason()).toMatchObject({ method: '10.50', code: 506 });
    expect(daemon.residentBytes - before).toBeLessThan(192 * megabyte); // of 64 MiB that one connection may hold, half written over
    await hangUp(client);
    await friendGoesOn();
  });

  it('is not taken by consumers that do not read', async () => {
    const consumers = Array.from({ length: 20 }, (_, number) => `slow ${number}`);
    await friendChannel.assertExchange('slow', 'fanout');
    const clients: RawClient[] = [];
    for (const queue of consumers) {
      await friendChannel.assertQueue(queue);
      await friendChannel.bindQueue(queue, 'slow', '');
      const client = await RawClient.open(daemon.port, { channels: 1 });
      client.send(consume(1, queue));
      await client.answered('60.21');
      client.socket.pause();
      clients.push(client);
    }
    const before = daemon.residentBytes;
    for (let number = 0; number < 300; number++) friendChannel.publish('slow', '', Buffer.alloc(100_000));
    await friendChannel.waitForConfirms();
    await friendGoesOn();
    // 30 MB of messages are there once, and 600 MB would go out if the sockets took them.
    expect(daemon.residentBytes - before).toBeLessThan(160 * megabyte);
    for (const client of clients) client.socket.destroy();
    for (const queue of consumers) await friendChannel.deleteQueue(queue);
  });

  it('is not taken by random bytes', async () => {
    const random = new SeededRandom(20261121);
    await throwNoise(random, 100);
    const before = daemon.residentBytes;
    await throwNoise(random, 400);
    await friendGoesOn();
    expect(daemon.residentBytes - before).toBeLessThan(64 * megabyte);
  });

  it('bears a thousand idle connections', async () => {
    const before = daemon.residentBytes;
    const clients: RawClient[] = [];
    for (let hundred = 0; hundred < 10; hundred++) {
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => RawClient.open(daemon.port, { channels: 1 })))));
    }
    await friendGoesOn();
    expect(clients.filter(({ isClosed }) => isClosed)).toEqual([]);
    expect(daemon.residentBytes - before).toBeLessThan(100 * megabyte);
    for (const client of clients) client.socket.destroy();
    await friendGoesOn();
  });
});

describe('who takes its time', () => {
  it('is cut when it is not logged in after ten seconds', async () => {
    await Promise.all(slow.map((client) => client.closed()));
    await friendGoesOn();
    expect(slow.map(({ received }) => received.length > 0)).toEqual([false, false, true, true]);
  }, 20_000);
});

/** Opens a connection, says the beginning of something, and then nothing more. */
async function slowClient(beginning: Uint8Array | undefined): Promise<RawClient> {
  const client = await RawClient.connect(daemon.port);
  if (beginning !== undefined) client.send(beginning);
  return client;
}

/** A client that keeps to the rules publishes a message and gets it back. */
async function friendGoesOn(): Promise<void> {
  friendChannel.sendToQueue('friend', Buffer.from('hello'), { persistent: true });
  await friendChannel.waitForConfirms();
  const message = (await friendChannel.get('friend', { noAck: true })) as Message;
  expect(message.content.toString()).toBe('hello');
}

/** Answers the close; the daemon must then end the connection. */
async function hangUp(client: RawClient): Promise<void> {
  if (!client.isClosed) client.send(method(0, 10, 51));
  await client.closed();
}

/** Connections that send noise: at once, or after a protocol header, or as frames after a good login. Resolves when the daemon has hung up on all of them. */
async function throwNoise(random: SeededRandom, count: number): Promise<void> {
  const throws = Array.from({ length: count }, () => {
    const noise = random.bytes(1 + random.below(65_536));
    const asFrame = frame(1 + random.below(3), random.below(3), noise.subarray(0, random.below(noise.length)));
    return random.below(3) === 0 ? throwFrames(asFrame, noise) : throwBytes(random.below(2) === 0 ? protocolHeader : asFrame, noise);
  });
  await Promise.all(throws);
}

async function throwFrames(...frames: readonly Buffer[]): Promise<void> {
  const client = await RawClient.open(daemon.port, { channels: 1 });
  client.send(...frames);
  client.socket.end();
  await client.closed();
}

async function throwBytes(...bytes: readonly Buffer[]): Promise<void> {
  const client = await RawClient.connect(daemon.port);
  client.send(...bytes);
  client.socket.end();
  await client.closed();
}

/** Twice around the daemon's loop, so that what its clients left is gone. */
async function settle(): Promise<void> {
  await friendGoesOn();
  await friendGoesOn();
}
