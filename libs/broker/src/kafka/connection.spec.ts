import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { produce } from './apis/00-produce.js';
import { fetchRecords } from './apis/01-fetch.js';
import { metadata } from './apis/03-metadata.js';
import { saslHandshake } from './apis/17-sasl-handshake.js';
import { apiVersions } from './apis/18-api-versions.js';
import { saslAuthenticate } from './apis/36-sasl-authenticate.js';
import { errorCodes } from './error-codes.js';
import { batchOf, type KafkaClient, KafkaWorld } from './kafka-world.js';

let world: KafkaWorld;

async function open(options: Parameters<typeof KafkaWorld.open>[0] = {}): Promise<KafkaClient> {
  world = await KafkaWorld.open(options);
  return world.client();
}

afterEach(() => world.server.abort());

describe('a connection', () => {
  it('tells what is answered, in every version, and in the oldest where it does not know the version', async () => {
    const client = await open();
    for (const version of [0, 1, 2, 3, 4]) {
      const answer = await client.ask(apiVersions, version, { clientSoftwareName: 'a-client', clientSoftwareVersion: '1.0' });
      expect(answer.errorCode).toBe(0);
      expect(answer.apiKeys.find(({ apiKey }) => apiKey === 0)).toEqual({ apiKey: 0, minVersion: 0, maxVersion: 13 });
      expect(answer.apiKeys.find(({ apiKey }) => apiKey === 11)).toEqual({ apiKey: 11, minVersion: 0, maxVersion: 9 });
    }
    expect(world.server.connections[0]).toEqual({ name: '127.0.0.1:40000', user: 'ANONYMOUS', software: 'a-client 1.0' });
    client.send(Buffer.from('0000000f00120063000000070001780a0a0a0a', 'hex'));
    await world.settle();
    expect(client.takeFrame()!.toString('hex')).toBe('00000007' + '0023' + '00000001' + '001200000004');
    expect((await client.ask(apiVersions, 3, { clientSoftwareName: '-', clientSoftwareVersion: '' })).errorCode).toBe(
      errorCodes.invalidRequest,
    );
  });

  it('ends over what cannot be answered, and says why to the operator', async () => {
    await open();
    const unknownApi = Buffer.from('0000000a' + '03e70000' + '00000001' + 'ffff', 'hex');
    const oldProduce = Buffer.from('0000000a' + '00000002' + '00000001' + 'ffff', 'hex');
    const unknownVersion = Buffer.from('0000000a' + '00030063' + '00000001' + 'ffff', 'hex');
    const cutShort = Buffer.from('00000009' + '0003000100000001ff', 'hex');
    const twoGigabytes = Buffer.from('7fffffff00030001', 'hex');
    for (const bytes of [unknownApi, oldProduce, unknownVersion, cutShort, twoGigabytes, Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const client = world.client().send(bytes);
      await world.settle();
      expect(client.isClosed).toBe(true);
      expect(client.takeFrame()).toBeUndefined();
    }
    expect(world.reported).toHaveLength(6);
    expect(world.reported[1]).toContain('asks for version 2 of Produce, where 3 to 13 are answered');
  });

  it('survives garbage from every side', async () => {
    await open();
    const random = new SeededRandom('garbage');
    for (let i = 0; i < 300; i++) {
      const body = random.bytes(random.below(60) + 8);
      body.writeInt16BE([0, 1, 3, 8, 11, 14, 18, 19, 44][random.below(9)]!, 0);
      body.writeInt16BE(random.below(14), 2);
      const size = Buffer.alloc(4);
      size.writeInt32BE(body.length);
      world.client().send(size, body).server.destroy();
    }
    await world.settle();
    expect(world.server.connections).toHaveLength(1);
  });

  it('answers in the order of the requests, though the first one waits', async () => {
    const client = await open();
    await world.topic('t');
    client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]], { maxWaitMs: 500 }));
    client.say(metadata, 9, { topics: null, includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false });
    await world.settle();
    expect(client.takeFrame()).toBeUndefined();
    expect(client.server.isPaused).toBe(true);
    await world.clock.advance(500);
    expect(client.hear(fetchRecords, 12)).toBeDefined();
    expect(client.hear(metadata, 9)!.topics.map(({ name }) => name)).toEqual(['t']);
    expect(client.server.isPaused).toBe(false);
  });

  it('takes produce requests behind each other into one commit', async () => {
    const client = await open({ commitsByHand: true });
    await world.topic('t');
    for (const value of ['a', 'b', 'c']) client.say(produce, 9, world.toProduce('t', batchOf(value)));
    await world.settle();
    expect(client.takeFrame()).toBeUndefined();
    expect(world.log.topic('t')!.partitions[0]!.logEndOffset).toBe(3);
    world.log.commit();
    await world.settle();
    for (const offset of [0, 1, 2]) expect(client.hear(produce, 9)!.responses[0]!.partitionResponses[0]!.baseOffset).toBe(offset);
  });

  it('does not read a socket while too much is not committed, nor while its answers are not read', async () => {
    const client = await open({ commitsByHand: true, limits: { uncommittedBytesMax: 1000, unsentBytesMax: 5000 } });
    await world.topic('t');
    for (let i = 0; i < 4; i++) client.say(produce, 9, world.toProduce('t', batchOf('x'.repeat(600))));
    await world.settle();
    expect(client.server.isPaused).toBe(true);
    expect(world.log.topic('t')!.partitions[0]!.logEndOffset).toBe(2);
    world.log.commit();
    await world.settle();
    expect(world.log.topic('t')!.partitions[0]!.logEndOffset).toBe(4);
    world.log.commit();
    await world.settle();
    expect(client.server.isPaused).toBe(false);
    client.server.isStalled = true;
    for (let i = 0; i < 10; i++) client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]]));
    await world.settle();
    expect(client.server.unsentBytes).toBeLessThan(8000);
    expect(client.server.isPaused).toBe(true);
  });

  it('keeps little for many who fetch much and read nothing, and still answers everybody', async () => {
    const first = await open({ limits: { unsentFetchesBytesMax: 400_000 } });
    await world.topic('t');
    for (let n = 0; n < 20; n++) await first.ask(produce, 9, world.toProduce('t', batchOf('x'.repeat(30_000))));
    const slow = Array.from({ length: 30 }, () => world.client());
    for (const client of slow) {
      client.server.isStalled = true;
      client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]]));
    }
    await world.settle();
    const unsent = slow.map(({ server }) => server.unsentBytes);
    // The first one has what it asked for, those behind the bound two batches each.
    expect([Math.min(...unsent) > 60_000, Math.max(...unsent.slice(1)) < 70_000, unsent[0]! > 300_000]).toEqual([true, true, true]);
    for (const client of slow) {
      client.server.isStalled = false;
      client.server.drain();
      client.server.destroy();
    }
    const answered = await first.ask(fetchRecords, 12, world.toFetch([['t', 0, 0]]));
    expect(answered.responses[0]!.partitions[0]!.records!.length).toBeGreaterThan(300_000);
  });

  it('is closed when nothing comes for long, when a request does not come whole, and when nobody logs in', async () => {
    const idle = await open({ limits: { idleTimeoutMs: 100_000, slowRequestTimeoutMs: 30_000 } });
    const slow = world.client().send(Buffer.from('00000100', 'hex'));
    await world.clock.advance(41_000);
    expect([slow.isClosed, idle.isClosed]).toEqual([true, false]);
    await world.clock.advance(80_000);
    expect(idle.isClosed).toBe(true);
    await world.server.abort();
    const stranger = await open({ users: { ann: 'secret' }, limits: { loginTimeoutMs: 10_000 } });
    await world.clock.advance(21_000);
    expect(stranger.isClosed).toBe(true);
  });

  it('is closed when its client has read nothing of what waits for it for a minute, and not while it reads a little now and then', async () => {
    const producer = await open();
    await world.topic('t');
    for (let n = 0; n < 10; n++) await producer.ask(produce, 9, world.toProduce('t', batchOf('x'.repeat(60_000))));
    const [slow, stalled] = [world.client(), world.client()];
    for (const client of [slow, stalled]) {
      client.server.isStalled = true;
      client.say(fetchRecords, 12, world.toFetch([['t', 0, 0]]));
    }
    await world.settle();
    expect(stalled.server.unsentBytes).toBeGreaterThan(300_000);
    for (let n = 0; n < 8; n++) {
      await world.clock.advance(15_000);
      slow.server.sentBytes++;
    }
    expect([slow.isClosed, stalled.isClosed]).toEqual([false, true]);
    expect(world.reported.at(-1)).toMatch(/client read nothing of what waits for it, timeout 60 s, closed/);
    slow.server.isStalled = false;
    slow.server.drain();
    await world.clock.advance(120_000);
    expect(slow.isClosed).toBe(false);
  });

  it('lets in who knows the password, with both forms of the token, and nobody else', async () => {
    await open({ users: { ann: 'secret' } });
    const good = world.client();
    expect(await good.ask(saslHandshake, 1, { mechanism: 'GSSAPI' })).toMatchObject({ errorCode: 33, mechanisms: ['PLAIN'] });
    expect(await good.ask(saslHandshake, 1, { mechanism: 'PLAIN' })).toMatchObject({ errorCode: 0 });
    expect(await good.ask(saslAuthenticate, 2, { authBytes: Buffer.from('\0ann\0secret') })).toMatchObject({ errorCode: 0 });
    expect(
      await good.ask(metadata, 1, { topics: [], includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false }),
    ).toBeDefined();
    const old = world.client();
    await old.ask(saslHandshake, 0, { mechanism: 'PLAIN' });
    old.send(Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('\0ann\0secret')]));
    await world.settle();
    expect(Buffer.concat(old.server.written.splice(0)).toString('hex')).toBe('00000000');
    expect(await old.ask(apiVersions, 0, { clientSoftwareName: '', clientSoftwareVersion: '' })).toMatchObject({ errorCode: 0 });
    const wrong = world.client();
    await wrong.ask(saslHandshake, 1, { mechanism: 'PLAIN' });
    wrong.say(saslAuthenticate, 2, { authBytes: Buffer.from('\0ann\0wrong') });
    await world.settle();
    expect(wrong.takeFrame()).toBeUndefined();
    await world.clock.advance(1000);
    expect(wrong.hear(saslAuthenticate, 2)).toMatchObject({ errorCode: 58 });
    expect(wrong.isClosed).toBe(true);
    const impatient = world.client();
    impatient.say(metadata, 1, { topics: [], includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false });
    await world.settle();
    expect(impatient.isClosed).toBe(true);
  });
});
