/** Real kills of a real daemon under load, a few of them; `npm run kill-test` makes as many as one has time for. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { cleanUp, temporaryFolder } from '../daemon-process.js';
import { killAgainAndAgain } from './kills.js';
import { isClean, Ledger } from './ledger.js';

afterEach(cleanUp);

const clean = { lost: [], outOfOrder: [], unflagged: [], foreign: [] };

describe('the daemon under load', () => {
  it('loses no confirmed message to kill -9, keeps the order, and flags what comes again', async () => {
    const verdict = await killAgainAndAgain({ data: temporaryFolder(), durability: 'os', seed: 7, kills: 3, signal: 'SIGKILL', say });
    expect(verdict).toMatchObject(clean);
    expect(verdict.confirmed).toBeGreaterThan(0);
  });

  it('loses none of those either that it keeps on the disk for want of memory', async () => {
    const flags = ['--limit', 'residentBytesMax=1', '--limit', 'journalFileBytesMax=64KiB', '--limit', 'journalSlackBytes=1'];
    const verdict = await killAgainAndAgain({
      data: temporaryFolder(),
      durability: 'os',
      seed: 9,
      kills: 3,
      signal: 'SIGKILL',
      flags,
      say,
    });
    expect(verdict).toMatchObject(clean);
    expect(verdict.confirmed).toBeGreaterThan(0);
  });

  it('loses no confirmed message to SIGTERM', async () => {
    const verdict = await killAgainAndAgain({ data: temporaryFolder(), durability: 'fsync', seed: 8, kills: 1, signal: 'SIGTERM', say });
    expect(verdict).toMatchObject(clean);
  });
});

describe('the judge of a kill test', () => {
  const published = (count: number): Ledger => {
    const ledger = new Ledger();
    for (let number = 0; number < count; number++) ledger.publish('ann');
    return ledger;
  };

  it('allows what was unconfirmed to be missing or there, and what comes again with its flag', () => {
    const ledger = published(4);
    ledger.confirm('ann', 0);
    ledger.deliver(1, 'ann', 0, false);
    ledger.deliver(1, 'ann', 1, false);
    ledger.deliver(2, 'ann', 0, true);
    ledger.deliver(2, 'ann', 1, true);
    ledger.deliver(2, 'ann', 3, false);
    expect(ledger.verdict).toEqual({ published: 4, confirmed: 1, delivered: 5, again: 2, ...clean });
    expect(isClean(ledger.verdict)).toBe(true);
  });

  it.each([
    ['a confirmed message that never came', 'lost', (ledger: Ledger) => ledger.confirm('ann', 2), 'ann:2'],
    ['a message that came again without its flag', 'unflagged', (ledger: Ledger) => ledger.deliver(2, 'ann', 0, false), 'ann:0'],
    ['an older message that came first behind a newer one', 'outOfOrder', (ledger: Ledger) => delivered(ledger, [1, 1], [2, 0]), 'ann:0'],
    ['what comes again in another order', 'outOfOrder', (ledger: Ledger) => delivered(ledger, [1, 0], [1, 1], [2, 1], [2, 0]), 'ann:0'],
    ['a message that nobody published', 'foreign', (ledger: Ledger) => ledger.deliver(1, 'ann', 9, false), 'ann:9'],
  ] as const)('finds %s', (_, fault, commit, name) => {
    const ledger = published(3);
    if (fault === 'unflagged') ledger.deliver(1, 'ann', 0, false);
    commit(ledger);
    expect(ledger.verdict[fault]).toEqual([name]);
    expect(isClean(ledger.verdict)).toBe(false);
  });

  /** Each of them is a session and a number. */
  function delivered(ledger: Ledger, ...deliveries: readonly (readonly [number, number])[]): void {
    for (const [session, number] of deliveries) ledger.deliver(session, 'ann', number, session > 1);
  }
});

function say(): void {
  // the verdict is enough here
}
