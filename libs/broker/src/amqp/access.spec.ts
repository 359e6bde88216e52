import { afterEach, describe, expect, it } from '@jest/globals';
import { Administration } from '../engine/administration.js';
import { hashPassword } from '../engine/password-hash.js';
import { defaultLimits } from '../limits.js';
import { accessConversations, deniedNames, prepared } from './access-conversations.js';
import { AmqpWorld } from './amqp-world.js';
import { ourProtocolHeader } from './protocol-header.js';
import { method, openChannel, publish, type ScriptedClient, startOk, tuneOk } from './scripted-client.js';

/** RabbitMQ's hash of `pw`, which takes no time to check. */
const quickHash = { algorithm: 'rabbit_password_hashing_sha256', hash: 'c2FsdCG67ZSbcWxJy/fY/nlBLx3BBHRWUKMgga4L4Llnrrfz' };
const everything = { configure: '.*', write: '.*', read: '.*' };

const worlds: AmqpWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

class Place {
  readonly administration: Administration;

  private constructor(readonly world: AmqpWorld) {
    this.administration = new Administration(world.storage.hosts, { bytes: () => Buffer.alloc(16, 7) } as never, defaultLimits);
  }

  /** The user `au` with the virtual host `av`, and `guest` with the rest. */
  static async open(options: Parameters<typeof AmqpWorld.open>[0] = {}): Promise<Place> {
    const world = await AmqpWorld.open(options);
    worlds.push(world);
    const place = new Place(world);
    const { administration } = place;
    await world.clock.drive(administration.putVirtualHost({ name: 'av' }, 'guest'));
    await world.clock.drive(administration.putUser({ name: 'au', passwordHash: quickHash, tags: [] }));
    await place.grant(everything);
    return place;
  }

  async grant(what: { readonly configure: string; readonly write: string; readonly read: string }, user = 'au'): Promise<void> {
    await this.world.clock.drive(this.administration.putPermission({ user, virtualHost: 'av', ...what }));
  }

  /** What is answered to connection.open and to what is said after it, on channel 1. */
  async says(said: readonly Buffer[], { user = 'au', password = 'pw', virtualHost = 'av' } = {}): Promise<readonly string[]> {
    const client = this.connect({ user, password, virtualHost });
    await this.world.settle();
    client.send(openChannel, ...said);
    await this.world.settle();
    return client.take().slice(2).map(shortened);
  }

  connect({ user = 'au', password = 'pw', virtualHost = 'av' } = {}): ScriptedClient {
    const response = Buffer.from(`\0${user}\0${password}`);
    const client = this.world.client();
    return client.send(ourProtocolHeader, startOk({ response }), tuneOk(), method('connection.open', { virtualHost }, 0));
  }
}

/** Of a close its text, of anything else its name. */
function shortened(line: string): string {
  const close = /^(?:channel|connection)\.close \d+ (.*)$/.exec(line);
  return close === null ? line.split(' ')[0]! : (JSON.parse(close[1]!) as { replyText: string }).replyText;
}

describe('what users may do', () => {
  it.each(accessConversations)('%s', async (_operation, said, answered, refused) => {
    const place = await Place.open();
    const isPublish = said.length === 2;
    const spoken = said.map((bytes) => bytes.toString('latin1')).join();
    const denials = deniedNames
      .filter((name) => name === 'amq.default' || name === 'amq.gen-' || spoken.includes(name))
      .flatMap((name) => ['configure', 'write', 'read'].map((deed) => [deed, name] as const));
    const got: Record<string, string> = {};
    const wanted: Record<string, string> = {};
    for (const denied of [undefined, ...denials]) {
      const kind = denied && refused[denied.join(' ')];
      const shown = denied?.[1].replace('amq.gen-', 'amq.gen-?');
      const key = denied?.join(' ') ?? 'nothing denied';
      wanted[key] =
        kind === undefined ? answered : `ACCESS_REFUSED - ${denied![0]} access to ${kind} '${shown}' in vhost 'av' refused for user 'au'`;
      await place.grant(everything);
      const fresh = ['an', 'aq', 'aqd', 'amq.an'].map((queue) => method('queue.delete', { queue }));
      const exchanges = ['an', 'ax', 'ad', 'ai', 'axa'].map((exchange) => method('exchange.delete', { exchange }));
      expect((await place.says([...fresh, ...exchanges, ...prepared])).filter((line) => line.includes(' '))).toEqual([]);
      if (denied !== undefined) {
        const pattern = `^(?!${denied[1].replaceAll('.', String.raw`\.`)}${denied[1] === 'amq.gen-' ? '' : '$'}).*`;
        await place.grant({ ...everything, [denied[0]]: pattern });
      }
      const answers = (await place.says(said)).slice(2);
      got[key] = (isPublish ? answers.slice(1) : answers).join(' | ').replace(/amq\.gen-[\w-]{22}/, 'amq.gen-?');
    }
    expect(got).toEqual(wanted);
  });

  const topicRefused = (deed: string, key: string): string =>
    `ACCESS_REFUSED - ${deed} access to topic '${key}' in exchange 'ax' in vhost 'av' refused for user 'au'`;

  it('is asked for each routing key of a topic exchange, as RabbitMQ asks', async () => {
    const place = await Place.open();
    const { administration, world } = place;
    const topic = { user: 'au', virtualHost: 'av', exchange: 'ax', write: String.raw`^{username}\.{vhost}`, read: '^r$' };
    await world.clock.drive(administration.putTopicPermission(topic));
    await world.clock.drive(administration.putTopicPermission({ ...topic, exchange: 'ad', write: '^no$', read: '^no$' }));
    await place.says(prepared);
    const confirmed = async (...said: Buffer[]): Promise<string> =>
      (await place.says([method('confirm.select'), ...said])).slice(3).join(' | ');
    const to = (routingKey: string, headers = {}): Buffer => publish({ exchange: 'ax', routingKey }, 'm', { headers });
    expect(await confirmed(to('k'))).toBe(topicRefused('write', 'k'));
    expect(await confirmed(to('au.av'))).toBe('basic.ack');
    expect(await confirmed(to('au.av', { CC: ['k2'] }))).toBe(topicRefused('write', 'k2'));
    expect(await confirmed(to('au.av', { BCC: ['k3'] }))).toBe(topicRefused('write', 'k3'));
    expect(await confirmed(publish({ exchange: 'ad', routingKey: 'k' }, 'm'))).toBe('basic.ack');
    const bind = (routingKey: string, queue = 'aq'): Buffer => method('queue.bind', { queue, exchange: 'ax', routingKey });
    expect(await confirmed(bind('k'))).toBe(topicRefused('read', 'k'));
    expect(await confirmed(bind('k', 'none'))).toBe(topicRefused('read', 'k'));
    expect(await confirmed(bind('r'))).toBe('queue.bind-ok');
    expect(await confirmed(method('exchange.bind', { destination: 'ad', source: 'ax', routingKey: 'k' }))).toBe(topicRefused('read', 'k'));
    await world.clock.drive(administration.deleteTopicPermissions('au', 'av'));
    expect(await confirmed(to('k'))).toBe('basic.ack');
  });

  it('is asked again at once when it changes, also where the way of a message is remembered', async () => {
    const place = await Place.open();
    const client = place.connect();
    await place.world.settle();
    const send = publish({ exchange: 'amq.fanout', routingKey: 'k' }, 'm');
    client.send(openChannel, method('confirm.select'), send, send, send);
    await place.world.settle();
    expect(client.take().map(shortened).slice(-2)).toEqual(['confirm.select-ok', 'basic.ack']);
    await place.grant({ ...everything, write: '^amq\\.topic$' });
    client.send(send);
    await place.world.settle();
    const refusal = "ACCESS_REFUSED - write access to exchange 'amq.fanout' in vhost 'av' refused for user 'au'";
    expect(client.take().map(shortened)).toEqual([refusal]);
    // Its own memory of ways does not outlive a change either.
    const toTopic = publish({ exchange: 'amq.topic', routingKey: 'k' }, 'm');
    client.send(method('channel.close-ok'), openChannel, method('confirm.select'), toTopic, toTopic);
    await place.world.settle();
    expect(client.take().map(shortened).slice(-1)).toEqual(['basic.ack']);
    await place.grant({ ...everything, write: '' });
    client.send(toTopic);
    await place.world.settle();
    expect(client.take().map(shortened)).toEqual([refusal.replace('amq.fanout', 'amq.topic')]);
  });

  it('is not lent from one user to another by what the server remembers', async () => {
    const place = await Place.open();
    await place.grant({ ...everything, write: '' });
    const send = publish({ exchange: 'amq.fanout', routingKey: 'k' }, 'm');
    const guest = { user: 'guest', password: 'guest' };
    expect((await place.says([method('confirm.select'), send, send], guest)).at(-1)).toBe('basic.ack');
    expect((await place.says([method('confirm.select'), send])).at(-1)).toContain('ACCESS_REFUSED - write access');
  });

  it('lets an impersonator publish in the name of others, and nobody else', async () => {
    const place = await Place.open();
    const send = publish({ exchange: 'amq.fanout', routingKey: 'k' }, 'm', { userId: 'guest' });
    const saying = [method('confirm.select'), send];
    expect((await place.says(saying)).at(-1)).toBe("PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'au'");
    await place.world.clock.drive(place.administration.putUser({ name: 'au', passwordHash: quickHash, tags: ['impersonator'] }));
    expect((await place.says(saying)).at(-1)).toBe('basic.ack');
  });
});

describe('virtual hosts', () => {
  const noted = (text: string): string => `NOT_ALLOWED - ${text}`;

  it('are opened by those who may, and refused as RabbitMQ refuses', async () => {
    const place = await Place.open();
    const { administration, world } = place;
    expect(await place.says([], { virtualHost: 'nope' })).toEqual([noted('vhost nope not found')]);
    await world.clock.drive(administration.deletePermission('au', 'av'));
    expect(await place.says([])).toEqual([noted("access to vhost 'av' refused for user 'au'")]);
    await place.grant(everything);
    await world.clock.drive(administration.setLimits('av', { maxConnections: 0 }));
    expect(await place.says([])).toEqual([noted("access to vhost 'av' refused for user 'au': connection limit (0) is reached")]);
    await world.clock.drive(administration.setLimits('av', { maxQueues: 1 }));
    expect((await place.says([method('queue.declare', { queue: 'a' }), method('queue.declare', { queue: 'b' })])).slice(2)).toEqual([
      'queue.declare-ok',
      "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost 'av' (1) is reached",
    ]);
  });

  it('do not see each other', async () => {
    const place = await Place.open();
    const guest = { user: 'guest', password: 'guest' };
    await place.says([method('queue.declare', { queue: 'q' }), publish({ exchange: '', routingKey: 'q' }, 'm')]);
    expect((await place.says([method('queue.declare', { queue: 'q', passive: true })], { ...guest, virtualHost: '/' })).at(-1)).toBe(
      "NOT_FOUND - no queue 'q' in vhost '/'",
    );
    const both = [method('queue.declare', { queue: 'q' }), method('basic.get', { queue: 'q', noAck: true })];
    expect((await place.says(both, { ...guest, virtualHost: '/' })).slice(2)).toEqual(['queue.declare-ok', 'basic.get-empty']);
    expect((await place.says(both)).slice(2, 4)).toEqual(['queue.declare-ok', 'basic.get-ok']);
  });

  it('go with everything in them, and their connections are told', async () => {
    const place = await Place.open({ durability: 'fsync' });
    const { administration, world } = place;
    const client = place.connect();
    await world.clock.advance(50);
    client.send(openChannel, method('queue.declare', { queue: 'q', durable: true }), method('basic.consume', { queue: 'q' }));
    await world.clock.advance(50);
    client.take();
    const elsewhere = place.connect({ user: 'guest', password: 'guest', virtualHost: '/' });
    await world.clock.advance(50);
    elsewhere.take();
    await world.clock.drive(administration.deleteVirtualHost('av'));
    expect(client.take().map(shortened)).toEqual(["CONNECTION_FORCED - vhost 'av' is deleted"]);
    expect(elsewhere.take()).toEqual([]);
    expect([...world.storage.host.queues]).toEqual([]);
    await world.clock.drive(administration.putVirtualHost({ name: 'av' }, 'guest'));
    const again = place.connect({ user: 'guest', password: 'guest' });
    await world.clock.advance(50);
    again.send(openChannel, method('queue.declare', { queue: 'q', passive: true }));
    await world.clock.advance(50);
    expect(again.take().map(shortened).at(-1)).toBe("NOT_FOUND - no queue 'q' in vhost 'av'");
  });

  it('tell the connections of a deleted user', async () => {
    const place = await Place.open();
    const client = place.connect();
    const other = place.connect({ user: 'guest', password: 'guest' });
    await place.world.settle();
    client.take();
    other.take();
    await place.world.clock.drive(place.administration.deleteUsers(['au']));
    expect(client.take().map(shortened)).toEqual(["CONNECTION_FORCED - user 'au' is deleted"]);
    expect(other.take()).toEqual([]);
  });
});

describe('logging in with a slow hash', () => {
  it('waits for another thread while nothing is read, and remembers what was right', async () => {
    const place = await Place.open();
    const { algorithm, hash } = await hashPassword('slow', Buffer.alloc(16, 1));
    await place.world.clock.drive(place.administration.putUser({ name: 'au', passwordHash: { algorithm, hash }, tags: [] }));
    const answers = async (password: string): Promise<readonly string[]> => {
      const client = place.connect({ password });
      await place.world.settle();
      const before = client.take();
      await place.world.storage.hosts.access.login('au', password, '127.0.0.1'); // the same question shares the answer
      await new Promise<void>((resolve) => process.nextTick(resolve));
      await place.world.settle();
      return [...before, ...client.take()].map(shortened);
    };
    const refused = 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.';
    expect(await answers('wrong')).toEqual(['connection.start', refused]);
    expect(await answers('slow')).toEqual(['connection.start', 'connection.tune', 'connection.open-ok']);
    const client = place.connect({ password: 'slow' });
    await place.world.settle();
    expect(client.take()).toHaveLength(3); // in the same turn: no hash was computed
    await place.world.clock.drive(place.administration.putUser({ name: 'au', passwordHash: quickHash, tags: [] }));
    expect(await answers('slow')).toEqual(['connection.start', refused]);
  });

  it('survives a client that goes away meanwhile', async () => {
    const place = await Place.open();
    const { algorithm, hash } = await hashPassword('slow', Buffer.alloc(16, 1));
    await place.world.clock.drive(place.administration.putUser({ name: 'au', passwordHash: { algorithm, hash }, tags: [] }));
    const client = place.connect({ password: 'slow' });
    await place.world.settle();
    client.cut();
    expect(await place.world.storage.hosts.access.login('au', 'slow', '127.0.0.1')).toBe(true);
    await place.world.settle();
    expect(place.world.server.connections).toEqual([]);
  });
});
