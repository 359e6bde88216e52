import { parseArgs } from 'node:util';
import { describeRun, type Scenario, shrink, simulate } from '@dovecote/ground/testing';
import { realGround } from '@dovecote/ground';
import { type Sabotage, sabotages } from './faulty-ground.js';
import { describeReal, drawScript, runReal, shrinkReal } from './model-real.js';
import { logScenario, logScenarioNames } from './log-scenario.js';
import { topicScenario, topicScenarioNames } from './log-topics-scenario.js';
import { modelScenario, modelScenarioNames } from './model-scenario.js';
import { brokerScenario, scenarioNames } from './scenarios.js';

/**
 * `npm run simulate -- --seed 42 --runs 1000 --scenario power-cuts`: drives the whole broker through crashes and faults that follow from a
 * seed, and ends with 1 at the first promise that is broken, with the shortest story found and the command that repeats it.
 *
 * `--against amqp://127.0.0.1:5672` says the commands of the scenario `model`, without crashes, to a broker that runs there: to ours, or to
 * a RabbitMQ, which proves the model. The user is guest. `--other-host` names a second virtual host there, which is another room for the same names.
 */
const allNames = [...scenarioNames, ...modelScenarioNames, ...logScenarioNames, ...topicScenarioNames];
const usage = `usage: npm run simulate -- [--seed N] [--runs N] [--steps N] [--scenario ${allNames.join('|')}|all] [--sabotage ${sabotages.join('|')}] [--against amqp://HOST:PORT [--other-host NAME]]`;
const progressEveryMs = 2000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '200' },
      steps: { type: 'string', default: '60' },
      scenario: { type: 'string', default: 'all' },
      sabotage: { type: 'string', default: 'none' },
      against: { type: 'string' },
      'other-host': { type: 'string' },
    },
  });
  const [seed, runs, steps] = [values.seed, values.runs, values.steps].map(Number) as [number, number, number];
  const chosen = allNames.filter((name) => values.scenario === 'all' || values.scenario === name);
  const sabotage = sabotages.find((name) => name === values.sabotage);
  if (chosen.length === 0 || sabotage === undefined || ![seed, runs, steps].every(Number.isSafeInteger)) throw new Error(usage);
  const plan = { seed, runs, steps, sabotage };
  if (values.against !== undefined) return (await runAgainst(new URL(values.against), values['other-host'], plan)) ? 0 : 1;
  for (const name of chosen) {
    if (!(await runNamed(name, plan))) return 1;
  }
  return 0;
}

/** False when a promise was broken. */
function runNamed(name: (typeof allNames)[number], plan: Plan): Promise<boolean> {
  const { sabotage } = plan;
  if (isOneOf(modelScenarioNames, name)) return runScenario(name, modelScenario(name, sabotage), plan);
  if (isOneOf(logScenarioNames, name)) return runScenario(name, logScenario(name, sabotage), plan);
  if (isOneOf(topicScenarioNames, name)) return runScenario(name, topicScenario(name, sabotage), plan);
  return runScenario(name, brokerScenario(name, sabotage), plan);
}

function isOneOf<Name extends string>(names: readonly Name[], name: string): name is Name {
  return names.some((each) => each === name);
}

/** How many conversations go on at once, and how long a broker may think before it counts as quiet. */
const againstOptions = { atOnce: 10, quietMs: 120, attemptsMax: 100 };

/** False when the broker that runs elsewhere did something else than the model. */
async function runAgainst(url: URL, otherHost: string | undefined, { seed, runs, steps }: Plan): Promise<boolean> {
  const { atOnce, quietMs, attemptsMax } = againstOptions;
  const target = { host: url.hostname, port: Number(url.port || '5672'), otherHost, quietMs };
  let next = seed;
  let story: string | undefined;
  const work = async (): Promise<void> => {
    while (next < seed + runs && story === undefined) {
      const mine = next++;
      const run = await runReal(target, mine, drawScript(mine, steps), String(mine));
      if (run.failure === undefined || story !== undefined) continue;
      story = `model: seed ${mine} failed; looking for the shortest story…`;
      console.log(story);
      story = describeReal(await shrinkReal(target, run, attemptsMax));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  console.log(story ?? `model: ${runs} runs held against ${url.host} (seeds ${seed} to ${seed + runs - 1}, ${steps} commands each)`);
  return story === undefined;
}

interface Plan {
  readonly seed: number;
  readonly runs: number;
  readonly steps: number;
  readonly sabotage: Sabotage;
}

/** False when a promise was broken. */
async function runScenario<Place, Action extends { readonly do: string }>(
  name: string,
  scenario: Scenario<Place, Action>,
  { seed, runs, steps, sabotage }: Plan,
): Promise<boolean> {
  const { clock } = realGround();
  const began = clock.monotonicMs();
  let said = began;
  let events = 0;
  let crashes = 0;
  for (let done = 0; done < runs; done++) {
    const run = await simulate({ seed: seed + done, scenario, steps });
    events += run.events;
    crashes += run.actions.filter((action) => action.do.startsWith('crash')).length;
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
