import { afterEach, describe, expect, it } from '@jest/globals';
import { type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import { checkFolder } from './check-folder.js';
import type { BrokerOptions } from './options.js';
import { checkHash, hashPassword, isSlow, matchesQuickly, matchesSlowly } from './password-hash.js';
import { Pattern, patternBounds } from './pattern.js';

const everything = { configure: '.*', write: '.*', read: '.*' };
const quickHash = { algorithm: 'rabbit_password_hashing_sha256', hash: 'c2FsdCG67ZSbcWxJy/fY/nlBLx3BBHRWUKMgga4L4Llnrrfz' };

describe('a pattern', () => {
  const names = [
    '',
    'a',
    'b',
    'ab',
    'aab',
    'abc',
    'ABC',
    'orders',
    'orders.eu',
    'orders-1',
    'amq.gen-x',
    'my queue',
    'x.y.z',
    '42',
    'é',
    'a{',
    '_',
  ];
  const patterns = [
    ...[
      '.*',
      '^$',
      '^a',
      'b$',
      '^ab?c*$',
      'a+b',
      '(ab|abc)$',
      '^(a|b)*$',
      '^orders(\\.|$)',
      '^(?!amq\\.).*',
      '^(?:orders|x)\\b',
      '[a-c]{2}',
    ],
    ...['^[^.]*$', '\\d+', '^\\w+$', '\\W', '\\s', '[\\w-]+-\\d', '^.{2,3}$', '^.{3,}$', 'a{', 'a{,2}', '[a-]', '\\.', '(?=.*e)o', '\\Bb'],
    ...['^(?<name>a)b', '^((a*)*)*$', '()*', '^(a?){3}b', '\\x61', '[\\d.]+', '', 'a|', '|a', '^(?!.*(?=\\.)).+$', 'a*?b', '(?=(?!b)a)ab'],
  ];

  it('matches what a JavaScript regular expression matches, where both have it', () => {
    for (const text of patterns) {
      const pattern = new Pattern(text);
      const regular = new RegExp(text, 's');
      for (const name of names) expect([text, name, pattern.matches(name)]).toEqual([text, name, regular.test(name)]);
    }
  });

  it('has classes with names, and a switch for capitals', () => {
    expect(names.filter((name) => new Pattern('^[[:alpha:]]+$').matches(name))).toEqual(['a', 'b', 'ab', 'aab', 'abc', 'ABC', 'orders']);
    expect(names.filter((name) => new Pattern('(?i)^abc$').matches(name))).toEqual(['abc', 'ABC']);
    expect(names.filter((name) => new Pattern('(?i)^[b-c]').matches(name))).toEqual(['b']);
  });

  it('takes a bracket at the beginning of a class for a bracket, as RabbitMQ does', () => {
    expect(['a', ']', 'b', '^'].filter((name) => new Pattern('[]a]').matches(name))).toEqual(['a', ']']);
    expect(['a', ']', 'b', '^'].filter((name) => new Pattern('[^]a]').matches(name))).toEqual(['b', '^']);
  });

  it('takes no time for what would take other engines for ever', () => {
    const name = 'a'.repeat(255);
    for (const text of [
      '^(a+)+$x',
      '^(a|a)*b',
      '(a*)*(a*)*(a*)*b',
      '^(?=(a+)+b)',
      '^(?!(?=(a|aa)+c)(a|aa)+$)b',
      '(x+x+)+y|(a{1,50}){1,5}b',
    ]) {
      expect(new Pattern(text).matches(name)).toBe(false);
    }
  });

  const refusals: readonly (readonly [text: string, sentence: string])[] = [
    ['(a', "a ')' is missing"],
    ['a)', "there is a ')' too many"],
    ['[a', "a ']' is missing"],
    ['*a', "nothing to repeat before '*'"],
    ['(a)\\1', "'\\1' is not supported"],
    ['(?<=a)b', "'(?<=' is not supported"],
    ['(?>a)', "'(?>a' is not supported"],
    ['a++', 'possessive'],
    ['a\\', 'ends with a backslash'],
    ['[b-a]', 'ends before it begins'],
    ['a{3,2}', 'ends before it begins'],
    ['(a{100}){100}', `more than ${patternBounds.stepsMax} steps`],
    ['((){1000}){1000}', 'repeats too much'],
    ['(?=a)'.repeat(9), 'looks ahead more than'],
    ['('.repeat(200) + ')'.repeat(200), 'nested too deeply'],
    ['a'.repeat(1001), 'more than 1000 characters'],
  ];
  it('refuses with a sentence what it cannot do, or not in time', () => {
    for (const [text, sentence] of refusals) expect(() => new Pattern(text)).toThrow(sentence);
  });
});

describe('a password', () => {
  it('is kept as a scrypt hash with a salt of its own', async () => {
    const [one, other] = [await hashPassword('secret', Buffer.alloc(16, 1)), await hashPassword('secret', Buffer.alloc(16, 2))];
    expect(isSlow(one)).toBe(true);
    expect(one.hash).not.toBe(other.hash);
    expect(checkHash(one)).toEqual(one);
    expect([await matchesSlowly('secret', one), await matchesSlowly('Secret', one)]).toEqual([true, false]);
  });

  it('may come as a hash of RabbitMQ, and as nothing else', () => {
    // Of a RabbitMQ 4.0.5, for the user guest.
    const theirs = checkHash({ algorithm: quickHash.algorithm, hash: 'iuWPRKzJ7ojaCVr/VcatHlTJ6/17YzcqgVcdah5OWH7m7m/Y' });
    expect([matchesQuickly('guest', theirs), matchesQuickly('guesd', theirs)]).toEqual([true, false]);
    expect(matchesQuickly('', { algorithm: 'rabbit_password_hashing_sha256', hash: '' })).toBe(false);
    expect(() => checkHash({ algorithm: 'rabbit_password_hashing_md5', hash: '' })).toThrow('is not known');
    expect(() => checkHash({ ...quickHash, hash: 'AAAA' })).toThrow('not one of');
    expect(() => checkHash({ algorithm: 'dovecote_scrypt', hash: Buffer.alloc(51, 31).toString('base64') })).toThrow('not one of');
  });
});

describe('users, permissions and virtual hosts', () => {
  const brokers: Broker[] = [];
  let world: SimulatedGround;
  afterEach(async () => {
    for (const broker of brokers.splice(0)) await world.clock.drive(broker.close());
  });

  async function open(options: BrokerOptions = {}, seed: number | 'same world' = 1): Promise<Broker> {
    if (seed !== 'same world') world = simulatedGround(seed);
    const process = world.startProcess();
    const broker = await world.clock.drive(Broker.open({ data: '/data', ground: process.ground, ...options }));
    brokers.push(broker);
    return broker;
  }

  async function reopen(power: boolean, options: BrokerOptions = {}): Promise<Broker> {
    brokers.length = 0;
    world.crash({ power });
    return open(options, 'same world');
  }

  const drive = <T>(work: Promise<T>): Promise<T> => world.clock.drive(work);

  async function fill(broker: Broker): Promise<void> {
    const { administration } = broker;
    await drive(administration.putUser({ name: 'ada', passwordHash: quickHash, tags: ['monitoring', 'own'] }));
    await drive(administration.putVirtualHost({ name: 'team', description: 'ours', tags: ['a'] }, 'guest'));
    await drive(administration.setLimits('team', { maxQueues: 7 }));
    await drive(administration.putPermission({ user: 'ada', virtualHost: 'team', configure: '^a', write: 'b', read: '' }));
    await drive(administration.putTopicPermission({ user: 'ada', virtualHost: 'team', exchange: 'x', write: 'w', read: 'r' }));
    const session = broker.session({ virtualHost: 'team' });
    await drive(session.declareExchange('x', 'topic', { durable: true }));
    await drive(session.declareQueue('q', { durable: true }));
    await drive(session.bindQueue('q', 'x', '#'));
    const properties = { deliveryMode: 2 } as const;
    await drive(session.publish({ exchange: 'x', routingKey: 'k', body: Buffer.from('kept'), properties }));
  }

  const shown = ({ administration }: Broker): unknown => ({
    users: administration.users,
    hosts: administration.virtualHosts,
    permissions: administration.permissions,
    topics: administration.topicPermissions,
  });

  const countIn = async (broker: Broker, virtualHost: string): Promise<number> =>
    (await drive(broker.session({ virtualHost }).declareQueue('q', { durable: true }))).messageCount;

  it('survive a loss of power, with what is in them', async () => {
    const broker = await open();
    await fill(broker);
    const before = shown(broker);
    expect(before).toMatchObject({
      users: [
        { name: 'ada', tags: ['monitoring', 'own'] },
        { name: 'guest', tags: ['administrator'] },
      ],
      hosts: [{ name: '/' }, { name: 'team', description: 'ours', tags: ['a'], limits: { maxQueues: 7 } }],
      permissions: [{ user: 'guest' }, { user: 'guest', virtualHost: 'team' }, { user: 'ada', configure: '^a', write: 'b', read: '' }],
    });
    const again = await reopen(true);
    expect(shown(again)).toEqual(before);
    expect(await countIn(again, 'team')).toBe(1);
    expect(await countIn(again, '/')).toBe(0);
    // And once more from the checkpoint of the second life.
    const third = await reopen(true);
    expect(shown(third)).toEqual(before);
    expect(await countIn(third, 'team')).toBe(1);
    await drive(third.close());
    brokers.length = 0;
    const check = await drive(checkFolder('/data', { ground: world.startProcess().ground }));
    expect(check).toMatchObject({ problems: [], queues: expect.arrayContaining([{ name: 'q', virtualHost: 'team', messages: 1 }]) });
  });

  it('are deleted in one step: a crash finds a virtual host whole or not at all', async () => {
    const outcomes = new Set<string>();
    for (let steps = 0; steps < 40; steps++) {
      const broker = await open({}, steps + 1);
      await fill(broker);
      void broker.administration.deleteVirtualHost('team');
      await world.clock.advance(steps * 0.05);
      const again = await reopen(true);
      const isThere = again.administration.virtualHosts.some(({ name }) => name === 'team');
      const permissions = again.administration.permissions.filter(({ virtualHost }) => virtualHost === 'team').length;
      const topics = again.administration.topicPermissions.length;
      const messages = isThere ? await countIn(again, 'team') : 0;
      outcomes.add(JSON.stringify({ isThere, permissions, topics, messages }));
      await drive(again.close());
      brokers.length = 0;
    }
    expect([...outcomes].sort()).toEqual([
      JSON.stringify({ isThere: false, permissions: 0, topics: 0, messages: 0 }),
      JSON.stringify({ isThere: true, permissions: 2, topics: 1, messages: 1 }),
    ]);
  });

  it('stay deleted, and a new virtual host of that name is empty', async () => {
    const broker = await open();
    await fill(broker);
    const session = broker.session({ virtualHost: 'team' });
    await drive(broker.administration.deleteVirtualHost('team'));
    await expect(session.declareQueue('q')).rejects.toMatchObject({ code: 'closed', message: expect.stringContaining('is deleted') });
    expect(() => broker.session({ virtualHost: 'team' })).toThrow('vhost team not found');
    await drive(broker.administration.putVirtualHost({ name: 'team' }));
    await drive(broker.administration.deleteUsers(['guest']));
    const again = await reopen(false);
    expect(await countIn(again, 'team')).toBe(0);
    expect(again.administration.users.map(({ name }) => name)).toEqual(['ada']);
    expect(again.administration.permissions).toEqual([]);
  });

  it('come true together when they are imported, or not at all', async () => {
    const broker = await open();
    const { administration } = broker;
    const given = {
      users: [{ name: 'bob', passwordHash: quickHash, tags: [] }],
      virtualHosts: [{ name: 'b' }],
      permissions: [{ user: 'bob', virtualHost: 'b', ...everything }],
      topicPermissions: [],
    };
    const before = shown(broker);
    const wrong = [{ user: 'bob', virtualHost: 'b', ...everything, read: '(' }];
    await expect(administration.import({ ...given, permissions: wrong })).rejects.toThrow("'(' cannot be used as a regular expression");
    await expect(administration.import({ ...given, users: [] })).rejects.toMatchObject({ code: 'no-user' });
    await expect(administration.import({ ...given, virtualHosts: [] })).rejects.toMatchObject({ code: 'no-virtual-host' });
    expect(shown(broker)).toEqual(before);
    await drive(administration.import(given));
    const again = await reopen(true);
    expect(again.administration.users.map(({ name }) => name)).toEqual(['bob', 'guest']);
    expect(again.administration.permissions).toHaveLength(2);
  });

  it('of the configuration rule over what was kept, and nobody changes them', async () => {
    const broker = await open();
    await fill(broker);
    const users = [
      { name: 'ada', password: 'configured', tags: [] },
      { name: 'eve', password: 'e' },
    ];
    const permissions = [{ user: 'ada', virtualHost: 'team', ...everything }];
    const again = await reopen(false, { users, permissions, virtualHosts: [{ name: 'extra' }] });
    const { administration } = again;
    expect(administration.users.map(({ name, tags }) => [name, ...tags])).toEqual([
      ['ada'],
      ['eve', 'administrator'],
      ['guest', 'administrator'],
    ]);
    expect(administration.virtualHosts.map(({ name }) => name)).toEqual(['/', 'team', 'extra']);
    expect(administration.permissions.filter(({ user }) => user === 'eve').map(({ virtualHost }) => virtualHost)).toEqual(['/', 'extra']);
    expect(administration.permissions.find(({ user }) => user === 'ada')).toMatchObject({ configure: '.*' });
    const refused = { code: 'configured', message: expect.stringContaining('comes from the configuration') };
    await expect(administration.putUser({ name: 'ada', tags: [] })).rejects.toMatchObject(refused);
    await expect(administration.deleteUsers(['guest', 'ada'])).rejects.toMatchObject(refused);
    await expect(administration.deletePermission('ada', 'team')).rejects.toMatchObject(refused);
    // Without the configuration it is as it was.
    const third = await reopen(false);
    expect(third.administration.permissions.find(({ user }) => user === 'ada')).toMatchObject({ configure: '^a' });
    // A virtual host that only the configuration named is kept: it has things in it.
    await drive(third.session({ virtualHost: 'extra' }).declareQueue('q', { durable: true }));
    const fourth = await reopen(true);
    expect(fourth.inspect({ virtualHost: 'extra' }).queues).toMatchObject([{ name: 'q' }]);
  });

  it('are refused with a sentence where they cannot be', async () => {
    const broker = await open({ limits: { virtualHostsMax: 2, usersMax: 2 } });
    const { administration } = broker;
    await expect(administration.putUser({ name: '', tags: [] })).rejects.toThrow('the name of a user');
    await expect(administration.putVirtualHost({ name: 'x'.repeat(256) })).rejects.toThrow('the name of a virtual host');
    await expect(administration.putVirtualHost({ name: 'x', defaultQueueType: 'lazy' })).rejects.toThrow("'lazy' is not a queue type");
    await expect(administration.deleteVirtualHost('/')).rejects.toThrow('cannot be deleted');
    await expect(administration.deleteVirtualHost('none')).rejects.toMatchObject({ code: 'no-virtual-host' });
    await expect(administration.deleteUsers(['none'])).rejects.toMatchObject({ code: 'no-user' });
    await expect(administration.putPermission({ user: 'none', virtualHost: '/', ...everything })).rejects.toMatchObject({
      code: 'no-user',
    });
    await drive(administration.putVirtualHost({ name: 'two' }));
    await expect(administration.putVirtualHost({ name: 'three' })).rejects.toMatchObject({ code: 'limit-reached' });
    await drive(administration.putUser({ name: 'two', tags: [] }));
    await expect(administration.putUser({ name: 'three', tags: [] })).rejects.toMatchObject({ code: 'limit-reached' });
  });

  it('declare queues without a type as the virtual host says', async () => {
    const broker = await open();
    await drive(broker.administration.putVirtualHost({ name: 'q', defaultQueueType: 'quorum' }));
    const session = broker.session({ virtualHost: 'q' });
    await drive(session.declareQueue('brief', { exclusive: true }));
    await drive(session.declareQueue('classic', { durable: true, arguments: { 'x-queue-type': 'classic' } }));
    const type = await drive(
      session.declareQueue('quorum', { durable: true }).then(
        () => 'built',
        (error: Error) => error.message,
      ),
    );
    expect(['built', "x-queue-type 'quorum' of queue 'quorum' is not built"].some((one) => type.startsWith(one))).toBe(true);
  });
});
