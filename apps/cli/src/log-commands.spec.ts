/** The commands for the partitioned log against a real broker: what they print, how they end, and what the broker then knows. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '@dovecote/broker';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { run } from './command-line.js';
import { Progress } from './log-commands.js';
import type { Terminal } from './terminal.js';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Given {
  /** What standard input holds. */
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A machine under load may take its time. */
const isProgress = /^\d+( of \d+)? records/;

let broker: Broker;
beforeEach(async () => {
  broker = await Broker.open({ kafka: { port: 0, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1 } });
});
afterEach(() => broker.close());

/** A command that runs. */
class Running {
  readonly ended: Promise<Ran>;
  private out = '';
  private err = '';
  private stop: () => void = () => undefined;
  private onSaid: () => void = () => undefined;

  constructor(argv: readonly string[], { input = '', environment = {} }: Given = {}) {
    const terminal: Terminal = {
      say: (text) => {
        this.out += text;
        this.onSaid();
      },
      warn: (line) => {
        if (!isProgress.test(line)) this.err += `dovecote: ${line}\n`;
      },
      isInteractive: false,
      readAll: () => Promise.resolve(input),
      flush: () => Promise.resolve(),
      readLines: async function* () {
        yield* input.split('\n').slice(0, -1);
      },
      onStop: (stop) => (this.stop = stop),
      ask: () => Promise.resolve(undefined),
      readHidden: () => Promise.resolve(undefined),
    };
    const surroundings = { DOVECOTE_BOOTSTRAP: `127.0.0.1:${broker.kafkaPort}`, ...environment };
    this.ended = run({ argv, environment: surroundings, terminal }).then((code) => ({ code, out: this.out, err: this.err }));
  }

  /** Resolves when it has printed that; rejects when it ended without. */
  async untilSaid(text: string): Promise<void> {
    const said = new Promise<'said'>((resolve) => {
      this.onSaid = () => {
        if (this.out.includes(text)) resolve('said');
      };
      this.onSaid();
    });
    const first = await Promise.race([said, this.ended]);
    if (first !== 'said') throw new Error(`it ended with ${first.code}: ${first.out}${first.err}`);
  }

  pressControlC(): Promise<Ran> {
    this.stop();
    return this.ended;
  }
}

function dovecote(argv: readonly string[], given: Given = {}): Promise<Ran> {
  return new Running(argv, given).ended;
}

const done = { code: 0, out: '', err: '' };
const printed = (out: string): Ran => ({ ...done, out });

describe('dovecote topics', () => {
  it('creates, lists, describes, grows and deletes', async () => {
    expect(await dovecote(['topics', 'create', 'b', '-p', '2', '-c', 'cleanup.policy=compact'])).toEqual(done);
    expect(await dovecote(['topics', 'create', 'a'])).toEqual(done);
    expect(await dovecote(['topics', 'list'])).toEqual(
      printed('topic  partitions  replicas\na      1           1\nb      2           1\n'),
    );
    expect((await dovecote(['topics', 'describe', 'b'])).out).toMatch(
      /^b {2}id \S{22} {2}2 partitions {2}cleanup\.policy=compact\npartition {2}leader {2}replicas {2}inSync\n0 +1 +\[1\] +\[1\]\n1 +1 +\[1\] +\[1\]\n$/,
    );
    expect(JSON.parse((await dovecote(['topics', 'describe', 'b', '--json'])).out)).toMatchObject([
      { name: 'b', partitions: [{ partition: 0, leader: 1 }, { partition: 1 }], configs: { 'cleanup.policy': 'compact' } },
    ]);
    expect(await dovecote(['topics', 'grow', 'a', '3'])).toEqual(done);
    expect(JSON.parse((await dovecote(['--json', 'topics', 'list'])).out)).toEqual([
      { topic: 'a', partitions: 3, replicas: 1 },
      { topic: 'b', partitions: 2, replicas: 1 },
    ]);
    expect(await dovecote(['topics', 'delete', 'a', 'b'])).toEqual(done);
    expect((await dovecote(['topics', 'list', '--json'])).out).toBe('[]\n');
  });

  it('shows and changes configs', async () => {
    await dovecote(['topics', 'create', 't', '-c', 'retention.ms=1000']);
    expect(await dovecote(['topics', 'configs', 't', '--set', 'segment.ms=5000', '--unset', 'retention.ms'])).toEqual(done);
    const configs = JSON.parse((await dovecote(['topics', 'configs', 't', '--json'])).out) as { config: string }[];
    const config = (name: string): unknown => configs.find((one) => one.config === name);
    expect(config('segment.ms')).toEqual({ config: 'segment.ms', value: '5000', source: 'topic' });
    expect(config('retention.ms')).toEqual({ config: 'retention.ms', value: '604800000', source: 'default' });
  });

  it('says in sentences what the broker refuses, and asks nothing where the command line is wrong', async () => {
    await dovecote(['topics', 'create', 't']);
    expect(await dovecote(['topics', 'create', 't'])).toMatchObject({ code: 1, err: expect.stringContaining("the topic 't'") });
    expect(await dovecote(['topics', 'create', 't', '--if-missing'])).toEqual(done);
    expect(await dovecote(['topics', 'describe', 'none'])).toEqual({ code: 1, out: '', err: "dovecote: There is no topic 'none'\n" });
    expect((await dovecote(['topics', 'grow', 't', '1'])).code).toBe(1);
    expect(await dovecote(['topics', 'configs', 't', '--set', 'no.such=1'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('INVALID_CONFIG'),
    });
    expect(await dovecote(['topics', 'create', 'u', '-p', '0'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--partitions must be a whole number from 1'),
    });
    expect(await dovecote(['topics', 'create', 'u', '-c', 'x'])).toMatchObject({ code: 2, err: expect.stringContaining('NAME=VALUE') });
    expect((await dovecote(['topics', 'list'])).out).toContain('\nt ');
    expect((await dovecote(['topics', 'list'])).out).not.toContain('\nu ');
  });
});

describe('dovecote produce', () => {
  const all = ['consume', 't', '--exit', '-f', '%p %o %k=%s %K %S %h\\n'];

  it('sends a record for each line, with keys, headers and tombstones', async () => {
    expect(await dovecote(['produce', 't', '-K', ':', '-H', 'a=1', '-H', 'b=x=y', '-Z'], { input: 'k:one\nk:\nl:a:b\n' })).toEqual(done);
    expect(await dovecote(['produce', 't'], { input: '\nplain\n' })).toEqual(done);
    expect(await dovecote(['produce', 't', '--tombstone', 'k'])).toEqual(done);
    expect(await dovecote(all)).toEqual(
      printed('0 0 k=one 1 3 a=1,b=x=y\n0 1 k= 1 -1 a=1,b=x=y\n0 2 l=a:b 1 3 a=1,b=x=y\n0 3 = -1 0 \n0 4 =plain -1 5 \n0 5 k= 1 -1 \n'),
    );
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'])('compresses with %s', async (name) => {
    expect(await dovecote(['produce', 't', '-z', name, '-a', '1'], { input: 'x'.repeat(1000) + '\n' })).toEqual(done);
    expect(await dovecote(['consume', 't', '-e', '-f', '%S'])).toEqual(printed('1000'));
  });

  it('sends whole files, or their lines', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dovecote-log-'));
    try {
      const [one, two] = [join(folder, 'one'), join(folder, 'two')];
      writeFileSync(one, 'first\nsecond\n');
      writeFileSync(two, 'third\r\n');
      expect(await dovecote(['produce', 't', '-k', 'file', one])).toEqual(done);
      expect(await dovecote(['produce', 't', '--lines', one, two])).toEqual(done);
      expect(await dovecote(['consume', 't', '-e', '-f', '[%k|%s]'])).toEqual(printed('[file|first\nsecond\n][|first][|second][|third]'));
      expect(await dovecote(['produce', 't', join(folder, 'none')])).toMatchObject({
        code: 2,
        err: expect.stringContaining('none cannot be read'),
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('takes what consume prints as JSON, also where it is no text', async () => {
    const lines = [
      { key: 'k', value: { a: 1 }, headers: { h: 'x' }, timestamp: 1000 },
      {
        keyBase64: '/w==',
        valueBase64: '/gA=',
        timestamp: 2000,
        headers: [
          { name: 'n', value: null },
          { name: 'n', valueBase64: '/w==' },
        ],
      },
      { value: null, timestamp: 3000 },
    ];
    const input = lines.map((line) => `${JSON.stringify(line)}\n`).join('\n');
    expect(await dovecote(['produce', 't', '--json'], { input })).toEqual(done);
    const { out } = await dovecote(['consume', 't', '--json', '--exit']);
    const read = out.trimEnd().split('\n');
    expect(read.map((line) => JSON.parse(line) as unknown)).toEqual([
      { topic: 't', partition: 0, offset: 0, timestamp: 1000, key: 'k', value: '{"a":1}', headers: [{ name: 'h', value: 'x' }] },
      { topic: 't', partition: 0, offset: 1, timestamp: 2000, keyBase64: '/w==', valueBase64: '/gA=', headers: lines[1]!.headers },
      { topic: 't', partition: 0, offset: 2, timestamp: 3000, key: null, value: null, headers: [] },
    ]);
    await dovecote(['produce', 'u', '--json'], { input: out });
    expect((await dovecote(['consume', 'u', '--json', '--exit'])).out).toBe(out.replaceAll('"topic":"t"', '"topic":"u"'));
  });

  it('puts a key where Kafka clients put it, and anything where it is told', async () => {
    await dovecote(['topics', 'create', 't', '-p', '3']);
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
    await dovecote(['produce', 't', '-K', '='], { input: keys.map((key) => `${key}=x\n`).join('') });
    const lines = (await dovecote(['consume', 't', '-e', '-f', '%k%p '])).out.trim().split(' ').sort();
    // Where Kafka's own console producer puts them.
    expect(lines).toEqual(['a1', 'b2', 'c1', 'd2', 'e2', 'f0']);
    expect(await dovecote(['produce', 't', '-p', '2', '-k', 'a'], { input: 'there\n' })).toEqual(done);
    expect((await dovecote(['consume', 't', '-p', '2', '-o', '-1', '-e'])).out).toBe('there\n');
  });

  it('sends what came before a line that is wrong', async () => {
    expect(await dovecote(['produce', 't', '-K', ':'], { input: 'a:1\nb:2\nwrong\nc:3\n' })).toMatchObject({
      code: 2,
      err: expect.stringContaining('Line 3 has no key: ":" is not in it. What came before was sent'),
    });
    expect(await dovecote(['produce', 't', '--json'], { input: '{"value":"3"}\n[]\n' })).toMatchObject({
      code: 2,
      err: expect.stringContaining('Line 2 must be a JSON object'),
    });
    expect((await dovecote(['produce', 't', '--json'], { input: '{"value":"x","headers":1}\n' })).err).toContain('"headers" in line 1');
    expect((await dovecote(['consume', 't', '-e', '-f', '%s'])).out).toBe('123');
  });

  it('does not keep a record for those that come later', async () => {
    await dovecote(['topics', 'create', 't']);
    let more: (line: string) => void = () => undefined;
    const second = new Promise<string>((resolve) => (more = resolve));
    const reader = new Running(['consume', 't', '-c', '2']);
    const terminal: Terminal = {
      ...{
        say: () => undefined,
        warn: () => undefined,
        isInteractive: false,
        onStop: () => undefined,
        ask: () => Promise.resolve(undefined),
      },
      ...{ readAll: () => Promise.resolve(''), flush: () => Promise.resolve(), readHidden: () => Promise.resolve(undefined) },
      readLines: async function* () {
        yield 'first';
        yield await second;
      },
    };
    const environment = { DOVECOTE_BOOTSTRAP: `127.0.0.1:${broker.kafkaPort}` };
    const producing = run({ argv: ['produce', 't'], environment, terminal });
    await reader.untilSaid('first\n');
    more('second');
    expect([await producing, (await reader.ended).out]).toEqual([0, 'first\nsecond\n']);
  });
});

describe('dovecote consume', () => {
  beforeEach(async () => {
    const input = ['one', 'two', 'three', 'four'].map((value, index) => `${JSON.stringify({ value, timestamp: 1000 * (index + 1) })}\n`);
    await dovecote(['produce', 't', '--json'], { input: input.join('') });
  });

  it.each([
    ['beginning', 'one two three four '],
    ['end', ''],
    ['2', 'three four '],
    ['-1', 'four '],
    ['-9', 'one two three four '],
    ['@2001', 'three four '],
    ['@1970-01-01T00:00:04Z', 'four '],
    ['@5000', ''],
  ])('begins at %s', async (place, out) => {
    expect(await dovecote(['consume', 't', '-o', place, '-e', '-f', '%s '])).toEqual(printed(out));
  });

  it('stops after so many, and writes what the format says', async () => {
    expect(await dovecote(['consume', 't', '-c', '2', '-f', '%t/%p/%o\\t%T %% %s%k\\n'])).toEqual(
      printed('t/0/0\t1000 % one\nt/0/1\t2000 % two\n'),
    );
    expect(await dovecote(['consume', 't', '-f', '%x'])).toMatchObject({ code: 2, err: expect.stringContaining('and not %x') });
    expect((await dovecote(['consume', 't', '-o', 'middle'])).code).toBe(2);
    expect(await dovecote(['consume', 't', '-p', '7'])).toEqual({ code: 1, out: '', err: 'dovecote: There is no partition 7\n' });
    expect(await dovecote(['consume', 't', '-o', '9', '-c', '1'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('OFFSET_OUT_OF_RANGE'),
    });
  });

  it('reads several topics', async () => {
    await dovecote(['produce', 'u'], { input: 'other\n' });
    const { out } = await dovecote(['consume', 't', 'u', '-e', '-f', '%t:%s\\n']);
    expect(out.trimEnd().split('\n').sort()).toEqual(['t:four', 't:one', 't:three', 't:two', 'u:other']);
  });

  it('waits for what comes, until Ctrl-C', async () => {
    const consumer = new Running(['consume', 't']);
    await consumer.untilSaid('four\n');
    await dovecote(['produce', 't'], { input: 'five\n' });
    await consumer.untilSaid('five\n');
    expect(await consumer.pressControlC()).toEqual(printed('one\ntwo\nthree\nfour\nfive\n'));
  });

  it('goes on in a group where it had come to', async () => {
    expect(await dovecote(['consume', 't', '-g', 'g', '-c', '3', '-f', '%s '])).toEqual(printed('one two three '));
    expect(await dovecote(['consume', 't', '-g', 'g', '-e', '-f', '%s '])).toEqual(printed('four '));
    expect(await dovecote(['consume', 't', '-g', 'g', '-e'])).toEqual(done);
    expect(await dovecote(['consume', 't', '-g', 'late', '-o', 'end', '-e'])).toEqual(done);
    expect(await dovecote(['consume', 't', '-g', 'g', '-p', '0'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('leave out --partition'),
    });
  });
});

describe('dovecote groups', () => {
  beforeEach(async () => {
    await dovecote(['produce', 't'], { input: '1\n2\n3\n4\n' });
    await dovecote(['consume', 't', '-g', 'g', '-c', '3']);
  });

  it('lists groups, and says how far behind they are', async () => {
    expect((await dovecote(['groups', 'list'])).out).toMatch(/^group {2}state +type\ng +Empty +[cC]lassic\n$/);
    expect(await dovecote(['groups', 'describe', 'g'])).toEqual(
      printed('group  topic  partition  committed  end  lag  member\ng      t      0          3          4    1\n'),
    );
    expect(await dovecote(['groups', 'describe', 'none'])).toMatchObject({
      code: 1,
      err: expect.stringContaining("'none' has committed nothing"),
    });
  });

  it.each([
    ['--to-earliest', undefined, 0],
    ['--to-latest', undefined, 4],
    ['--to-offset', '99', 4],
    ['--to-time', '1', 0],
    ['--shift-by', '-2', 1],
  ])('resets %s %s when it is told to do it', async (way, value, after) => {
    const reset = ['groups', 'reset', 'g', '-t', 't', way, ...(value === undefined ? [] : [value])];
    const out = `group  topic  partition  before  after\ng      t      0          3       ${after}\n`;
    expect(await dovecote(reset)).toEqual({ code: 0, out, err: 'dovecote: Nothing was changed: --execute does it\n' });
    expect((await dovecote(['groups', 'describe', 'g'])).out).toContain('0          3          4    1');
    expect(await dovecote([...reset, '--execute'])).toEqual(printed(out));
    expect(JSON.parse((await dovecote(['groups', 'describe', 'g', '--json'])).out)).toMatchObject([{ committed: after, lag: 4 - after }]);
  });

  it('wants one way to reset, and a topic that is there', async () => {
    expect((await dovecote(['groups', 'reset', 'g', '-t', 't'])).err).toContain('Say one of --to-earliest');
    expect((await dovecote(['groups', 'reset', 'g', '-t', 't', '--shift-by', 'much'])).code).toBe(2);
    expect((await dovecote(['groups', 'reset', 'g', '-t', 'none', '--to-latest'])).code).toBe(1);
    expect((await dovecote(['groups', 'reset', 'g', '-t', 't:0', '--to-latest'])).out).toContain('t      0          3       4\n');
  });

  it('shows members, and takes nothing away from under them', async () => {
    const consumer = new Running(['consume', 't', '-g', 'g']);
    await consumer.untilSaid('4\n');
    const { out } = await dovecote(['groups', 'members', 'g', '--json']);
    expect(JSON.parse(out)).toMatchObject([{ client: 'dovecote', partitions: ['t/0'] }]);
    expect(await dovecote(['groups', 'delete', 'g'])).toMatchObject({ code: 1, err: expect.stringContaining('NON_EMPTY_GROUP') });
    expect(await dovecote(['groups', 'reset', 'g', '-t', 't', '--to-latest', '--execute'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('stop them first'),
    });
    await consumer.pressControlC();
    expect(await dovecote(['groups', 'delete', 'g'])).toEqual(done);
    expect((await dovecote(['groups', 'list', '--json'])).out).toBe('[]\n');
  });

  it('hands over to a member that had nothing to read', async () => {
    await broker.close();
    broker = await Broker.open({ kafka: { port: 0, initialRebalanceDelayMs: 300, offsetsPartitionCount: 1 } });
    await dovecote(['produce', 't'], { input: '1\n' });
    const members = [new Running(['consume', 't', '-g', 'g']), new Running(['consume', 't', '-g', 'g'])] as const;
    const reader = await Promise.race(members.map((member) => member.untilSaid('1\n').then(() => member)));
    expect((await reader.pressControlC()).out).toBe('1\n');
    const other = members.find((member) => member !== reader)!;
    await dovecote(['produce', 't'], { input: '2\n' });
    await other.untilSaid('2\n');
    expect(await other.pressControlC()).toEqual(printed('2\n'));
  }, 20_000);
});

describe('dovecote offsets', () => {
  it('says where partitions begin and end, and where a moment is', async () => {
    await dovecote(['topics', 'create', 't', '-p', '2']);
    await dovecote(['produce', 't', '-p', '1', '--json'], { input: '{"value":"a","timestamp":1000}\n{"value":"b","timestamp":2000}\n' });
    await (await broker.log()).deleteRecordsBefore('t', 1, 1);
    expect(await dovecote(['offsets', 't'])).toEqual(
      printed('topic  partition  earliest  latest\nt      0          0         0\nt      1          1         2\n'),
    );
    expect(await dovecote(['offsets', 't', '--time', '1500'])).toEqual(
      printed('topic  partition  offset\nt      0          0\nt      1          1\n'),
    );
    expect(JSON.parse((await dovecote(['offsets', 't', '--sum', '--json'])).out)).toEqual([{ topic: 't', records: 1 }]);
    expect(await dovecote(['offsets', 't', '--time', 'noon'])).toMatchObject({ code: 2, err: expect.stringContaining('--time must be') });
    expect((await dovecote(['offsets', 'none'])).code).toBe(1);
  });
});

describe('the commands for the log', () => {
  it('log in where there are users, and say so where they may not', async () => {
    await broker.close();
    broker = await Broker.open({ kafka: { port: 0, login: true }, users: [{ name: 'ann', password: 'secret' }] });
    const ann = { DOVECOTE_USER: 'ann', DOVECOTE_PASSWORD: 'secret' };
    expect(await dovecote(['topics', 'create', 't'], { environment: ann })).toEqual(done);
    expect((await dovecote(['topics', 'list', '--user', 'ann'], { environment: { DOVECOTE_PASSWORD: 'secret' } })).out).toContain('\nt ');
    expect(await dovecote(['topics', 'list'], { environment: { ...ann, DOVECOTE_PASSWORD: 'wrong' } })).toMatchObject({
      code: 3,
      out: '',
      err: expect.stringMatching(/^dovecote: 127\.0\.0\.1:\d+ does not let 'ann' in: wrong name or password\n$/),
    });
    expect(await dovecote(['topics', 'list'])).toMatchObject({ code: 3, err: expect.stringContaining('Does it want TLS, or a login?') });
    expect(await dovecote(['topics', 'list', '--user', 'ann'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('DOVECOTE_PASSWORD'),
    });
  });

  it('say so where somebody else is', async () => {
    await broker.close();
    broker = await Broker.open({ amqp: { port: 0 }, management: { port: 0 } });
    expect(await dovecote(['topics', 'list', '-b', `127.0.0.1:${broker.amqpPort}`])).toEqual({
      ...{ code: 3, out: '' },
      err: `dovecote: 127.0.0.1:${broker.amqpPort} does not speak Kafka's protocol\n`,
    });
    expect(await dovecote(['topics', 'list', '-b', `127.0.0.1:${broker.managementPort}`])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^dovecote: .+/),
    });
  });

  it('end with 3 where nobody is, and with 2 where the address is none', async () => {
    expect(await dovecote(['topics', 'list', '-b', '127.0.0.1:1'])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^dovecote: cannot connect to 127\.0\.0\.1:1: nobody listens there/),
    });
    expect((await dovecote(['topics', 'list', '-b', `127.0.0.1:1,127.0.0.1:${broker.kafkaPort}`])).code).toBe(0);
    expect(await dovecote(['topics', 'list', '-b', 'http://x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--bootstrap must be such as'),
    });
    expect(await dovecote(['topics', 'list', '--tls-key', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('given together'),
    });
    expect(await dovecote(['topics', 'list', '--ca', '/none'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('/none cannot be read'),
    });
    expect(await dovecote(['consume', 'none'])).toEqual({ code: 1, out: '', err: "dovecote: There is no topic 'none'\n" });
  });

  it('say how far they have come, every two seconds, and not among what they print', () => {
    let nowMs = 0;
    const lines: string[] = [];
    const terminal = { warn: (line: string) => void lines.push(line) } as Terminal;
    const [open, bounded] = [
      new Progress('records sent', terminal, undefined, () => nowMs),
      new Progress('records', terminal, 1000, () => nowMs),
    ];
    open.add(5);
    nowMs = 2000;
    open.add(95);
    bounded.add(100);
    nowMs = 3999;
    open.add(1);
    expect(lines).toEqual(['100 records sent, 50/s', '100 of 1000 records, 50/s, 18 s left']);
  });
});
