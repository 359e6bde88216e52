import { realGround } from '@dovecote/ground';
import { SeededRandom } from '@dovecote/ground/testing';
import type { Command } from './model-words.js';
import { ModelClient } from './model-client.js';
import { connectionsOf, drawCommand, drawShapes, hostsOf } from './model-commands.js';
import { ModelRun } from './model-run.js';

/**
 * The commands of the model, said over real sockets to a broker that runs elsewhere: to ours, or to a RabbitMQ, which is what proves the
 * model. Every run has names of its own and deletes what it made.
 */
export interface RealTarget {
  readonly host: string;
  readonly port: number;
  /** A second virtual host that is there. Without one the stranger is in the first, with names of its own. */
  readonly otherHost?: string | undefined;
  /** After so long without a word nothing more is on its way; another machine's broker needs more than one in this process. */
  readonly quietMs: number;
}

export interface RealRun {
  readonly seed: number;
  readonly commands: readonly Command[];
  readonly failure: Error | undefined;
  /** The number of the command behind which the failure showed. */
  readonly at: number;
}

const marginMs = 250;
/** A dead letter may die again, and again. */
const roundsOfAnswers = 5;

/** Without what only RabbitMQ does, and would not be missed. */
export function drawScript(seed: number, steps: number): Command[] {
  const random = new SeededRandom(seed).fork('actions');
  const shapes = drawShapes(random, false);
  const commands = Array.from({ length: steps }, (_, index) => drawCommand(random, index, shapes));
  const hasPriorities = JSON.stringify(commands).includes('maxPriority');
  return commands.map((command, index) => {
    // It forgets the clock of a message that comes in before others that do not expire, and delivers it when it is over.
    if (command.do === 'publish' && hasPriorities) return { ...command, expirationMs: undefined };
    // Who has a message that was fetched from a quorum queue counts as a consumer there.
    if (command.do === 'get' && shapes.queues.get(command.queue)?.type === 'quorum') return { ...command, noAck: true };
    // What was fetched before a limit for the channel takes of it for ever, also when it was acknowledged.
    const hasFetched = commands.slice(0, index).some((other) => other.do === 'get' && other.who === command.who);
    return command.do === 'qos' && hasFetched ? { ...command, isGlobal: false } : command;
  });
}

/** One script, from nothing to nothing. */
export async function runReal(target: RealTarget, seed: number, commands: readonly Command[], name: string): Promise<RealRun> {
  const { clock, network } = realGround();
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));
  const { otherHost, quietMs } = target;
  const roomOf = (connection: number) => {
    if (hostsOf[connectionsOf.indexOf(connection)] === '/') return { virtualHost: '/', prefix: `model-${name}-` };
    return otherHost === undefined ? { virtualHost: '/', prefix: `other-${name}-` } : { virtualHost: otherHost, prefix: `model-${name}-` };
  };
  const place = { connect: () => network.connect(target), pause, roomOf, quietMs, roundsOfAnswers };
  const client = new ModelClient(place, connectionsOf);
  const run = new ModelRun(client, connectionsOf, hostsOf, () => clock.now(), pause, marginMs);
  let at = 0;
  try {
    await client.open();
    for (; at < commands.length; at++) await run.step(commands[at]!);
    return { seed, commands, failure: undefined, at };
  } catch (error) {
    return { seed, commands, failure: error instanceof Error ? error : new Error(String(error)), at };
  } finally {
    await cleanUp(place);
  }
}

async function cleanUp(place: ConstructorParameters<typeof ModelClient>[0]): Promise<void> {
  const client = new ModelClient(place, connectionsOf);
  await client.open();
  const over = [0, hostsOf.length - 1].flatMap((who) =>
    [0, 1, 2, 3].flatMap((number): Command[] => [
      { who, do: 'delete-queue', queue: `q${number}`, ifUnused: false, ifEmpty: false },
      { who, do: 'delete-exchange', exchange: `x${number}`, ifUnused: false },
    ]),
  );
  for (const command of over) {
    client.say(command, 0, '');
    await client.listen(command);
    await client.open();
  }
  client.abandon();
}

/** Leaves out commands while what is left still fails; answers the shortest script found. */
export async function shrinkReal(target: RealTarget, failing: RealRun, attemptsMax: number): Promise<RealRun> {
  let smallest = failing;
  let attempts = 0;
  const tryWith = async (commands: readonly Command[]): Promise<boolean> => {
    const run = await runReal(target, failing.seed, commands, `${failing.seed}-${++attempts}`);
    if (run.failure?.name !== failing.failure?.name) return false;
    smallest = run;
    return true;
  };
  await tryWith(failing.commands.slice(0, failing.at + 1));
  for (let size = Math.ceil(smallest.commands.length / 2); size > 0 && attempts < attemptsMax; size = Math.floor(size / 2)) {
    for (let end = smallest.commands.length; end > 0 && attempts < attemptsMax; end -= size) {
      const { commands } = smallest;
      await tryWith([...commands.slice(0, Math.max(0, end - size)), ...commands.slice(end)]);
    }
  }
  return smallest;
}

/** The story of a run, for a person. */
export function describeReal({ seed, commands, failure, at }: RealRun): string {
  return [
    `model: seed ${seed} ${failure === undefined ? 'held' : `FAILED: ${failure.name}: ${failure.message}`}`,
    ...commands.map((command, index) => `${index === at ? '> ' : '  '}${index}  ${JSON.stringify(command)}`),
  ].join('\n');
}
