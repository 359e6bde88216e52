import { describe, expect, it } from '@jest/globals';
import { describeRun, shrink, simulate, simulateMany } from '@dovecote/ground/testing';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Sabotage } from './faulty-ground.js';
import { logScenarioNames } from './log-scenario.js';
import { topicScenarioNames } from './log-topics-scenario.js';
import { ModelBroken } from './model-parts.js';
import { drawScript, runReal } from './model-real.js';
import { modelScenario, modelScenarioNames } from './model-scenario.js';
import { brokerScenario, type ScenarioName, scenarioNames } from './scenarios.js';
import { Broker } from '../broker.js';

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

  // If one of these held, the runs above would prove nothing. Some of its runs may end with a broker that finds the lie itself and does not
  // open: then for this reason and no other, and the promise must be seen broken in another run.
  it.each<readonly [ScenarioName, Sabotage, RegExp]>([
    ['power-cuts', 'confirm-before-sync', /does not open: \S+ is damaged at byte \d+: what stands there had been synced/],
    ['power-cuts', 'skip-directory-sync', /does not open: \S+ is missing although it is still needed/],
    ['process-kills', 'confirm-before-write', /^there is none$/],
    ['power-cuts', 'forget-moves', /^there is none$/],
  ])('notices in %s a broker, or its disk, that is made to %s', async (name, sabotage, excuse) => {
    const scenario = brokerScenario(name, sabotage);
    const broken = /holds \d+ messages after the crash and must hold|was confirmed and is lost|was answered, and is gone/;
    let seen = '';
    for (let seed = 1; seed <= 300 && !broken.test(seen); seed++) {
      const run = await simulate({ scenario, seed, steps });
      if (run.failure === undefined) continue;
      seen = run.failure.error.message;
      if (excuse.test(seen)) continue;
      expect(seen).toMatch(broken);
      const shrunk = await shrink(run, { scenario });
      expect(shrunk.actions.length).toBeLessThan(steps / 2);
      expect(shrunk.failure?.error.name).toBe('BrokenPromise');
    }
    expect(seen).toMatch(broken);
  });
});

describe('a broker for AMQP and Kafka clients, on one journal', () => {
  // What the queues hold is proven above; here it must be the partitions that are missed.
  it.each<readonly [ScenarioName, Sabotage]>([
    ['both-protocols', 'confirm-before-sync'],
    ['both-protocols', 'skip-directory-sync'],
    ['both-protocols-kills', 'confirm-before-write'],
  ])('notices in %s by a Kafka client that its disk is made to %s', async (name, sabotage) => {
    const scenario = brokerScenario(name, sabotage);
    const broken = /of feathers-\d was (answered|seen) and is lost|feathers-\d was there and is lost|was committed, and -?\d+ is left/;
    let seen = '';
    for (let seed = 1; seed <= 300 && !broken.test(seen); seed++)
      seen = (await simulate({ scenario, seed, steps })).failure?.error.message ?? '';
    expect(seen).toMatch(broken);
  });
});

describe('random commands against a plain model of a virtual host', () => {
  it.each(modelScenarioNames)('have the answers and deliveries that the model has, through crashes too: %s', async (name) => {
    const outcome = await simulateMany({ scenario: modelScenario(name), firstSeed: 1, runs: 25, steps: 70 });
    expect(outcome.failed === undefined ? '' : describeRun(outcome.failed)).toBe('');
  });

  it('unfold the same way twice from one seed', async () => {
    const [one, other] = [modelScenario('model'), modelScenario('model')];
    const hash = (await simulate({ scenario: one, seed: 7, steps })).traceHash;
    expect((await simulate({ scenario: other, seed: 7, steps })).traceHash).toBe(hash);
  });

  it('notice a disk that never syncs, in a story that is short', async () => {
    const scenario = modelScenario('model', 'never-sync');
    const { failed } = await simulateMany({ scenario, firstSeed: 1, runs: 100, steps: 70 });
    const shrunk = await shrink(failed!, { scenario });
    expect(shrunk.failure?.error).toBeInstanceOf(ModelBroken);
    expect(shrunk.actions.length).toBeLessThan(12);
  });

  it('have them over real sockets', async () => {
    const broker = await Broker.open({
      amqp: { port: 0 },
      users: [{ name: 'guest', password: 'guest' }],
      virtualHosts: [{ name: 'another' }],
    });
    const target = { host: '127.0.0.1', port: broker.amqpPort!, otherHost: 'another', quietMs: 5 };
    const seeds = Array.from({ length: 12 }, (_, index) => index + 1);
    // Without the commands that take seconds of real time.
    const script = (seed: number) =>
      drawScript(seed, 60).filter((command) => command.do !== 'wait' && !JSON.stringify(command).includes('000'));
    const runs = await Promise.all(seeds.map((seed) => runReal(target, seed, script(seed), String(seed))));
    await broker.close();
    expect(runs.map(({ failure, seed, at }) => (failure === undefined ? '' : `seed ${seed} at ${at}: ${failure.message}`)).join('')).toBe(
      '',
    );
  });
});

describe('the program', () => {
  const program = fileURLToPath(new URL('main.js', import.meta.url));
  const run = (...args: readonly string[]) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });

  it('says how many runs held', () => {
    const { status, stdout } = run('--seed', '42', '--runs', '3', '--steps', '20');
    const held = stdout.split('\n').filter((line) => line.includes('3 runs held (seeds 42 to 44, 20 actions each)'));
    const all = [scenarioNames, modelScenarioNames, logScenarioNames, topicScenarioNames];
    expect(held).toHaveLength(all.reduce((count, names) => count + names.length, 0));
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
