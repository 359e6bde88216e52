import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';
import amqp from 'amqplib';
import { Broker } from '../broker.js';

/** What the API answered. */
interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, unknown>>;
}

interface Given {
  /** `user:password`; guest unless it is said, nobody where it is empty. */
  readonly as?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A body that is a text is sent as it is. */
function askAt(port: number, method: string, path: string, body?: unknown, { as = 'guest:guest', headers = {} }: Given = {}) {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const authorization = as === '' ? {} : { authorization: `Basic ${Buffer.from(as).toString('base64')}` };
  const type = text === undefined ? {} : { 'content-type': 'application/json' };
  const options = {
    host: '127.0.0.1',
    port,
    method,
    path: `/api/${path}`,
    headers: { ...type, ...authorization, ...headers },
    agent: false,
  };
  return new Promise<Answer>((resolve, reject) => {
    const sent = request(options, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('end', () => {
        const whole = Buffer.concat(pieces).toString();
        resolve({ status: response.statusCode!, body: whole === '' ? undefined : JSON.parse(whole), headers: response.headers });
      });
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

let broker: Broker;
const logged: string[] = [];
beforeEach(async () => {
  broker = await Broker.open({ amqp: { port: 0 }, management: { port: 0 }, log: (line) => logged.push(line) });
});
afterEach(async () => {
  await broker.close();
  logged.length = 0;
});

const ask = (method: string, path: string, content?: unknown, given?: Given): Promise<Answer> =>
  askAt(broker.managementPort!, method, path, content, given);
const status = async (...args: Parameters<typeof ask>): Promise<number> => (await ask(...args)).status;
const body = async (path: string): Promise<unknown> => (await ask('GET', path)).body;
const absent = { error: 'Object Not Found', reason: 'Not Found' };
const all = { configure: '.*', write: '.*', read: '.*' };

/** Each of these was asked of a RabbitMQ 4.0.5 too; those marked `ours` differ. */
describe('the management API, as that of RabbitMQ', () => {
  it('says who one is', async () => {
    expect(await body('whoami')).toEqual({ name: 'guest', tags: ['administrator'], is_internal_user: true });
    expect(await ask('GET', 'users', undefined, { as: 'guest:bad' })).toMatchObject({
      status: 401,
      body: { error: 'not_authorized', reason: 'Not_Authorized' },
    });
    expect(logged).toEqual([expect.stringContaining('management: login refused for "guest"')]);
    expect(await status('GET', 'whoami', undefined, { as: '' })).toBe(401);
    expect((await ask('GET', 'whoami', undefined, { as: '' })).headers['www-authenticate']).toContain('Basic');
    await ask('PUT', 'users/plain', { password: 'p', tags: '' });
    expect(await ask('GET', 'whoami', undefined, { as: 'plain:p' })).toMatchObject({
      status: 401,
      body: { error: 'not_authorised', reason: 'Not management user' },
    });
    expect(await ask('GET', 'nothing')).toMatchObject({ status: 404, body: absent });
    expect(await status('POST', 'whoami', {})).toBe(405);
    expect(await status('HEAD', 'whoami')).toBe(200);
    expect(await status('GET', 'connections/')).toBe(200);
  });

  it('makes, shows, changes and deletes users', async () => {
    expect(await status('PUT', 'users/au', { password: 'pw', tags: 'management,own' })).toBe(201);
    expect(await body('users/au')).toMatchObject({
      name: 'au',
      hashing_algorithm: 'dovecote_scrypt',
      tags: ['management', 'own'],
      limits: {},
    });
    expect(await ask('GET', 'whoami', undefined, { as: 'au:pw' })).toMatchObject({ status: 200, body: { name: 'au' } });
    expect(await status('PUT', 'users/au', { password_hash: '', tags: ['monitoring', 'x'] })).toBe(204);
    expect(await body('users/au')).toEqual({
      name: 'au',
      password_hash: '',
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: ['monitoring', 'x'],
      limits: {},
    });
    expect(await status('GET', 'whoami', undefined, { as: 'au:pw' })).toBe(401);
    expect(await ask('PUT', 'users/ax', { password: 'x' })).toMatchObject({
      status: 400,
      body: { error: 'bad_request', reason: 'tags_not_present' },
    });
    expect(await status('PUT', 'users/ax', { tags: '' })).toBe(201);
    expect(await ask('PUT', 'users/ax', '{')).toMatchObject({ status: 400, body: { error: 'bad_request', reason: 'not_json' } });
    expect(await ask('GET', 'users/none')).toMatchObject({ status: 404, body: absent });
    expect(await status('DELETE', 'users/none')).toBe(404);
    expect(await body('users/without-access')).toMatchObject([{ name: 'au' }, { name: 'ax' }]);
    expect(await status('DELETE', 'users/ax')).toBe(204);
    expect(await status('POST', 'users/bulk-delete', { users: ['au', 'none'] })).toBe(204);
    expect(await body('users')).toMatchObject([{ name: 'guest' }]);
  });

  it('makes, shows and deletes virtual hosts, and gives their maker everything in them', async () => {
    expect(await status('PUT', 'vhosts/a%2Fd', { default_queue_type: 'quorum', description: 'd', tags: 'a,b' })).toBe(201);
    expect(await body('vhosts/a%2Fd')).toEqual({
      name: 'a/d',
      description: 'd',
      tags: ['a', 'b'],
      default_queue_type: 'quorum',
      metadata: { description: 'd', tags: ['a', 'b'], default_queue_type: 'quorum' },
      tracing: false,
    });
    expect(await body('vhosts/a%2Fd/permissions')).toEqual([{ user: 'guest', vhost: 'a/d', ...all }]);
    expect(await status('PUT', 'vhosts/a%2Fd', {})).toBe(204);
    expect(await body('vhosts/a%2Fd')).toMatchObject({ default_queue_type: 'quorum' });
    expect(await status('PUT', 'vhosts/empty')).toBe(201);
    expect(await ask('PUT', 'vhosts/ae', { default_queue_type: 'nope' })).toMatchObject({ status: 400 }); // ours: it answers 500
    expect(await body('vhosts')).toMatchObject([{ name: '/', description: 'Default virtual host' }, { name: 'a/d' }, { name: 'empty' }]);
    expect(await status('DELETE', 'vhosts/a%2Fd')).toBe(204);
    expect(await ask('DELETE', 'vhosts/a%2Fd')).toMatchObject({ status: 404, body: absent });
    expect(await ask('DELETE', 'vhosts/%2F')).toMatchObject({
      status: 400,
      body: { reason: expect.stringContaining('cannot be deleted') },
    }); // ours
  });

  it('limits virtual hosts', async () => {
    expect(await status('PUT', 'vhost-limits/%2F/max-queues', { value: 1 })).toBe(204);
    expect(await status('PUT', 'vhost-limits/%2F/max-connections', { value: 7 })).toBe(204);
    expect(await body('vhost-limits')).toEqual([{ vhost: '/', value: { 'max-connections': 7, 'max-queues': 1 } }]);
    expect(await status('DELETE', 'vhost-limits/%2F/max-queues')).toBe(204);
    expect(await body('vhost-limits/%2F')).toEqual([{ vhost: '/', value: { 'max-connections': 7 } }]);
    expect(await status('PUT', 'vhost-limits/%2F/max-foo', { value: 1 })).toBe(400);
    expect(await status('PUT', 'vhost-limits/%2F/max-queues', { value: 'x' })).toBe(400);
    expect(await status('PUT', 'vhost-limits/none/max-queues', { value: 1 })).toBe(404);
  });

  it('gives and takes permissions', async () => {
    await ask('PUT', 'users/au', { tags: '' });
    const given = { configure: '^a', write: 'b', read: '' };
    expect(await status('PUT', 'permissions/%2F/au', given)).toBe(201);
    expect(await status('PUT', 'permissions/%2F/au', given)).toBe(204);
    expect(await body('permissions/%2F/au')).toEqual({ user: 'au', vhost: '/', ...given });
    expect(await body('users/au/permissions')).toEqual([{ user: 'au', vhost: '/', ...given }]);
    expect(await body('permissions')).toHaveLength(2);
    expect(await ask('PUT', 'permissions/%2F/au', { configure: '', write: '.*' })).toMatchObject({
      status: 400,
      body: { error: 'bad_request', reason: '[{key_missing,read}]' },
    });
    const unknown = { status: 400, body: { error: 'bad_request', reason: 'vhost_or_user_not_found' } };
    expect(await ask('PUT', 'permissions/%2F/nobody', given)).toMatchObject(unknown);
    expect(await ask('PUT', 'permissions/nov/au', given)).toMatchObject(unknown);
    expect(await ask('PUT', 'permissions/%2F/au', { ...given, read: '(' })).toMatchObject({
      status: 400,
      body: { error: 'bad_request', reason: expect.stringContaining("a ')' is missing") }, // ours: it prints what Erlang says
    });
    expect(await status('DELETE', 'permissions/%2F/au')).toBe(204);
    expect(await status('DELETE', 'permissions/%2F/au')).toBe(404);
    expect(await status('GET', 'permissions/%2F/au')).toBe(404);
    expect(await status('GET', 'users/none/permissions')).toBe(404);
  });

  it('gives and takes topic permissions', async () => {
    await ask('PUT', 'users/au', { tags: '' });
    const given = { exchange: 'x', write: '^{username}', read: 'r' };
    expect(await status('PUT', 'topic-permissions/%2F/au', given)).toBe(201);
    expect(await status('PUT', 'topic-permissions/%2F/au', { ...given, exchange: 'y' })).toBe(201);
    expect(await status('PUT', 'topic-permissions/%2F/au', given)).toBe(204);
    const shown = { user: 'au', vhost: '/', ...given };
    expect(await body('topic-permissions/%2F/au')).toEqual([shown, { ...shown, exchange: 'y' }]);
    expect(await body('users/au/topic-permissions')).toHaveLength(2);
    expect(await status('DELETE', 'topic-permissions/%2F/au/y')).toBe(204);
    expect(await body('vhosts/%2F/topic-permissions')).toEqual([shown]);
    expect(await status('DELETE', 'topic-permissions/%2F/au')).toBe(204);
    expect(await body('topic-permissions')).toEqual([]);
  });

  it('tells users by their tags what they may ask', async () => {
    for (const tag of ['management', 'policymaker', 'monitoring']) {
      await ask('PUT', `users/${tag}`, { password: 'p', tags: tag });
      await ask('PUT', `permissions/%2F/${tag}`, all);
    }
    await ask('PUT', 'vhosts/other');
    const as = (tag: string): Given => ({ as: `${tag}:p` });
    const names = async (tag: string): Promise<unknown> =>
      ((await ask('GET', 'vhosts', undefined, as(tag))).body as readonly { name: string }[]).map(({ name }) => name);
    expect(await names('management')).toEqual(['/']);
    expect(await names('monitoring')).toEqual(['/', 'other']);
    for (const tag of ['management', 'policymaker', 'monitoring']) {
      expect(await status('GET', 'overview', undefined, as(tag))).toBe(200);
      expect(await status('GET', 'users', undefined, as(tag))).toBe(401);
      expect(await status('PUT', 'vhosts/mine', {}, as(tag))).toBe(401);
      expect(await status('GET', 'definitions', undefined, as(tag))).toBe(401);
    }
  });

  it('carries users, virtual hosts, permissions, queues, exchanges and bindings from one broker to another', async () => {
    await ask('PUT', 'users/au', { password: 'pw', tags: 'management' });
    await ask('PUT', 'vhosts/v', { description: 'moved' });
    await ask('PUT', 'permissions/v/au', all);
    await ask('PUT', 'topic-permissions/v/au', { exchange: 'x', write: 'w', read: 'r' });
    await ask('PUT', 'vhost-limits/v/max-queues', { value: 5 });
    await ask('PUT', 'permissions/v/guest', all);
    await ask('PUT', 'exchanges/v/x', { type: 'topic', durable: true, arguments: { 'alternate-exchange': 'y' } });
    await ask('PUT', 'exchanges/v/y', { type: 'fanout', auto_delete: true });
    await ask('PUT', 'queues/v/q', { durable: true, arguments: { 'x-message-ttl': 60_000 } });
    await ask('POST', 'bindings/v/e/x/q/q', { routing_key: 'a.#', arguments: { n: 1 } });
    await ask('POST', 'bindings/v/e/x/e/y', { routing_key: 'b' });
    const exported = await body('definitions');
    expect(exported).toMatchObject({ queues: [{ name: 'q', vhost: 'v' }], exchanges: [{ name: 'x' }, { name: 'y' }], bindings: [{}, {}] });
    const other = await Broker.open({ management: { port: 0 } });
    const first = broker;
    try {
      broker = other;
      expect(await status('POST', 'definitions', exported)).toBe(204);
      expect(await body('definitions')).toEqual(exported);
      expect(await status('POST', 'definitions', exported)).toBe(204); // once more changes nothing
      expect(await body('definitions')).toEqual(exported);
      expect(await status('GET', 'whoami', undefined, { as: 'au:pw' })).toBe(200);
      await ask('PUT', 'vhosts/w');
      expect(await status('POST', 'definitions/w', await body('definitions/v'))).toBe(204);
      const { queues, exchanges, bindings } = (await body('definitions/v')) as Readonly<Record<string, unknown>>;
      expect(await body('definitions/w')).toMatchObject({ original_vhost_name: 'w', queues, exchanges, bindings });
    } finally {
      broker = first;
      await other.close();
    }
  });

  it('takes the users of a RabbitMQ with their passwords, and refuses what it would have to forget', async () => {
    const theirs = {
      rabbit_version: '4.0.5',
      users: [
        {
          name: 'guest',
          password_hash: 'iuWPRKzJ7ojaCVr/VcatHlTJ6/17YzcqgVcdah5OWH7m7m/Y',
          hashing_algorithm: 'rabbit_password_hashing_sha256',
          tags: ['administrator'],
          limits: {},
        },
      ],
      vhosts: [{ name: '/', metadata: { description: 'Default virtual host', tags: [], default_queue_type: 'classic' }, tags: [] }],
      permissions: [{ user: 'guest', vhost: '/', ...all }],
      topic_permissions: [],
      parameters: [{ value: { 'max-connections': 9 }, vhost: '/', component: 'vhost-limits', name: 'limits' }],
      global_parameters: [{ name: 'internal_cluster_id', value: 'x' }],
      policies: [],
      queues: [],
      exchanges: [],
      bindings: [],
    };
    expect(await status('POST', 'definitions', theirs)).toBe(204);
    expect(await status('GET', 'whoami')).toBe(200);
    expect(await body('vhost-limits')).toEqual([{ vhost: '/', value: { 'max-connections': 9 } }]);
    const federation = [{ value: {}, vhost: '/', component: 'federation-upstream', name: 'x' }];
    expect(await status('POST', 'definitions', { ...theirs, parameters: federation })).toBe(400);
    const policies = [{ name: 'p', vhost: '/', pattern: '', definition: {} }];
    expect(await ask('POST', 'definitions', { ...theirs, policies })).toMatchObject({
      status: 400,
      body: { reason: expect.stringContaining("'policies' in definitions are not built") },
    });
  });

  it('gives an overview', async () => {
    const session = broker.session();
    await session.declareQueue('q');
    await session.publish({ exchange: '', routingKey: 'q', body: Buffer.from('m') });
    expect(await body('overview')).toMatchObject({
      rabbitmq_version: '4.0.5',
      product_name: 'Dovecote',
      queue_totals: { messages: 1, messages_ready: 1, messages_unacknowledged: 0 },
      object_totals: { queues: 1, exchanges: 7, connections: 0, consumers: 0 },
      exchange_types: expect.arrayContaining([expect.objectContaining({ name: 'direct' })]),
      listeners: [{ protocol: 'amqp' }, { protocol: 'http', port: broker.managementPort }],
    });
    const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8')) as {
      version: string;
    };
    expect(await body('overview?columns=queue_totals.messages')).toEqual({ queue_totals: { messages: 1 } });
    expect(await body('overview?columns=product_version,node')).toEqual({ product_version: version, node: 'dovecote@localhost' });
  });
});

const refused = (reason: unknown, code = 400, error = 'bad_request'): object => ({ status: code, body: { error, reason } });
const publish = (exchange: string, content: object): Promise<Answer> =>
  ask('POST', `exchanges/v/${exchange}/publish`, {
    properties: {},
    routing_key: 'q',
    payload: 'hi',
    payload_encoding: 'string',
    ...content,
  });
const get = (content: object = {}): Promise<Answer> =>
  ask('POST', 'queues/v/q/get', { count: 10, ackmode: 'ack_requeue_true', encoding: 'auto', ...content });

describe('what is in a virtual host', () => {
  beforeEach(async () => void (await ask('PUT', 'vhosts/v')));

  describe('queues', () => {
    it('are made, found the same, found different and deleted', async () => {
      expect(await status('PUT', 'queues/v/q', { durable: true })).toBe(201);
      expect(await status('PUT', 'queues/v/q', { durable: true })).toBe(204);
      const place = "for queue 'q' in vhost 'v'";
      expect(await ask('PUT', 'queues/v/q', {})).toMatchObject(
        refused(`inequivalent arg 'durable' ${place}: received 'false' but current is 'true'`),
      );
      expect(await ask('PUT', 'queues/v/q', { durable: 'yes' })).toMatchObject(refused(['not_boolean', 'yes']));
      expect(await ask('PUT', 'queues/v/r', { arguments: { 'x-max-length': 'a' } })).toMatchObject(
        refused(`invalid arg 'x-max-length' for queue 'r' in vhost 'v': "expected integer, got longstr"`),
      );
      expect(await status('PUT', 'queues/v/r', { auto_delete: 'true', arguments: [] })).toBe(201);
      expect(await status('PUT', 'queues/v/amq.mine')).toBe(401);
      expect(await ask('PUT', 'queues/none/q')).toMatchObject(refused('vhost_not_found', 404, 'not_found'));
      expect(await ask('GET', 'queues/v/none')).toMatchObject({ status: 404, body: absent });
      expect(await ask('DELETE', 'queues/v/none')).toMatchObject({ status: 404, body: absent });
      expect(await ask('DELETE', 'queues/v/none/contents')).toMatchObject({ status: 404, body: absent });
      expect(await ask('GET', 'queues/none')).toMatchObject({ status: 404, body: absent });
      await publish('amq.default', {});
      expect(await ask('DELETE', 'queues/v/q?if-empty=true')).toMatchObject(refused("queue 'q' in vhost 'v' not empty"));
      expect(await status('DELETE', 'queues/v/q/contents')).toBe(204);
      expect(await status('DELETE', 'queues/v/q?if-empty=true&if-unused=true')).toBe(204);
      expect(await body('queues?columns=name')).toEqual([{ name: 'r' }]);
    });

    it('say what is in them and who takes it', async () => {
      const given = { 'x-max-priority': 3, 'x-single-active-consumer': true };
      await ask('PUT', 'queues/v/q', { durable: true, arguments: given });
      await publish('amq.default', {});
      await publish('amq.default', {});
      const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}/v`, {
        clientProperties: { connection_name: 'me' },
      });
      const channel = await connection.createChannel();
      await channel.prefetch(1);
      await new Promise<unknown>((resolve) => void channel.consume('q', resolve, { consumerTag: 'first', priority: 7 }));
      await channel.consume('q', () => undefined, { consumerTag: 'second' });
      expect(await body('queues/v/q')).toMatchObject({
        ...{
          name: 'q',
          vhost: 'v',
          type: 'classic',
          durable: true,
          auto_delete: false,
          exclusive: false,
          arguments: given,
          state: 'running',
        },
        ...{ messages: 2, messages_ready: 1, messages_unacknowledged: 1, consumers: 2, single_active_consumer_tag: 'first' },
        consumer_details: [
          { consumer_tag: 'first', active: true, activity_status: 'single_active', prefetch_count: 1, arguments: { 'x-priority': 7 } },
          { consumer_tag: 'second', active: false, activity_status: 'waiting', ack_required: true },
        ],
      });
      const [{ name }] = (await body('connections')) as readonly [{ readonly name: string }];
      expect(await body('consumers/v')).toMatchObject([
        { queue: { name: 'q', vhost: 'v' }, channel_details: { connection_name: name, number: 1, name: `${name} (1)`, user: 'guest' } },
        { consumer_tag: 'second' },
      ]);
      expect(await body(`channels/${encodeURIComponent(`${name} (1)`)}`)).toMatchObject({
        ...{
          vhost: 'v',
          number: 1,
          consumer_count: 2,
          prefetch_count: 1,
          messages_unacknowledged: 1,
          confirm: false,
          transactional: false,
        },
        consumer_details: [{ consumer_tag: 'first' }, { consumer_tag: 'second' }],
      });
      await connection.close();
    });

    it('of one name are those of their virtual host, and a page of a list counts the rest', async () => {
      for (const name of ['b', 'a', 'ab']) await ask('PUT', `queues/v/${name}`);
      await ask('PUT', 'queues/%2F/a');
      const named = (names: readonly string[]): readonly object[] => names.map((name) => ({ name }));
      expect(await body('queues?columns=name,vhost')).toEqual([
        { name: 'a', vhost: '/' },
        ...['a', 'ab', 'b'].map((name) => ({ name, vhost: 'v' })),
      ]);
      expect(await body('queues/v?sort=name&sort_reverse=true&columns=name')).toEqual(named(['b', 'ab', 'a']));
      const counts = { filtered_count: 2, total_count: 3, page_count: 2 };
      const page = 'queues/v?columns=name&page_size=1&name=a&page=';
      expect(await body(`${page}2`)).toEqual({ ...counts, items: named(['ab']), item_count: 1, page: 2, page_size: 1 });
      expect(await body('queues/v?columns=name&page=1&name=%5Ea.%2B&use_regex=true')).toMatchObject({
        items: named(['ab']),
        page_size: 100,
      });
      const error = 'invalid_pagination_parameters';
      expect(await ask('GET', `${page}3`)).toMatchObject(refused('Invalid pagination parameters: page number 3, page size 1', 400, error));
      expect(await ask('GET', 'queues/v?page=1&page_size=501')).toMatchObject({ status: 400, body: { error } });
      for (const query of ['page=x', 'page=0', 'page=1&name=(&use_regex=true']) {
        expect(await ask('GET', `queues/v?${query}`)).toMatchObject(refused('Pagination parameters are invalid'));
      }
    });
  });

  describe('messages', () => {
    it('are published, shown, and put back or not', async () => {
      await ask('PUT', 'queues/v/q');
      expect((await publish('amq.default', {})).body).toEqual({ routed: true });
      expect((await publish('amq.default', { routing_key: 'none' })).body).toEqual({ routed: false });
      expect(await publish('none', {})).toMatchObject(refused('exchange_not_found', 404, 'not_found'));
      await publish('amq.default', { payload: '/////w==', payload_encoding: 'base64' });
      const shown = { redelivered: false, exchange: '', routing_key: 'q', properties: [] };
      expect((await get({ truncate: 3 })).body).toEqual([
        { ...shown, payload: 'hi', payload_encoding: 'string', payload_bytes: 2, message_count: 1 },
        { ...shown, payload: '////', payload_encoding: 'base64', payload_bytes: 4, message_count: 0 },
      ]);
      const again = { ...shown, redelivered: true };
      expect((await get({ count: '1', ackmode: 'reject_requeue_true', encoding: 'base64' })).body).toMatchObject([
        { ...again, payload: 'aGk=' },
      ]);
      expect((await get({ count: 1, ackmode: 'ack_requeue_false' })).body).toMatchObject([{ ...again, payload: 'hi' }]);
      expect((await get({ ackmode: 'reject_requeue_false' })).body).toMatchObject([{ ...again, payload: '/////w==' }]);
      expect((await get()).body).toEqual([]);
      expect(await body('queues/v/q?columns=messages')).toEqual({ messages: 0 });
    });

    it('keep their properties both ways', async () => {
      await ask('PUT', 'queues/v/q');
      const headers = { s: 'x', n: 1, f: 1.5, b: true, a: [1, 'x'], o: { p: 1 }, big: 12_345_678_901 };
      const properties = {
        ...{
          content_type: 'text/plain',
          content_encoding: 'e',
          delivery_mode: 2,
          priority: 3,
          correlation_id: 'c',
          reply_to: 'r',
          expiration: '600000',
        },
        ...{ message_id: 'm', timestamp: 12, type: 't', user_id: 'guest', app_id: 'a', cluster_id: 'k', headers },
      };
      await publish('amq.default', { properties, payload: 'ÿ' });
      expect((await get()).body).toMatchObject([{ properties, payload: 'ÿ', payload_bytes: 2 }]);
    });

    it('are refused with the reason where something is wrong with them', async () => {
      await ask('PUT', 'queues/v/q');
      const user = "406 PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'guest'";
      expect(await publish('amq.default', { properties: { user_id: 'x' } })).toMatchObject(refused(user));
      expect(await publish('amq.default', { properties: undefined })).toMatchObject(refused('[{key_missing,properties}]'));
      expect(await publish('amq.default', { payload_encoding: 'zip' })).toMatchObject(refused(['unsupported_encoding', 'zip']));
      expect(await publish('amq.default', { properties: { priority: 'high' } })).toMatchObject(refused(['not_int', 'priority']));
      expect(await ask('POST', 'queues/v/q/get', { count: 1 })).toMatchObject(refused('[{key_missing,ackmode},{key_missing,encoding}]'));
      expect(await get({ encoding: 'x' })).toMatchObject(refused('Unsupported encoding. Please use auto or base64.'));
      expect(await get({ ackmode: 'x' })).toMatchObject({ status: 400 }); // ours: it answers 500
      expect(await ask('POST', 'queues/v/none/get', { count: 1 })).toMatchObject(refused('queue_not_found', 404, 'not_found'));
      const deep = JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) as object;
      const long = 'x'.repeat(300);
      for (const properties of [
        { headers: deep },
        { headers: { [long]: 1 } },
        { headers: { l: 'x'.repeat(200_000) } },
        { type: long },
        { type: 3 },
        3,
      ]) {
        expect(await publish('amq.default', { properties })).toMatchObject({ status: 400 });
      }
      for (const headers of [{ timestamp: 1 }, { o: { decimal: 'x' } }, [1]]) {
        expect(await publish('amq.default', { properties: { headers } })).toMatchObject({ status: 400 });
      }
      expect(await publish('amq.default', { routing_key: long })).toMatchObject({ status: 400 });
    });
  });

  describe('exchanges and bindings', () => {
    it('are made, found and deleted', async () => {
      expect(await status('PUT', 'exchanges/v/x', { type: 'direct' })).toBe(201);
      expect(await status('PUT', 'exchanges/v/x', {})).toBe(204);
      const different = "inequivalent arg 'type' for exchange 'x' in vhost 'v': received 'topic' but current is 'direct'";
      expect(await ask('PUT', 'exchanges/v/x', { type: 'topic' })).toMatchObject(refused(different));
      expect(await ask('PUT', 'exchanges/v/y', { type: 'nope' })).toMatchObject(refused("unknown exchange type 'nope'"));
      expect(await status('DELETE', 'exchanges/v/amq.direct')).toBe(401);
      expect(await status('DELETE', 'exchanges/v/amq.default')).toBe(401);
      expect(await ask('DELETE', 'exchanges/v/none')).toMatchObject({ status: 404, body: absent });
      expect(await body('exchanges/v/amq.default')).toMatchObject({ name: '', type: 'direct', durable: true });
      expect(await body('exchanges/v?columns=name')).toHaveLength(8);
      await ask('PUT', 'queues/v/q');
      await ask('POST', 'bindings/v/e/x/q/q', { routing_key: 'k' });
      expect(await ask('DELETE', 'exchanges/v/x?if-unused=true')).toMatchObject(refused("exchange 'x' in vhost 'v' in use"));
      expect(await status('DELETE', 'exchanges/v/x')).toBe(204);
    });

    it('lead from one to the other, each under a key of its own', async () => {
      await ask('PUT', 'queues/v/q');
      await ask('PUT', 'exchanges/v/x', { type: 'headers' });
      const add = (content: object): Promise<Answer> => ask('POST', 'bindings/v/e/x/q/q', content);
      expect(await add({ routing_key: 'a b/c~d*' })).toMatchObject({
        status: 201,
        headers: { location: `q/${encodeURIComponent('a+b%2Fc%7Ed%2A')}` },
      });
      await add({});
      const { headers } = await add({ arguments: { n: 1 } });
      expect(await ask('POST', 'bindings/v/e/x/q/none', {})).toMatchObject(refused("no queue 'none' in vhost 'v'", 404, 'not_found'));
      expect(await ask('POST', 'bindings/v/e/none/q/q', {})).toMatchObject(refused("no exchange 'none' in vhost 'v'", 404, 'not_found'));
      const common = { source: 'x', vhost: 'v', destination: 'q', destination_type: 'queue' };
      expect(await body('bindings/v/e/x/q/q')).toMatchObject([
        { ...common, routing_key: 'a b/c~d*', arguments: {}, properties_key: 'a+b%2Fc%7Ed%2A' },
        { ...common, routing_key: '', properties_key: '~' },
        { ...common, arguments: { n: 1 }, properties_key: expect.stringMatching(/^~[\w-]{8}$/) },
      ]);
      expect(await body('queues/v/q/bindings')).toHaveLength(4);
      expect(await body('bindings?columns=source')).toHaveLength(4);
      expect(await body('exchanges/v/x/bindings/source')).toHaveLength(3);
      expect(await body('exchanges/v/amq.fanout/bindings/destination')).toEqual([]);
      expect(await ask('GET', 'bindings/v/e/x/q/q/nope')).toMatchObject({ status: 404, body: absent });
      expect(await ask('DELETE', 'bindings/v/e/x/q/q/nope')).toMatchObject({ status: 404, body: absent });
      const key = String(headers['location']).slice('q/'.length);
      expect(await body(`bindings/v/e/x/q/q/${key}`)).toMatchObject({ arguments: { n: 1 } });
      for (const one of [key, '~', encodeURIComponent('a+b%2Fc%7Ed%2A')])
        expect(await status('DELETE', `bindings/v/e/x/q/q/${one}`)).toBe(204);
      expect(await body('bindings/v/e/x/q/q')).toEqual([]);
    });
  });

  describe('connections', () => {
    it('are told of and sent away with the reason', async () => {
      const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}/v`, {
        clientProperties: { connection_name: 'me' },
      });
      const closed = new Promise<Error>((resolve) => void connection.once('close', resolve)); // amqplib takes 320 for no error
      await connection.createConfirmChannel();
      const [told] = (await body('vhosts/v/connections')) as readonly [{ readonly name: string }];
      expect(told).toMatchObject({
        ...{ name: expect.stringMatching(/^127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+$/), user_provided_name: 'me', user: 'guest', vhost: 'v' },
        ...{
          state: 'running',
          protocol: 'AMQP 0-9-1',
          auth_mechanism: 'PLAIN',
          ssl: false,
          channels: 1,
          port: broker.amqpPort,
          host: '127.0.0.1',
        },
        client_properties: { connection_name: 'me', product: 'amqplib' },
      });
      const path = `connections/${encodeURIComponent(told.name)}`;
      expect(await body(path)).toMatchObject({ name: told.name });
      expect(await body(`${path}/channels`)).toMatchObject([{ number: 1, confirm: true }]);
      expect(await body('vhosts/v/channels?columns=number')).toEqual([{ number: 1 }]);
      await ask('PUT', 'users/other', { password: 'p', tags: 'management' });
      expect(await ask('GET', 'connections', undefined, { as: 'other:p' })).toMatchObject({ status: 200, body: [] });
      expect(await status('DELETE', path, undefined, { as: 'other:p' })).toBe(401);
      expect(await status('DELETE', path, undefined, { headers: { 'x-reason': 'tired' } })).toBe(204);
      expect((await closed).message).toContain('CONNECTION_FORCED - tired');
      expect(await ask('DELETE', 'connections/none')).toMatchObject({ status: 404, body: absent });
      expect(await ask('GET', 'channels/none')).toMatchObject({ status: 404, body: absent });
    });
  });

  describe('health', () => {
    it('is asked for by those who watch', async () => {
      const ok = { status: 200, body: { status: 'ok' } };
      for (const check of ['alarms', 'local-alarms', 'virtual-hosts', 'node-is-quorum-critical', `port-listener/${broker.amqpPort}`]) {
        expect(await ask('GET', `health/checks/${check}`)).toMatchObject(ok);
      }
      expect(await ask('GET', 'health/checks/protocol-listener/amqp')).toMatchObject(ok);
      expect(await ask('GET', 'health/checks/port-listener/1')).toMatchObject({
        status: 503,
        body: { reason: 'No active listener', missing: 1 },
      });
      expect(await ask('GET', 'health/checks/port-listener/x')).toMatchObject(refused('Invalid port'));
      expect(await ask('GET', 'aliveness-test/v')).toMatchObject(ok);
      expect(await ask('GET', 'aliveness-test/none')).toMatchObject({ status: 404, body: absent });
      expect(await ask('GET', 'healthchecks/node')).toMatchObject(ok);
      expect(await body('nodes')).toMatchObject([{ running: true, mem_alarm: false, disk_free_alarm: false }]);
      expect(await ask('GET', 'nodes/other')).toMatchObject({ status: 404, body: absent });
      expect(await body('version')).toBe('4.0.5');
    });

    it('is ill while memory is used up', async () => {
      const small = await Broker.open({ management: { port: 0 }, limits: { memoryBytesMax: 2 * 1024 * 1024 } });
      const session = small.session();
      await session.declareQueue('q');
      const messages = Array.from({ length: 6 }, () => session.publish({ exchange: '', routingKey: 'q', body: Buffer.alloc(1024 * 1024) }));
      const held = Promise.allSettled(messages);
      expect(await askAt(small.managementPort!, 'GET', 'health/checks/alarms')).toMatchObject({
        status: 503,
        body: { status: 'failed', reason: 'There are alarms in effect in the cluster', alarms: [{ resource: 'memory' }] },
      });
      await small.close();
      await held;
    });
  });

  describe('what is not built', () => {
    it('is empty, and making one is refused with a sentence', async () => {
      for (const path of ['policies', 'policies/v', 'operator-policies', 'parameters', 'feature-flags', 'deprecated-features/used']) {
        expect(await body(path)).toEqual([]);
      }
      expect(await ask('PUT', 'policies/v/p', { pattern: '', definition: {} })).toMatchObject(
        refused('policies are not built: give queues and exchanges arguments'),
      );
      expect(await ask('DELETE', 'policies/v/p')).toMatchObject({ status: 404, body: absent });
    });
  });

  describe('a user', () => {
    it('does here what its permissions let it do over AMQP', async () => {
      await ask('PUT', 'users/u', { password: 'p', tags: 'management' });
      await ask('PUT', 'permissions/v/u', { configure: '^mine', write: '^(mine|x)', read: '^mine' });
      await ask('PUT', 'topic-permissions/v/u', { exchange: 'x', write: '^a', read: '' });
      await ask('PUT', 'queues/v/q');
      await ask('PUT', 'exchanges/v/x', { type: 'topic' });
      const as: Given = { as: 'u:p' };
      const message = { properties: {}, payload: '', payload_encoding: 'string' };
      expect(await status('PUT', 'queues/v/mine', {}, as)).toBe(201);
      expect(await ask('PUT', 'queues/v/other', {}, as)).toMatchObject(
        refused("configure access to queue 'other' in vhost 'v' refused for user 'u'", 401, 'not_authorised'),
      );
      expect(await status('DELETE', 'queues/v/q', undefined, as)).toBe(401);
      expect(await status('DELETE', 'queues/v/q/contents', undefined, as)).toBe(401);
      expect(await status('POST', 'queues/v/q/get', { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' }, as)).toBe(401);
      expect(await status('POST', 'exchanges/v/amq.default/publish', { ...message, routing_key: 'mine' }, as)).toBe(401);
      expect(await status('POST', 'exchanges/v/x/publish', { ...message, routing_key: 'a.b' }, as)).toBe(200);
      expect(await status('POST', 'exchanges/v/x/publish', { ...message, routing_key: 'b.a' }, as)).toBe(401);
      const carbon = { ...message, routing_key: 'a.b', properties: { headers: { CC: ['b.a'] } } };
      expect(await status('POST', 'exchanges/v/x/publish', carbon, as)).toBe(401);
      expect(await ask('PUT', 'queues/%2F/mine', {}, as)).toMatchObject(
        refused('User not authorised to access virtual host', 401, 'not_authorised'),
      );
      expect(await status('GET', 'queues/%2F', undefined, as)).toBe(401);
      expect((await ask('GET', 'queues?columns=name', undefined, as)).body).toEqual([{ name: 'mine' }, { name: 'q' }]);
    });
  });
});

describe('a stranger', () => {
  it('cannot make a browser change something', async () => {
    const user = JSON.stringify({ password: 'x', tags: 'administrator' });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', '']) {
      expect(await status('PUT', 'users/evil', user, { headers: { 'content-type': type } })).toBe(415);
    }
    expect(await status('POST', 'users/bulk-delete', '{"users":["guest"]}', { headers: { 'content-type': 'text/plain' } })).toBe(415);
    expect(await status('PUT', 'users/evil', user, { headers: { 'sec-fetch-site': 'cross-site' } })).toBe(403);
    expect(await status('DELETE', 'users/guest', undefined, { headers: { 'sec-fetch-site': 'same-site' } })).toBe(403);
    expect(await body('users')).toMatchObject([{ name: 'guest' }]);
    expect(
      await status('PUT', 'users/good', user, {
        headers: { 'content-type': 'application/json; charset=utf-8', 'sec-fetch-site': 'same-origin' },
      }),
    ).toBe(201);
  });

  it('is answered, whatever it sends', async () => {
    for (const path of ['users/%zz', 'users//', '../users', 'permissions/%2F/a/b/c', 'vhosts/%00', `users/${'x'.repeat(5000)}`]) {
      expect([400, 404]).toContain(await status('PUT', path, { tags: '' }));
    }
    for (const given of [
      '[]',
      'null',
      '3',
      '"x"',
      '{"tags":{}}',
      '{"tags":[3]}',
      '{"tags":"","password":3}',
      '{"tags":"","limits":{"a":1}}',
    ]) {
      expect(await status('PUT', 'users/x', given)).toBe(400);
    }
    for (const given of ['{"users":3}', '{"users":[3]}', '{"users":[{}]}', '{"vhosts":[{}]}', '{"permissions":[{"user":"guest"}]}']) {
      expect(await status('POST', 'definitions', given)).toBe(400);
    }
    expect(await status('GET', 'whoami', undefined, { headers: { authorization: 'Basic ' }, as: '' })).toBe(401);
    expect(await status('GET', 'whoami', undefined, { headers: { authorization: 'Bearer x' }, as: '' })).toBe(401);
    expect(await status('POST', 'definitions', ' '.repeat(33 * 1024 * 1024))).toBe(413);
    expect(await status('GET', 'whoami')).toBe(200);
    expect(logged.filter((line) => line.includes('failed'))).toEqual([]);
  });
});
