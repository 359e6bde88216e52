/** The command line against a real broker: what it prints, how it ends, and what the broker then knows. */
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import amqp from 'amqplib';
import { Broker } from '@dovecote/broker';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Ran, type Script, runScripted } from './scripted-terminal.js';

let broker: Broker;
let folder: string;
beforeEach(async () => {
  broker = await Broker.open({ amqp: { port: 0 }, management: { port: 0 } });
  folder = mkdtempSync(join(tmpdir(), 'dovecote-cli-'));
});
afterEach(async () => {
  await broker.close();
  rmSync(folder, { recursive: true, force: true });
});

function dovecote(argv: readonly string[], { environment, ...script }: Script = {}): Promise<Ran> {
  return runScripted(argv, { ...script, environment: { DOVECOTE_URL: `http://127.0.0.1:${broker.managementPort}`, ...environment } });
}

const done = { code: 0, out: '', err: '' };

describe('dovecote users', () => {
  it('adds, lists, changes and deletes', async () => {
    expect(await dovecote(['users', 'add', 'ann', '--tags', 'monitoring,own'], { input: 'secret\n' })).toEqual(done);
    expect(await dovecote(['users', 'list'])).toEqual({ ...done, out: 'name   tags\nann    monitoring own\nguest  administrator\n' });
    expect((await dovecote(['whoami'], { environment: { DOVECOTE_USER: 'ann', DOVECOTE_PASSWORD: 'secret' } })).out).toBe(
      'name  tags\nann   monitoring own\n',
    );
    expect(await dovecote(['users', 'tags', 'ann', 'management'])).toEqual(done);
    expect((await dovecote(['--user', 'ann', 'whoami'], { typed: ['secret'] })).out).toContain('ann   management');
    expect((await dovecote(['users', 'password', 'ann'], { typed: ['new', 'new'] })).code).toBe(0);
    expect((await dovecote(['--user', 'ann', 'whoami'], { typed: ['new'] })).code).toBe(0);
    expect(await dovecote(['users', 'password', 'ann', '--clear'])).toEqual(done);
    expect((await dovecote(['--user', 'ann', 'whoami'], { typed: ['new'] })).code).toBe(3);
    expect(await dovecote(['users', 'delete', 'ann'])).toEqual(done);
    const json = await dovecote(['--json', 'users', 'list']);
    expect(JSON.parse(json.out)).toMatchObject([{ name: 'guest', tags: ['administrator'] }]);
  });

  it('asks for a password twice and shows it nowhere', async () => {
    const ran = await dovecote(['users', 'add', 'ann'], { typed: ['s3cret', 's3cret'] });
    expect(ran).toEqual({ code: 0, out: '', err: 'Password for ann: Once more: ' });
    expect(await dovecote(['users', 'add', 'bob'], { typed: ['one', 'other'] })).toMatchObject({
      code: 2,
      err: expect.stringContaining('differ'),
    });
    expect(await dovecote(['users', 'add', 'bob'], { typed: [undefined] })).toMatchObject({ code: 2 });
    expect(await dovecote(['users', 'add', 'bob'])).toMatchObject({ code: 2, err: expect.stringContaining('standard input') });
    expect(broker.administration.users.map(({ name }) => name)).toEqual(['ann', 'guest']);
  });

  it('takes the hashes of a RabbitMQ, and users without a password', async () => {
    const hash = 'iuWPRKzJ7ojaCVr/VcatHlTJ6/17YzcqgVcdah5OWH7m7m/Y';
    expect(await dovecote(['users', 'add', 'moved', '--hash', hash, '--tags', 'management'])).toEqual(done);
    expect((await dovecote(['--user', 'moved', 'whoami'], { typed: ['guest'] })).code).toBe(0);
    expect(await dovecote(['users', 'add', 'certified', '--no-password'])).toEqual(done);
    expect(await dovecote(['users', 'add', 'certified', '--no-password'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('already'),
    });
    expect(await dovecote(['users', 'tags', 'nobody'])).toMatchObject({
      code: 2,
      err: "dovecote: There is no user 'nobody': add it first\n",
    });
  });
});

describe('dovecote vhosts, permissions and definitions', () => {
  it('adds, limits, lists and deletes virtual hosts', async () => {
    expect(await dovecote(['vhosts', 'add', 'a/b', '--description', 'ours', '--default-queue-type', 'classic'])).toEqual(done);
    expect(await dovecote(['vhosts', 'limit', 'a/b', '--max-queues', '5', '--max-connections', '7'])).toEqual(done);
    expect(await dovecote(['vhosts', 'limit', 'a/b', '--max-connections', 'none'])).toEqual(done);
    expect((await dovecote(['vhosts', 'list'])).out).toBe(
      [
        'name  description           default_queue_type  max-connections  max-queues',
        '/     Default virtual host  classic',
        'a/b   ours                  classic                              5',
        '',
      ].join('\n'),
    );
    expect(await dovecote(['vhosts', 'limit', 'a/b', '--max-queues', 'many'])).toMatchObject({ code: 2 });
    expect(await dovecote(['vhosts', 'delete', 'a/b'])).toEqual(done);
    expect(await dovecote(['vhosts', 'delete', 'a/b'])).toEqual({
      code: 1,
      out: '',
      err: 'dovecote: The broker refused: there is none of that name\n',
    });
    expect(await dovecote(['vhosts', 'delete', '/'])).toMatchObject({ code: 1, err: expect.stringContaining('cannot be deleted') });
  });

  it('sets, lists and clears permissions', async () => {
    await dovecote(['users', 'add', 'ann', '--no-password']);
    await dovecote(['vhosts', 'add', 'team']);
    expect(await dovecote(['permissions', 'set', 'ann', '^a', '.*', '', '--vhost', 'team'])).toEqual(done);
    expect(await dovecote(['permissions', 'list', '--vhost', 'team'])).toEqual({
      ...done,
      out: 'user   vhost  configure  write  read\nguest  team   .*         .*     .*\nann    team   ^a         .*\n',
    });
    expect(JSON.parse((await dovecote(['--json', 'permissions', 'list', '--user-name', 'ann'])).out)).toHaveLength(1);
    expect(await dovecote(['permissions', 'set', 'ann', '(', '', ''])).toMatchObject({
      code: 1,
      err: expect.stringContaining("a ')' is missing"),
    });
    expect(await dovecote(['permissions', 'set-topic', 'ann', 'x', '^{username}', '.*', '--vhost', 'team'])).toEqual(done);
    expect((await dovecote(['permissions', 'list', '--topic'])).out).toContain('ann   team   x         ^{username}  .*');
    expect(await dovecote(['permissions', 'clear-topic', 'ann', '--vhost', 'team'])).toEqual(done);
    expect(await dovecote(['permissions', 'clear', 'ann', '--vhost', 'team'])).toEqual(done);
    expect(await dovecote(['permissions', 'clear', 'ann', '--vhost', 'team'])).toMatchObject({ code: 1 });
  });

  it('exports and imports', async () => {
    const file = join(folder, 'definitions.json');
    await dovecote(['users', 'add', 'ann', '--tags', 'management'], { input: 'secret' });
    expect(await dovecote(['definitions', 'export', file])).toEqual(done);
    expect((await dovecote(['definitions', 'export'])).out).toBe(readFileSync(file, 'utf8'));
    await dovecote(['users', 'delete', 'ann']);
    expect(await dovecote(['definitions', 'import', file])).toEqual(done);
    expect((await dovecote(['--user', 'ann', 'whoami'], { typed: ['secret'] })).code).toBe(0);
    writeFileSync(file, '{');
    expect(await dovecote(['definitions', 'import', file])).toMatchObject({
      code: 2,
      err: expect.stringContaining('cannot be read as JSON'),
    });
  });
});

describe('dovecote', () => {
  it('ends with 2 for a wrong command line, and with 3 where there is no way in', async () => {
    expect(await dovecote(['user', 'list'])).toMatchObject({ code: 2, err: expect.stringContaining("unknown command 'user'") });
    expect(await dovecote(['users', 'add'])).toMatchObject({ code: 2, err: expect.stringContaining("missing required argument 'name'") });
    expect(await dovecote(['--url', 'localhost:1', 'whoami'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--url must be such as'),
    });
    expect(await dovecote(['--url', 'http://127.0.0.1:1', 'whoami'])).toMatchObject({
      code: 3,
      err: expect.stringContaining('cannot be reached: ECONNREFUSED'),
    });
    expect(await dovecote(['--user', 'eve', 'whoami'], { typed: ['x'] })).toMatchObject({
      code: 3,
      err: expect.stringContaining("does not let 'eve'"),
    });
    expect(await dovecote(['--user', 'eve', 'whoami'])).toMatchObject({ code: 2, err: expect.stringContaining('DOVECOTE_PASSWORD') });
  });

  it('helps, and completes in bash', async () => {
    expect(await dovecote(['--help'])).toMatchObject({ code: 0, out: expect.stringMatching(/users.*vhosts.*permissions.*Exit codes/s) });
    expect(await dovecote(['users', 'add', '--help'])).toMatchObject({ code: 0, out: expect.stringContaining('--no-password') });
    const { out } = await dovecote(['completion']);
    const complete = (line: string): string =>
      spawnSync('bash', ['-c', `${out}\nCOMP_WORDS=(${line}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _dovecote; echo "\${COMPREPLY[@]}"`])
        .stdout.toString()
        .trim();
    expect(complete('dovecote us')).toBe('users');
    expect(complete('dovecote users p')).toBe('password');
    expect(complete('dovecote groups re')).toBe('reset');
    expect(complete('dovecote consume --for')).toBe('--format');
    expect(['topi', 'prod', 'consume', 'grou', 'offs'].map((word) => complete(`dovecote ${word}`))).toEqual([
      'topics',
      'produce',
      'consumers consume',
      'groups',
      'offsets',
    ]);
    expect(complete('dovecote --json vhosts limit --max-q')).toBe('--max-queues');
  });

  it('runs as a program', () => {
    const program = fileURLToPath(new URL('../bin/dovecote.js', import.meta.url));
    const ran = spawnSync(process.execPath, [program, '--version'], { env: {} });
    expect([ran.status, ran.stdout.toString()]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
  });
});

describe('dovecote queues, exchanges and bindings', () => {
  it('makes, shows, fills, reads and deletes queues', async () => {
    expect(
      await dovecote(['queues', 'declare', 'q', '--argument', 'x-message-ttl=60000', '--argument', 'x-overflow=reject-publish']),
    ).toEqual(done);
    expect(await dovecote(['queues', 'declare', 'r', '--type', 'quorum'])).toEqual(done);
    expect(await dovecote(['queues', 'publish', 'q', 'hello'])).toEqual(done);
    expect(await dovecote(['queues', 'publish', 'q', '--properties', '{"type":"t"}'], { input: 'from\nelsewhere' })).toEqual(done);
    expect((await dovecote(['queues', 'publish', 'none', 'x'])).code).toBe(1);
    expect((await dovecote(['queues', 'list'])).out).toBe(
      'vhost  name  type     durable  messages_ready  messages_unacknowledged  consumers\n' +
        '/      q     classic  true     2               0                        0\n' +
        '/      r     quorum   true     0               0                        0\n',
    );
    expect((await dovecote(['queues', 'show', 'q'])).out).toMatch(/^arguments +{"x-message-ttl":60000,"x-overflow":"reject-publish"}$/m);
    expect(JSON.parse((await dovecote(['--json', 'queues', 'get', 'q', '--count', '5'])).out)).toMatchObject([
      { payload: 'hello', redelivered: false, properties: { delivery_mode: 2 } },
      { payload: 'from\nelsewhere', properties: { type: 't' } },
    ]);
    expect((await dovecote(['queues', 'get', 'q', '--take'])).out).toMatch(/ true .* hello\n$/);
    expect(await dovecote(['queues', 'delete', 'q', '--if-empty'])).toMatchObject({ code: 1, err: expect.stringContaining('not empty') });
    expect(await dovecote(['queues', 'purge', 'q'])).toEqual(done);
    expect(await dovecote(['queues', 'delete', 'q', 'r'])).toMatchObject({ code: 0 });
    expect((await dovecote(['--json', 'queues', 'list'])).out).toBe('[]\n');
    expect(await dovecote(['queues', 'declare', 'q', '--argument', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('name=value'),
    });
    expect((await dovecote(['queues', 'get', 'q', '--count', 'many'])).code).toBe(2);
    expect((await dovecote(['queues', 'publish', 'q', 'x', '--properties', '3'])).code).toBe(2);
  });

  it('leads messages from an exchange to a queue', async () => {
    await dovecote(['vhosts', 'add', 'v']);
    const inside = ['--vhost', 'v'];
    await dovecote(['queues', 'declare', 'q', ...inside]);
    expect(await dovecote(['exchanges', 'declare', 'x', 'headers', '--internal', ...inside])).toEqual(done);
    expect(await dovecote(['exchanges', 'declare', 'y', 'topic', '--argument', 'alternate-exchange=x', ...inside])).toEqual(done);
    expect(await dovecote(['bindings', 'add', 'x', 'q', ...inside, '--argument', 'x-match=any', '--argument', 'n=1'])).toEqual(done);
    expect(await dovecote(['bindings', 'add', 'y', 'x', 'a.*', '--exchange', ...inside])).toEqual(done);
    expect((await dovecote(['bindings', 'list', ...inside])).out).toBe(
      'vhost  source  destination  destination_type  routing_key  arguments\n' +
        'v      x       q            queue                          {"n":1,"x-match":"any"}\n' +
        'v      y       x            exchange          a.*          {}\n',
    );
    expect((await dovecote(['exchanges', 'list', ...inside])).out).toContain(
      'v      y                   topic    true     false        false     {"alternate-exchange":"x"}\n',
    );
    expect((await dovecote(['exchanges', 'show', 'x', ...inside])).out).toContain('internal     true\n');
    expect(await dovecote(['exchanges', 'publish', 'y', 'a.b', 'm', '--properties', '{"headers":{"n":1}}', ...inside])).toEqual(done);
    expect(await dovecote(['exchanges', 'publish', 'y', 'b', 'm', ...inside])).toMatchObject({
      code: 1,
      err: expect.stringContaining('no queue'),
    });
    expect(await dovecote(['bindings', 'delete', 'y', 'x', 'b', '--exchange', ...inside])).toMatchObject({ code: 1 });
    expect(await dovecote(['bindings', 'delete', 'x', 'q', '--argument', 'n=1', '--argument', 'x-match=any', ...inside])).toEqual(done);
    expect(await dovecote(['exchanges', 'delete', 'x', '--if-unused', ...inside])).toEqual(done);
  });
});

describe('dovecote connections, channels and consumers', () => {
  it('tells who is there, and sends somebody away', async () => {
    const connection = await amqp.connect(`amqp://127.0.0.1:${broker.amqpPort}`, { clientProperties: { connection_name: 'me' } });
    const closed = new Promise<Error>((resolve) => void connection.once('close', resolve));
    const channel = await connection.createChannel();
    await channel.assertQueue('q');
    await channel.consume('q', () => undefined, { consumerTag: 'tag' });
    // A port of this machine may be one that a client of another test tries to reach again.
    const all = JSON.parse((await dovecote(['--json', 'connections', 'list'])).out) as { name: string; user_provided_name: string }[];
    const { name } = all.find((one) => one.user_provided_name === 'me')!;
    expect((await dovecote(['connections', 'list'])).out).toMatch(new RegExp(`^${name} +me +guest +/ +running +1 +false$`, 'm'));
    expect((await dovecote(['channels', 'list'])).out).toContain(`${name} (1)  guest  /      false    0               1`);
    expect((await dovecote(['channels', 'show', `${name} (1)`])).out).toContain('number                     1\n');
    expect((await dovecote(['consumers', 'list', '--vhost', '/'])).out).toContain(
      `/      q      tag           ${name} (1)  true          0               true\n`,
    );
    expect((await dovecote(['connections', 'show', name])).out).toContain('auth_mechanism             PLAIN\n');
    expect(await dovecote(['connections', 'close', name, '--reason', 'tired'])).toEqual(done);
    expect((await closed).message).toContain('tired');
    expect((await dovecote(['connections', 'close', 'none'])).code).toBe(1);
  });
});
