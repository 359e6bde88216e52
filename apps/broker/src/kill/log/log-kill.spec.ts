/** Real kills of a real process that embeds a broker and uses its log, a few of them; `npm run kill-test -- --of log` makes as many as one has time for. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Broker, type BrokerLog } from '@dovecote/broker';
import { SeededRandom } from '@dovecote/ground/testing';
import { cleanUp, temporaryFolder } from '../../daemon-process.js';
import { type FoundRecord, LineLedger } from './line-ledger.js';
import { killLogAgainAndAgain } from './log-kills.js';
import { OffsetLedger } from './offset-ledger.js';
import { type Asked, TopicChanges } from './topic-changes.js';
import { recordOf } from './writers.js';

afterEach(cleanUp);

describe('a process that embeds the broker and uses its log', () => {
  it.each([
    ['os', 3, 21],
    ['fsync', 2, 22],
  ] as const)('breaks no promise when it is killed with -9 under durability %s', async (durability, kills, seed) => {
    const verdict = await killLogAgainAndAgain({ data: temporaryFolder(), durability, seed, kills, say: () => undefined });
    expect(verdict).toMatchObject({ lost: [], misplaced: [], foreign: [], takenBack: [], skipped: [], unlike: [], refused: [] });
    expect(verdict.acknowledged).toBeGreaterThan(100);
    expect(verdict.commits).toBeGreaterThan(0);
    expect(verdict.changes).toBeGreaterThan(0);
  });
});

describe('the judge of records', () => {
  function appended(isRepeated: boolean): LineLedger {
    const ledger = new LineLedger();
    ledger.add('ann', { topic: 't', partition: 0, isRepeated });
    for (let number = 0; number < 4; number++) ledger.append('ann');
    return ledger;
  }
  const found = (offset: number, number: number): FoundRecord => ({ offset, record: { line: 'ann', number } });
  const clean = { lost: [], misplaced: [], foreign: [] };

  it('allows what was not acknowledged to be missing or there', () => {
    const ledger = appended(false);
    ledger.acknowledge('ann', 0, 0);
    ledger.find('t', 0, [found(0, 0), found(1, 1)]);
    ledger.endLife();
    ledger.append('ann');
    ledger.acknowledge('ann', 4, 2);
    ledger.find('t', 0, [found(2, 4)]);
    ledger.endLife();
    ledger.findAgain('t', 0, [found(0, 0), found(1, 1), found(2, 4)]);
    expect(ledger.faults).toEqual(clean);
    expect(ledger.counts).toEqual({ appended: 5, acknowledged: 2, found: 3 });
  });

  it.each([
    ['what was acknowledged and is not there', 'lost', [], 'ann:0'],
    ['what was acknowledged at another offset', 'misplaced', [found(1, 0)], 't-0@1, where 0 must come'],
    ['what is there twice', 'misplaced', [found(0, 0), found(1, 0)], 'ann:0, where 1 must come'],
    ['what is there behind a later one', 'misplaced', [found(0, 0), found(1, 2), found(2, 1)], 'ann:2, where 1 must come'],
    ['what nobody appended', 'foreign', [found(0, 0), found(1, 9)], 't-0@1'],
    ['other bytes', 'foreign', [found(0, 0), { offset: 1, record: undefined }], 't-0@1'],
  ] as const)('finds %s', (_, fault, records, where) => {
    const ledger = appended(false);
    ledger.acknowledge('ann', 0, 0);
    ledger.find('t', 0, records);
    ledger.endLife();
    expect(ledger.faults[fault]).toContain(where);
  });

  it('finds what was given up and comes after all, unless it is repeated', () => {
    for (const isRepeated of [false, true]) {
      const ledger = appended(isRepeated);
      ledger.find('t', 0, [found(0, 0)]);
      ledger.endLife();
      ledger.find('t', 0, [found(1, 1)]);
      expect(ledger.faults).toEqual(isRepeated ? clean : { ...clean, misplaced: ['ann:1, where 4 must come'] });
    }
  });

  it('finds what was there once and is not any more', () => {
    const ledger = appended(false);
    ledger.find('t', 0, [found(0, 0), found(1, 1)]);
    ledger.findAgain('t', 0, [found(0, 0)]);
    expect(ledger.faults.lost).toEqual(['ann:1 at 1, where it was once']);
  });

  it('takes a value for what it is only when every byte of it is there', () => {
    expect(recordOf({ offset: 7, value: 'ann:1:3:bbb' })).toEqual({ offset: 7, record: { line: 'ann', number: 1 } });
    for (const value of ['ann:1:3:bb', 'ann:1:3:bbc', 'ann:1:3:bbbb', '']) expect(recordOf({ offset: 7, value }).record).toBeUndefined();
  });
});

describe('the judge of offsets', () => {
  function committed(): OffsetLedger {
    const ledger = new OffsetLedger();
    ledger.give('g', 't-0', 0, 5);
    ledger.ask('g', 't-0', 5);
    ledger.acknowledge('g', 't-0', 5);
    ledger.give('g', 't-0', 5, 9);
    ledger.ask('g', 't-0', 9);
    return ledger;
  }

  it.each([5, 9])('allows what was acknowledged last, and what was asked for: %s', (offset) => {
    const ledger = committed();
    ledger.find('g', 't-0', offset);
    ledger.give('g', 't-0', offset, 12);
    expect(ledger.faults).toEqual({ takenBack: [], skipped: [] });
  });

  it.each([undefined, 4, 10])('finds an offset that nobody committed last: %s', (offset) => {
    const ledger = committed();
    ledger.find('g', 't-0', offset);
    expect(ledger.faults.takenBack).toEqual([`g at t-0: ${offset ?? 0}, not from 5 to 9`]);
  });

  it.each([4, 6])('finds a member that does not go on where the group stood but at %s', (from) => {
    const ledger = committed();
    ledger.find('g', 't-0', 5);
    ledger.give('g', 't-0', from, 12);
    expect(ledger.faults.skipped).toEqual([`g at t-0: given ${from}, where 5 must come`]);
  });
});

describe('the judge of changes', () => {
  let broker: Broker;
  let log: BrokerLog;
  let asked: Asked;
  beforeEach(async () => {
    broker = await Broker.open({ durability: 'memory' });
    log = await broker.log();
    const method = (verb: string): ((...args: readonly unknown[]) => never) => log[verb as 'append'].bind(log) as never;
    asked = { ask: (verb, ...args) => Promise.resolve(method(verb)(...args)), topics: () => Promise.resolve(log.topics) };
  });
  afterEach(() => broker.close());

  async function changed(): Promise<{ readonly changes: TopicChanges; readonly name: string }> {
    const changes = new TopicChanges(new SeededRandom(5));
    for (let change = 0; change < 60; change++) await changes.next(asked);
    await changes.find(asked);
    expect(changes.unlike).toEqual([]);
    return { changes, name: log.topics.find(({ name }) => name.startsWith('scratch-'))!.name };
  }

  it('allows the change that was under way to have happened or not', async () => {
    for (const happens of [true, false]) {
      const { changes } = await changed();
      for (let change = 0; change < 30; change++) {
        const cut: Asked = {
          ...asked,
          ask: async (...words) => {
            if (happens) await asked.ask(...words);
            throw new Error('cut');
          },
        };
        await expect(changes.next(cut)).rejects.toThrow('cut');
        await changes.find(asked);
      }
      expect(changes.unlike).toEqual([]);
      for (const { name } of log.topics.filter((topic) => !topic.isInternal)) await log.deleteTopic(name);
    }
  });

  it.each([
    ['a topic that is gone', (name) => log.deleteTopic(name)],
    ['another topic of the name', (name) => log.deleteTopic(name).then(() => log.createTopic(name, { partitionCount: 1 }))],
    ['a config', (name) => log.alterConfigs(name, { 'retention.ms': '1' })],
    ['one more partition', (name) => log.addPartitions(name, log.topic(name)!.partitionCount + 1)],
    ['a record', (name) => log.append(name, [{ value: 'x', partition: 0 }])],
    ['an offset', (name) => log.commitOffsets(`of-${name}`, [{ topic: name, partition: 0, offset: 1, metadata: '1' }])],
  ] as readonly (readonly [string, (name: string) => Promise<unknown>])[])('finds %s', async (_, sabotage) => {
    const { changes, name } = await changed();
    await sabotage(name);
    await changes.find(asked);
    expect(changes.unlike).toEqual([expect.stringContaining(name)]);
  });
});
