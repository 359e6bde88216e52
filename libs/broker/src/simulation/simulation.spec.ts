import { describe, expect, it } from '@jest/globals';
import { describeRun, shrink, simulate, simulateMany } from '@dovecote/ground/testing';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Sabotage } from './faulty-ground.js';
import { brokerScenario, type ScenarioName, scenarioNames } from './scenarios.js';

const steps = 60;

describe('the whole broker in a simulated world', () => {
  it.each(scenarioNames)('keeps every promise through %s', async (name) => {
    const outcome = await simulateMany({ scenario: brokerScenario(name), firstSeed: 1, runs: 25, steps });
    expect(outcome.failed === undefined ? '' : describeRun(outcome.failed)).toBe('');
    expect(outcome.runs).toBe(25);
  });

  it.each(scenarioNames)('unfolds the same way twice from one seed: %s', async (name) => {
    const one = await simulate({ scenario: brokerScenario(name), seed: 7, steps });
    const other = await simulate({ scenario: brokerScenario(name), seed: 7, steps });
    const third = await simulate({ scenario: brokerScenario(name), seed: 8, steps });
    expect(other.traceHash).toBe(one.traceHash);
    expect(third.traceHash).not.toBe(one.traceHash);
  });

  // If one of these held, the runs above would prove nothing.
  it.each<readonly [ScenarioName, Sabotage, RegExp]>([
    // A file whose living messages were moved goes before they are safe, too.
    ['power-cuts', 'confirm-before-sync', /must hold|was confirmed and is lost|is gone|does not open/],
    ['power-cuts', 'skip-directory-sync', /must hold|was confirmed and is lost|is gone/],
    ['process-kills', 'confirm-before-write', /must hold|was confirmed and is lost|is gone/],
  ])('notices in %s a disk that is made to %s', async (name, sabotage, story) => {
    const scenario = brokerScenario(name, sabotage);
    const { failed } = await simulateMany({ scenario, firstSeed: 1, runs: 300, steps });
    expect(failed?.failure?.error.message).toMatch(story);
    const shrunk = await shrink(failed!, { scenario });
    expect(shrunk.actions.length).toBeLessThan(steps / 2);
    expect(shrunk.failure?.error.name).toBe('BrokenPromise');
  });
});

describe('the program', () => {
  const program = fileURLToPath(new URL('main.js', import.meta.url));
  const run = (...args: readonly string[]) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });

  it('says how many runs held', () => {
    const { status, stdout } = run('--seed', '42', '--runs', '3', '--steps', '20');
    expect(stdout.split('\n').filter((line) => line.includes('3 runs held (seeds 42 to 44, 20 actions each)'))).toHaveLength(
      scenarioNames.length,
    );
    expect(status).toBe(0);
  });

  it('tells the seed, the story and the command of a failure, and ends with 1', () => {
    const { status, stdout } = run('--scenario', 'power-cuts', '--sabotage', 'confirm-before-sync', '--runs', '300');
    expect(status).toBe(1);
    expect(stdout).toMatch(/BrokenPromise: .*/);
    const again = /npm run simulate -- (--scenario power-cuts --seed \d+ --runs 1 --steps 60 --sabotage confirm-before-sync)/.exec(stdout);
    expect(run(...again![1]!.split(' ')).status).toBe(1);
  });

  it('refuses what it does not know with a sentence', () => {
    const { status, stderr } = run('--scenario', 'earthquake');
    expect(status).toBe(2);
    expect(stderr).toContain('usage: npm run simulate -- [--seed N]');
  });
});
