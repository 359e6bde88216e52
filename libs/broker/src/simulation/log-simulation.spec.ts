import { describe, expect, it } from '@jest/globals';
import { describeRun, type Scenario, simulate, simulateMany } from '@dovecote/ground/testing';
import type { Sabotage } from './faulty-ground.js';
import { BrokenPromise } from './ledger.js';
import { logScenario, type LogScenarioName, logScenarioNames } from './log-scenario.js';
import { topicScenario, type TopicScenarioName, topicScenarioNames } from './log-topics-scenario.js';

/** A sample of the seeds: `npm run simulate` tries as many as there is time for. */
const runs = 30;
const steps = 60;

/** The first promise that is seen broken. A log that finds the lie itself, and says so instead of opening, proves nothing of the promises: those runs are passed over. */
async function firstBroken<Place, Action>(scenario: Scenario<Place, Action>): Promise<string> {
  for (let seed = 1; seed <= 300; seed++) {
    const { failure } = await simulate({ scenario, seed, steps });
    if (failure?.error instanceof BrokenPromise) return failure.error.message;
  }
  return 'no promise was seen broken';
}

describe('the partitioned log, driven through crashes', () => {
  it.each(logScenarioNames)('keeps what it promised: %s', async (name) => {
    const { failed } = await simulateMany({ scenario: logScenario(name), firstSeed: 1, runs, steps });
    expect(failed === undefined ? 'held' : describeRun(failed)).toBe('held');
  });

  it('does the same each time a seed is run', async () => {
    const scenario = logScenario('log-power-cuts');
    const one = await simulate({ scenario, seed: 7, steps });
    expect((await simulate({ scenario, seed: 7, steps })).traceHash).toBe(one.traceHash);
    expect((await simulate({ scenario, seed: 8, steps })).traceHash).not.toBe(one.traceHash);
  });

  // If one of these held, the runs above would prove nothing.
  it.each<readonly [LogScenarioName, Sabotage]>([
    ['log-power-cuts', 'confirm-before-sync'],
    ['log-power-cuts', 'skip-directory-sync'],
    ['log-process-kills', 'confirm-before-write'],
  ])('notices in %s a disk that is made to %s', async (name, sabotage) => {
    expect(await firstBroken(logScenario(name, sabotage))).toMatch(/was (answered|seen) and is lost|is lost$|was promised$|went from/);
  });
});

describe('topics that come, change and go, driven through crashes', () => {
  it.each(topicScenarioNames)('hold what was decided and said: %s', async (name) => {
    const { failed } = await simulateMany({ scenario: topicScenario(name), firstSeed: 1, runs: 15, steps });
    expect(failed === undefined ? 'held' : describeRun(failed)).toBe('held');
  });

  it.each<readonly [TopicScenarioName, Sabotage, RegExp]>([
    ['log-topics', 'confirm-before-sync', /is lost|was promised/],
    ['log-topics', 'skip-directory-sync', /is lost|was promised/],
    ['log-topics-kills', 'confirm-before-write', /lost|promised/],
    ['log-topics-kills', 'swap-batches', /nobody wrote there/],
    ['log-topics-kills', 'forget-producers', /appended a second time|a batch before this one is missing/],
  ])('notice in %s a disk that is made to %s', async (name, sabotage, what) => {
    expect(await firstBroken(topicScenario(name, sabotage))).toMatch(what);
  });
});
