import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { request } from 'node:http';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Broker } from '../broker.js';

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, unknown>>;
}

interface Given {
  readonly as?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

let broker: Broker;
const logged: string[] = [];
beforeEach(async () => {
  broker = await Broker.open({ management: { port: 0 }, log: (line) => logged.push(line) });
});
afterEach(async () => {
  await broker.close();
  logged.length = 0;
});

function ask(method: string, path: string, body?: unknown, { as = 'guest:guest', headers = {} }: Given = {}): Promise<Answer> {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const authorization = as === '' ? {} : { authorization: `Basic ${Buffer.from(as).toString('base64')}` };
  const type = text === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: broker.managementPort,
        method,
        path: `/api/${path}`,
        headers: { ...type, ...authorization, ...headers },
        agent: false,
      },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('end', () => {
          const whole = Buffer.concat(pieces).toString();
          resolve({ status: response.statusCode!, body: whole === '' ? undefined : JSON.parse(whole), headers: response.headers });
        });
      },
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

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

  it('carries users, virtual hosts and permissions from one broker to another', async () => {
    await ask('PUT', 'users/au', { password: 'pw', tags: 'management' });
    await ask('PUT', 'vhosts/v', { description: 'moved' });
    await ask('PUT', 'permissions/v/au', all);
    await ask('PUT', 'topic-permissions/v/au', { exchange: 'x', write: 'w', read: 'r' });
    await ask('PUT', 'vhost-limits/v/max-queues', { value: 5 });
    const exported = await body('definitions');
    const other = await Broker.open({ management: { port: 0 } });
    const first = broker;
    try {
      broker = other;
      expect(await status('POST', 'definitions', exported)).toBe(204);
      expect(await body('definitions')).toEqual(exported);
      expect(await status('GET', 'whoami', undefined, { as: 'au:pw' })).toBe(200);
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
      listeners: [expect.objectContaining({ protocol: 'http', port: broker.managementPort })],
    });
    const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8')) as {
      version: string;
    };
    expect(await body('overview?columns=queue_totals.messages')).toEqual({ queue_totals: { messages: 1 } });
    expect(await body('overview?columns=product_version,node')).toEqual({ product_version: version, node: 'dovecote@localhost' });
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
