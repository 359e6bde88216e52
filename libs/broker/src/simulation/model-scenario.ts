import type { Scenario, SeededRandom, SimulatedGround, SimulatedProcess } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { Durability } from '../engine/options.js';
import { type Sabotage, watchedGround } from './faulty-ground.js';
import { type ModelHosts, queueIn } from './model-hosts.js';
import { ModelBroken, withCopiesInOrder } from './model-parts.js';
import type { Command } from './model-words.js';
import { ModelClient } from './model-client.js';
import { connectionsOf, drawCommand, drawShapes, hostsOf, type Shapes } from './model-commands.js';
import { ModelRun } from './model-run.js';

/**
 * The model's commands, said to a broker in a simulated world, with crashes in between.
 *
 * A crash that finds everything quiet must leave exactly what the model keeps. One in the middle of a commit or of a publish leaves either
 * what was before it or what is behind it, as a whole, whatever queues it concerns; what is there afterwards says which.
 */
export type ModelAction =
  | Command
  | { readonly do: 'crash'; readonly power: boolean }
  | { readonly do: 'restart' }
  /** The broker ends so many milliseconds after it was told. */
  | { readonly do: 'crash-in'; readonly afterMs: number; readonly power: boolean; readonly command: Command };

const amqpPort = 5672;
const roomOf = (connection: number) => ({ virtualHost: hostsOf[connectionsOf.indexOf(connection)]!, prefix: '' });
const users = [{ name: 'guest', password: 'guest' }];
const virtualHosts = hostsOf.filter((name) => name !== '/').map((name) => ({ name }));
const quietMs = 25;
const marginMs = 60;
/** How long it may take until it is known what a crash left. */
const comingBackMs = 1500;
/** Small, so that files are begun and trimmed within a run. */
const journalFileBytesMax = 16 * 1024;

export const modelScenarioNames = ['model', 'model-kills'] as const;
export type ModelScenarioName = (typeof modelScenarioNames)[number];

export function modelScenario(name: ModelScenarioName, sabotage: Sabotage = 'none'): Scenario<ModelWorld, ModelAction> {
  const durability = name === 'model' ? 'fsync' : 'os';
  let shapes: Shapes | undefined;
  return {
    name,
    draw: (random, index) => {
      if (index === 0 || shapes === undefined) shapes = drawShapes(random, true);
      return drawAction(random, index, shapes, durability);
    },
    begin: async (machine) => {
      const world = new ModelWorld(machine, durability, sabotage);
      await world.begin();
      return world;
    },
    act: (world, action) => world.act(action),
    check: (world) => world.check(),
  };
}

function drawAction(random: SeededRandom, index: number, shapes: Shapes, durability: Durability): ModelAction {
  const command = drawCommand(random, index, shapes);
  const power = durability === 'fsync';
  if (command.do === 'commit' || command.do === 'publish') {
    if (random.chance(command.do === 'commit' ? 0.25 : 0.03)) return { do: 'crash-in', afterMs: random.between(0, 6), power, command };
  }
  if (index > 14 && random.chance(0.03)) return random.chance(0.3) ? { do: 'restart' } : { do: 'crash', power };
  return command;
}

export class ModelWorld {
  private readonly run: ModelRun;
  private readonly client: ModelClient;
  private broker: Broker | undefined;
  private process: SimulatedProcess | undefined;

  constructor(
    private readonly machine: SimulatedGround,
    private readonly durability: Durability,
    private readonly sabotage: Sabotage,
  ) {
    const { clock, network, disk } = machine;
    // Nothing may be on its way when the model is asked, so nothing hesitates for long.
    network.pace = { ...network.pace, hiccupShare: 0 };
    disk.pace = { ...disk.pace, hiccupShare: 0 };
    const connect = () => network.connect({ host: '127.0.0.1', port: amqpPort });
    const pause = (ms: number): Promise<void> => clock.pause(ms);
    this.client = new ModelClient({ connect, pause, roomOf, quietMs, roundsOfAnswers: 0 }, connectionsOf);
    this.run = new ModelRun(this.client, connectionsOf, hostsOf, () => clock.now(), pause, marginMs);
  }

  async begin(): Promise<void> {
    await this.open();
    await this.client.open();
  }

  async act(action: ModelAction): Promise<void> {
    if (action.do === 'crash') await this.crash(action.power);
    else if (action.do === 'restart') await this.restart();
    else if (action.do === 'crash-in') await this.crashIn(action.command, action.afterMs, action.power);
    else await this.run.step(action);
  }

  /** Everything that is left comes out as the model has it, once more after an end in order. */
  async check(): Promise<void> {
    await this.restart();
  }

  private async open(): Promise<void> {
    this.process = this.machine.startProcess();
    const { disk } = this.process.ground;
    disk.pace = { ...disk.pace, hiccupShare: 0 };
    const ground = watchedGround(this.process.ground, this.sabotage, () => undefined);
    const limits = { journalFileBytesMax };
    const opening = Broker.open({
      data: '/data',
      durability: this.durability,
      ground,
      limits,
      amqp: { port: amqpPort },
      users,
      virtualHosts,
    });
    this.broker = await opening.catch((error: unknown) => {
      throw new ModelBroken(`the broker does not open: ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  private async crash(power: boolean): Promise<void> {
    await this.run.avoidDue(0, comingBackMs);
    this.machine.crash({ power });
    await this.comeBack([this.run.model]);
  }

  private async restart(): Promise<void> {
    for (const who of connectionsOf.keys()) await this.run.step({ who, do: 'close-connection' });
    await this.run.avoidDue(0, comingBackMs);
    await this.broker!.close();
    this.process!.kill();
    await this.comeBack([this.run.model]);
  }

  private async crashIn(command: Command, afterMs: number, power: boolean): Promise<void> {
    if (this.run.model.hasCarelessConsumer) return this.run.step(command);
    await this.run.avoidDue(command.who, comingBackMs);
    const { model } = this.run;
    const tag = command.do === 'settle' ? model.tagFor(command) : 0;
    const [justBehind, behind] = [model.copy(), model.copy()];
    this.client.say(command, tag, model.nextBody(command.who));
    await this.machine.clock.pause(afterMs);
    this.machine.crash({ power });
    justBehind.guess(command, this.machine.clock.now(), false);
    behind.guess(command, this.machine.clock.now(), true);
    if (command.do === 'publish') model.skipBody(command.who);
    await this.comeBack([model, justBehind, behind]);
  }

  /** The broker opens again; one of these is what it holds, and the run goes on with that one. */
  private async comeBack(before: readonly ModelHosts[]): Promise<void> {
    this.client.abandon();
    const now = this.machine.clock.now();
    const backwards = before.map((model) => model.copy());
    for (const model of before) model.crash(now, false);
    for (const model of backwards) model.crash(now, true);
    const possible = [...before, ...backwards];
    await this.open();
    const usedAt: (readonly [host: string, queue: string, at: number])[] = [];
    const found = textOfContents(await this.contents(usedAt));
    const expected = possible.map((model) => textOfContents(model.probe()));
    const held = possible[expected.indexOf(found)];
    if (held === undefined)
      throw new ModelBroken(`after the crash the queues should hold ${[...new Set(expected)].join(' or ')} and hold ${found}`);
    for (const [host, queue, at] of usedAt) held.used(host, queue, at);
    this.run.model = held;
    await this.client.open();
  }

  /** What is in the queues, fetched and given back, and how many messages are held until they are due. */
  private async contents(usedAt: (readonly [host: string, queue: string, at: number])[]): Promise<Contents> {
    const found: Record<string, readonly string[]> = {};
    for (const virtualHost of new Set(hostsOf)) {
      const snapshot = this.broker!.inspect({ virtualHost });
      const held = snapshot.exchanges.reduce((count, { heldCount }) => count + heldCount, 0);
      const queues = snapshot.queues.map(({ name }) => name);
      for (const queue of queues.sort()) {
        found[queueIn(virtualHost, queue)] = await this.messagesIn(hostsOf.indexOf(virtualHost), queue);
        usedAt.push([virtualHost, queue, this.machine.clock.now()]);
      }
      found[queueIn(virtualHost, 'held')] = [String(held)];
    }
    return found;
  }

  private async messagesIn(who: number, queue: string): Promise<readonly string[]> {
    const messages: string[] = [];
    const { clock } = this.machine;
    await this.client.open();
    for (;;) {
      const get: Command = { who, do: 'get', queue, noAck: false };
      this.client.say(get, 0, '');
      const seen = await this.client.listen(get);
      const got = /^got \d+ (new|again) (.*) \d+$/.exec(seen[who]!.answers[0] ?? '');
      if (got === null) break;
      messages.push(got[2]!);
    }
    this.client.abandon();
    await clock.pause(quietMs);
    return messages;
  }
}

type Contents = Readonly<Record<string, readonly string[]>>;

function textOfContents(contents: Contents): string {
  return JSON.stringify(Object.entries(contents).map(([queue, messages]) => [queue, ...withCopiesInOrder(messages)]));
}
