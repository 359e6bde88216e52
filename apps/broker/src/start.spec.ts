/**
 * How the daemon starts and ends: its settings, the lines that programs wait for, and a sentence instead of a stack trace for everything that can go
 * wrong with its place.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { connect } from 'amqplib';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';
import { RawClient } from './raw-client.js';
import { readSettings, type Settings, SettingsError } from './settings.js';

afterEach(cleanUp);

describe('the settings', () => {
  it('take the command line before the environment, the environment before the file, and the file before the default', () => {
    const file = join(temporaryFolder(), 'dovecote.json');
    writeFileSync(
      file,
      JSON.stringify({
        amqpPort: 1,
        amqpHost: 'from-file',
        durability: 'os',
        users: [{ name: 'ann', password: 'a:b,c' }],
        managementPort: 'off',
      }),
    );
    const environment = { DOVECOTE_CONFIG: file, DOVECOTE_AMQP_PORT: '2', DOVECOTE_AMQP_HOST: 'from-environment', DOVECOTE_DATA: '' };
    const settings = readSettings(['--amqp-port', '3', '--kafka-port=9092', '--kafka-advertised', '[::1]:19092'], environment);
    expect(settings).toEqual({
      data: join(process.cwd(), 'dovecote-data'),
      durability: 'os',
      amqp: [{ host: 'from-environment', port: 3, isTls: false }],
      users: [{ name: 'ann', password: 'a:b,c' }],
      permissions: [],
      virtualHosts: [],
      tls: undefined,
      management: undefined,
      kafka: {
        listeners: [{ host: '127.0.0.1', port: 9092, isTls: false, advertised: { host: '::1', port: 19_092 } }],
        isDefault: false,
      },
      limits: {},
    });
  });

  it('are a folder here, ports 5672, 9092 and 15672 of this machine, fsync and whoever the folder knows when nothing is said', () => {
    expect(readSettings([], {})).toMatchObject({
      durability: 'fsync',
      amqp: [{ host: '127.0.0.1', port: 5672, isTls: false }],
      users: undefined,
      management: { host: '127.0.0.1', port: 15_672, isDefault: true },
      kafka: { listeners: [{ host: '127.0.0.1', port: 9092, isTls: false }], isDefault: true },
    });
    expect(readSettings(['--kafka-port', 'off'], {})).toMatchObject({ kafka: undefined });
  });

  it('take several listeners for Kafka clients, each with the address that its clients are told', () => {
    const tls = { DOVECOTE_TLS_CERTIFICATE: 'c.pem', DOVECOTE_TLS_KEY: 'k.pem' };
    const listeners = 'kafka://127.0.0.1:0,kafkas://[::]:9093/?advertised=pigeons.example:19093&login=no';
    const wanted = {
      listeners: [
        { host: '127.0.0.1', port: 0, isTls: false },
        { host: '::', port: 9093, isTls: true, advertised: { host: 'pigeons.example', port: 19_093 }, login: false },
      ],
      isDefault: false,
    };
    expect(readSettings([], { ...tls, DOVECOTE_KAFKA_LISTENERS: listeners })).toMatchObject({
      kafka: wanted,
      tls: { requiresClient: false },
    });
    const flags = listeners.split(',').flatMap((listener) => ['--kafka-listener', listener]);
    expect(readSettings(flags, tls)).toMatchObject({ kafka: wanted });
  });

  it('take listeners, TLS, virtual hosts and permissions', () => {
    const file = join(temporaryFolder(), 'dovecote.json');
    const permission = { virtualHost: 'team', configure: '^a', write: '.*', read: '' };
    const users = [
      { name: 'ann', password: 'a', tags: ['monitoring'], permissions: [permission] },
      { name: 'certified', tags: [] },
    ];
    const virtualHosts = ['plain', { name: 'team', defaultQueueType: 'quorum', limits: { maxQueues: 3 } }];
    const tls = { tlsCertificate: 'c.pem', tlsKey: 'k.pem', tlsAuthorities: 'a.pem', tlsRequiresClient: true };
    writeFileSync(file, JSON.stringify({ users, virtualHosts, ...tls, amqpListeners: ['amqp://127.0.0.1:0', 'amqps://[::]:5671'] }));
    expect(readSettings(['--config', file, '--management-port', '7'], {})).toMatchObject({
      amqp: [
        { host: '127.0.0.1', port: 0, isTls: false },
        { host: '::', port: 5671, isTls: true },
      ],
      users: [
        { name: 'ann', password: 'a', tags: ['monitoring'] },
        { name: 'certified', tags: [] },
      ],
      permissions: [{ user: 'ann', ...permission }],
      virtualHosts: [{ name: 'plain' }, { name: 'team', defaultQueueType: 'quorum', limits: { maxQueues: 3 } }],
      tls: { certificate: join(process.cwd(), 'c.pem'), authorities: join(process.cwd(), 'a.pem'), requiresClient: true },
      management: { host: '127.0.0.1', port: 7, isDefault: false },
    });
    const fromFlags = readSettings(
      ['--virtual-host', 'a', '--virtual-host', 'b', '--amqp-listener', 'amqp://h:1', '--amqp-listener', 'amqp://h:2'],
      {},
    );
    expect(fromFlags).toMatchObject({ virtualHosts: [{ name: 'a' }, { name: 'b' }], amqp: [{ port: 1 }, { port: 2 }] });
  });

  it("take settings for Kafka clients under Kafka's names", () => {
    const kafka = (argv: string[], environment = {}) => (readSettings(['--kafka-port', '1', ...argv], environment) as Settings).kafka;
    expect(
      kafka([
        ...['--kafka-config', 'num.partitions=3', '--kafka-config', 'cleanup.policy=delete,compact'],
        ...['--kafka-login', 'yes', '--kafka-replication', 'one-for-all'],
      ]),
    ).toEqual({
      listeners: [{ host: '127.0.0.1', port: 1, isTls: false, login: true }],
      isDefault: false,
      replication: 'one-for-all',
      partitionCount: 3,
      topicConfigs: { 'cleanup.policy': 'delete,compact' },
    });
    const names = 'auto.create.topics.enable=false,cleanup.policy=delete,compact,group.initial.rebalance.delay.ms=500';
    expect(
      kafka([], { DOVECOTE_KAFKA_CONFIGS: `${names},offsets.topic.num.partitions=2,group.min.session.timeout.ms=1000` }),
    ).toMatchObject({
      createsTopics: false,
      initialRebalanceDelayMs: 500,
      offsetsPartitionCount: 2,
      sessionTimeoutMsMin: 1000,
      topicConfigs: { 'cleanup.policy': 'delete,compact' },
    });
    const file = join(temporaryFolder(), 'dovecote.json');
    writeFileSync(file, JSON.stringify({ kafkaConfigs: { 'node.id': 0, 'num.partitions': 4, 'retention.ms': '5' } }));
    expect(kafka(['--config', file])).toMatchObject({ nodeId: 0, partitionCount: 4, topicConfigs: { 'retention.ms': '5' } });
  });

  it("take other limits than the broker's own", () => {
    const limits = (argv: string[], environment = {}) => (readSettings(argv, environment) as Settings).limits;
    expect(limits([])).toEqual({});
    expect(limits(['--limit', 'memoryBytesMax=512MiB', '--limit', 'connectionsMax=5'])).toEqual({
      memoryBytesMax: 512 * 1024 * 1024,
      connectionsMax: 5,
    });
    expect(limits([], { DOVECOTE_LIMITS: 'consumerTimeoutMs=none, residentBytesMax=1' })).toEqual({
      consumerTimeoutMs: Number.POSITIVE_INFINITY,
      residentBytesMax: 1,
    });
    const file = join(temporaryFolder(), 'dovecote.json');
    writeFileSync(file, JSON.stringify({ limits: { journalSlackBytes: 7, messageBytesMax: '1 KiB' } }));
    expect(limits(['--config', file])).toEqual({ journalSlackBytes: 7, messageBytesMax: 1024 });
  });

  it('take users from each source, their name up to the first colon', () => {
    const users = (argv: string[], environment = {}) => (readSettings(argv, environment) as Settings).users;
    expect(users(['--user', 'ann:x', '--user', 'bob:y:z'])).toEqual([user('ann', 'x'), user('bob', 'y:z')]);
    expect(users([], { DOVECOTE_USERS: 'ann:x,bob:y' })).toEqual([user('ann', 'x'), user('bob', 'y')]);
    expect(users(['--user', 'ann:x'], { DOVECOTE_USERS: 'bob:y' })).toEqual([user('ann', 'x')]);
  });

  it.each([
    [['--amqp-port', '65536'], {}, '--amqp-port must be a whole number from 0 to 65535; "65536" was given'],
    [['--amqp-port', '-1'], {}, '--amqp-port must be a whole number from 0 to 65535; "-1" was given'],
    [
      ['--limit', 'memory=1'],
      {},
      '--limit must be NAME=VALUE, each once: a whole number from 1, bytes also with KiB, MiB or GiB, of messageBytesMax',
    ],
    [['--limit', 'connectionsMax=1MiB'], {}, '["connectionsMax=1MiB"] was given'],
    [['--limit', 'frameBytesMax=4095'], {}, '--limit must be NAME=VALUE'],
    [['--limit', 'queuesMax=0'], {}, '--limit must be NAME=VALUE'],
    [['--limit', 'queuesMax=1', '--limit', 'queuesMax=2'], {}, '--limit must be NAME=VALUE'],
    [['--kafka-port', '1', '--kafka-config', 'num.partitions=0'], {}, "--kafka-config must be NAME=VALUE, Kafka's own names and each once"],
    [['--kafka-port', '1', '--kafka-config', 'a=1', '--kafka-config', 'a=2'], {}, '--kafka-config must be NAME=VALUE'],
    [['--kafka-port', '1'], { DOVECOTE_KAFKA_CONFIGS: 'retention.ms' }, 'DOVECOTE_KAFKA_CONFIGS must be NAME=VALUE'],
    [['--kafka-port', '1', '--kafka-replication', '3'], {}, '--kafka-replication must be refuse or one-for-all; "3" was given'],
    [[], { DOVECOTE_KAFKA_PORT: 'many' }, 'DOVECOTE_KAFKA_PORT must be a whole number from 0 to 65535, or off; "many" was given'],
    [
      ['--kafka-host', '0.0.0.0'],
      {},
      'nobody can come to 0.0.0.0: say under which address they reach this broker (--kafka-advertised HOST:PORT)',
    ],
    [
      ['--kafka-listener', 'kafka://[::]:1'],
      {},
      'nobody can come to ::: say under which address they reach this broker (?advertised=HOST:PORT',
    ],
    [['--kafka-listener', 'kafka://h:1?advertised=h'], {}, '--kafka-listener must be kafka://ADDRESS:PORT or kafkas://ADDRESS:PORT'],
    [['--kafka-listener', 'kafkas://h:1'], {}, 'amqps:// and kafkas:// take --tls-certificate and --tls-key, both of them'],
    [['--management-port', 'on'], {}, '--management-port must be a whole number from 0 to 65535, or off; "on" was given'],
    [['--amqp-listener', 'localhost:1'], {}, '--amqp-listener must be amqp://ADDRESS:PORT or amqps://ADDRESS:PORT'],
    [[], { DOVECOTE_AMQP_LISTENERS: 'amqp://h:1,amqp://h:65536' }, 'DOVECOTE_AMQP_LISTENERS must be amqp://ADDRESS:PORT'],
    [['--virtual-host', 'a', '--virtual-host', 'a'], {}, '--virtual-host must be names, each once'],
    [['--amqp-listener', 'amqps://h:1', '--tls-key', 'k'], {}, 'amqps:// and kafkas:// take --tls-certificate and --tls-key, both of them'],
    [['--tls-certificate', 'c', '--tls-key', 'k'], {}, '--tls-certificate and --tls-key take an --amqp-listener amqps://ADDRESS:PORT'],
    [
      ['--tls-requires-client', 'maybe', '--amqp-listener', 'amqps://h:1', '--tls-certificate', 'c', '--tls-key', 'k'],
      {},
      '--tls-requires-client must be yes or no',
    ],
    [['--durability', 'sync'], {}, '--durability must be fsync, os or memory; "sync" was given'],
    [['--data', ''], {}, '--data must be the path of a folder; "" was given'],
    [['--amqp-prot', '1'], {}, "Unknown option '--amqp-prot' (Did you mean --amqp-port?). --help lists what there is"],
    [['--data'], {}, "Option '--data <folder>' argument missing. --help lists what there is"],
    [['here'], {}, 'Too many arguments. Expected 0 arguments but got 1. --help lists what there is'],
    [['--config', '/nowhere.json'], {}, 'The file /nowhere.json cannot be read as JSON: ENOENT: no such file or directory'],
  ])('answer %j %j with a sentence', (argv, environment, sentence) => {
    expect(() => readSettings(argv, environment)).toThrow(SettingsError);
    expect(() => readSettings(argv, environment)).toThrow(sentence);
  });

  it.each([
    ['{', 'cannot be read as JSON'],
    ['{\n  "amqpPort": 1,\n  oops\n}', /\(line 3,? column 3\)/],
    ['[]', 'must hold one JSON object'],
    ['{"amqp-port": 1}', '"amqp-port" in FILE is not a setting: there are data, amqpPort, amqpHost, amqpListeners, durability, users,'],
    ['{"amqpPort": 1.5}', '"amqpPort" in FILE must be a whole number from 0 to 65535; 1.5 was given'],
    ['{"users": [{"password": "ann"}]}', '"users" in FILE must be NAME:PASSWORD'],
    ['{"users": [{"name": "ann", "permissions": [{"virtualHost": "/"}]}]}', '"users" in FILE must be NAME:PASSWORD'],
    ['{"virtualHosts": [{"name": "a", "limit": 1}]}', '"virtualHosts" in FILE must be names, each once'],
    [
      '{"tlsRequiresClient": "maybe", "tlsCertificate": "c", "tlsKey": "k", "amqpListeners": ["amqps://h:1"]}',
      '"tlsRequiresClient" in FILE must be yes or no',
    ],
  ])('answer a file of %s with a sentence', (text, sentence) => {
    const file = join(temporaryFolder(), 'dovecote.json');
    writeFileSync(file, text);
    expect(() => readSettings(['--config', file], {})).toThrow(typeof sentence === 'string' ? sentence.replace('FILE', file) : sentence);
  });

  it.each(['secret', ':secret', 'ann:', 'ann:secret,ann:other'])('never repeat a password, not even in a wrong one such as %s', (given) => {
    expect(() => readSettings([], { DOVECOTE_USERS: given })).toThrow(/^DOVECOTE_USERS must be NAME:PASSWORD(?!.*secret)/);
  });

  it('answer --help and --version and start nothing', async () => {
    const help = new DaemonProcess(['--help']);
    const version = new DaemonProcess(['--version']);
    expect([await help.exited, await version.exited]).toEqual([ended(0), ended(0)]);
    expect(help.stdout).toMatch(/--amqp-port.*5672/s);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('the daemon', () => {
  it('says on stdout what programs wait for, and everything else on stderr', async () => {
    const data = join(temporaryFolder(), 'made', 'by', 'it');
    const daemon = await DaemonProcess.listening(['--data', data, '--amqp-port', '0', '--kafka-port', '0', '--management-port', '0']);
    expect(daemon.stdout.replace(/((?:management|Kafka).*:)\d+/g, '$1PORT')).toBe(
      `dovecote: data folder ${data}\ndovecote: durability fsync: what is confirmed survives the loss of power\ndovecote: management listening on 127.0.0.1:PORT\ndovecote: Kafka listening on 127.0.0.1:PORT\ndovecote: AMQP listening on 127.0.0.1:${daemon.port}\n`,
    );
    expect(daemon.stderr).toBe('');
    expect(await daemon.signal('SIGINT')).toEqual(ended(0));
    expect(readdirSync(data)).toEqual(['journal']);
  });

  it('makes no folder under memory, takes an address of IPv6, and warns when nobody could come from elsewhere', async () => {
    const folder = temporaryFolder();
    const daemon = await DaemonProcess.listening(['--data', folder, '--durability', 'memory', '--amqp-port', '0', '--amqp-host', '::']);
    expect(daemon.stdout).toBe(
      `dovecote: durability memory: nothing survives the end of this process\ndovecote: AMQP listening on [::]:${daemon.port}\n`,
    );
    expect(daemon.stderr).toContain('Nobody can log in from another machine');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('tells its clients when it stops', async () => {
    const daemon = await DaemonProcess.listening(['--durability', 'memory', '--amqp-port', '0']);
    const connection = await connect(daemon.url, { noDelay: true });
    const told = new Promise((resolve) => connection.once('close', resolve));
    expect(await daemon.stop()).toEqual(ended(0));
    expect(await told).toMatchObject({ code: 320, message: expect.stringContaining('CONNECTION_FORCED') });
  });

  it('ends at once at the second signal', async () => {
    const daemon = await DaemonProcess.listening(['--durability', 'memory', '--amqp-port', '0']);
    const silent = await RawClient.open(daemon.port); // never answers the close, so that the daemon waits for it
    const exit = daemon.signal('SIGTERM');
    void daemon.signal('SIGINT'); // another one: two of a kind may become one on their way
    expect([143, 130]).toContain((await exit).code);
    silent.socket.destroy();
  });
});

describe('a place that cannot be', () => {
  it('refuses a folder that another broker owns, and leaves that one alone', async () => {
    const data = temporaryFolder();
    const first = await DaemonProcess.listening(['--data', data, '--amqp-port', '0']);
    const second = new DaemonProcess(['--data', data, '--amqp-port', '0']);
    expect(await second.exited).toEqual(ended(1));
    expect(second.stderr).toMatch(
      new RegExp(
        `^dovecote: another broker \\(process ${first.pid} on .*\\) owns the data folder ${data}: stop it or choose another folder\\n$`,
        'i',
      ),
    );
    expect(second.stdout).toBe('');
    const connection = await connect(first.url, { noDelay: true });
    await connection.close();
  });

  it('takes the folder of a broker that was killed', async () => {
    const data = temporaryFolder();
    await (await DaemonProcess.listening(['--data', data, '--amqp-port', '0'])).kill();
    const next = await DaemonProcess.listening(['--data', data, '--amqp-port', '0']);
    expect(await next.stop()).toEqual(ended(0));
  });

  it('refuses a port that is taken, and lets the folder go', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const data = temporaryFolder();
    const daemon = new DaemonProcess(['--data', data, '--amqp-port', `${port}`]);
    expect(await daemon.exited).toEqual(ended(1));
    expect(daemon.stderr).toBe(
      `dovecote: 127.0.0.1:${port} is taken: stop the program that listens there, or choose another port (0 takes a free one)\n`,
    );
    expect(readdirSync(data)).toEqual(['journal']);
    taken.close();
  });

  it('refuses a folder that is a file', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    const daemon = new DaemonProcess(['--data', file, '--amqp-port', '0']);
    expect(await daemon.exited).toEqual(ended(1));
    expect(daemon.stderr).toMatch(oneSentenceAbout(file));
  });

  it('refuses a folder that nobody can write to', async () => {
    // Not even root can make anything in /sys.
    const daemon = new DaemonProcess(['--data', '/sys/dovecote', '--amqp-port', '0']);
    expect(await daemon.exited).toEqual(ended(1));
    expect(daemon.stderr).toMatch(oneSentenceAbout('/sys/dovecote'));
  });

  it('refuses an address that this machine does not have', async () => {
    const daemon = new DaemonProcess(['--data', join(temporaryFolder(), 'd'), '--amqp-port', '0', '--amqp-host', '192.0.2.1']);
    expect(await daemon.exited).toEqual(ended(1));
    expect(daemon.stderr).toMatch(oneSentenceAbout('192.0.2.1'));
  });

  it('refuses a journal that lost what had been synced, and leaves it as it is', async () => {
    const data = temporaryFolder();
    const daemon = await DaemonProcess.listening(['--data', data, '--amqp-port', '0']);
    await publishConfirmed(daemon.url, 'orders', 5);
    await daemon.stop();
    const [name] = readdirSync(join(data, 'journal'));
    const file = join(data, 'journal', name!);
    const bytes = readFileSync(file);
    bytes[bytes.indexOf('number 2') + 3]! ^= 0x20;
    writeFileSync(file, bytes);
    const next = new DaemonProcess(['--data', data, '--amqp-port', '0']);
    expect(await next.exited).toEqual(ended(1));
    expect(next.stderr).toMatch(oneSentenceAbout(`${file} is damaged at byte `));
    expect(readFileSync(file)).toEqual(bytes);
  });
});

function user(name: string, password: string): { readonly name: string; readonly password: string } {
  return { name, password };
}

function ended(code: number): { readonly code: number; readonly signal: null } {
  return { code, signal: null };
}

/** Each in a commit of its own. */
async function publishConfirmed(url: string, queue: string, count: number): Promise<void> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue);
  for (let number = 1; number <= count; number++) {
    channel.sendToQueue(queue, Buffer.from(`number ${number}`), { persistent: true });
    await channel.waitForConfirms();
  }
  await connection.close();
}

/** One line, with `what` in it and no stack trace. */
function oneSentenceAbout(what: string): RegExp {
  return new RegExp(`^dovecote: [^\\n]*${what.replaceAll('.', '\\.')}[^\\n]*\\n$`);
}
