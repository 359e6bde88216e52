import { parseArgs } from 'node:util';
import { describeRun, shrink, simulate } from '@dovecote/ground/testing';
import { realGround } from '@dovecote/ground';
import { type Sabotage, sabotages } from './faulty-ground.js';
import { brokerScenario, type ScenarioName, scenarioNames } from './scenarios.js';

/**
 * `npm run simulate -- --seed 42 --runs 1000 --scenario power-cuts`: drives the whole broker through crashes and faults that follow from a
 * seed, and ends with 1 at the first promise that is broken, with the shortest story found and the command that repeats it.
 */
const usage = `usage: npm run simulate -- [--seed N] [--runs N] [--steps N] [--scenario ${scenarioNames.join('|')}|all] [--sabotage ${sabotages.join('|')}]`;
const progressEveryMs = 2000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '200' },
      steps: { type: 'string', default: '60' },
      scenario: { type: 'string', default: 'all' },
      sabotage: { type: 'string', default: 'none' },
    },
  });
  const [seed, runs, steps] = [values.seed, values.runs, values.steps].map(Number) as [number, number, number];
  const chosen = scenarioNames.filter((name) => values.scenario === 'all' || values.scenario === name);
  const sabotage = sabotages.find((name) => name === values.sabotage);
  if (chosen.length === 0 || sabotage === undefined || ![seed, runs, steps].every(Number.isSafeInteger)) throw new Error(usage);
  for (const name of chosen) if (!(await runScenario(name, { seed, runs, steps, sabotage }))) return 1;
  return 0;
}

interface Plan {
  readonly seed: number;
  readonly runs: number;
  readonly steps: number;
  readonly sabotage: Sabotage;
}

/** False when a promise was broken. */
async function runScenario(name: ScenarioName, { seed, runs, steps, sabotage }: Plan): Promise<boolean> {
  const { clock } = realGround();
  const scenario = brokerScenario(name, sabotage);
  const began = clock.monotonicMs();
  let said = began;
  let events = 0;
  let crashes = 0;
  for (let done = 0; done < runs; done++) {
    const run = await simulate({ seed: seed + done, scenario, steps });
    events += run.events;
    crashes += run.actions.filter((action) => action.do === 'crash').length;
    if (run.failure !== undefined) {
      console.log(`${name}: seed ${run.seed} failed in run ${done + 1}; looking for the shortest story…`);
      console.log(describeRun(await shrink(run, { scenario })));
      const rest = sabotage === 'none' ? '' : ` --sabotage ${sabotage}`;
      console.log(`again: npm run simulate -- --scenario ${name} --seed ${run.seed} --runs 1 --steps ${steps}${rest}`);
      return false;
    }
    const now = clock.monotonicMs();
    if (now - said < progressEveryMs) continue;
    said = now;
    console.log(`${name}: ${done + 1} of ${runs} runs, ${(((done + 1) * 1000) / (now - began)).toFixed(0)} a second`);
  }
  const seconds = (clock.monotonicMs() - began) / 1000;
  console.log(
    `${name}: ${runs} runs held (seeds ${seed} to ${seed + runs - 1}, ${steps} actions each): ${crashes} crashes, ${events} events, ${seconds.toFixed(1)} s`,
  );
  return true;
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  },
);
