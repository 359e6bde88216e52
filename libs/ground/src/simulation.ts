/**
 * Runs a scenario in a simulated world, from one seed: a list of drawn actions, then a check that everything promised is true.
 *
 * The runner moves the world's clock event by event and lets promises go on between two events, so a run is the same each time. Actions are
 * plain data: a failing run is repeated with some of them left out until none can be spared, and what remains is the story to read.
 * Nothing survives a run. Tests and `simulate` programs call it.
 */
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';
import { SeededRandom } from './seeded-random.js';
import type { DriveLimits } from './simulated-clock.js';
import { type SimulatedGround, simulatedGround } from './simulated-ground.js';

/** What is tried. `World` is whatever `begin` makes: the thing under test, the clients, and the simple model it is checked against. */
export interface Scenario<World, Action> {
  readonly name: string;
  /** One action, as data that JSON can hold, drawn before the run begins. Must not depend on earlier ones: any of them may be left out. */
  draw(random: SeededRandom, index: number): Action;
  /** `machine` is empty. Run what may be crashed on the ground of `machine.startProcess()`, clients and checks on `machine` itself. */
  begin(machine: SimulatedGround): Promise<World>;
  /**
   * Does the action and resolves when the next one may come. No time passes but what is waited for: start work without waiting for it to have it
   * under way during the next action, and draw actions that wait (`machine.clock.pause`). An action that makes no sense now does nothing.
   */
  act(world: World, action: Action, index: number): Promise<void>;
  /** Ends the work under way and throws where a promise was broken. */
  check(world: World): Promise<void>;
}

export interface SimulationOptions<World, Action> {
  readonly seed: number | string;
  readonly scenario: Scenario<World, Action>;
  /** How many actions are drawn; 50 if not said. */
  readonly steps?: number;
  /** These instead of drawn ones. */
  readonly actions?: readonly Action[];
  /** How long one action may take, in events and in simulated time, before it counts as hanging. */
  readonly limits?: DriveLimits;
}

export interface SimulationRun<Action> {
  readonly scenario: string;
  readonly seed: number | string;
  readonly actions: readonly Action[];
  /** Undefined where everything held. */
  readonly failure: SimulationFailure | undefined;
  /** Equal for two runs that did the same, down to the last byte sent and written. */
  readonly traceHash: string;
  readonly events: number;
  readonly simulatedMs: number;
}

export interface SimulationFailure {
  readonly error: Error;
  /** The number of the action, or the part of the scenario around them. */
  readonly at: number | 'begin' | 'check';
  /** The last lines of the trace, oldest first. */
  readonly trace: readonly string[];
}

/** One run. Never rejects for what the scenario does: the failure is in the answer. */
export async function simulate<World, Action>(options: SimulationOptions<World, Action>): Promise<SimulationRun<Action>> {
  const { seed, scenario, limits = LIMITS } = options;
  const actions = options.actions ?? drawActions(options);
  const machine = simulatedGround(seed);
  const { clock, trace } = machine;
  let at: SimulationFailure['at'] = 'begin';
  let failure: SimulationFailure | undefined;
  const stray = new StrayRejections();
  try {
    const drive = async <Answer>(work: () => Promise<Answer>): Promise<Answer> => {
      trace.note(`${scenario.name}: ${at}`);
      const answer = await clock.drive(work(), limits);
      stray.throwAny();
      return answer;
    };
    const world = await drive(() => scenario.begin(machine));
    for (const [index, action] of actions.entries()) {
      at = index;
      await drive(() => scenario.act(world, action, index));
    }
    at = 'check';
    await drive(() => scenario.check(world));
  } catch (error) {
    failure = { error: asError(error), at, trace: trace.recent() };
  } finally {
    stray.stop();
  }
  return { scenario: scenario.name, seed, actions, failure, traceHash: trace.hash, events: clock.steps, simulatedMs: clock.monotonicMs() };
}

export interface ManyRuns<Action> {
  /** How many runs there were, the failing one included. */
  readonly runs: number;
  readonly events: number;
  /** The first failing run with as few actions as it takes; undefined where all held. */
  readonly failed: SimulationRun<Action> | undefined;
}

/** Runs the seeds `firstSeed`, `firstSeed + 1`, … and stops at the first that fails, shrunk. */
export async function simulateMany<World, Action>(
  options: Omit<SimulationOptions<World, Action>, 'seed' | 'actions'> & { readonly firstSeed: number; readonly runs: number },
): Promise<ManyRuns<Action>> {
  let events = 0;
  for (let index = 0; index < options.runs; index++) {
    const run = await simulate({ ...options, seed: options.firstSeed + index });
    events += run.events;
    if (run.failure !== undefined) return { runs: index + 1, events, failed: await shrink(run, options) };
  }
  return { runs: options.runs, events, failed: undefined };
}

export interface ShrinkOptions<World, Action> {
  readonly scenario: Scenario<World, Action>;
  readonly limits?: DriveLimits;
  /** How often the run is repeated at most; 300 if not said. */
  readonly attemptsMax?: number;
}

/** Leaves out actions of a failing run while it still fails with the same kind of error, larger groups first; answers the smallest failing run found. */
export async function shrink<World, Action>(
  failing: SimulationRun<Action>,
  options: ShrinkOptions<World, Action>,
): Promise<SimulationRun<Action>> {
  const { scenario, limits = LIMITS, attemptsMax = ATTEMPTS_MAX } = options;
  let smallest = failing;
  const budget = { left: attemptsMax };
  const tryWith = async (actions: readonly Action[]): Promise<boolean> => {
    budget.left--;
    const run = await simulate({ seed: failing.seed, scenario, actions, limits });
    if (run.failure?.error.name !== failing.failure?.error.name) return false;
    smallest = run;
    return true;
  };
  // What comes after the failing action never ran.
  if (typeof failing.failure?.at === 'number') await tryWith(failing.actions.slice(0, failing.failure.at + 1));
  for (let size = Math.ceil(smallest.actions.length / 2); size > 0;) {
    let isSmaller = false;
    for (let end = smallest.actions.length; end > 0 && budget.left > 0; end -= size) {
      const { actions } = smallest;
      const rest = [...actions.slice(0, Math.max(0, end - size)), ...actions.slice(end)];
      if (rest.length < actions.length && (await tryWith(rest))) isSmaller = true;
    }
    if (budget.left <= 0 || (size === 1 && !isSmaller)) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return smallest;
}

/** The story of a run, for a person: the seed, what broke, the actions, and for a failure the last events before it. */
export function describeRun(run: SimulationRun<unknown>): string {
  const { failure, actions } = run;
  const size = `${actions.length} actions, ${run.events} events, ${run.simulatedMs.toFixed(1)} ms of simulated time, trace ${run.traceHash}`;
  if (failure === undefined) return `${run.scenario}: seed ${run.seed} held (${size})`;
  const isBefore =
    failure.at === 'begin' ? ' before the first action' : failure.at === 'check' ? ' in the check after the last action' : '';
  return [
    `${run.scenario}: seed ${run.seed} FAILED${isBefore} (${size})`,
    ...indent(inspect(failure.error).split('\n')),
    'actions:',
    ...actions.map((action, index) => `${index === failure.at ? '> ' : '  '}${index}  ${JSON.stringify(action)}`),
    'last events:',
    ...indent(failure.trace.slice(-SHOWN_EVENTS)),
  ].join('\n');
}

/** Ten minutes of simulated time for one action are forever; so are so many events. */
const LIMITS: DriveLimits = { stepsMax: 200_000, msMax: 10 * 60_000 };
const STEPS = 50;
const ATTEMPTS_MAX = 300;
const SHOWN_EVENTS = 30;

function drawActions<World, Action>({ seed, scenario, steps = STEPS }: SimulationOptions<World, Action>): readonly Action[] {
  const random = new SeededRandom(seed).fork('actions');
  return Array.from({ length: steps }, (_, index) => scenario.draw(random, index));
}

/** A promise that fails with nobody waiting for it fails the run: in a real process it would end the program. */
class StrayRejections {
  #first: { readonly reason: unknown } | undefined;
  readonly #catch = (reason: unknown): void => {
    this.#first ??= { reason };
  };

  constructor() {
    process.on('unhandledRejection', this.#catch);
  }

  throwAny(): void {
    if (this.#first !== undefined) throw new Error('a promise failed with nobody waiting for it', { cause: this.#first.reason });
  }

  stop(): void {
    process.removeListener('unhandledRejection', this.#catch);
  }
}

function asError(thrown: unknown): Error {
  return isNativeError(thrown) ? thrown : new Error(`something other than an error was thrown: ${String(thrown)}`);
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `    ${line}`);
}
