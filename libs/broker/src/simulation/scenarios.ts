import type { Scenario, SeededRandom } from '@dovecote/ground/testing';
import type { Durability } from '../engine/options.js';
import type { Sabotage } from './faulty-ground.js';
import { graveQueue, looseQueue, mortalQueue, passingQueues, steadyQueues, World } from './world.js';

/** What is tried with the whole broker. Actions are plain data; one that makes no sense where it comes does nothing. */
export type Action =
  | {
      readonly do: 'publish';
      readonly client: number;
      readonly to: string;
      readonly count: number;
      readonly size: number;
      readonly persistent: boolean;
      /** How long it is held; 0 for not at all. */
      readonly delayMs: number;
    }
  | { readonly do: 'consume'; readonly client: number; readonly queue: string; readonly prefetch: number; readonly keeps: boolean }
  | { readonly do: 'settle'; readonly client: number; readonly how: 'acknowledge' | 'requeue' | 'drop'; readonly count: number }
  | {
      readonly do: 'define';
      readonly client: number;
      readonly what: 'declare' | 'delete' | 'purge';
      readonly queue: string;
      readonly waits: boolean;
    }
  | {
      readonly do: 'transact';
      readonly client: number;
      readonly to: readonly string[];
      readonly size: number;
      readonly count: number;
      /** So many milliseconds later the process dies, or the power goes. */
      readonly crashAfterMs?: number;
    }
  | { readonly do: 'produce'; readonly partition: number; readonly count: number; readonly size: number; readonly crashAfterMs?: number }
  | { readonly do: 'look' | 'commit' }
  | { readonly do: 'cancel' | 'leave'; readonly client: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'crash'; readonly power: boolean }
  | { readonly do: 'fail'; readonly operation: 'sync' | 'syncDirectory' | 'write'; readonly nth: number }
  | { readonly do: 'fill'; readonly bytes: number }
  | { readonly do: 'restart' | 'free' | 'cut' };

export const scenarioNames = ['power-cuts', 'process-kills', 'full-disk', 'socket-cuts', 'both-protocols', 'both-protocols-kills'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

interface Setting {
  readonly durability: Durability;
  /** How often each kind of trouble comes, of a hundred actions. */
  readonly trouble: Readonly<Record<'kill' | 'power' | 'restart' | 'fail' | 'fill' | 'cut', number>>;
  /** Clients below this number are in the broker's process. */
  readonly inProcess: number;
  /** How many of a Kafka client come on top of these hundred. */
  readonly kafka: number;
}

const settings: Readonly<Record<ScenarioName, Setting>> = {
  'power-cuts': { durability: 'fsync', trouble: { kill: 1, power: 6, restart: 1, fail: 1, fill: 0, cut: 1 }, inProcess: 2, kafka: 0 },
  'process-kills': { durability: 'os', trouble: { kill: 7, power: 0, restart: 1, fail: 0, fill: 0, cut: 1 }, inProcess: 2, kafka: 0 },
  'full-disk': { durability: 'fsync', trouble: { kill: 1, power: 2, restart: 1, fail: 0, fill: 8, cut: 0 }, inProcess: 2, kafka: 0 },
  'socket-cuts': { durability: 'fsync', trouble: { kill: 1, power: 0, restart: 1, fail: 0, fill: 0, cut: 10 }, inProcess: 0, kafka: 0 },
  'both-protocols': { durability: 'fsync', trouble: { kill: 1, power: 4, restart: 1, fail: 1, fill: 5, cut: 2 }, inProcess: 2, kafka: 60 },
  'both-protocols-kills': {
    durability: 'os',
    trouble: { kill: 7, power: 0, restart: 1, fail: 0, fill: 0, cut: 2 },
    inProcess: 2,
    kafka: 60,
  },
};

const clientCount = 4;

export function brokerScenario(name: ScenarioName, sabotage: Sabotage = 'none'): Scenario<World, Action> {
  const { durability, trouble, inProcess, kafka } = settings[name];
  return {
    name,
    draw: (random) => draw(random, trouble, kafka),
    begin: async (machine) => {
      const world = new World(machine, { durability, sabotage, hasKafka: kafka > 0 });
      await world.begin();
      return world;
    },
    act: async (world, action) => {
      await act(world, action, inProcess, durability === 'fsync');
      world.throwBroken();
    },
    check: (world) => world.drain(),
  };
}

function draw(random: SeededRandom, trouble: Setting['trouble'], kafka: number): Action {
  let left = random.below(100 + kafka);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(trouble.kill)) return { do: 'crash', power: false };
  if (falls(trouble.power)) return { do: 'crash', power: true };
  if (falls(trouble.restart)) return { do: 'restart' };
  if (falls(trouble.fail))
    return { do: 'fail', operation: pick(random, ['sync', 'sync', 'syncDirectory', 'write'] as const), nth: 1 + random.below(8) };
  if (falls(trouble.fill)) return random.chance(0.5) ? { do: 'fill', bytes: random.below(20_000) } : { do: 'free' };
  if (falls(trouble.cut)) return { do: 'cut' };
  if (falls(kafka)) return drawOfKafka(random);
  const client = random.below(clientCount);
  if (falls(32)) {
    const to = random.chance(0.2)
      ? 'everywhere'
      : pick(random, [...steadyQueues, ...steadyQueues, mortalQueue, mortalQueue, looseQueue, ...passingQueues]);
    const size = random.chance(0.03) ? random.below(60_000) : random.below(400);
    const mayBeHeld = (steadyQueues as readonly string[]).includes(to);
    const delayMs = mayBeHeld && random.chance(0.2) ? 1 + random.below(random.chance(0.5) ? 10 : 800) : 0;
    return { do: 'publish', client, to, count: 1 + random.below(12), size, persistent: random.chance(0.85), delayMs };
  }
  if (falls(12)) {
    const queue = pick(random, [...steadyQueues, ...steadyQueues, mortalQueue, mortalQueue, graveQueue, looseQueue, ...passingQueues]);
    return { do: 'consume', client, queue, prefetch: 1 + random.below(10), keeps: random.chance(0.7) };
  }
  if (falls(5)) {
    // Now and then several batches of the journal long.
    const size = random.chance(0.2) ? 400_000 : random.below(300);
    const crash = random.chance(0.3) ? { crashAfterMs: random.between(0, 4) } : {};
    const to = Array.from({ length: 1 + random.below(5) }, () => pick(random, steadyQueues));
    return { do: 'transact', client: random.below(2), to, size, count: random.below(6), ...crash };
  }
  if (falls(16))
    return { do: 'settle', client, how: pick(random, ['acknowledge', 'acknowledge', 'requeue', 'drop']), count: 1 + random.below(8) };
  if (falls(8)) {
    const what = pick(random, ['declare', 'declare', 'declare', 'delete', 'purge'] as const);
    return { do: 'define', client, what, queue: pick(random, passingQueues), waits: random.chance(0.5) };
  }
  if (falls(2)) return { do: 'cancel', client };
  if (falls(3)) return { do: 'leave', client };
  return { do: 'wait', ms: random.chance(0.1) ? random.below(2000) : random.between(0, 20) };
}

function drawOfKafka(random: SeededRandom): Action {
  if (random.chance(0.2)) return { do: 'look' };
  if (random.chance(0.15)) return { do: 'commit' };
  // Now and then large enough to go to its segment at once, past the journal.
  const size = random.chance(0.03) ? 300_000 : random.below(400);
  const crash = random.chance(0.1) ? { crashAfterMs: random.between(0, 4) } : {};
  return { do: 'produce', partition: random.below(2), count: size > 1000 ? 1 : 1 + random.below(4), size, ...crash };
}

function pick<Item>(random: SeededRandom, items: readonly Item[]): Item {
  return items[random.below(items.length)]!;
}

async function act(world: World, action: Action, inProcess: number, power: boolean): Promise<void> {
  const { machine } = world;
  switch (action.do) {
    case 'wait':
      return machine.clock.pause(action.ms);
    case 'crash':
      return world.crash(action);
    case 'restart':
      return world.restart();
    case 'fail':
      return machine.faults.fail(action.operation, { nth: action.nth });
    case 'fill':
      return machine.faults.fillUpAfter(action.bytes);
    case 'free':
      return machine.faults.freeUp();
    case 'cut':
      return void machine.network.cutOne();
    case 'produce':
      await world.kafka?.produce(action.partition, action.count, action.size);
      return crashAfter(world, action.crashAfterMs, power);
    case 'look':
    case 'commit':
      return world.kafka?.[action.do]();
  }
  const place = action.client;
  const connected = await world.client(place, place < inProcess);
  if (connected === undefined) return;
  switch (action.do) {
    case 'publish': {
      const { to, count, size, persistent, delayMs } = action;
      const exchange = to === 'everywhere' ? 'everywhere' : delayMs > 0 ? 'later' : 'chosen';
      for (let i = 0; i < count; i++) world.publish(place, connected, exchange, to, size, persistent, delayMs);
      return;
    }
    case 'consume':
      return world.consume(place, connected, action.queue, action.prefetch, action.keeps);
    case 'settle':
      return world.settle(connected, action.how, action.count);
    case 'define': {
      const defined = world.define(place, connected, action.what, action.queue);
      return action.waits ? defined : undefined;
    }
    case 'transact':
      world.transact(place, connected, action.to, action.size, action.count);
      return crashAfter(world, action.crashAfterMs, power);
    case 'cancel':
      return connected.client.cancelAll();
    case 'leave':
      return world.leave(place, connected);
  }
}

async function crashAfter(world: World, ms: number | undefined, power: boolean): Promise<void> {
  if (ms === undefined) return;
  await world.machine.clock.pause(ms);
  world.crash({ power });
}
